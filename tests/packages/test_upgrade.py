# SPDX-License-Identifier: LGPL-2.1-or-later
"""An upgrade from 0.1 while cards are isolated: its ledger is carried over, and the masks stay."""

import json
import shutil

import pytest

from calls import installed
from domain_xml import Domain, Hostdev
from libvirt_player import Libvirt
from scene import Scene, VM
from simhost import SimHost
from topology import Topology

# Bit set = link cut.  Cards that are not named: 0.
WITH_A_GROUP = {0: 0x19, 1: 0x31, 2: 0x19, 3: 0x31, 4: 0x19, 5: 0x31, 6: 0x19, 7: 0x31}
ONLY_THE_GROUP = {2: 0x01, 3: 0x01, 4: 0x19, 5: 0x31, 6: 0x18, 7: 0x30}
ONLY_VM1 = {0: 0x19, 1: 0x31, 2: 0x18, 3: 0x30, 6: 0x01, 7: 0x01}
NO_MAP = """\
icn-hook: VMs with PPUs are refused until [map] says which card is which PPU: run icn-hook setup, as
icn-hook: soon as no VM has a card; what runs stays isolated
"""
LEDGER, CLAIM = "icn-hook/ledger/1", "icn-hook/claim/2"


@pytest.fixture(name="scene")
def fixture_scene(host):
    return SimHost(host.file("/simulated"), build_dir=installed(host))


def masks(named):
    return {ppu: named.get(ppu, 0) for ppu in range(8)}


def owners(scene):
    status = scene.engine("status", "--json").json()
    return [[owner["name"] for owner in ppu["owners"]] for ppu in status["ppus"]]


def schemas(scene):
    return {claim["schema"] for claim in scene.claims().values()}


def test_with_a_vm_and_a_group(host, scene):
    libvirt = Libvirt(scene)
    host.install("previous")
    assert libvirt.start(Domain("vm1", [Hostdev(scene.bdfs[0]), Hostdev(scene.bdfs[1])])).running
    assert scene.engine("apply", "4,5", "--name", "job").status == 0
    before = scene.state_files()
    assert scene.masks() == masks(WITH_A_GROUP) and len(before) == 2 and schemas(scene) == {LEDGER}
    host.must("echo entry >/run/icn-hook/entry && touch -d 2000-01-01 /run/icn-hook/entry")
    host.write("/etc/icn-hook/icn-hook.conf", "[policy]\nlock_timeout = 31\n")
    old_hook = host.must("sha256sum /etc/libvirt/hooks/qemu")

    host.install()
    assert host.must("sha256sum /etc/libvirt/hooks/qemu") != old_hook
    host.must("cmp /etc/libvirt/hooks/qemu /usr/libexec/icn-hook/qemu")
    assert "previous" not in host.must("dpkg-query -W icn-hook")
    assert host.must("stat -c '%a %Y' /run/icn-hook/entry; stat -c %a /run/icn-hook").split() == ["644", "946684800", "700"]
    assert host.file("/etc/icn-hook/icn-hook.conf").read_text() == "[policy]\nlock_timeout = 31\n"
    assert scene.masks() == masks(WITH_A_GROUP)

    assert owners(scene) == [["vm1"], ["vm1"], [], [], ["job"], ["job"], [], []]
    check = scene.engine("check")
    assert check.status == 7 and b"or by an older icn-hook" in check.stdout, check
    assert scene.state_files() == before, "who looks writes nothing"
    assert not libvirt.start(Domain("vm2", [Hostdev(scene.bdfs[1])])).running
    assert schemas(scene) == {CLAIM}
    libvirt.reconnect("vm1")
    assert scene.masks() == masks(WITH_A_GROUP)
    assert owners(scene) == [["vm1"], ["vm1"], [], [], ["job"], ["job"], [], []]
    libvirt.stop("vm1")
    assert scene.masks() == masks(ONLY_THE_GROUP)
    assert scene.engine("release", "job").status == 0
    assert scene.masks() == masks({}) and scene.claim_files() == {} and scene.remembered() == {}


def first_calls(scene, libvirt):
    """Each leaves the VM running and the group isolated."""
    other = Domain("vm2", [Hostdev(scene.bdfs[2])])

    def another_vm():
        assert libvirt.start(other).running
        libvirt.stop("vm2")

    def another_group():
        assert scene.engine("apply", "2", "--name", "two").status == 0
        assert scene.engine("release", "two").status == 0

    def repair():
        assert scene.engine("repair").status == 7, "the VM never went through this gate"

    return {
        "the daemon was restarted": lambda: libvirt.reconnect("vm1"),
        "another VM": another_vm,
        "another group": another_group,
        "repair": repair,
    }


