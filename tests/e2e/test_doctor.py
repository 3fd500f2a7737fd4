# SPDX-License-Identifier: LGPL-2.1-or-later
"""`icn-hook doctor`: a healthy host whose whole report is compared, then each fault
alone, which changes its own line and no other."""

import os
import shutil

import pytest

from doctor_report import (
    HEALTHY, HOOK, HOUR, LIBVIRTD, NAMES, changed, changes, healthy_host, healthy_lines, install_hook, lines,
    start_daemon,
)
from simhost import GUIDE_BDFS, MAP_FILE, SimHost


@pytest.fixture(name="healthy")
def fixture_healthy(tmp_path):
    return healthy_host(tmp_path / "host")


def test_healthy(healthy):
    assert lines(healthy) == HEALTHY
    assert lines(healthy, "-q") == []
    assert lines(healthy, "--color=never") == HEALTHY


def test_colours(healthy):
    """The words stay the same."""
    healthy.path(HOOK).chmod(0o644)
    found = lines(healthy, "--color=always", status=1)
    assert [line.replace("\33[32mPASS\33[0m", "PASS") for line in found] == [
        line.replace("FAIL", "\33[1;31mFAIL\33[0m") for line in lines(healthy, status=1)
    ]


# Faults.  Each is one (what is done to the host, the healthy lines that vanish, the
# lines that come, the exit status).


def case(name, plant, gone, come, status=0):
    return pytest.param(plant, gone, come, status, id=name)


def shared_group(host, bdf, driver=None):
    host.add_function(bdf, 0x8086, 0x10FB, 0x020000, iommu_group=10, bar_size=4096)
    host.set_driver(bdf, driver)


def add_bridge(host):
    host.add_function("0000:07:00.0", 0x8086, 1, 0x060400, iommu_group=10)
    set_header(host, "0000:07:00.0", 1)


def set_header(host, bdf, kind):
    """KIND 1: a bridge."""
    path = host.device(bdf) / "config"
    header = bytearray(path.read_bytes())
    header[0x0E] = kind
    path.write_bytes(header)


def two_cards_in_a_group(host):
    link = host.device(GUIDE_BDFS[1]) / "iommu_group"
    link.unlink()
    link.symlink_to("../../../kernel/iommu_groups/10")
    members = host.path("/sys/kernel/iommu_groups/10/devices")
    (members / GUIDE_BDFS[1]).symlink_to("somewhere")


def replace_hook(host):
    host.write(HOOK, "#!/bin/sh\nexit 0\n").chmod(0o755)


def move_hook(host):
    host.path(HOOK).unlink()
    install_hook(host, HOOK + ".d/50-icn")


def map_of(bdfs):
    return "[map]\n" + "".join(f"{ppu} = {bdf}\n" for ppu, bdf in enumerate(bdfs))


def vanish(host):
    (host.device(GUIDE_BDFS[3]) / "config").write_bytes(b"\xff" * 256)
    host.write_register(3, 0xFFFFFFFF)


def set_bar(host, ppu, start, flags):
    path = host.device(GUIDE_BDFS[ppu]) / "resource"
    others = path.read_text().splitlines(keepends=True)[1:]
    path.write_text(f"0x{start:016x} 0x{start + (4 << 20) - 1:016x} 0x{flags:016x}\n" + "".join(others))


def claim_bar(host):
    set_bar(host, 3, 0x380000000000, 0x40200)
    host.write("/proc/iomem", f"380000000000-3800003fffff : {GUIDE_BDFS[3]}\n  380000000000-3800000fffff : efifb\n")


def lose_register(host):
    (host.device(GUIDE_BDFS[3]) / "resource0").unlink()


def unload_vfio(host):
    host.path("/sys/bus/pci/drivers/vfio-pci").rmdir()


def install_vfio(host):
    unload_vfio(host)
    host.write("/proc/sys/kernel/osrelease", "6.1.0-1-amd64\n")
    host.write("/lib/modules/6.1.0-1-amd64/modules.dep", "kernel/drivers/vfio/pci/vfio-pci.ko: kernel/x.ko\n")


def damage_state(host):
    host.path("/run/icn-hook").mkdir(mode=0o700)
    host.write("/run/icn-hook/00000000-0000-4000-8000-000000000001.json", "{")


