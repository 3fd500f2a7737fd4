# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the tests of `icn-hook doctor` share: a healthy host, its whole report, and what a
change of the host makes of it."""

import os
import shutil
import time

import confirmed
from simhost import GUIDE_BDFS, SimHost

HOOK = "/etc/libvirt/hooks/qemu"
NAMES = [f"PPU {ppu} ({bdf})" for ppu, bdf in enumerate(GUIDE_BDFS)]
LIBVIRTD = 4000
HOUR = 3600

HEALTHY = """\
PASS  HOOK-INSTALLED           installed at /etc/libvirt/hooks/qemu
PASS  HOOK-EXECUTABLE          executable
PASS  HOOK-PROTECTED           only root can change it
PASS  HOOK-ENGINE              the program that it starts can be executed
PASS  HOOK-KNOWN               older than libvirtd (pid 4000), which knows of it
PASS  HOOK-WRITES              libvirtd (pid 4000) lets it write to /sys and /run/icn-hook
PASS  CONFIGURATION-SETTINGS   /etc/icn-hook/icn-hook.conf is valid
PASS  CONFIGURATION-PROTECTED  only root can change it
PASS  CONFIGURATION-TOPOLOGY   /etc/icn-hook/icn_topo.cfg is valid
PASS  CONFIGURATION-IDS        [map] pins all 8 ids of the topology
PASS  CONFIGURATION-CONFIRMED  16 of 16 links are confirmed, 0 were down (2025-11-27 09:12 UTC)
PASS  CARDS-PRESENT            8 on the PCI bus
PASS  CARDS-DRIVER             drivers: none 8
PASS  CARDS-REGISTERS          8 registers can be read
PASS  CARDS-LINKS              no link has to be cut
PASS  CARDS-SRIOV              no virtual functions are enabled
PASS  CARDS-GROUP              each in an IOMMU group
PASS  CARDS-ALONE              nothing else in their IOMMU groups blocks passthrough
PASS  CARDS-VIABLE             every IOMMU group offered by vfio is viable
PASS  IOMMU-ON                 the kernel uses 1 IOMMU
PASS  IOMMU-VFIO               vfio-pci is loaded
PASS  IOMMU-SAFE               neither pcie_acs_override nor allow_unsafe_interrupts is set
PASS  SECURITY-LOCKDOWN        the kernel is not locked down
PASS  SECURITY-DEVMEM          iomem=relaxed is not set
PASS  STATE-SOUND              every file can be used; claims: 0
PASS  STATE-IDENTITY           the configuration has the ids and links that are in force
PASS  STATE-CURRENT            no claim left over from a VM that has ended
PASS  STATE-OWN                every claimed card is one of this host
PASS  STATE-DEBTS              no card is owed its links
PASS  STATE-HOLDERS            no card is held open by an unknown process
""".splitlines()


def start_daemon(host, name="libvirtd", pid=LIBVIRTD, ago=-HOUR):
    """A daemon that started AGO seconds ago; below 0: after everything on the host."""
    started = int(time.time()) - ago
    host.write("/proc/stat", f"cpu 1 2 3\nbtime {started - 100}\nprocesses 1\n")
    host.write(f"/proc/{pid}/comm", name + "\n")
    ticks = 100 * os.sysconf("SC_CLK_TCK")
    host.write(f"/proc/{pid}/stat", f"{pid} ({name}) S 1 " + "0 " * 17 + f"{ticks} " + "0 " * 30 + "\n")
    host.write(f"/run/{name}.pid", f"{pid}\n")


def mount(host, pid, *mounts):
    """What process PID sees: (mount point, options) in the order in which they were mounted."""
    lines = [f"{30 + number} 1 0:{20 + number} / {point} {options} shared:1 - sysfs none rw\n"
             for number, (point, options) in enumerate([("/", "rw"), ("/sys", "rw,nosuid"), *mounts])]
    host.write(f"/proc/{pid}/mountinfo", "".join(lines))


def install_hook(host, path=HOOK):
    target = host.path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(host.hook_program, target)
    target.chmod(0o755)
    return target


def healthy_host(root):
    host = SimHost(root)
    host.pin_ids()
    install_hook(host)
    start_daemon(host)
    mount(host, LIBVIRTD)
    confirmed.write(host)
    host.path("/sys/class/iommu/dmar0").mkdir(parents=True)
    host.path("/sys/bus/pci/drivers/vfio-pci").mkdir()
    host.write("/sys/kernel/security/lockdown", "[none] integrity confidentiality\n")
    return host


def lines(host, *arguments, status=0, **environment):
    result = host.engine("doctor", *arguments, **environment)
    assert (result.status, result.stderr) == (status, "")
    return result.stdout.decode().replace(str(host.root), "").splitlines()


def changes(host, *, status=0):
    """What the report lacks of the healthy one, and what it has instead."""
    found = lines(host, status=status)
    return [line for line in HEALTHY if line not in found], [line for line in found if line not in HEALTHY]


def changed(code, text, result, remedy=None):
    """A finding's lines."""
    return [f"{result}  {code:<23}  {text}"] + ([f"{'':31}({remedy})"] if remedy else [])


def healthy_lines(*texts):
    """The healthy report's lines that have one of TEXTS."""
    return [line for line in HEALTHY if any(text in line for text in texts)]
