# SPDX-License-Identifier: LGPL-2.1-or-later
"""As test_crash_points.py, for what people run (repair, apply, release, reset, confirm), for an
end that is noted without the lock, and for the first call after an upgrade from 0.1.

VM b runs beside it all and must not lose a cut.
"""

import fcntl
import json

import pytest

from domain_xml import INACTIVE, PREPARE, Domain, Hostdev
from faults import State, Tracer, errors_of, sample
from libvirt_player import Libvirt
from simhost import GUIDE_BDFS, SimHost
from test_crash_points import A, A_PID, B, C, CARDS, COUNT, INITIAL, MESH, OPERATIONS, PEERS, Crew, Stage, owners

STEP = 3  # of all points every third, besides those at which something changes
VERDICTS = (0, 1, 3, 4, 5, 6, 7)
OF_0_1 = {"starting": "prepared", "running": "running"}


class VerbStage(Stage):
    """A host on which one run of the engine is the next thing to happen.  LIVING keep
    their cuts, whatever happens."""

    living = ("b",)
    with_b = True
    fine = (0,)
    status = 0  # of the run, when nothing fails

    def __init__(self, root, moment):
        self.host = SimHost(root, cards=COUNT, topology=MESH)
        self.moment = self.operation = moment
        self.late = False
        self.host.set_masks(INITIAL)
        self.libvirt = Libvirt(self.host, watch=False)
        if self.with_b:
            assert self.libvirt.start(B).running
        self.set_up()
        self.before = State(self.host)
        self.tracers = {}

    def set_up(self):
        pass

    def tracer(self, program):
        if program not in self.tracers:
            log = self.host.root.parent / f"{self.host.root.name}.trace"
            self.tracers[program] = Tracer(self.host, program, log, may_print=True)
        return self.tracers[program]

    def xml(self, operation=None):
        return ""

    def points(self, program):
        found = self.tracer(program).points(self.arguments(), self.xml(), self.status)
        self.before.put_back(self.host)
        assert len(found) >= 100
        return sample(sample(found, STEP))

    def check(self, state, *names):
        assert not MESH.leaks(state.masks, owners(*self.living)), state.masks
        for ppu in CARDS["b"] if self.with_b else ():
            assert state.masks[ppu] == self.before.masks[ppu]
        for ppu, mask in state.masks.items():
            assert mask & -1 << len(PEERS[ppu]) == INITIAL[ppu] & -1 << len(PEERS[ppu])

    def killed(self, program, point):
        self.tracer(program).kill(self.arguments(), self.xml(), point)
        state = State(self.host)
        self.check(state)
        return state, False

    def failed(self, program, point, error):
        status, message = self.tracer(program).fail(self.arguments(), self.xml(), point, error)
        state = State(self.host)
        assert status in VERDICTS and message.count("\n") <= 1 + (status == 0), (status, message)
        self.check(state)
        return state, status == 0

    # What comes next

    def again(self):
        result = self.host.engine(*self.arguments())
        assert result.status == 0, result

    def repair(self):
        result = self.host.engine("repair")
        assert result.status in self.fine, result

    def ways(self):
        return [[self.again, self.repair], [self.repair]]

    def heal(self, state, passed):
        for steps in self.ways():
            state.put_back(self.host)
            for step in steps:
                step()
            self.finish()

    def finish(self):
        """Nobody but b has a card; and then nobody has."""
        state = State(self.host)
        names = ["b"] if self.with_b else []
        assert state.masks == self.expected(*names)
        assert list(state.claim_files) == [f"{B.uuid}.json"] * self.with_b
        if self.with_b:
            self.end_of_b()


class Repair(VerbStage):
    """a was lost while it ran, and an idle neighbour of b was reset."""

    def set_up(self):
        assert self.libvirt.start(A).running
        running = self.libvirt.running.pop("a")
        self.libvirt._qemu_ends(running)
        self.host.remove_status("a")
        for device in A.devices:
            self.host.set_driver(device.bdf, None)
        self.host.write_register(4, INITIAL[4])
        self.host.write_register(5, INITIAL[5])

    def arguments(self, operation=None):
        return ["repair"]

    def check(self, state, *names):
        super().check(state)
        mine = MESH.required_masks(owners("b"))
        for ppu in CARDS["a"]:
            assert state.masks[ppu] & mine[ppu] == mine[ppu], "a cut towards b was opened"


