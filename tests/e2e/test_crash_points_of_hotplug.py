# SPDX-License-Identifier: LGPL-2.1-or-later
"""As test_crash_points_of_verbs.py, for attach, detach and run, which have other processes work
for them: what these do goes on after the kill, and is waited for."""

import os
from pathlib import Path

import pytest

import libvirt_by_socket
from domain_xml import Domain, Hostdev
from faults import State, errors_of, sample
from libvirt_by_socket import Daemon
from simhost import GUIDE_BDFS
from test_crash_points import B, COUNT, INITIAL, MESH, owners
from test_crash_points_of_verbs import VERDICTS, VerbCrew, VerbStage
from test_run import wait_until

STEP = 4  # of the points that are left
RESERVED = "attach-a-1"
# How often these happen depends on who is faster.
UNCERTAIN = ("wait4", "rt_sigtimedwait", "kill", "poll", "clock_nanosleep")


def runs(needle):
    """A process has NEEDLE in its environment or is it, and is not only a zombie."""
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and needle in (process / "environ").read_bytes():
                return True
        except OSError:
            continue
    return False


class OtherStage(VerbStage):
    """One that waits for what its run has left running."""

    def points(self, program):
        return sample([point for point in super().points(program) if point.name not in UNCERTAIN], STEP)

    def settle(self):
        wait_until(lambda: not runs(f"ICN_SYSROOT={self.host.root}\0".encode()))

    def killed(self, program, point):
        self.tracer(program).kill(self.arguments(), self.xml(), point)
        self.settle()
        state = State(self.host)
        self.check(state)
        return state, False

    def failed(self, program, point, error):
        status, message = self.tracer(program).fail(self.arguments(), self.xml(), point, error)
        self.settle()
        state = State(self.host)
        assert status in VERDICTS, (status, message)
        self.check(state)
        return state, status == 0


class Run(OtherStage):
    def arguments(self, operation=None):
        return ["run", "--name", "mine", "0,1", "--", "true"]


class HotPlug(OtherStage):
    """VM a runs with card 0, and gets or loses card 1."""

    library = None

    def set_up(self):
        self.domain = Domain("a", [Hostdev(GUIDE_BDFS[0])])
        assert self.libvirt.start(self.domain).running
        self.daemon = Daemon(self.host, self.library)
        self.daemon.libvirt = self.libvirt
        self.daemon.before = {"attach": self.look, "detach": self.look}
        plain = self.host.environment
        self.host.environment = lambda **extra: plain(**self.daemon.environment, **extra)

    def look(self, bdf=None):
        """The host was put back behind the daemon's back."""
        has = GUIDE_BDFS[1].split(":")[1] in self.host.status_path("a").read_text()
        self.domain.devices = [Hostdev(bdf) for bdf in GUIDE_BDFS[: 1 + has]]
        self.libvirt.running["a"].domain.devices = self.domain.devices

    def check(self, state, *names):
        self.look()
        mine = {ppu: {"a"} for ppu in range(len(self.domain.devices))}
        assert not MESH.leaks(state.masks, {**owners("b"), **mine}), state.masks
        super().check(state)

    def attach(self):
        assert self.host.engine("attach", "a", "1").status in (0, 3)

    def detach(self):
        assert self.host.engine("detach", "a", "1").status in (0, 3)

    def repair(self):
        assert self.host.engine("repair").status in (0, 7)

    def release(self):
        assert self.host.engine("release", "--if-exists", RESERVED).status == 0

    def ways(self):
        return [[self.attach, self.detach], [self.detach, self.repair], [self.repair, self.release, self.detach]]

    def finish(self):
        """a has card 0 alone."""
        self.repair()
        state = State(self.host)
        required = MESH.required_masks({**owners("b"), 0: {"a"}})
        assert state.masks == {ppu: INITIAL[ppu] | required[ppu] for ppu in range(COUNT)}
        assert sorted(state.claim_files) == sorted([f"{B.uuid}.json", f"{self.domain.uuid}.json"])


class Attach(HotPlug):
    def arguments(self, operation=None):
        return ["attach", "a", "1"]


class Detach(HotPlug):
    def set_up(self):
        super().set_up()
        assert self.host.engine("attach", "a", "1").status == 0

    def arguments(self, operation=None):
        return ["detach", "a", "1"]


STAGES = {"run": Run, "attach": Attach, "detach": Detach}


class OtherCrew(VerbCrew):
    def make_stage(self, root, moment):
        return STAGES[moment](root, moment)


@pytest.fixture(name="library", scope="module", autouse=True)
def fixture_library(tmp_path_factory):
    HotPlug.library = libvirt_by_socket.build(tmp_path_factory.mktemp("libvirt"))


@pytest.mark.parametrize("moment", STAGES)
def test_killed_at_calls(tmp_path, moment):
    crew = OtherCrew(tmp_path, moment)
    engine = crew.first().host.engine_program
    points = crew.first().points(engine)
    assert len(points) >= 20 and os.path.exists(engine)
    crew.all(lambda stage, point=point: stage.killed(stage.host.engine_program, point) for point in points)
    print(f"{moment}: killed at {len(points)} points, {len(crew.healed)} different states")


@pytest.mark.parametrize("moment", STAGES)
def test_calls_fail_once(tmp_path, moment):
    crew = OtherCrew(tmp_path, moment)
    engine = crew.first().host.engine_program
    faults = errors_of(crew.first().points(engine), engine)
    crew.all(
        lambda stage, point=point, error=error: stage.failed(stage.host.engine_program, point, error)
        for point, error in faults
    )
    print(f"{moment}: {len(faults)} calls failed, {len(crew.healed)} different states")
