# SPDX-License-Identifier: LGPL-2.1-or-later
"""How the cards of a machine are joined: by address and link index, and by nothing else.

An id is what somebody calls a card.  The wiring does not know the ids of the map and
the topology under test; it has those of the vendor's tools, to play the tools.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from topology import Topology

FILE = "wiring.json"  # in the root of a simulated host

# The cards of the vendor's guide, in the order of their ids.
GUIDE_BDFS = [
    "0000:08:00.0",
    "0000:7e:00.0",
    "0000:a2:00.0",
    "0000:c6:00.0",
    "0001:09:00.0",
    "0001:7f:00.0",
    "0001:aa:00.0",
    "0001:ce:00.0",
]

# A published machine with 16 cards 810E; its ids do not follow the addresses.
BDFS_810E_16 = [
    "0001:c9:00.0",
    "0001:c8:00.0",
    "0001:80:00.0",
    "0001:81:00.0",
    "0000:7e:00.0",
    "0000:7f:00.0",
    "0000:c7:00.0",
    "0000:c6:00.0",
    "0001:a5:00.0",
    "0001:a4:00.0",
    "0001:0a:00.0",
    "0001:0b:00.0",
    "0000:08:00.0",
    "0000:09:00.0",
    "0000:a3:00.0",
    "0000:a2:00.0",
]
PORTS = 7  # for links, of a card 810E


class End(NamedTuple):
    bdf: str
    link: int


@dataclass(frozen=True)
class Far:
    """The end of a cable in another host."""

    bdf: str
    link: int
    ppuid: int


@dataclass(frozen=True)
class Card:
    """`parents`: the directories above it in /sys/devices.  `ppuid`: what the driver calls
    it; its place in the list of cards is its index for the tools.  `slot`: the ModuleId."""

    bdf: str
    parents: str
    serial: int
    uuid: str
    board_serial: str
    numa_node: int
    ppuid: int
    slot: int

    @property
    def place(self):
        bridge, *bridges = self.parents.split("/")
        return "/".join([bridge, *(name.split(":")[-1] for name in [*bridges, self.bdf])])

    @property
    def pin(self):
        """What [map] says of it: its address, place and serial number."""
        serial = "-".join(f"{byte:02x}" for byte in self.serial.to_bytes(8, "big"))
        return f"{self.bdf} path={self.place} serial={serial}"


@dataclass(frozen=True)
class LinkRegisters:
    """Where the hardware has its registers, whatever the settings say."""

    bar: int = 0
    config: int = 0xBE382
    status: int = 0xBE383
    stride: int = 4
    cut_bit: int = 1


class Wiring:
    """`joins`: pairs of ends.  `external`: ends that lead out of the host -> Far, or None
    where nothing answers.  `broken`: ends of links that do not come up.  A card has PORTS
    for links, used or not."""

    def __init__(self, cards, joins, external=None, broken=(), name="PPU-ZW810E", ports=PORTS):
        self.cards = list(cards)
        self.joins = [(End(*a), End(*b)) for a, b in joins]
        self.external = {End(*end): far for end, far in (external or {}).items()}
        self.broken = {End(*end) for end in broken}
        self.name = name
        self.ports = ports
        self._others = {end: other for pair in self.joins for end, other in (pair, pair[::-1])}
        assert len(self._others) == 2 * len(self.joins), "an end has more than one link"
        assert not self._others.keys() & self.external.keys(), "an end leads in and out"

    @property
    def bdfs(self):
        return [card.bdf for card in self.cards]

    def card(self, bdf):
        return next(card for card in self.cards if card.bdf == bdf)

    def other(self, end):
        """The other end, in this host, or None."""
        return self._others.get(End(*end))

    def links(self, bdf):
        """The numbers of a card's links, in ascending order."""
        return sorted(end.link for end in [*self._others, *self.external] if end.bdf == bdf)

    def link_bits(self, bdf):
        return sum(1 << link for link in self.links(bdf))

    def all_link_bits(self):
        """The bits that are a link of some card."""
        bits = 0
        for bdf in self.bdfs:
            bits |= self.link_bits(bdf)
        return bits

    def topology(self, bdfs=None, external=False):
        """The same with ids, as the driver has them or as the order of BDFS gives them.
        With EXTERNAL, a link to another host has an id that no card of this host has."""
        ids = {bdf: ppu for ppu, bdf in enumerate(bdfs)} if bdfs else {card.bdf: card.ppuid for card in self.cards}
        links = {ppu: {} for ppu in sorted(ids.values())}
        for end, other in self._others.items():
            links[ids[end.bdf]][end.link] = ids[other.bdf]
        for end, far in self.external.items() if external else ():
            if far:
                links[ids[end.bdf]][end.link] = far.ppuid
        return Topology({ppu: dict(sorted(links[ppu].items())) for ppu in links})

    # As a file

    def save(self, root, registers):
        def cards():
            return [{**card.__dict__, "index": index} for index, card in enumerate(self.cards)]

        content = {
            "name": self.name,
            "ports": self.ports,
            "cards": cards(),
            "links": self.joins,
            "external": [[end, far.__dict__ if far else None] for end, far in self.external.items()],
            "broken": sorted(self.broken),
            "registers": registers.__dict__,
        }
        (Path(root) / FILE).write_text(json.dumps(content, indent=1) + "\n")

    @classmethod
    def load(cls, root):
        """(the wiring, its LinkRegisters)"""
        content = json.loads((Path(root) / FILE).read_text())
        cards = []
        for card in sorted(content["cards"], key=lambda card: card["index"]):
            cards.append(Card(**{key: value for key, value in card.items() if key != "index"}))
        external = {End(*end): Far(**far) if far else None for end, far in content["external"]}
        wiring = cls(cards, content["links"], external, content["broken"], content["name"], content["ports"])
        return wiring, LinkRegisters(**content["registers"])

    @classmethod
    def of_topology(cls, topology, bdfs):
        """A machine that has a topology: its parallel links are joined in the order of
        their numbers."""
        cards = [make_card(index, bdf, root_port(bdf), index // 4) for index, bdf in enumerate(bdfs)]
        joins = [pair for pair in topology.joins() if max(pair)[0] < len(bdfs)]
        external = {
            (bdf, link): Far(f"ffff:00:{link:02x}.0", link, peer)
            for ppu, bdf in enumerate(bdfs) for link, peer in topology.links[ppu].items() if peer not in topology.links
        }
        ports = max([PORTS, *(link + 1 for links in topology.links.values() for link in links)])
        return cls(cards, [tuple((bdfs[ppu], link) for ppu, link in pair) for pair in joins], external, ports=ports)

    @classmethod
    def random(cls, dice, cards):
        """The cards with ids at random, joined at random: each port leads to some card, often
        the same as another port does, to another host, or nowhere."""
        free = [End(card.bdf, link) for card in cards for link in range(PORTS)]
        dice.shuffle(free)
        joins, external = [], {}
        while free:
            end = free.pop()
            if dice.random() < 0.15:
                far = Far(f"0002{end.bdf[4:]}", end.link, len(cards) + len(external))
                external[end] = far if dice.random() < 0.7 else None
            elif dice.random() < 0.9:
                others = [other for other in free if other.bdf != end.bdf]
                if others:
                    free.remove(others[0])
                    joins.append((end, others[0]))
        return cls(cards, joins, external).permuted(dice)

    def permuted(self, dice):
        """The same cables, and other ids for the same cards."""
        order = dice.sample(self.cards, len(self.cards))
        cards = [replace(card, ppuid=ppu) for ppu, card in enumerate(order)]
        return Wiring(cards, self.joins, self.external, self.broken, self.name, self.ports)


def make_card(index, bdf, parents, numa_node, slot=None):
    return Card(
        bdf=bdf,
        parents=parents,
        serial=0x1DED6001_00000001 + index,
        uuid=f"GPU-019ea108-c180-040a-0000-{index:012x}",
        board_serial=str(1320421013145 + 7 * index),
        numa_node=numa_node,
        ppuid=index,
        slot=index if slot is None else slot,
    )


def root_port(bdf):
    """A card right below a port of its domain's host bridge."""
    domain, bus = bdf.split(":")[:2]
    number = int(bus, 16)
    return f"pci{domain}:00/{domain}:00:{number // 8:02x}.{number % 8}"


def switch(bdf):
    """A card below a switch that it shares with the card on the bus beside it."""
    domain, bus = bdf.split(":")[:2]
    number = int(bus, 16)
    pair, which = number & ~1, number & 1
    bridges = [f"{domain}:{pair - 8:02x}:01.0", f"{domain}:{pair - 2:02x}:00.0", f"{domain}:{pair - 1:02x}:0{which}.0"]
    return "/".join([f"pci{domain}:{pair - 8:02x}", *bridges])


def built(bdfs):
    """Cards below switches; a PCI domain is a NUMA node, slots go by the addresses."""
    slots = {bdf: slot for slot, bdf in enumerate(sorted(bdfs))}
    return [make_card(index, bdf, switch(bdf), int(bdf[:4], 16), slots[bdf]) for index, bdf in enumerate(bdfs)]


def guide_8():
    topology = Topology.vendor()
    joins = [((GUIDE_BDFS[a], i), (GUIDE_BDFS[b], j)) for (a, i), (b, j) in topology.joins()]
    return Wiring(built(GUIDE_BDFS), joins)


def published_16():
    """Two boards with eight cards, each joined as in the guide; link 6 of six cards of each
    board leads to the other board, the last two cards of each board use it for a second
    link between them.  Those of the first board cross: 6.5 is joined to 7.6.  Port 1 of
    each card leads to another host, and port 2 to one that is switched off."""
    bdfs = BDFS_810E_16
    joins = []
    for board in (0, 8):
        joins += [((board + a, i), (board + b, j)) for (a, i), (b, j) in Topology.vendor().joins()]
    joins += [((ppu, 6), (ppu + 8, 6)) for ppu in range(6)]
    joins += [((6, 6), (7, 3)), ((14, 6), (15, 6))]
    joins[joins.index(((6, 5), (7, 3)))] = ((6, 5), (7, 6))
    external = {}
    for ppu, bdf in enumerate(bdfs):
        external[bdf, 1] = Far(bdf=f"0002{bdf[4:]}", link=1, ppuid=16 + ppu)
        external[bdf, 2] = None
    return Wiring(built(bdfs), [((bdfs[a], i), (bdfs[b], j)) for (a, i), (b, j) in joins], external)


MODELS = {"guide-8": guide_8, "810e-16": published_16}
