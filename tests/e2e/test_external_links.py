# SPDX-License-Identifier: LGPL-2.1-or-later
"""Links that lead out of the host: cut for owners, given back, and said by every verb.

The wires are the test's own: each card of the guide has two more, to a switch on link 1 and
to another host on link 2, and what a register must hold is counted from them.
"""

import pytest

from bystander import vm
from libvirt_player import Libvirt
from simhost import GUIDE_BDFS, SimHost
from topology import Topology

OUTSIDE = {1: 16, 2: 2000}  # ids without a section, one beyond what a host can have
INNER = Topology.vendor()
WIRED = Topology({ppu: {**links, **OUTSIDE} for ppu, links in INNER.links.items()})
OUT = sum(1 << link for link in OUTSIDE)
CARDS = [f"PPU {ppu} ({bdf})" for ppu, bdf in enumerate(GUIDE_BDFS)]


def wanted(owners, left=False):
    """What the registers must hold: cuts between owners, and all that leads out of a card with one."""
    masks = INNER.required_masks({ppu: {name} for ppu, name in owners.items()})
    return {ppu: mask | (OUT if ppu in owners and not left else 0) for ppu, mask in masks.items()}


@pytest.fixture(name="switched")
def fixture_switched(tmp_path):
    host = SimHost(tmp_path / "switched", topology=WIRED)
    yield host
    host.daemon.kill()


def test_life_of_two_vms(switched):
    """Nothing leads out of a card that somebody has, and all is as before in the end."""
    libvirt = Libvirt(switched)
    before = {0: 0x02, 4: 0x04, 5: 0x20}  # somebody cut these on purpose
    switched.set_masks(before)
    assert libvirt.start(vm("a", 0, 1)).running
    masks = wanted({0: "a", 1: "a"})
    assert switched.masks() == {ppu: masks[ppu] | before.get(ppu, 0) for ppu in masks}
    assert libvirt.start(vm("b", 2, 3, 4)).running
    masks = wanted({0: "a", 1: "a", 2: "b", 3: "b", 4: "b"})
    assert switched.masks() == {**masks, 5: masks[5] | 0x20}
    libvirt.stop("a")
    libvirt.stop("b")
    assert switched.masks() == {ppu: before.get(ppu, 0) for ppu in range(8)}


def test_the_whole_host_in_one_vm(switched):
    """No link inside is cut, and every one that leads out is."""
    libvirt = Libvirt(switched)
    assert libvirt.start(vm("a", *range(8))).running
    assert switched.masks() == {ppu: OUT for ppu in range(8)}
    libvirt.stop("a")
    assert switched.masks() == {ppu: 0 for ppu in range(8)}


def test_left_by_the_policy(tmp_path):
    switched = SimHost(tmp_path / "left", topology=Topology(WIRED.links, leaves_external=True))
    switched.configure("[policy]\nexternal = leave\n")
    libvirt = Libvirt(switched)
    switched.set_masks({0: 0x02})
    assert libvirt.start(vm("a", 0, 1)).running
    masks = wanted({0: "a", 1: "a"}, left=True)
    assert switched.masks() == {**masks, 0: masks[0] | 0x02}
    assert switched.engine("check").status == 0
    assert switched.engine("check", "--json").json()["coverage"]["required"] == 6
    libvirt.stop("a")
    assert switched.masks() == {ppu: 0x02 if ppu == 0 else 0 for ppu in range(8)}
    switched.daemon.kill()


def test_isolated_when_idle(switched):
    """An idle card's external links are cut too, and opened for nobody."""
    switched.configure("[policy]\nidle = isolate\n")
    libvirt = Libvirt(switched)
    everything = {ppu: sum(1 << link for link in links) for ppu, links in WIRED.links.items()}
    assert libvirt.start(vm("a", 0, 1)).running
    assert switched.masks() == {**everything, 0: 0x1F, 1: 0x37}
    libvirt.stop("a")
    assert switched.masks() == everything


