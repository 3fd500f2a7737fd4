# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which card is which PPU: only [map] says so, cards that have moved refuse every VM with PPUs, and what is in force
stays in force while anybody owns a card.

Card N is always the physical one; its registers are read wherever it is."""

import pytest

from chassis import Chassis
from domain_xml import INACTIVE, LIVE, PREPARE, Domain, Hostdev
from libvirt_player import Libvirt
from simhost import IDENTITY, PPU_CLASS, PPU_DEVICE, PPU_VENDOR, SimHost
from topology import Topology

# The cards of case C1, and where they are after a card was added in front of them.
PINNED = [f"0000:{bus:02x}:00.0" for bus in (0x17, 0x18, 0x19, 0x1A, 0x5D, 0x5E, 0x5F, 0x60)]
SHIFTED = [f"0000:{bus:02x}:00.0" for bus in (0x18, 0x19, 0x1A, 0x1B, 0x5E, 0x5F, 0x60, 0x61)]
MOVED = "the cards have moved since [map] was written: "
SETUP = "; run icn-hook setup"
NO_MAP = "no [map] in the configuration says which card is which PPU" + SETUP
CHANGED = "the configuration was changed while cards are in use: "
CHANGE_BACK = "; change it back, or stop the VMs and release the groups that have cards"
ALL_OPEN = dict.fromkeys(range(8), 0)
# Bit set = link cut, the vendor's topology.
FIRST_TWO = {0: 0x19, 1: 0x31, 2: 0x18, 3: 0x30, 4: 0, 5: 0, 6: 0x01, 7: 0x01}
MARKS = [(False, False), (True, False), (False, True), (True, True)]
IDS = ["address", "path", "serial", "path and serial"]


@pytest.fixture(name="host")
def fixture_host(tmp_path):
    host = SimHost(tmp_path / "host", bdfs=PINNED, topology=Topology.vendor())
    yield host
    host.daemon.kill()


@pytest.fixture(name="chassis")
def fixture_chassis(host):
    return Chassis(host)


@pytest.fixture(name="libvirt")
def fixture_libvirt(host):
    return Libvirt(host)


def vm(name, *addresses):
    return Domain(name, [Hostdev(bdf) for bdf in addresses])


def refusal(libvirt, *addresses):
    """The reason why a VM with the cards at these addresses is not started; nothing may be written for it."""
    before = libvirt.host.masks()
    domain = vm("refused", *addresses)
    plan = libvirt.host.engine("--dry-run", "--json", "-", stdin=domain.xml())
    outcome = libvirt.start(domain)
    assert libvirt.host.masks() == before
    assert not outcome.running and outcome.failed == "prepare", outcome
    head = "icn-hook: VM 'refused' is not started: "
    assert outcome.message.startswith(head) and outcome.message.count("\n") == 1
    reason = outcome.message[len(head):-1]
    assert plan.json()["verdict"] == "refuse", plan
    assert plan.json()["reason"] == f"icn-hook: VM 'refused' would not be started: {reason}"
    assert plan.json()["writes"] == [] and plan.status == outcome.status
    return reason


def assert_moved(libvirt, message, *free):
    """Every VM with a PPU is refused, every verb that needs ids says the same; doctor has one FAIL for it."""
    host = libvirt.host
    for bdf in free:
        assert refusal(libvirt, bdf) == message
    for verb in (["status"], ["check"], ["check", "0,1"], ["suggest", "2"], ["apply", "4"], ["topo"], ["repair"],
                 ["reset"], ["explain", "0"]):
        result = host.engine(*verb)
        assert (result.status, result.stderr) == (3, f"icn-hook: {message}\n"), verb
    doctor = host.engine("doctor")
    assert doctor.status == 1
    fails = [line for line in doctor.stdout.decode().splitlines() if line.startswith("FAIL ")]
    assert len([line for line in fails if message in line]) == 1, fails
    plain = Domain("plain")
    assert libvirt.start(plain).running
    libvirt.stop("plain")
    nic = vm("with a NIC", host.add_nic(f"0000:01:0{len(host.bdfs)}.0"))
    assert libvirt.start(nic).running
    libvirt.stop("with a NIC")


def end_wherever_its_cards_are(libvirt, name, cards):
    """QEMU ends, and libvirt says so, whatever became of the addresses that it knows."""
    host, running = libvirt.host, libvirt.running.pop(name)
    host.end_process(running.pid)
    for card in cards:
        host.let_go(host.bdfs[card])
    for operation in ("stopped", "release"):
        assert libvirt.call(running.domain, operation, INACTIVE).status == 0
        host.remove_status(name)


@pytest.fixture(name="while_running", params=["after a reboot", "while a VM runs"])
def fixture_while_running(request, libvirt):
    """What happens to the cards is told to the one that is given: it gets them back as they were."""
    host = libvirt.host

    def change(action, back):
        if request.param == "after a reboot":
            libvirt.reboot()
            action()
            return lambda: back() if back else None
        assert libvirt.start(vm("running", *host.bdfs[:2])).running
        assert host.masks() == FIRST_TWO
        libvirt.watch = False  # its addresses are no longer those of its cards
        action()

        def end():
            there = {ppu: mask for ppu, mask in FIRST_TWO.items() if ppu in host.masks()}
            assert host.masks() == there, "nothing is opened or cut"
            end_wherever_its_cards_are(libvirt, "running", (0, 1))
            assert not back or host.masks() == there, "nothing is opened"
            if back:
                back()
                assert host.engine("repair").status == 0
                assert host.masks() == ALL_OPEN
                assert host.engine("check").status == 0

        return end

    return change


SHIFT_MESSAGES = {
    "address": f"PPU 0 was at {PINNED[0]}, where no card matches :6001 now, and {SHIFTED[3]} is a card that is not in "
               "[map]",
    "path": f"PPU 1 was at {PINNED[1]} and is at {SHIFTED[1]} now (path pci0000:00/02.0/00.0)",
    "serial": f"PPU 1 was at {PINNED[1]} and is at {SHIFTED[1]} now (serial 00-00-00-00-00-00-00-02)",
    "path and serial": f"PPU 1 was at {PINNED[1]} and is at {SHIFTED[1]} now (path pci0000:00/02.0/00.0)",
}


@pytest.mark.parametrize("marks", MARKS, ids=IDS)
def test_numbered_anew_by_one(libvirt, chassis, while_running, marks):
    """Case C1: a card was added, and all buses behind it have one more."""
    host = libvirt.host
    host.map_ids(chassis.pins(*marks))
    end = while_running(lambda: chassis.renumber(dict(enumerate(SHIFTED))),
                        lambda: chassis.renumber(dict(enumerate(PINNED))))
    message = MOVED + SHIFT_MESSAGES[IDS[MARKS.index(marks)]] + SETUP
    assert refusal(libvirt, SHIFTED[0], SHIFTED[1]) == message
    assert_moved(libvirt, message, SHIFTED[3], SHIFTED[7])
    end()


def test_two_are_swapped(libvirt, chassis, while_running):
    """In their slots: only the serial numbers show it."""
    host = libvirt.host
    host.map_ids(chassis.pins(with_path=True, with_serial=True))
    end = while_running(lambda: chassis.swap(3, 6), lambda: chassis.swap(3, 6))
    message = f"{MOVED}PPU 3 was at {PINNED[3]} and is at {PINNED[6]} now (serial 00-00-00-00-00-00-00-04){SETUP}"
    assert_moved(libvirt, message, PINNED[3], PINNED[7])
    end()


def test_two_addresses_are_swapped(libvirt, chassis, while_running):
    """The bridges got each other's bus: the paths show it."""
    host = libvirt.host
    host.map_ids(chassis.pins(with_path=True))
    end = while_running(lambda: chassis.renumber({3: PINNED[6], 6: PINNED[3]}),
                        lambda: chassis.renumber({3: PINNED[3], 6: PINNED[6]}))
    message = f"{MOVED}PPU 3 was at {PINNED[3]} and is at {PINNED[6]} now (path pci0000:00/04.0/00.0){SETUP}"
    assert_moved(libvirt, message, PINNED[3], PINNED[7])
    end()


