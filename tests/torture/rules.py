# SPDX-License-Identifier: LGPL-2.1-or-later
"""What must hold, each rule once, in the design's words.

A rule gets a Moment: what the oracle knows, what the registers hold, and what the
programs said.  It counts what it judged, and calls `demand`.
"""

from dataclasses import dataclass, field
from functools import cached_property

from oracle import IDLE, UNKNOWN, masks_between, must_be_cut


class Violation(Exception):
    pass


def demand(condition, text):
    if not condition:
        raise Violation(text)


def forbidden_links(wires, masks, claimed, through, plugged, loose):
    """Live links that may never be there.  For what libvirt calls no hook is excused until
    something mends it: a card that was PLUGGED into a running VM may be joined to idle
    cards, and to another such card; one that was unplugged (LOOSE: from whom) to the cards
    of that VM."""
    found = []
    for a, b in wires.live_pairs(masks):
        if plugged[a] and (plugged[b] or not through[b]) or plugged[b] and not through[a]:
            continue
        if not through[a] and loose[a] == through[b] or not through[b] and loose[b] == through[a]:
            continue
        if through[a] != through[b] or claimed[a] and claimed[b] and claimed[a] != claimed[b]:
            found.append((a, b))
    return sorted(found)


@dataclass
class Moment:
    topology: object
    wires: object  # has live_pairs(), from how the cards are joined
    oracle: object
    kernel: object
    calls: list  # what ran in this step
    before: dict  # owners before it
    owners: dict  # owners now
    masks: dict
    readable: set  # cards whose registers a look can read
    writable: set
    told: dict = None  # by `status --json`
    check: object = None  # Result of `check --json`
    said: dict = None  # by it
    published: tuple = ()  # what the watcher knows
    found: dict = field(default_factory=dict)  # the registers before the calls
    left: dict = field(default_factory=dict)  # what they may hold after them
    ungated: bool = False  # a domain runs whose cards may never have gone through a gate
    judged: dict = field(default_factory=dict)  # rule -> how often it could judge something

    def uuid_of(self, name):
        return next((uuid for uuid, domain in self.oracle.domains.items() if domain.name == name), name)

    def cut(self, a, b):
        return must_be_cut(self.owners, a, b)

    @cached_property
    def live_pairs(self):
        return self.wires.live_pairs(self.masks)

    def is_live(self, a, b):
        return (min(a, b), max(a, b)) in self.live_pairs


def no_link_between_domains(moment):
    """"At every instant, after every single register write, no link is live between
    cards of two different domains; from the moment a domain is let through until it has
    stopped, no link is live between its cards and anything that is not its own." """
    found = forbidden_links(moment.wires, moment.masks, *moment.published)
    demand(not found, f"live links {found}")
    return any(moment.published[1])


def exit_statuses(moment):
    """"`prepare` … refuse conflicts"; "non-zero refuses the start"; `started`,
    `reconnect`, `stopped` and `release`: "always 0"; one line, and nothing on stdout."""
    judged = 0
    for call in moment.calls:
        if call.is_disturbed:
            continue
        judged += 1
        demand(call.stderr.count("\n") <= 1, f"{call.label}: more than one line: {call.stderr}")
        allowed = call.facts["allowed"]
        demand(call.status in allowed, f"{call.label}: exit {call.status}, not one of {allowed}: {call.stderr}")
        if "operation" in call.facts:
            demand(not call.stdout, f"{call.label}: stdout is not empty: {call.stdout}")
    return judged


def changes_are_right(moment):
    """"Every operation leaves the cards that it reads right. A cut that is missing on any
    of them is made, whoever's link it is"; "a debt stands until it was seen paid"; whoever is killed
    or refused makes no change that is not right, and what cannot be mapped is not changed."""
    for ppu, mask in moment.masks.items():
        found = moment.found[ppu]
        least, most = moment.left[ppu] if ppu in moment.writable else (found, found)
        demand(mask & least == least, f"PPU {ppu} went from {found:#x} to {mask:#x} and lacks cuts of {least:#x}")
        demand(mask & ~most == 0, f"PPU {ppu} went from {found:#x} to {mask:#x}, of which only {most:#x} may be cut")
    return sum(moment.left[ppu] != (moment.found[ppu],) * 2 for ppu in moment.writable)