def test_whatever_call_is_the_first(host, scene):
    libvirt = Libvirt(scene)
    host.install("previous")
    assert libvirt.start(Domain("vm1", [Hostdev(scene.bdfs[0]), Hostdev(scene.bdfs[1])])).running
    assert scene.engine("apply", "4,5", "--name", "job").status == 0
    shutil.copytree(scene.path("/run/icn-hook"), scene.path("/run/of-0.1"))
    host.install()
    for name, call in first_calls(scene, libvirt).items():
        shutil.rmtree(scene.path("/run/icn-hook"))
        shutil.copytree(scene.path("/run/of-0.1"), scene.path("/run/icn-hook"))
        assert schemas(scene) == {LEDGER}
        call()
        assert scene.masks() == masks(WITH_A_GROUP), name
        assert owners(scene) == [["vm1"], ["vm1"], [], [], ["job"], ["job"], [], []], name
        assert schemas(scene) == {CLAIM}, name
    shutil.rmtree(scene.path("/run/icn-hook"))
    shutil.copytree(scene.path("/run/of-0.1"), scene.path("/run/icn-hook"))
    libvirt.stop("vm1")
    assert scene.masks() == masks(ONLY_THE_GROUP)
    assert scene.engine("release", "job").status == 0
    assert scene.masks() == masks({}) and scene.claim_files() == {} and scene.remembered() == {}


def test_without_a_map(host, scene):
    """0.1 took the ids from the order of the addresses: until there is a map nothing is opened, and nobody new starts."""
    libvirt = Libvirt(scene)
    pins = dict(enumerate(scene.bdfs))
    scene.map_ids({})
    host.install("previous")
    for name, ppus in (("vm1", (0, 1)), ("vm2", (6,))):
        assert libvirt.start(Domain(name, [Hostdev(scene.bdfs[ppu]) for ppu in ppus])).running
    before, entries = scene.masks(), scene.state_files()
    said = host.install()
    assert NO_MAP in said and "before the first VM" not in said
    refused = libvirt.start(Domain("vm3", [Hostdev(scene.bdfs[4])]))
    assert refused.status == 3 and "no [map] in the configuration says which card is which PPU" in refused.message
    assert scene.engine("check").status == 3 and scene.engine("repair").status == 3
    setup = scene.engine("setup")
    assert setup.status == 4 and setup.stderr.startswith("icn-hook: VM 'vm1' has the card 0000:08:00.0; stop it first")
    libvirt.reconnect("vm1")
    assert scene.masks() == before and entries.items() <= scene.state_files().items()
    libvirt.stop("vm2")
    assert scene.masks() == before, "its end is noted, and nothing is opened"
    scene.map_ids(pins)
    assert owners(scene) == [["vm1"], ["vm1"], [], [], [], [], [], []]
    assert scene.engine("repair").status == 7, "the VM never went through this gate"
    assert scene.masks() == masks(ONLY_VM1)
    libvirt.stop("vm1")
    assert scene.masks() == masks({}) and scene.claim_files() == {}


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


def claims(machine):
    """Their schemas; of the state's files as they are now."""
    files = machine.must("cd /run/icn-hook; for file in *-*.json; do cat $file; echo; done")
    return {json.loads(line)["schema"] for line in files.splitlines() if line}


def test_a_vm_of_libvirt_lives_through_it(machine):
    """In an emulated machine: libvirtd, QEMU and vfio are real."""
    scene = Scene(machine, Topology.vendor())
    machine.must("dpkg --force-confold --install /packages/library.deb /packages/previous.deb")
    scene.start_daemon()
    vm, other, thief = VM(1, [0, 1]), VM(2, [2, 3]), VM(3, [1])
    scene.start(vm)
    machine.must("icn-hook apply 4,5 --name job")
    pid, both = scene.pid(vm), scene.golden([0, 1], [4, 5])
    scene.expect(both, "0.1")
    before = machine.must("cd /run/icn-hook && ls && cat *.json")
    assert claims(machine) == {LEDGER}

    machine.must("dpkg --force-confold --install /packages/package.deb")
    assert "previous" not in machine.must("dpkg-query -W icn-hook")
    assert scene.running() == {"vm-1"} and scene.pid(vm) == pid
    scene.expect(both, "upgraded")
    assert scene.owners() == [["vm-1"], ["vm-1"], [], [], ["job"], ["job"], [], []]
    assert "or by an older icn-hook" in scene.check(7)
    assert scene.metric("icn_hook_vms_without_gate") == 1
    assert machine.must("cd /run/icn-hook && ls && cat *.json") == before, "who looks writes nothing"

    message = scene.refused_start(thief)
    assert "is owned by VM 'vm-1'" in message, message
    scene.expect(both, "another one refused")
    scene.start(other)
    assert claims(machine) == {CLAIM}
    scene.expect(scene.golden([0, 1], [2, 3], [4, 5]), "another one runs")
    scene.end(other)
    scene.expect(both, "another one stopped")
    scene.stop_daemon()
    scene.start_daemon()
    machine.wait_for("grep -q 'vm=vm-1 op=reconnect' /var/log/syslog")
    assert scene.pid(vm) == pid
    scene.expect(both, "the daemon was restarted")
    scene.end(vm)
    scene.expect(scene.golden([4, 5]), "stopped")
    machine.must("icn-hook release job")
    scene.expect_idle("released")
    scene.start(vm)
    scene.check(0)
    scene.end(vm)
    scene.expect_idle("stopped again")
