# SPDX-License-Identifier: LGPL-2.1-or-later
"""Faults in the real programs: the system calls of a run, a kill or an error at
one of them, and the state of a simulated host, to compare and to put back.

A run is traced once, by strace, and each later one is hit at (name, k-th use) by
strike.c; the dynamic loader's calls count too.
"""

import errno
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

STRIKE = Path(__file__).resolve().parent / "strike.c"
DEAD_STRIKE = 125

# In a sanitizer or coverage build the program has calls that are not its own.
COVERAGE_DATA = ".gcda"
LOADER_CACHE = "/etc/ld.so.cache"

# What can happen to a call; its uses take turns.  mmap's EINVAL is what the kernel
# says when somebody has claimed the card's BAR.  brk has no errors: it returns an address.
ERRORS = {
    "access": ["EACCES", "EIO"],
    "clone3": ["EAGAIN", "ENOMEM"],
    "close": ["EIO", "EINTR"],
    "fchmod": ["EPERM", "EIO"],
    "fcntl": ["EMFILE"],
    "flock": ["EINTR", "ENOLCK"],
    "fstat": ["EIO", "ENOMEM"],
    "getdents64": ["EIO", "ENOENT"],
    "lseek": ["EIO"],
    "memfd_create": ["EMFILE", "ENOMEM"],
    "mkdir": ["ENOSPC", "EACCES"],
    "mmap": ["ENOMEM", "EINVAL"],
    "newfstatat": ["EIO", "ENOMEM"],
    "openat": ["EMFILE", "EIO", "EACCES"],
    "pipe2": ["EMFILE"],
    "poll": ["EINTR", "ENOMEM"],
    "pread64": ["EIO"],
    "read": ["EIO", "EINTR"],
    "readlink": ["EIO", "ENOMEM"],
    "renameat": ["ENOSPC", "EIO"],
    "unlinkat": ["EIO", "EROFS"],
    "wait4": ["EINTR"],
    "write": ["ENOSPC", "EIO", "EINTR"],
}

# Calls by which a program leaves something behind, and the mapping through which
# it stores into a register.
CHANGES = re.compile(
    r"write\(|renameat\(|unlinkat\(|mkdir\(|flock\(|O_CREAT|O_RDWR|O_WRONLY|PROT_WRITE, MAP_SHARED|exit_group"
)

UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"

# What main() begins with.
DESCRIPTORS = re.compile(r'(fcntl|newfstatat|read)\(0,|poll\(\[\{fd=0,|openat\(AT_FDCWD, "/dev/null"')


@dataclass(frozen=True)
class Point:
    """The USE-th use of the call NAME."""

    name: str
    use: int
    text: str = ""

    @property
    def changes(self):
        return bool(CHANGES.search(self.text))


def own_points(trace):
    """The calls after the dynamic loader's last, which is to unmap its cache, and
    before those that write coverage data."""
    points, uses = [], {}
    cache = None  # None: not seen; "": opened; else the start of the mapping
    own = False
    for line in trace.splitlines():
        match = re.match(r"(\w+)\(", line)
        if not match:
            continue
        if own and COVERAGE_DATA in line:
            break
        name = match[1]
        uses[name] = uses.get(name, 0) + 1
        if own:
            points.append(Point(name, uses[name], line))
        elif cache is None and LOADER_CACHE in line and name == "openat":
            cache = ""
        elif cache == "" and name == "mmap":
            cache = re.search(r"= (0x\w+)", line)[1]
        elif cache and name == "munmap" and cache in line:
            own = True
    return points


def is_sanitized(program):
    return b"__asan_init" in program.read_bytes()


def errors_of(points, program):
    """(point, error): every call that can fail, once.  A sanitizer's memory is not
    to run out."""
    spared = {"mmap"} if is_sanitized(program) else set()
    return [
        (point, ERRORS[point.name][point.use % len(ERRORS[point.name])])
        for point in points
        if point.name in ERRORS and point.name not in spared
    ]


STRIKE_LOCK = threading.Lock()


def strike_directory():
    """The same for all threads: a second one would take the first one's away."""
    with STRIKE_LOCK:
        return make_strike_directory()


@functools.cache
def make_strike_directory():
    """With strike(1) in it, as long as this process lives."""
    directory = tempfile.TemporaryDirectory(prefix="icn-hook-strike-")
    compiler = os.environ.get("CC", "cc").split()
    command = [*compiler, "-O1", "-o", f"{directory.name}/strike", str(STRIKE), "-lseccomp"]
    subprocess.run(command, check=True)
    return directory