def damage_memory(host):
    host.path("/run/icn-hook").mkdir(mode=0o700)
    host.write("/run/icn-hook/cards.json", "{")


def leave_file(host):
    host.path("/run/icn-hook").mkdir(mode=0o700)
    host.write("/run/icn-hook/x", "")


def note(host):
    host.path("/run/icn-hook").mkdir(mode=0o700)
    host.write(f"/run/icn-hook/enabled-{GUIDE_BDFS[2]}", "")


def ppudbg_backend(host, mode=0o755, text="#!/bin/sh\necho fine\n"):
    host.write("/usr/bin/ppudbg", text).chmod(mode)
    host.configure("[registers]\nbackend = ppudbg\n" + map_of(GUIDE_BDFS))


def confine(host):
    host.write(f"/proc/{LIBVIRTD}/attr/current", "libvirtd (enforce)\n")


def confine_with_ppudbg_in_opt(host):
    confine(host)
    host.write("/opt/vendor/ppudbg", "#!/bin/sh\necho fine\n").chmod(0o755)
    host.configure("[registers]\nbackend = ppudbg\n[ppudbg]\npath = /opt/vendor/ppudbg\n" + map_of(GUIDE_BDFS))


def confine_with_engine_in_opt(host):
    confine(host)
    hook = host.path(HOOK)
    program = hook.read_bytes()
    assert program.count(b"\0/usr/bin/icn-hook\0") == 1
    hook.write_bytes(program.replace(b"\0/usr/bin/icn-hook\0", b"\0/opt/bin/icn-hook\0"))
    os.utime(hook, (1, 1))


def not_confirmed(was, now):
    text = f"something has changed since icn-hook confirm ran (it was '{was}' and is '{now}' now): run it again"
    return changed("CONFIGURATION-CONFIRMED", text, "WARN")


def no_registers_read():
    return changed("CARDS-REGISTERS",
                   "PPUs 0-7: backend ppudbg cannot read single registers; set backend = mmio to verify them",
                   "WARN", "it is read when a VM starts; --probe CARD tries an idle card")


def hold_card(host):
    host.set_driver(GUIDE_BDFS[4], "vfio-pci")
    host.hold(GUIDE_BDFS[4])
    host.set_masks(host.topology.required_masks({4: {"somebody"}}))


def hold_card_by(host, device):
    """Process 77 has DEVICE open."""
    hold_card(host)
    host.write("/proc/77/comm", "cloud-hyperv\n")
    files = host.path("/proc/77/fd")
    files.mkdir()
    (files / "9").symlink_to(f"/dev/vfio/{device}")


def hold_through_iommufd(host):
    (host.device(GUIDE_BDFS[4]) / "vfio-dev/vfio3").mkdir(parents=True)
    hold_card_by(host, "devices/vfio3")


def hold_all(host):
    for bdf in GUIDE_BDFS:
        host.set_driver(bdf, "vfio-pci")
        host.hold(bdf)


HELD = healthy_lines("none 8", "8 registers", "has to be cut", "unknown process")


def held(by, remedy):
    return (
        changed("CARDS-DRIVER", "drivers: none 7, vfio-pci 1", "PASS")
        + changed("CARDS-REGISTERS", "registers that can be read: 7; cards in use: 1", "PASS")
        + changed("CARDS-LINKS", "links that must be cut: 4 (proven 4, gated 0)", "PASS")
        + changed("STATE-HOLDERS", f"{NAMES[4]}: open through vfio by {by}", "WARN", remedy)
    )


