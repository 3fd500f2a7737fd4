# SPDX-License-Identifier: LGPL-2.1-or-later
"""The package as a file: what is in it, and what lintian says."""

import subprocess

FILES = """\
-rw-r--r-- ./etc/icn-hook/icn-hook.conf
-rw-r--r-- ./etc/icn-hook/icn_topo.cfg.example
-rw-r--r-- ./usr/lib/systemd/catalog/icn-hook.catalog
-rw-r--r-- ./usr/lib/systemd/system-preset/50-icn-hook.preset
-rw-r--r-- ./usr/lib/systemd/system/icn-hook-isolate.service
-rw-r--r-- ./usr/lib/tmpfiles.d/icn-hook.conf
-rw-r--r-- ./usr/share/bash-completion/completions/icn-hook
-rw-r--r-- ./usr/share/man/man5/icn-hook.conf.5.gz
-rw-r--r-- ./usr/share/man/man5/icn_topo.cfg.5.gz
-rw-r--r-- ./usr/share/man/man8/icn-hook.8.gz
-rw-r--r-- ./usr/share/zsh/site-functions/_icn-hook
-rwxr-xr-x ./usr/bin/icn-hook
-rwxr-xr-x ./usr/libexec/icn-hook/hook-place
-rwxr-xr-x ./usr/libexec/icn-hook/qemu
""".splitlines()
DOCUMENTS = ("./usr/share/doc/", "./usr/share/lintian/")


def deb(place, name="icn-hook"):
    return next((place / "package").glob(f"{name}_*.deb"))


def query(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def test_lintian_has_nothing_to_say(place):
    assert (place / "lintian.log").read_text() == ""


def test_files_and_modes(place):
    found = []
    for line in query("dpkg-deb", "-c", deb(place)).splitlines():
        mode, owner, *_, name = line.split()
        assert owner == "root/root", line
        if mode[0] != "d" and not name.startswith(DOCUMENTS):
            # Debian 12 has units in /lib, which is a link to /usr/lib.
            found.append(f"{mode} {name.replace('./lib/', './usr/lib/')}")
    assert sorted(found) == sorted(FILES)


def test_no_file_is_in_libvirts_directories(place):
    assert "libvirt" not in query("dpkg-deb", "-c", deb(place))


def test_needs_no_libvirt(place):
    assert "virt" not in query("dpkg-deb", "-f", deb(place), "Depends", "Pre-Depends", "Recommends")


def test_conffiles(place):
    conffiles = query("dpkg-deb", "-I", deb(place), "conffiles").split()
    assert sorted(conffiles) == ["/etc/icn-hook/icn-hook.conf", "/etc/icn-hook/icn_topo.cfg.example"]


def test_debug_symbols_are_a_package(place):
    symbols = [line for line in query("dpkg-deb", "-c", deb(place, "icn-hook-dbgsym")).split() if line.endswith(".debug")]
    assert len(symbols) >= 2
