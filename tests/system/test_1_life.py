# SPDX-License-Identifier: LGPL-2.1-or-later
"""Start and stop of one VM."""

from scene import GOLDEN_PAIR, GOLDEN_SIX, VM


def test_installed_as_a_user_installs_it(scene):
    files = scene.machine.must("stat -c '%a %U %n' /usr/bin/icn-hook /etc/libvirt/hooks/qemu /etc/icn-hook/*")
    assert files.splitlines() == [
        "755 root /usr/bin/icn-hook",
        "755 root /etc/libvirt/hooks/qemu",
        "644 root /etc/icn-hook/icn-hook.conf",
        "755 root /etc/icn-hook/icn-hook.conf.d",
        "644 root /etc/icn-hook/icn_topo.cfg",
        "644 root /etc/icn-hook/icn_topo.cfg.example",
    ]


def test_two_cards(scene):
    vm = scene.define(VM(1, [0, 1]))
    scene.stall("prepare")
    starting = scene.begin_start(vm)
    scene.await_stall("prepare")
    scene.expect(GOLDEN_PAIR, "prepare")
    scene.unstall("prepare")
    assert starting.wait().status == 0
    scene.expect(GOLDEN_PAIR, "running")
    assert scene.machine.owners() == [1, 1, 0, 0, 0, 0, 0, 0]
    assert scene.owners() == [["vm-1"], ["vm-1"]] + [[]] * 6
    assert "6 links must be cut: 6 read now, 0 read back" in scene.check(0)
    scene.stall("stopped")
    ending = scene.begin_end(vm)
    scene.await_stall("stopped")
    scene.expect({}, "stopped")
    scene.unstall("stopped")
    assert ending.wait().status == 0
    scene.expect_idle("released")


def test_all_eight_cards(scene):
    vm = VM(1, range(8))
    scene.start(vm)
    scene.expect({}, "running")
    assert scene.machine.owners() == [1] * 8
    scene.end(vm)
    scene.expect_idle("stopped")


def test_between_two_vms_the_gate_is_the_evidence(scene):
    """Both ends are QEMU's, and nobody can read them."""
    first, second = VM(1, [0, 1]), VM(2, [2, 3])
    scene.start(first)
    scene.start(second)
    for bdf in scene.bdfs[:4]:
        assert int(scene.machine.must(f"setpci -s {bdf} COMMAND"), 16) & 2, "the guest has not switched the memory on"
    seen = scene.status()
    assert [ppu["mask"] is None for ppu in seen["ppus"]] == [True] * 4 + [False] * 4
    assert seen["coverage"] == {"required": 8, "proven": 4, "gated": 4, "unverified": 0} and seen["leaks"] == []
    between = [link for ppu in seen["ppus"][:2] for link in ppu["links"] if link["peer"] in (2, 3)]
    assert [(link["near"], link["far"], link["evidence"]) for link in between] == [("unknown", "unknown", "gated")] * 4
    assert "8 links must be cut: 4 read now, 4 read back" in scene.check(0)
    assert scene.metric("icn_hook_vms_without_gate") == 0
    scene.end(first)
    scene.end(second)
    scene.expect_idle("stopped")


def test_one_card_in_the_middle(scene):
    vm = VM(1, [6])
    scene.start(vm)
    scene.expect(GOLDEN_SIX, "running")
    scene.end(vm)
    scene.expect_idle("stopped")


def test_no_cards(scene):
    vm = VM(1)
    scene.start(vm)
    scene.expect_idle("running")
    scene.end(vm)
    scene.expect_idle("stopped")
    assert "icn-hook" not in scene.new_log()
