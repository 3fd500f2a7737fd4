# SPDX-License-Identifier: LGPL-2.1-or-later
"""A network whose connections are virtual functions: libvirt chooses one between prepare
and start."""

import pytest

from functions import Shared, configure, configure_as_before
from scene import VM

IGB = "8086:10c9"
NETWORK = """<network>
  <name>pool</name>
  <forward mode='hostdev' managed='yes'>{address}</forward>
</network>"""
INTERFACE = "    <interface type='network'><source network='pool'/><rom enabled='no'/></interface>\n"
SETTINGS = """[ppu]
match = {igb}

[map]
0 = {card}
1 = 0000:ff:00.0

[registers]
bar = 0
link_config = 9
"""
TOPOLOGY = """==========device0==========
ppuid: 0
link[0]: nbrPpuid:1
==========device1==========
ppuid: 1
link[0]: nbrPpuid:0
"""
# Notes what the XML of an operation says about the interface.
NOTING = """#!/bin/sh
sed -n '/<interface/,/<\\/interface>/p' >/run/noted-$2
"""


@pytest.fixture(scope="module")
def pool(host):
    machine = host.machine
    card = Shared(host, IGB, "igb")
    card.split(0, 2)
    bus, slot = card.function(0, 0).split(":")[1:]
    address = f"<address type='pci' domain='0' bus='0x{bus}' slot='0x{slot[:2]}' function='0x{slot[3]}'/>"
    machine.must(f"ip link set $(ls /sys/bus/pci/devices/{card.cards[0]}/net) up")
    machine.write("/run/pool.xml", NETWORK.format(address=address))
    machine.must("virsh -q net-define /run/pool.xml; virsh -q net-start pool")
    yield card
    machine.must("virsh -q net-destroy pool; virsh -q net-undefine pool")
    card.join()


def test_a_connection_of_a_pool_passes(scene, pool):
    noting = "/etc/libvirt/hooks/qemu.d/20-noting"
    scene.machine.write(noting, NOTING)
    scene.machine.must(f"chmod 0755 {noting}")
    vm = VM(1, devices=INTERFACE)
    scene.start(vm)
    scene.expect_idle("running")
    scene.end(vm)
    scene.expect_idle("stopped")
    assert "<source network='pool'/>" in scene.machine.must("cat /run/noted-prepare")
    started = scene.machine.must("cat /run/noted-start")
    assert "<interface type='hostdev' managed='yes'>" in started and "<address type='pci' domain='0x0000'" in started
    assert "<source network='pool'/>" in scene.machine.must("cat /run/noted-stopped")
    scene.machine.must(f"rm {noting}")


def test_a_connection_that_is_a_part_of_a_ppu_is_met_at_start(scene, pool):
    """The card's own driver holds its registers, for good: nothing can be cut."""
    configure(scene.machine, SETTINGS.format(igb=IGB, card=pool.cards[0]), TOPOLOGY)
    try:
        message = scene.refused_start(VM(1, devices=INTERFACE))
        assert (f"icn-hook: VM 'vm-1' is not started: PPU 0 ({pool.cards[0]}): resource0 cannot be mapped now: a "
                "driver or QEMU holds the card's registers (EINVAL)") in message, message
        log = scene.log()
        assert "op=prepare" not in log and "op=start icn-hook: VM 'vm-1' is not started" in log, log
        scene.expect_idle("refused")
    finally:
        configure_as_before(scene.machine)
