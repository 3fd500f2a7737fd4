# SPDX-License-Identifier: LGPL-2.1-or-later
"""VMs on the emulated machine: what an administrator does with virsh, and what the
registers must show then."""

import json
import re
import shlex
import time
import uuid

GOLDEN_PAIR = {0: 0x19, 1: 0x31, 2: 0x18, 3: 0x30, 6: 0x01, 7: 0x01}
GOLDEN_SIX = {6: 0x39, 0: 0x01, 4: 0x08, 5: 0x10, 7: 0x08}
NAMESPACE = uuid.UUID("7a1fca86-3f0c-4a52-9d0c-52a8d3c0d5a1")


class VM:
    """A domain.  Its number, the end of its name, is its owner number to the
    watcher; number 0: not witnessed, because its end cannot be foreseen."""

    def __init__(self, number, ppus=(), name=None, managed=True, devices="", more="", boots=False, machine="pc"):
        self.number = number
        self.ppus = list(ppus)
        self.name = name or (f"vm-{number}" if number else "doomed")
        self.uuid = str(uuid.uuid5(NAMESPACE, self.name))
        self.managed = managed
        self.devices = devices
        self.more = more
        self.boots = boots
        self.machine = machine

    def xml(self, bdfs):
        hostdevs = "".join(hostdev(bdfs[ppu], self.managed) for ppu in self.ppus)
        disk = DISK.format(path="/system-test/boot.img") if self.boots else ""
        firmware = "" if self.boots else "<loader readonly='yes' type='rom'>/system-test/halt.bin</loader>"
        return f"""<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>{self.name}</name>
  <uuid>{self.uuid}</uuid>
  <memory unit='MiB'>64</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='{self.machine}'>hvm</type>{firmware}</os>
  <features><acpi/></features>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
{disk}{hostdevs}{self.devices}  </devices>
{self.more}</domain>"""


DISK = """    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/><source file='{path}'/><target dev='hda' bus='ide'/>
    </disk>
"""


def host_address(bdf):
    domain, bus, rest = bdf.split(":")
    slot, function = rest.split(".")
    return f"<address domain='0x{domain}' bus='0x{bus}' slot='0x{slot}' function='0x{function}'/>"


def hostdev(bdf, managed=True):
    return f"""    <hostdev mode='subsystem' type='pci' managed='{'yes' if managed else 'no'}'>
      <source>{host_address(bdf)}</source><rom enabled='no'/>
    </hostdev>
"""


