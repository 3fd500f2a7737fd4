# SPDX-License-Identifier: LGPL-2.1-or-later
"""Installed without libvirt, removed, purged; boot; the demo on the installed files."""

import shutil
from pathlib import Path

import pytest

from root import APT_INSTALL

TOP = Path(__file__).resolve().parents[2]
HOOK, ASIDE = "/etc/libvirt/hooks/qemu", "/etc/libvirt/hooks/qemu.d/icn-hook"
FIRST_STEPS = """\
icn-hook: before the first VM with a PPU:
icn-hook:   icn-hook setup      finds out which card has which id and where the links lead
icn-hook:   icn-hook confirm    tries on the cards whether that is right
icn-hook:   virsh start VM      isolates the VM; it is refused until setup was run
"""
PROGRAM = "/usr/libexec/icn-hook/qemu"
# What apt itself and dpkg write is not ours.
EVERYWHERE = (
    "/etc",
    "/run",
    "/usr/bin",
    "/usr/lib/systemd",
    "/usr/lib/tmpfiles.d",
    "/usr/lib/udev",
    "/usr/libexec",
    "/usr/share/bash-completion",
    "/usr/share/doc",
    "/usr/share/man",
    "/usr/share/zsh",
    "/var/lib/systemd",
)


def install_libraries(root):
    """So that what is compared before and after is the package alone."""
    root.must(f"{APT_INSTALL} libpci3 libjson-c5 libxml2")


def test_without_libvirt(bare):
    install_libraries(bare)
    before = bare.tree(*EVERYWHERE)
    assert FIRST_STEPS in bare.install()
    assert bare.must(f"stat -c '%a %U %G %F' {HOOK}") == "755 root root regular file\n"
    bare.must(f"cmp {HOOK} {PROGRAM}")
    assert bare.must("/usr/libexec/icn-hook/hook-place where") == f"{HOOK}\n"
    assert bare.must("stat -c '%a %U' /etc/icn-hook /etc/icn-hook/icn-hook.conf /usr/bin/icn-hook").split() == [
        "755", "root", "644", "root", "755", "root",
    ]  # fmt: skip
    assert bare.run("ls /etc/icn-hook/icn_topo.cfg").returncode != 0, "there is no default topology"
    assert "icn-hook" in bare.must("icn-hook --version")
    assert bare.run("dpkg-query -W -f '${Package}\\n' '*libvirt*'").stdout.count("\tii") == 0
    bare.must(f"printf '<domain/>' | {HOOK} vm1 prepare begin -")
    output = bare.must("dpkg --remove icn-hook")
    assert f"icn-hook: removed {HOOK}" in output
    assert bare.run("ls -d /etc/libvirt").returncode != 0
    bare.must("test -e /etc/icn-hook/icn-hook.conf")
    bare.must("dpkg --purge icn-hook")
    assert bare.tree(*EVERYWHERE) == before


def test_purge_leaves_the_administrators_files(bare):
    install_libraries(bare)
    bare.write("/etc/libvirt/hooks/daemon", "#!/bin/sh\n", 0o755)
    bare.write("/etc/icn-hook/icn_topo.cfg", "the topology\n")
    bare.write("/etc/icn-hook/icn-hook.conf.d/50-cards.conf", "[map]\n0 = 0000:08:00.0\n")
    assert "icn-hook setup" not in bare.install(), "there is a map"
    bare.write("/etc/icn-hook/icn-hook.conf", "[policy]\nidle = isolate\n")
    bare.must("mkdir -m 700 /run/icn-hook && echo {} >/run/icn-hook/77a7cfd9-1e57-5252-92d9-0bcdebe7a3c9.json")
    output = bare.must("dpkg --remove icn-hook")
    assert "their links stay cut until the host boots" in output
    bare.must("test -e /run/icn-hook/77a7cfd9-1e57-5252-92d9-0bcdebe7a3c9.json")
    bare.must("dpkg --purge icn-hook")
    left = bare.must("find /etc/icn-hook /etc/libvirt /run/icn-hook 2>/dev/null | sort; true").split()
    assert left == [
        "/etc/icn-hook", "/etc/icn-hook/icn-hook.conf.d", "/etc/icn-hook/icn-hook.conf.d/50-cards.conf",
        "/etc/icn-hook/icn_topo.cfg",
        "/etc/libvirt", "/etc/libvirt/hooks", "/etc/libvirt/hooks/daemon",
    ]  # fmt: skip


def test_a_removal_tells_of_cuts_that_stay(bare):
    install_libraries(bare)
    bare.install()
    bare.write("/run/icn-hook/cards.json", '{"cards":[{"bdf":"0000:08:00.0"}]}')
    assert "cuts were not all taken back yet" in bare.must("dpkg --remove icn-hook")
    bare.install()
    bare.write("/run/icn-hook/cards.json", '{"cards":[]}')
    assert "stay cut" not in bare.must("dpkg --remove icn-hook")


