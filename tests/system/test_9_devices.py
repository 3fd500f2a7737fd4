# SPDX-License-Identifier: LGPL-2.1-or-later
"""Cards that come to a VM in other ways, or are held by somebody else."""

import pytest

from scene import GOLDEN_PAIR, VM, host_address


def test_unmanaged_cards(scene):
    refused = VM(0, [0, 1], managed=False)
    message = scene.refused_start(refused)
    assert "must be manually detached" in message, message
    scene.expect_idle("not detached")
    scene.bind(0)
    scene.bind(1)
    vm = VM(1, [0, 1], managed=False)
    scene.start(vm)
    scene.expect(GOLDEN_PAIR, "running")
    scene.end(vm)
    scene.expect_idle("stopped")


@pytest.fixture(name="holder")
def fixture_holder(scene):
    """Has card 2 until it is killed: while it lives, nobody can unbind the card."""
    scene.bind(2)
    bdf = scene.bdfs[2]
    group = scene.machine.must(f"basename $(readlink /sys/bus/pci/devices/{bdf}/iommu_group)").strip()
    holding = scene.machine.begin(f"exec /system-test/vfio-holder {group} {bdf}")
    scene.machine.wait_for(f"[ $(cat /sys/bus/pci/devices/{bdf}/enable) = 1 ]")
    yield holding
    scene.machine.run("pkill -KILL -x vfio-holder")


def test_a_card_held_by_a_program_that_libvirt_does_not_know(scene, holder):
    assert scene.owners()[2] == ["unknown"]
    message = scene.refused_start(VM(2, [2, 3]))
    assert "PPU 2 (0000:03:00.0)" in message, message
    scene.expect({}, "refused")
    vm = VM(1, [0, 1])
    scene.start(vm)
    scene.expect({0: 0x19, 1: 0x31, 3: 0x38, 6: 0x01, 7: 0x01}, "beside the holder, whose end is out of reach")
    scene.end(vm)
    scene.machine.must("pkill -KILL -x vfio-holder")
    holder.wait()
    scene.expect({0: 0x08, 1: 0x10, 3: 0x08}, "nobody has told us that the holder is gone")
    assert {finding["ppu"] for finding in scene.findings("owed")} == {0, 1, 3}
    repaired = scene.icn("repair")
    assert repaired.status == 0, repaired.output
    scene.expect_idle("repaired")
    scene.start(vm)
    scene.expect(GOLDEN_PAIR, "alone")
    scene.end(vm)
    scene.expect_idle("stopped")


def test_a_card_from_the_command_line_is_cut_too(scene):
    scene.bind(0)
    vm = VM(1, more=f"  <qemu:commandline><qemu:arg value='-device'/>"
                    f"<qemu:arg value='vfio-pci,host={scene.bdfs[0]}'/></qemu:commandline>\n")
    scene.start(vm)
    scene.expect({0: 0x39, 1: 0x08, 2: 0x08, 3: 0x10, 6: 0x01}, "running")
    scene.end(vm)
    scene.expect_idle("stopped")


def test_a_function_that_is_no_ppu_passes(scene):
    nic = scene.machine.must("lspci -D -n | awk '/8086:10d3|8086:10c9/ { print $1; exit }'").strip()
    assert nic
    vm = VM(1, devices=f"    <hostdev mode='subsystem' type='pci' managed='yes'><source>{host_address(nic)}</source>"
                       f"<rom enabled='no'/></hostdev>\n")
    scene.start(vm)
    scene.expect_idle("running")
    scene.end(vm)
    scene.expect_idle("stopped")