class Tracer:
    """Runs a program as a child of libvirt's daemon, and has things happen to it."""

    def __init__(self, host, program, log, may_print=False):
        self.may_print = may_print
        self.host = host
        self.program = program
        self.log = log

    def run_under(self, tool, arguments, xml):
        environment = self.host.environment_under_strace()
        done = self.host.run_in_daemon([*tool, str(self.program), *arguments], xml, environment, timeout=120)
        assert self.may_print or done.stdout == b"", f"stdout must stay empty: {done.stdout!r}"
        return done.status, done.stderr

    def run(self, arguments, xml, options):
        """Under strace.  -D: the program's parent is the daemon, and not strace."""
        return self.run_under([shutil.which("strace"), "-D", "-qq", "-o", str(self.log), *options], arguments, xml)

    def strike(self, arguments, xml, point, what):
        """Its outcome, or None: the program has fewer such calls."""
        tool = [f"{strike_directory().name}/strike", str(self.log), point.name, str(point.use), what]
        self.log.unlink(missing_ok=True)
        outcome = self.run_under(tool, arguments, xml)
        assert outcome[0] != DEAD_STRIKE, outcome
        return outcome if self.log.exists() else None

    def points(self, arguments, xml, status=0):
        """STATUS: what the run ends with when nothing fails."""
        outcome = self.run(arguments, xml, [])
        assert outcome == (status, "")
        found = own_points(self.log.read_text())
        if is_sanitized(self.program):
            # The sanitizer's own calls come before main().
            while not DESCRIPTORS.match(found[0].text):
                found.pop(0)
        return found

    def kill(self, arguments, xml, point):
        outcome = self.strike(arguments, xml, point, "kill")
        assert outcome and outcome[0] == -signal.SIGKILL, f"not reached: {point}"

    def fail(self, arguments, xml, point, error):
        outcome = self.strike(arguments, xml, point, str(getattr(errno, error)))
        assert outcome, f"not reached: {point}"
        return outcome


class State:
    """All of a simulated host that programs, libvirt and QEMU change."""

    def __init__(self, host):
        self.masks = host.masks()
        self.files = host.state_files()
        self.claim_files = host.claim_files()
        self.enable = {bdf: host.enable(bdf) for bdf in host.bdfs}
        self.drivers = {bdf: host.driver(bdf) for bdf in host.bdfs}
        self.decoding = {bdf: host.memory_decoding(bdf) for bdf in host.bdfs}
        self.status = {path.stem: path.read_bytes() for path in host.path("/run/libvirt/qemu").iterdir()}
        self.processes = {path.name for path in host.path("/proc").iterdir() if path.name.isdigit()}

    def essence(self):
        """What two states share that differ in nothing but times and process ids."""
        files = []
        for name, content in self.files.items():
            text = re.sub(rb'"(since|boottime_ms|at)":\d+', b"", content)
            files.append((re.sub(r"\.\d+\.tmp$", ".tmp", name), text))
        return tuple(self.masks.items()), tuple(self.enable.items()), tuple(files)

    def put_back(self, host):
        found = State(host)
        host.set_masks({ppu: mask for ppu, mask in self.masks.items() if found.masks[ppu] != mask})
        for bdf in host.bdfs:
            if found.decoding[bdf] != self.decoding[bdf]:
                host.set_memory_decoding(bdf, self.decoding[bdf])
            if found.drivers[bdf] != self.drivers[bdf]:
                host.set_driver(bdf, self.drivers[bdf])
            if host.enable(bdf) != self.enable[bdf]:
                host.set_enable(bdf, self.enable[bdf])
        replace_files(host.path("/run/icn-hook"), found.files, self.files)
        replace_files(
            host.path("/run/libvirt/qemu"),
            {f"{name}.xml": content for name, content in found.status.items()},
            {f"{name}.xml": content for name, content in self.status.items()},
        )
        for pid in found.processes - self.processes:
            host.end_process(int(pid))
        for pid in self.processes - found.processes:
            host.start_process(int(pid))


def replace_files(directory, found, wanted):
    for name in found.keys() - wanted.keys():
        (directory / name).unlink()
    for name, content in wanted.items():
        if found.get(name) != content:
            (directory / name).write_bytes(content)
            (directory / name).chmod(0o600)


def check_claim_files(files):
    """Every claim is whole, and nothing else lies about but what a killed writer or a
    caller without the lock may leave."""
    for name, content in files.items():
        if name.endswith(".json") and not name.startswith("."):
            assert json.loads(content)["uuid"] == name[: -len(".json")]
        else:
            assert re.fullmatch(rf"\..*\.\d+\.tmp|enabled-[0-9a-f:.]+|ended-{UUID}", name), f"an odd file: {name}"


# Slow builds take only every N-th point.
SAMPLE = int(os.environ.get("ICN_TEST_SAMPLE", "1"))


def sample(points, step=SAMPLE):
    """Every STEP-th point, and those at which something changes."""
    return [point for index, point in enumerate(points) if index % step == 0 or point.changes]
