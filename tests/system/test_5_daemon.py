# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon, the hook and the host's state go away at the worst moments."""

import json

from scene import GOLDEN_PAIR, VM

# A lock that somebody else holds stops our own hook in the middle.
HOLD_LOCK = "exec 9<>/run/icn-hook/lock; flock 9; touch /run/locked; sleep 20; rm -f /run/locked"


def owners(scene):
    seen = json.loads(scene.icn("status --json").stdout)
    return [[owner["name"] for owner in ppu["owners"]] for ppu in seen["ppus"]]


def test_restart_with_vms_running(scene):
    vm = VM(1, [0, 1])
    scene.start(vm)
    pid = scene.pid(vm)
    scene.stop_daemon()
    scene.expect(GOLDEN_PAIR, "daemon stopped")
    scene.start_daemon()
    scene.machine.wait_for("grep -q 'vm=vm-1 op=reconnect' /var/log/syslog")
    assert scene.state(vm) == "running" and scene.pid(vm) == pid
    scene.expect(GOLDEN_PAIR, "daemon restarted")
    assert owners(scene) == [["vm-1"], ["vm-1"]] + [[]] * 6
    message = scene.refused_start(VM(2, [1, 2]))
    assert "is owned by VM 'vm-1'" in message, message
    scene.expect(GOLDEN_PAIR, "other refused")
    scene.end(vm)
    scene.expect_idle("stopped")


def test_state_in_run_is_removed_and_the_daemon_restarted(scene):
    vm = VM(1, [0, 1])
    scene.start(vm)
    scene.machine.must("rm -rf /run/icn-hook")
    assert owners(scene) == [["vm-1"], ["vm-1"]] + [[]] * 6
    scene.stop_daemon("KILL")
    scene.start_daemon()
    scene.machine.wait_for("grep -q 'vm=vm-1 op=reconnect' /var/log/syslog")
    assert scene.state(vm) == "running"
    scene.expect(GOLDEN_PAIR, "reconnected")
    assert owners(scene) == [["vm-1"], ["vm-1"]] + [[]] * 6
    message = scene.refused_start(VM(2, [1, 2]))
    assert "is owned by VM 'vm-1'" in message, message
    scene.end(vm)
    scene.expect_idle("stopped")


def test_state_in_run_is_removed_and_the_vm_ends(scene):
    vm = VM(1, [0, 1])
    scene.start(vm)
    scene.machine.must("rm -rf /run/icn-hook")
    scene.expect(GOLDEN_PAIR, "state removed")
    scene.end(vm)
    scene.expect_idle("stopped")


def kill_daemon_at(scene, vm, operation):
    """The daemon is killed while the hooks of OPERATION run."""
    scene.define(vm)
    scene.stall(operation)
    starting = scene.begin_start(vm)
    scene.await_stall(operation)
    scene.stop_daemon("KILL")
    scene.unstall(operation)
    assert starting.wait().status != 0
    scene.expect(GOLDEN_PAIR, f"daemon killed at {operation}")
    scene.machine.forget_owner(vm.number)
    scene.start_daemon()


def test_daemon_killed_during_prepare(scene):
    vm = VM(1, [0, 1])
    kill_daemon_at(scene, vm, "prepare")
    other = VM(2, [1, 2])
    scene.start(other)
    scene.expect({1: 0x29, 2: 0x29, 0: 0x28, 3: 0x28, 4: 0x01, 7: 0x01}, "another VM has one of the cards")
    scene.end(other)
    scene.expect_idle("stopped")
    scene.start(vm)
    scene.expect(GOLDEN_PAIR, "the same VM again")
    scene.end(vm)
    scene.expect_idle("stopped again")


def test_daemon_killed_during_start(scene):
    vm = VM(1, [0, 1])
    kill_daemon_at(scene, vm, "start")
    scene.start(vm)
    scene.expect(GOLDEN_PAIR, "the same VM again")
    scene.end(vm)
    scene.expect_idle("stopped")


def begin_start_at_held_lock(scene, vm):
    scene.machine.must("mkdir -p -m 0700 /run/icn-hook; touch /run/icn-hook/lock")
    holding = scene.machine.begin(HOLD_LOCK)
    scene.machine.wait_for("[ -e /run/locked ]")
    starting = scene.begin_start(vm)
    scene.machine.wait_for("pgrep -x icn-hook")
    return starting, holding


def test_daemon_killed_while_our_hook_waits(scene):
    vm = scene.define(VM(1, [0, 1]))
    starting, holding = begin_start_at_held_lock(scene, vm)
    scene.stop_daemon("KILL")
    assert starting.wait().status != 0
    holding.wait()
    scene.machine.wait_for("! pgrep -x icn-hook")
    scene.start_daemon()
    scene.start(vm)
    scene.expect(GOLDEN_PAIR, "started after all")
    scene.end(vm)
    scene.expect_idle("stopped")


def test_hook_killed(scene):
    vm = scene.define(VM(0, [0, 1]))
    starting, holding = begin_start_at_held_lock(scene, vm)
    scene.machine.must("pkill -KILL -x icn-hook")
    result = starting.wait()
    assert result.status != 0 and "signal 9" in result.output, result.output
    holding.wait()
    scene.expect_idle("hook killed")


def test_qemu_dies_while_the_daemon_is_away(scene):
    vm = VM(1, [0, 1])
    scene.start(vm)
    pid = scene.pid(vm)
    scene.stop_daemon("KILL")
    scene.machine.forget_owner(vm.number)
    scene.machine.must(f"kill -KILL {pid}")
    scene.start_daemon()
    scene.wait_until_off(vm)
    scene.await_masks({}, "daemon back")
    scene.machine.wait_for("grep -q 'vm=vm-1 op=release' /var/log/syslog")
    scene.expect_idle("daemon back")
