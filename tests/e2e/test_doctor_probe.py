# SPDX-License-Identifier: LGPL-2.1-or-later
"""`icn-hook doctor --probe CARD`: does the register take a cut, and does a cut survive a
reset?  The card is a plain file; what a reset does to it is played by a thread that
reads the FIFO `reset`."""

import os
import threading

import pytest

from bystander import vm
from doctor_report import changed
from simhost import GUIDE_BDFS

CARD = f"PPU 5 ({GUIDE_BDFS[5]})"
LINKS_OF_5 = 0x39


@pytest.fixture(name="reset")
def fixture_reset(host):
    """Makes card 5 one that calls ACTION when it is reset."""
    threads = []

    def install(action):
        path = host.device(GUIDE_BDFS[5]) / "reset"
        os.mkfifo(path)
        reader = os.open(path, os.O_RDWR)

        def watch():
            if os.read(reader, 2) == b"1\n":
                action()
            os.close(reader)

        threads.append((threading.Thread(target=watch), path))
        threads[-1][0].start()

    yield install
    for thread, path in threads:
        if thread.is_alive():
            path.write_text("x\n")
        thread.join(10)


def vanish(host):
    """Card 5 leaves the bus: configuration space and registers read all ones."""
    (host.device(GUIDE_BDFS[5]) / "config").write_bytes(b"\xff" * 256)
    host.write_register(5, 0xFFFFFFFF)


def probe(host, card="5", *more, status=0):
    result = host.engine("doctor", "--probe", card, *more)
    assert (result.status, result.stderr) == (status, "")
    return result.stdout.decode().splitlines()


def found(check, text, result, remedy=None):
    return changed(f"PROBE-{check}", f"{CARD} {text}", result, remedy)


TAKES = found("CUT", "takes a cut and gives it back", "PASS")
NO_RESET = found("RESET", "has no reset method: not tried", "WARN", "vfio cannot reset it either; see its reset_method")
BACK = found("BACK", "has its mask 0x00000000 again", "PASS")


def test_survives(host, reset):
    seen = []
    reset(lambda: seen.append(host.mask(5)))
    (host.device(GUIDE_BDFS[5]) / "reset_method").write_text("flr bus\n")
    assert probe(host) == TAKES + found("RESET", "keeps its cuts over a reset (flr bus)", "PASS") + BACK
    assert seen == [host.topology.required_mask(5, {ppu: {str(ppu)} for ppu in range(8)})]
    assert host.masks() == {ppu: 0 for ppu in range(8)}
    assert host.claim_files() == host.remembered() == {}


def test_does_not_survive(host, reset):
    host.write_register(5, 0x80000001)
    reset(lambda: host.write_register(5, 0x80000000))
    links = host.topology.required_mask(5, {ppu: {str(ppu)} for ppu in range(8)})
    expected = found("RESET", f"loses cuts at a reset: 0x{links:08x} -> 0x00000000", "FAIL",
                     "no hook can hold the near end on this card: QEMU resets it; what remains: far ends of idle "
                     "cards, another reset_method")
    wired = 0x1 & links
    assert probe(host, GUIDE_BDFS[5], status=1) == TAKES + expected + found("BACK",
                                                                            f"has its mask 0x{wired:08x} again", "PASS")
    assert host.mask(5) == 0x80000000 | wired
    assert host.claim_files() == host.remembered() == {}


def test_does_not_come_back(host, reset):
    """It is owed its mask, and what comes next gives it back."""
    config = (host.device(GUIDE_BDFS[5]) / "config").read_bytes()
    reset(lambda: vanish(host))
    gone = "the register reads all ones: the card is off the bus or powered down; reset it or replace it"
    assert probe(host, status=1) == TAKES + found(
        "RESET", f"does not come back from a reset: {gone}", "FAIL", "no VM can take it before it answers"
    ) + found("BACK", f"did not take its mask back: {CARD}: {gone}", "FAIL",
              "the next start or stop of a VM with cards tries again, or icn-hook repair")
    assert host.claims() == {} and list(host.remembered()) == [GUIDE_BDFS[5]]
    (host.device(GUIDE_BDFS[5]) / "config").write_bytes(config)
    host.write_register(5, 0x10)
    assert host.hook("a", "prepare", vm("a", 3).xml()).status == 0
    assert (host.mask(5) & 0x10, [claim["name"] for claim in host.claims().values()]) == (0, ["a"])
    assert host.remembered()[GUIDE_BDFS[5]]["original"] == "0x00000000"


def test_no_reset_method(host):
    assert probe(host) == TAKES + NO_RESET + BACK
    report = host.engine("doctor", "--probe", "5", "--json").json()
    assert report["schema"] == "icn-hook/doctor/1"
    assert [(check["group"], check["check"], check["result"]) for check in report["checks"]] == [
        ("probe", "cut", "pass"), ("probe", "reset", "warn"), ("probe", "back", "pass"),
    ]


