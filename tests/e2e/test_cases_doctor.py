# SPDX-License-Identifier: LGPL-2.1-or-later
"""Cases on which doctor misjudged a host: what it looks at, whom it names, what it advises.
Each with the good host beside it, whose report is the healthy one."""

import os
import shutil

import pytest

from bystander import vm
from doctor_report import (
    HOOK, LIBVIRTD, NAMES, changed, changes, healthy_host, healthy_lines, install_hook, lines, mount, start_daemon,
)
from domain_xml import PREPARE, Domain, Hostdev
from libvirt_player import Libvirt
from simhost import GUIDE_BDFS

LABEL = b"system_u:object_r:virt_hook_t:s0\0"


@pytest.fixture(name="healthy")
def fixture_healthy(tmp_path):
    return healthy_host(tmp_path / "host")


def line(host, code, status=0):
    """The report's lines of CODE, and the remedies below them."""
    found, keep = [], False
    for text in lines(host, status=status):
        keep = text[6:].startswith(code + " ") if text[:4].strip() else keep
        if keep:
            found.append(text)
    return found


def dispatcher(host):
    host.write(HOOK, "#!/bin/sh\nexec run-parts /etc/libvirt/hooks/qemu.d/$1/$2\n").chmod(0o755)


def test_e1_directories_of_a_dispatcher_are_not_hidden_hooks(healthy):
    """Root may look at everything, and ours is nowhere."""
    dispatcher(healthy)
    healthy.write(HOOK + ".d/guest1/prepare/begin/start.sh", "#!/bin/sh\nicn-hook\n").chmod(0o755)
    assert line(healthy, "HOOK-INSTALLED", 1) == changed(
        "HOOK-INSTALLED", "/etc/libvirt/hooks/qemu is another program, and ours is not in qemu.d", "FAIL",
        "put icn-hook's hook program into /etc/libvirt/hooks/qemu.d, or call it from there",
    )
    install_hook(healthy, HOOK + ".d/icn-hook")
    assert changes(healthy)[1] == changed("HOOK-INSTALLED", f"installed at {HOOK}.d/icn-hook", "PASS")


@pytest.mark.parametrize("kind", ["directory", "link to nowhere"])
def test_e1_what_is_no_file_is_not_hidden(healthy, kind):
    healthy.path(HOOK).unlink()
    if kind == "directory":
        healthy.path(HOOK).mkdir()
    else:
        healthy.path(HOOK).symlink_to("nowhere")
    assert line(healthy, "HOOK-INSTALLED", 1)[0].startswith("FAIL ")


def label(host, path):
    try:
        os.setxattr(host.path(path), "security.selinux", LABEL)
    except OSError:
        pytest.skip("only root can label files")


@pytest.mark.parametrize("labelled", ["ours", "the other"])
def test_e2_selinux_judges_the_hook_that_is_ours(healthy, labelled):
    dispatcher(healthy)
    install_hook(healthy, HOOK + ".d/icn-hook")
    healthy.write("/sys/fs/selinux/enforce", "1")
    label(healthy, HOOK + ".d/icn-hook" if labelled == "ours" else HOOK)
    expected = changed("SECURITY-SELINUX", "SELinux is enforced, and the hook has its label", "PASS")
    if labelled != "ours":
        expected = changed("SECURITY-SELINUX", "SELinux is enforced, and the hook is not labelled virt_hook_t", "WARN",
                           f"restorecon -v {HOOK}.d/icn-hook")
    assert line(healthy, "SECURITY-SELINUX") == expected


@pytest.mark.parametrize("class_code", [0x068000, 0x060100, 0x060400])
def test_e3_the_header_says_what_is_a_bridge(healthy, class_code):
    """The kernel does not look at the class."""
    bdf = "0000:07:00.0"
    healthy.add_function(bdf, 0x8086, 1, class_code, iommu_group=10)
    healthy.set_driver(bdf, "lpc_ich")
    assert line(healthy, "CARDS-ALONE") == changed(
        "CARDS-ALONE", f"{NAMES[0]}: {bdf} with driver lpc_ich is in its IOMMU group 10 too", "WARN",
        "bind it to vfio-pci, or pass it to the same VM",
    )
    path = healthy.device(bdf) / "config"
    space = bytearray(path.read_bytes())
    space[0x0E] = 0x81
    path.write_bytes(space)
    assert changes(healthy) == ([], [])


