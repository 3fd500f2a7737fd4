# SPDX-License-Identifier: LGPL-2.1-or-later
"""A daemon that runs hooks as its children and can be killed at any moment.

The programs find it among their ancestors by its name in the real /proc, which the
kernel takes from the name by which a program was started: here a symbolic link.
"""

import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

PROCESS = Path(__file__).resolve().parent / "daemon_process.py"


class Call:
    """A program that runs as a child of the daemon."""

    def __init__(self, data, pid, answer, streams):
        self.pid = pid
        self.status = None  # None: it runs, or the daemon died first
        self._answer = answer
        self._stdin, self._stdout, self._stderr = streams
        self._writer = threading.Thread(target=self._write, args=(data,), daemon=True)
        self._writer.start()

    def _write(self, data):
        try:
            with os.fdopen(self._stdin, "wb", buffering=0) as stdin:
                stdin.write(data)
        except BrokenPipeError:
            pass

    def communicate(self, timeout):
        """(stdout, stderr), once all that hold them have ended."""
        texts, end = {self._stdout: b"", self._stderr: b""}, time.monotonic() + timeout
        waiting = set(texts)
        while waiting:
            ready, _, _ = select.select(list(waiting), [], [], max(0, end - time.monotonic()))
            if not ready:
                raise TimeoutError(f"process {self.pid} is not at its end after {timeout} s")
            for stream in ready:
                text = os.read(stream, 1 << 16)
                texts[stream] += text
                if not text:
                    os.close(stream)
                    waiting.remove(stream)
        self._writer.join()
        line = self._answer.readline()
        self._answer.close()
        self.status = int(line) if line else None
        return texts[self._stdout], texts[self._stderr]


class Daemon:
    def __init__(self, executable):
        """EXECUTABLE: the link to make, whose last part is the daemon's name."""
        self.executable = Path(executable)
        self.executable.parent.mkdir(parents=True, exist_ok=True)
        if not self.executable.is_symlink():
            self.executable.symlink_to(os.path.realpath(sys.executable))
        self.starts_by_itself = True
        self.process = self.socket = None
        self._end = None

    def is_running(self):
        return self.process is not None

    def start(self):
        """Does nothing if it runs."""
        if self.process:
            return
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", 'exec "$@" 3<&0 </dev/null', "sh", str(self.executable), "-I", "-S", str(PROCESS)],
            stdin=theirs,
            cwd="/",
        )
        theirs.close()
        self.socket = ours
        self._end = weakref.finalize(self, end, self.process, ours)

    def kill(self):
        """What it started lives on."""
        if self.process:
            self._end()
            self.process = self.socket = None

    def restart(self):
        self.kill()
        self.start()

    def call(self, arguments, data, environment):
        if self.starts_by_itself:
            self.start()
        calls = self.socket
        if not calls:
            raise OSError("the daemon does not run")
        pipes = [os.pipe() for _ in range(4)]
        theirs = [pipes[0][0]] + [writing for _, writing in pipes[1:]]
        call = {"arguments": [str(argument) for argument in arguments], "environment": environment}
        try:
            socket.send_fds(calls, [json.dumps(call).encode()], theirs)
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        answer = os.fdopen(pipes[3][0], "r")
        streams = [pipes[0][1], pipes[1][0], pipes[2][0]]
        line = answer.readline()
        if not line.strip().isdigit():
            for stream in streams:
                os.close(stream)
            answer.close()
            raise OSError(line.strip() or "the daemon was killed")
        return Call(data, int(line), answer, streams)


def end(process, calls):
    process.kill()
    process.wait()
    calls.close()
