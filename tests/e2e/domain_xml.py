# SPDX-License-Identifier: LGPL-2.1-or-later
"""Domain XML in libvirt's canonical form, as hooks and status files show it."""

import uuid as uuid_module
from dataclasses import dataclass, field
from xml.sax.saxutils import escape, quoteattr

# What the XML of one device looks like depends on the moment.
PREPARE = "prepare"  # prepare: nothing assigned yet
LIVE = "live"  # start, started, reconnect, status file
INACTIVE = "inactive"  # stopped, release


PCI = "type='pci' "


def address(bdf, attributes=""):
    domain, bus, rest = bdf.split(":")
    slot, function = rest.split(".")
    return f"<address {attributes}domain='0x{domain}' bus='0x{bus}' slot='0x{slot}' function='0x{function}'/>"


@dataclass
class Hostdev:
    """<hostdev type='pci'>."""

    bdf: str
    managed: bool = True

    def xml(self, index, form):
        driver = "" if form == PREPARE else "      <driver name='vfio'/>\n"
        alias = f"      <alias name='hostdev{index}'/>\n" if form == LIVE else ""
        return (
            f"    <hostdev mode='subsystem' type='pci' managed='{'yes' if self.managed else 'no'}'>\n"
            f"{driver}"
            "      <source>\n"
            f"        {address(self.bdf)}\n"
            "      </source>\n"
            f"{alias}"
            f"      <address type='pci' domain='0x0000' bus='0x{index + 5:02x}' slot='0x00' function='0x0'/>\n"
            "    </hostdev>\n"
        )


@dataclass
class Interface:
    """<interface type='hostdev'>."""

    bdf: str
    managed: bool = True

    def xml(self, index, form):
        driver = "" if form == PREPARE else "      <driver name='vfio'/>\n"
        return (
            f"    <interface type='hostdev' managed='{'yes' if self.managed else 'no'}'>\n"
            f"      <mac address='52:54:00:00:01:{index:02x}'/>\n"
            f"{driver}"
            "      <source>\n"
            f"        {address(self.bdf, PCI)}\n"
            "      </source>\n"
            "    </interface>\n"
        )


@dataclass
class NetworkPool:
    """<interface type='network'> of a hostdev pool: libvirt chooses the function
    after `prepare` and forgets it before `stopped`."""

    bdf: str
    network: str = "pool"
    managed: bool = True

    def xml(self, index, form):
        if form == LIVE:
            return Interface(self.bdf, self.managed).xml(index, form)
        return (
            "    <interface type='network'>\n"
            f"      <mac address='52:54:00:00:02:{index:02x}'/>\n"
            f"      <source network='{self.network}'/>\n"
            "    </interface>\n"
        )


@dataclass
class Nvme:
    """<disk type='nvme'>."""

    bdf: str
    managed: bool = True

    def xml(self, index, form):
        return (
            "    <disk type='nvme' device='disk'>\n"
            "      <driver name='qemu' type='raw'/>\n"
            f"      <source type='pci' managed='{'yes' if self.managed else 'no'}' namespace='1'>\n"
            f"        {address(self.bdf)}\n"
            "      </source>\n"
            f"      <target dev='vd{chr(ord('b') + index)}' bus='virtio'/>\n"
            "    </disk>\n"
        )


@dataclass
class Mdev:
    """<hostdev type='mdev'>; CARD is the function that carries it."""

    uuid: str
    bdf: str
    managed: bool = False

    def xml(self, index, form):
        return (
            "    <hostdev mode='subsystem' type='mdev' managed='no' model='vfio-pci'>\n"
            "      <source>\n"
            f"        <address uuid='{self.uuid}'/>\n"
            "      </source>\n"
            "    </hostdev>\n"
        )


@dataclass
class Usb:
    """<hostdev type='usb'>: a host device, but no PCI function."""

    bdf: str = None
    managed: bool = True

    def xml(self, index, form):
        return (
            "    <hostdev mode='subsystem' type='usb' managed='yes'>\n"
            "      <source>\n"
            "        <vendor id='0x1234'/>\n"
            "        <product id='0xbeef'/>\n"
            "        <address bus='1' device='2'/>\n"
            "      </source>\n"
            "    </hostdev>\n"
        )


@dataclass
class CommandLine:
    """vfio-pci in <qemu:commandline>, which libvirt does not look at."""

    bdf: str
    managed: bool = False

    def xml(self, index, form):
        return ""

    def arguments(self):
        return ["-device", f"vfio-pci,host={self.bdf}"]


