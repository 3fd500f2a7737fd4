# SPDX-License-Identifier: LGPL-2.1-or-later
"""`icn-hook suggest N`: the best idle cards, as text, as JSON, and as XML for virsh; and
the warnings of `plan` about cards that are not joined."""

import itertools
import xml.etree.ElementTree as ElementTree

import pytest

from bystander import vm
from domain_xml import Domain, Hostdev
from errors import assert_error
from libvirt_player import Libvirt
from simhost import GUIDE_BDFS, SimHost
from topology import Topology

NAMES = [f"PPU {ppu} ({bdf})" for ppu, bdf in enumerate(GUIDE_BDFS)]


def suggest(host, *arguments):
    result = host.engine("suggest", *arguments, "--json")
    assert (result.status, result.stderr) == (0, "")
    return result.json()


def ppus(answer):
    return [entry["ppu"] for entry in answer["ppus"]]


def assert_refused(host, status, message, *arguments):
    for form in ((), ("--json",), ("--xml",)):
        result = host.engine("suggest", *arguments, *form)
        assert_error(result, status, message, json="--json" in form)


def best_of_all(topology, available, count, node_of):
    """Looks at every set."""

    def rank(chosen):
        chosen = set(chosen)
        ends = [peer for ppu in chosen for peer in topology.links[ppu].values() if peer in available]
        inside = sum(peer in chosen for peer in ends)
        return -inside // 2, len({node_of(ppu) for ppu in chosen}), len(ends) - inside, sorted(chosen)

    links, nodes, stranded, chosen = min(rank(chosen) for chosen in itertools.combinations(sorted(available), count))
    return chosen, -links, nodes, stranded


# What is answered


def test_json(scene):
    assert suggest(scene.host, "3") == {
        "schema": "icn-hook/suggest/1",
        "ppus": [{"ppu": ppu, "bdf": GUIDE_BDFS[ppu]} for ppu in (4, 5, 6)],
        "links": 3,
        "stranded": 4,
        "numa_nodes": [1],
        "exact": True,
        "connected": True,
        "warnings": [],
    }


def test_text(scene):
    result = scene.host.engine("suggest", "2")
    assert (result.status, result.stderr) == (0, "")
    assert result.stdout.decode() == (
        f"{NAMES[0]}, {NAMES[1]}\n"
        "links among them: 1\n"
        "links to other idle cards that would be lost: 2\n"
        "NUMA nodes: 0\n"
        "compared all choices: this is the best\n"
    )


