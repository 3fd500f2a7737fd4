# SPDX-License-Identifier: LGPL-2.1-or-later
"""What an administrator has or does beside us."""

import pytest

from scene import GOLDEN_PAIR, VM

OWN_SCRIPT = "#!/bin/sh\necho \"$1 $2 $3 $4\" >>/run/own-script\ncat >/dev/null\n"
HOOKS = "/etc/libvirt/hooks"


def test_an_own_script_runs_beside_ours(scene):
    scene.machine.write(f"{HOOKS}/qemu.d/10-own", OWN_SCRIPT)
    scene.machine.must(f"chmod 0755 {HOOKS}/qemu.d/10-own; rm -f /run/own-script")
    vm = VM(1, [0, 1])
    scene.start(vm)
    scene.expect(GOLDEN_PAIR, "running")
    scene.end(vm)
    scene.expect_idle("stopped")
    calls = scene.machine.must("cat /run/own-script").splitlines()
    assert [call.split()[1] for call in calls] == ["prepare", "start", "started", "stopped", "release"]
    scene.machine.must(f"rm {HOOKS}/qemu.d/10-own")


def test_an_own_script_that_refuses_leaves_nothing_behind(scene):
    scene.machine.write(f"{HOOKS}/qemu.d/10-own", "#!/bin/sh\n[ $2 != start ] || { echo not today >&2; exit 1; }\n")
    scene.machine.must(f"chmod 0755 {HOOKS}/qemu.d/10-own")
    message = scene.refused_start(VM(0, [0, 1]))
    assert "not today" in message, message
    scene.expect_idle("refused")
    scene.machine.must(f"rm {HOOKS}/qemu.d/10-own")


# Its process is not the daemon's child: the daemon is found above it.
DISPATCHER = """\
#!/bin/sh
/run/hooks/icn-hook "$@"
status=$?
[ $status -eq 0 ] || exit $status
exit 0
"""


@pytest.fixture(name="dispatcher")
def fixture_dispatcher(host):
    host.machine.must(f"mkdir -p /run/hooks; mv {HOOKS}/qemu /run/hooks/icn-hook")
    host.machine.write(f"{HOOKS}/qemu", DISPATCHER)
    host.machine.must(f"chmod 0755 {HOOKS}/qemu")
    yield
    host.machine.must(f"mv -f /run/hooks/icn-hook {HOOKS}/qemu")


@pytest.mark.usefixtures("dispatcher")
def test_a_dispatcher_calls_ours(scene):
    """A VM that is being started keeps its cards, whoever else starts."""
    first, second, thief = VM(1, [0, 1]), VM(2, [2, 3]), VM(3, [1, 4])
    scene.define(first)
    scene.stall("vm-1.start")
    starting = scene.begin_start(first)
    scene.await_stall("vm-1.start")
    scene.start(second)
    scene.expect(scene.golden([0, 1], [2, 3]), "one is being started, another one runs")
    assert scene.owners() == [["vm-1"], ["vm-1"], ["vm-2"], ["vm-2"]] + [[]] * 4
    scene.check(0)
    message = scene.refused_start(thief)
    assert "PPU 1 (0000:02:00.0) is owned by VM 'vm-1'" in message, message
    assert "which is being started or stopped" in message, message
    scene.end(second)
    scene.expect(GOLDEN_PAIR, "the other one stopped")
    scene.unstall("vm-1.start")
    assert starting.wait().status == 0
    scene.expect(GOLDEN_PAIR, "running")
    scene.check(0)
    scene.end(first)
    scene.expect_idle("stopped")


@pytest.mark.usefixtures("dispatcher")
def test_a_dispatchers_daemon_is_killed(scene):
    vm = scene.define(VM(1, [0, 1]))
    scene.stall("start")
    starting = scene.begin_start(vm)
    scene.await_stall("start")
    scene.stop_daemon("KILL")
    scene.unstall("start")
    assert starting.wait().status != 0
    scene.machine.forget_owner(vm.number)
    scene.start_daemon()
    other = VM(2, [1, 2])
    scene.start(other)
    scene.expect(scene.golden([1, 2]), "the dead VM owns nothing")
    scene.end(other)
    scene.expect_idle("stopped")


def test_a_hook_is_found_after_a_reload_only(scene):
    """libvirt looks for hooks when it starts and when it is told to reload."""
    scene.machine.must(f"mv {HOOKS}/qemu /run/qemu-hook; mv {HOOKS}/qemu.d /run/qemu.d-hooks")
    scene.stop_daemon()
    scene.start_daemon()
    scene.machine.must(f"cp -a /run/qemu-hook {HOOKS}/qemu; cp -a /run/qemu.d-hooks {HOOKS}/qemu.d")
    vm = VM(0, [0, 1])
    scene.start(vm)
    scene.expect({}, "not called: nothing is isolated")
    scene.check(1)
    scene.machine.must("/system-test/daemons reload")
    scene.machine.must("sleep 2")
    scene.end(vm)
    scene.expect_idle("stopped")
    scene.start(vm)
    scene.expect(GOLDEN_PAIR, "called after the reload")
    scene.end(vm)
    scene.expect_idle("stopped again")


def test_a_removed_hook_is_skipped_silently(scene):
    scene.machine.must(f"chmod -x {HOOKS}/qemu")
    vm = VM(0, [0, 1])
    scene.start(vm)
    scene.expect({}, "not called")
    scene.check(1)
    assert {finding["ppu"] for finding in scene.findings("no-gate")} == {0, 1}
    assert scene.metric("icn_hook_vms_without_gate") == 1
    scene.machine.must(f"chmod +x {HOOKS}/qemu")
    repaired = scene.icn("repair")
    assert repaired.status == 7, repaired.output
    scene.expect({2: 0x18, 3: 0x30, 6: 0x01, 7: 0x01}, "repaired: the VM's own ends are out of reach")
    scene.check(7)
    assert scene.metric("icn_hook_vms_without_gate") == 1
    scene.end(vm)
    scene.expect_idle("stopped")
    scene.start(vm)
    scene.expect(GOLDEN_PAIR, "started with the hook in place")
    scene.check(0)
    assert scene.metric("icn_hook_vms_without_gate") == 0
    scene.end(vm)
    scene.expect_idle("stopped again")


def session(scene, command):
    """What an ordinary user does in an own libvirt daemon."""
    return scene.machine.run(
        "id person >/dev/null 2>&1 || useradd -d /run/person person;"
        "mkdir -p -m 0700 /run/person; chown person /run/person;"
        f"runuser -u person -- env HOME=/run/person XDG_RUNTIME_DIR=/run/person virsh -q -c qemu:///session {command}"
    )


def test_a_users_own_daemon(scene):
    plain, greedy = VM(0, name="plain"), VM(0, [0, 1], name="greedy")
    for vm in (plain, greedy):
        scene.machine.write(f"/run/{vm.name}.xml", vm.xml(scene.bdfs))
    result = session(scene, "create /run/plain.xml")
    assert result.status == 0, result.output
    result = session(scene, "create /run/greedy.xml")
    assert result.status != 0 and "icn-hook: VM 'greedy' is not started" in result.output, result.output
    scene.expect_idle("refused")
    assert session(scene, "destroy plain").status == 0
    scene.machine.must("rm /run/plain.xml /run/greedy.xml")
