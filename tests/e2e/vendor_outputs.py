# SPDX-License-Identifier: LGPL-2.1-or-later
"""Machines as they are wired, and what the vendor's tools print on them, in the documented
form.  The wiring is by address and link index; ids are what the tools number the cards by."""

import random

from simhost import GUIDE_BDFS, SimHost
from topology import Topology

# A published listing of a 16-card machine, in the order of the tool's indices.
BDFS_16 = [
    f"{bus}:00.0"
    for bus in "0001:c9 0001:c8 0001:80 0001:81 0000:7e 0000:7f 0000:c7 0000:c6 "
    "0001:a5 0001:a4 0001:0a 0001:0b 0000:08 0000:09 0000:a3 0000:a2".split()
]


class Machine:
    """JOINS: pairs of ends (address, link).  ABROAD: end -> (address of another host, link).
    INACTIVE: ends that are there and down."""

    def __init__(self, bdfs, joins, abroad=None, inactive=()):
        self.bdfs = list(bdfs)
        self.abroad = dict(abroad or {})
        self.inactive = set(inactive)
        self.far = {}
        for one, other in joins:
            self.far[one], self.far[other] = other, one
        self.uuids = {bdf: f"019ea1{n:02x}-c180-040a-0000-0000000000{n:02x}" for n, bdf in enumerate(sorted(bdfs))}

    def permuted(self, seed):
        """The same machine; the tools have numbered its cards otherwise."""
        order = self.bdfs[:]
        random.Random(seed).shuffle(order)
        other = Machine(order, [], self.abroad, self.inactive)
        other.far, other.uuids = self.far, self.uuids
        return other

    def ends(self, bdf):
        return sorted({link for card, link in [*self.far, *self.abroad, *self.inactive] if card == bdf})

    def id_of(self, bdf):
        return self.bdfs.index(bdf)

    def links(self):
        """Id -> link -> id, of links between cards of this machine."""
        return {
            ppu: {link: self.id_of(self.far[bdf, link][0]) for link in self.ends(bdf) if (bdf, link) in self.far}
            for ppu, bdf in enumerate(self.bdfs)
        }

    def topology(self):
        return Topology(self.links())

    def header(self, ppu, prefix="GPU"):
        return f"PPU {ppu}: PPU-ZW810E (UUID: {prefix}-{self.uuids[self.bdfs[ppu]]})\n"

    def query(self):
        return "".join(
            f"{ppu}, {long(bdf)}, GPU-{self.uuids[bdf]}, {1320421013100 + ppu}\n" for ppu, bdf in enumerate(self.bdfs)
        )

    def states(self):
        text = ""
        for ppu, bdf in enumerate(self.bdfs):
            text += self.header(ppu)
            for link in self.ends(bdf):
                text += f"    Link {link}: {'<inactive>' if (bdf, link) in self.inactive else '50 GB/s'}\n"
        return text

    def remotes(self):
        text = ""
        for ppu, bdf in enumerate(self.bdfs):
            text += self.header(ppu)
            for link in self.ends(bdf):
                if (bdf, link) not in self.inactive:
                    remote, remote_link = {**self.far, **self.abroad}[bdf, link]
                    text += f"    Link {link}: Remote Device {long(remote)}: Link {remote_link}\n"
        return text

    def outputs(self):
        return {
            "query.csv": self.query(),
            "icn-s.txt": self.states(),
            "icn-r.txt": self.remotes(),
            "topo.txt": self.topology().text(),
        }

    def save(self, directory, *only, **changed):
        """CHANGED: a file's name, with _ for - and ., and its text, or None."""
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in self.outputs().items():
            text = changed.get(name.replace("-", "_").replace(".", "_"), text)
            if text is not None and (not only or name in only):
                (directory / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return directory

    def host(self, root):
        """A host with these cards on which nothing is configured."""
        host = SimHost(root, bdfs=sorted(self.bdfs))
        host.forget_setup()
        return host


def long(bdf):
    domain, rest = bdf.split(":", 1)
    return f"{domain:0>8}:{rest}".upper()


def guide_machine():
    """The eight cards of the vendor's guide; ids follow the addresses, and links 1 and 2 are down."""
    joins = [((GUIDE_BDFS[a], i), (GUIDE_BDFS[b], j)) for (a, i), (b, j) in Topology.vendor().joins()]
    return Machine(GUIDE_BDFS, joins, inactive=[(bdf, link) for bdf in GUIDE_BDFS for link in (1, 2)])


def big_machine():
    """Sixteen cards whose ids do not follow the addresses: groups of four, each card joined to
    the three others (links 0, 3, 4), and to the same card of the next group (5 to its 6).
    Links 1 and 2 are scale-out ports; those of cards 14 and 15 join these two once more."""
    card = BDFS_16
    joins = []
    for group in range(0, 16, 4):
        for link, pairs in ((0, ((0, 1), (2, 3))), (3, ((0, 2), (1, 3))), (4, ((0, 3), (1, 2)))):
            joins += [((card[group + a], link), (card[group + b], link)) for a, b in pairs]
    joins += [((card[ppu], 5), (card[(ppu + 4) % 16], 6)) for ppu in range(16)]
    joins.append(((card[14], 1), (card[15], 2)))
    abroad = {(card[ppu], 1): (f"0000:{0xd0 + ppu:02x}:00.0", 1) for ppu in range(0, 14, 2)}
    inactive = [(card[ppu], 1) for ppu in range(1, 14, 2)] + [(card[ppu], 2) for ppu in range(14)]
    inactive += [(card[14], 2), (card[15], 1)]
    return Machine(card, joins, abroad, inactive)
