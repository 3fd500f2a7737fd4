# SPDX-License-Identifier: LGPL-2.1-or-later
"""icn-hook setup is killed, or a system call of it fails, at each of its system calls.  The two
files it writes are both old or both new afterwards, or VMs with cards are refused; and running it
again makes it good."""

import errno

import pytest

from domain_xml import PREPARE, Domain, Hostdev, Interface
from faults import Point, Tracer, errors_of, sample
from simhost import GUIDE_BDFS
from test_setup import CARDS, TOPOLOGY, check_written, read
from vendor_outputs import guide_machine

VM = Domain("a", [Hostdev(GUIDE_BDFS[0]), Hostdev(GUIDE_BDFS[1])])
BARRIER = "# icn-hook setup was interrupted"
STEP = 4


class Stage:
    """A host that was set up with OLD (None: never), and is to be set up with NEW."""

    def __init__(self, tmp_path, old, new):
        self.new = new
        self.host = new.host(tmp_path / "host")
        self.nic = self.host.add_nic()
        self.saved = new.save(tmp_path / "new")
        if old:
            assert self.host.engine("setup", "--from", old.save(tmp_path / "old")).status == 0
        self.arguments = ["setup", "--force", "--from", str(self.saved)]
        self.tracer = Tracer(self.host, self.host.engine_program, tmp_path / "trace", may_print=True)
        self.old = self.files()
        assert self.host.engine(*self.arguments).status == 0
        self.wanted = self.files()
        self.put_back()

    def files(self):
        return read(self.host, TOPOLOGY), read(self.host, CARDS)

    def put_back(self):
        for path, text in zip((TOPOLOGY, CARDS), self.old):
            if text is None:
                self.host.path(path).unlink(missing_ok=True)
            else:
                self.host.write(path, text)
        for path in self.leftovers():
            path.unlink()

    def leftovers(self):
        """What lies about beside the two files."""
        known = {self.host.path(TOPOLOGY), self.host.path(CARDS), self.host.path("/etc/icn-hook/icn-hook.conf.d")}
        return [path for path in self.host.path("/etc/icn-hook").rglob("*") if path not in known]

    def points(self):
        found = self.tracer.points(self.arguments, "")
        self.put_back()
        assert len(found) >= 100
        return sample(sample(found, STEP))

    def judge(self):
        """Returns what is there: "old", "new" or "refused"."""
        topology, cards = self.files()
        if (topology, cards) in (self.old, self.wanted):
            return "old" if (topology, cards) == self.old else "new"
        assert cards and cards.startswith(BARRIER), (topology, cards)
        assert topology in (self.old[0], self.wanted[0])
        refused = self.host.hook("a", "prepare", VM.xml(PREPARE))
        assert refused.status != 0 and "50-cards.conf" in refused.stderr, refused
        plain = Domain("plain", [Interface(self.nic)])
        assert self.host.hook("plain", "prepare", plain.xml(PREPARE)).status == 0
        assert self.host.hook("plain", "release", plain.xml(PREPARE)).status == 0
        return "refused"

    def again(self):
        assert self.host.engine(*self.arguments).status == 0
        assert self.files() == self.wanted
        assert self.leftovers() == []
        check_written(self.host, self.new)
        self.put_back()


@pytest.fixture(name="stage", params=["first", "again", "other cards"])
def fixture_stage(request, tmp_path):
    old = {"first": None, "again": guide_machine().permuted(7), "other cards": guide_machine()}[request.param]
    new = guide_machine()
    if request.param == "other cards":  # only the drop-in changes
        new.inactive.clear()
    stage = Stage(tmp_path, old, new)
    # Three files and three renames where both files change; what was there is kept by a link.
    stage.uses = {"fsync": 2, "linkat": 1, "renameat": 1}
    if request.param != "other cards":
        stage.uses = {"fsync": 6, "linkat": 2 if old else 0, "renameat": 3}
    yield stage
    stage.host.daemon.kill()


def test_killed(stage):
    seen = set()
    for point in stage.points():
        stage.tracer.kill(stage.arguments, "", point)
        seen.add(stage.judge())
        stage.again()
    both = stage.old[0] != stage.wanted[0]
    assert seen == ({"old", "new", "refused"} if both else {"old", "new"})


def test_failing(stage):
    for point, error in errors_of(stage.points(), stage.host.engine_program):
        status, message = stage.tracer.fail(stage.arguments, "", point, error)
        found = stage.judge()
        if status == 0:
            assert found == "new", (point, error)
        else:
            assert message.startswith("icn-hook: ") and message.count("\n") == 1, (point, error, message)
            assert found == "old" or "could not be put back" in message or found == "new", (point, error, message)
        stage.again()


@pytest.mark.parametrize("call", ["fsync", "linkat", "renameat"])
def test_each_write_fails_once(stage, call):
    """A failure leaves both files as they were, and nothing beside them."""
    uses = 0
    while True:
        uses += 1
        outcome = stage.tracer.strike(stage.arguments, "", Point(call, uses), str(errno.EIO))
        if outcome is None:
            break
        status, message = outcome
        assert status == 5 and message.count("\n") == 1, message
        assert stage.judge() == "old", (call, uses)
        assert stage.leftovers() == []
    assert stage.files() == stage.wanted
    assert uses - 1 == stage.uses[call]
    stage.put_back()