@dataclass
class Domain:
    name: str
    devices: list = field(default_factory=list)
    uuid: str = None
    id: int = 1
    metadata: str = ""  # inside of <metadata>

    def __post_init__(self):
        if self.uuid is None:
            self.uuid = str(uuid_module.uuid5(uuid_module.NAMESPACE_DNS, self.name))

    def xml(self, form=PREPARE):
        identity = f" id='{self.id}'" if form != INACTIVE else ""
        arguments = [text for device in self.devices if isinstance(device, CommandLine) for text in device.arguments()]
        namespace = " xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'" if arguments else ""
        metadata = f"  <metadata>\n{self.metadata}  </metadata>\n" if self.metadata else ""
        command_line = ""
        if arguments:
            lines = "".join(f"    <qemu:arg value={quoteattr(text)}/>\n" for text in arguments)
            command_line = f"  <qemu:commandline>\n{lines}  </qemu:commandline>\n"
        return (
            f"<domain type='kvm'{identity}{namespace}>\n"
            f"  <name>{escape(self.name)}</name>\n"
            f"  <uuid>{self.uuid}</uuid>\n"
            f"{metadata}"
            f"{COMMON_HEAD}"
            f"{''.join(device.xml(index, form) for index, device in enumerate(self.devices))}"
            f"{COMMON_TAIL}"
            f"{command_line}"
            "</domain>\n"
        )

    def status_xml(self, pid):
        """The content of /run/libvirt/qemu/NAME.xml."""
        aliases = "".join(f"    <device alias='hostdev{index}'/>\n" for index, _ in enumerate(self.devices))
        body = "".join(f"  {line}\n" for line in self.xml(LIVE).splitlines())
        return (
            "<!--\nWARNING: THIS IS AN AUTO-GENERATED FILE. CHANGES TO IT ARE LIKELY TO BE\n"
            "OVERWRITTEN AND LOST. Changes to this xml configuration should be made using:\n"
            f"  virsh edit {escape(self.name).replace('--', '- -')}\n"
            "or other application using the libvirt API.\n-->\n\n"
            f"<domstatus state='running' reason='booted' pid='{pid}'>\n"
            "  <taint flag='host-cpu'/>\n"
            "  <monitor path='/var/lib/libvirt/qemu/domain-1/monitor.sock' type='unix'/>\n"
            "  <devices>\n"
            f"{aliases}"
            "  </devices>\n"
            f"{body}"
            "</domstatus>\n"
        )


COMMON_HEAD = """\
  <memory unit='KiB'>8388608</memory>
  <currentMemory unit='KiB'>8388608</currentMemory>
  <vcpu placement='static'>8</vcpu>
  <resource>
    <partition>/machine</partition>
  </resource>
  <os>
    <type arch='x86_64' machine='pc-q35-7.2'>hvm</type>
    <boot dev='hd'/>
  </os>
  <features>
    <acpi/>
    <apic/>
  </features>
  <cpu mode='host-passthrough' check='none' migratable='on'/>
  <clock offset='utc'>
    <timer name='rtc' tickpolicy='catchup'/>
  </clock>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='/var/lib/libvirt/images/disk.qcow2' index='1'/>
      <backingStore/>
      <target dev='vda' bus='virtio'/>
      <address type='pci' domain='0x0000' bus='0x03' slot='0x00' function='0x0'/>
    </disk>
    <controller type='pci' index='0' model='pcie-root'/>
    <controller type='pci' index='1' model='pcie-root-port'>
      <model name='pcie-root-port'/>
      <target chassis='1' port='0x10'/>
      <address type='pci' domain='0x0000' bus='0x00' slot='0x02' function='0x0' multifunction='on'/>
    </controller>
    <interface type='network'>
      <mac address='52:54:00:12:34:56'/>
      <source network='default'/>
      <model type='virtio'/>
      <address type='pci' domain='0x0000' bus='0x01' slot='0x00' function='0x0'/>
    </interface>
    <console type='pty'>
      <target type='serial' port='0'/>
    </console>
"""
COMMON_TAIL = """\
    <memballoon model='virtio'>
      <address type='pci' domain='0x0000' bus='0x04' slot='0x00' function='0x0'/>
    </memballoon>
  </devices>
  <seclabel type='dynamic' model='dac' relabel='yes'/>
"""
