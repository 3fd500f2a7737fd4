# SPDX-License-Identifier: LGPL-2.1-or-later
"""The programs killed at every system call of their own, and every call that can
fail failing once.

On six cards VM b runs, and VM a is started and stopped.  Nothing outlives a killed
hook but the registers, the state in /run and `enable`; so all of these are checked
after every fault, but what libvirt does next is tried once for each different state
that the faults leave.
"""

import os
import queue
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from domain_xml import INACTIVE, LIVE, PREPARE, Domain, Hostdev
from faults import SAMPLE, State, Tracer, check_claim_files, errors_of, sample
from libvirt_player import Libvirt
from simhost import GUIDE_BDFS, SimHost
from topology import Topology

OPERATIONS = ["prepare", "start", "stopped", "release"]
# Some find their work done: `start` that all is cut, `release` that all was given
# back.  After a reset, the registers of the cards are as they were at first; late
# is `release` when `stopped` was never called: these differ from the lock on, and
# only a part of their points is taken.  With each: the number of register writes.
WRITES = {
    "prepare": 4,
    "start": 0,
    "start after a reset": 2,
    "stopped": 4,
    "stopped after a reset": 4,
    "release": 0,
    "late release": 4,
}
FORMS = {"prepare": PREPARE, "stopped": INACTIVE, "release": INACTIVE}
COUNT = 6
# The cards of VM a are joined to all; those of VM b are not to the idle ones, so
# that only VM a's claim tells of these.
PEERS = [[1, 2, 3, 4, 5], [0, 2, 3, 4, 5], [0, 1, 3], [0, 1, 2], [0, 1, 5], [0, 1, 4]]
MESH = Topology({ppu: dict(enumerate(peers)) for ppu, peers in enumerate(PEERS)})
CARDS = {"a": (0, 1), "b": (2, 3), "c": (4,)}
A, B, C = (Domain(name, [Hostdev(GUIDE_BDFS[ppu]) for ppu in ppus]) for name, ppus in CARDS.items())
A_PID, C_PID = 4001, 4003
OTHER_BITS = 0xABCD0040
PAIRS = 150
OTHER_MOMENTS_STEP = 3  # of the other moments' points, every third
# Far below what a run has; an empty list of points must not pass.
FEWEST = {"icn-hook": 200, "qemu": 20}


# Bits of no link, and the link from 5 to 4, which somebody cut on purpose.
INITIAL = {**{ppu: OTHER_BITS for ppu in range(COUNT)}, 5: OTHER_BITS | 1 << PEERS[5].index(4)}


def owners(*names):
    return {ppu: {name} for name in names for ppu in CARDS[name]}


