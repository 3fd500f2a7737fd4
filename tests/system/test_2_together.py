# SPDX-License-Identifier: LGPL-2.1-or-later
"""Three VMs on neighbouring cards, started at the same moment."""

import os
import random

from scene import VM

ROUNDS = int(os.environ.get("ICN_SYSTEM_ROUNDS", "6"))
PARTITION = {0: 0x19, 1: 0x31, 2: 0x19, 3: 0x31, 4: 0x09, 5: 0x11, 7: 0x09, 6: 0x39}


def test_three_vms_at_once(scene):
    order = random.Random(3)
    vms = [scene.define(vm) for vm in (VM(1, [0, 1]), VM(2, [2, 3]), VM(3, [4, 5, 7]))]
    for round_number in range(ROUNDS):
        for starting in [scene.begin_start(vm) for vm in vms]:
            result = starting.wait()
            assert result.status == 0, f"round {round_number}: {result.output}\n{scene.log()}"
        scene.expect(PARTITION | {6: 0x39}, f"round {round_number}, running")
        assert scene.machine.owners() == [1, 1, 2, 2, 3, 3, 0, 3]
        order.shuffle(vms)
        for ending in [scene.begin_end(vm) for vm in vms]:
            assert ending.wait().status == 0
        scene.expect_idle(f"round {round_number}, stopped")
