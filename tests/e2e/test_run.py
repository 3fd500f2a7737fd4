# SPDX-License-Identifier: LGPL-2.1-or-later
"""icn-hook run: cards for as long as a command runs.  The commands are real processes; what
they hold open is played."""

import os
import re
import select
import signal
import subprocess
import time

import pytest

from bystander import vm
from errors import assert_error
from libvirt_player import Libvirt
from simhost import GUIDE_BDFS
from test_groups import groups_of
from test_manual import ALONE, IDLE, apply, card_text, fine, required

DEADLINE = 60  # seconds; far more than anything takes


def wait_until(condition):
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.02)


@pytest.fixture(autouse=True)
def signals_as_at_a_terminal():
    """What a script starts with `&` ignores two signals, and no program can trap what was ignored before it."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGQUIT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Run:
    """A run in the background.  Its command says `ready`, and waits for a line or a signal."""

    WAITS = 'echo "ready $ICN_CARDS"; read line'

    def __init__(self, host, *arguments, command=None):
        words = [host.engine_program, "run", *arguments, "--", *(command or ["sh", "-c", self.WAITS])]
        # pylint: disable=consider-using-with
        self.process = subprocess.Popen(
            [str(word) for word in words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=host.environment(), cwd="/", text=True,
        )
        self.said = self.says()

    def says(self):
        """Its next line."""
        assert select.select([self.process.stdout], [], [], DEADLINE)[0], "it says nothing"
        return self.process.stdout.readline()

    def end(self, line="\n"):
        """LINE: None for a command that ends without being told."""
        if line is None:
            self.process.wait(DEADLINE)
        out, err = self.process.communicate(line, DEADLINE)
        return self.process.returncode, out, err


def hold(host, ppu):
    """What a VMM's opening of a card does, as a line of a shell."""
    host.set_driver(host.bdfs[ppu], "vfio-pci")
    return f"echo 1 > {host.device(host.bdfs[ppu])}/enable"


def let_go(host, ppu):
    return f"echo 0 > {host.device(host.bdfs[ppu])}/enable"


# The usual way


def test_isolated_as_long_as_it_runs(host):
    run = Run(host, "--name", "red", "0,1")
    assert run.said == f"ready {GUIDE_BDFS[0]},{GUIDE_BDFS[1]}\n"
    assert (host.masks(), groups_of(host)) == (ALONE, {"red": [0, 1]})
    [claim] = host.claims().values()
    assert claim["process"]["pid"] not in (0, run.process.pid)
    assert run.end() == (0, "", "")
    assert (host.masks(), host.claims()) == (IDLE, {})
    words = [re.sub(r"^[^:]*: ", "", line).split(";")[0] for line in host.log().splitlines()]
    assert words == ["verb=run red", "verb=run the command has ended"]


def test_chosen_cards(host):
    assert Libvirt(host).start(vm("a", 0, 1, 2)).running
    before = host.masks()
    suggested = [card["ppu"] for card in host.engine("suggest", "2", "--json").json()["ppus"]]
    result = host.engine("run", "--count", "2", "--", "sh", "-c", "echo $ICN_CARDS; cat /proc/self/status")
    assert (result.status, result.stderr) == (0, "")
    lines = result.stdout.decode().splitlines()
    assert lines[0] == ",".join(GUIDE_BDFS[ppu] for ppu in suggested)
    # As flock(1) leaves it: no signal blocked, none ignored that the caller did not ignore.
    masks = {line.split()[0]: int(line.split()[1], 16) for line in lines if line.startswith(("SigBlk", "SigIgn"))}
    assert masks == {"SigBlk:": 0, "SigIgn:": 0}
    assert host.masks() == before


def test_no_descriptor_is_left_to_the_command(host):
    result = fine(host.engine("run", "0", "--", "sh", "-c", "ls /proc/$$/fd"))
    # 3 upwards: what the shell itself opens
    assert result.stdout.decode().split() == ["0", "1", "2"]


def test_standard_input_is_the_commands(host):
    result = host.engine("run", "0", "--", "cat", stdin="text")
    assert (result.status, result.stdout, result.stderr) == (0, b"text", "")


def test_command_with_options_of_its_own(host):
    result = fine(host.engine("run", "0", "--", "echo", "--json", "-n", "--", "run"))
    assert result.stdout == b"--json -n -- run\n"


# Exit status


@pytest.mark.parametrize("script, status", [("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -KILL $$", 137),
                                            ("kill -TERM $$", 143), ("kill -SEGV $$", 139)])
def test_exit_status(host, script, status):
    result = host.engine("run", "0,1", "--", "sh", "-c", script)
    assert (result.status, result.stdout, result.stderr) == (status, b"", "")
    assert (host.masks(), host.claims()) == (IDLE, {})


def test_commands_that_cannot_be_executed(host, tmp_path):
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    for command, status, reason in (
        ("no-such-command", 127, "No such file or directory"),
        (script, 126, "Permission denied"),
        (tmp_path, 126, "Permission denied"),
        ("", 127, "No such file or directory"),
    ):
        result = host.engine("run", "0,1", "--", str(command))
        line = f"icn-hook: cannot execute '{command}': {reason}\n"
        assert (result.status, result.stdout, result.stderr) == (status, b"", line)
        assert (host.masks(), host.claims()) == (IDLE, {})