class Stage:
    """A host on which MOMENT, a key of WRITES, of VM a is the next thing to happen."""

    def __init__(self, root, moment, decoding=True):
        self.host = SimHost(root, cards=COUNT, topology=MESH)
        self.moment = moment
        self.late = moment.startswith("late")
        self.operation = "release" if self.late else moment.split()[0]
        self.host.set_masks(INITIAL)
        self.libvirt = Libvirt(self.host, watch=False)
        assert self.libvirt.start(B).running
        for ppu in CARDS["a"]:
            self.host.set_memory_decoding(GUIDE_BDFS[ppu], decoding)
        for step in OPERATIONS[: OPERATIONS.index(self.operation)]:
            if not (self.late and step == "stopped"):
                assert self.call(A, step).status == 0
            self.after(A, step, A_PID)
        if moment.endswith("after a reset"):
            self.host.set_masks({ppu: INITIAL[ppu] for ppu in CARDS["a"]})
        self.before = State(self.host)
        self.tracers = {}

    # libvirt

    def call(self, domain, operation):
        return self.host.hook(domain.name, operation, domain.xml(FORMS.get(operation, LIVE)))

    def after(self, domain, step, pid):
        """What libvirt does when the hook's operation STEP has passed."""
        if step == "prepare":
            for device in domain.devices:
                # The hook has counted `enable` up and down again, which leaves decoding on.
                self.host.set_memory_decoding(device.bdf, True)
                self.host.set_driver(device.bdf, "vfio-pci")
                self.host.set_memory_decoding(device.bdf, True)
        elif step == "start":
            self.qemu_lives(domain, pid)
        elif step == "stopped":
            for device in domain.devices:
                self.host.set_driver(device.bdf, None)
            self.host.remove_status(domain.name)

    def qemu_lives(self, domain, pid):
        """From QEMU's start to its end."""
        self.host.start_process(pid)
        self.host.write_status(domain, pid)
        for device in domain.devices:
            self.host.set_enable(device.bdf, 1)
        assert self.call(domain, "started").status == 0
        self.check_exact(domain.name, "b")
        self.host.end_process(pid)
        for device in domain.devices:
            self.host.set_enable(device.bdf, 0)

    def go_on(self, domain, steps, pid):
        for step in steps:
            result = self.call(domain, step)
            assert (result.status, result.stderr) == (0, ""), f"{step} after a fault: {result}"
            self.after(domain, step, pid)

    def end_of_b(self):
        """The last VM stops: as if there had never been any."""
        self.go_on(C, OPERATIONS, C_PID)
        pid = self.libvirt.running["b"].pid
        self.host.end_process(pid)
        for device in B.devices:
            self.host.set_enable(device.bdf, 0)
        self.go_on(B, ["stopped", "release"], pid)
        state = State(self.host)
        assert (state.masks, state.claim_files) == (INITIAL, {})
        assert set(state.enable.values()) == {0}

    # The oracle

    def expected(self, *names):
        required = MESH.required_masks(owners(*names))
        return {ppu: INITIAL[ppu] | required[ppu] for ppu in required}

    def check_exact(self, *names):
        assert self.host.masks() == self.expected(*names)

    def check(self, state, *names):
        """What holds at every instant; NAMES are the VMs that are let through."""
        assert not MESH.leaks(state.masks, owners(*names)), state.masks
        for ppu in CARDS["b"]:
            assert state.masks[ppu] == self.before.masks[ppu]
        entry = f"{B.uuid}.json"
        assert state.claim_files.get(entry) == self.before.claim_files[entry]
        check_claim_files(state.claim_files)
        for ppu, mask in state.masks.items():
            assert mask & -1 << len(PEERS[ppu]) == OTHER_BITS

    # Faults

    def tracer(self, program):
        if program not in self.tracers:
            self.tracers[program] = Tracer(self.host, program, self.host.root.parent / f"{self.host.root.name}.trace")
        return self.tracers[program]

    def arguments(self, operation=None):
        operation = operation or self.operation
        return ["a", operation, "end" if operation in ("stopped", "release") else "begin", "-"]

    def xml(self, operation=None):
        return A.xml(FORMS.get(operation or self.operation, LIVE))

    def points(self, program):
        found = self.tracer(program).points(self.arguments(), self.xml())
        self.before.put_back(self.host)
        assert len(found) >= FEWEST[program.name]
        if self.moment != self.operation:
            lock = next(index for index, point in enumerate(found) if point.name == "flock")
            found = sample(found[lock:], OTHER_MOMENTS_STEP)
        return sample(found)

    def heal(self, state, passed):
        """Whatever happens next leads back to order."""
        if self.operation == "prepare" and not passed:
            ways = [["stopped", "release"], OPERATIONS]
        elif self.operation == "start" and not passed:
            ways = [["stopped", "release"]]
        elif self.operation == "release":
            ways = [[], OPERATIONS]
        else:
            ways = [OPERATIONS[OPERATIONS.index(self.operation) + 1 :], OPERATIONS]
        for steps in ways:
            state.put_back(self.host)
            if self.operation == "start" and passed:
                self.after(A, "start", A_PID)
            if self.operation == "stopped":
                self.after(A, "stopped", A_PID)
            self.go_on(A, steps, A_PID)
            if steps:
                found = State(self.host)
                assert (found.masks, list(found.claim_files)) == (self.expected("b"), [f"{B.uuid}.json"])
            self.end_of_b()

    def restore_enable(self, point):
        """A plain file is empty before it is written; sysfs keeps what it had."""
        for bdf in GUIDE_BDFS[:COUNT]:
            if not (self.host.device(bdf) / "enable").read_text():
                self.host.set_enable(bdf, 0 if '"1' in point.text else 1)

    def killed(self, program, point):
        self.tracer(program).kill(self.arguments(), self.xml(), point)
        self.restore_enable(point)
        state = State(self.host)
        self.check(state, *(["a", "b"] if self.operation == "start" else ["b"]))
        return state, False

    def failed(self, program, point, error):
        status, message = self.tracer(program).fail(self.arguments(), self.xml(), point, error)
        state = State(self.host)
        if self.operation in ("stopped", "release"):
            assert (status, message) == (0, "")
        elif status == 0:
            assert message == ""
        else:
            assert status in (3, 4, 5, 6) and message.count("\n") == 1 and "VM 'a'" in message, (status, message)
        passed = status == 0
        isolated = passed and self.operation in ("prepare", "start")
        self.check(state, *(["a", "b"] if isolated or self.operation == "start" else ["b"]))
        for ppu in CARDS["a"] if isolated else ():
            assert state.masks[ppu] == self.expected("a", "b")[ppu]
        return state, passed