def owners_are_told(moment):
    """"Who owns a card, strictly in this order": section 5.  "Missing evidence never …
    makes an owner vanish", "`ended` is final"."""
    for card in moment.told["ppus"]:
        must, may = moment.owners[card["ppu"]]
        told = {UNKNOWN if owner["kind"] == "unknown" else moment.uuid_of(owner["name"]) for owner in card["owners"]}
        demand(must <= told <= may, f"PPU {card['ppu']}: owners {sorted(told)}, at least {must}, at most {may}")
    return True


def masks_are_read(moment):
    """"A card whose `enable` is above 0, or that a driver other than a vfio one is bound
    to, cannot be mapped"; "no text, … JSON field … calls a link cut without evidence"."""
    for card in moment.told["ppus"]:
        ppu, mask = card["ppu"], card["mask"]
        if mask is not None:
            demand(ppu in moment.readable, f"PPU {ppu}: mask {mask}, though nobody could read it")
            demand(int(mask, 16) == moment.masks[ppu], f"PPU {ppu}: mask {mask}, the register holds {moment.masks[ppu]:#x}")
        least, _ = masks_between(moment.topology, moment.owners, ppu)
        expected = int(card["expected"], 16)
        demand(expected & least == least, f"PPU {ppu}: expected {expected:#x} lacks cuts of {least:#x}")
    return bool(moment.readable)


def end_is(moment, ppu, link):
    return "unknown" if ppu not in moment.readable else "cut" if moment.masks[ppu] >> link & 1 else "open"


def links_of(moment):
    """(the JSON's link, card, link's number, card at the other end, its number) of every link of the status."""
    ends = {end: other for pair in moment.topology.joins() for end, other in (pair, pair[::-1])}
    for card in moment.told["ppus"]:
        for link in card["links"]:
            peer, peer_link = ends[card["ppu"], link["link"]]
            yield link, card["ppu"], link["link"], peer, peer_link


def evidence_is_true(moment):
    """"A link that must be cut is **proven** if an end outside every guest's reach is read
    as cut now, **gated** if an end has evidence `gate` for exactly today's owners, else
    **unverified**; it is a **leak** if both ends are read open."  """
    judged = 0
    for link, ppu, number, peer, peer_number in links_of(moment):
        name, evidence = f"link {number} of PPU {ppu} to PPU {peer}", link["evidence"]
        answers = moment.cut(ppu, peer)
        demand(link["allowed"] != next(iter(answers)) or len(answers) == 2, f"{name}: allowed is {link['allowed']}")
        for end, card, index in (("near", ppu, number), ("far", peer, peer_number)):
            demand(link[end] == end_is(moment, card, index), f"{name}: {end} is {link[end]}, not {end_is(moment, card, index)}")
        demand(link["live"] is not True or moment.is_live(ppu, peer), f"{name} is called live")
        demand(link["live"] is not False or not moment.is_live(ppu, peer), f"{name} is not live, it says")
        if link["allowed"]:
            demand(evidence is None, f"{name}: evidence {evidence}, though it may be open")
        if evidence in ("proven", "gated"):
            judged += 1
            demand(not moment.is_live(ppu, peer), f"{name}: {evidence}, and both ends are open")
        if evidence == "proven":
            ends = (end_is(moment, ppu, number), end_is(moment, peer, peer_number))
            demand("cut" in ends, f"{name}: proven, and its ends read {ends}")
        elif evidence == "gated":
            demand(has_gate(moment, ppu) or has_gate(moment, peer), f"{name}: gated, and nobody read back either end")
    return judged


def has_gate(moment, ppu):
    today = moment.owners[ppu][1] or {IDLE}
    return bool(today & moment.oracle.gates.get(ppu, set()))