FAULTS = [
    case("no hook", lambda host: host.path(HOOK).unlink(), healthy_lines("HOOK-"),
         changed("HOOK-INSTALLED", "not installed in /etc/libvirt/hooks", "FAIL",
                 "install icn-hook; until then VMs start with all links open"), 1),
    case("another hook", replace_hook, healthy_lines("HOOK-"),
         changed("HOOK-INSTALLED", "/etc/libvirt/hooks/qemu is another program, and ours is not in qemu.d", "FAIL",
                 "put icn-hook's hook program into /etc/libvirt/hooks/qemu.d, or call it from there"), 1),
    case("in qemu.d", move_hook, healthy_lines("HOOK-INSTALLED"),
         changed("HOOK-INSTALLED", "installed at /etc/libvirt/hooks/qemu.d/50-icn", "PASS")),
    case("twice", lambda host: install_hook(host, HOOK + ".d/50-icn"), [],
         changed("HOOK-ONCE", "2 hooks in /etc/libvirt/hooks/qemu* call icn-hook", "WARN", "remove all but one")),
    case("not executable", lambda host: host.path(HOOK).chmod(0o644), healthy_lines("HOOK-EXECUTABLE"),
         changed("HOOK-EXECUTABLE", "not executable: libvirt skips it and starts VMs with all links open", "FAIL",
                 "chmod 0755 /etc/libvirt/hooks/qemu"), 1),
    case("executable by root", lambda host: host.path(HOOK).chmod(0o700), healthy_lines("HOOK-EXECUTABLE"),
         changed("HOOK-EXECUTABLE", "not executable by everybody: no VM of qemu:///session can start", "WARN",
                 "chmod 0755 /etc/libvirt/hooks/qemu")),
    case("writable hook", lambda host: host.path(HOOK).chmod(0o775), healthy_lines("HOOK-PROTECTED"),
         changed("HOOK-PROTECTED", "users other than root can change it", "FAIL",
                 "chown root: /etc/libvirt/hooks/qemu; chmod 0755 /etc/libvirt/hooks/qemu"), 1),
    case("newer than the daemon", lambda host: start_daemon(host, ago=HOUR), healthy_lines("older than"),
         changed("HOOK-KNOWN", "changed after libvirtd (pid 4000) started, which may not know of it", "WARN",
                 "systemctl reload libvirtd, unless that was done since")),
    case("no boot time", lambda host: host.write("/proc/stat", "cpu 1\n"), healthy_lines("older than"),
         changed("HOOK-KNOWN", "when libvirtd (pid 4000) looked for hooks is not known", "WARN",
                 "systemctl reload libvirtd, unless that was done since")),
    case("no pid file", lambda host: host.path("/run/libvirtd.pid").unlink(), [], []),
    case("no daemon", lambda host: shutil.rmtree(host.path("/proc/4000")), healthy_lines("older than", "HOOK-WRITES"),
         changed("HOOK-KNOWN", "neither libvirtd nor virtqemud is running; they will find it when they start", "WARN",
                 "start libvirt")),
    case("writable settings", lambda host: host.path("/etc/icn-hook/icn-hook.conf").chmod(0o666),
         healthy_lines("CONFIGURATION-PROTECTED"),
         changed("CONFIGURATION-PROTECTED", "users other than root can change /etc/icn-hook/icn-hook.conf", "FAIL",
                 "chown root: it, and chmod 0644"), 1),
    case("writable drop-in", lambda host: host.path(MAP_FILE).chmod(0o664), healthy_lines("CONFIGURATION-PROTECTED"),
         changed("CONFIGURATION-PROTECTED", f"users other than root can change {MAP_FILE}", "FAIL",
                 "chown root: it, and chmod 0644"), 1),
    case("writable drop-ins", lambda host: host.path(MAP_FILE).parent.chmod(0o777),
         healthy_lines("CONFIGURATION-PROTECTED"),
         changed("CONFIGURATION-PROTECTED", "users other than root can change /etc/icn-hook/icn-hook.conf.d", "FAIL",
                 "chown root: it, and chmod 0755"), 1),
    case("writable topology", lambda host: host.path("/etc/icn-hook/icn_topo.cfg").chmod(0o646),
         healthy_lines("CONFIGURATION-PROTECTED"),
         changed("CONFIGURATION-PROTECTED", "users other than root can change /etc/icn-hook/icn_topo.cfg", "FAIL",
                 "chown root: it, and chmod 0644"), 1),
    case("no settings", lambda host: host.path("/etc/icn-hook/icn-hook.conf").unlink(),
         healthy_lines("icn-hook.conf"),
         changed("CONFIGURATION-SETTINGS", "no /etc/icn-hook/icn-hook.conf: the defaults hold", "PASS")),
    case("no map", lambda host: host.map_ids({}),
         healthy_lines("[map]", "are confirmed", "CARDS-", "STATE-"),
         changed("CONFIGURATION-IDS", "no [map] in the configuration says which card is which PPU; run icn-hook setup",
                 "FAIL",
                 "until then no VM with cards can start"), 1),
    case("nothing yet", lambda host: [host.map_ids({}), host.path("/etc/icn-hook/icn_topo.cfg").unlink()],
         healthy_lines("icn_topo.cfg", "[map]", "are confirmed", "CARDS-", "STATE-"),
         changed("CONFIGURATION-TOPOLOGY", "cannot open /etc/icn-hook/icn_topo.cfg: No such file or directory", "FAIL",
                 "take it from a host of the same model, or write it with icn-hook setup")
         + changed("CONFIGURATION-IDS",
                   "no [map] in the configuration says which card is which PPU; run icn-hook setup",
                   "FAIL", "until then no VM with cards can start"), 1),
    case("bad settings", lambda host: host.configure("[ppu]\nfoo = 1\n"),
         healthy_lines(" is valid", "[map]", "are confirmed", "CARDS-", "STATE-"),
         changed("CONFIGURATION-SETTINGS",
                 "/etc/icn-hook/icn-hook.conf:2: unknown key \"foo\" in [ppu], whose keys are match, "
                 "topology; correct the configuration", "FAIL",
                 "correct it; until then no VM with cards can start"), 1),
    case("no topology", lambda host: host.path("/etc/icn-hook/icn_topo.cfg").unlink(),
         healthy_lines("icn_topo.cfg", "[map]", "are confirmed", "CARDS-", "STATE-"),
         changed("CONFIGURATION-TOPOLOGY", "cannot open /etc/icn-hook/icn_topo.cfg: No such file or directory", "FAIL",
                 "take it from a host of the same model, or write it with icn-hook setup"), 1),
    case("ids missing", lambda host: host.configure(map_of(GUIDE_BDFS[:7])),
         healthy_lines("[map]", "are confirmed", "8 on the", "none 8", "8 registers"),
         changed("CONFIGURATION-IDS", "[map] pins 7 of the topology's 8 ids", "WARN", "add lines to [map]")
         + changed("CONFIGURATION-PINS", "0001:ce:00.0 matches :6001 and has no id: no VM can take it", "WARN",
                   "give it its id in [map]")
         + not_confirmed("PPU 7 = 0001:ce:00.0", "PPU 7 = no card")
         + changed("CARDS-PRESENT", "7 on the PCI bus", "PASS") + changed("CARDS-DRIVER", "drivers: none 7", "PASS")
         + changed("CARDS-REGISTERS", "7 registers can be read", "PASS")),
    case("absent", lambda host: host.remove_function(GUIDE_BDFS[3]),
         healthy_lines("8 on the", "none 8", "8 registers"),
         changed("CARDS-PRESENT", f"{NAMES[3]}: not on the PCI bus", "FAIL",
                 "check that it is plugged in and powered, or correct [map]")
         + changed("CARDS-DRIVER", "drivers: none 7", "PASS") + changed("CARDS-REGISTERS", "7 registers can be read",
                                                                        "PASS"), 1),
    case("drivers", lambda host: [host.set_driver(bdf, "ppu") for bdf in GUIDE_BDFS[1:3]],
         healthy_lines("none 8", "8 registers"),
         changed("CARDS-DRIVER", "drivers: none 6, ppu 2", "PASS")
         + changed("CARDS-REGISTERS",
                   "PPUs 1-2: resource0 cannot be mapped now: a driver or QEMU holds the card's registers "
                   "(EINVAL)", "WARN", "it is read when a VM starts; --probe CARD tries an idle card")),
    case("off the bus", vanish, healthy_lines("8 registers"),
         changed("CARDS-REGISTERS",
                 f"{NAMES[3]}: the register reads all ones: the card is off the bus or powered down; "
                 "reset it or replace it", "FAIL", "no VM can take it before it answers"), 1),
    case("no resource", lose_register, healthy_lines("8 registers"),
         changed("CARDS-REGISTERS",
                 f"{NAMES[3]}: resource0 is missing: the card has no such BAR; check bar in [registers]",
                 "FAIL", "no VM can take it before that is corrected"), 1),
    case("BAR without address", lambda host: set_bar(host, 3, 0, 0x40200), healthy_lines("8 registers"),
         changed("CARDS-REGISTERS",
                 f"{NAMES[3]}: BAR 0 has no address: the kernel found no room for it; see dmesg, or set bar in "
                 "[registers]", "FAIL", "no VM can take it before that is corrected"), 1),
    case("I/O BAR", lambda host: set_bar(host, 3, 0xE000, 0x40101), healthy_lines("8 registers"),
         changed("CARDS-REGISTERS", f"{NAMES[3]}: BAR 0 is an I/O BAR; set bar in [registers]", "FAIL",
                 "no VM can take it before that is corrected"), 1),
    case("short BAR", lambda host: os.truncate(host.device(GUIDE_BDFS[3]) / "resource0", 4096),
         healthy_lines("8 registers"),
         changed("CARDS-REGISTERS",
                 f"{NAMES[3]}: resource0 has 4096 bytes, too few for the register at 0x2f8e08; check bar, "
                 "link_config and stride in [registers]", "FAIL", "no VM can take it before that is corrected"), 1),
    case("BAR claimed", claim_bar, healthy_lines("8 registers"),
         changed("CARDS-REGISTERS",
                 f"{NAMES[3]}: resource0 cannot be mapped: 'efifb' has claimed the BAR (/proc/iomem), not a "
                 "driver of the card; keep it off the card (a boot framebuffer: boot with initcall_blacklist=sysfb_init)",
                 "FAIL", "no VM can take it before that is corrected"), 1),
    case("wrong BAR", lambda host: [host.write_register(3, 0xFFFFFFFF, register) for register in (0xBE382, 0xBE383)],
         healthy_lines("8 registers"),
         changed("CARDS-REGISTERS", f"{NAMES[3]}: all registers read all ones, though the card is on the bus; check bar, "
                 "link_config, link_status and stride in [registers], or reset the card", "FAIL",
                 "no VM can take it before that is corrected"), 1),
    case("all links cut", lambda host: host.write_register(3, 0xFFFFFFFF), [], []),
    case("decoding off", lambda host: [host.set_memory_decoding(bdf, False) or host.write_register(ppu, 0xFFFFFFFF)
                                       for ppu, bdf in enumerate(GUIDE_BDFS) if ppu in (1, 2, 3, 6)],
         healthy_lines("8 registers"),
         changed("CARDS-REGISTERS", "PPUs 1-3,6: memory decoding is off", "WARN",
                 "it is read when a VM starts; --probe CARD tries an idle card")),
    case("virtual functions", lambda host: host.add_vf(5), healthy_lines("no virtual"),
         changed("CARDS-SRIOV", f"{NAMES[5]}: 1 virtual functions are enabled", "WARN",
                 "echo 0 into its sriov_numvfs before it is passed as a whole")),
    case("virtual functions of a driver", lambda host: [host.add_vf(5), host.set_driver(GUIDE_BDFS[5], "ppu")],
         healthy_lines("none 8", "8 registers", "no virtual"),
         changed("CARDS-DRIVER", "drivers: none 7, ppu 1", "PASS")
         + changed("CARDS-REGISTERS", f"{NAMES[5]}: resource0 cannot be mapped now: a driver or QEMU holds the card's registers "
                   "(EINVAL)", "WARN", "it is read when a VM starts; --probe CARD tries an idle card")
         + changed("CARDS-SRIOV", f"{NAMES[5]}: 1 virtual functions are enabled, and no VM can take one: driver ppu keeps the "
                   "registers", "WARN",
                   "set backend = ppudbg in [registers]; to pass it as a whole, echo 0 into its sriov_numvfs")),
    case("no group", lambda host: [(host.device(bdf) / "iommu_group").unlink() for bdf in GUIDE_BDFS],
         healthy_lines("each in an"),
         changed("CARDS-GROUP", "PPUs 0-7: in no IOMMU group", "FAIL",
                 "switch the IOMMU on in the firmware; on Intel also boot with intel_iommu=on"), 1),
    case("a driver in the group", lambda host: shared_group(host, "0000:08:00.1", "ixgbe"),
         healthy_lines("nothing else in"),
         changed("CARDS-ALONE", f"{NAMES[0]}: 0000:08:00.1 with driver ixgbe is in its IOMMU group 10 too", "WARN",
                 "bind it to vfio-pci, or pass it to the same VM")),
    case("vfio in the group", lambda host: shared_group(host, "0000:08:00.1", "vfio-pci"), [], []),
    case("a bridge in the group", lambda host: add_bridge(host), [], []),
    case("two cards in a group", two_cards_in_a_group, healthy_lines("nothing else in"),
         changed("CARDS-ALONE", f"{NAMES[0]}: PPU 1 is in its IOMMU group 10 too", "WARN",
                 "give both to the same VM, or move one to another slot")
         + changed("CARDS-ALONE", f"{NAMES[1]}: PPU 0 is in its IOMMU group 10 too", "WARN",
                   "give both to the same VM, or move one to another slot")),
    case("no IOMMU", lambda host: shutil.rmtree(host.path("/sys/class/iommu")), healthy_lines("1 IOMMU"),
         changed("IOMMU-ON", "the kernel uses no IOMMU", "FAIL",
                 "switch it on in the firmware; on Intel also boot with intel_iommu=on"), 1),
    case("no vfio", unload_vfio, healthy_lines("vfio-pci is"),
         changed("IOMMU-VFIO", "vfio-pci is neither loaded nor installed", "FAIL",
                 "install the kernel's modules; modprobe vfio-pci"), 1),
    case("vfio installed", install_vfio, healthy_lines("vfio-pci is"),
         changed("IOMMU-VFIO", "vfio-pci is available", "PASS")),
    case("unsafe interrupts",
         lambda host: host.write("/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", "Y\n"),
         healthy_lines("pcie_acs_override"),
         changed("IOMMU-SAFE", "vfio lets guests forge interrupts (allow_unsafe_interrupts)", "WARN",
                 "take allow_unsafe_interrupts=1 out of modprobe.d")),
    case("ACS override", lambda host: host.write("/proc/cmdline", "quiet pcie_acs_override=downstream\n"),
         healthy_lines("pcie_acs_override"),
         changed("IOMMU-SAFE", "IOMMU groups are split by force (pcie_acs_override)", "WARN",
                 "boot without pcie_acs_override")),
    case("lockdown", lambda host: host.write("/sys/kernel/security/lockdown", "none [integrity] confidentiality\n"),
         healthy_lines("not locked"),
         changed("SECURITY-LOCKDOWN", "the kernel is locked down: no register can be mapped", "FAIL",
                 "boot without lockdown (often: Secure Boot off)"), 1),
    case("relaxed", lambda host: host.write("/proc/cmdline", "quiet iomem=relaxed\n"), healthy_lines("iomem"),
         changed("SECURITY-DEVMEM", "registers of cards in use are open to every root process", "WARN",
                 "boot without iomem=relaxed")),
    case("AppArmor", confine, [], changed("SECURITY-APPARMOR", "libvirtd's AppArmor profile lets hooks run", "PASS")),
    case("AppArmor, ppudbg elsewhere", confine_with_ppudbg_in_opt, healthy_lines("are confirmed", "8 registers"),
         not_confirmed("backend = mmio", "backend = ppudbg") + no_registers_read()
         + changed("PPUDBG-INSTALLED", "/opt/vendor/ppudbg can be executed", "PASS")
         + changed("PPUDBG-PROTECTED", "only root can change it", "PASS")
         + changed("PPUDBG-ANSWERS", "ppudbg --topo_read answers", "PASS")
         + changed("SECURITY-APPARMOR", "libvirtd's AppArmor profile lets hooks run", "PASS")),
    case("AppArmor, engine elsewhere", confine_with_engine_in_opt, healthy_lines("the program that it starts"),
         changed("HOOK-ENGINE", "libvirtd's AppArmor profile does not let it start /opt/bin/icn-hook", "FAIL",
                 "add the line `/opt/bin/icn-hook PUx,` to /etc/apparmor.d/local/usr.sbin.libvirtd, "
                 "and reload the profile")
         + changed("SECURITY-APPARMOR", "libvirtd's AppArmor profile lets hooks run", "PASS"), 1),
    case("SELinux", lambda host: host.write("/sys/fs/selinux/enforce", "1"), [],
         changed("SECURITY-SELINUX", "SELinux is enforced, and the hook is not labelled virt_hook_t", "WARN",
                 "restorecon -v /etc/libvirt/hooks/qemu")),
    case("open state", lambda host: host.path("/run/icn-hook").mkdir() or host.path("/run/icn-hook").chmod(0o777),
         healthy_lines("CARDS-", "STATE-"),
         changed("STATE-READABLE", "/run/icn-hook is writable by others (mode 0777); find out what changed it and move it "
                 "away", "FAIL", "correct that; until then no VM with cards can start"), 1),
    case("damaged claim", damage_state, healthy_lines("claims: 0"),
         changed("STATE-SOUND", "/run/icn-hook/00000000-0000-4000-8000-000000000001.json: it is cut short; "
                 "run: icn-hook repair", "FAIL", "icn-hook repair"), 1),
    case("damaged memory", damage_memory, healthy_lines("claims: 0"),
         changed("STATE-SOUND", "/run/icn-hook/cards.json: it is cut short; run: icn-hook repair", "FAIL",
                 "icn-hook repair"), 1),
    case("a file of others", leave_file, healthy_lines("claims: 0"),
         changed("STATE-SOUND", "/run/icn-hook/x does not belong to icn-hook; find out what made it and move it away", "WARN",
                 "it is ignored")),
    case("note", note, [],
         changed("STATE-NOTES", "a killed hook left 0000:a2:00.0 enabled", "WARN",
                 "the next start or stop of a VM with cards switches it off, or icn-hook repair")),
    case("status file", lambda host: host.write("/run/libvirt/qemu/x.xml", "<domstatus"), [],
         changed("STATE-STATUS", "/run/libvirt/qemu/x.xml: line 1: not well-formed XML: "
                 "Couldn't find end of Start Tag domstatus; its VM, and the cards that it has, are not known", "WARN",
                 "restart that VM, or libvirtd")),
    case("unknown holder", hold_card, HELD,
         held("a process that is not a known VM",
              "fuser -v /dev/vfio/* /dev/vfio/devices/* as root names the process")),
    case("a stranger", lambda host: hold_card_by(host, "14"), HELD,
         held("process 77 (cloud-hyperv), which is not a known VM", "end it, if it should not have the card")),
    case("a stranger with iommufd", hold_through_iommufd, HELD,
         held("process 77 (cloud-hyperv), which is not a known VM", "end it, if it should not have the card")),
    case("every card held", hold_all, HELD,
         changed("CARDS-DRIVER", "drivers: vfio-pci 8", "PASS")
         + changed("CARDS-REGISTERS", "no register can be read now: every card is in use, or absent", "WARN",
                   "icn-hook check shows what was read back when their VMs started")
         + changed("CARDS-LINKS", "PPUs 0-7: links that must be cut, and nothing shows that they are", "WARN",
                   "icn-hook check names them; restart the VM to have them verified")
         + changed("STATE-HOLDERS", "PPUs 0-7: open through vfio by a process that is not a known VM", "WARN",
                   "fuser -v /dev/vfio/* /dev/vfio/devices/* as root names the process")),
    case("ppudbg", ppudbg_backend, healthy_lines("are confirmed", "8 registers"),
         not_confirmed("backend = mmio", "backend = ppudbg") + no_registers_read()
         + changed("PPUDBG-INSTALLED", "/usr/bin/ppudbg can be executed", "PASS")
         + changed("PPUDBG-PROTECTED", "only root can change it", "PASS")
         + changed("PPUDBG-ANSWERS", "ppudbg --topo_read answers", "PASS")),
    case("ppudbg fails", lambda host: ppudbg_backend(host, text="#!/bin/sh\necho no driver; exit 3\n"),
         healthy_lines("are confirmed", "8 registers"),
         not_confirmed("backend = mmio", "backend = ppudbg") + no_registers_read()
         + changed("PPUDBG-INSTALLED", "/usr/bin/ppudbg can be executed", "PASS")
         + changed("PPUDBG-PROTECTED", "only root can change it", "PASS")
         + changed("PPUDBG-ANSWERS", "ppudbg --topo_read: /usr/bin/ppudbg ended with exit status 3: no driver", "FAIL",
                   "ppudbg --topo_read needs the vendor's driver"), 1),
    case("ppudbg missing", lambda host: host.configure("[registers]\nbackend = ppudbg\n" + map_of(GUIDE_BDFS)),
         healthy_lines("are confirmed", "8 registers"),
         not_confirmed("backend = mmio", "backend = ppudbg") + no_registers_read()
         + changed("PPUDBG-INSTALLED", "/usr/bin/ppudbg, which is to write the registers, is not there", "FAIL",
                   "install it, or set path in [ppudbg]"), 1),
    case("ppudbg lies there", lambda host: host.write("/usr/bin/ppudbg", "").chmod(0o644), [],
         changed("PPUDBG-INSTALLED", "/usr/bin/ppudbg cannot be executed", "WARN", "chmod 0755 it")),
    case("ppudbg writable", lambda host: ppudbg_backend(host, mode=0o777), healthy_lines("are confirmed", "8 registers"),
         not_confirmed("backend = mmio", "backend = ppudbg") + no_registers_read()
         + changed("PPUDBG-INSTALLED", "/usr/bin/ppudbg can be executed", "PASS")
         + changed("PPUDBG-PROTECTED", "users other than root can change what root runs", "FAIL",
                   "chown root: it, and chmod 0755")
         + changed("PPUDBG-ANSWERS", "ppudbg --topo_read answers", "PASS"), 1),
]