@pytest.mark.parametrize(
    "arguments, line",
    [
        (["run", "0"], "'run' needs -- and a command after it"),
        (["run", "0", "--"], "'run' needs -- and a command after it"),
        (["run", "0", "true"], "unexpected argument 'true'; write -- before the command"),
        (["run", "--", "true"], "LIST or --count N is missing"),
        (["run", "0", "--count", "1", "--", "true"], "LIST and --count cannot be combined: '0'"),
        (["run", "0|1", "--", "true"], "run makes one group, not several: '0|1'"),
        (["run", "0", "--force", "--", "true"], "'run' has no option '--force'"),
    ],
)
def test_usage(host, arguments, line):
    assert_error(host.engine(*arguments), 2, f"{line}; see icn-hook help run", json=False)
    assert host.masks() == IDLE


def test_no_cards_to_be_had(host):
    """The command is not run."""
    apply(host, "0-6", "--name", "red")
    before = host.masks(), host.claims()
    touched = host.root / "touched"
    cases = {
        ("0",): (4, f"group 'manual-0' is not isolated: {card_text(0)} is in the group 'red', which was isolated by hand; "
                    "end that with `icn-hook release red`, or choose another card"),
        # just the cards of a group that is there: that one is not ours to end
        ("0-6", "--name", "red"): (
            4, f"group 'red' is not isolated: there is a group 'red' already, which has {card_text(0)}; end it "
               "first with `icn-hook release red`, or choose another name"),
        ("--count", "2"): (4, "1 of the 8 PPUs of this host are idle, not 2; PPU 0-6 owned by red"),
        ("8",): (3, "LIST, column 1: '8' is not a card of this host: its ids are 0 to 7"),
    }
    for arguments, (status, line) in cases.items():
        assert_error(host.engine("run", *arguments, "--", "touch", touched), status, line, json=False)
        assert (host.masks(), host.claims()) == before
    assert not touched.exists()


def test_a_register_that_does_not_take_the_cut(host):
    host.load_driver(GUIDE_BDFS[0])
    touched = host.root / "touched"
    result = host.engine("run", "0,1", "--", "touch", touched)
    assert result.status == 5 and result.stderr.count("\n") == 1
    assert (host.masks(), host.claims(), touched.exists()) == (IDLE, {}, False)


# Signals


PASSED = ["HUP", "INT", "QUIT", "USR1", "USR2", "ALRM", "TERM", "PIPE", "VTALRM", "PROF", "RTMIN"]


def test_signals_are_passed_on(host):
    traps = "; ".join(f"trap 'echo {name}' {name}" for name in PASSED if name != "RTMIN")
    script = f"{traps}; trap 'echo RTMIN' {signal.SIGRTMIN}; echo ready; while ! read line; do :; done; exit 3"
    run = Run(host, "0", command=["bash", "-c", script])
    assert run.said == "ready\n"
    for name in PASSED:
        run.process.send_signal(getattr(signal, f"SIG{name}"))
        assert run.says() == f"{name}\n"
    assert run.end() == (3, "", "")
    assert host.claims() == {}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_that_ends_the_command(host, number):
    run = Run(host, "0,1")
    run.process.send_signal(number)
    status, _, err = run.end(None)
    assert (status, err) == (128 + number, "")
    assert (host.masks(), host.claims()) == (IDLE, {})


def test_keys_of_the_terminal_reach_the_command_once(host):
    """They are sent to the whole process group by the kernel, the command's process among it."""
    script = "import os,pty,signal,sys\n"
    script += "pid, fd = pty.fork()\n"
    script += "if pid == 0: os.execv(sys.argv[1], sys.argv[1:])\n"
    script += "text = b''\n"
    script += "while b'ready' not in text: text += os.read(fd, 100)\n"
    script += "os.write(fd, b'\\x03')\n"
    script += "while text.count(b'INT') < 1: text += os.read(fd, 100)\n"
    script += "os.write(fd, b'go\\n')\n"
    script += "try:\n    while True:\n        more = os.read(fd, 100)\n        text += more\n        assert more\n"
    script += "except (OSError, AssertionError): pass\n"
    script += "print(text.count(b'INT'), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
    command = "trap 'echo INT' INT; echo ready; while ! read line; do :; done; exit 5"
    words = [host.engine_program, "run", "0", "--", "bash", "-c", command]
    result = host.run(["/usr/bin/python3", "-c", script, *words])
    assert (result.stdout, result.stderr) == (b"1 5\n", "")
    assert host.claims() == {}


# Killed


