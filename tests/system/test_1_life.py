# SPDX-License-Identifier: LGPL-2.1-or-later
"""Start and stop of one VM."""

import json

from scene import GOLDEN_PAIR, GOLDEN_SIX, VM


def status(scene):
    result = scene.icn("status --json")
    assert result.status == 0, result.output
    return json.loads(result.stdout)


def test_installed_as_a_user_installs_it(scene):
    files = scene.machine.must("stat -c '%a %U %n' /usr/bin/icn-hook /etc/libvirt/hooks/qemu /etc/icn-hook/*")
    assert files.splitlines() == [
        "755 root /usr/bin/icn-hook",
        "755 root /etc/libvirt/hooks/qemu",
        "644 root /etc/icn-hook/icn-hook.conf",
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
    seen = status(scene)
    assert seen["ok"] and seen["leaks"] == []
    assert [[owner["name"] for owner in ppu["owners"]] for ppu in seen["ppus"]] == [["vm-1"], ["vm-1"]] + [[]] * 6
    assert scene.icn("check").status == 0
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
