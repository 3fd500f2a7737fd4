# SPDX-License-Identifier: LGPL-2.1-or-later
"""Manual verbs killed between any two changes, or met by an error: no VM loses its
isolation, and the same call again, release or reset leads back to order."""

import random

import pytest

from bystander import BEFORE
from faults import State, Tracer, check_claim_files, errors_of
from topology import Topology

GROUPS = [[0, 1], [6]]
APPLY = ["apply", "0,1|6"]
IDLE = {ppu: 0 for ppu in range(8)}
KILLS, ERRORS = 24, 16
FEWEST = 15  # points at which something changes; an empty list must not pass


class Bench:
    """VM b runs, or nobody; VERB is the next thing to happen."""

    def __init__(self, host, tmp_path, verb, others):
        self.host = host
        self.verb = verb
        self.others = others  # the groups of cards of whoever is not ours
        self.before = State(host)
        self.tracer = Tracer(host, host.engine_program, tmp_path / "trace", may_print=True)
        self.points = [point for point in self.tracer.points(verb, "") if point.changes]
        assert len(self.points) >= FEWEST
        self.after = State(host)
        self.put_back()

    def put_back(self):
        self.before.put_back(self.host)

    def sample(self, count):
        dice = random.Random(20261121)
        return dice.sample(self.points, min(count, len(self.points)))

    def expected(self, *groups):
        owners = {ppu: {index} for index, group in enumerate([*self.others, *groups]) for ppu in group}
        return Topology.required_masks(self.host.topology, owners)

    def check(self):
        state = State(self.host)
        owners = {ppu: {"b"} for group in self.others for ppu in group}
        assert not self.host.leaks(state.masks, owners), state.masks
        for name, content in self.before.claim_files.items():
            if self.others:
                assert state.claim_files.get(name) == content
        check_claim_files(state.claim_files)
        return state

    def check_cut(self, point, error):
        """A far end that was not cut is worth a warning only; a near end must be."""
        masks, wanted = self.host.masks(), self.expected(*GROUPS)
        near = {ppu for group in [*self.others, *GROUPS] for ppu in group}
        assert {ppu: masks[ppu] for ppu in near} == {ppu: wanted[ppu] for ppu in near}, (point, error)
        assert all(masks[ppu] & ~wanted[ppu] == 0 for ppu in masks), (point, error)

    def kill(self, point):
        self.tracer.kill(self.verb, "", point)
        return self.check()

    def fine(self, *arguments):
        result = self.host.engine(*arguments)
        assert (result.status, result.stderr) == (0, ""), (arguments, result)

    def groups(self):
        return sorted(
            entry["name"]
            for entry in self.host.claims().values()
            if entry["kind"] == "group" and entry["phase"] != "ended"
        )


def test_apply_is_killed(scene, tmp_path):
    """Beside a VM: the same again completes it, release undoes what is there."""
    bench = Bench(scene.host, tmp_path, APPLY, [[2, 3]])
    assert bench.after.masks == bench.expected(*GROUPS)
    left = set()
    for point in bench.sample(KILLS):
        state = bench.kill(point)
        left.add((tuple(state.masks.items()), len(state.claim_files)))
        bench.fine(*APPLY)
        assert scene.host.masks() == bench.expected(*GROUPS)
        assert bench.groups() == ["manual-0", "manual-6"]
        state.put_back(scene.host)
        for name in bench.groups():
            bench.fine("release", name)
        assert bench.groups() == []
        scene.check_b("release after a kill")
        assert scene.host.masks() == BEFORE
        assert list(scene.host.claims()) == [f"{scene.b.uuid}.json"]
        bench.put_back()
    assert len(left) >= 6


@pytest.mark.parametrize("verb", [APPLY, ["release", "manual-0"], ["reset"]])
def test_reset_heals_every_kill(host, tmp_path, verb):
    preparation = ["reset"] if verb == APPLY else APPLY  # the state's directory is there in each case
    assert host.engine(*preparation).status == 0
    bench = Bench(host, tmp_path, verb, [])
    for point in bench.sample(KILLS):
        bench.kill(point)
        bench.fine("reset")
        assert (host.masks(), host.claim_files()) == (IDLE, {}), point
        bench.put_back()


def test_apply_meets_errors(scene, tmp_path):
    """All or nothing: a call that says no has left no group behind that lives."""
    bench = Bench(scene.host, tmp_path, APPLY, [[2, 3]])
    faults = errors_of(bench.tracer.points(APPLY, ""), scene.host.engine_program)
    bench.put_back()
    dice = random.Random(4)
    refused = 0
    for point, error in dice.sample(faults, ERRORS * 3):
        status, message = bench.tracer.fail(APPLY, "", point, error)
        bench.check()
        if status == 0:
            bench.check_cut(point, error)
        else:
            refused += 1
            assert status in (3, 4, 5, 6) and message.count("\n") == 1, (status, message)
            assert message.startswith("icn-hook: "), message
        bench.fine(*APPLY)
        assert scene.host.masks() == bench.expected(*GROUPS), (point, error)
        bench.put_back()
    assert refused >= 5


def test_killed_in_the_middle_is_told_by_check(host, tmp_path):
    """The last register is not cut yet: nobody is told that all is well."""
    bench = Bench(host, tmp_path, APPLY, [])
    stores = [point for point in bench.points if "PROT_WRITE, MAP_SHARED" in point.text]
    bench.tracer.kill(APPLY, "", stores[0])
    assert bench.groups() == ["manual-0", "manual-6"]
    assert host.masks() == IDLE
    assert host.engine("check").status == 1
    assert host.engine("check", "0,1").status == 1
