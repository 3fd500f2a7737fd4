# SPDX-License-Identifier: LGPL-2.1-or-later
"""What can happen between two hooks, the verbs that people run, and what each call
means to the oracle."""

import errno
import os

from calls import Call
from turns import ADOPT, ALL_GROUPS, END, REFUSED, REPAIR, RESET, START, UNSURE, WATCH, Turn

CARDS = range(8)
ENDINGS = ("stopped", "release")
VERB_NAMES = ("repair", "repair", "apply", "release", "reset")
BALLAST = "ballast"


# What happens to host and VMs


def change(world):
    if world.daemon is None and world.dice.random() < 0.3:
        world.start_daemon()
    for _ in range(world.dice.choice((0, 0, 1, 1, 2))):
        names, weights = zip(*((each, share) for each, share in EVENTS.items()))
        event = world.dice.choices(names, weights)[0]
        event(world)


def unused(world):
    """Cards that libvirt and QEMU have nothing to do with, and no group has."""
    taken = {ppu for tenant in world.tenants for ppu in tenant.rebind}
    taken |= {ppu for possible in world.oracle.groups.values() for cards in possible if cards for ppu in cards}
    return [ppu for ppu in CARDS if ppu not in taken and ppu not in world.oracle.held]


def change_driver(world):
    if cards := unused(world):
        ppu = world.dice.choice(cards)
        driver = world.dice.choice((None, "ppu", "vfio-pci"))
        world.kernel.bind(ppu, driver, sleeps=world.dice.random() < 0.5)
        world.note(f"PPU {ppu} is bound to {driver}")


def stands_alone(world, ppu):
    """Its own cuts alone keep the card from a VM that had it, or got a card without a gate."""
    masks = world.kernel.registers.all()
    for pair in world.host.topology.joins():
        for (mine, _), (other, link) in (pair, pair[::-1]):
            if mine == ppu and world.through[other] and not masks[other] >> link & 1:
                return True
    return False


def reset_card(world):
    """A bus reset of a card that no VM has puts its register back."""
    owners = world.oracle.owners()
    if cards := [ppu for ppu in unused(world) if not owners[ppu][1] and not stands_alone(world, ppu)]:
        ppu = world.dice.choice(cards)
        world.kernel.registers.write(ppu, 0)
        world.note(f"PPU {ppu} is reset")


def running(world):
    return [tenant for tenant in world.tenants if tenant.next == "running"]


def stop_vm(world):
    if tenants := running(world):
        tenant = world.dice.choice(tenants)
        tenant.next = "stopped"
        world.note(f"{tenant.domain.name} shall stop")


def lose_vm(world):
    if tenants := running(world):
        tenant = world.dice.choice(tenants)
        tenant.is_lost()
        world.note(f"{tenant.domain.name} ends, and nobody is told")


def end_orphan(world):
    for tenant in world.tenants:
        if tenant.next == "orphan":
            tenant.end_orphan()
            world.note(f"the QEMU of {tenant.domain.name} ends, of which libvirt does not know")


def plug(world):
    cards = [ppu for ppu in unused(world) if not world.oracle.owners()[ppu][1]]
    if cards and (tenants := running(world)):
        tenant, ppu = world.dice.choice(tenants), world.dice.choice(cards)
        tenant.plug(ppu)
        world.publish_plugged(tenant, ppu)
        world.note(f"PPU {ppu} is plugged into {tenant.domain.name}")


def unplug(world):
    tenants = [tenant for tenant in running(world) if len(tenant.ppus()) > 1]
    if tenants:
        tenant = world.dice.choice(tenants)
        ppu = world.dice.choice(tenant.ppus())
        tenant.unplug(ppu)
        world.note(f"PPU {ppu} is unplugged from {tenant.domain.name}")


def kill_daemon(world):
    if world.daemon is not None:
        world.daemon_will_die()
        world.daemon_is_dead()


def fill_run(world):
    if world.room and not world.is_full:
        world.fill()


def empty_run(world):
    world.make_room()


EVENTS = {
    change_driver: 10,
    reset_card: 6,
    stop_vm: 30,
    lose_vm: 4,
    end_orphan: 8,
    plug: 8,
    unplug: 8,
    kill_daemon: 3,
    fill_run: 3,
    empty_run: 12,
}


