# SPDX-License-Identifier: LGPL-2.1-or-later
"""The stand-ins for the vendor's tools and for the status register: they answer from the
wiring and the registers, in the vendor's form."""

import signal
import subprocess
import time

import pytest

from link_status import LinkStatus
from simhost import TOOLS, SimHost
from topology import Topology
from wiring import MODELS, Far, LinkRegisters, Wiring

FIRST = "0001:c9:00.0"  # of the published machine
ALL_UP = 0x7B  # link 2 of each card leads to a host that is switched off


@pytest.fixture(name="host")
def fixture_host(tmp_path):
    host = SimHost(tmp_path / "host", model="810e-16")
    host.install_tools()
    host.load_driver()
    return host


def answer(host, *command):
    result = host.tool(*command)
    assert (result.status, result.stderr) == (0, ""), result
    return result.stdout.decode()


def swap_ids(host):
    """The map and the topology under test are wrong; the tools do not know them."""
    host.write("/etc/icn-hook/icn_topo.cfg", Topology.ring(16).text())
    host.configure("[map]\n" + "".join(f"{15 - ppu} = {bdf}\n" for ppu, bdf in enumerate(host.bdfs)))


# ppu-smi


def test_query(host):
    swap_ids(host)
    text = answer(host, "ppu-smi", "--query-ppu=index,pci.bus_id,uuid,serial", "--format=csv,noheader")
    lines = text.splitlines()
    assert lines[0] == "0, 00000001:C9:00.0, GPU-019ea108-c180-040a-0000-000000000000, 1320421013145"
    assert [line.split(", ")[0] for line in lines] == [str(index) for index in range(16)]
    assert [line.split(", ")[1][4:].lower() for line in lines] == host.bdfs
    text = answer(host, "ppu-smi", "--query-ppu=uuid,index", "--format=csv", "-i", "0001:c8:00.0")
    assert text == "uuid, index\nGPU-019ea108-c180-040a-0000-000000000001, 1\n"


def test_state_of_links(host):
    swap_ids(host)
    assert answer(host, "ppu-smi", "icn", "-s", "-i", "0") == (
        "PPU 0: PPU-ZW810E (UUID: GPU-019ea108-c180-040a-0000-000000000000)\n"
        "    Link 0: 50 GB/s\n    Link 1: 50 GB/s\n    Link 2: <inactive>\n    Link 3: 50 GB/s\n"
        "    Link 4: 50 GB/s\n    Link 5: 50 GB/s\n    Link 6: 50 GB/s\n"
    )
    host.set_masks({8: 1 << 6})  # the far end of link 6
    assert "    Link 6: <inactive>\n" in answer(host, "ppu-smi", "icn", "-s", "-i", FIRST, "-l", "6")
    text = answer(host, "ppu-smi", "icn", "-s")
    assert (text.count("PPU-ZW810E"), text.count("Link"), text.count("<inactive>")) == (16, 16 * 7, 16 + 2)


def test_unused_ports_are_inactive(tmp_path):
    host = SimHost(tmp_path / "host", model="guide-8")
    host.install_tools()
    host.load_driver()
    text = answer(host, "ppu-smi", "icn", "-s", "-i", "0")
    assert [line.split()[1] for line in text.splitlines()[1:] if "<inactive>" in line] == ["1:", "2:", "6:"]


def test_other_ends(host):
    swap_ids(host)
    assert answer(host, "ppu-smi", "icn", "-r", "-i", "00000000:C7:00.0") == (
        "PPU 6: PPU-ZW810E (UUID: GPU-019ea108-c180-040a-0000-000000000006)\n"
        "    Link 0: Remote Device 00000001:C9:00.0: Link 0\n"
        "    Link 1: Remote Device 00000002:C7:00.0: Link 1\n"
        "    Link 3: Remote Device 00000000:7E:00.0: Link 3\n"
        "    Link 4: Remote Device 00000000:7F:00.0: Link 4\n"
        "    Link 5: Remote Device 00000000:C6:00.0: Link 6\n"
        "    Link 6: Remote Device 00000000:C6:00.0: Link 3\n"
    )
    host.set_masks({6: 0x7F})
    assert answer(host, "ppu-smi", "icn", "-r", "-i", "6").count("\n") == 1
    assert answer(host, "ppu-smi", "icn", "-r", "-l", "0").count("Remote") == 14


def test_only_cards_of_the_driver_are_known(host):
    host.set_driver(host.bdfs[0], "vfio-pci")
    assert answer(host, "ppu-smi", "icn", "-r", "-l", "2").startswith("PPU 1: ")
    host.unload_driver()
    result = host.tool("ppu-smi", "icn", "-s")
    assert (result.status, result.stdout) == (6, b"No devices were found\n")


@pytest.mark.parametrize("arguments, status", [
    ([], 2), (["icn"], 2), (["icn", "-s", "-r"], 2), (["icn", "-s", "-i", "16"], 6), (["icn", "-s", "-l", "7"], 2),
    (["icn", "-s", "-i"], 2), (["--query-ppu=index"], 2), (["--query-ppu=color", "--format=csv"], 2),
])
def test_wrong_calls(host, arguments, status):
    result = host.tool("ppu-smi", *arguments)
    assert (result.status, result.stdout) == (status, b"") and result.stderr.startswith("ppu-smi: error: ")