@pytest.mark.parametrize("plant, gone, come, status", FAULTS)
def test_fault(healthy, plant, gone, come, status):
    plant(healthy)
    assert changes(healthy, status=status) == (gone, come)


# JSON, other hosts


def test_json(healthy):
    result = healthy.engine("doctor", "--json")
    report = result.json()
    assert (result.status, report["schema"], report["ok"]) == (0, "icn-hook/doctor/1", True)
    assert [changed(found["code"], found["text"], found["result"].upper())[0] for found in report["checks"]] == HEALTHY
    assert [f"{found['group']}-{found['check']}".upper() for found in report["checks"]] == [
        found["code"] for found in report["checks"]
    ]
    assert {found["remedy"] for found in report["checks"]} == {None}
    healthy.path(HOOK).chmod(0o644)
    result = healthy.engine("doctor", "--json", "--quiet")
    assert (result.status, result.json()) == (
        1,
        {
            "schema": "icn-hook/doctor/1",
            "ok": False,
            "checks": [
                {
                    "code": "HOOK-EXECUTABLE",
                    "group": "hook",
                    "check": "executable",
                    "result": "fail",
                    "text": "not executable: libvirt skips it and starts VMs with all links open",
                    "remedy": "chmod 0755 /etc/libvirt/hooks/qemu",
                }
            ],
        },
    )


