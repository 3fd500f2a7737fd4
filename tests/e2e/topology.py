# SPDX-License-Identifier: LGPL-2.1-or-later
"""The ICN topology as the tests understand it, written without looking at the C code.

It answers the oracle's two questions: which links are live, given the registers,
and which masks the rule demands, given the owners.
"""

import re
from pathlib import Path

VENDOR_TOPOLOGY = Path(__file__).resolve().parent.parent / "fixtures/topology/vendor.cfg"


class Topology:
    """links[ppu] = {link index: neighbour}, which stay as they are; a neighbour that is not among the
    keys is outside the host.  LEAVES_EXTERNAL: such links may be open for anybody."""

    def __init__(self, links, leaves_external=False):
        self.links = links
        self.leaves_external = leaves_external
        self._joins = None

    @classmethod
    def parse(cls, text):
        links = {}
        ppu = None
        for line in text.splitlines():
            if match := re.fullmatch(r"ppuid: (\d+)", line):
                ppu = int(match[1])
                links[ppu] = {}
            elif match := re.fullmatch(r"link\[(\d+)\]: nbrPpuid:(\d+)", line):
                links[ppu][int(match[1])] = int(match[2])
        return cls(links)

    @classmethod
    def vendor(cls):
        return cls.parse(VENDOR_TOPOLOGY.read_text())

    @classmethod
    def ring(cls, count):
        """COUNT cards; each is joined to the one before and the one after it."""
        if count == 1:
            return cls({0: {}})
        if count == 2:
            return cls({0: {0: 1}, 1: {0: 0}})
        return cls({ppu: {0: (ppu - 1) % count, 1: (ppu + 1) % count} for ppu in range(count)})

    def text(self):
        lines = []
        for ppu in sorted(self.links):
            lines += [f"==========device{ppu}==========", f"ppuid: {ppu}"]
            lines += [f"link[{link}]: nbrPpuid:{peer}" for link, peer in sorted(self.links[ppu].items())]
        return "\n".join(lines) + "\n"

    def joins(self):
        """Every link once, as ((ppu, link), (peer, its link)); parallel links are
        paired in ascending order of their indices."""
        if self._joins is None:
            self._joins = self._find_joins()
        return self._joins

    def _find_joins(self):
        found = []
        for a in sorted(self.links):
            for b in sorted(set(self.links[a].values()) & set(self.links)):
                if a < b:
                    ends_a = sorted(link for link, peer in self.links[a].items() if peer == b)
                    ends_b = sorted(link for link, peer in self.links[b].items() if peer == a)
                    found += [((a, end_a), (b, end_b)) for end_a, end_b in zip(ends_a, ends_b)]
        return found

    def live_pairs(self, masks):
        """The pairs of cards with a live link: both ends open.  MASKS has bit i set
        where link i is cut."""
        return {
            (a, b)
            for (a, link_a), (b, link_b) in self.joins()
            if not masks[a] >> link_a & 1 and not masks[b] >> link_b & 1
        }

    def required_mask(self, ppu, owners):
        """OWNERS: ppu -> set of owners; no entry or an empty set = idle."""
        mask = 0
        for link, peer in self.links[ppu].items():
            mine, theirs = owners.get(ppu, set()), owners.get(peer, set())
            both_idle = not mine and not theirs
            same_single = len(mine) == 1 and mine == theirs
            is_left = peer not in self.links and self.leaves_external
            if not both_idle and not same_single and not is_left:
                mask |= 1 << link
        return mask

    def required_masks(self, owners):
        return {ppu: self.required_mask(ppu, owners) for ppu in sorted(self.links)}

    def leaks(self, masks, owners):
        """Live pairs that the rule forbids; (card, neighbour's id) for a link that leads out and is open."""
        forbidden = [
            (a, b)
            for a, b in self.live_pairs(masks)
            if (owners.get(a) or owners.get(b)) and not (len(owners.get(a, ())) == 1 and owners.get(a) == owners.get(b))
        ]
        for ppu in self.links:
            if owners.get(ppu) and not self.leaves_external:
                forbidden += [(ppu, peer) for link, peer in self.links[ppu].items()
                              if peer not in self.links and not masks[ppu] >> link & 1]
        return sorted(forbidden)
