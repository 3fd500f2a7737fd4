# SPDX-License-Identifier: LGPL-2.1-or-later
"""A card plugged into a running VM by `attach`: what virsh opens for a while stays cut."""

import re

from scene import VM
from test_7_hotplug import NATIVE_HOTPLUG, SPARE_PORTS


def test_an_attached_card_is_cut_before_qemu_opens_it(scene):
    """Watched from outside: no link to another VM is live at any time."""
    first, second = VM(1, [0, 1]), VM(2, [4, 5])
    scene.start(first)
    scene.start(second)
    scene.bind(2)
    attached = scene.icn(f"attach {first.name} 2")
    assert attached.status == 0, attached.output
    # What QEMU holds already stays as it was, so the VM's links to its new card stay cut until its next start.
    scene.expect(scene.golden([0, 1], [2], [4, 5]), "attached")
    assert "stay cut" in attached.output, attached.output
    assert scene.owners() == [["vm-1"], ["vm-1"], ["vm-1"], [], ["vm-2"], ["vm-2"], [], []]
    assert not scene.findings("no-gate")
    scene.check(0)
    scene.end(first)
    scene.expect(scene.golden([4, 5]), "the first one stopped")
    scene.end(second)
    scene.expect_idle("stopped")


def test_a_refused_attach_leaves_nothing(scene):
    first, second = VM(1, [0, 1]), VM(2, [4, 5])
    scene.start(first)
    scene.start(second)
    before = scene.machine.masks()
    taken = scene.icn(f"attach {first.name} 4")
    assert taken.status == 4 and "is owned by VM 'vm-2'" in taken.output, taken.output
    missing = scene.icn("attach nobody 2")
    assert missing.status == 3 and "'nobody'" in missing.output, missing.output
    assert scene.machine.masks() == before
    # QEMU itself says no: another process has the card's group open.
    scene.bind(3)
    refused = scene.machine.run(
        f"exec 9<>/dev/vfio/$(basename $(readlink /sys/bus/pci/devices/{scene.bdfs[3]}/iommu_group));"
        f" icn-hook attach {first.name} 3"
    )
    assert refused.status == 5 and "failed to open /dev/vfio/" in refused.output, refused.output
    assert scene.machine.masks() == before
    assert scene.owners()[3] == []
    scene.end(first)
    scene.end(second)
    scene.expect_idle("stopped")


def test_a_detached_card_is_free_for_another_vm(scene):
    vm = VM(0, [0, 1], machine="q35", devices=SPARE_PORTS, more=NATIVE_HOTPLUG)
    scene.start(vm)
    attached = scene.icn(f"attach {vm.name} 3")
    assert attached.status == 0, attached.output
    # It had no driver: libvirt bound it first, and what was read back after that counts.
    scene.check(0)
    assert not scene.findings("no-gate")
    detached = scene.icn(f"detach {vm.name} 3")
    assert detached.status == 0, detached.output
    assert scene.owners()[:4] == [["doomed"], ["doomed"], [], []]
    scene.expect(scene.golden([0, 1]), "detached")
    # As after virsh nodedev-detach, which nodedev-reattach undoes.
    driver = f"readlink /sys/bus/pci/devices/{scene.bdfs[3]}/driver"
    assert scene.machine.must(driver).endswith("/vfio-pci\n")
    name = "pci_" + re.sub("[:.]", "_", scene.bdfs[3])
    scene.machine.must(f"virsh -q nodedev-reattach {name}")
    assert scene.machine.run(driver).status != 0
    scene.check(0)
    other = VM(2, [3, 5])
    scene.start(other)
    scene.expect(scene.golden([0, 1], [3, 5]), "another VM has it")
    scene.end(other)
    scene.end(vm)
    scene.expect_idle("stopped")
