# SPDX-License-Identifier: LGPL-2.1-or-later
"""A VM's life as libvirt leads it, one hook call at a time, with all that can go
wrong around it."""

import itertools

import events
from domain_xml import INACTIVE, LIVE, PREPARE, Domain, Hostdev
from simhost import GUIDE_BDFS

FORMS = {"prepare": PREPARE, "stopped": INACTIVE, "release": INACTIVE}
NOTHING_TO_CALL = ("running", "orphan")
RESET = 0.2  # QEMU's end resets the cards


class Tenant:
    """`next` is the hook that libvirt calls next, or what the VM does without it."""

    pids = itertools.count(5000)

    def __init__(self, world, index):
        self.world = world
        self.oracle = world.oracle
        self.kernel = world.kernel
        self.dice = world.dice
        self.domain = Domain(f"vm{index}")
        self.uuid = self.domain.uuid
        self.next = "prepare"
        self.rebind = {}  # ppu -> the driver that it goes back to, in libvirt's list of active devices
        self.pid = None
        self.plugged = set()  # cards that never went through a gate

    def ppus(self):
        return [GUIDE_BDFS.index(device.bdf) for device in self.domain.devices]

    def set_ppus(self, ppus):
        self.domain.devices = [Hostdev(GUIDE_BDFS[ppu]) for ppu in sorted(ppus)]

    # Before a hook: what libvirt and QEMU do first

    def before(self):
        if self.next == "prepare":
            self.set_ppus(self.dice.sample(range(len(GUIDE_BDFS)), self.dice.randint(1, 3)))
        elif self.next == "start":
            self.attach(self.ppus())
        elif self.next == "started":
            self.run_qemu()
        elif self.next == "stopped":
            self.end_qemu()
        elif self.next == "release":
            self.detach_all()
            self.remove_status()

    def call(self):
        """(operation, XML) of the hook that is due."""
        return self.next, self.domain.xml(FORMS.get(self.next, LIVE))

    def attach(self, ppus):
        for ppu in ppus:
            if ppu not in self.rebind:
                self.rebind[ppu] = self.kernel.driver(ppu)
                self.kernel.bind(ppu, "vfio-pci", sleeps=self.dice.random() < 0.5)

    def detach(self, ppu):
        driver = self.rebind.pop(ppu)
        if driver != "vfio-pci":
            self.kernel.bind(ppu, driver)

    def detach_all(self):
        for ppu in list(self.rebind):
            self.detach(ppu)

    def run_qemu(self, with_status=True):
        self.pid = next(self.pids)
        self.world.host.start_process(self.pid)
        for ppu in self.ppus():
            self.kernel.hold(ppu)
            self.oracle.held.add(ppu)
        if with_status:
            self.write_status()

    def write_status(self):
        """As libvirt does it: a reader sees the old file or the whole new one."""
        path = self.world.host.status_path(self.domain.name)
        path.with_suffix(".new").write_text(self.domain.status_xml(self.pid))
        path.with_suffix(".new").rename(path)
        self.oracle.status[self.uuid] = frozenset(self.ppus())

    def remove_status(self):
        self.world.host.remove_status(self.domain.name)

    def end_qemu(self):
        self.world.publish_end(self)
        if self.pid is None:
            return
        self.world.host.end_process(self.pid)
        self.pid = None
        self.oracle.status.pop(self.uuid, None)
        reset = self.dice.random() < RESET
        for ppu in self.ppus():
            self.kernel.let_go(ppu)
            self.oracle.held.discard(ppu)
            if reset and not events.stands_alone(self.world, ppu):
                self.kernel.registers.write(ppu, 0)
        self.plugged.clear()

    # After a hook: how libvirt goes on

    def after(self, status):
        """STATUS: 0 is a pass, everything else is not."""
        passed = status == 0
        if self.next == "prepare":
            in_use = any(ppu in other.rebind for other in self.world.tenants for ppu in self.ppus())
            self.next = "start" if passed and not in_use else "stopped"
        elif self.next == "start":
            self.next = "started" if passed else "stopped"
        elif self.next == "started":
            self.next = "running" if passed else "stopped"
        elif self.next == "reconnect":
            self.next = "running" if passed else "stopped"
        elif self.next == "stopped":
            self.next = "release"
        else:
            self.next = "prepare"

    # What happens without hooks

    def daemon_will_die(self, is_called):
        """QEMU may just have been started, with its status file not yet written.  IS_CALLED:
        a hook of it runs."""
        if self.next == "started" and not is_called and self.dice.random() < 0.5:
            self.run_qemu(with_status=False)
            self.rebind.clear()
            self.next = "orphan"
        elif self.pid is None:
            self.world.publish_end(self)

    def daemon_died(self):
        """What was not in a status file is forgotten, and nothing more is called for it."""
        if self.uuid in self.oracle.status:
            self.next = "reconnect"
            return
        if self.next in ("orphan", "prepare"):
            return
        has_status_file = self.world.host.status_path(self.domain.name).exists()
        if self.next == "release" and has_status_file:
            self.next = "stopped"
            return
        self.world.publish_end(self)
        self.rebind.clear()
        self.next = "prepare"

    def is_lost(self):
        """The VM is gone, and its end is never told."""
        self.end_qemu()
        self.remove_status()
        self.detach_all()
        self.next = "prepare"

    def end_orphan(self):
        self.end_qemu()
        self.next = "prepare"

    def plug(self, ppu):
        self.set_ppus(self.ppus() + [ppu])
        self.attach([ppu])
        self.kernel.hold(ppu)
        self.oracle.held.add(ppu)
        self.plugged.add(ppu)
        self.write_status()

    def unplug(self, ppu):
        self.world.publish_unplugged(self, ppu)
        self.set_ppus(set(self.ppus()) - {ppu})
        self.kernel.let_go(ppu)
        self.oracle.held.discard(ppu)
        self.plugged.discard(ppu)
        self.write_status()
        self.detach(ppu)
        self.world.publish()
