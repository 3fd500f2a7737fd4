# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the cards do, from the wiring and the registers as they are.

This is the oracle of the tests, and what plays the vendor's tools and the status
register.  It knows addresses and link numbers; no id, map or topology of the programs
under test can mislead it.
"""

import os
import struct
import subprocess
from pathlib import Path

from wiring import End, LinkRegisters, Wiring

DEVICES = "sys/bus/pci/devices"
JOURNAL_SOURCE = Path(__file__).resolve().parent / "write_journal.c"


class Hardware:
    def __init__(self, root, wiring, registers=LinkRegisters()):
        self.root = Path(root)
        self.wiring = wiring
        self.registers = registers

    @classmethod
    def of(cls, root):
        """Of the file in the root of a simulated host."""
        return cls(root, *Wiring.load(root))

    # Registers

    def resource(self, bdf):
        return self.root / DEVICES / bdf / f"resource{self.registers.bar}"

    def load(self, bdf, register):
        """The value of a register, or None if there is no such card or register."""
        try:
            with open(self.resource(bdf), "rb") as resource:
                resource.seek(register * self.registers.stride)
                return struct.unpack("<I", resource.read(4))[0]
        except (OSError, struct.error):
            return None

    def store(self, bdf, register, value):
        with open(self.resource(bdf), "r+b") as resource:
            resource.seek(register * self.registers.stride)
            resource.write(struct.pack("<I", value))

    def cut_bits(self, bdf, value):
        """The links that VALUE of the link config register cuts; a card that is gone has
        no link."""
        bits = self.wiring.link_bits(bdf)
        if value is None:
            return bits
        return (value if self.registers.cut_bit else ~value) & bits

    def cuts(self):
        """BDF -> its links that are cut at its own end."""
        return {bdf: self.cut_bits(bdf, self.load(bdf, self.registers.config)) for bdf in self.wiring.bdfs}

    # Links

    def live(self, cuts=None):
        """(end, other end) of every link with open ends, (end, None) if it leads to another
        host.  A broken link counts too: it may come up."""
        cuts = self.cuts() if cuts is None else cuts
        found = [pair for pair in self.wiring.joins if not any(cuts[end.bdf] >> end.link & 1 for end in pair)]
        return found + [(end, None) for end in self.wiring.external if not cuts[end.bdf] >> end.link & 1]

    def is_up(self, end, cuts=None):
        """Traffic can flow."""
        cuts = self.cuts() if cuts is None else cuts
        end = End(*end)
        other = self.wiring.other(end)
        ends = {end, other} if other else {end}
        if ends & self.wiring.broken or any(cuts[bdf] >> link & 1 for bdf, link in ends):
            return False
        return other is not None or self.wiring.external.get(end) is not None

    # The rule

    def leaks(self, owners, cuts=None, external=True):
        """Live links that may not be.  OWNERS: BDF -> set; none = idle.  EXTERNAL: those that
        lead to another host are judged too."""
        found = []
        for end, other in self.live(cuts):
            mine = owners.get(end.bdf, set())
            theirs = owners.get(other.bdf, set()) if other else None
            if (mine or theirs) and not (len(mine) == 1 and mine == theirs) and (other or external):
                found.append((end, other))
        return found

    def required(self, owners, external=True):
        """BDF -> the links that must be cut at its own end, with a cut at both ends."""
        everything_open = dict.fromkeys(self.wiring.bdfs, 0)
        masks = dict(everything_open)
        for pair in self.leaks(owners, everything_open, external):
            for end in filter(None, pair):
                masks[end.bdf] |= 1 << end.link
        return masks


class Journal:
    """The order in which programs wrote link registers: a library that is preloaded into
    them notes the register whenever a mapping for writing ends."""

    def __init__(self, hardware, library, path):
        """LIBRARY: what LD_PRELOAD is to name."""
        self.hardware = hardware
        self.library = library
        self.path = Path(path)
        self.path.touch()
        self.read = 0
        self.cuts = hardware.cuts()
        offset = hardware.registers.config * hardware.registers.stride
        self.environment = {
            "LD_PRELOAD": library,
            "ICN_TEST_WRITES": str(self.path),
            "ICN_TEST_REGISTER": f"/resource{hardware.registers.bar}:{offset}",
        }

    @staticmethod
    def build(path, sanitized=False):
        """SANITIZED: the programs are, and want the sanitizer's own library to be the first."""
        compiler = os.environ.get("CC", "cc").split()
        subprocess.run([*compiler, "-shared", "-fPIC", "-O1", "-o", str(path), str(JOURNAL_SOURCE)], check=True)
        if not sanitized:
            return str(path)
        found = subprocess.run([*compiler, "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
        return f"{found.stdout.strip()} {path}"

    def forget(self):
        """The registers are now what somebody else than the programs made them."""
        self.read = self.path.stat().st_size
        self.cuts = self.hardware.cuts()

    def steps(self):
        """(what was written, the cuts of all cards then), for each write since the last time."""
        with open(self.path, encoding="ascii") as file:
            file.seek(self.read)
            lines = file.read()
        self.read += len(lines)
        for line in lines.splitlines():
            bdf, value = line.split()
            self.cuts = {**self.cuts, bdf: self.hardware.cut_bits(bdf, int(value, 16))}
            yield line, self.cuts
