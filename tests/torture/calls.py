# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs programs at the same moment, as children of the daemon, and kills some."""

import ctypes
import os
import signal
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

TIMEOUT = 120
PR_SET_CHILD_SUBREAPER = 36
KILLS = ("all", "all", "hook", "engine")


@dataclass
class Call:
    """One run of a program.  `kill` says what: all its processes, only the hook
    program, or only the engine."""

    arguments: list
    text: str = ""
    through: str = "daemon"
    kill: str = None
    kill_after: float = 0.0
    status: int = None  # None: nobody was told
    is_disturbed: bool = False
    is_late: bool = False  # a card may have slept on though the program woke it
    stderr: str = ""
    stdout: bytes = b""
    label: str = ""
    facts: dict = field(default_factory=dict)


class Calls:
    def __init__(self, host, dice):
        self.host = host
        self.dice = dice
        self.hooks = self.kills = self.verbs = 0
        self.durations = deque([0.01], maxlen=100)
        self.pool = ThreadPoolExecutor(8)
        # Who outlives its parent becomes a child of ours, so its end can be waited for.
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def plan_kill(self, call, share):
        if self.dice.random() < share:
            call.kill = self.dice.choice(KILLS)
            call.kill_after = self.dice.uniform(0, sum(self.durations) / len(self.durations))

    def run(self, calls, kill_daemon_after=None):
        """All at once; returns when every process of theirs has ended."""
        if kill_daemon_after is not None:
            end_of_daemon = self.pool.submit(self._kill_daemon, kill_daemon_after)
        list(self.pool.map(self._run, calls))
        self.kills += sum(call.is_disturbed for call in calls)
        if kill_daemon_after is not None:
            end_of_daemon.result()

    def _kill_daemon(self, seconds):
        time.sleep(seconds)
        self.host.daemon.kill()

    def _command(self, call):
        if call.through != "dispatcher":
            return call.arguments, self.host.environment()
        script = self.host.dispatcher()
        return [script, *call.arguments[1:]], self.host.environment(ICN_TEST_HOOK=str(call.arguments[0]))

    def _run(self, call):
        began = time.monotonic()
        command, environment = self._command(call)
        if call.through == "plain":
            result = self.host.run(command, call.text, environment, timeout=TIMEOUT)
            call.status, call.stdout, call.stderr = result.status, result.stdout, result.stderr
            return
        try:
            process = self.host.daemon.call(command, call.text.encode(), environment)
        except OSError:  # the daemon was killed
            call.is_disturbed = True
            return
        if call.kill:
            time.sleep(call.kill_after)
            call.is_disturbed = self._kill(call.kill, process.pid)
        call.stdout, stderr = process.communicate(TIMEOUT)
        call.stderr = stderr.decode(errors="replace")
        call.status = process.status
        call.is_disturbed = call.is_disturbed or call.status is None
        wait_for_group(process.pid)
        if not call.kill:
            self.durations.append(time.monotonic() - began)

    def _kill(self, what, pid):
        """Whether there was something to kill."""
        try:
            if what == "all":
                os.killpg(pid, signal.SIGKILL)
            elif what == "hook":
                os.kill(pid, signal.SIGKILL)
            else:
                os.kill(youngest(pid), signal.SIGKILL)
        except (ProcessLookupError, FileNotFoundError):
            return False
        return True


def youngest(pid):
    """The process at the end of a line of only children."""
    while children := open(f"/proc/{pid}/task/{pid}/children", encoding="ascii").read().split():
        pid = int(children[0])
    return pid


def wait_for_group(pid):
    """A process whose parent was killed may still be at work."""
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end:
        try:
            os.waitpid(-pid, os.WNOHANG)
        except ChildProcessError:
            pass
        try:
            os.killpg(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.0005)
    raise TimeoutError(f"processes of {pid} are there after {TIMEOUT} s")
