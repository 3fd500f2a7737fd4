# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the calls of one step may leave in the registers.

Each call has the host to itself for a turn; the order of the turns is not known.  For each
order it is known who may have owned what at the end of each turn, and so what that turn made of
a card.  A call that succeeded leaves the cards that it reads right.  One that was killed has made
some of the right changes, or none.  One that was refused has made none.  Over all orders that
gives the bits that must be cut at the end, and those that may be.

What a turn makes of a bit depends on who owns what after it, which is the same for all orders of
the turns before it: so sets of turns are gone through, not orders.
"""

import time
from dataclasses import dataclass
from itertools import combinations

from oracle import masks_between

# What a turn was: what succeeded by what it was for, then those of which less is known.
START, WATCH, ADOPT, END, REPAIR, RESET = "start", "watch", "adopt", "end", "repair", "reset"
UNSURE, REFUSED = "unsure", "refused"
PAYING = (START, ADOPT, END)
ALL_GROUPS = "all groups"


@dataclass(frozen=True)
class Turn:
    kind: str
    subject: str = None  # a domain's uuid, a group's name, or ALL_GROUPS
    cards: frozenset = frozenset()  # the subject's; of an END those that it surely had


class Turns:
    def __init__(self, oracle, masks):
        """Before the calls."""
        self.oracle = oracle
        self.topology = oracle.topology
        self.masks = masks
        self.began = time.monotonic()
        self.claims = {uuid: frozenset(domain.claims) for uuid, domain in oracle.domains.items()}
        self.groups = {name: frozenset(possible) for name, possible in oracle.groups.items()}

    def left(self, turns):
        """After the calls: ppu -> (the bits that must be cut, the bits that may be)."""
        everything = range(len(turns))
        found = {frozenset(): {ppu: (mask, mask) for ppu, mask in self.masks.items()}}
        for count in range(1, len(turns) + 1):
            for taken in map(frozenset, combinations(everything, count)):
                after = self._owners(turns, taken)
                found[taken] = unite(self._leave(turns[last], found[taken - {last}], after) for last in taken)
        return found[frozenset(everything)]

    def _owners(self, turns, taken):
        """Once these turns are over, and before all others."""
        waiting = {turn.subject for index, turn in enumerate(turns) if index not in taken}
        claims = {uuid: possible for uuid, possible in self.claims.items() if uuid in waiting}
        names = set(self.oracle.groups) if ALL_GROUPS in waiting else waiting & set(self.oracle.groups)
        groups = {name: self.groups.get(name, frozenset([None])) for name in names}
        return self.oracle.owners(claims, groups, self.began)

    def _leave(self, turn, found, owners):
        if turn.kind == REFUSED:
            return found
        if turn.kind == START:
            # It was admitted, so nobody else had these.
            owners = {**owners, **{ppu: ({turn.subject}, {turn.subject}) for ppu in turn.cards}}
        near = turn.cards | {peer for ppu in turn.cards for peer in self.topology.links[ppu].values()}
        return {ppu: self._leave_card(turn, ppu, found[ppu], owners, ppu in near) for ppu in found}

    def _leave_card(self, turn, ppu, found, owners, is_near):
        low, high = found
        least, most = masks_between(self.topology, owners, ppu)
        must, may = owners[ppu]
        if turn.kind == RESET:
            return 0, 0
        if turn.kind == WATCH and ppu not in turn.cards:
            return found
        is_read = is_near and not may and turn.kind in PAYING or turn.kind == REPAIR and not may
        if is_read or turn.kind == START and ppu in turn.cards:
            return least, most
        if turn.kind == REPAIR:  # nothing is opened of a card that has an owner
            return (low | least if must else least), high | most
        if turn.kind in PAYING and not may:  # it is read only if it owes something
            return low & least, most
        return low & least, high | most


def unite(several):
    """What is cut in all of them, and what is in any."""
    lows, highs = {}, {}
    for found in several:
        for ppu, (low, high) in found.items():
            lows[ppu] = lows.get(ppu, low) & low
            highs[ppu] = highs.get(ppu, high) | high
    return {ppu: (lows[ppu], highs[ppu]) for ppu in lows}
