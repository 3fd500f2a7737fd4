# SPDX-License-Identifier: LGPL-2.1-or-later
"""`icn-hook doctor` on hosts with VMs: claims, links, debts."""

import json
import shutil

import pytest

from bystander import vm
from doctor_report import HOUR, NAMES, changed, changes, healthy_host, healthy_lines, start_daemon
from libvirt_player import Libvirt
from simhost import GUIDE_BDFS, IDENTITY

CLAIMED = changed("STATE-SOUND", "every file can be used; claims: 1", "PASS")
ISOLATED = changed("CARDS-LINKS", "links that must be cut: 6 (proven 6, gated 0)", "PASS")


@pytest.fixture(name="healthy")
def fixture_healthy(tmp_path):
    return healthy_host(tmp_path / "host")


def prepare(host, domain, **more):
    result = host.hook(domain.name, "prepare", domain.xml(), **more)
    assert (result.status, result.stderr) == (0, "")


def test_a_daemon_that_has_called(healthy):
    """The hook is newer than the daemon, but a claim names it."""
    healthy.hook("a", "prepare", vm("a", 0, 1).xml())
    daemon = next(iter(healthy.claims().values()))["daemon"]
    start_daemon(healthy, pid=daemon["pid"], ago=HOUR)
    stat = f"{daemon['pid']} (libvirtd) S 1 " + "0 " * 17 + f"{daemon['start']} " + "0 " * 30 + "\n"
    healthy.write(f"/proc/{daemon['pid']}/stat", stat)
    gone, come = changes(healthy)
    assert gone == healthy_lines("older than", "HOOK-WRITES", "has to be cut", "claims: 0")
    assert come == changed("HOOK-KNOWN", f"libvirtd (pid {daemon['pid']}) has called it", "PASS") + ISOLATED + CLAIMED


def over(text):
    return changed("STATE-CURRENT", text, "WARN", "icn-hook repair")


def test_a_claim_that_is_over(healthy):
    """Its cuts are debts; after a boot nothing is left of it."""
    prepare(healthy, vm("a", 0, 1), through="dying daemon")
    gone, come = changes(healthy)
    assert gone == healthy_lines("claims: 0", "left over", "owed")
    assert come == CLAIMED + over(
        "VM 'a' has ended, or its start failed, without a call that said so; the next hook or `icn-hook repair` gives "
        "its cards back"
    ) + changed(
        "STATE-DEBTS", "PPUs 0-3,6-7: cuts by icn-hook that nothing needs any more; owed mask 0x00000000", "WARN",
        "icn-hook repair; a driver that holds the card has to be unbound first",
    )
    assert healthy.engine("repair").status == 0
    assert changes(healthy) == ([], [])
    prepare(healthy, vm("a", 0, 1), through="dying daemon")
    healthy.set_boot_id("22222222-2222-4333-8444-555555555555")
    assert changes(healthy) == ([], [])


def test_an_end_that_was_noted(healthy):
    """A tombstone; of a VM that lives it is a mistake."""
    prepare(healthy, vm("a", 0, 1))
    healthy.write(f"/run/icn-hook/ended-{vm('a').uuid}", "")
    assert over("VM 'a' has ended; the next hook or `icn-hook repair` gives its cards back")[0] in changes(healthy)[1]
    healthy.write_status(vm("a", 0, 1), 4711)
    healthy.start_process(4711)
    assert changed(
        "STATE-CURRENT", "the end of VM 'a' was noted, but its process 4711 lives; the note is ignored", "WARN",
        "see who called the hook for it",
    )[0] in changes(healthy)[1]


def test_a_claim_from_the_future(healthy):
    prepare(healthy, vm("a", 0, 1))
    (name, text), = ((name, text) for name, text in healthy.state_files().items() if name == f"{vm('a').uuid}.json")
    claim = json.loads(text)
    claim["boottime_ms"] += 1000 * HOUR
    healthy.write(f"/run/icn-hook/{name}", json.dumps(claim))
    gone, come = changes(healthy)
    assert gone == healthy_lines("has to be cut", "claims: 0", "left over")
    assert come[:-2] == ISOLATED + CLAIMED
    assert come[-2].startswith("WARN  STATE-CURRENT            the claim of VM 'a' is from the future; ")


