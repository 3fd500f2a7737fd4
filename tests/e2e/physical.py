# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the cards do, from the wiring and the registers as they are.

This is the oracle of the tests, and what plays the vendor's tools and the status
register.  It knows addresses and link numbers; no id, map or topology of the programs
under test can mislead it.
"""

import struct
from pathlib import Path

from wiring import End, LinkRegisters, Wiring

DEVICES = "sys/bus/pci/devices"


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
