# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who owns what after things that really happen: callers that vanish, ends that are
lost, damaged state, cards that nobody can reach.  The host behaves as a kernel does:
a card that is held, or that a driver has, cannot be mapped."""

import fcntl
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from bystander import vm
from domain_xml import INACTIVE, LIVE, PREPARE, Domain, Hostdev, Mdev
from faults import Tracer
from libvirt_player import Libvirt
from simhost import GUIDE_BDFS, SimHost, config_space

NOTHING_CUT = {ppu: 0 for ppu in range(8)}
ONLY_A = {**NOTHING_CUT, 0: 0x19, 1: 0x31, 2: 0x18, 3: 0x30, 6: 0x01, 7: 0x01}  # a has 0 and 1
GONE = 0xFFFFFFFF
FORMS = {"prepare": PREPARE, "stopped": INACTIVE, "release": INACTIVE}


def hook(host, domain, operation, **options):
    return host.hook(domain.name, operation, domain.xml(FORMS.get(operation, LIVE)), **options)


def passes(host, domain, *operations, **options):
    for operation in operations:
        result = hook(host, domain, operation, **options)
        assert (result.status, result.stderr) == (0, ""), (operation, result)


def cards(host):
    """ppu -> the card in `status --json`."""
    result = host.engine("status", "--json")
    assert result.status == 0, result
    return {card["ppu"]: card for card in result.json()["ppus"]}


def owners(host):
    """ppu -> names; cards without owner are left out."""
    return {ppu: [owner["name"] for owner in card["owners"]] for ppu, card in cards(host).items() if card["owners"]}


def owed(host):
    return {ppu: card["owed"] for ppu, card in cards(host).items() if card["owed"] is not None}


def findings_of(result, vm_name):
    return [finding for finding in result.json()["findings"] if finding["vm"] == vm_name]


def bind_all(host, driver):
    for bdf in host.bdfs:
        host.set_driver(bdf, driver)


def is_lost(libvirt, name):
    """The VM ends while nobody listens: libvirt calls no hook, now or later."""
    running = libvirt.running.pop(name)
    libvirt._qemu_ends(running)
    libvirt.host.remove_status(name)
    libvirt.let_through.pop(running.domain.uuid)
    for bdf, driver in running.rebind.items():
        libvirt.host.set_driver(bdf, driver)


# A1, A2: who called


def bind_vfio(host, domain):
    for device in domain.devices:
        host.set_driver(device.bdf, "vfio-pci")


@pytest.mark.parametrize("through", ["dispatcher", "orphan", "plain"])
def test_vm_that_is_being_started_keeps_its_cards(host, through):
    """The hook's caller has ended with each call; another VM wants a card of it, and a
    third one comes and goes beside it."""
    a, rival, third = vm("a", 0, 1), vm("rival", 1, 5), vm("third", 2)
    passes(host, a, "prepare", through=through)
    bind_vfio(host, a)
    passes(host, a, "start", through=through)
    assert host.masks() == ONLY_A
    assert owners(host) == {0: ["a"], 1: ["a"]}
    refused = hook(host, rival, "prepare", through=through)
    assert refused.status == 4 and "VM 'a'" in refused.stderr and "PPU 1" in refused.stderr, refused
    passes(host, rival, "stopped", "release", through=through)
    passes(host, third, "prepare", "start", "stopped", "release", through=through)
    assert host.masks() == ONLY_A
    assert owners(host) == {0: ["a"], 1: ["a"]}


@pytest.mark.parametrize("through", ["orphan", "plain"])
def test_unknown_caller_is_believed_for_start_timeout(host, through):
    """Unknown is not dead, and not for ever."""
    host.configure("[policy]\nstart_timeout = 2\n")
    began = time.monotonic()
    passes(host, vm("a", 0, 1), "prepare", through=through)
    assert hook(host, vm("b", 1), "prepare").status == 4
    time.sleep(max(0, began + 2.5 - time.monotonic()))
    assert owners(host) == {}
    passes(host, vm("b", 1), "prepare")
    assert owners(host) == {1: ["b"]}
    assert host.masks() == host.topology.required_masks({1: {"b"}})


def test_start_of_a_dead_daemon_is_over(host):
    """It was killed between the gate and QEMU; nobody ever calls for that VM again."""
    a = vm("a", 0, 1)
    passes(host, a, "prepare")
    bind_vfio(host, a)
    passes(host, a, "start")
    assert owners(host) == {0: ["a"], 1: ["a"]}
    host.daemon.restart()
    assert owners(host) == {}
    passes(host, vm("b", 1), "prepare")
    assert owners(host) == {1: ["b"]}
    assert host.masks() == host.topology.required_masks({1: {"b"}})


@pytest.mark.parametrize("end", ["dead daemon", "noted end"])
def test_start_after_the_claim_has_ended_owns_its_cards(host, end):
    """What let the VM through is no use if the old claim's end takes the cards away again."""
    a = vm("a", 0, 1)
    passes(host, a, "prepare")
    bind_vfio(host, a)
    if end == "dead daemon":
        host.daemon.restart()
    else:
        host.write(f"/run/icn-hook/ended-{a.uuid}", "").chmod(0o600)
    assert owners(host) == {}
    passes(host, a, "start")
    assert owners(host) == {0: ["a"], 1: ["a"]}
    passes(host, vm("third", 2), "prepare", "stopped", "release")
    assert (owners(host), host.masks()) == ({0: ["a"], 1: ["a"]}, ONLY_A)
    assert hook(host, vm("rival", 1), "prepare").status == 4
    passes(host, a, "stopped", "release")
    assert (owners(host), host.masks(), host.claim_files()) == ({}, NOTHING_CUT, {})