def test_one_is_replaced(libvirt, chassis, while_running):
    host = libvirt.host
    host.map_ids(chassis.pins(with_serial=True))
    end = while_running(lambda: chassis.set_serial(PINNED[5], 0x77), lambda: chassis.set_serial(PINNED[5], 6))
    message = (f"{MOVED}PPU 5 was at {PINNED[5]}, where another card is now (serial 00-00-00-00-00-00-00-77, not "
               f"00-00-00-00-00-00-00-06){SETUP}")
    assert_moved(libvirt, message, PINNED[5], PINNED[7])
    end()


@pytest.mark.parametrize("marks", MARKS, ids=IDS)
def test_one_is_absent(libvirt, chassis, while_running, marks):
    """It harms no other."""
    host = libvirt.host
    host.map_ids(chassis.pins(*marks))
    end = while_running(lambda: host.remove_function(PINNED[6]), None)
    libvirt.watch = False  # it needs the registers of all cards
    assert refusal(libvirt, PINNED[6]) == (f"PPU 6 ({PINNED[6]}) is not on the PCI bus; see dmesg, rescan the bus or "
                                           "give the VM another card")
    assert libvirt.start(vm("other", PINNED[4], PINNED[5])).running
    libvirt.stop("other")
    end()


@pytest.mark.parametrize("marks", MARKS, ids=IDS)
def test_one_is_added(libvirt, chassis, while_running, marks):
    """It is refused to VMs, and harms no other."""
    host, added = libvirt.host, "0000:61:00.0"
    host.map_ids(chassis.pins(*marks))
    end = while_running(lambda: host.add_function(added, PPU_VENDOR, PPU_DEVICE, PPU_CLASS, iommu_group=99), None)
    assert refusal(libvirt, added, PINNED[4]) == (f"VM 'refused': {added} is a PPU but no [map] line says which; run "
                                                  "icn-hook setup, or give the VM another card")
    assert libvirt.start(vm("other", PINNED[4], PINNED[5])).running
    libvirt.stop("other")
    end()