def virtqemud(host, confined):
    """It runs instead of libvirtd."""
    shutil.rmtree(host.path(f"/proc/{LIBVIRTD}"))
    host.path("/run/libvirtd.pid").unlink()
    start_daemon(host, "virtqemud", 4001)
    if confined:
        host.write("/proc/4001/attr/current", "virtqemud (enforce)\n")


def engine_in_opt(host):
    program = host.path(HOOK).read_bytes()
    host.path(HOOK).write_bytes(program.replace(b"\0/usr/bin/icn-hook\0", b"\0/opt/bin/icn-hook\0"))


def test_e4_the_profile_is_that_of_the_daemon(healthy):
    engine_in_opt(healthy)
    virtqemud(healthy, confined=True)
    assert line(healthy, "HOOK-ENGINE", 1) == changed(
        "HOOK-ENGINE", "virtqemud's AppArmor profile does not let it start /opt/bin/icn-hook", "FAIL",
        "add the line `/opt/bin/icn-hook PUx,` to /etc/apparmor.d/local/usr.sbin.virtqemud, and reload the profile",
    )
    assert line(healthy, "SECURITY-APPARMOR", 1) == changed(
        "SECURITY-APPARMOR", "virtqemud's AppArmor profile lets hooks run", "PASS"
    )
    healthy.write("/proc/4001/attr/current", "unconfined\n")
    assert line(healthy, "HOOK-ENGINE") == healthy_lines("HOOK-ENGINE")
    assert line(healthy, "SECURITY-APPARMOR") == []


@pytest.mark.parametrize("directory, runs", [("/usr/libexec/icn-hook", False), ("/usr/bin", True)])
def test_e4_a_profile_judges_a_link_by_its_target(healthy, directory, runs):
    install_hook(healthy, f"{directory}/qemu")
    healthy.path(HOOK).unlink()
    healthy.path(HOOK).symlink_to(f"../../..{directory}/qemu")
    start_daemon(healthy)
    assert line(healthy, "SECURITY-APPARMOR") == []
    healthy.write(f"/proc/{LIBVIRTD}/attr/current", "libvirtd (enforce)\n")
    expected = changed("SECURITY-APPARMOR", "libvirtd's AppArmor profile lets hooks run", "PASS")
    if not runs:
        expected = changed(
            "SECURITY-APPARMOR",
            f"{HOOK} is a link to {directory}/qemu, and libvirtd's AppArmor profile does not let that run", "FAIL",
            "put a copy in its place: no VM can start before that, and libvirt says `Permission denied`",
        )
    assert line(healthy, "SECURITY-APPARMOR", 0 if runs else 1) == expected


def test_e5_a_virtual_function_of_a_driver_that_stays(healthy):
    """The plan refuses what the start would, and both name the way out."""
    function = healthy.add_vf(5)
    domain = Domain("a", [Hostdev(function)])
    assert healthy.engine("plan", "--json", "-", stdin=domain.xml(PREPARE)).json()["verdict"] == "isolate"
    healthy.set_driver(GUIDE_BDFS[5], "ppu")
    plan = healthy.engine("plan", "--json", "-", stdin=domain.xml(PREPARE)).json()
    assert plan["verdict"] == "refuse" and "set backend = ppudbg in [registers]" in plan["reason"]
    assert "sriov_numvfs" not in plan["reason"]
    start = healthy.hook("a", "prepare", domain.xml(PREPARE))
    assert start.status == 5 and "set backend = ppudbg in [registers]" in start.stderr
    text, remedy = line(healthy, "CARDS-SRIOV")
    assert "1 virtual functions are enabled, and no VM can take one: driver ppu keeps the registers" in text
    assert remedy.strip().startswith("(set backend = ppudbg in [registers]")


