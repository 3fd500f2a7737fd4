# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the rows of tests/bench/run are measured with."""

import os
import re
import shlex
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from simhost import SimHost

PIPE_SIZE = 64 << 10


def stop(text):
    sys.exit(f"bench: {text}")


def run(arguments, **options):
    done = subprocess.run([str(argument) for argument in arguments], capture_output=True, check=False, **options)
    if done.returncode != 0:
        stop(f"{shlex.join(map(str, arguments))}: exit {done.returncode}\n{done.stderr.decode()}")
    return done


def duration(seconds):
    return f"{seconds * 1000:.2f} ms"


class Table:
    HEAD = ("work", "this", "against", "", "ratio", "budget", "")
    PAIR_HEAD = ("work", "this", "other", "ratio", "median", "other", "ratio")

    def __init__(self):
        self.rows = []
        self.pairs = []
        self.broken = False

    def add(self, work, this, against, other, ratio, budget, good):
        self.broken |= not good
        self.rows.append((work, this, against, other, ratio, budget, "ok" if good else "OVER"))

    def pair(self, work, runs, figure=min):
        """RUNS: seconds by this build and, if there is one, by the other."""
        if len(runs) == 2:
            cells = []
            for figure in (figure, statistics.median):
                this, other = map(figure, runs)
                cells += [duration(this), duration(other), f"{this / other:.2f} x"]
            self.pairs.append((work, *cells))

    def pair_counts(self, work, counts):
        if len(counts) == 2:
            self.pairs.append((work, f"{counts[0]:,}", f"{counts[1]:,}", f"{counts[0] / counts[1]:.2f} x", "", "", ""))

    @staticmethod
    def _show(rows):
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        rows.insert(1, tuple("-" * width for width in widths))
        for row in rows:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())

    def show(self):
        self._show([self.HEAD, *self.rows])
        if self.pairs:
            print()
            self._show([self.PAIR_HEAD, *self.pairs])


class Host:
    """A simulated host, and what it takes to run the hook of one build on it."""

    def __init__(self, directory, build, environment=None, **options):
        self.sim = SimHost(directory, build_dir=build, **options)
        self.environment = self.sim.environment(**(environment or {}))

    def save(self, name, text):
        return self.sim.write(f"/root/{name}.xml", text)

    def hook(self, name, operation):
        ending = "end" if operation in ("stopped", "release") else "begin"
        return [str(self.sim.hook_program), name, operation, ending, "-"]

    def spawn(self, arguments, text):
        """Starts a program with TEXT on its stdin; its pid."""
        reading, writing = os.pipe()
        assert len(text) <= PIPE_SIZE
        os.write(writing, text)
        os.close(writing)
        actions = [
            (os.POSIX_SPAWN_DUP2, reading, 0),
            (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
        ]
        pid = os.posix_spawn(arguments[0], arguments, self.environment, file_actions=actions)
        os.close(reading)
        return pid

    def once(self, arguments, text, statuses=(0,)):
        """Runs a program, which has to end with one of STATUSES; the seconds that it took."""
        began = time.perf_counter()
        pid = self.spawn(arguments, text)
        _, status = os.waitpid(pid, 0)
        spent = time.perf_counter() - began
        if os.waitstatus_to_exitcode(status) not in statuses:
            stop(f"{shlex.join(arguments)}: wait status {status}")
        return spent

    def all_at_once(self, calls):
        """CALLS: (arguments, text) each.  The seconds from each one's start to its end."""
        began, waits = {}, []
        for arguments, text in calls:
            now = time.perf_counter()
            began[self.spawn(arguments, text)] = now
        while began:
            pid, status = os.waitpid(-1, 0)
            waits.append(time.perf_counter() - began.pop(pid))
            if status != 0:
                stop(f"one of {len(calls)} hooks at once: wait status {status}")
        return waits

    def count_system_calls(self, arguments, text):
        """Those of the program and its children, when libvirt's daemon is their ancestor."""
        counts = self.sim.path("/root/strace")
        counts.parent.mkdir(exist_ok=True)
        result = self.sim.run_in_daemon(["/usr/bin/strace", "-f", "-c", "-o", counts, *arguments], text, self.environment)
        if result.status != 0:
            stop(f"strace {shlex.join(arguments)}: exit {result.status}\n{result.stderr}")
        return int(re.search(r"(\d+)(?:\s+\d+)? total$", counts.read_text(), re.MULTILINE)[1])


@dataclass
class Work:
    """One program that is timed, and one that undoes it, which is not."""

    host: Host
    arguments: list
    text: bytes
    undo: list = None
    statuses: tuple = (0,)


def take_turns(works, runs):
    """The seconds of each run of each of WORKS."""
    seconds = [[] for _ in works]
    for _ in range(runs):
        for spent, work in zip(seconds, works):
            if work.undo:
                work.host.once(work.undo, work.text)
            spent.append(work.host.once(work.arguments, work.text, work.statuses))
    return seconds


def count_instructions(program, cards, directory):
    counts = Path(directory) / f"callgrind.{cards}"
    run(["valgrind", "--tool=callgrind", "--toggle-collect=plan_once", f"--callgrind-out-file={counts}", program, cards])
    return int(re.search(r"^(?:summary|totals): (\d+)", counts.read_text(), re.MULTILINE)[1])


def peak(host, name, xml):
    """Peak resident memory of prepare in KiB: the hook and the engine that it becomes."""
    done = run(["/usr/bin/time", "-f", "%M", *host.hook(name, "prepare")], env=host.environment,
               input=xml.read_bytes())
    return int(done.stderr.decode().split()[-1])