# ppudbg


def test_topology_read(host):
    swap_ids(host)
    assert answer(host, "ppudbg", "--topo_read") == host.wiring.topology(external=True).text()
    host.set_masks({0: 1 << 5})
    expected = host.wiring.topology(external=True)
    del expected.links[0][5], expected.links[1][3]
    assert answer(host, "ppudbg", "--topo_read") == expected.text()


def test_its_own_ids(tmp_path):
    """The driver's ids need not be the indices of ppu-smi."""
    wiring = MODELS["guide-8"]()
    cards = [card.__class__(**{**card.__dict__, "ppuid": (card.ppuid + 3) % 8}) for card in wiring.cards]
    host = SimHost(tmp_path / "host", wiring=Wiring(cards, wiring.joins))
    host.install_tools()
    host.load_driver()
    assert answer(host, "ppu-smi", "--query-ppu=pci.bus_id", "--format=csv,noheader", "-i", "0") == "00000000:08:00.0\n"
    assert answer(host, "ppudbg", "--device", "3").splitlines()[:2] == ["Device: 3", "BusId: 0000:08:00.0"]
    assert Topology.parse(answer(host, "ppudbg", "--topo_read")).links[3] == {0: 1, 3: 5, 4: 6, 5: 4}


def test_status_of_a_link(host):
    assert answer(host, "ppudbg", "--device", FIRST, "--micnop", "stat", "6").endswith("\nLink Status: Up\n")
    host.set_masks({8: 1 << 6})
    for card in (FIRST, "00000001:C9:00.0", "0"):
        assert answer(host, "ppudbg", "--device", card, "--micnop", "stat", "6").endswith("\nLink Status: Down\n")
    assert host.tool("ppudbg", "--device", FIRST, "--micnop", "stat", "7").status == 1


@pytest.mark.parametrize("words", [["ppudbg", "--direct", "--micnop", "iso"], ["ppucli", "--iso"]])
@pytest.mark.parametrize("groups", ["0,1|6", "0001:c9:00.0,0001:c8:00.0|0000:c7:00.0", "00000001:C9:00.0,1|6"])
def test_isolate(host, words, groups):
    topology = host.write("/topology", host.wiring.topology(external=True).text())
    answer(host, *words, topology, groups)
    # Near ends only, and what the topology knows: links 1, and not 2, lead to another host.
    assert {ppu: mask for ppu, mask in host.masks().items() if mask} == {0: 0x5B, 1: 0x73, 6: 0x7B}
    answer(host, *words, "reset")
    assert set(host.masks().values()) == {0}


def test_other_registers(host):
    host.set_hardware(LinkRegisters(config=0x100, status=0x101, stride=8, cut_bit=0))
    host.set_masks({ppu: 0xFF for ppu in range(16)})
    answer(host, "ppudbg", "--direct", "--micnop", "iso", host.write("/topology", host.topology.text()), "6")
    assert host.mask(6) == 0xFF & ~0x7B
    assert "Down" in answer(host, "ppudbg", "--device", "6", "--micnop", "stat", "3")


# Faults

READ = {"ppu-smi": ["icn", "-s"], "ppudbg": ["--topo_read"]}


@pytest.fixture(name="tool", params=READ)
def fixture_tool(request, host):
    """Reads something from a tool with a fault."""
    def read(fault):
        host.write(f"/etc/{request.param}.fault", fault)
        return host.tool(request.param, *READ[request.param])

    return read