def test_daemon_dies_between_gate_and_status_file(host):
    """QEMU lives, and no status file tells of it: its cards are nobody else's."""
    a = vm("a", 0, 1)
    passes(host, a, "prepare")
    bind_vfio(host, a)
    passes(host, a, "start")
    for device in a.devices:
        host.hold(device.bdf)
    host.daemon.restart()
    refused = hook(host, vm("b", 1, 2), "prepare")
    assert refused.status == 4 and "PPU 1" in refused.stderr, refused
    passes(host, vm("c", 2), "prepare", "start", "stopped", "release")
    masks = host.masks()
    assert (masks[0], masks[1]) == (0x19, 0x31)
    assert all(masks[ppu] & cut == cut for ppu, cut in ONLY_A.items())
    for device in a.devices:
        host.let_go(device.bdf)
    assert owners(host) == {}
    passes(host, vm("b", 1, 2), "prepare")


# A3: the end is lost


def assert_free(host, libvirt):
    """Nobody owns a card, the next VM gets them, and nothing of the dead one is left."""
    assert owners(host) == {}
    assert libvirt.start(vm("b", 1, 4)).running
    assert owners(host) == {1: ["b"], 4: ["b"]}
    assert host.masks() == host.topology.required_masks({1: {"b"}, 4: {"b"}})
    libvirt.stop("b")
    assert host.engine("repair").status == 0
    assert (host.masks(), host.claims()) == (NOTHING_CUT, {})
    assert host.engine("check").status == 0


def test_end_without_the_lock(host, libvirt):
    host.configure("[policy]\nlock_timeout = 0\n")
    assert libvirt.start(vm("a", 0, 1)).running
    with open(host.path("/run/icn-hook/lock"), "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        libvirt.stop("a")
    assert_free(host, libvirt)


@pytest.mark.parametrize("error", ["ENOSPC", "EROFS", "EDQUOT"])
def test_end_without_room(host, libvirt, error):
    """No file can be made or renamed; for EROFS none can be removed either."""
    assert libvirt.start(vm("a", 0, 1)).running
    running = libvirt.running.pop("a")
    libvirt._qemu_ends(running)
    calls = "renameat,unlinkat,mkdir" if error == "EROFS" else "renameat"
    tracer = Tracer(host, host.engine_program, host.root.parent / "trace")
    for operation in ("stopped", "release"):
        options = ["-f", "-e", f"trace={calls}", "-P", str(host.path("/run/icn-hook")), "-e", f"inject={calls}:error={error}"]
        status, message = tracer.run(["a", operation, "end", "-"], running.domain.xml(INACTIVE), options)
        assert (status, message) == (0, ""), operation
        if operation == "stopped":
            host.remove_status("a")
    libvirt.let_through.clear()
    assert_free(host, libvirt)


def test_end_that_is_never_told(host, libvirt):
    """A claim needs a status file or somebody who holds a card."""
    assert libvirt.start(vm("a", 0, 1)).running
    is_lost(libvirt, "a")
    assert owners(host) == {}
    result = host.engine("check", "--json")
    assert result.json()["coverage"] == {"required": 0, "proven": 0, "gated": 0, "unverified": 0}
    assert findings_of(result, "a"), "the leftover claim is not named"
    assert "a" in host.engine("doctor").stdout.decode()
    assert set(owed(host)) == {0, 1, 2, 3, 6, 7}
    assert_free(host, libvirt)


def test_repair_ends_what_was_never_told(host, libvirt):
    assert libvirt.start(vm("a", 0, 1)).running
    is_lost(libvirt, "a")
    result = host.engine("repair")
    assert result.status == 0, result
    assert (host.masks(), host.claims(), owed(host)) == (NOTHING_CUT, {}, {})
    assert host.engine("check").status == 0


# A4: many ends at once


def test_sixteen_ends_with_a_slow_tool(tmp_path):
    """Each call of the tool takes a fifth of the time that a hook waits for the lock."""
    host = SimHost(tmp_path / "sixteen", cards=16)
    host.configure("[registers]\nbackend = ppudbg\n[policy]\nlock_timeout = 2\n")
    standin = host.install_tool("ppudbg", "/usr/sbin/standin")
    tool = host.write("/usr/bin/ppudbg", f'#!/bin/sh\nexec {sys.executable} {standin} "$@"\n')
    tool.chmod(0o755)
    libvirt = Libvirt(host, watch=False)
    domains = [Domain(f"vm{ppu}", [Hostdev(bdf)]) for ppu, bdf in enumerate(host.bdfs)]
    for domain in domains:
        assert libvirt.start(domain).running
    tool.write_text(f'#!/bin/sh\nsleep 0.4\nexec {sys.executable} {standin} "$@"\n')
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda domain: libvirt.stop(domain.name), domains))
    assert owners(host) == {}
    tool.write_text(f'#!/bin/sh\nexec {sys.executable} {standin} "$@"\n')
    result = host.engine("repair")
    assert result.status in (0, 7), result
    assert (set(host.masks().values()), host.claims()) == ({0}, {})
    for domain in domains:
        assert libvirt.start(domain).running
    host.daemon.kill()