def test_path_of_a_card_that_shows_none(libvirt, chassis):
    """As on a host where it is not below a host bridge any more."""
    host = libvirt.host
    host.map_ids(chassis.pins(with_path=True))
    real = host.device(PINNED[2]).resolve()
    host.device(PINNED[2]).unlink()
    real.rename(host.device(PINNED[2]))
    message = (f"{MOVED}PPU 2 was at {PINNED[2]}, where another card is now (path none, not pci0000:00/03.0/00.0)"
               f"{SETUP}")
    assert_moved(libvirt, message, PINNED[7])


def test_serial_number_that_cannot_be_read(libvirt, chassis):
    """Nobody can tell whether it is the card; that harms no other."""
    host = libvirt.host
    host.map_ids(chassis.pins(with_serial=True))
    config = host.device(PINNED[2]) / "config"
    config.unlink()
    config.mkdir()
    assert refusal(libvirt, PINNED[2]) == (
        f"PPU 2 ({PINNED[2]}) may be another card than the one in [map]: its path or serial number cannot be read; "
        "correct that, or give the VM another card")
    assert libvirt.start(vm("other", PINNED[0], PINNED[1])).running
    libvirt.stop("other")


def test_no_map(libvirt):
    """Case C2: the order of the addresses says nothing, whatever the number of cards is."""
    host = libvirt.host
    host.map_ids({})
    assert_moved(libvirt, NO_MAP, PINNED[0], PINNED[7])
    assert host.engine("topo", "--validate", host.path("/etc/icn-hook/icn_topo.cfg")).status == 0


def test_no_map_while_vms_run(libvirt, chassis):
    """As after an upgrade from 0.1, which did without: what runs stays isolated, and nothing is opened."""
    host = libvirt.host
    host.map_ids(chassis.pins())
    assert libvirt.start(vm("a", PINNED[0], PINNED[1])).running
    assert libvirt.start(vm("b", PINNED[6])).running
    cut, claims = host.masks(), host.claims()
    host.map_ids({})
    assert refusal(libvirt, PINNED[4]) == NO_MAP
    libvirt.reconnect("a")
    assert host.engine("repair").status == 3
    assert host.masks() == cut and host.claims() == claims
    libvirt.stop("b")
    assert host.masks() == cut, "its end is noted, and nothing is opened"
    host.map_ids(dict(enumerate(PINNED)))
    assert host.engine("repair").status == 0
    assert host.masks() == FIRST_TWO and list(host.claims()) == [f"{vm('a').uuid}.json"]
    libvirt.stop("a")
    assert host.masks() == ALL_OPEN and host.claim_files() == {}