class Scene:
    def __init__(self, machine, topology):
        self.machine = machine
        self.topology = topology
        self.bdfs = machine.bdfs
        self.vms = {}

    # The daemon

    def start_daemon(self):
        self.machine.must("/system-test/daemons start")

    def stop_daemon(self, signal="TERM"):
        self.machine.must(f"/system-test/daemons stop {signal}")

    # VMs

    def define(self, vm):
        self.vms[vm.name] = vm
        self.machine.write(f"/run/{vm.name}.xml", vm.xml(self.bdfs))
        self.machine.must(f"virsh -q define /run/{vm.name}.xml")
        return vm

    def begin_start(self, vm):
        return self.machine.begin(f"virsh -q start {shlex.quote(vm.name)}")

    def start(self, vm):
        if vm.name not in self.vms:
            self.define(vm)
        result = self.begin_start(vm).wait()
        assert result.status == 0, f"start of {vm.name}: {result.output}\n{self.log()}"
        return result

    def refused_start(self, vm):
        if vm.name not in self.vms:
            self.define(vm)
        result = self.begin_start(vm).wait()
        assert result.status != 0, f"{vm.name} was started"
        return result.output

    def begin_end(self, vm, how="destroy"):
        self.machine.forget_owner(vm.number)
        return self.machine.begin(f"virsh -q {how} {shlex.quote(vm.name)}")

    def end(self, vm, how="destroy"):
        result = self.begin_end(vm, how).wait()
        assert result.status == 0, f"{how} of {vm.name}: {result.output}"

    def wait_until_off(self, vm, timeout=60):
        self.machine.wait_for(f"virsh -q domstate {vm.name} | grep -q 'shut off'", timeout)

    def state(self, vm):
        return self.machine.must(f"virsh -q domstate {vm.name}").strip()

    def pid(self, vm):
        return int(self.machine.must(f"cat /run/libvirt/qemu/{vm.name}.pid"))

    def running(self):
        return set(self.machine.must("virsh -q list --name").split())

    def bind(self, ppu):
        """A card to vfio-pci, as an administrator without libvirt does it."""
        bdf = self.bdfs[ppu]
        self.machine.must(
            f"echo vfio-pci >/sys/bus/pci/devices/{bdf}/driver_override; echo {bdf} >/sys/bus/pci/drivers_probe;"
            f"readlink /sys/bus/pci/devices/{bdf}/driver | grep -q vfio-pci"
        )

    def clear(self):
        """Every VM away, every register as a reset leaves it."""
        for name in sorted(self.running()):
            self.end(self.vms[name])
        for name in list(self.vms):
            self.machine.run(f"virsh -q undefine {shlex.quote(name)} --managed-save; rm -f /run/{name}.xml")
        self.vms.clear()
        self.machine.must("/system-test/unbind-cards")

    def reset_cards(self):
        for card in self.machine.cards:
            card.owner = 0
            card.mask = 0

    # Where the sequence is stopped

    def stall(self, operation):
        """OPERATION: of every VM; with a VM's name before it (vm-1.start), of that one."""
        self.machine.must(f"touch /run/stall/{operation}")

    def await_stall(self, operation):
        self.machine.wait_for(f"[ -e /run/stall/{operation}.reached ]")

    def unstall(self, operation):
        self.machine.must(f"rm -f /run/stall/{operation} /run/stall/{operation}.reached")

    # What is seen

    def log(self):
        return self.machine.run("grep icn-hook /var/log/syslog").stdout

    def new_log(self):
        """What was logged since the last call."""
        return self.machine.must("cat /var/log/syslog; : >/var/log/syslog")

    def expect(self, masks, moment):
        """MASKS: ppu -> mask, all others 0."""
        wanted = [masks.get(ppu, 0) for ppu in range(len(self.bdfs))]
        seen = self.machine.masks()
        assert seen == wanted, f"{moment}: {hexadecimal(seen)}, expected {hexadecimal(wanted)}\n{self.log()}"

    def expect_idle(self, moment):
        """No cut, no claim, no debt."""
        self.expect({}, moment)
        files = self.machine.must("cd /run/icn-hook 2>/dev/null && ls | grep -v '^lock$' || true").split()
        assert set(files) <= {"cards.json", "identity"}, f"{moment}: {files}"
        if "cards.json" in files:
            remembered = json.loads(self.machine.must("cat /run/icn-hook/cards.json"))["cards"]
            assert remembered == [], f"{moment}: {remembered}"

    def icn(self, arguments):
        return self.machine.run(f"icn-hook {arguments}")

    def check(self, status):
        """What `check` says, which must be STATUS, and `status` must agree."""
        result = self.icn("check")
        assert result.status == status, f"exit {result.status}: {result.output}\n{self.log()}"
        assert self.status()["ok"] == (status == 0)
        return result.output

    def status(self):
        result = self.icn("status --json")
        assert result.status == 0, result.output
        return json.loads(result.stdout)

    def owners(self):
        """The names of each card's owners."""
        return [[owner["name"] for owner in ppu["owners"]] for ppu in self.status()["ppus"]]

    def findings(self, code):
        return [finding for finding in self.status()["findings"] if finding["code"] == code]

    def metric(self, name):
        found = re.search(rf"^{name} (\d+)$", self.machine.must("icn-hook status --prometheus"), re.M)
        assert found, name
        return int(found[1])

    def golden(self, *groups):
        """The masks that the rule demands where each of GROUPS is another owner's cards."""
        owners = {ppu: {number} for number, group in enumerate(groups) for ppu in group}
        return self.topology.required_masks(owners)

    def await_masks(self, masks, moment, timeout=60):
        wanted = [masks.get(ppu, 0) for ppu in range(len(self.bdfs))]
        end = time.monotonic() + timeout
        while self.machine.masks() != wanted and time.monotonic() < end:
            time.sleep(0.01)
        self.expect(masks, moment)


def hexadecimal(masks):
    return " ".join(f"{ppu}:{mask:#04x}" for ppu, mask in enumerate(masks))