def test_a_foreign_claim(healthy):
    """As where nothing is known of what was in force."""
    prepare(healthy, vm("a", 0))
    (healthy.path("/run/icn-hook") / IDENTITY).unlink()
    healthy.configure("[map]\n" + "".join(f"{ppu} = {bdf}\n" for ppu, bdf in enumerate(GUIDE_BDFS) if ppu != 0))
    assert changed(
        "STATE-OWN", "the claim of VM 'a' names 0000:08:00.0, which has no id", "WARN",
        "give the card its id back in [map], or stop that VM",
    )[0] in changes(healthy)[1]


def test_cuts_that_are_missing(healthy):
    """A far end that is open lacks a cut; when both ends are open the link leaks."""
    prepare(healthy, vm("a", 0, 1))
    masks = healthy.masks()
    healthy.write_register(6, masks[6] & ~1)
    missing = changed("CARDS-LINKS", f"{NAMES[6]}: cuts are missing", "FAIL",
                      "icn-hook repair; icn-hook check names the masks")
    assert changes(healthy, status=1) == (healthy_lines("has to be cut", "claims: 0"), missing + CLAIMED)
    healthy.write_register(0, masks[0] & ~1)
    leak = changed("CARDS-LINKS", "PPUs 0,6: an open link across a VM's boundary", "FAIL",
                   "icn-hook repair; stop the VM if the link stays open (icn-hook check names it)")
    assert changes(healthy, status=1) == (healthy_lines("has to be cut", "claims: 0"), leak + CLAIMED)
    assert healthy.engine("repair").status == 0
    assert changes(healthy) == (healthy_lines("has to be cut", "claims: 0"), ISOLATED + CLAIMED)


def running(come):
    return (
        healthy_lines("none 8", "8 registers", "has to be cut", "claims: 0"),
        changed("CARDS-DRIVER", "drivers: vfio-pci 2, none 6", "PASS")
        + changed("CARDS-REGISTERS", "registers that can be read: 6; cards in use: 2", "PASS") + come + CLAIMED,
    )


def test_a_vm_that_runs(healthy):
    """Its own registers cannot be read; where the far ends cannot either, the gate's evidence counts."""
    libvirt = Libvirt(healthy)
    assert libvirt.start(vm("a", 0, 1)).running
    assert changes(healthy) == running(ISOLATED)
    assert libvirt.start(vm("b", 6)).running
    assert changed("CARDS-LINKS", "links that must be cut: 9 (proven 8, gated 1)", "PASS")[0] in changes(healthy)[1]


def test_a_vm_that_never_passed_the_gate(healthy):
    """icn-hook lost its memory, or was installed after the start."""
    assert Libvirt(healthy).start(vm("a", 0, 1)).running
    shutil.rmtree(healthy.path("/run/icn-hook"))
    gone, come = running(changed("CARDS-LINKS", "PPUs 0-1: not read back for its VM before QEMU opened it", "WARN",
                                 "restart the VM to have its cuts verified"))
    assert changes(healthy) == (gone[:-1], come[:-1])


def test_a_debt(healthy):
    """The VM ended while a driver of the host had a card of it."""
    libvirt = Libvirt(healthy)
    assert libvirt.start(vm("a", 0, 1)).running
    healthy.set_driver(GUIDE_BDFS[6], "ppu")
    libvirt.stop("a")
    come = changes(healthy)[1]
    assert changed("STATE-DEBTS", f"{NAMES[6]}: cuts by icn-hook that nothing needs any more; owed mask 0x00000000",
                   "WARN",
                   "icn-hook repair; a driver that holds the card has to be unbound first")[0] in come


def test_an_unverified_link(healthy):
    """Both ends are in use, and nothing is known of either."""
    libvirt = Libvirt(healthy)
    assert libvirt.start(vm("a", 0)).running
    memory = json.loads(healthy.state_files()["cards.json"])
    for card in memory["cards"]:
        card.pop("evidence", None)
    healthy.write("/run/icn-hook/cards.json", json.dumps(memory))
    healthy.set_driver(GUIDE_BDFS[6], "vfio-pci")
    healthy.hold(GUIDE_BDFS[6])
    unverified = changed("CARDS-LINKS", f"{NAMES[6]}: links that must be cut, and nothing shows that they are", "WARN",
                         "icn-hook check names them; restart the VM to have them verified")
    assert unverified[0] in changes(healthy, status=1)[1]