class Apply(VerbStage):
    def arguments(self, operation=None):
        return ["apply", "--name", "mine", "0,1"]

    def release(self):
        result = self.host.engine("release", "mine")
        assert result.status in (0, 3), result

    def must_release(self):
        assert self.host.masks() == self.expected("a", "b")
        assert self.host.engine("release", "mine").status == 0

    def ways(self):
        return [[self.release, self.again, self.must_release], [self.release, self.repair]]

    def failed(self, program, point, error):
        state, passed = super().failed(program, point, error)
        for ppu in CARDS["a"] if passed else ():
            assert state.masks[ppu] == self.expected("a", "b")[ppu]
        return state, passed


class Release(VerbStage):
    def set_up(self):
        assert self.host.engine("apply", "--name", "mine", "0,1").status == 0

    def arguments(self, operation=None):
        return ["release", "mine"]

    def again(self):
        result = self.host.engine("release", "mine")
        assert result.status in (0, 3), result

    def ways(self):
        return [[self.again, self.repair]]


class Reset(VerbStage):
    living = ()
    with_b = False

    def set_up(self):
        assert self.host.engine("apply", "--name", "mine", "--name", "yours", "0,1|2,3").status == 0

    def arguments(self, operation=None):
        return ["reset"]

    def ways(self):
        return [[self.again]]

    def finish(self):
        """Every link is back; what was cut before us may be."""
        state = State(self.host)
        for ppu, mask in state.masks.items():
            links = (1 << len(PEERS[ppu])) - 1
            assert mask in (INITIAL[ppu], INITIAL[ppu] & ~links)
        assert state.claim_files == {}


class Confirm(VerbStage):
    """Links of card 4 to idle cards, one after the other; nobody sees whether they are up."""

    status = 7

    def arguments(self, operation=None):
        return ["confirm", "--wait", "0", "4"]

    def again(self):
        result = self.host.engine(*self.arguments())
        assert result.status == self.status, result

    def failed(self, program, point, error):
        """A register that cannot be written, or a result that cannot be kept, is told."""
        status, message = self.tracer(program).fail(self.arguments(), self.xml(), point, error)
        state = State(self.host)
        assert status in VERDICTS and status != 0, (status, message)
        self.check(state)
        return state, False

    def check(self, state, *names):
        """At most one link of an idle card is cut more than before."""
        super().check(state)
        before = self.before.masks
        more = {ppu: mask & ~before[ppu] for ppu, mask in state.masks.items() if mask != before[ppu]}
        assert sum(bin(mask).count("1") for mask in more.values()) <= 1
        assert all(mask & before[ppu] == before[ppu] for ppu, mask in state.masks.items())


class Tombstone(VerbStage):
    """a has ended, and somebody holds the lock for longer than the hook waits."""

    def set_up(self):
        self.host.configure("[policy]\nlock_timeout = 0\n")
        assert self.libvirt.start(A).running
        running = self.libvirt.running.pop("a")
        self.libvirt._qemu_ends(running)
        # pylint: disable=consider-using-with
        self.lock = open(self.host.path("/run/icn-hook/lock"), "rb")
        fcntl.flock(self.lock, fcntl.LOCK_EX)

    def arguments(self, operation=None):
        return ["a", "stopped", "end", "-"]

    def xml(self, operation=None):
        return A.xml(INACTIVE)

    def go_on_without_lock(self, steps):
        fcntl.flock(self.lock, fcntl.LOCK_UN)
        try:
            for device in A.devices:
                self.host.set_driver(device.bdf, None)
            self.host.remove_status("a")
            self.go_on(A, steps, A_PID)
            self.repair()
            super().finish()
        finally:
            fcntl.flock(self.lock, fcntl.LOCK_EX)

    def ways(self):
        return [[lambda: self.go_on_without_lock([])], [lambda: self.go_on_without_lock(["release"])],
                [lambda: self.go_on_without_lock(OPERATIONS)]]

    def finish(self):
        pass