# A5, A7, A8: cards that cannot be reached


def test_ended_is_final(host, libvirt):
    """a's end finds its cards with the host's driver again.  b then holds two of them:
    that says nothing about a."""
    host.configure("[policy]\non_leak = kill\n")
    bind_all(host, "ppu")
    a = vm("a", 0, 1, 4)
    assert libvirt.start(a).running
    assert libvirt.start(vm("c", 2)).running
    running = libvirt.running.pop("a")
    libvirt._qemu_ends(running)
    libvirt.let_through.pop(a.uuid)
    host.remove_status("a")
    for bdf, driver in running.rebind.items():
        host.set_driver(bdf, driver)
    passes(host, a, "stopped", "release")
    assert owners(host) == {2: ["c"]}
    assert {0, 1, 4} <= set(owed(host))
    assert libvirt.start(vm("b", 0, 1)).running
    assert owners(host) == {0: ["b"], 1: ["b"], 2: ["c"]}
    assert host.live_pairs(host.masks()) >= {(0, 1)}, "b's own link was cut"
    outcome = libvirt.start(vm("d", 4))
    assert outcome.running, outcome
    assert owners(host)[4] == ["d"]
    result = host.engine("check")
    assert result.status == 0, result
    for name in ("b", "c", "d"):
        libvirt.stop(name)
    bind_all(host, None)
    assert host.engine("repair").status == 0
    assert host.masks() == NOTHING_CUT


def set_gone(host, ppu, mask):
    """MASK: None for a card that is off the bus."""
    config = host.device(GUIDE_BDFS[ppu]) / "config"
    if mask is None:
        config.write_bytes(b"\xff" * 256)
        host.write_register(ppu, GONE)
    else:
        config.write_bytes(config_space(0x1DED, 0x6001, 0x120000, 0xD0000000))
        host.write_register(ppu, mask)


@pytest.mark.parametrize("mends", ["a hook of a neighbour", "repair"])
def test_card_that_was_gone_at_the_end(host, libvirt, mends):
    libvirt.watch = False
    assert libvirt.start(vm("a", 0, 1)).running
    set_gone(host, 0, None)
    libvirt.stop("a")
    assert owners(host) == {}
    assert owed(host) == {0: "0x00000000"}
    set_gone(host, 0, 0x19)
    assert owed(host) == {0: "0x00000000"}
    if mends == "repair":
        result = host.engine("repair", "--json")
        assert result.status == 0
        written = [(each["ppu"], each["from"], each["to"]) for each in result.json()["writes"]]
        assert written == [(0, "0x00000019", "0x00000000")]
        assert result.json()["debts"] == []
    else:
        passes(host, vm("d", 6), "prepare", "stopped", "release")
    assert (host.masks(), owed(host)) == (NOTHING_CUT, {})