def coverage_adds_up(moment):
    """"Nothing is claimed without evidence": required is what the rule of the model cuts
    between today's owners, and each such link is one of proven, gated, unverified."""
    status = moment.told
    coverage = status["coverage"]
    answers = [moment.cut(a, b) for (a, _), (b, _) in moment.topology.joins()]
    least, most = sum(each == {True} for each in answers), sum(True in each for each in answers)
    demand(least <= coverage["required"] <= most, f"coverage {coverage}, between {least} and {most} links must be cut")
    told = {kind: 0 for kind in ("proven", "gated", "unverified")}
    for link, ppu, _, peer, _ in links_of(moment):
        if ppu < peer and not link["allowed"]:
            told[link["evidence"]] += 1
    demand(all(coverage[kind] == told[kind] for kind in told), f"coverage {coverage}, its links give {told}")
    demand(sum(told.values()) == coverage["required"], f"coverage {coverage} does not add up")
    return least


def leaks_are_told(moment):
    """"It is a leak if both ends are read open" """
    leaks, judged = {(leak["a"], leak["b"]) for leak in moment.told["leaks"]}, 0
    for (a, _), (b, _) in moment.topology.joins():
        if moment.cut(a, b) == {True} and moment.is_live(a, b) and {a, b} <= moment.readable:
            judged += 1
            demand((a, b) in leaks, f"the leak {a}-{b} is not told")
    for a, b in leaks:
        demand(moment.is_live(a, b) and True in moment.cut(a, b), f"{a}-{b} is no leak")
    return judged


def debts_are_told(moment):
    """"Whether a mask is owed (to be given back, could not be reached yet). A debt stands
    until it was seen paid; a VM's end does not forget it." """
    judged = 0
    for card in moment.told["ppus"]:
        ppu = card["ppu"]
        least, most = masks_between(moment.topology, moment.owners, ppu)
        excess = moment.masks[ppu] & ~most
        judged += not moment.owners[ppu][1]
        if not moment.owners[ppu][1] and excess:
            demand(card["owed"] is not None, f"PPU {ppu} is idle and has {excess:#x} cut for nobody; owed is null")
        if card["owed"] is not None and ppu in moment.readable:
            demand(moment.masks[ppu] & ~least, f"PPU {ppu} has nothing too many in {moment.masks[ppu]:#x}; owed {card['owed']}")
    return judged


def check_says_what_it_knows(moment):
    """"`check` exits 0 only if every link that must be cut is proven or gated and every
    reachable card has its cuts; 1 for a leak or a cut that is missing; 7 if something is
    unverified and nothing is worse." """
    coverage, leaks = moment.told["coverage"], moment.told["leaks"]
    lacking = {ppu: masks_between(moment.topology, moment.owners, ppu) for ppu in moment.readable}
    surely = any(least & ~moment.masks[ppu] for ppu, (least, _) in lacking.items()) or leaks
    perhaps = any(most & ~moment.masks[ppu] for ppu, (_, most) in lacking.items()) or leaks
    allowed = {1} if surely else {7} if coverage["unverified"] else {0, 7} if moment.ungated else {0}
    allowed |= {1} if perhaps else set()
    demand(moment.check.status in allowed, f"check exits {moment.check.status}, not one of {allowed}: {moment.check.stdout}")
    said = moment.said["coverage"]
    if all(must == may for must, may in moment.owners.values()):
        demand(said == coverage, f"check's coverage {said}, status's {coverage}")
        demand(moment.told["ok"] == (moment.check.status == 0), "`ok` of status is not check's 0")
    return True


ALWAYS = (no_link_between_domains, exit_statuses, changes_are_right)
OF_STATUS = (
    owners_are_told,
    masks_are_read,
    evidence_is_true,
    coverage_adds_up,
    leaks_are_told,
    debts_are_told,
)
OF_CHECK = (check_says_what_it_knows,)
RULES = ALWAYS + OF_STATUS + OF_CHECK
# What a right program gives no occasion to judge.
MAY_BE_IDLE = {leaks_are_told}