def entry_of_0_1(claim, remembered, all_bdfs):
    """The same domain as 0.1 noted it."""
    mine = {card["bdf"]: card["whole"] for card in claim["cards"]}
    cards = []
    for ppu, bdf in enumerate(all_bdfs):
        if bdf in mine or bdf in remembered:
            original = remembered[bdf]["original"] if bdf in remembered else None
            cards.append(
                {"bdf": bdf, "ppu": ppu, "owned": bdf in mine, "whole": mine.get(bdf, False), "original": original}
            )
    return {
        "schema": "icn-hook/ledger/1",
        "boot_id": claim["boot"],
        "uuid": claim["uuid"],
        "name": claim["name"],
        "phase": OF_0_1[claim["phase"]],
        "caller": claim["daemon"] or {"pid": 0, "start": 0},
        "since": claim["since"],
        "cards": cards,
    }


class CarryOver(VerbStage):
    """a and b run since before the upgrade; the first call of the new version is of c."""

    living = ("a", "b")
    fine = (0, 7)  # 0.1 noted no gate

    def set_up(self):
        assert self.libvirt.start(A).running
        remembered = self.host.remembered()
        directory = self.host.path("/run/icn-hook")
        for name, claim in self.host.claims().items():
            (directory / name).write_text(json.dumps(entry_of_0_1(claim, remembered, self.host.bdfs)))
        (directory / "cards.json").unlink()

    def arguments(self, operation=None):
        return ["c", "prepare", "begin", "-"]

    def xml(self, operation=None):
        return C.xml(PREPARE)

    def end_of_c(self):
        self.go_on_with(C, ["stopped", "release"])

    def go_on_with(self, domain, steps):
        for step in steps:
            result = self.call(domain, step)
            assert (result.status, result.stderr) == (0, ""), (step, result)

    def life_of_c(self):
        self.go_on_with(C, ["prepare", "start"])
        assert self.host.masks() == self.expected("a", "b", "c")
        self.end_of_c()

    def end_of_a(self):
        assert self.host.masks() == self.expected("a", "b")
        pid = self.libvirt.running["a"].pid
        self.host.end_process(pid)
        for device in A.devices:
            self.host.set_enable(device.bdf, 0)
        self.go_on(A, ["stopped", "release"], pid)

    def ways(self):
        return [[self.end_of_c, self.end_of_a], [self.life_of_c, self.end_of_a], [self.end_of_c, self.repair, self.end_of_a]]


STAGES = {
    "repair": Repair,
    "apply": Apply,
    "release": Release,
    "reset": Reset,
    "confirm": Confirm,
    "tombstone": Tombstone,
    "carry-over": CarryOver,
}


class VerbCrew(Crew):
    def make_stage(self, root, moment):
        return STAGES[moment](root, moment)


@pytest.mark.parametrize("moment", STAGES)
def test_killed_at_every_call(tmp_path, moment):
    crew = VerbCrew(tmp_path, moment)
    engine = crew.first().host.engine_program
    points = crew.first().points(engine)
    crew.all(lambda stage, point=point: stage.killed(stage.host.engine_program, point) for point in points)
    print(f"{moment}: killed at {len(points)} points, {len(crew.healed)} different states")


@pytest.mark.parametrize("moment", STAGES)
def test_every_call_fails_once(tmp_path, moment):
    crew = VerbCrew(tmp_path, moment)
    engine = crew.first().host.engine_program
    faults = errors_of(crew.first().points(engine), engine)
    crew.all(
        lambda stage, point=point, error=error: stage.failed(stage.host.engine_program, point, error)
        for point, error in faults
    )
    print(f"{moment}: {len(faults)} calls failed, {len(crew.healed)} different states")


def test_carried_over_is_what_it_was(tmp_path):
    """Owners, masks and the way back, through an upgrade with a and b running."""
    stage = CarryOver(tmp_path / "host", "carry-over")
    before = stage.host.masks()
    cards = stage.host.engine("status", "--json").json()["ppus"]
    owned = {card["ppu"]: [owner["name"] for owner in card["owners"]] for card in cards}
    assert {ppu: names for ppu, names in owned.items() if names} == {0: ["a"], 1: ["a"], 2: ["b"], 3: ["b"]}
    assert stage.host.hook("d", "prepare", Domain("d", [Hostdev(GUIDE_BDFS[0])]).xml(PREPARE)).status == 4
    stage.libvirt.restart_daemon()
    assert stage.host.masks() == before
    assert {claim["schema"] for claim in stage.host.claims().values()} == {"icn-hook/claim/2"}
    stage.libvirt.stop("a")
    assert stage.host.masks() == stage.expected("b")
    stage.libvirt.stop("b")
    assert (stage.host.masks(), stage.host.claims()) == (INITIAL, {})