def give_bar(host, ppu, start, flags):
    path = host.device(GUIDE_BDFS[ppu]) / "resource"
    others = path.read_text().splitlines(keepends=True)[1:]
    path.write_text(f"0x{start:016x} 0x{start + (4 << 20) - 1:016x} 0x{flags:016x}\n" + "".join(others))


@pytest.mark.parametrize("claimer", ["BOOTFB", "simple-framebuffer", None])
def test_e6_a_bar_that_the_boot_framebuffer_claimed(healthy, claimer):
    give_bar(healthy, 3, 0x380000000000, 0x40200)
    inner = f"  380000000000-3800000fffff : {claimer}\n" if claimer else ""
    healthy.write("/proc/iomem", f"380000000000-3800003fffff : {GUIDE_BDFS[3]}\n{inner}")
    if not claimer:
        assert changes(healthy) == ([], [])
        return
    text, = [text for text in line(healthy, "CARDS-REGISTERS", 1) if text.startswith("FAIL ")]
    assert f"'{claimer}' has claimed the BAR (/proc/iomem), not a driver of the card" in text


@pytest.mark.parametrize("flags, fails", [(0x40101, True), (0x40200, False)])
def test_e7_an_io_bar_is_called_one(healthy, flags, fails):
    give_bar(healthy, 3, 0xE0000000, flags)
    if not fails:
        assert changes(healthy) == ([], [])
        return
    assert line(healthy, "CARDS-REGISTERS", 1)[0].endswith(f"{NAMES[3]}: BAR 0 is an I/O BAR; set bar in [registers]")


READ_ONLY = {
    "ProtectKernelTunables": [("/sys", "ro,nosuid,nodev")],
    "all of it, then the rest again": [("/", "ro"), ("/sys", "ro"), ("/run", "rw")],
    "only the devices": [("/sys/devices", "ro,relatime")],
}


@pytest.mark.parametrize("mounts", READ_ONLY.values(), ids=READ_ONLY)
def test_e8_a_daemon_whose_sys_is_read_only(healthy, mounts):
    mount(healthy, LIBVIRTD, *mounts)
    assert changes(healthy, status=1) == (healthy_lines("HOOK-WRITES"), changed(
        "HOOK-WRITES", "for libvirtd (pid 4000) and its hooks /sys/devices is read-only: no register can be written",
        "FAIL", "systemctl edit libvirtd: [Service] ProtectKernelTunables=no; then restart it",
    ))


def test_e8_a_daemon_whose_run_is_read_only(healthy):
    mount(healthy, LIBVIRTD, ("/run", "ro"))
    assert changes(healthy, status=1) == (healthy_lines("HOOK-WRITES"), changed(
        "HOOK-WRITES", "for libvirtd (pid 4000) and its hooks /run/icn-hook is read-only: no claim can be written",
        "FAIL", "systemctl edit libvirtd: [Service] ReadWritePaths=/run/icn-hook; then restart it",
    ))


@pytest.mark.parametrize(
    "mounts",
    [[("/sys", "ro"), ("/sys", "rw")], [("/sysext", "ro"), ("/sys/fs/cgroup", "ro")], [("/", "ro"), ("/sys", "rw"),
                                                                                       ("/run", "rw")]],
    ids=["mounted again", "others", "what is needed is not"],
)
def test_e8_what_else_is_read_only_does_not_matter(healthy, mounts):
    mount(healthy, LIBVIRTD, *mounts)
    assert changes(healthy) == ([], [])


def hold_group(host, device):
    """Process 77 has DEVICE of card 4 open, which is idle to sysfs: opening its group again is EBUSY."""
    group = int((host.device(GUIDE_BDFS[4]) / "iommu_group").readlink().name)
    host.write(f"/dev/vfio/{group}", "")
    host.write("/proc/77/comm", "cloud-hyperv\n")
    host.path("/proc/77/fd").mkdir()
    (host.path("/proc/77/fd") / "9").symlink_to(device.format(group=group))
    return group


