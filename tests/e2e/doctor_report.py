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
  hook: installed at /etc/libvirt/hooks/qemu                       : PASS
  hook: executable                                                 : PASS
  hook: only root can change it                                    : PASS
  hook: the program that it starts can be executed                 : PASS
  hook: older than libvirtd (pid 4000), which knows of it          : PASS
  configuration: /etc/icn-hook/icn-hook.conf is valid              : PASS
  configuration: only root can change it                           : PASS
  configuration: /etc/icn-hook/icn_topo.cfg is valid               : PASS
  configuration: [map] pins all 8 ids of the topology              : PASS
  configuration: 16 of 16 links are confirmed, 0 were down (2025-11-27 09:12 UTC) : PASS
  cards: 8 on the PCI bus                                          : PASS
  cards: drivers: none 8                                           : PASS
  cards: 8 registers can be read                                   : PASS
  cards: no link has to be cut                                     : PASS
  cards: no virtual functions are enabled                          : PASS
  cards: each in an IOMMU group                                    : PASS
  cards: nothing else in their IOMMU groups blocks passthrough     : PASS
  cards: every IOMMU group offered by vfio is viable               : PASS
  iommu: the kernel uses 1 IOMMU                                   : PASS
  iommu: vfio-pci is loaded                                        : PASS
  iommu: neither pcie_acs_override nor allow_unsafe_interrupts is set : PASS
  security: the kernel is not locked down                          : PASS
  security: iomem=relaxed is not set                               : PASS
  state: every file can be used; claims: 0                         : PASS
  state: the configuration has the ids and links that are in force : PASS
  state: no claim left over from a VM that has ended               : PASS
  state: every claimed card is one of this host                    : PASS
  state: no card is owed its links                                 : PASS
  state: no card is held open by an unknown process                : PASS
""".splitlines()


def start_daemon(host, name="libvirtd", pid=LIBVIRTD, ago=-HOUR):
    """A daemon that started AGO seconds ago; below 0: after everything on the host."""
    started = int(time.time()) - ago
    host.write("/proc/stat", f"cpu 1 2 3\nbtime {started - 100}\nprocesses 1\n")
    host.write(f"/proc/{pid}/comm", name + "\n")
    ticks = 100 * os.sysconf("SC_CLK_TCK")
    host.write(f"/proc/{pid}/stat", f"{pid} ({name}) S 1 " + "0 " * 17 + f"{ticks} " + "0 " * 30 + "\n")
    host.write(f"/run/{name}.pid", f"{pid}\n")


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


def changed(group, text, result, remedy=None):
    """A finding's lines."""
    head = f"  {group}: {text}".ljust(66) + f" : {result}"
    return [head] + ([f"      ({remedy})"] if remedy else [])


def healthy_lines(*texts):
    """The healthy report's lines that have one of TEXTS."""
    return [line for line in HEALTHY if any(text in line for text in texts)]
