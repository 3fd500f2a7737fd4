# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who owns what, from the events alone: what libvirt called, how it ended, which
processes live.  Nothing here is read from the product.

Where an event leaves it open (a killed hook may have done its work or not) a domain
has more than one possible claim.  For each card there are owners that it must have
and owners that it may have.
"""

import time
from dataclasses import dataclass, replace

STARTING, RUNNING = "starting", "running"
IDLE, UNKNOWN = "idle", "unknown"
SLACK = 1.5  # seconds by which the age of a claim is not known


@dataclass(frozen=True)
class Claim:
    phase: str
    cards: frozenset
    daemon: int = None  # None: not known
    oldest: float = 0.0
    newest: float = 0.0


class Domain:
    def __init__(self, name, uuid):
        self.name = name
        self.uuid = uuid
        self.claims = {None}  # the possible ones; None: there is none


class Oracle:
    def __init__(self, topology, start_timeout):
        self.topology = topology
        self.start_timeout = start_timeout
        self.domains = {}  # uuid -> Domain
        self.groups = {}  # name -> set of possible card sets; None among them: there is no such group
        self.status = {}  # uuid -> cards in the status file, while its process lives
        self.held = set()  # cards that are open through vfio
        self.ends_of_daemons = {}  # when those that live no more ended
        self.gates = {}  # ppu -> owners for whom it may have been read back since anybody else had it

    # What happens

    def passed_prepare(self, uuid, cards, daemon):
        now = time.monotonic()
        self.domains[uuid].claims = {Claim(STARTING, frozenset(cards), daemon, now - SLACK, now)}

    def maybe_claimed(self, uuid, cards, daemon):
        """A prepare or start that failed or was killed."""
        now = time.monotonic()
        claims = self.domains[uuid].claims
        for caller in {daemon, None}:
            claims.add(Claim(STARTING, frozenset(cards), caller, now - SLACK, now))

    def passed_start(self, uuid, cards, daemon):
        """It has its time from the gate on; its daemon may be that of prepare."""
        now = time.monotonic()
        callers = {claim.daemon for claim in self.domains[uuid].claims if claim} | {daemon}
        self.domains[uuid].claims = {Claim(STARTING, frozenset(cards), each, now - SLACK, now) for each in callers}

    def passed_seen(self, uuid):
        """started or reconnect."""
        self.domains[uuid].claims = {Claim(RUNNING, self.status[uuid])}

    def maybe_seen(self, uuid):
        """Whoever has the lock may see that a domain runs, and note it."""
        domain, cards = self.domains[uuid], self.status[uuid]
        domain.claims |= {replace(claim, phase=RUNNING) for claim in domain.claims if claim}
        domain.claims.add(Claim(RUNNING, cards))

    def passed_end(self, uuid):
        self.domains[uuid].claims = {None}

    def maybe_ended(self, uuid):
        self.domains[uuid].claims.add(None)

    def pass_time(self):
        """Claims that count no more may be dropped, and running domains noted, by any program."""
        for uuid, domain in self.domains.items():
            if uuid in self.status:
                self.maybe_seen(uuid)
            elif any(claim and False in self._counts(claim, time.monotonic()) for claim in domain.claims):
                domain.claims.add(None)

    # Who owns a card (design, section 5)

    def unexplained(self):
        """Cards held open that no living domain accounts for."""
        return self.held - {ppu for cards in self.status.values() for ppu in cards}

    def _counts(self, claim, now):
        """Of a domain without status file: {True}, {False} or both."""
        held = bool(claim.cards & self.unexplained())
        if claim.phase == RUNNING:
            # "a claim in `running` counts only while one of its cards is held by a process
            # that no living domain accounts for"
            return {held}
        if claim.daemon is not None and self.ends_of_daemons.get(claim.daemon, now + 1) <= now:
            # "a claim in `starting` counts, while its daemon lives"; the card itself has
            # an owner all the same: this one, or the unknown holder.
            return {True, False} if held else {False}
        if held:
            return {True}
        # "never longer than `start_timeout` unless a card of it is held"
        could_be_over = now - claim.oldest > self.start_timeout - SLACK
        must_be_over = now - claim.newest > self.start_timeout + SLACK
        return {False} if must_be_over else {True, False} if could_be_over else {True}

    def _cards_of(self, uuid, claims, moments):
        """(the cards that the domain has at each of these moments, those that it may have at one)"""
        if uuid in self.status:
            # "a readable status file of a live process says alone what its domain owns"
            return self.status[uuid], self.status[uuid]
        must, may = set(self.topology.links), set()
        for claim in claims:
            answers = set().union(*(self._counts(claim, now) for now in moments)) if claim else {False}
            may |= claim.cards if True in answers else set()
            must &= claim.cards if False not in answers else set()
        return must, may

    def owners(self, claims=(), groups=(), since=None):
        """For each card (those that it must have, those that it may have).  CLAIMS and GROUPS, by uuid and by name, are
        taken for those of now; with SINCE at any time from then on."""
        moments = {time.monotonic(), since or time.monotonic()}
        claims = {uuid: domain.claims for uuid, domain in self.domains.items()} | dict(claims)
        groups = {**self.groups, **dict(groups)}
        domains = {uuid: self._cards_of(uuid, possible, moments) for uuid, possible in claims.items()}
        found, unexplained = {}, self.unexplained()
        for ppu in self.topology.links:
            must = {uuid for uuid, (cards, _) in domains.items() if ppu in cards}
            may = {uuid for uuid, (_, cards) in domains.items() if ppu in cards}
            for name, possible in groups.items():
                has = {cards is not None and ppu in cards for cards in possible}
                if True in has:
                    may.add(name)
                    if False not in has:
                        must.add(name)
            if ppu in unexplained and not must:
                # "a card on a vfio driver that somebody holds open and that 1 to 3 do not
                # explain: owner unknown holder"
                (may if may else must).add(UNKNOWN)
                may.add(UNKNOWN)
            found[ppu] = (must, may)
        return found

    # Who may have read a card back for whom

    def read_back(self, ppus, before, after):
        for ppu in ppus:
            possible = before[ppu][1] | after[ppu][1]
            self.gates.setdefault(ppu, set()).update(possible or {IDLE})
            if not before[ppu][0] or not after[ppu][0]:
                self.gates[ppu].add(IDLE)

    def forget_gates(self, owners):
        """Evidence counts only while "nobody else had the card since except the owner it
        was cut for"."""
        for ppu, (must, may) in owners.items():
            if ppu in self.gates and (must or not may):
                self.gates[ppu] &= may or {IDLE}


def must_be_cut(owners, a, b):
    """The rule of the model, section 3: {True}, {False} or both, as far as it is known."""
    (must_a, may_a), (must_b, may_b) = owners[a], owners[b]
    if not may_a and not may_b:
        return {False}
    if must_a == may_a == must_b == may_b and len(must_a) == 1 and must_a != {UNKNOWN}:
        return {False}
    surely = must_a - may_b or must_b - may_a or len(must_a) > 1 or len(must_b) > 1 or UNKNOWN in must_a | must_b
    return {True} if surely else {True, False}


def masks_between(topology, owners, ppu):
    """(the bits that must be cut, the bits that may be) of a card's own end."""
    least = most = 0
    for link, peer in topology.links[ppu].items():
        answers = must_be_cut(owners, ppu, peer)
        most |= (True in answers) << link
        least |= (answers == {True}) << link
    return least, most
