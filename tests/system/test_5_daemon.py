# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon, the hook and the host's state go away at the worst moments."""

from scene import GOLDEN_PAIR, VM

# A lock that somebody else holds stops our own hook in the middle.
HOLD_LOCK = "exec 9<>/run/icn-hook/lock; flock 9; touch /run/locked; while [ -e /run/locked ]; do sleep 0.1; done"


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
    assert scene.owners() == [["vm-1"], ["vm-1"]] + [[]] * 6
    message = scene.refused_start(VM(2, [1, 2]))
    assert "is owned by VM 'vm-1'" in message, message
    scene.expect(GOLDEN_PAIR, "other refused")
    scene.end(vm)
    scene.expect_idle("stopped")


def test_state_in_run_is_removed_and_the_daemon_restarted(scene):
    vm = VM(1, [0, 1])
    scene.start(vm)
    scene.machine.must("rm -rf /run/icn-hook")
    assert scene.owners() == [["vm-1"], ["vm-1"]] + [[]] * 6
    scene.stop_daemon("KILL")
    scene.start_daemon()
    scene.machine.wait_for("grep -q 'vm=vm-1 op=reconnect' /var/log/syslog")
    assert scene.state(vm) == "running"
    scene.expect(GOLDEN_PAIR, "reconnected")
    assert scene.owners() == [["vm-1"], ["vm-1"]] + [[]] * 6
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


def test_daemon_killed_behind_the_gate_while_another_vm_starts(scene):
    """No status file names either of them; nobody will ever call their end."""
    first, second = scene.define(VM(1, [0, 1])), scene.define(VM(2, [2, 3]))
    scene.stall("vm-1.start")
    scene.stall("vm-2.prepare")
    starting = [scene.begin_start(first), scene.begin_start(second)]
    scene.await_stall("vm-1.start")
    scene.await_stall("vm-2.prepare")
    scene.expect(scene.golden([0, 1], [2, 3]), "both are being started")
    assert scene.owners() == [["vm-1"], ["vm-1"], ["vm-2"], ["vm-2"]] + [[]] * 4
    scene.stop_daemon("KILL")
    scene.unstall("vm-1.start")
    scene.unstall("vm-2.prepare")
    assert all(start.wait().status != 0 for start in starting)
    for vm in (first, second):
        scene.machine.forget_owner(vm.number)
    scene.expect(scene.golden([0, 1], [2, 3]), "daemon killed: a verb that looks gives nothing back")
    assert scene.owners() == [[]] * 8
    assert {finding["vm"] for finding in scene.findings("claim")} == {"vm-1", "vm-2"}
    assert scene.findings("owed")
    scene.start_daemon()
    scene.start(second)
    scene.expect(scene.golden([2, 3]), "the other one is started again")
    scene.check(0)
    other = VM(3, [1, 4])
    scene.start(other)
    scene.expect(scene.golden([2, 3], [1, 4]), "its cards are free for others")
    scene.end(other)
    scene.end(second)
    scene.expect_idle("stopped")


def test_what_a_killed_daemon_left_is_repaired(scene):
    vm = VM(1, [0, 1])
    kill_daemon_at(scene, vm, "start")
    dry = scene.icn("repair --dry-run")
    assert dry.status == 0 and "would be written" in dry.stdout, dry.output
    scene.expect(GOLDEN_PAIR, "a dry run")
    done = scene.icn("repair")
    assert done.status == 0 and "VM 'vm-1' has ended without a call that said so" in done.stdout, done.output
    scene.expect_idle("repaired")


def begin_start_at_held_lock(scene, vm):
    scene.machine.must("mkdir -p -m 0700 /run/icn-hook; touch /run/icn-hook/lock")
    holding = scene.machine.begin(HOLD_LOCK)
    scene.machine.wait_for("[ -e /run/locked ]")
    starting = scene.begin_start(vm)
    scene.machine.wait_for("pgrep -x icn-hook")
    return starting, holding


def let_go(scene, holding):
    scene.machine.must("rm /run/locked")
    holding.wait()


def test_daemon_killed_while_our_hook_waits(scene):
    vm = scene.define(VM(1, [0, 1]))
    starting, holding = begin_start_at_held_lock(scene, vm)
    scene.stop_daemon("KILL")
    assert starting.wait().status != 0
    let_go(scene, holding)
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
    let_go(scene, holding)
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