def test_two_that_were_neighbours_owe_nothing_for_ever(host, libvirt):
    """The host's driver has all idle cards: what a's cards have cut towards c cannot be
    opened when c ends, and what c's has towards a could not when a ended."""
    bind_all(host, "ppu")
    assert libvirt.start(vm("a", 0, 1)).running
    assert libvirt.start(vm("c", 2)).running
    libvirt.stop("a")
    libvirt.stop("c")
    assert owners(host) == {}
    left = {ppu: mask for ppu, mask in host.masks().items() if mask}
    assert left == {0: 0x08, 1: 0x10}
    assert owed(host) == {0: "0x00000000", 1: "0x00000000"}
    result = host.engine("repair", "--json")
    assert result.json()["debts"] == [{"ppu": 0, "owed": "0x00000000"}, {"ppu": 1, "owed": "0x00000000"}]
    assert host.engine("status", "--json").json()["findings"], "debts are reported"
    host.set_driver(GUIDE_BDFS[0], None)
    assert host.engine("repair").status in (0, 7)
    assert (host.mask(0), set(owed(host))) == (0, {1})
    # The next owner of the other one pays its debt.
    assert libvirt.start(vm("b", 1)).running
    libvirt.stop("b")
    assert (host.mask(1), owed(host)) == (0, {})


def test_debt_of_a_card_that_was_prepared_unread(host, libvirt):
    """The host's driver has PPU 5, which is cut towards PPU 3 and 4 and cannot be opened when 3 is free again.  A VM
    gets both 3 and 5, and its start fails before 5 was read: the old cut between them is a debt for all that."""
    c = vm("c", 3, 5, 7)
    assert libvirt.start(vm("a", 3)).running
    assert libvirt.start(vm("b", 4)).running
    assert host.mask(5) == 0x09
    host.set_driver(GUIDE_BDFS[5], "ppu")
    libvirt.stop("a")
    assert (host.mask(5), owed(host)) == (0x09, {5: "0x00000008"})
    passes(host, c, "prepare")
    bind_vfio(host, c)
    passes(host, c, "stopped")
    assert owners(host) == {4: ["b"]}
    assert (host.masks(), owed(host)) == (host.topology.required_masks({4: {"b"}}), {})


# A6: damaged state


def damage(host, domain):
    path = host.path("/run/icn-hook") / f"{domain.uuid}.json"
    path.write_text(path.read_text()[:40])
    return path


@pytest.mark.parametrize("remedy", ["repair", "remove the file"])
def test_damaged_claim(host, libvirt, remedy):
    """The message names a verb; and who removes the file by hand loses nothing."""
    a = vm("a", 0, 1)
    assert libvirt.start(a).running
    path = damage(host, a)
    is_lost(libvirt, "a")
    refused = hook(host, vm("b", 4), "prepare")
    assert refused.status == 3 and "icn-hook repair" in refused.stderr and "remove the file" not in refused.stderr
    assert str(path) in refused.stderr
    assert host.masks() == ONLY_A
    if remedy == "remove the file":
        path.unlink()
    assert host.engine("repair").status == 0
    assert (host.masks(), host.claims()) == (NOTHING_CUT, {})
    passes(host, vm("b", 4), "prepare")
    assert host.masks() == host.topology.required_masks({4: {"b"}})


# A9: QEMU survives


def test_process_that_survives_its_kill(host, libvirt):
    """It holds no card through vfio, but a mediated device of one."""
    uuid = host.add_mdev(6, "c0ffee00-0000-4000-8000-000000000001")
    assert libvirt.start(Domain("a", [Mdev(uuid, GUIDE_BDFS[6])])).running
    assert host.mask(6) == 0x39
    running = libvirt.running["a"]
    passes(host, running.domain, "stopped")
    assert host.mask(6) == 0x39
    refused = hook(host, vm("b", 6), "prepare")
    assert refused.status == 4 and "VM 'a'" in refused.stderr, refused
    libvirt.stop("a")
    assert host.masks() == NOTHING_CUT
    assert owners(host) == {}


# A10: the status file decides


def test_vm_that_has_no_cards_any_more(host, libvirt):
    a = vm("a", 0, 1)
    assert libvirt.start(a).running
    is_lost(libvirt, "a")
    a.devices = []
    assert libvirt.start(a).running
    assert owners(host) == {}
    assert libvirt.start(vm("b", 0, 4)).running
    assert owners(host) == {0: ["b"], 4: ["b"]}
    assert host.masks() == host.topology.required_masks({0: {"b"}, 4: {"b"}})
    libvirt.stop("a")
    assert owners(host) == {0: ["b"], 4: ["b"]}


# A11: each device for itself


def test_map_without_the_first_card(host, libvirt):
    """And nothing but its status file tells of a."""
    host.pin_ids()
    assert libvirt.start(vm("a", 0, 1)).running
    shutil.rmtree(host.path("/run/icn-hook"))
    host.configure("[map]\n" + "".join(f"{ppu} = {bdf}\n" for ppu, bdf in enumerate(host.bdfs) if ppu != 0))
    assert owners(host)[1] == ["a"]
    refused = hook(host, vm("b", 1), "prepare")
    assert refused.status == 4 and "VM 'a'" in refused.stderr, refused
    assert host.mask(1) == 0x31
