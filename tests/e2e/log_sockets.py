# SPDX-License-Identifier: LGPL-2.1-or-later
"""Listens where journald and a syslog daemon do, in a simulated host."""

import array
import os
import socket
import struct
import threading


def parse_native(data):
    """The fields of one datagram in journald's native protocol, as systemd documents it: name -> list of bytes."""
    fields = {}
    while data:
        head, rest = data.split(b"\n", 1)
        if b"=" in head:
            name, value = head.split(b"=", 1)
        else:
            name = head
            length = struct.unpack("<Q", rest[:8])[0]
            value, rest = rest[8 : 8 + length], rest[8 + length :]
            assert rest[:1] == b"\n", "a value in binary form ends with a line break"
            rest = rest[1:]
        fields.setdefault(name.decode(), []).append(value)
        data = rest
    return fields


class Listener:
    """A datagram socket at PATH (absolute in the host), and all that came."""

    def __init__(self, host, path):
        self.path = host.path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        here = os.getcwd()
        try:
            os.chdir(self.path.parent)  # an address is short
            self.socket.bind(self.path.name)
        finally:
            os.chdir(here)
        self.got = []
        self.files = 0  # how many came as a file
        self.marked = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while True:
            data, control, _, _ = self.socket.recvmsg(1 << 20, socket.CMSG_SPACE(4))
            if data == b"end":
                return
            if data == b"mark":
                self.marked.set()
                continue
            for level, kind, content in control:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    fds = array.array("i")
                    fds.frombytes(content)
                    with os.fdopen(fds[0], "rb") as file:
                        data = file.read()
                    self.files += 1
            self.got.append(data)

    def _send(self, data):
        directory = os.open(self.path.parent, os.O_PATH)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(data, f"/proc/self/fd/{directory}/{self.path.name}")
        os.close(directory)

    def wait(self):
        """Until all that was sent has been read."""
        self.marked.clear()
        self._send(b"mark")
        assert self.marked.wait(30)

    def close(self):
        """All that was sent until now has been read then."""
        if self.thread.is_alive():
            self._send(b"end")
            self.thread.join()
        self.socket.close()
        self.path.unlink(missing_ok=True)
        return self.got


class JournalSocket(Listener):
    def __init__(self, host):
        super().__init__(host, "/run/systemd/journal/socket")

    def take(self):
        """What came since the last time."""
        self.wait()
        taken, self.got = self.got, []
        return [{name: values[0].decode() for name, values in parse_native(data).items()} for data in taken]

    def entries(self):
        """Ends the listening.  Each entry as name -> text; no field came twice."""
        entries = [parse_native(data) for data in self.close()]
        for entry in entries:
            assert all(len(values) == 1 for values in entry.values()), entry
        return [{name: values[0].decode() for name, values in entry.items()} for entry in entries]
