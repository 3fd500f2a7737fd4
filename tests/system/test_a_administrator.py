# SPDX-License-Identifier: LGPL-2.1-or-later
"""What an administrator has or does beside us."""

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


def test_a_hook_is_found_after_a_reload_only(scene):
    """libvirt looks for hooks when it starts and when it is told to reload."""
    scene.machine.must(f"mv {HOOKS}/qemu /run/qemu-hook; mv {HOOKS}/qemu.d /run/qemu.d-hooks")
    scene.stop_daemon()
    scene.start_daemon()
    scene.machine.must(f"cp -a /run/qemu-hook {HOOKS}/qemu; cp -a /run/qemu.d-hooks {HOOKS}/qemu.d")
    vm = VM(0, [0, 1])
    scene.start(vm)
    scene.expect({}, "not called: nothing is isolated")
    assert scene.icn("check").status == 1
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
    assert scene.icn("check").status == 1
    scene.machine.must(f"chmod +x {HOOKS}/qemu")
    scene.end(vm)
    scene.expect_idle("stopped")


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
