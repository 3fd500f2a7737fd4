# SPDX-License-Identifier: LGPL-2.1-or-later
"""One simulated host, its tenants, and what happens to them: step after step, each
judged by the rules."""

import math
import random
import time
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor

import events
import rules
import watcher
from calls import Call, Calls
from kernel import Kernel
from oracle import Domain, Oracle
from simhost import SimHost
from tenant import NOTHING_TO_CALL, Tenant
from turns import Turns
from watcher import TENANTS

START_TIMEOUT = 6
LOG_TAIL, LINES_OF_PROGRAMS = 80, 20
KILLED = 0.35
LOOKED_AT = 0.4  # the share of steps after which the programs are asked; the registers are judged after each


class World:
    def __init__(self, root, seed, make_room=None):
        """MAKE_ROOM gives /run/icn-hook a filesystem of its own, and returns a directory
        in it that can be filled."""
        self.dice = random.Random(seed)
        self.host = SimHost(root)
        self.host.pin_ids(f"[policy]\nstart_timeout = {START_TIMEOUT}\n")
        self.host.daemon.starts_by_itself = False
        self.kernel = Kernel(self.host)
        self.oracle = Oracle(self.host.topology, START_TIMEOUT)
        self.calls = Calls(self.host, self.dice)
        self.tenants = [Tenant(self, index) for index in range(TENANTS)]
        self.oracle.domains = {tenant.uuid: Domain(tenant.domain.name, tenant.uuid) for tenant in self.tenants}
        self.room = make_room(self.host) if make_room else None
        self.is_full = False
        self.daemon = 0  # which one lives, counted; None: none
        self.daemons = 0
        self.claimed, self.through, self.loose = [0] * 8, [0] * 8, [0] * 8
        self.began = 0  # when the calls of this step were begun
        self.called_at = {}  # by a tenant's number, its call that passed first, until it ends
        self.board = watcher.Board()
        self.watcher = watcher.start(
            self.board, self.host, [card / "resource0" for card in self.kernel.cards]
        )
        self.log = deque(maxlen=LOG_TAIL)
        self.steps = 0
        self.judged = Counter()
        self.pool = ThreadPoolExecutor(2)
        self.start_daemon()

    def note(self, text):
        self.log.append(f"{self.steps} {time.monotonic():.3f} {text}")

    # The daemon

    def start_daemon(self):
        self.host.daemon.start()
        self.daemons += 1
        self.daemon = self.daemons
        self.note(f"daemon {self.daemon} starts")

    def daemon_will_die(self, calls=()):
        called = [call.facts.get("tenant") for call in calls]
        for tenant in self.tenants:
            tenant.daemon_will_die(tenant in called)

    def daemon_is_dead(self):
        self.host.daemon.kill()
        self.oracle.ends_of_daemons[self.daemon] = time.monotonic()
        self.daemon = None
        self.note("the daemon is killed")
        for tenant in self.tenants:
            tenant.daemon_died()

    # What the watcher knows

    def published(self):
        plugged = [int(any(ppu in tenant.plugged for tenant in self.tenants)) for ppu in range(8)]
        return self.claimed, self.through, plugged, self.loose

    def deadlines(self):
        """Until when they may be without QEMU, by the tenants' order."""
        for number, tenant in enumerate(self.tenants, 1):
            is_starting = tenant.pid is None and number in self.called_at
            yield self.called_at[number] + START_TIMEOUT if is_starting else math.inf

    def publish(self):
        self.board.publish(self.published(), self.deadlines())

    def number(self, tenant):
        return self.tenants.index(tenant) + 1

    def publish_unplugged(self, tenant, ppu):
        self.claimed[ppu] = self.through[ppu] = 0
        self.loose[ppu] = self.number(tenant)
        self.publish()

    def publish_mended(self):
        self.loose = [0] * 8
        self.publish()

    def publish_passed(self, tenant, operation):
        number = self.number(tenant)
        self.called_at.setdefault(number, self.began)
        table = self.through if operation == "start" else self.claimed
        if operation == "prepare" and not all(self.kernel.can_be_written(ppu) for ppu in tenant.ppus()):
            return  # cut at `start` only
        for ppu in tenant.ppus():
            table[ppu] = number
            if operation == "start":
                self.loose[ppu] = 0
        self.publish()

    def publish_plugged(self, tenant, ppu):
        self.through[ppu] = self.number(tenant)
        self.publish()

    def publish_end(self, tenant):
        number = self.number(tenant)
        self.called_at.pop(number, None)
        self.claimed = [each if each != number else 0 for each in self.claimed]
        self.through = [each if each != number else 0 for each in self.through]
        self.loose = [each if each != number else 0 for each in self.loose]
        self.publish()

    def forget_late_starts(self):
        """What takes longer than start_timeout loses its cards."""
        for tenant, deadline in zip(self.tenants, list(self.deadlines())):
            if deadline <= time.monotonic():
                self.publish_end(tenant)

    def may_lack_gate(self, tenant):
        """Its start may have taken so long that its cards were given back before QEMU opened them."""
        return tenant.pid is not None and any(self.through[ppu] != self.number(tenant) for ppu in tenant.ppus())

    # One step

    def hook_call(self, tenant):
        tenant.before()
        operation, xml = tenant.call()
        suboperation = "end" if operation in ("stopped", "release") else "begin"
        call = Call(
            [self.host.hook_program, tenant.domain.name, operation, suboperation, "-"],
            xml,
            through=self.dice.choices(("daemon", "dispatcher", "plain"), (6, 3, 1))[0],
            label=f"{tenant.domain.name} {operation} {tenant.ppus()}",
        )
        self.calls.plan_kill(call, KILLED)
        if call.kill:
            call.through = "daemon"
        call.facts.update(tenant=tenant, operation=operation)
        return call

    def choose_calls(self):
        if self.daemon is None:
            return []
        due = [tenant for tenant in self.tenants if tenant.next not in NOTHING_TO_CALL]
        chosen = self.dice.sample(due, min(len(due), self.dice.choice((1, 1, 2, 3, 4))))
        return [self.hook_call(tenant) for tenant in chosen]

    def step(self):
        self.steps += 1
        events.change(self)
        self.forget_late_starts()
        self.publish()
        calls = self.choose_calls() + events.verbs(self)
        self.oracle.pass_time()
        before = self.oracle.owners()
        for call in calls:
            events.foresee(self, call, calls, before)
        kill_daemon = self.daemon is not None and calls and self.dice.random() < 0.02
        if kill_daemon:
            self.daemon_will_die(calls)
            before = self.oracle.owners()
        self.kernel.was_late()
        turns = Turns(self.oracle, self.kernel.registers.all())
        self.began = time.monotonic()
        self.calls.hooks += sum("operation" in call.facts for call in calls)
        self.calls.run(calls, self.dice.uniform(0, 0.02) if kill_daemon else None)
        if self.kernel.was_late():
            self.note("the kernel is late")
            for call in calls:
                call.facts["allowed"] |= {5}
                call.is_late = True
        for call in calls:
            ending = "disturbed" if call.is_disturbed else "exit"
            self.note(f"{call.label} through {call.through}: {ending} {call.status} {call.stderr.strip()}")
            events.conclude(self, call, may_publish=not kill_daemon)
        if kill_daemon:
            self.daemon_is_dead()
        self.kernel.settle_all()
        self.judge(calls, before, turns)

    def judge(self, calls, before, turns):
        self.oracle.pass_time()
        owners = self.oracle.owners()
        for call in calls:
            self.oracle.read_back(call.facts["might_touch"], before, owners)
        self.oracle.forget_gates(owners)
        moment = rules.Moment(
            topology=self.host.topology,
            wires=self.host,
            oracle=self.oracle,
            kernel=self.kernel,
            calls=calls,
            before=before,
            owners=owners,
            masks=self.kernel.registers.all(),
            readable={ppu for ppu in range(8) if self.kernel.can_be_read(ppu)},
            writable={ppu for ppu in range(8) if self.kernel.can_be_written(ppu)},
            published=watcher.in_time(self.published(), self.deadlines()),
            left=turns.left([call.facts["turn"] for call in calls]),
            found=turns.masks,
            ungated=any(tenant.plugged or self.may_lack_gate(tenant) for tenant in self.tenants),
        )
        self.apply_rules(rules.ALWAYS, moment)
        if self.dice.random() < LOOKED_AT:
            self.look(moment, owners)
        report = self.board.report()[2]
        rules.demand(not report, f"the watcher saw {report}")

    def look(self, moment, owners):
        verbs = self.dice.choice((("status",), ("status", "check")))
        results = list(self.pool.map(lambda verb: self.host.engine(verb, "--json"), verbs))
        self.calls.verbs += len(verbs)
        # A claim may have come to its end meanwhile.
        self.oracle.pass_time()
        moment.owners = widened(owners, self.oracle.owners())
        rules.demand(results[0].status == 0, f"status exits {results[0].status}: {results[0].stderr}")
        moment.told = results[0].json()
        self.apply_rules(rules.OF_STATUS, moment)
        if "check" in verbs:
            moment.check, moment.said = results[1], results[1].json()
            self.apply_rules(rules.OF_CHECK, moment)

    def apply_rules(self, some, moment):
        for rule in some:
            try:
                self.judged[rule.__name__] += int(rule(moment))
            except rules.Violation as violation:
                self.judged[rule.__name__] += 1
                raise rules.Violation(f"{rule.__name__}: {violation}") from None

    def heal(self):
        """At last everything ends as libvirt ends it, and the host is as it was at first."""
        self.make_room()
        if self.daemon is None:
            self.start_daemon()
        for tenant in self.tenants:
            for operation in ("stopped", "release"):
                tenant.end_qemu()
                tenant.detach_all()
                tenant.remove_status()
                result = self.host.hook(tenant.domain.name, operation, tenant.domain.xml("inactive"))
                rules.demand(result.status == 0, f"{operation} at the end: {result}")
        for name in list(self.oracle.groups):
            self.host.engine("release", name)
        for ppu in range(8):
            self.kernel.bind(ppu, None)
        result = self.host.engine("repair", "--json")
        rules.demand(result.status == 0, f"repair at the end: {result}")
        masks = self.kernel.registers.all()
        rules.demand(not any(masks.values()), f"registers at the end: {masks}, {result.stdout}")
        result = self.host.engine("check")
        rules.demand(result.status == 0, f"check at the end: {result}")

    def fill(self):
        events.fill(self.room, self.dice.random() < 0.5)
        self.is_full = True
        self.note("/run is full")

    def scenery(self):
        """What a failure's report shows."""
        for ppu, mask in self.kernel.registers.all().items():
            facts = [name for name in ("is_held", "is_asleep") if getattr(self.kernel, name)(ppu)]
            yield f"PPU {ppu}: {mask:#x}, driver {self.kernel.driver(ppu)} {' '.join(facts)}, {self.oracle.owners()[ppu]}"
        for name, content in self.host.state_files().items():
            yield f"{name}: {content.decode(errors='replace').strip()}"
        yield from self.host.log().splitlines()[-LINES_OF_PROGRAMS:]

    def make_room(self):
        if self.is_full:
            events.make_room(self.room)
            self.is_full = False
            self.note("/run has room")


def widened(owners, later):
    """Owners that they had at either time."""
    return {ppu: (must & later[ppu][0], may | later[ppu][1]) for ppu, (must, may) in owners.items()}