def test_card_that_comes_back_elsewhere(libvirt, chassis):
    """Case C2: the number of cards is right all the time, while a VM runs."""
    host = libvirt.host
    host.map_ids(chassis.pins())
    assert libvirt.start(vm("running", *PINNED[:2])).running
    libvirt.watch = False
    chassis.renumber({6: "0000:05:00.0"})
    message = (f"{MOVED}PPU 6 was at {PINNED[6]}, where no card matches :6001 now, and 0000:05:00.0 is a card that is "
               f"not in [map]{SETUP}")
    assert_moved(libvirt, message, "0000:05:00.0", PINNED[4])
    assert host.masks() == FIRST_TWO


def test_match_that_finds_none_of_the_cards(libvirt):
    """Case C4."""
    host = libvirt.host
    host.configure("[ppu]\nmatch = :7001\n")
    message = (f"match = :7001 in [ppu] finds none of the 8 cards in [map], not even {PINNED[0]}; correct it, or see "
               "lspci -D -nn for what became of the cards")
    assert_moved(libvirt, message, PINNED[0], PINNED[7])
    host.configure("[ppu]\nmatch = 8086:10fb\n")
    nic = host.add_nic("0000:02:00.0")
    message = (f"{MOVED}PPU 0 was at {PINNED[0]}, where no card matches 8086:10fb now, and ")
    assert refusal(libvirt, PINNED[3]).startswith(message)
    assert refusal(libvirt, nic).startswith(message)


def test_other_function_at_a_pinned_address(libvirt, chassis):
    """It is no PPU, and nothing is read or written there, whatever its registers hold."""
    host = libvirt.host
    host.map_ids(chassis.pins())
    host.remove_function(PINNED[6])
    host.add_function(PINNED[6], 0x8086, 0x10FB, 0x020000, iommu_group=1)
    libvirt.watch = False  # it takes that for the card
    assert libvirt.start(vm("with a NIC", PINNED[6])).running
    assert host.claim_files() == {}
    assert libvirt.start(vm("a", PINNED[0], PINNED[1])).running
    assert host.masks() == {**FIRST_TWO, 6: 0}
    ppu = host.engine("status", "--json").json()["ppus"][6]
    assert (ppu["present"], ppu["owners"], ppu["mask"]) == (False, [], None)
    libvirt.stop("with a NIC")
    libvirt.stop("a")
    assert host.masks() == ALL_OPEN


# The identity of this boot


def swapped_map(host):
    host.map_ids({**dict(enumerate(PINNED)), 1: PINNED[2], 2: PINNED[1]})


def map_with_a_serial(host):
    host.map_ids({**dict(enumerate(PINNED)), 4: PINNED[4] + " serial=00-00-00-00-00-00-00-05"})


def map_without(host):
    host.map_ids(dict(list(enumerate(PINNED))[:7]))


def other_topology(host):
    links = {ppu: dict(peers) for ppu, peers in host.topology.links.items()}
    links[0][1], links[4][1] = 4, 0
    host.write("/etc/icn-hook/icn_topo.cfg", Topology(links).text())


