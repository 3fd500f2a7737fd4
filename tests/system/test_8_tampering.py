# SPDX-License-Identifier: LGPL-2.1-or-later
"""A guest rewrites its own cards' registers: nobody may be reached by it."""

from scene import GOLDEN_PAIR, VM


def test_a_guest_opens_its_own_ends(scene):
    vm = VM(1, [0, 1])
    scene.start(vm)
    scene.machine.cards[0].mask = scene.machine.cards[1].mask = 0
    tampered = GOLDEN_PAIR | {0: 0, 1: 0}
    scene.expect(tampered, "tampered; the far ends stay cut")
    neighbour = VM(2, [2, 3])
    scene.start(neighbour)
    scene.expect({0: 0, 1: 0, 2: 0x19, 3: 0x31, 4: 0x01, 5: 0x01, 6: 0x01, 7: 0x01}, "a neighbour beside it")
    scene.end(neighbour)
    scene.expect({0: 0, 1: 0, 2: 0x18, 3: 0x30, 6: 0x01, 7: 0x01}, "the neighbour stopped")
    scene.end(vm)
    scene.expect_idle("stopped")


def test_a_guest_opens_its_end_to_another_vm(scene):
    first, second = VM(1, [0, 1]), VM(2, [2, 3])
    scene.start(first)
    scene.start(second)
    scene.machine.cards[0].mask = 0
    scene.end(second)
    scene.expect({0: 0, 1: 0x31, 2: 0x18, 3: 0x30, 6: 0x01, 7: 0x01}, "the other end stays cut")
    scene.machine.cards[1].mask = 0xFFFF0000
    scene.end(first)
    scene.expect({1: 0xFFFF0000}, "bits that are no links are left as they are")
    scene.machine.cards[1].mask = 0
