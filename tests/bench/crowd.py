# SPDX-License-Identifier: LGPL-2.1-or-later
"""Hosts on which VMs run, and many hooks at once on them."""

from domain_xml import INACTIVE, LIVE, PREPARE, Domain, Hostdev
from measure import Host, stop

STATUS_SIZE = 33 << 10
FLAGS = ("kvm", "vfio-pci", "nvme", "vhost-vsock", "virtio-scsi-pci", "usb-host", "pcie-root-port", "query-block-named")
FIRST_PID = 100000
OPERATIONS = ("prepare", "start", "started", "stopped", "release")


def plain_status(name, pid):
    """A status file as a VM without host devices has it: <qemuCaps> names vfio in each."""
    flags = "".join(f"    <flag name='{FLAGS[index % len(FLAGS)]}'/>\n" for index in range(240))
    port = (
        "      <controller type='pci' index='{0}' model='pcie-root-port'>\n"
        "        <model name='pcie-root-port'/>\n"
        "        <target chassis='{0}' port='0x{0:x}'/>\n"
        "        <alias name='pci.{0}'/>\n"
        "        <address type='pci' domain='0x0000' bus='0x00' slot='0x02' function='0x0' multifunction='on'/>\n"
        "      </controller>\n"
    )
    text = Domain(name).status_xml(pid).replace("  <domain ", f"  <qemuCaps>\n{flags}  </qemuCaps>\n  <domain ", 1)
    head, tail = text.split("    <console ", 1)
    ports = ""
    while len(head) + len(ports) + len(tail) < STATUS_SIZE:
        ports += port.format(ports.count("<model") + 2)
    return f"{head}{ports}    <console {tail}"


def add_plain_vms(sim, count):
    """COUNT VMs without host devices that run."""
    for index in range(count):
        name, pid = f"plain-{index}", FIRST_PID + index
        sim.start_process(pid)
        sim.status_path(name).write_text(plain_status(name, pid))


class CardVM:
    """A VM with one card, and what libvirt and the kernel do between its hooks."""

    def __init__(self, sim, ppu):
        self.sim, self.bdf, self.pid = sim, sim.bdfs[ppu], FIRST_PID // 2 + ppu
        self.domain = Domain(f"vm{ppu}", [Hostdev(self.bdf)])
        self.name = self.domain.name

    def text(self, operation):
        form = PREPARE if operation == "prepare" else INACTIVE if operation in ("stopped", "release") else LIVE
        return self.domain.xml(form).encode()

    def before(self, operation):
        if operation == "start":
            self.sim.set_driver(self.bdf, "vfio-pci")
        elif operation == "started":
            self.sim.start_process(self.pid)
            self.sim.write_status(self.domain, self.pid)
            self.sim.hold(self.bdf)
        elif operation == "stopped":
            self.sim.end_process(self.pid)
            self.sim.let_go(self.bdf)
        elif operation == "release":
            self.sim.remove_status(self.name)
            self.sim.set_driver(self.bdf, None)


def add_card_vms(host, ppus):
    """VMs that run, with one card each."""
    for ppu in ppus:
        vm = CardVM(host.sim, ppu)
        for operation in ("prepare", "start", "started"):
            vm.before(operation)
            host.once(host.hook(vm.name, operation), vm.text(operation))


def crowd_host(directory, build, cards, plain_vms):
    host = Host(directory, build, cards=cards)
    host.sim.pin_ids()
    add_plain_vms(host.sim, plain_vms)
    return host


def live_at_once(host):
    """As many VMs as there are cards live at the same time: the waits, by operation."""
    vms = [CardVM(host.sim, ppu) for ppu in range(len(host.sim.bdfs))]
    masks = host.sim.masks()
    waits = {}
    for operation in OPERATIONS:
        for vm in vms:
            vm.before(operation)
        waits[operation] = host.all_at_once([(host.hook(vm.name, operation), vm.text(operation)) for vm in vms])
        if operation == "start" and any(host.sim.mask(ppu) == 0 for ppu in range(len(vms))):
            stop("64 hooks at once did not do their work")
    if host.sim.masks() != masks or host.sim.claims():
        stop("64 VMs that have ended left something")
    return waits
