# SPDX-License-Identifier: LGPL-2.1-or-later
"""A card plugged into a running VM: libvirt calls no hook."""

import json

from scene import GOLDEN_PAIR, VM, hostdev

# A port whose slot no guest has powered gives its device up at once, unless the
# guest is asked through ACPI.
NATIVE_HOTPLUG = (
    "  <qemu:commandline><qemu:arg value='-global'/>"
    "<qemu:arg value='ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off'/></qemu:commandline>\n"
)
SPARE_PORTS = "    <controller type='pci' index='0' model='pcie-root'/>\n" + "".join(
    f"    <controller type='pci' index='{index}' model='pcie-root-port'/>\n" for index in range(1, 6)
)


def status(scene):
    return json.loads(scene.icn("status --json").stdout)


def owners(scene):
    return [[owner["name"] for owner in ppu["owners"]] for ppu in status(scene)["ppus"]]


def plug(scene, vm, ppu, how):
    scene.machine.write("/run/device.xml", hostdev(scene.bdfs[ppu]))
    return scene.machine.run(f"virsh -q {how}-device {vm.name} /run/device.xml --live")


def test_a_plugged_card_is_known_and_its_open_links_are_reported(scene):
    vm = VM(0, [0, 1])
    scene.start(vm)
    result = plug(scene, vm, 2, "attach")
    assert result.status == 0, result.output
    scene.expect(GOLDEN_PAIR, "plugged: nobody asked us")
    seen = status(scene)
    assert [owner["name"] for owner in seen["ppus"][2]["owners"]] == ["doomed"]
    assert not seen["ok"] and seen["findings"]
    check = scene.icn("check")
    assert check.status == 1, check.output
    other = VM(2, [2, 3])
    message = scene.refused_start(other)
    assert "is owned by VM 'doomed'" in message, message
    scene.expect(GOLDEN_PAIR | {3: 0x38}, "other refused, and its card cut from the plugged one")
    scene.end(vm)
    scene.expect_idle("stopped")
    scene.start(other)
    scene.end(other)


def test_a_plugged_card_can_be_unplugged(scene):
    vm = VM(0, [0, 1], machine="q35", devices=SPARE_PORTS, more=NATIVE_HOTPLUG)
    scene.start(vm)
    assert plug(scene, vm, 3, "attach").status == 0
    assert owners(scene)[3] == ["doomed"]
    assert plug(scene, vm, 3, "detach").status == 0
    scene.machine.wait_for(f"! virsh dumpxml {vm.name} | grep -q \"<address domain='0x0000' bus='0x04'\"")
    assert owners(scene)[:4] == [["doomed"], ["doomed"], [], []]
    scene.expect(GOLDEN_PAIR, "unplugged")
    assert scene.icn("check").status == 0
    scene.end(vm)
    scene.expect_idle("stopped")


def test_an_unplug_that_the_guest_ignores_changes_nothing(scene):
    vm = VM(1, [0, 1])
    scene.start(vm)
    result = plug(scene, vm, 1, "detach")
    scene.expect(GOLDEN_PAIR, f"unplug asked for: {result.output}")
    assert scene.icn("check").status == 0
    scene.end(vm)
    scene.expect_idle("stopped")