def test_a_tool_that_fails(tool):
    right = tool("")
    assert (tool("exit").status, tool("signal").status) == (1, -signal.SIGSEGV)
    assert "the firmware refused" in tool("exit").stderr
    flood = tool("flood")
    assert flood.stdout.endswith(right.stdout) and len(flood.stdout) == (1 << 20) + len(right.stdout)
    assert tool("noise").stdout == b"z" * (1 << 20)
    warned = tool("stderr")
    assert (warned.stdout, warned.stderr.count("\n")) == (right.stdout, 100)
    assert tool("truncate").stdout == right.stdout[: len(right.stdout) // 2]


@pytest.mark.parametrize("name", READ)
def test_a_tool_that_hangs(host, name):
    host.write(f"/etc/{name}.fault", "hang")
    with pytest.raises(subprocess.TimeoutExpired):
        host.run([host.path(f"/usr/bin/{name}"), *READ[name]], timeout=1)


def test_lies(host):
    host.write("/etc/ppu-smi.fault", "lie-state lie-remote lie-ids")
    assert "Link 2: 50 GB/s" in answer(host, "ppu-smi", "icn", "-s", "-i", "0")
    assert "Link 0: Remote Device 00000001:C8:00.0: Link 0" in answer(host, "ppu-smi", "icn", "-r", "-i", "6")
    assert answer(host, "ppu-smi", "--query-ppu=index", "--format=csv,noheader", "-i", FIRST) == "1\n"
    host.write("/etc/ppu-smi.fault", "lie-index")
    assert "Link 0: Remote Device 00000001:C9:00.0: Link 1" in answer(host, "ppu-smi", "icn", "-r", "-i", "6")
    host.write("/etc/ppudbg.fault", "lie")
    assert "Link Status: Down" in answer(host, "ppudbg", "--device", "0", "--micnop", "stat", "0")
    lie = Topology.parse(answer(host, "ppudbg", "--topo_read"))
    assert (lie.links[6][0], lie.links[7][0]) == (1, 0)
    assert lie.links[1] == {0: 6, 1: 16, 3: 2, 4: 3, 5: 0, 6: 8}


# The status register


def status(host, ppu):
    return host.read_register(ppu, host.hardware.registers.status)


def until(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.002)


def test_status_register(host):
    with LinkStatus(host):
        assert [status(host, ppu) for ppu in range(16)] == [ALL_UP] * 16
        host.set_masks({0: 1 << 6})
        until(lambda: status(host, 0) == ALL_UP & ~(1 << 6))
        assert status(host, 8) == ALL_UP & ~(1 << 6)
        host.set_masks({0: 0, 8: 1 << 6})
        time.sleep(0.1)
        assert (status(host, 0), status(host, 8)) == (ALL_UP & ~(1 << 6),) * 2
        host.set_masks({0: 1 << 1, 8: 0})  # to another host, and back again
        until(lambda: status(host, 0) == ALL_UP & ~(1 << 1))
        assert status(host, 8) == ALL_UP
        host.remove_function(host.bdfs[8])
        until(lambda: status(host, 0) == ALL_UP & ~(1 << 1) & ~(1 << 6))


def test_status_register_settles(host):
    with LinkStatus(host, delay=0.3, down=True):
        began = time.monotonic()
        assert status(host, 0) == 0
        until(lambda: status(host, 0) == ALL_UP)
        assert time.monotonic() - began > 0.25
        host.set_masks({0: 1})
        time.sleep(0.05)
        assert status(host, 0) == ALL_UP
        until(lambda: status(host, 0) == ALL_UP & ~1)


def test_broken_links_stay_down(tmp_path):
    wiring = MODELS["guide-8"]()
    end, other = wiring.joins[0]
    host = SimHost(tmp_path / "host", wiring=Wiring(wiring.cards, wiring.joins, broken=[other]))
    host.install_tools()
    host.load_driver()
    with LinkStatus(host):
        for bdf, link in (end, other):
            ppu = host.bdfs.index(bdf)
            assert status(host, ppu) == 0x39 & ~(1 << link)
            assert f"Link {link}: <inactive>" in answer(host, "ppu-smi", "icn", "-s", "-i", bdf)
            assert f"Link {link}:" not in answer(host, "ppu-smi", "icn", "-r", "-i", bdf)


def test_status_register_elsewhere(host):
    host.set_hardware(LinkRegisters(config=0x200, status=0x180, stride=16, cut_bit=0))
    host.set_masks({ppu: 0x7F for ppu in range(16)})
    with LinkStatus(host):
        assert status(host, 3) == ALL_UP
        host.set_masks({3: 0x7E})
        until(lambda: status(host, 3) == ALL_UP & ~1)


def test_the_far_host_may_be_named_as_ours(tmp_path):
    """Addresses of another host's cards can be those of this one's."""
    wiring = MODELS["guide-8"]()
    far = Far(bdf=wiring.bdfs[4], link=1, ppuid=12)
    host = SimHost(tmp_path / "host", wiring=Wiring(wiring.cards, wiring.joins, {(wiring.bdfs[0], 1): far}))
    host.install_tools()
    host.load_driver()
    assert "Link 1: Remote Device 00000001:09:00.0: Link 1" in answer(host, "ppu-smi", "icn", "-r", "-i", "0")
    assert "    Link 1: <inactive>" in answer(host, "ppu-smi", "icn", "-s", "-i", "4")


def test_a_host_to_try_things_on(host, tmp_path):
    """Nothing is set up there, and what the tools would say is saved."""
    made = tmp_path / "made"
    result = host.run([TOOLS / "make-host", "--model", "810e-16", made])
    assert (result.status, result.stderr) == (0, "")
    assert sorted(path.name for path in (made / "usr/bin").iterdir()) == ["ppu-smi", "ppucli", "ppudbg"]
    assert [path.name for path in (made / "etc/icn-hook").rglob("*") if path.is_file()] == []
    query = ["--query-ppu=index,pci.bus_id,uuid,serial", "--format=csv,noheader"]
    saved = {path.name: path.read_text() for path in (made / "root/icn").iterdir()}
    assert saved == {
        "query.csv": answer(host, "ppu-smi", *query),
        "icn-s.txt": answer(host, "ppu-smi", "icn", "-s"),
        "icn-r.txt": answer(host, "ppu-smi", "icn", "-r"),
        "topo.txt": answer(host, "ppudbg", "--topo_read"),
    }
    assert host.run([TOOLS / "make-host", "--model", "810e-16", made]).status == 2