class Crew:
    """As many stages as processors, each used by one thread at a time."""

    def __init__(self, directory, moment, **options):
        self.size = os.cpu_count() or 1
        self.stages = queue.Queue()
        for index in range(self.size):
            self.stages.put(self.make_stage(directory / f"host{index}", moment, **options))
        self.healed = set()
        self.lock = threading.Lock()

    def make_stage(self, root, moment, **options):
        return Stage(root, moment, **options)

    def first(self):
        return self.stages.queue[0]

    def is_first_time(self, key):
        with self.lock:
            known = key in self.healed
            self.healed.add(key)
        return not known

    def one(self, fault):
        """FAULT: stage -> (state, passed).  The registers that it left."""
        stage = self.stages.get()
        try:
            state, passed = fault(stage)
            if self.is_first_time((state.essence(), passed)):
                stage.heal(state, passed)
            stage.before.put_back(stage.host)
            return state.masks
        finally:
            self.stages.put(stage)

    def all(self, faults):
        with ThreadPoolExecutor(self.size) as pool:
            return list(pool.map(self.one, faults))


def program_of(stage, name):
    return stage.host.engine_program if name == "icn-hook" else stage.host.hook_program


def kill_everywhere(directory, moment, name):
    crew = Crew(directory, moment)
    points = crew.first().points(program_of(crew.first(), name))
    left = crew.all(lambda stage, point=point: stage.killed(program_of(stage, name), point) for point in points)
    print(f"{name} {moment}: killed at {len(points)} points, {len(crew.healed)} different states")
    return left


def check_steps(left, writes):
    """Between any two register writes there was a point: the registers that the
    points left differ by one register each time."""
    steps = [(before, after) for before, after in zip(left, left[1:]) if before != after]
    assert len(steps) == writes
    for before, after in steps:
        assert sum(before[ppu] != after[ppu] for ppu in before) == 1


@pytest.mark.parametrize("moment", WRITES)
def test_engine_is_killed_at_every_call(tmp_path, moment):
    check_steps(kill_everywhere(tmp_path, moment, "icn-hook"), WRITES[moment])


@pytest.mark.parametrize("operation", OPERATIONS)
def test_hook_program_is_killed_at_every_call(tmp_path, operation):
    """The engine, if it was started, dies with it."""
    kill_everywhere(tmp_path, operation, "qemu")


CALLS_TO_FAIL = [("icn-hook", moment) for moment in WRITES] + [("qemu", operation) for operation in OPERATIONS]


@pytest.mark.parametrize("name, moment", CALLS_TO_FAIL)
def test_every_call_fails_once(tmp_path, name, moment):
    crew = Crew(tmp_path, moment)
    stage = crew.first()
    program = program_of(stage, name)
    faults = errors_of(stage.points(program), program)
    crew.all(
        lambda stage, point=point, error=error: stage.failed(program_of(stage, name), point, error)
        for point, error in faults
    )
    print(f"{name} {moment}: {len(faults)} calls failed, {len(crew.healed)} different states")


def second_fault(stage, first, second):
    """prepare is killed at FIRST, then `stopped` at SECOND."""
    stage.killed(stage.host.engine_program, first)
    tracer = stage.tracer(stage.host.engine_program)
    outcome = tracer.strike(stage.arguments("stopped"), stage.xml("stopped"), second, "kill")
    assert outcome is None or outcome[0] == -9
    state = State(stage.host)
    stage.check(state, "b")
    return state, False


def test_killed_again_while_healing(tmp_path):
    """A bounded sample of pairs: the second fault hits `stopped`."""
    crew = Crew(tmp_path, "prepare")
    stage = crew.first()
    engine = stage.host.engine_program
    first = [point for point in stage.points(engine) if point.changes]
    stage.killed(engine, first[-2])
    second = stage.tracer(engine).points(stage.arguments("stopped"), stage.xml("stopped"))
    stage.before.put_back(stage.host)
    dice = random.Random(20240607)
    pairs = [(dice.choice(first), dice.choice(second)) for _ in range(max(20, PAIRS // SAMPLE))]
    crew.all(lambda stage, pair=pair: second_fault(stage, *pair) for pair in pairs)
    print(f"{len(pairs)} pairs of kills, {len(crew.healed)} different states")
    assert len(crew.healed) >= 5


def test_killed_while_memory_decoding_is_switched(tmp_path):
    """The cards' memory decoding is off: `enable` is counted up and down around
    each access, with a note in the state."""
    crew = Crew(tmp_path, "prepare", decoding=False)
    stage = crew.first()
    points = [point for point in stage.points(stage.host.engine_program) if point.changes]
    assert len(points) >= 35
    crew.all(lambda stage, point=point: stage.killed(stage.host.engine_program, point) for point in points)
    assert len(crew.healed) >= 12
