# SPDX-License-Identifier: LGPL-2.1-or-later
"""Random tenants on eight cards.  Several threads are libvirt, each for one VM;
three in ten hooks are killed; a watcher reads registers and ledger all the time.

ICN_TORTURE_SECONDS and ICN_TORTURE_SEED set length and seed.
"""

import json
import os
import random
import signal
import subprocess
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor

from domain_xml import INACTIVE, LIVE, PREPARE, Domain, Hostdev
from simhost import GUIDE_BDFS

SECONDS = float(os.environ.get("ICN_TORTURE_SECONDS", "60"))
SEED = int(os.environ.get("ICN_TORTURE_SEED", random.SystemRandom().randrange(1 << 32)))
TENANTS = 5
KILLED = 0.3
RESET = 0.2  # QEMU's end resets the cards
RECONNECT = 0.2  # the daemon restarts while the VM runs
FORMS = {"prepare": PREPARE, "stopped": INACTIVE, "release": INACTIVE}


class Hooks:
    """Runs hooks, and kills some together with the engine at a random moment."""

    def __init__(self, host):
        self.host = host
        self.durations = deque([0.01], maxlen=100)
        self.reach = 1.0  # of a hook's usual duration, within which it is killed
        self.count = 0
        self.killed = 0
        self.lock = threading.Lock()

    def run(self, domain, operation, dice, may_be_killed=True):
        """The exit status; None if it was killed."""
        # Some end before the kill comes, so it is tried as often as it takes, and
        # earlier where a busy machine wakes the killer late.
        is_chosen = may_be_killed and self.killed < KILLED * self.count
        kill_after = dice.uniform(0, self.reach * sum(self.durations) / len(self.durations))
        suboperation = "end" if operation in ("stopped", "release") else "begin"
        began = time.monotonic()
        with subprocess.Popen(
            [self.host.hook_program, domain.name, operation, suboperation, "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            env=self.host.environment(),
            start_new_session=True,
        ) as process:
            process.stdin.write(domain.xml(FORMS.get(operation, LIVE)).encode())
            process.stdin.close()
            process.stdin = None
            if is_chosen:
                time.sleep(kill_after)
                os.killpg(process.pid, signal.SIGKILL)
            # As libvirt: to the end of all that holds stdout.
            stdout, stderr = process.communicate(timeout=120)
        killed = process.returncode == -signal.SIGKILL
        with self.lock:
            self.count += 1
            self.killed += killed
            if is_chosen:
                self.reach = min(1.0, self.reach * 1.1) if killed else self.reach * 0.9
            if not killed:
                self.durations.append(time.monotonic() - began)
        assert stdout == b""
        assert stderr.count(b"\n") <= 1, stderr
        if killed:
            return None
        may_refuse = operation == "prepare"
        assert process.returncode in ((0, 4) if may_refuse else (0,)), f"{operation}: {process.returncode} {stderr}"
        return process.returncode


class Table:
    """What libvirt knows: who has which card, and which VMs were let through."""

    def __init__(self):
        self.lock = threading.Lock()
        self.end = time.monotonic() + SECONDS
        self.active = {}  # ppu -> name, as in libvirt's list of active devices
        self.let_through = {}  # name -> (life, ppus), from a passed `prepare` until `stopped`
        self.running = {}  # name -> (life, ppus, uuid), from a passed `start` until QEMU ends

    def is_open(self):
        return time.monotonic() < self.end

    def close(self, job):
        """The first failure ends it for all."""
        if job.exception():
            self.end = 0

    def pass_prepare(self, name, life, ppus):
        """False: libvirt itself finds a card in use."""
        with self.lock:
            for other, (_, theirs) in self.let_through.items():
                assert not theirs & ppus, f"{name} and {other} are both let through with a card of {theirs & ppus}"
            if any(ppu in self.active for ppu in ppus):
                return False
            self.let_through[name] = (life, ppus)
            self.active.update({ppu: name for ppu in ppus})
            return True

    def detach(self, name):
        with self.lock:
            self.active = {ppu: owner for ppu, owner in self.active.items() if owner != name}

    def put(self, table, name, value):
        with self.lock:
            if value is None:
                table.pop(name, None)
            else:
                table[name] = value

    def running_now(self):
        with self.lock:
            return dict(self.running)


class Tenant:
    """libvirt's thread for one VM, over and over again with other cards."""

    def __init__(self, index, host, hooks, table):
        self.name = f"vm{index}"
        self.pid = 4000 + index
        self.host = host
        self.hooks = hooks
        self.table = table
        self.dice = random.Random(f"{SEED} {index}")
        self.lives = self.refused = self.ran = 0
        self.domain = Domain(self.name)
        self.ppus = set()

    def hook(self, operation):
        return self.hooks.run(self.domain, operation, self.dice)

    def live(self):
        self.lives += 1
        self.ppus = set(self.dice.sample(range(len(GUIDE_BDFS)), self.dice.randint(1, 3)))
        self.domain.devices = [Hostdev(GUIDE_BDFS[ppu]) for ppu in sorted(self.ppus)]
        status = self.hook("prepare")
        self.refused += status == 4
        if status == 0 and self.table.pass_prepare(self.name, self.lives, self.ppus):
            self.bind("vfio-pci")
            if self.hook("start") == 0:
                self.run_qemu()
        self.end()

    def bind(self, driver):
        for device in self.domain.devices:
            self.host.set_driver(device.bdf, driver)

    def run_qemu(self):
        self.ran += 1
        self.table.put(self.table.running, self.name, (self.lives, self.ppus, self.domain.uuid))
        self.host.start_process(self.pid)
        self.write_status()
        for device in self.domain.devices:
            self.host.set_enable(device.bdf, 1)
        alive = self.hook("started") == 0
        if alive and self.dice.random() < RECONNECT:
            alive = self.hook("reconnect") == 0
        if alive:
            time.sleep(self.dice.uniform(0, 0.05))
        self.table.put(self.table.running, self.name, None)
        self.host.end_process(self.pid)
        reset = self.dice.random() < RESET
        for ppu in self.ppus:
            self.host.set_enable(GUIDE_BDFS[ppu], 0)
            if reset:
                self.host.write_register(ppu, 0)

    def write_status(self):
        """As libvirt does it: a reader sees the old file or the whole new one."""
        path = self.host.status_path(self.name)
        path.with_suffix(".new").write_text(self.domain.status_xml(self.pid))
        path.with_suffix(".new").rename(path)

    def end(self):
        """qemuProcessStop; a killed hook does not hold it up."""
        bound = self.name in self.table.let_through
        self.table.put(self.table.let_through, self.name, None)
        self.hook("stopped")
        if bound:
            self.bind(None)
            self.table.detach(self.name)
        self.host.remove_status(self.name)
        self.hook("release")

    def live_on(self):
        while self.table.is_open():
            self.live()


class Watcher:
    """Only what is true of a VM that ran before and after the look is judged: the
    look itself takes time."""

    def __init__(self, host, table):
        self.host = host
        self.table = table
        self.checks = 0
        self.judged = 0

    def entries(self):
        """uuid -> cards owned."""
        found = {}
        for path in self.host.path("/run/icn-hook").glob("*-*.json"):
            try:
                text = path.read_text()
            except FileNotFoundError:
                continue
            entry = json.loads(text)
            found[entry["uuid"]] = {card["ppu"] for card in entry["cards"] if card["owned"]}
        return found

    def look(self):
        before = self.table.running_now()
        masks = self.host.masks()
        entries = self.entries()
        after = self.table.running_now()
        stable = {name: facts for name, facts in before.items() if after.get(name) == facts}
        owners = {ppu: {name} for name, (_, ppus, _) in stable.items() for ppu in ppus}
        topology = self.host.topology
        assert not topology.leaks(masks, owners), f"{stable} {masks}"
        owned = [ppu for _, ppus, _ in stable.values() for ppu in ppus]
        assert len(owned) == len(set(owned)), f"a card has two owners: {stable}"
        for name, (_, ppus, uuid) in stable.items():
            # Their own ends are cut: a far end may be in anybody's hands.
            for ppu in ppus:
                required = topology.required_mask(ppu, {ppu: {name} for ppu in ppus})
                assert masks[ppu] & required == required, f"{name}: PPU {ppu} has {masks[ppu]:#x}, not {required:#x}"
            assert entries.get(uuid) == ppus, f"{name} has {ppus}, the ledger says {entries.get(uuid)}"
        self.checks += 1
        self.judged += len(stable)

    def look_on(self):
        while self.table.is_open():
            self.look()
            time.sleep(0.001)


def heal(host, hooks, tenants):
    """What ends every VM at last: libvirt's calls, this time undisturbed."""
    for tenant in tenants:
        for operation in ("stopped", "release"):
            assert hooks.run(tenant.domain, operation, tenant.dice, may_be_killed=False) == 0


def test_torture(host, capsys):
    hooks, table = Hooks(host), Table()
    tenants = [Tenant(index, host, hooks, table) for index in range(TENANTS)]
    watcher = Watcher(host, table)
    with capsys.disabled():
        print(f"\ntorture: {SECONDS:.0f} s, ICN_TORTURE_SEED={SEED}", flush=True)
    with ThreadPoolExecutor(TENANTS + 1) as pool:
        jobs = [pool.submit(work) for work in [watcher.look_on] + [tenant.live_on for tenant in tenants]]
        for job in jobs:
            job.add_done_callback(table.close)
    for job in jobs:
        job.result()
    ran, refused = sum(tenant.ran for tenant in tenants), sum(tenant.refused for tenant in tenants)
    with capsys.disabled():
        print(
            f"torture: {hooks.count} hooks, {hooks.killed} of them killed, {ran} VMs ran, {refused} refused, "
            f"{watcher.checks} looks with {watcher.judged} running VMs",
            flush=True,
        )
    assert ran > 0 and refused > 0 and hooks.killed > 0.1 * hooks.count and watcher.judged > ran
    heal(host, hooks, tenants)
    assert (host.masks(), host.ledger_files()) == ({ppu: 0 for ppu in range(len(GUIDE_BDFS))}, {})
    result = host.engine("check")
    assert result.status == 0, result