@pytest.mark.parametrize("device", ["/dev/vfio/{group}", "/dev/vfio/devices/vfio0"])
def test_e9_who_holds_a_card(healthy, device, tmp_path):
    """By its group or through iommufd: pid and command, of a card in use and of a group that looks idle."""
    (healthy.device(GUIDE_BDFS[4]) / "vfio-dev/vfio0").mkdir(parents=True)
    group = hold_group(healthy, device)
    options = ["-f", "-P", str(healthy.path(f"/dev/vfio/{group}")), "-e", "inject=openat:error=EBUSY"]
    busy = healthy.run_in_daemon(
        [shutil.which("strace"), "-D", "-qq", "-o", str(tmp_path / "log"), *options, str(healthy.engine_program),
         "doctor"], "", healthy.environment_under_strace(), timeout=60,
    ).stdout.decode()
    assert changed("CARDS-VIABLE", f"{NAMES[4]}: its IOMMU group is held open by process 77 (cloud-hyperv)", "WARN",
                   "end it, if it should not have the card")[0] in busy
    assert changes(healthy) == ([], [])
    healthy.set_driver(GUIDE_BDFS[4], "vfio-pci")
    healthy.hold(GUIDE_BDFS[4])
    assert changed("STATE-HOLDERS",
                   f"{NAMES[4]}: open through vfio by process 77 (cloud-hyperv), which is not a known VM",
                   "WARN", "end it, if it should not have the card") == line(healthy, "STATE-HOLDERS", 1)


def test_e10_idle_neighbours_that_lost_their_cuts_need_no_restart(healthy):
    assert Libvirt(healthy).start(vm("a", 0, 1)).running
    good = line(healthy, "CARDS-LINKS")
    assert good == changed("CARDS-LINKS", "links that must be cut: 6 (proven 6, gated 0)", "PASS")
    for ppu in (2, 3, 6, 7):
        healthy.write_register(ppu, 0)
    found = line(healthy, "CARDS-LINKS", 1)
    assert found == changed("CARDS-LINKS", "PPUs 2-3,6-7: cuts are missing", "FAIL",
                            "icn-hook repair; icn-hook check names the masks")
    check = healthy.engine("check")
    assert check.status == 1 and "restart" not in check.stdout.decode() + check.stderr
    assert healthy.engine("repair").status == 0
    assert line(healthy, "CARDS-LINKS") == good


CELLS = "<cpu><numa><cell id='0' cpus='0-1' memory='1'/><cell id='1' cpus='2-3' memory='1'/></numa></cpu>"


@pytest.mark.parametrize(
    "tune, text, result",
    [
        ("<memnode cellid='0' mode='strict' nodeset='0'/><memnode cellid='1' mode='strict' nodeset='0'/>",
         "its memory is bound to NUMA node 0", "PASS"),
        ("<memnode cellid='0' mode='strict' nodeset='0'/><memnode cellid='1' mode='strict' nodeset='1'/>",
         "its memory is bound to NUMA node 0,1, its cards are on 0", "WARN"),
        ("<memnode cellid='0' mode='strict' nodeset='0'/>", "its memory is not bound to NUMA node 0", "WARN"),
        ("<memory mode='strict' nodeset='0'/><memnode cellid='0' mode='strict' nodeset='0'/>",
         "its memory is bound to NUMA node 0", "PASS"),
    ],
    ids=["each cell", "one elsewhere", "one is free", "the rest by memory"],
)
def test_e11_memory_is_bound_cell_by_cell_too(healthy, tune, text, result):
    healthy.write("/sys/devices/system/node/node0/cpulist", "0-15\n")
    healthy.write("/sys/devices/system/node/node1/cpulist", "16-31\n")
    more = f"<vcpu cpuset='0-15'>4</vcpu>{CELLS}<numatune>{tune}</numatune>"
    found = healthy.engine("doctor", "-", stdin=vm("a", 0, 1).xml().replace("</uuid>", "</uuid>" + more))
    assert changed("DOMAIN-MEMORY", text, result)[0] in found.stdout.decode().splitlines()


