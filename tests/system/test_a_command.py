# SPDX-License-Identifier: LGPL-2.1-or-later
"""A QEMU that libvirt does not manage, under `run`."""

import pytest

QEMU = (
    "qemu-system-x86_64 -machine pc -accel tcg -m 64 -display none -nodefaults -no-user-config"
    " -bios /system-test/halt.bin"
)


@pytest.fixture(name="passed_through")
def fixture_passed_through(scene):
    """Cards 0 and 1 on vfio-pci, as an administrator without libvirt binds them."""
    for ppu in (0, 1):
        scene.bind(ppu)
    devices = "".join(f" -device vfio-pci,host={bdf},rombar=0" for bdf in scene.bdfs[:2])
    return f"{QEMU}{devices}"


def wait_until_held(scene):
    group = scene.machine.must(f"basename $(readlink /sys/bus/pci/devices/{scene.bdfs[1]}/iommu_group)").strip()
    scene.machine.wait_for(f"ls -l /proc/$(pgrep -f [r]ombar=0 | tail -1)/fd | grep -q /dev/vfio/{group}$")


def test_qemu_has_its_cards_for_as_long_as_it_runs(scene, passed_through):
    running = scene.machine.begin(f"icn-hook run --name own 0,1 -- {passed_through}; echo status $?")
    wait_until_held(scene)
    scene.expect(scene.golden([0, 1]), "QEMU runs")
    assert scene.owners() == [["own"], ["own"]] + [[]] * 6
    scene.check(0)
    scene.machine.must("pkill -TERM -x icn-hook")
    assert "status 0" in running.wait().output
    scene.expect_idle("ended")


def test_qemu_outlives_run(scene, passed_through):
    """Killing `run` gives nothing back that QEMU has."""
    running = scene.machine.begin(f"icn-hook run --name own 0,1 -- {passed_through}; echo status $?")
    wait_until_held(scene)
    scene.machine.must("pkill -KILL -x icn-hook")
    assert "status 137" in running.wait().output
    assert scene.icn("repair").status == 0
    scene.expect(scene.golden([0, 1]), "QEMU still runs")
    assert scene.owners()[:2] == [["own"], ["own"]]
    refused = scene.icn("apply --name other 1,2")
    assert refused.status == 4, refused.output
    scene.machine.must("pkill -KILL qemu-system")
    scene.machine.wait_for("! pgrep qemu-system")
    assert scene.icn("repair").status == 0
    scene.expect_idle("QEMU is gone")
