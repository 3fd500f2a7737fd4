# SPDX-License-Identifier: LGPL-2.1-or-later
"""An upgrade while cards are isolated: the ledger and the masks stay, and are understood."""

import pytest

from domain_xml import Domain, Hostdev
from libvirt_player import Libvirt
from simhost import SimHost

# Bit set = link cut.  Cards that are not named: 0.
WITH_A_GROUP = {0: 0x19, 1: 0x31, 2: 0x19, 3: 0x31, 4: 0x19, 5: 0x31, 6: 0x19, 7: 0x31}
ONLY_THE_GROUP = {2: 0x01, 3: 0x01, 4: 0x19, 5: 0x31, 6: 0x18, 7: 0x30}
ONLY_VM1 = {0: 0x19, 1: 0x31, 2: 0x18, 3: 0x30, 6: 0x01, 7: 0x01}
# The installed programs, called from outside of the root with paths of outside.
CALL = """\
#!/bin/sh
export ICN_SYSROOT="${{ICN_SYSROOT#{root}}}" ICN_ENGINE=/usr/bin/icn-hook
exec chroot {root} {program} "$@"
"""


@pytest.fixture(name="scene")
def fixture_scene(host):
    for name, program in (("icn-hook", "/usr/bin/icn-hook"), ("hook/qemu", "/etc/libvirt/hooks/qemu")):
        host.write(f"/calls/{name}", CALL.format(root=host.path, program=program), 0o755)
    return SimHost(host.file("/simulated"), build_dir=host.file("/calls"))


def masks(named):
    return {ppu: named.get(ppu, 0) for ppu in range(8)}


def owners(scene):
    status = scene.engine("status", "--json").json()
    return [[owner["name"] for owner in ppu["owners"]] for ppu in status["ppus"]]


def test_with_a_vm_and_a_group(host, scene):
    libvirt = Libvirt(scene)
    host.install("previous")
    assert libvirt.start(Domain("vm1", [Hostdev(scene.bdfs[0]), Hostdev(scene.bdfs[1])])).running
    assert scene.engine("apply", "4,5", "--name", "job").status == 0
    before = scene.ledger()
    assert scene.masks() == masks(WITH_A_GROUP) and len(before) == 2
    host.must("echo entry >/run/icn-hook/entry && touch -d 2000-01-01 /run/icn-hook/entry")
    host.write("/etc/icn-hook/icn-hook.conf", "[policy]\nlock_timeout = 31\n")
    old_hook = host.must("sha256sum /etc/libvirt/hooks/qemu")

    host.install()
    assert host.must("sha256sum /etc/libvirt/hooks/qemu") != old_hook
    host.must("cmp /etc/libvirt/hooks/qemu /usr/libexec/icn-hook/qemu")
    assert "previous" not in host.must("dpkg-query -W icn-hook")
    assert host.must("stat -c '%a %Y' /run/icn-hook/entry; stat -c %a /run/icn-hook").split() == ["644", "946684800", "700"]
    assert host.file("/etc/icn-hook/icn-hook.conf").read_text() == "[policy]\nlock_timeout = 31\n"
    assert scene.masks() == masks(WITH_A_GROUP) and scene.ledger() == before

    assert owners(scene) == [["vm1"], ["vm1"], [], [], ["job"], ["job"], [], []]
    assert scene.engine("check").status == 0
    assert not libvirt.start(Domain("vm2", [Hostdev(scene.bdfs[1])])).running
    libvirt.reconnect("vm1")
    assert scene.masks() == masks(WITH_A_GROUP)
    libvirt.stop("vm1")
    assert scene.masks() == masks(ONLY_THE_GROUP)
    assert scene.engine("release", "job").status == 0
    assert scene.masks() == masks({}) and len(scene.ledger_files()) == 0


def test_the_old_hook_calls_the_new_engine(host, scene):
    """As between unpacking and configuring."""
    libvirt = Libvirt(scene)
    host.install("previous")
    host.must(f"dpkg --unpack {host.bring('package')}")
    assert libvirt.start(Domain("vm1", [Hostdev(scene.bdfs[0]), Hostdev(scene.bdfs[1])])).running
    assert scene.masks() == masks(ONLY_VM1)
    host.must("dpkg --configure icn-hook")
    libvirt.stop("vm1")
    assert scene.masks() == masks({})