def test_e12_an_agent_that_replaces_the_main_hook(healthy):
    """Ours in qemu.d outlives it; ours as the main hook does not, and the metric and doctor notice."""
    dispatcher(healthy)
    assert line(healthy, "HOOK-INSTALLED", 1)[0].startswith("FAIL ")
    assert "\nicn_hook_hook_installed 0\n" in healthy.engine("status", "--prometheus").stdout.decode()
    install_hook(healthy, HOOK + ".d/icn-hook")
    dispatcher(healthy)
    assert line(healthy, "HOOK-INSTALLED") == changed("HOOK-INSTALLED", f"installed at {HOOK}.d/icn-hook", "PASS")
    assert "\nicn_hook_hook_installed 1\n" in healthy.engine("status", "--prometheus").stdout.decode()


def live_in(host, root, namespace="mnt:[1]"):
    host.path(f"/proc/{LIBVIRTD}/root").symlink_to(root)
    for pid, name in ((LIBVIRTD, namespace), ("self", "mnt:[1]")):
        host.path(f"/proc/{pid}/ns").mkdir(parents=True)
        host.path(f"/proc/{pid}/ns/mnt").symlink_to(name)


@pytest.mark.parametrize("namespace, where", [("mnt:[2]", "a container"), ("mnt:[1]", "another root")])
@pytest.mark.parametrize("hook", ["none", "another", "no engine"])
def test_e13_a_daemon_in_a_container(healthy, tmp_path, namespace, where, hook):
    root = tmp_path / "container"
    root.mkdir()
    if hook == "another":
        (root / "etc/libvirt/hooks").mkdir(parents=True)
        shutil.copy(healthy.hook_program, root / HOOK[1:])
    elif hook == "no engine":
        (root / "etc/libvirt/hooks").mkdir(parents=True)
        os.link(healthy.path(HOOK), root / HOOK[1:])
        healthy.write("/usr/bin/icn-hook", "")
    live_in(healthy, root, namespace)
    assert changes(healthy, status=1) == (healthy_lines("HOOK-KNOWN"), changed(
        "HOOK-KNOWN",
        f"libvirtd (pid 4000) lives in {where}, where {HOOK} or the program that it starts is not this host's",
        "FAIL", "install icn-hook where that daemon lives; until then its VMs start with all links open",
    ))
    assert "\nicn_hook_hook_known 0\n" in healthy.engine("status", "--prometheus").stdout.decode()


def test_e13_a_sandbox_that_sees_the_same_hook(healthy):
    """A mount namespace of its own is no container."""
    live_in(healthy, healthy.root, "mnt:[2]")
    assert changes(healthy) == ([], [])
    assert "\nicn_hook_hook_known 1\n" in healthy.engine("status", "--prometheus").stdout.decode()


@pytest.mark.parametrize(
    "exe, is_usual",
    [("/usr/sbin/libvirtd", True), ("/usr/sbin/libvirtd (deleted)", True), ("/usr/local/sbin/libvirtd", False),
     ("/opt/libvirt/sbin/libvirtd", False)],
)
def test_e13_a_daemon_with_another_sysconfdir(healthy, exe, is_usual):
    healthy.path(f"/proc/{LIBVIRTD}/exe").symlink_to(exe)
    expected = ([], []) if is_usual else (healthy_lines("HOOK-KNOWN"), changed(
        "HOOK-KNOWN", f"libvirtd (pid 4000) is {exe}, which may look for hooks elsewhere", "WARN",
        "put the hook below its sysconfdir, unless that is /etc; once it was called, this line says so",
    ))
    assert changes(healthy) == expected