def test_a_person_installs_from_the_file(bare):
    """apt install ./icn-hook_*.deb, with its recommendations."""
    name = bare.bring("package")
    bare.must(f"cd /tmp && apt-get install -y -q ./{Path(name).name}")
    bare.must(f"test -x {HOOK}")
    assert bare.run("dpkg -s libvirt-daemon-system").returncode != 0


@pytest.mark.parametrize("kind", ["file", "link"])
def test_beside_the_administrators_hook(bare, kind):
    install_libraries(bare)
    bare.write("/etc/libvirt/hooks/local", "#!/bin/sh\n# calls icn-hook? no\n", 0o755)
    bare.must(f"cd /etc/libvirt/hooks && {'mv local qemu' if kind == 'file' else 'ln -s local qemu'}")
    before = bare.tree(*EVERYWHERE)
    output = bare.install()
    assert f"icn-hook: {HOOK} is not icn-hook's and stays as it is; the hook is {ASIDE}" in output
    bare.must(f"cmp {ASIDE} {PROGRAM}")
    bare.must("dpkg --purge icn-hook")
    assert bare.tree(*EVERYWHERE) == before


def test_a_link_to_our_program(bare):
    bare.must(f"mkdir -p /etc/libvirt/hooks && ln -s {PROGRAM} {HOOK}")
    output = bare.install()
    assert f"icn-hook: {HOOK} is somebody's link to icn-hook's hook program and stays as it is\n" in output
    bare.must("dpkg --purge icn-hook")
    assert bare.must("find /etc/libvirt | sort").split() == ["/etc/libvirt", "/etc/libvirt/hooks", HOOK]


CONFLICTING = """\
Package: other
Version: 1
Architecture: all
Maintainer: nobody <nobody@localhost>
Conflicts: icn-hook
Replaces: icn-hook
Description: takes icn-hook's place, and fails
"""


def test_a_removal_that_fails_puts_the_hook_back(bare):
    bare.install()
    bare.write("/other/DEBIAN/control", CONFLICTING)
    bare.write("/other/DEBIAN/preinst", "#!/bin/sh\nexit 1\n", 0o755)
    bare.must("dpkg-deb --build /other /other.deb")
    result = bare.run("dpkg --install /other.deb")
    assert result.returncode != 0 and f"icn-hook: removed {HOOK}" in result.stdout
    bare.must(f"cmp {HOOK} {PROGRAM}")
    assert bare.must("dpkg-query -W -f '${Status}' icn-hook") == "install ok installed"


def test_no_place_is_left(bare):
    """It fails, because VMs would start with their links open; and can be repaired."""
    install_libraries(bare)
    for name in (HOOK, ASIDE):
        bare.write(name, "#!/bin/sh\n", 0o755)
    result = bare.run(f"dpkg --install {bare.bring('package')}")
    assert result.returncode != 0
    assert f"icn-hook: {HOOK} and {ASIDE} are not icn-hook's: move one of them, then run:" in result.stdout
    bare.must(f"mv {ASIDE} {ASIDE}-local && dpkg --configure --pending && cmp {ASIDE} {PROGRAM}")


def test_demo_on_the_installed_programs(bare):
    """The package's own test, as autopkgtest runs it."""
    bare.must(f"{APT_INSTALL} python3")
    bare.install()
    for name in ("demo", "e2e", "lib", "fixtures"):
        shutil.copytree(TOP / "tests" / name, bare.file(f"/sources/tests/{name}"))
    shutil.copytree(TOP / "packaging/debian", bare.file("/sources/debian"))
    bare.file("/sources/packaging").mkdir()
    shutil.copy(TOP / "packaging/hook-place", bare.file("/sources/packaging/hook-place"))
    output = bare.must("cd /sources && debian/tests/demo")
    assert "All registers had the golden values." in output
    assert "All answers of the day were right." in output


def test_boot(host):
    host.install()
    unit = "/usr/lib/systemd/system/icn-hook-isolate.service"
    host.must("systemd-tmpfiles --create /usr/lib/tmpfiles.d/icn-hook.conf")
    assert host.must("stat -c '%a %U %G' /run/icn-hook") == "700 root root\n"
    assert host.run("systemctl is-enabled icn-hook-isolate.service").stdout == "disabled\n"
    assert host.must(f"systemd-analyze verify --man=no {unit}") == ""
    assert host.run("systemctl is-enabled icn-hook-check.timer").stdout == "enabled\n"
    assert host.must("systemd-analyze verify --man=no /usr/lib/systemd/system/icn-hook-check.timer") == ""
    host.must("systemctl preset icn-hook-isolate.service")
    assert host.run("systemctl is-enabled icn-hook-isolate.service").stdout == "disabled\n"
    host.must("systemctl enable icn-hook-isolate.service")
    host.must("dpkg --purge icn-hook")
    assert host.must("find /etc/systemd -name 'icn-hook*'") == ""