def test_killed_run_leaves_the_command_and_its_isolation(host):
    run = Run(host, "--name", "red", "0,1")
    [claim] = host.claims().values()
    command = claim["process"]["pid"]
    run.process.kill()
    run.process.wait()
    assert fine(host.engine("repair")) and (host.masks(), groups_of(host)) == (ALONE, {"red": [0, 1]})
    line = f"the group 'red' lasts as long as process {command}, for which icn-hook made it; end that process"
    assert_error(host.engine("release", "red"), 4, line, json=False)
    line = (f"group 'manual-1' is not isolated: {card_text(1)} is in the group 'red', which lasts as long as process "
            f"{command}; end that or choose another card")
    assert_error(host.engine("apply", "1"), 4, line, json=False)
    assert host.engine("reset").status == 4
    assert (host.masks(), groups_of(host)) == (ALONE, {"red": [0, 1]})
    os.kill(command, signal.SIGKILL)
    wait_until(lambda: not os.path.exists(f"/proc/{command}"))
    assert host.masks() == ALONE
    fine(host.engine("repair"))
    assert (host.masks(), host.claims()) == (IDLE, {})


def test_killed_run_whose_command_holds_a_card(host):
    """The command is gone too, but what it started holds a card."""
    script = f"{hold(host, 0)}; {Run.WAITS}"
    run = Run(host, "--name", "red", "0,1", command=["sh", "-c", script])
    [claim] = host.claims().values()
    run.process.kill()
    os.kill(claim["process"]["pid"], signal.SIGKILL)
    wait_until(lambda: not os.path.exists(f"/proc/{claim['process']['pid']}"))
    host.engine("repair")
    assert (host.masks(), groups_of(host)) == (ALONE, {"red": [0, 1]})
    host.let_go(GUIDE_BDFS[0])
    fine(host.engine("repair"))
    assert (host.masks(), host.claims()) == (IDLE, {})


def test_the_next_hook_gives_the_cards_back(host):
    run = Run(host, "2,3")
    [claim] = host.claims().values()
    run.process.kill()
    os.kill(claim["process"]["pid"], signal.SIGKILL)
    wait_until(lambda: not os.path.exists(f"/proc/{claim['process']['pid']}"))
    assert Libvirt(host).start(vm("a", 0, 1)).running
    assert host.masks() == ALONE
    assert len(host.claims()) == 1


def test_a_pid_that_belongs_to_another_now(host):
    run = Run(host, "2,3")
    [name] = host.claims()
    path = host.path(f"/run/icn-hook/{name}")
    text = path.read_text()
    run.process.kill()
    path.write_text(re.sub(r'("start": ?)(\d+)', lambda found: f"{found[1]}{int(found[2]) + 1}", text))
    assert path.read_text() != text
    fine(host.engine("repair"))
    assert (host.masks(), host.claims()) == (IDLE, {})


# What the command leaves behind


def test_waits_for_what_holds_a_card(host):
    lock = host.root / "held"
    background = f"(while test -e {lock}; do sleep 0.05; done; {let_go(host, 0)}) >/dev/null 2>&1 </dev/null &"
    lock.touch()
    run = Run(host, "--name", "red", "0,1", command=["sh", "-c", f"{hold(host, 0)}; {background} echo ready; exit 9"])
    line = run.process.stderr.readline()
    assert line == f"icn-hook: the command has ended, but {GUIDE_BDFS[0]} is held open by a process: waiting\n"
    assert (host.masks(), groups_of(host)) == (ALONE, {"red": [0, 1]})
    lock.unlink()
    assert run.end() == (9, "", "")
    assert (host.masks(), host.claims()) == (IDLE, {})


def test_a_signal_ends_the_waiting(host):
    run = Run(host, "--name", "red", "0,1", command=["sh", "-c", f"{hold(host, 0)}; echo ready; exit 9"])
    run.process.stderr.readline()
    run.process.terminate()
    status, _, err = run.end()
    assert (status, err) == (9, (
        f"icn-hook: {GUIDE_BDFS[0]} is still held open; the group 'red' stays isolated until it is not, and the next "
        "hook or `icn-hook repair` gives its cards back\n"
    ))
    assert (host.masks(), groups_of(host)) == (ALONE, {"red": [0, 1]})
    host.let_go(GUIDE_BDFS[0])
    fine(host.engine("repair"))
    assert (host.masks(), host.claims()) == (IDLE, {})


def test_cards_that_cannot_be_given_back(host):
    """The command's exit status is what counts; the line says what is left."""
    script = f"chmod 0777 {host.path('/run/icn-hook')}; exit 4"
    result = host.engine("run", "--name", "red", "0,1", "--", "sh", "-c", script)
    assert result.status == 4 and result.stderr.count("\n") == 1
    assert result.stderr.startswith("icn-hook: the cards of the group 'red' are not all given back: ")
    assert host.masks() == ALONE
    host.path("/run/icn-hook").chmod(0o700)
    fine(host.engine("repair"))
    assert (host.masks(), host.claims()) == (IDLE, {})


def test_of_other_groups_nothing_is_touched(host):
    apply(host, "4,5", "--name", "blue")
    before = host.masks()
    run = Run(host, "0,1")
    assert host.masks() == required(host, [0, 1], [4, 5])
    assert run.end() == (0, "", "")
    assert (host.masks(), groups_of(host)) == (before, {"blue": [4, 5]})