CHANGES = {
    "ids": (swapped_map, f"PPU 1 was {PINNED[1]} and is {PINNED[2]} now"),
    "serial": (map_with_a_serial,
               f"PPU 4 was {PINNED[4]} and is {PINNED[4]} serial=00-00-00-00-00-00-00-05 now"),
    "fewer": (map_without, f"PPU 7 was {PINNED[7]} and is not in [map] now"),
    "topology": (other_topology, "link 1 of PPU 0 led nowhere and leads to PPU 4 now"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_changed_while_a_vm_runs(libvirt, chassis, case):
    """Starts are refused until the old one is back; nothing is opened, and nothing is cut for the new one."""
    host = libvirt.host
    change, difference = CHANGES[case]
    host.map_ids(chassis.pins())
    a = vm("a", PINNED[0], PINNED[1])
    assert libvirt.start(a).running
    written = host.state_files()[IDENTITY]
    change(host)
    message = CHANGED + difference + CHANGE_BACK
    for addresses in ([PINNED[4]], [PINNED[6]], [PINNED[1], PINNED[2]]):
        assert refusal(libvirt, *addresses) == message
    apply = host.engine("apply", "4")
    assert (apply.status, apply.stderr) == (3, f"icn-hook: group 'manual-4' is not isolated: {message}\n")
    status = host.engine("status", "--json").json()
    assert status["ok"] is False
    assert [[owner["name"] for owner in ppu["owners"]] for ppu in status["ppus"][:3]] == [["a"], ["a"], []]
    found = [finding for finding in status["findings"] if finding["code"] == "identity"]
    assert [(finding["severity"], finding["text"]) for finding in found] == [("error", message)]
    assert host.engine("check").status == 1
    fails = [line for line in host.engine("doctor").stdout.decode().splitlines() if line.startswith("FAIL ")]
    assert len([line for line in fails if message in line]) == 1, fails
    libvirt.reconnect("a")
    host.write_register(2, 0)
    assert host.engine("repair").status == 1, "it says so"
    assert host.masks() == FIRST_TWO, "but makes what is missing, by the old one"
    assert host.state_files()[IDENTITY] == written
    host.map_ids(dict(enumerate(PINNED)))
    host.write("/etc/icn-hook/icn_topo.cfg", host.topology.text())
    assert libvirt.start(vm("b", PINNED[4], PINNED[5])).running
    libvirt.stop("b")
    libvirt.stop("a")
    assert host.masks() == ALL_OPEN and host.engine("check").status == 0


@pytest.mark.parametrize("case", CHANGES)
def test_changed_and_the_vms_end(libvirt, chassis, case):
    """The last end opens nothing; then the new one is in force, and the next call gives the links back."""
    host = libvirt.host
    change, _ = CHANGES[case]
    host.map_ids(chassis.pins())
    assert libvirt.start(vm("a", PINNED[0], PINNED[1])).running
    assert libvirt.start(vm("b", PINNED[2])).running
    cut = host.masks()
    change(host)
    libvirt.stop("a")
    assert host.masks() == cut, "nothing is opened while b runs"
    assert list(host.claims()) == [f"{vm('b').uuid}.json"], "but the end of a is carried out"
    libvirt.stop("b")
    left = {7: cut[7]} if case == "fewer" else {}
    assert host.masks() == {**ALL_OPEN, **left}, "a card that is no PPU any more is left alone"
    assert host.claim_files() == {}
    libvirt.watch = False  # it knows one topology and one order
    assert libvirt.start(vm("c", PINNED[0], PINNED[1])).running
    assert host.engine("check").status == 0
    libvirt.stop("c")
    host.map_ids(dict(enumerate(PINNED)))
    host.write("/etc/icn-hook/icn_topo.cfg", host.topology.text())
    assert host.engine("repair").status == 0
    assert host.masks() == ALL_OPEN


def test_changed_while_a_vm_is_being_started(host, chassis):
    """Between its prepare and its start."""
    domain = vm("a", PINNED[0], PINNED[1])
    host.map_ids(chassis.pins())
    assert host.hook("a", "prepare", domain.xml(PREPARE)).status == 0
    swapped_map(host)
    for bdf in PINNED[:2]:
        host.set_driver(bdf, "vfio-pci")
    result = host.hook("a", "start", domain.xml(LIVE))
    message = f"{CHANGED}PPU 1 was {PINNED[1]} and is {PINNED[2]} now{CHANGE_BACK}"
    assert (result.status, result.stderr) == (3, f"icn-hook: VM 'a' is not started: {message}\n")
    assert host.masks() == FIRST_TWO
    assert host.hook("a", "stopped", domain.xml(INACTIVE)).status == 0
    assert host.hook("a", "release", domain.xml(INACTIVE)).status == 0
    assert host.masks() == ALL_OPEN and host.claim_files() == {}


def test_changed_while_nobody_has_a_card(libvirt, chassis):
    """Then it is what is in force, and what the next VM is isolated by."""
    host = libvirt.host
    host.map_ids(chassis.pins())
    assert libvirt.start(vm("a", PINNED[0])).running
    libvirt.stop("a")
    before = host.state_files()[IDENTITY]
    swapped_map(host)
    assert host.engine("check").status == 0
    assert host.state_files()[IDENTITY] == before, "who looks writes nothing"
    libvirt.watch = False
    assert libvirt.start(vm("a", PINNED[0], PINNED[2])).running
    assert host.masks() == {0: 0x19, 2: 0x31, 1: 0x18, 3: 0x30, 4: 0, 5: 0, 6: 0x01, 7: 0x01}
    assert host.state_files()[IDENTITY] != before
    libvirt.stop("a")


def test_forgotten_at_a_reboot(libvirt, chassis):
    host = libvirt.host
    host.map_ids(chassis.pins())
    assert libvirt.start(vm("a", PINNED[0], PINNED[1])).running
    libvirt.reboot()
    before = host.state_files()[IDENTITY]
    swapped_map(host)
    assert host.engine("check").status == 0
    libvirt.watch = False
    assert libvirt.start(vm("b", PINNED[4])).running
    assert host.state_files()[IDENTITY].splitlines()[0] != before.splitlines()[0]
    libvirt.stop("b")


def test_what_is_written(libvirt, chassis):
    host = libvirt.host
    host.map_ids(chassis.pins(with_path=True, with_serial=True))
    assert libvirt.start(vm("a", PINNED[0])).running
    lines = host.state_files()[IDENTITY].decode().splitlines()
    assert lines[:3] == [
        "icn-hook/identity/1 11111111-2222-4333-8444-555555555555",
        "ppus 8",
        f"pin 0 {PINNED[0]} path=pci0000:00/01.0/00.0 serial=00-00-00-00-00-00-00-01",
    ]
    assert lines[9:] == [f"pin 7 {PINNED[7]} path=pci0000:00/08.0/00.0 serial=00-00-00-00-00-00-00-08"] + [
        f"link {ppu}.{link} {peer}" for ppu in range(8) for link, peer in sorted(host.topology.links[ppu].items())]
    assert (host.path("/run/icn-hook") / IDENTITY).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"", b"junk\n", b"icn-hook/identity/2 11111111-2222-4333-8444-555555555555\n"])
