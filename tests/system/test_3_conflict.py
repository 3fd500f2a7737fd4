# SPDX-License-Identifier: LGPL-2.1-or-later
"""A start that wants a running VM's card."""

from scene import GOLDEN_PAIR, VM

REFUSAL = "icn-hook: VM 'vm-2' is not started: PPU 1 (0000:02:00.0) is owned by VM 'vm-1'"


def test_a_running_vms_card_is_refused(scene):
    owner, thief = VM(1, [0, 1]), VM(2, [1, 2])
    scene.start(owner)
    before = [bytes(card.words) for card in scene.machine.cards]
    message = scene.refused_start(thief)
    assert REFUSAL in message, message
    assert [bytes(card.words) for card in scene.machine.cards] == before
    assert scene.running() == {"vm-1"}
    assert scene.icn("check").status == 0
    scene.end(owner)
    scene.expect_idle("stopped")
    scene.start(thief)
    scene.end(thief)
    scene.expect_idle("the other one stopped")


def test_a_vm_that_takes_what_is_left_is_not_refused(scene):
    first, second = VM(1, [0, 1]), VM(2, [2, 3])
    scene.start(first)
    scene.expect(GOLDEN_PAIR, "first running")
    scene.start(second)
    masks = {0: 0x19, 1: 0x31, 2: 0x19, 3: 0x31, 4: 0x01, 5: 0x01, 6: 0x01, 7: 0x01}
    scene.expect(masks, "both running")
    scene.end(first)
    scene.expect({2: 0x19, 3: 0x31, 0: 0x18, 1: 0x30, 4: 0x01, 5: 0x01}, "second running")
    scene.end(second)
    scene.expect_idle("stopped")