def test_bits_that_the_topology_does_not_know(host):
    """What is not known is cut: the file has four links of each card, the register six."""
    host.configure("[registers]\nlinks = 0x3f\n")
    libvirt = Libvirt(host)
    host.set_masks({6: 0xFFFF0000})
    assert libvirt.start(vm("a", 0, 1)).running
    masks = wanted({0: "a", 1: "a"})
    assert host.masks() == {**masks, 6: masks[6] | 0xFFFF0000}
    libvirt.stop("a")
    assert host.masks() == {ppu: 0xFFFF0000 if ppu == 6 else 0 for ppu in range(8)}
    host.configure("[registers]\nlinks = 0x1f\n")
    result = libvirt.start(vm("a", 0, 1))
    assert not result.running
    assert host.engine("check").stderr == (
        "icn-hook: [registers] links = 0x1f: the topology /etc/icn-hook/icn_topo.cfg has link 5 of PPU 0, whose bit is "
        "not among them; correct one of the two\n"
    )


def test_plan(switched):
    plan = switched.engine("--dry-run", "-", "--json", stdin=vm("a", 0, 1).xml()).json()
    assert [(write["ppu"], write["to"]) for write in plan["writes"]] == [
        (0, "0x0000001f"), (1, "0x00000037"), (2, "0x00000018"), (3, "0x00000030"), (6, "0x00000001"), (7, "0x00000001"),
    ]
    assert [link for link in plan["links"] if link["peer"] is None] == [
        {"ppu": ppu, "link": link, "peer": None, "state": "cut", "peer_owner": "external"}
        for ppu in (0, 1) for link in (1, 2)
    ]
    assert len(plan["links"]) == 12


def link_of(status, ppu, link):
    found = next(entry for entry in status["ppus"][ppu]["links"] if entry["link"] == link)
    return found["peer"], found["near"], found["far"], found["live"], found["allowed"], found["evidence"]


def test_status_and_check(switched):
    """In use nothing is read, and the gate's read-back is what is known; a link without it is unverified, and one
    that is read open leaks."""
    libvirt = Libvirt(switched)
    a = vm("a", 0, 1)
    assert libvirt.start(a).running
    status = switched.engine("status", "--json").json()
    assert link_of(status, 0, 1) == (None, "unknown", "unknown", None, False, "gated")
    assert link_of(status, 2, 1) == (None, "open", "unknown", True, True, None)
    assert status["coverage"] == {"required": 10, "proven": 6, "gated": 4, "unverified": 0}
    assert switched.engine("check").status == 0
    switched.path("/run/icn-hook/cards.json").unlink()
    checked = switched.engine("check", "--json")
    assert (checked.status, checked.json()["coverage"]) == (7, {"required": 10, "proven": 6, "gated": 0, "unverified": 4})
    assert f"external link 2 of {CARDS[1]} must be cut (owner: a), and nothing shows that it is" in [
        finding["text"] for finding in checked.json()["findings"] if finding["code"] == "unverified"
    ]


def test_leak(switched):
    """A group owns the cards: they can be read, and an external link of one was opened behind our back."""
    assert switched.engine("apply", "0,1|6", "--name", "red").status == 0
    assert switched.masks() == wanted({0: "red", 1: "red", 6: "blue"})
    assert switched.engine("check", "0,1|6").status == 0
    switched.set_masks({**switched.masks(), 0: 0x1D})
    checked = switched.engine("check", "--json")
    found = checked.json()
    assert (checked.status, found["ok"], found["leaks"]) == (1, False, [])
    assert [(finding["code"], finding["ppu"]) for finding in found["findings"]] == [("external-leak", 0), ("cut-missing", 0)]
    text = switched.engine("check").stdout.decode().splitlines()
    assert text[0].endswith(", 1 unverified (1 of them external and OPEN)")
    assert text[-1] == "FAILED: pairs of cards that leak: 0; external links that leak: 1; cards that lack cuts: 1"
    listed = switched.engine("check", "0,1|6")
    assert (listed.status, listed.stdout.decode().splitlines()[0]) == (1, f"external link 1 of {CARDS[0]} is not cut")
    metrics = switched.engine("status", "--prometheus").stdout.decode().splitlines()
    assert "icn_hook_external_leaks 1" in metrics and "icn_hook_leaks 0" in metrics
    assert f'icn_hook_external_link_open{{ppu="0",bdf="{GUIDE_BDFS[0]}"}} 1' in metrics
    assert switched.engine("repair").status == 0
    assert (switched.mask(0), switched.engine("check").status) == (0x1F, 0)


