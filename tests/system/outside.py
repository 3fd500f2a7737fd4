# SPDX-License-Identifier: LGPL-2.1-or-later
"""The emulated cards as the end-to-end tests know a machine's: how they are joined, what
the vendor's tools answer about them, and their link status registers.

Joined as in the vendor's guide, in the order of their addresses, which is what the watcher
knows; links 1 and 2 of each card lead to another host.  The ids of the vendor's tools
follow no order.
"""

import random

from answers import save
from link_status import LinkStatus
from physical import DEVICES, Hardware
from topology import Topology
from wiring import Far, LinkRegisters, Wiring, make_card

SCALE_OUT = (1, 2)
PORTS = 6
REGISTERS = LinkRegisters(bar=2)


class Outside:
    def __init__(self, machine):
        self.machine = machine
        self.root = machine.work / "outside"
        self.bdfs = machine.bdfs
        joins = [tuple((self.bdfs[card], link) for card, link in ends) for ends in Topology.vendor().joins()]
        external = {(bdf, link): Far(f"0002{bdf[4:]}", link, 16 + card)
                    for card, bdf in enumerate(self.bdfs) for link in SCALE_OUT}
        cards = [make_card(card, bdf, self._parents(bdf), 0) for card, bdf in enumerate(self.bdfs)]
        self.wiring = Wiring(cards, joins, external, ports=PORTS).permuted(random.Random(10))
        self.hardware = Hardware(self.root, self.wiring, REGISTERS)
        for bdf, card in zip(self.bdfs, machine.cards):
            resource = self.hardware.resource(bdf)
            resource.parent.mkdir(parents=True, exist_ok=True)
            resource.unlink(missing_ok=True)
            resource.symlink_to(card.path)
        self.wiring.save(self.root, REGISTERS)

    def _parents(self, bdf):
        """The bridges above a card, as the kernel inside names them."""
        path = self.machine.must(f"readlink -f /sys/bus/pci/devices/{bdf}").strip()
        return path.removeprefix("/sys/devices/").rpartition("/")[0]

    def id_of(self, card):
        return self.wiring.card(self.bdfs[card]).ppuid

    def text_of(self, card):
        return f"PPU {self.id_of(card)} ({self.bdfs[card]})"

    def save_answers(self, directory):
        """In the files that `icn-hook setup --from DIRECTORY` reads inside."""
        for file in save(self.hardware, self.root / "answers").iterdir():
            self.machine.write(f"{directory}/{file.name}", file.read_text().rstrip("\n"))

    def required(self, owners):
        """The masks of the cards, in the order of their addresses.  OWNERS: card -> name."""
        masks = self.hardware.required({self.bdfs[card]: {name} for card, name in owners.items()})
        return [masks[bdf] for bdf in self.bdfs]

    # The link status registers

    def play_status(self, delay):
        return LinkStatus(self, delay)

    def clear_status(self):
        for bdf in self.bdfs:
            self.hardware.store(bdf, REGISTERS.status, 0)
