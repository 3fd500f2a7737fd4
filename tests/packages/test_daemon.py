# SPDX-License-Identifier: LGPL-2.1-or-later
"""A libvirtd that runs learns of the hook, and stays the same process throughout."""

import shutil
import subprocess

HOOK = "/etc/libvirt/hooks/qemu"
OURS = "/etc/libvirt/hooks/qemu.d/icn-hook"  # the host has a libvirt that runs it
PLAIN = """\
<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>32</memory>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    {devices}
  </devices>
</domain>
"""
# No such device: libvirt refuses it too, but looks for it only after `prepare`.
HOSTDEV = """<hostdev mode='subsystem' type='pci' managed='yes'>
      <source><address domain='0x0000' bus='0xfe' slot='0x1e' function='0x6'/></source>
    </hostdev>"""
# Of an unreadable `match` our refusal is known from libvirt's own.
BROKEN = "[ppu]\nmatch = everything\n"
REFUSAL = "icn-hook: VM 'cards' is not started: "


def begin(host):
    host.write("/root/plain.xml", PLAIN.format(name="plain", devices=""))
    host.write("/root/cards.xml", PLAIN.format(name="cards", devices=HOSTDEV))
    host.must("rm /usr/sbin/policy-rc.d")
    return host.start_libvirt()


def refusal(host):
    result = host.virsh("create /root/cards.xml")
    assert result.returncode != 0
    return result.stdout


def test_a_running_daemon_is_reloaded(host):
    daemon = begin(host)
    host.must("virsh -q -c qemu:///system create /root/plain.xml")
    machine = host.must("pgrep -f '[g]uest=plain'")
    assert REFUSAL not in refusal(host)
    assert "icn-hook: libvirtd was reloaded\n" in host.install()
    host.write("/etc/icn-hook/icn-hook.conf", BROKEN)
    host.wait_for(f"virsh -q -c qemu:///system create /root/cards.xml 2>&1 | grep -qF \"{REFUSAL}\"")
    assert "/etc/icn-hook/icn-hook.conf:2" in refusal(host)
    assert "icn-hook: libvirtd was reloaded\n" in host.must("dpkg --remove icn-hook")
    assert REFUSAL not in refusal(host)
    assert host.daemon() == daemon and host.must("pgrep -f '[g]uest=plain'") == machine


def test_an_upgrade_reloads_nothing(host):
    daemon = begin(host)
    host.install("previous")
    host.must("virsh -q -c qemu:///system create /root/plain.xml")
    machine = host.must("pgrep -f '[g]uest=plain'")
    assert "reloaded" not in host.install()
    host.write("/etc/icn-hook/icn-hook.conf", BROKEN)
    assert REFUSAL in refusal(host)
    assert host.daemon() == daemon and host.must("pgrep -f '[g]uest=plain'") == machine


def test_both_hooks_are_called(host):
    host.write(HOOK, "#!/bin/sh\necho \"$1 $2\" >>/run/calls\n", 0o755)
    host.install()
    host.write("/etc/icn-hook/icn-hook.conf", BROKEN)
    begin(host)
    assert REFUSAL in refusal(host)
    assert host.file("/run/calls").read_text().splitlines()[0] == "cards prepare"
    host.must("dpkg --purge icn-hook")
    assert REFUSAL not in refusal(host)
    host.must("virsh -q -c qemu:///system create /root/plain.xml")
    assert "plain started" in host.file("/run/calls").read_text()


def test_policy_forbids_to_reload(host):
    begin(host)
    host.write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755)
    output = host.install()
    assert "icn-hook: policy-rc.d forbids to reload libvirtd" in output
    assert "virtqemud" not in output
    assert "was reloaded" not in output


STAND_IN = """\
#!/bin/sh
echo "$*" >>/run/systemctl.calls
case "$*" in
"-q is-active libvirtd.service") exit {active} ;;
"reload libvirtd.service") exit {reload} ;;
*) exit 3 ;;
esac
"""


def reloads(host):
    lines = host.file("/run/systemctl.calls").read_text().splitlines()
    return [line for line in lines if not line.startswith("-q is-active")]


def by_systemd(host, active, reload):
    host.must("rm /usr/sbin/policy-rc.d; mkdir -p /run/systemd/system")
    host.write("/usr/local/bin/systemctl", STAND_IN.format(active=active, reload=reload), 0o755)
    command = "PATH=/usr/local/bin:$PATH /usr/libexec/icn-hook/hook-place"
    host.must(f"{command} remove && rm -f /run/systemctl.calls")
    return host.must(f"{command} install")


def test_systemd_reloads(host):
    host.install()
    assert by_systemd(host, active=0, reload=0) == "icn-hook: libvirtd was reloaded\n"
    assert reloads(host) == ["reload libvirtd.service"]


def test_systemd_cannot_reload(host):
    host.install()
    expected = "icn-hook: libvirtd could not be reloaded; do it by hand: systemctl reload libvirtd\n"
    assert by_systemd(host, active=0, reload=1) == expected


def test_nothing_runs_under_systemd(host):
    host.install()
    assert by_systemd(host, active=3, reload=0) == ""
    assert reloads(host) == []


def test_another_process_has_the_pid(host):
    """A pid file that was left behind: nobody gets a signal."""
    host.install()
    host.must("rm /usr/sbin/policy-rc.d; sleep 1000 >/dev/null 2>&1 & echo $! >/run/libvirtd.pid")
    place = "/usr/libexec/icn-hook/hook-place"
    assert host.must(f"{place} remove && {place} install") == f"icn-hook: removed {OURS}\n"
    host.must("kill -0 $(cat /run/libvirtd.pid)")


def test_a_daemon_of_another_root(host):
    """A chroot may see it, but the hook that was put in place is not for it."""
    host.install()
    host.must("rm /usr/sbin/policy-rc.d")
    outside = subprocess.Popen([shutil.copy("/bin/sleep", host.file("/tmp/libvirtd")), "1000"])
    try:
        host.write("/run/libvirtd.pid", f"{outside.pid}\n")
        place = "/usr/libexec/icn-hook/hook-place"
        assert host.must(f"{place} remove && {place} install") == f"icn-hook: removed {OURS}\n"
        assert outside.poll() is None
    finally:
        outside.kill()
        outside.wait()
