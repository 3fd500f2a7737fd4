# SPDX-License-Identifier: LGPL-2.1-or-later
"""The package as a file: what is in it, and what lintian says."""

import gzip
import io
import re
import subprocess
import tarfile

FILES = """\
-rw-r--r-- ./etc/icn-hook/icn-hook.conf
-rw-r--r-- ./etc/icn-hook/icn_topo.cfg.example
-rw-r--r-- ./usr/lib/systemd/catalog/icn-hook.catalog
-rw-r--r-- ./usr/lib/systemd/system-preset/50-icn-hook.preset
-rw-r--r-- ./usr/lib/systemd/system/icn-hook-.service.d/confinement.conf
-rw-r--r-- ./usr/lib/systemd/system/icn-hook-check.service
-rw-r--r-- ./usr/lib/systemd/system/icn-hook-check.timer
-rw-r--r-- ./usr/lib/systemd/system/icn-hook-isolate.service
-rw-r--r-- ./usr/lib/systemd/system/icn-hook-repair@.service
-rw-r--r-- ./usr/lib/tmpfiles.d/icn-hook.conf
-rw-r--r-- ./usr/lib/udev/rules.d/70-icn-hook.rules
-rw-r--r-- ./usr/share/bash-completion/completions/icn-hook
-rw-r--r-- ./usr/share/icn-hook/monitoring/icn-hook-dashboard.json
-rw-r--r-- ./usr/share/icn-hook/monitoring/icn-hook.rules.yml
-rw-r--r-- ./usr/share/icn-hook/monitoring/icn-hook.rules_test.yml
-rw-r--r-- ./usr/share/icn-hook/monitoring/runbook.md
-rw-r--r-- ./usr/share/icn-hook/schemas/apply-1.json
-rw-r--r-- ./usr/share/icn-hook/schemas/attach-1.json
-rw-r--r-- ./usr/share/icn-hook/schemas/check-2.json
-rw-r--r-- ./usr/share/icn-hook/schemas/common.json
-rw-r--r-- ./usr/share/icn-hook/schemas/confirm-1.json
-rw-r--r-- ./usr/share/icn-hook/schemas/detach-1.json
-rw-r--r-- ./usr/share/icn-hook/schemas/doctor-1.json
-rw-r--r-- ./usr/share/icn-hook/schemas/error-1.json
-rw-r--r-- ./usr/share/icn-hook/schemas/explain-1.json
-rw-r--r-- ./usr/share/icn-hook/schemas/generate-1.json
-rw-r--r-- ./usr/share/icn-hook/schemas/help-1.json
-rw-r--r-- ./usr/share/icn-hook/schemas/history-1.json
-rw-r--r-- ./usr/share/icn-hook/schemas/plan-1.json
-rw-r--r-- ./usr/share/icn-hook/schemas/release-1.json
-rw-r--r-- ./usr/share/icn-hook/schemas/repair-1.json
-rw-r--r-- ./usr/share/icn-hook/schemas/reset-1.json
-rw-r--r-- ./usr/share/icn-hook/schemas/setup-1.json
-rw-r--r-- ./usr/share/icn-hook/schemas/status-2.json
-rw-r--r-- ./usr/share/icn-hook/schemas/suggest-1.json
-rw-r--r-- ./usr/share/icn-hook/schemas/topo-1.json
-rw-r--r-- ./usr/share/icn-hook/schemas/validate-1.json
-rw-r--r-- ./usr/share/man/man5/icn-hook.conf.5.gz
-rw-r--r-- ./usr/share/man/man5/icn_topo.cfg.5.gz
-rw-r--r-- ./usr/share/man/man8/icn-hook.8.gz
-rw-r--r-- ./usr/share/zsh/site-functions/_icn-hook
-rwxr-xr-x ./usr/bin/icn-hook
-rwxr-xr-x ./usr/libexec/icn-hook/hook-place
-rwxr-xr-x ./usr/libexec/icn-hook/qemu
-rwxr-xr-x ./usr/libexec/icn-hook/write-metrics
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


def test_news_says_what_an_upgrade_needs(place):
    archive = subprocess.run(["dpkg-deb", "--fsys-tarfile", deb(place)], stdout=subprocess.PIPE, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        name = next(name for name in files.getnames() if re.fullmatch(r"./usr/share/doc/icn-hook/NEWS(.gz)?", name))
        news = files.extractfile(name).read()
    text = " ".join((gzip.decompress(news) if name.endswith(".gz") else news).decode().split())
    assert (
        "An upgrade needs a map: run `icn-hook setup` as soon as no VM has a card, and then `icn-hook confirm`. "
        "A host without `[map]` refuses VMs with PPUs from the upgrade on until it has one"
    ) in text
