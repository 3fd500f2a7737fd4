# SPDX-License-Identifier: LGPL-2.1-or-later
"""A card plugged into a running VM: libvirt calls no hook."""

import re

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


def plug(scene, vm, ppu, how):
    scene.machine.write("/run/device.xml", hostdev(scene.bdfs[ppu]))
    return scene.machine.run(f"virsh -q {how}-device {vm.name} /run/device.xml --live")


def test_a_plugged_card_is_known_and_its_open_links_are_reported(scene):
    vm = VM(0, [0, 1])
    scene.start(vm)
    result = plug(scene, vm, 2, "attach")
    assert result.status == 0, result.output
    scene.expect(GOLDEN_PAIR, "plugged: nobody asked us")
    assert scene.owners()[2] == ["doomed"]
    scene.check(1)
    assert [finding["ppu"] for finding in scene.findings("no-gate")] == [2]
    assert scene.metric("icn_hook_vms_without_gate") == 1
    other = VM(2, [2, 3])
    message = scene.refused_start(other)
    assert "is owned by VM 'doomed'" in message, message
    scene.expect(GOLDEN_PAIR, "other refused: no card was touched")
    repaired = scene.icn("repair")
    assert repaired.status == 7, repaired.output
    scene.expect(scene.golden([0, 1, 2]) | {0: 0x19, 1: 0x31, 2: 0x18}, "repaired: what nobody holds is cut")
    scene.check(7)
    scene.end(vm)
    scene.expect_idle("stopped")
    scene.start(other)
    scene.end(other)


def test_a_plugged_card_can_be_unplugged(scene):
    vm = VM(0, [0, 1], machine="q35", devices=SPARE_PORTS, more=NATIVE_HOTPLUG)
    scene.start(vm)
    assert plug(scene, vm, 3, "attach").status == 0
    assert scene.owners()[3] == ["doomed"]
    assert plug(scene, vm, 3, "detach").status == 0
    scene.machine.wait_for(f"! virsh dumpxml {vm.name} | grep -q \"<address domain='0x0000' bus='0x04'\"")
    assert scene.owners()[:4] == [["doomed"], ["doomed"], [], []]
    scene.expect(GOLDEN_PAIR, "unplugged")
    scene.check(0)
    scene.end(vm)
    scene.expect_idle("stopped")


def test_an_unplug_that_the_guest_ignores_changes_nothing(scene):
    vm = VM(1, [0, 1])
    scene.start(vm)
    result = plug(scene, vm, 1, "detach")
    scene.expect(GOLDEN_PAIR, f"unplug asked for: {result.output}")
    scene.check(0)
    scene.end(vm)
    scene.expect_idle("stopped")


def eject(scene, vm, ppu):
    """A card that the VM was started with, on request of the administrator and with the
    guest's consent: the guest writes the card's slot to ACPI's eject register."""
    plug(scene, vm, ppu, "detach")
    bus = int(scene.bdfs[ppu].split(":")[1], 16)
    hostdev_pattern = f"<source>.*bus='{bus:#04x}'.*?</source>.*?<address type='pci'.*?slot='(0x[0-9a-f]+)'"
    slot = re.search(hostdev_pattern, scene.machine.must(f"virsh dumpxml {vm.name}").replace("\n", " "))
    scene.machine.must(f"virsh -q qemu-monitor-command {vm.name} --hmp 'o /w 0xae10 0'")
    scene.machine.must(f"virsh -q qemu-monitor-command {vm.name} --hmp 'o /w 0xae08 {1 << int(slot[1], 16):#x}'")
    scene.machine.wait_for(f"! grep -q \"bus='{bus:#04x}'\" /run/libvirt/qemu/{vm.name}.xml")


def test_a_card_goes_from_one_vm_to_another_and_is_repaired_between(scene):
    """No hook is called at any step; both are not witnessed, for links are open in between."""
    first = VM(0, [0, 1], name="first")
    second = VM(0, [4, 5], name="second")
    scene.start(first)
    scene.start(second)
    scene.check(0)
    eject(scene, first, 1)
    assert scene.owners() == [["first"], [], [], [], ["second"], ["second"], [], []]
    lost = scene.golden([0, 1], [4, 5])
    scene.expect(lost, "unplugged: nobody asked us")
    scene.check(1)
    assert [finding["ppu"] for finding in scene.findings("cut-missing")] == [1]
    repaired = scene.icn("repair")
    assert repaired.status == 0, repaired.output
    own = scene.golden([0], [4, 5])
    scene.expect(own | {0: lost[0]}, "repaired: only what QEMU holds stays as it was")
    scene.check(0)
    assert plug(scene, second, 1, "attach").status == 0
    assert scene.owners() == [["first"], ["second"], [], [], ["second"], ["second"], [], []]
    scene.check(1)
    assert [finding["ppu"] for finding in scene.findings("no-gate")] == [1]
    repaired = scene.icn("repair")
    assert repaired.status == 7, repaired.output
    both = scene.golden([0], [1, 4, 5])
    scene.expect(both | {0: lost[0], 1: own[1]}, "repaired: the far ends of the plugged card")
    # Both ends of their link are held, and neither was read back for its owner of today.
    assert "1 unverified" in scene.check(7)
    scene.end(first)
    scene.end(second)
    scene.expect_idle("stopped")


def test_a_card_that_comes_back_is_not_taken_for_verified(scene):
    """It may have been reset, and no hook was called."""
    vm = VM(0, [0, 1])
    scene.start(vm)
    scene.check(0)
    eject(scene, vm, 1)
    scene.machine.must("sleep 1.1")
    assert plug(scene, vm, 1, "attach").status == 0
    assert scene.owners()[:2] == [["doomed"], ["doomed"]]
    scene.check(7)
    assert [finding["ppu"] for finding in scene.findings("no-gate")] == [1]
    scene.end(vm)
    scene.expect_idle("stopped")


def test_a_card_goes_from_one_vm_to_another(scene):
    """Nobody repairs: their links are open, nobody can read that, and nobody says else."""
    first = VM(0, [0, 1], name="first")
    second = VM(0, [4, 5], name="second")
    scene.start(first)
    scene.start(second)
    eject(scene, first, 1)
    assert plug(scene, second, 1, "attach").status == 0
    masks = scene.golden([0, 1], [4, 5])
    scene.expect(masks, "plugged: nobody asked us")
    assert scene.topology.live_pairs(scene.machine.masks()) >= {(0, 1)}
    # The other far ends of the card are cut because its former owner had it.
    scene.check(7)
    assert scene.icn("repair").status == 7
    scene.expect(masks, "what is open is in QEMU's hands")
    scene.check(7)
    unverified = [link for link in scene.status()["ppus"][0]["links"] if link["evidence"] == "unverified"]
    assert [link["peer"] for link in unverified] == [1]
    assert scene.metric("icn_hook_vms_without_gate") == 1
    scene.end(first)
    scene.end(second)
    scene.expect_idle("stopped")
    scene.start(second)
    scene.check(0)
    scene.end(second)
    scene.expect_idle("stopped again")