def test_views(switched):
    assert switched.engine("apply", "0,1", "--name", "red").status == 0
    switched.set_masks({**switched.masks(), 1: 0x33})
    lines = switched.engine("topo").stdout.decode().splitlines()
    assert lines[0] == "PPU    0  1  2  3  4  5  6  7  ext  ADDRESS       DRIVER  NUMA  GROUP  OWNER"
    assert [line.split()[9] for line in lines[1:4]] == ["-", "!", "2"]
    dot = switched.engine("topo", "--dot").stdout.decode().splitlines()
    assert '  external [label="external", shape=ellipse, fillcolor=white];' in dot
    assert sum(" -- external [" in line for line in dot) == 8
    assert '  ppu1 -- external [color=red, penwidth=4, label="2"];' in dot
    external = switched.engine("topo", "--json").json()["external"]
    assert [(card["ppu"], card["state"], card["wired"], card["open"]) for card in external[:3]] == [
        (0, "cut", 2, 0), (1, "leak", 2, 1), (2, "open", 2, 2),
    ]
    status = switched.engine("status").stdout.decode().splitlines()
    assert status[1].endswith("  red    -6 -ext -ext -2 -3 1")
    assert status[2].endswith("  red    -7 -ext !ext 0 -2 -3")
    assert status[3].endswith("  idle   4 ext ext -0 -1 3")
    explained = switched.engine("explain", "1", "--json").json()["links"]
    assert [(link["peer"], link["far"], link["rule"], link["evidence"]) for link in explained[1:3]] == [
        (None, "unknown", "external", "proven"), (None, "unknown", "external", "unverified"),
    ]
    assert explained[2]["text"].startswith(
        f"{CARDS[1]} link 2 -> external: LEAK: OPEN, although it leads out of this host and PPU 1 belongs to group 'red'"
    )
    pair = switched.engine("explain", "0-1", "--json").json()["links"]
    assert [link["peer"] for link in pair] == [1]


def test_suggest_counts_none_of_them(switched, host):
    for count in (1, 3, 5):
        suggested = switched.engine("suggest", str(count), "--json").json()
        assert suggested == host.engine("suggest", str(count), "--json").json()


def test_validate(switched):
    result = switched.engine("topo", "--validate", str(switched.path("/etc/icn-hook/icn_topo.cfg")), "--json")
    found = result.json()
    assert (result.status, found["cards"], found["links"], found["external"]) == (0, 8, 16, 16)
    lonely = Topology({**WIRED.links, 8: {}})
    path = switched.write("/lonely.cfg", "\ufeff" + lonely.text())
    result = switched.engine("topo", "--validate", str(path))
    assert result.stdout.decode() == f"{path}: valid, 9 cards, 16 links, 16 external links\n"
    assert "warning: PPU 8 has no link; if it has links in truth, they will not be cut\n" in result.stderr


# Parallel links


BUNDLE = Topology({0: {0: 1, 1: 1}, 1: {0: 0, 1: 0}})  # wired crosswise: 0.0 with 1.1, 0.1 with 1.0


@pytest.mark.parametrize("told, status", [("", 1), ("[links]\n0.0 = 1.1\n0.1 = 1.0\n", 1), ("[links]\n0.0 = 1.1\n", 1)])
def test_parallel_links(tmp_path, told, status):
    """Each link is cut at one end, and where it is known which ends belong together no leak is seen in it."""
    host = SimHost(tmp_path / "bundle", cards=2, topology=BUNDLE)
    host.pin_ids("\n" + told)
    assert host.engine("apply", "0|1", "--name", "red").status == 0
    host.set_masks({0: 0x1, 1: 0x1})
    checked = host.engine("check", "--json")
    assert checked.status == status  # either way cuts are missing
    assert checked.json()["leaks"] == ([] if told else [{"a": 0, "b": 1}])
    pair = host.engine("topo", "--json").json()["pairs"][0]
    assert (pair["open"], pair["state"]) == ((0, "cut") if told else (1, "leak"))
    host.set_masks({0: 0x1, 1: 0x2})  # 0.1 and 1.0 are open
    assert host.engine("check", "--json").json()["leaks"] == [{"a": 0, "b": 1}]
    host.daemon.kill()