def fill(directory, all_names):
    """Leaves no byte; ALL_NAMES: not even an empty file can be made."""
    with open(directory / BALLAST, "wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(b"\0" * 4096)
        except OSError as error:
            assert error.errno == errno.ENOSPC
    count = 0
    try:
        while all_names:
            os.link(directory / BALLAST, directory / f"{BALLAST}-{count}")
            count += 1
    except OSError as error:
        assert error.errno == errno.ENOSPC


def make_room(directory):
    for path in directory.glob(f"{BALLAST}*"):
        path.unlink()


# Verbs


def verbs(world):
    """Now and then one, at the same time as the hooks."""
    if world.dice.random() > 0.15:
        return []
    verb = world.dice.choice(VERB_NAMES)
    arguments, facts = [verb], {"verb": verb}
    if verb == "apply":
        facts["name"] = world.dice.choice(("red", "green"))
        facts["cards"] = set(world.dice.sample(CARDS, world.dice.randint(1, 2)))
        arguments += ["--name", facts["name"], ",".join(str(ppu) for ppu in sorted(facts["cards"]))]
    elif verb == "release":
        facts["name"] = world.dice.choice(("red", "green"))
        arguments.append(facts["name"])
    call = Call([world.host.engine_program, *arguments], label=" ".join(arguments), facts=facts, through="plain")
    world.calls.plan_kill(call, 0.3)
    if call.kill and world.daemon is not None:
        call.kill, call.through = "all", "daemon"
    else:
        call.kill = None
    return [call]


# What a call means


def around(world, cards):
    """Cards, and those at the other ends of their links."""
    return set(cards).union(*(world.host.topology.links[ppu].values() for ppu in cards))


def foresee(world, call, calls, before):
    """Which exit statuses are right, and which cards it may read back."""
    facts = call.facts
    if "operation" in facts:
        foresee_hook(world, call, calls, before)
        return
    verb = facts["verb"]
    facts["might_touch"] = set(CARDS)
    facts["allowed"] = {"repair": {0, 1, 5, 7}, "apply": {0, 4, 5}, "release": {0, 3, 5}, "reset": {0, 4, 5}}[verb]
    if verb == "release":
        owned = [cards or frozenset() for cards in world.oracle.groups.get(facts["name"], {None})]
        facts["given_back"] = frozenset.intersection(*owned)
    if verb == "apply" and world.oracle.groups.get(facts["name"], {None}) != {None}:
        facts["allowed"] = facts["allowed"] | {3}
    if verb == "apply" and rivals(world, facts["cards"], before, facts["name"]) == {True} and len(calls) == 1:
        facts["allowed"] = facts["allowed"] - {0}
    if world.is_full:
        facts["allowed"] |= {5}


def rivals(world, cards, before, me):
    """Whether a card has another owner: {True}, {False} or both."""
    surely = any(before[ppu][0] - {me} for ppu in cards)
    perhaps = any(before[ppu][1] - {me} for ppu in cards)
    return {True} if surely else {True, False} if perhaps else {False}


def foresee_hook(world, call, calls, before):
    facts = call.facts
    tenant, operation = facts["tenant"], facts["operation"]
    cards = set(tenant.ppus())
    claims = world.oracle.domains[tenant.uuid].claims
    facts["cards"], facts["allowed"] = cards, {0}
    facts["might_touch"] = around(world, cards.union(*(claim.cards for claim in claims if claim)))
    if operation in ("prepare", "start"):
        answers = rivals(world, cards, before, tenant.uuid)
        others = [each for each in calls if each is not call and concerns(each, cards, before)]
        facts["allowed"] = {4} if answers == {True} and not others else {0, 4} if True in answers or others else {0}
        if world.is_full:
            facts["allowed"] |= {5}
        if operation == "start" and not claims - {None}:
            facts["allowed"] |= {4}
    owned = [claim.cards if claim else frozenset() for claim in claims]
    facts["given_back"] = frozenset.intersection(*owned)


def concerns(other, cards, before):
    """Another call of the same moment that may change who owns one of CARDS."""
    facts = other.facts
    if facts.get("verb") in ("repair",):
        return False
    if "verb" in facts:
        return True
    tenant = facts["tenant"]
    theirs = set(tenant.ppus()) | {ppu for ppu in CARDS if tenant.uuid in before[ppu][1]}
    return bool(theirs & cards)


def turn_of(world, call):
    """What the call's exit status says of its turn."""
    facts, status = call.facts, call.status
    if "operation" in facts:
        return turn_of_hook(call, world.is_full)
    verb = facts["verb"]
    subject = ALL_GROUPS if verb == "reset" else facts.get("name")
    if call.is_disturbed or call.is_late:
        return Turn(UNSURE, subject)
    if verb == "repair":
        return Turn(REPAIR if status in (0, 1, 7) else UNSURE)
    if status != 0:
        return Turn(UNSURE if status == 5 else REFUSED, subject)
    kind = {"apply": START, "release": END, "reset": RESET}[verb]
    return Turn(kind, subject, frozenset(facts["cards"]) if kind == START else facts.get("given_back", frozenset()))


def turn_of_hook(call, is_full):
    facts = call.facts
    operation, uuid, cards = facts["operation"], facts["tenant"].uuid, frozenset(facts["cards"])
    if operation in ("prepare", "start") and call.status == 4:
        return Turn(REFUSED, uuid)
    if operation in ("prepare", "start") and call.status == 0 and not call.is_late:
        return Turn(START, uuid, cards)  # 0 is the engine's own word: the hook would refuse without it
    if operation == "started":
        return Turn(WATCH, uuid, cards)
    if call.status != 0 or call.is_disturbed or call.is_late or is_full:
        return Turn(UNSURE, uuid)
    return Turn(ADOPT, uuid, cards) if operation == "reconnect" else Turn(END, uuid, facts["given_back"])


def conclude(world, call, may_publish):
    call.facts["turn"] = turn_of(world, call)
    if "operation" in call.facts:
        conclude_hook(world, call, may_publish)
    else:
        conclude_verb(world, call)


def conclude_hook(world, call, may_publish):
    oracle, facts = world.oracle, call.facts
    tenant, operation, cards = facts["tenant"], facts["operation"], facts["cards"]
    daemon = world.daemon if call.through != "plain" else None
    # 0 is the engine's own word where the hook would refuse without it.
    passed = call.status == 0 and (not call.is_disturbed or operation in ("prepare", "start"))
    if operation == "prepare" and passed:
        oracle.passed_prepare(tenant.uuid, cards, daemon)
    elif operation == "start" and passed:
        oracle.passed_start(tenant.uuid, cards, daemon)
    elif operation in ("prepare", "start") and call.status != 4:
        oracle.maybe_claimed(tenant.uuid, cards, daemon)
    elif operation in ("started", "reconnect") and passed and not world.is_full:
        oracle.passed_seen(tenant.uuid)
    elif operation in ("started", "reconnect"):
        oracle.maybe_seen(tenant.uuid)
    elif operation in ENDINGS and passed:
        oracle.passed_end(tenant.uuid)
    elif operation in ENDINGS:
        oracle.maybe_ended(tenant.uuid)
    tenant.after(call.status)
    if may_publish and call.status == 0 and operation in ("prepare", "start") and tenant.next in ("start", "started"):
        world.publish_passed(tenant, operation)


def conclude_verb(world, call):
    facts, groups = call.facts, world.oracle.groups
    passed = call.status == 0 and not call.is_disturbed
    if facts["verb"] == "repair" and passed:
        world.publish_mended()
    if facts["verb"] == "apply":
        mine = groups.setdefault(facts["name"], {None})
        cards = frozenset(facts["cards"])
        if passed:
            groups[facts["name"]] = {cards}
        elif call.status != 4:
            mine.add(cards)
    elif facts["verb"] == "release":
        mine = groups.setdefault(facts["name"], {None})
        if passed or call.status == 3 and not call.is_disturbed:
            groups[facts["name"]] = {None}
        elif call.status != 3:
            mine.add(None)
    elif facts["verb"] == "reset":
        for name, mine in groups.items():
            groups[name] = {None} if passed else mine | {None}