def test_damaged(libvirt, chassis, content):
    """Starts are refused while anybody owns a card; when nobody does, it is begun anew."""
    host = libvirt.host
    host.map_ids(chassis.pins())
    assert libvirt.start(vm("a", PINNED[0], PINNED[1])).running
    path = host.path("/run/icn-hook") / IDENTITY
    written = path.read_bytes()
    path.write_bytes(content)
    message = (f"{path}:1: it is not what icn-hook writes; when no VM or group has a card any more, run: icn-hook "
               "repair")
    assert refusal(libvirt, PINNED[4]) == message
    fails = [line for line in host.engine("doctor").stdout.decode().splitlines() if line.startswith("FAIL ")]
    assert len([line for line in fails if "it is not what icn-hook writes" in line]) == 1, fails
    assert host.engine("check").status == 1
    assert host.engine("repair").status == 1
    assert path.read_bytes() == content and host.masks() == FIRST_TWO
    libvirt.stop("a")
    assert path.read_bytes() == written
    assert host.engine("repair").status == 0
    assert host.masks() == ALL_OPEN and host.engine("check").status == 0


def test_damaged_and_nobody_has_a_card(host, chassis):
    host.map_ids(chassis.pins())
    assert host.engine("repair").status == 0
    path = host.path("/run/icn-hook") / IDENTITY
    written = path.read_bytes()
    path.write_bytes(b"junk\n")
    assert host.engine("repair", "--dry-run").status == 0 and path.read_bytes() == b"junk\n"
    result = host.engine("repair", "--json")
    assert result.status == 0 and path.read_bytes() == written
    assert "the damaged record of which card is which PPU is begun anew" in [
        finding["text"] for finding in result.json()["findings"]]
