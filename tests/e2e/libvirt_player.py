# SPDX-License-Identifier: LGPL-2.1-or-later
"""Plays libvirt: the whole sequence around a VM's life, in libvirt's order.

The order of hooks, driver changes, QEMU process and status file is that of
libvirt's qemuProcessStart, qemuProcessStop and qemuProcessReconnect.  After each
step, and at each write if the host notes them, the physical oracle looks at the
registers, knowing only the wiring and which domains libvirt has let through.
"""

from dataclasses import dataclass

from domain_xml import INACTIVE, LIVE, PREPARE, CommandLine, Mdev

FIRST_PID = 5000


@dataclass
class Outcome:
    """How a start ended: `failed` is the step at which it did, or None."""

    failed: str = None
    status: int = 0
    message: str = ""

    @property
    def running(self):
        return self.failed is None


class Running:
    def __init__(self, domain, pid, rebind):
        self.domain = domain
        self.pid = pid
        self.rebind = rebind  # bdf -> driver to go back to


class Libvirt:
    def __init__(self, host, watch=True):
        self.host = host
        self.watch = watch
        self.running = {}  # name -> Running
        self.let_through = {}  # uuid -> set of ppus, between a passed `start` and `stopped`
        self.calls = []  # (name, operation, exit status, stderr)
        self.next_pid = FIRST_PID

    # The oracle

    def owners(self):
        owners = {}
        for uuid, ppus in self.let_through.items():
            for ppu in ppus:
                owners.setdefault(ppu, set()).add(uuid)
        return owners

    def check(self, moment):
        if not self.watch:
            return
        owners = {self.host.bdfs[ppu]: names for ppu, names in self.owners().items()}
        if self.host.journal:
            for written, cuts in self.host.journal.steps():
                self._judge(f"{moment}, when {written} was written", owners, cuts)
        self._judge(moment, owners, self.host.hardware.cuts())

    def _judge(self, moment, owners, cuts):
        leaks = self.host.hardware.leaks(owners, cuts, self.host.external)
        texts = [f"{a.bdf} link {a.link} - {f'{b.bdf} link {b.link}' if b else 'another host'}" for a, b in leaks]
        cuts = {bdf: hex(bits) for bdf, bits in cuts.items()}
        assert not leaks, f"live links that the rule forbids, {moment}: {texts}, cuts {cuts}"

    def ppus(self, domain):
        """The cards behind a domain's devices."""
        found = set()
        for device in domain.devices:
            card = device.bdf[:-1] + "0" if device.bdf else None
            if card in self.host.bdfs:
                found.add(self.host.bdfs.index(card))
        return found

    # Pieces of the sequence

    def call(self, domain, operation, form, extra="-", **options):
        result = self.host.hook(domain.name, operation, domain.xml(form), extra, **options)
        self.calls.append((domain.name, operation, result.status, result.stderr))
        if operation == "stopped":
            self.let_through.pop(domain.uuid, None)
        self.check(f"{operation} of {domain.name}")
        return result

    def _bind_vfio(self, domain):
        rebind = {}
        for bdf in passed_functions(domain):
            if self.host.driver(bdf) != "vfio-pci":
                rebind[bdf] = self.host.driver(bdf)
                self.host.set_driver(bdf, "vfio-pci")
        return rebind

    def _in_use(self, domain):
        for other in self.running.values():
            for bdf in passed_functions(domain):
                if bdf in passed_functions(other.domain):
                    return f"PCI device {bdf} is in use by driver QEMU, domain {other.domain.name}"
        return None

    def _qemu_ends(self, running):
        self.host.end_process(running.pid)
        for bdf in held_functions(running.domain):
            self.host.let_go(bdf)

    def _clean_up(self, domain, running, reason, **options):
        """qemuProcessStop from the moment the domain is inactive."""
        results = [self.call(domain, "stopped", INACTIVE, **options)]
        for bdf, driver in (running.rebind if running else {}).items():
            self.host.set_driver(bdf, driver)
        if running:
            self.host.remove_status(domain.name)
        results.append(self.call(domain, "release", INACTIVE, reason, **options))
        for result in results:
            assert result.status == 0, f"an ending must not fail: {result}"

    def _fail(self, domain, running, step, result):
        self._clean_up(domain, running, "failed")
        return Outcome(step, result.status, result.stderr)

    # What a person does with virsh

    def start(self, domain):
        assert domain.name not in self.running
        result = self.call(domain, "prepare", PREPARE)
        if result.status != 0:
            return self._fail(domain, None, "prepare", result)
        in_use = self._in_use(domain)
        if in_use:
            self._clean_up(domain, None, "failed")
            return Outcome("in use", 1, in_use)
        running = Running(domain, self.next_pid, self._bind_vfio(domain))
        self.next_pid += 1
        result = self.call(domain, "start", LIVE)
        if result.status != 0:
            return self._fail(domain, running, "start", result)
        self.let_through[domain.uuid] = self.ppus(domain)
        self.check(f"a passed start of {domain.name}")
        return self._run_qemu(domain, running)

    def _run_qemu(self, domain, running):
        self.host.start_process(running.pid)
        self.host.write_status(domain, running.pid)
        for bdf in held_functions(domain):
            self.host.hold(bdf)
        self.running[domain.name] = running
        result = self.call(domain, "started", LIVE)
        if result.status != 0:
            self.stop(domain.name, "failed")
            return Outcome("started", result.status, result.stderr)
        return Outcome()

    def stop(self, name, reason="shutdown", **options):
        running = self.running.pop(name)
        self._qemu_ends(running)
        self._clean_up(running.domain, running, reason, **options)

    def crash(self, name):
        self.stop(name, "crashed")

    def reconnect(self, name):
        """A restarted daemon finds the VM running; a failure would kill it."""
        result = self.call(self.running[name].domain, "reconnect", LIVE)
        assert result.status == 0, f"reconnect must not fail: {result}"

    def hot_plug(self, name, device):
        """No hook is called; the status file shows the device at once."""
        running = self.running[name]
        running.domain.devices.append(device)
        running.rebind.update(self._bind_vfio(running.domain))
        self.host.hold(device.bdf)
        self.host.write_status(running.domain, running.pid)

    def hot_unplug(self, name, bdf):
        """Likewise; libvirt gives the card back to the host's driver."""
        running = self.running[name]
        running.domain.devices = [device for device in running.domain.devices if device.bdf != bdf]
        self.let_through[running.domain.uuid] = self.ppus(running.domain)
        self.host.let_go(bdf)
        self.host.write_status(running.domain, running.pid)
        if bdf in running.rebind:
            self.host.set_driver(bdf, running.rebind.pop(bdf))

    def restart_daemon(self):
        """Killed and started again: it finds the VMs running."""
        self.host.daemon.restart()
        for name in list(self.running):
            self.reconnect(name)

    def reboot(self, boot_id="99999999-2222-4333-8444-555555555555"):
        """Power loss: every VM is gone, /run is empty, no hook was called."""
        for running in self.running.values():
            self._qemu_ends(running)
            for bdf, driver in running.rebind.items():
                self.host.set_driver(bdf, driver)
            self.host.remove_status(running.domain.name)
        self.running.clear()
        self.let_through.clear()
        self.host.set_boot_id(boot_id)
        self.host.set_masks({ppu: 0 for ppu in self.host.masks()})


def passed_functions(domain):
    """What libvirt binds to vfio-pci: not mediated devices, and nothing from the
    command line."""
    return [
        device.bdf
        for device in domain.devices
        if device.bdf and device.managed and not isinstance(device, (Mdev, CommandLine))
    ]


def held_functions(domain):
    """What QEMU opens through vfio."""
    return [device.bdf for device in domain.devices if device.bdf and not isinstance(device, Mdev)]