def test_neighbour_of_a_vm(host, reset):
    """The reset could open links that the VM's guest has opened on its side."""
    assert host.hook("a", "prepare", vm("a", 7).xml()).status == 0
    reset(lambda: host.write_register(5, 0))
    before = host.masks()
    remembered = host.remembered()
    assert before[5] != 0
    assert probe(host)[1:3] == found("RESET", "is linked to a card that a VM has: no reset tried", "WARN",
                                     "try a card without links to a VM")
    assert host.masks() == before
    assert ([claim["name"] for claim in host.claims().values()], host.remembered()) == (["a"], remembered)


def test_no_open_link(host):
    host.write_register(5, 0xFFFF)
    assert probe(host)[0:2] == found("CUT", "has no open link to cut", "WARN",
                                     "set idle = restore, or try a card that has open links")
    assert host.mask(5) == 0xFFFF


def test_a_kill_on_the_way(host, reset):
    """Killed between reset and restoring: the next operation brings the mask back."""
    killed = threading.Event()
    reset(killed.set)
    strace = ["strace", "-qq", "-o", "/dev/null", "-e", "inject=clock_nanosleep:signal=KILL"]
    result = host.run([*strace, host.engine_program, "doctor", "--probe", "5"])
    assert result.status != 0 and killed.wait(10)
    assert host.mask(5) != 0
    assert (host.claims(), host.remembered()[GUIDE_BDFS[5]]["original"]) == ({}, "0x00000000")
    assert host.hook("a", "prepare", vm("a", 0).xml()).status == 0
    assert host.mask(5) == 0
    assert [claim["name"] for claim in host.claims().values()] == ["a"]


@pytest.mark.parametrize("before", [0, 0x9])
def test_a_kill_is_mended_by_repair(host, reset, before):
    killed = threading.Event()
    host.write_register(5, before)
    reset(killed.set)
    strace = ["strace", "-qq", "-o", "/dev/null", "-e", "inject=clock_nanosleep:signal=KILL"]
    assert host.run([*strace, host.engine_program, "doctor", "--probe", "5"]).status != 0 and killed.wait(10)
    assert host.mask(5) == LINKS_OF_5
    assert host.engine("repair").status == 0
    assert (host.mask(5), host.claim_files(), host.remembered()) == (before, {}, {})


REFUSALS = [
    ("x", lambda host: None, 2, "'x' is neither a PPU's id nor a PCI address"),
    ("8", lambda host: None, 3, "no PPU of this host is '8'; icn-hook status lists them"),
    ("0000:01:00.0", lambda host: None, 3, "no PPU of this host is '0000:01:00.0'; icn-hook status lists them"),
    ("5", lambda host: host.hook("a", "prepare", vm("a", 5).xml()), 4,
     f"{CARD} is in use by a; only an idle card can be tried"),
    ("5", lambda host: host.set_driver(GUIDE_BDFS[5], "vfio-pci") or host.set_enable(GUIDE_BDFS[5], 1), 4,
     f"{CARD} is in use by unknown; only an idle card can be tried"),
    ("5", lambda host: host.set_driver(GUIDE_BDFS[5], "ppu"), 4,
     f"{CARD} is in use by the driver ppu; unbind it first"),
    ("5", lambda host: host.pin_ids() or host.remove_function(GUIDE_BDFS[5]), 5, f"{CARD} is not on the PCI bus"),
    ("5", vanish, 5,
     "the register reads all ones: the card is off the bus or powered down; reset it or replace it"),
    ("5", lambda host: host.configure("[registers]\nbackend = ppudbg\n"), 5,
     "backend ppudbg cannot read single registers; set backend = mmio to verify them"),
]


@pytest.mark.parametrize("card, plant, status, reason", REFUSALS)
def test_refused(host, card, plant, status, reason):
    plant(host)
    masks = host.masks()
    entries = host.claim_files()
    result = host.engine("doctor", "--probe", card)
    assert (result.status, result.stdout, result.stderr) == (status, b"", f"icn-hook: {reason}\n")
    assert host.masks() == masks
    assert host.claim_files() == entries


def test_in_doubt(host):
    host.path("/run/icn-hook").mkdir(mode=0o700)
    host.write("/run/icn-hook/00000000-0000-4000-8000-000000000001.json", "{")
    result = host.engine("doctor", "--probe", "5")
    assert (result.status, result.stdout) == (4, b"")
    assert result.stderr.startswith(f"icn-hook: {CARD} may belong to a VM: ")


def test_with_something_else(host):
    result = host.engine("doctor", "--probe", "5", "x.xml")
    assert (result.status, result.stdout) == (2, b"")
    assert result.stderr == "icn-hook: --probe takes one card and cannot be combined with 'x.xml'; see icn-hook help doctor\n"
