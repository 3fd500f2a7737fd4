# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every way in which a VM ends, or does not begin."""

import time

from scene import GOLDEN_PAIR, VM

NONSENSE = "  <qemu:commandline><qemu:arg value='-nonsense'/></qemu:commandline>\n"
MISSING_DISK = """    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/><source file='/nowhere/disk.img'/><target dev='hda' bus='ide'/>
    </disk>
"""
# SeaBIOS under emulation within emulation, until the boot sector waits for its key.
BOOT_SECONDS = 60


def running_pair(scene, **options):
    vm = VM(1, [0, 1], **options)
    scene.start(vm)
    scene.expect(GOLDEN_PAIR, "running")
    return vm


def test_the_guest_shuts_down(scene):
    vm = running_pair(scene, boots=True)
    scene.machine.forget_owner(vm.number)
    end = time.monotonic() + BOOT_SECONDS
    while scene.state(vm) == "running" and time.monotonic() < end:
        scene.machine.run(f"virsh -q send-key {vm.name} KEY_A")
        time.sleep(1)
    scene.wait_until_off(vm)
    scene.expect_idle("shut down")
    assert "op=stopped" in scene.new_log()


def test_qemu_is_killed(scene):
    vm = running_pair(scene)
    scene.machine.forget_owner(vm.number)
    scene.machine.must(f"kill -KILL {scene.pid(vm)}")
    scene.wait_until_off(vm)
    scene.expect_idle("killed")


def test_a_start_that_fails_in_qemu(scene):
    vm = VM(0, [0, 1], more=NONSENSE)
    message = scene.refused_start(vm)
    assert "nonsense" in message, message
    scene.expect_idle("failed")
    log = scene.new_log()
    assert "op=prepare isolated" in log and "op=start" in log and "op=release" in log


def test_a_start_without_its_disk(scene):
    message = scene.refused_start(VM(0, [0, 1], devices=MISSING_DISK))
    assert "/nowhere/disk.img" in message, message
    scene.expect_idle("failed")


def test_a_reset_changes_nothing(scene):
    vm = running_pair(scene)
    scene.machine.must(f"virsh -q reset {vm.name}")
    time.sleep(3)
    scene.expect(GOLDEN_PAIR, "reset")
    assert scene.icn("check").status == 0


def test_a_managed_save_is_refused(scene):
    vm = running_pair(scene)
    result = scene.machine.run(f"virsh -q managedsave {vm.name}")
    assert result.status != 0, result.output
    scene.expect(GOLDEN_PAIR, "save refused")
    assert scene.state(vm) == "running"
    assert scene.icn("check").status == 0