@pytest.mark.parametrize("taken", [(), (2, 3), (0, 5, 6), (1, 2, 4, 7)])
def test_every_number(host, taken):
    if taken:
        assert Libvirt(host).start(vm("b", *taken)).running
    available = set(range(8)) - set(taken)
    for count in range(1, len(available) + 1):
        answer = suggest(host, str(count))
        chosen, links, nodes, stranded = best_of_all(host.topology, available, count, lambda ppu: ppu // 4)
        assert (ppus(answer), answer["links"], answer["stranded"]) == (chosen, links, stranded)
        assert len(answer["numa_nodes"]) == nodes
        assert answer["exact"] is True


def test_one_numa_node(host):
    answer = suggest(host, "4", "--numa", "1")
    assert (ppus(answer), answer["numa_nodes"]) == ([4, 5, 6, 7], [1])


def test_cards_that_are_not_joined(host):
    """Two cards of one node that share no link, and two nodes."""
    assert Libvirt(host).start(vm("b", 1, 2, 3, 5, 6, 7)).running
    warnings = [
        "no link joins these PPUs of the VM with each other: 0 | 4",
        "the VM's PPUs are on different NUMA nodes: 0 on node 0, 4 on node 1",
    ]
    answer = suggest(host, "2")
    assert (ppus(answer), answer["links"], answer["connected"]) == ([0, 4], 0, False)
    assert (answer["numa_nodes"], answer["warnings"]) == ([0, 1], warnings)
    result = host.engine("suggest", "2")
    assert result.stdout.decode().splitlines()[3:] == [
        "NUMA nodes: 0, 1",
        "compared all choices: this is the best",
        *(f"warning: {warning}" for warning in warnings),
    ]
    result = host.engine("suggest", "2", "--xml")
    assert result.stderr.splitlines() == [f"icn-hook: warning: {warning}" for warning in warnings]


def set_numa_nodes(host, nodes):
    for bdf, node in zip(host.bdfs, nodes):
        (host.device(bdf) / "numa_node").write_text(f"{node}\n")


def test_unknown_numa_nodes(host):
    set_numa_nodes(host, [-1] * 4 + [3] * 4)
    answer = suggest(host, "8")
    assert (answer["numa_nodes"], answer["warnings"]) == ([3], [])
    assert "NUMA nodes: 3, unknown\n" in host.engine("suggest", "8").stdout.decode()
    assert "NUMA nodes: unknown\n" in host.engine("suggest", "4").stdout.decode()
    assert_refused(host, 3, "no PPU is on NUMA node 0; nodes with PPUs: 3", "1", "--numa", "0")
    set_numa_nodes(host, [-1] * 8)
    assert suggest(host, "8")["numa_nodes"] == []
    assert_refused(host, 3, "no PPU is on NUMA node 0; nodes with PPUs: none is known", "1", "--numa", "0")


def test_drivers_of_the_host_do_not_matter(host):
    host.set_driver(GUIDE_BDFS[0], "ppu")
    host.set_driver(GUIDE_BDFS[1], "vfio-pci")
    assert ppus(suggest(host, "2")) == [0, 1]


def test_cards_that_are_not_to_be_had(host):
    """Absent, held open by nobody knows whom, and split."""
    host.pin_ids()
    host.remove_function(GUIDE_BDFS[0])
    host.set_driver(GUIDE_BDFS[1], "vfio-pci")
    host.set_enable(GUIDE_BDFS[1], 1)
    host.add_vf(2)
    answer = suggest(host, "3")
    assert (ppus(answer), answer["stranded"]) == ([4, 6, 7], 3)
    assert answer["warnings"] == [
        f"{NAMES[1]} is held open through vfio by a process that is not a known VM; its links stay cut until it ends",
        f"{NAMES[2]} is idle but split into virtual functions, so it cannot be passed whole; write 0 into its "
        "sriov_numvfs to have it offered",
    ]
    assert_refused(
        host,
        4,
        "5 of the 7 PPUs of this host are idle, not 6; PPU 1 held open by an unknown process; PPU 2 split into virtual "
        "functions",
        "6",
    )
    assert_refused(host, 3, "this host has 7 PPUs, not 8", "8")


# XML


def addresses(text):
    """The addresses of the <hostdev> elements, one a line."""
    found = []
    for line in text.splitlines():
        device = ElementTree.fromstring(line)
        assert (device.tag, device.attrib) == ("hostdev", {"mode": "subsystem", "type": "pci", "managed": "yes"})
        (address,) = device.findall("./source/address")
        values = [int(address.attrib[name], 16) for name in ("domain", "bus", "slot", "function")]
        found.append("{:04x}:{:02x}:{:02x}.{:x}".format(*values))
    return found


def test_xml(scene):
    result = scene.host.engine("suggest", "4", "--xml")
    assert (result.status, result.stderr) == (0, "")
    assert addresses(result.stdout.decode()) == GUIDE_BDFS[4:]


def test_xml_is_what_a_vm_starts_with(host):
    lines = host.engine("suggest", "2", "--xml").stdout.decode()
    domain = Domain("c", [Hostdev(bdf) for bdf in addresses(lines)])
    xml = domain.xml()
    head, tail = xml[: xml.index("<hostdev")], xml[xml.rindex("</hostdev>") + len("</hostdev>") :]
    result = host.engine("plan", "-", "--json", stdin=head + lines + tail)
    assert [device["ppu"] for device in result.json()["devices"]] == [0, 1]
    assert result.json()["warnings"] == []


def test_xml_of_a_large_pci_domain(tmp_path):
    bdfs = ["10000:e1:1f.7"]
    host = SimHost(tmp_path / "large", bdfs=bdfs, topology=Topology.ring(1))
    assert addresses(host.engine("suggest", "1", "--xml").stdout.decode()) == bdfs


# 128 cards


def octets(count):
    """The vendor's eight cards, again and again, each octet joined to the next."""
    vendor = Topology.vendor().links
    links = {ppu: {link: peer + ppu // 8 * 8 for link, peer in vendor[ppu % 8].items()} for ppu in range(count)}
    for first in range(0, count, 8):
        links[first + 7][1] = (first + 8) % count
        links[(first + 8) % count][2] = first + 7
    return Topology(links)


def test_many_cards(tmp_path):
    host = SimHost(tmp_path / "many", cards=128, topology=octets(128))
    answer = suggest(host, "8")
    assert (ppus(answer), answer["links"], answer["stranded"]) == (list(range(8)), 16, 2)
    # 1.4e12 choices; of four cards there are few enough.
    assert answer["exact"] is False
    assert suggest(host, "4")["exact"] is True
    taken = [0, 9, 18, 27, 36]
    assert Libvirt(host).start(Domain("b", [Hostdev(host.bdfs[ppu]) for ppu in taken])).running
    answer = suggest(host, "16")
    # The last octet's link to card 0 is lost already.
    assert (ppus(answer), answer["links"], answer["stranded"]) == (list(range(112, 128)), 33, 1)
    assert (answer["exact"], answer["connected"]) == (False, True)
    assert len(ppus(suggest(host, "100"))) == 100
    assert_refused(
        host,
        4,
        "123 of the 128 PPUs of this host are idle, not 124; PPU 0,9,18,27,36 owned by b",
        "124",
    )


# Bad input


@pytest.mark.parametrize("number", ["0", "x", "2x", "0x2", "2.5", "", " 2", "1,2", "+2", "99999999999999999999"])
def test_no_number(host, number):
    message = f"the number of cards must be 1 or more, not '{number}'; see icn-hook help suggest"
    result = host.engine("suggest", number)
    assert (result.status, result.stdout, result.stderr) == (2, b"", f"icn-hook: {message}\n")


def test_usage(host):
    for arguments, message in (
        (["-1"], "unknown option '-1'"),
        ([], "'suggest' needs an argument: N"),
        (["1", "2"], "unexpected argument '2'"),
        (["1", "--numa", "x"], "--numa takes the number of a node, not 'x'"),
        (["1", "--numa", "-1"], "--numa takes the number of a node, not '-1'"),
        (["1", "--xml", "--json"], "suggest takes --json or --xml, not both"),
    ):
        result = host.engine("suggest", *arguments)
        assert_error(result, 2, f"{message}; see icn-hook help suggest", json="--json" in arguments)


def test_more_than_there_are(scene):
    host = scene.host
    assert_refused(host, 4, "6 of the 8 PPUs of this host are idle, not 7; PPU 2,3 owned by b", "7")
    assert scene.libvirt.start(vm("c", 5)).running
    assert_refused(
        host, 4, "5 of the 8 PPUs of this host are idle, not 8; PPU 2,3 owned by b; PPU 5 owned by c", "8"
    )
    assert_refused(host, 4, "2 of the 4 PPUs of NUMA node 0 are idle, not 3; PPU 2,3 owned by b", "3", "--numa", "0")
    assert_refused(host, 3, "NUMA node 0 has 4 PPUs, not 5", "5", "--numa", "0")
    assert_refused(host, 3, "this host has 8 PPUs, not 9", "9")
    assert_refused(host, 3, "no PPU is on NUMA node 2; nodes with PPUs: 0, 1", "1", "--numa", "2")


def test_owner_that_nobody_can_tell(scene):
    """A damaged entry of a VM that does not run may hide any card."""
    host = scene.host
    entry = host.write("/run/icn-hook/0dea22b3-1d52-d8f3-2516-782e98a23fa1.json", "junk")
    entry.chmod(0o600)
    result = host.engine("suggest", "1")
    assert (result.status, result.stdout) == (3, b"")
    assert result.stderr.startswith("icn-hook: not every owner is known, so no card can be offered: ")
    assert str(entry) in result.stderr


def test_no_topology(host):
    host.path("/etc/icn-hook/icn_topo.cfg").unlink()
    result = host.engine("suggest", "1")
    assert (result.status, result.stdout) == (3, b"")
    assert result.stderr.count("\n") == 1


# The same in `plan`


def test_plan_of_cards_that_are_not_joined(host):
    result = host.engine("plan", "-", "--json", stdin=vm("c", 0, 1, 4).xml())
    assert (result.status, result.stderr) == (0, "")
    assert (
        "no link joins these PPUs of the VM with each other: 0,1 | 4; icn-hook suggest 3 shows the idle PPUs that are "
        "joined best"
    ) in result.json()["warnings"]


def test_start_does_not_tell(host, libvirt):
    assert libvirt.start(vm("c", 0, 4)).running
    assert "no link joins" not in host.log()