def test_a_host_with_nothing(tmp_path, healthy):
    (tmp_path / "nothing").mkdir()
    result = healthy.engine("doctor", "-q", ICN_SYSROOT=str(tmp_path / "nothing"))
    assert (result.status, result.stderr) == (1, "")
    assert [line for line in result.stdout.decode().splitlines() if line.startswith("FAIL ")] == [
        changed("HOOK-INSTALLED", "not installed in /etc/libvirt/hooks", "FAIL")[0],
        changed("CONFIGURATION-TOPOLOGY", f"cannot open {tmp_path}/nothing/etc/icn-hook/icn_topo.cfg: "
                "No such file or directory", "FAIL")[0],
        changed("CONFIGURATION-IDS", "no [map] in the configuration says which card is which PPU; run icn-hook setup", "FAIL")[0],
        changed("IOMMU-ON", "the kernel uses no IOMMU", "FAIL")[0],
        changed("IOMMU-VFIO", "vfio-pci is neither loaded nor installed", "FAIL")[0],
    ]


def test_many_cards(tmp_path):
    """One line a check, however many cards there are."""
    host = SimHost(tmp_path / "host", cards=128)
    host.pin_ids()
    for bdf in host.bdfs[3:7] + host.bdfs[100:]:
        (host.device(bdf) / "iommu_group").unlink()
    found = lines(host, status=1)
    assert changed("CARDS-PRESENT", "128 on the PCI bus", "PASS")[0] in found
    assert changed("CARDS-GROUP", "PPUs 3-6,100-127: in no IOMMU group", "FAIL")[0] in found
    assert len(found) < 40
