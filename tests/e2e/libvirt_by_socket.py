# SPDX-License-Identifier: LGPL-2.1-or-later
"""libvirt's daemon for the verbs that ask it, played by the test: a stand-in for the library
(libvirt_by_socket.c) passes each call on."""

import os
import re
import socket
import subprocess
import threading
from pathlib import Path

from domain_xml import Hostdev
from libvirt_player import Libvirt

SOURCE = Path(__file__).resolve().with_suffix(".c")
NO_DOMAIN, OPERATION_FAILED, NO_DEVICE = 42, 9, 43
AFFECT_LIVE = "1"


def build(directory):
    """Returns the directory with the stand-in, for LD_LIBRARY_PATH."""
    library = directory / "libvirt.so.0"
    compiler = os.environ.get("CC", "cc").split()
    subprocess.run([*compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE)], check=True)
    return directory


class Daemon:
    """Attaches and detaches for VMs of a Libvirt; BEFORE[call] is called first, with the card's
    address, and may return another answer, or HANG, or DIE."""

    HANG, DIE = "hang", "die"

    def __init__(self, host, library):
        self.host = host
        self.libvirt = Libvirt(host)
        self.shut_off = {}  # name -> domain
        self.before = {}
        self.calls = []
        self.taken = {}  # bdf -> the driver that had it
        self.end = threading.Event()
        path = host.root.parent / f"{host.root.name}.socket"
        self.environment = {"LD_LIBRARY_PATH": str(library), "ICN_TEST_LIBVIRT": str(path)}
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        threading.Thread(target=self._listen, daemon=True).start()

    def engine(self, *arguments):
        return self.host.engine(*arguments, **self.environment)

    def close(self):
        self.end.set()
        self.listener.close()

    def _listen(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection, connection.makefile("rw", encoding="utf-8") as stream:
            for line in stream:
                call, _, rest = line.rstrip("\n").partition(" ")
                answer = getattr(self, f"_{call}")(rest)
                if answer == self.HANG:
                    self.end.wait()
                if answer in (self.HANG, self.DIE):
                    return
                stream.write(f"{answer}\n")
                stream.flush()

    def _find(self, name):
        running = self.libvirt.running.get(name)
        domain = running.domain if running else self.shut_off.get(name)
        return f"0 {domain.uuid}" if domain else f"{NO_DOMAIN} Domain not found: no domain with matching name '{name}'"

    def _look(self, uuid):
        return f"0 {uuid}"

    def _active(self, uuid):
        return f"0 {int(any(running.domain.uuid == uuid for running in self.libvirt.running.values()))}"

    def _change(self, call, rest, carry_out):
        uuid, flags, xml = rest.split(" ", 2)
        assert flags == AFFECT_LIVE and "managed='yes'" in xml
        found = re.search(r"domain='0x(\w+)' bus='0x(\w+)' slot='0x(\w+)' function='0x(\w+)'", xml)
        bdf = "{}:{}:{}.{}".format(*found.groups())
        self.calls.append((call, self.host.bdfs.index(bdf)))
        answer = self.before.get(call, lambda bdf: None)(bdf)
        if answer:
            return answer
        [name] = [name for name, running in self.libvirt.running.items() if running.domain.uuid == uuid]
        return carry_out(name, bdf)

    def attach(self, name, bdf):
        self.libvirt.hot_plug(name, Hostdev(bdf))
        domain = self.libvirt.running[name].domain
        self.libvirt.let_through[domain.uuid] = self.libvirt.ppus(domain)
        self.libvirt.check(f"attach of {bdf}")
        return "0 "

    @staticmethod
    def _bdf(device):
        return "{}:{}:{}.{}".format(*re.fullmatch(r"pci_(\w{4,})_(\w\w)_(\w\w)_(\w)", device).groups())

    def _device(self, device):
        is_there = self.host.device(self._bdf(device)).exists()
        return "0 " if is_there else f"{NO_DEVICE} Node device not found: no node device with matching name '{device}'"

    def _take(self, device):
        bdf = self._bdf(device)
        answer = self.before.get("take", lambda bdf: None)(bdf)
        if answer:
            return answer
        self.taken[bdf] = self.host.driver(bdf)
        self.host.set_driver(bdf, "vfio-pci")
        return "0 "

    def _return(self, device):
        bdf = self._bdf(device)
        answer = self.before.get("return", lambda bdf: None)(bdf)
        if answer:
            return answer
        if bdf in self.taken:
            self.host.set_driver(bdf, self.taken.pop(bdf))
        return "0 "

    def detach(self, name, bdf):
        if bdf not in [device.bdf for device in self.libvirt.running[name].domain.devices]:
            return f"{OPERATION_FAILED} device not found"
        self.libvirt.hot_unplug(name, bdf)  # a card that was taken before stays on vfio-pci (libvirt 9.0)
        return "0 "

    def _attach(self, rest):
        return self._change("attach", rest, self.attach)

    def _detach(self, rest):
        return self._change("detach", rest, self.detach)
