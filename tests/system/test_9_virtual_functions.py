# SPDX-License-Identifier: LGPL-2.1-or-later
"""Virtual functions: parts of a PPU that several VMs share, and parts of what is no PPU.

QEMU's NVMe controllers stand for the PPUs.  Their admin queue attributes, at offset
0x24 of BAR 0, keep any value while nobody drives the controller; a VM whose firmware
would drive the whole controller is started without running it.
"""

import json

import pytest

from functions import Shared, configure, configure_as_before
from scene import GOLDEN_PAIR, VM, hostdev

NVME = "1b36:0010"
ADMIN_QUEUE_ATTRIBUTES = 0x24
SETTINGS = f"""[ppu]
match = {NVME}

[map]
0 = {{cards[0]}}
1 = {{cards[1]}}

[registers]
bar = 0
link_config = {ADMIN_QUEUE_ATTRIBUTES // 4}
"""
TOPOLOGY = """==========device0==========
ppuid: 0
link[0]: nbrPpuid:1
link[3]: nbrPpuid:1
==========device1==========
ppuid: 1
link[1]: nbrPpuid:0
link[2]: nbrPpuid:0
"""
# Bits that are no links.
REST = 0x00FF0000
OPEN = [REST, REST]
CUT = [REST | 0x09, REST | 0x06]


class Pair(Shared):
    """Two cards with two virtual functions each."""

    def __init__(self, scene):
        super().__init__(scene, NVME, "pci-pf-stub")
        assert len(self.cards) == 2, self.cards
        for card in (0, 1):
            self.split(card, 2)
        self.registers = [self.address(card) + ADMIN_QUEUE_ATTRIBUTES for card in (0, 1)]

    def open_links(self):
        for register in self.registers:
            self.machine.must(f"/system-test/bin/devmem {register:#x} 32 {REST:#x}")

    def vm(self, number, *parts, ppus=()):
        """PARTS: (card, index) of virtual functions."""
        return VM(number, ppus, devices="".join(hostdev(self.function(*part)) for part in parts))

    def values(self):
        return [self.machine.monitor.word(register) for register in self.registers]

    def expect(self, values, owners, moment):
        seen = self.values()
        assert seen == values, f"{moment}: {seen}, expected {values}\n{self.scene.log()}"
        status = json.loads(self.scene.icn("status --json").stdout)
        assert [sorted(owner["name"] for owner in ppu["owners"]) for ppu in status["ppus"]] == owners, moment
        assert status["leaks"] == [], moment
        return status

    def expect_isolated(self, values, owners, moment):
        assert self.expect(values, owners, moment)["ok"], moment


@pytest.fixture(scope="module")
def both(host):
    pair = Pair(host)
    yield pair
    pair.join()


@pytest.fixture
def pair(both, scene):
    both.open_links()
    return both


@pytest.fixture
def shared(pair):
    configure(pair.machine, SETTINGS.format(cards=pair.cards), TOPOLOGY)
    try:
        yield pair
        pair.scene.clear()
    finally:
        configure_as_before(pair.machine)


def test_a_card_that_two_vms_share(shared):
    first, second = shared.vm(1, (0, 0)), shared.vm(2, (0, 1))
    shared.expect_isolated(OPEN, [[], []], "idle")
    shared.scene.start(first)
    shared.expect_isolated(CUT, [["vm-1"], []], "one VM")
    shared.scene.start(second)
    shared.expect_isolated(CUT, [["vm-1", "vm-2"], []], "two VMs")
    shared.scene.end(first)
    shared.expect_isolated(CUT, [["vm-2"], []], "one is left")
    shared.scene.end(second)
    shared.expect_isolated(OPEN, [[], []], "none is left")
    shared.scene.expect_idle("none is left")


def test_a_whole_card_beside_a_shared_one(shared):
    first = shared.vm(1, (0, 0), (0, 1))
    second = shared.scene.define(VM(2, devices=hostdev(shared.cards[1])))
    shared.scene.start(first)
    shared.expect_isolated(CUT, [["vm-1"], []], "two functions of one card")

    message = shared.scene.refused_start(VM(3, devices=hostdev(shared.cards[0])))
    assert f"icn-hook: VM 'vm-3' is not started: PPU 0 ({shared.cards[0]}) is owned by VM 'vm-1'" in message, message
    shared.expect_isolated(CUT, [["vm-1"], []], "the shared card is not given whole")
    assert shared.scene.state(first) == "running"

    message = shared.scene.refused_start(second)
    assert "icn-hook" not in message, message
    assert "Cannot bind to PF with SR-IOV enabled" in shared.machine.must("dmesg")
    shared.expect_isolated(CUT, [["vm-1"], []], "vfio takes no card that has virtual functions")

    shared.split(1, 0)
    shared.scene.stall("start")
    starting = shared.machine.begin("virsh -q start --paused vm-2")
    shared.scene.await_stall("start")
    shared.set_awake(1, True)
    assert shared.values() == CUT
    shared.set_awake(1, False)
    shared.scene.unstall("start")
    assert starting.wait().status == 0
    shared.expect_isolated([CUT[0], None], [["vm-1"], ["vm-2"]], "the other card whole, and asleep")
    shared.scene.end(first)
    shared.expect_isolated([CUT[0], None], [[], ["vm-2"]], "the shared card is idle")
    shared.scene.end(second)
    shared.expect_isolated(OPEN, [[], []], "both are idle")
    shared.split(1, 2)
    shared.scene.expect_idle("both are idle")


def test_functions_of_both_cards(shared):
    first, second = shared.vm(1, (0, 0), (1, 0)), shared.vm(2, (0, 1))
    shared.scene.start(first)
    shared.expect_isolated(OPEN, [["vm-1"], ["vm-1"]], "both cards have one owner")
    shared.scene.start(second)
    shared.expect_isolated(CUT, [["vm-1", "vm-2"], ["vm-1"]], "one card has two owners")
    shared.scene.end(second)
    shared.expect_isolated(CUT, [["vm-1"], ["vm-1"]], "both cards have one owner again; nothing is opened")
    shared.scene.end(first)
    shared.expect_isolated(OPEN, [[], []], "none is left")
    shared.scene.expect_idle("none is left")


def test_a_function_of_no_ppu_passes(pair):
    vm = pair.vm(1, (0, 0))
    pair.scene.start(vm)
    pair.scene.expect_idle("running")
    assert pair.values() == OPEN
    pair.scene.end(vm)
    pair.scene.expect_idle("stopped")


def test_a_function_of_no_ppu_beside_cards(pair):
    vm = pair.vm(1, (0, 0), ppus=[0, 1])
    pair.scene.start(vm)
    pair.scene.expect(GOLDEN_PAIR, "running")
    assert pair.values() == OPEN
    pair.scene.end(vm)
    pair.scene.expect_idle("stopped")
    assert pair.values() == OPEN
