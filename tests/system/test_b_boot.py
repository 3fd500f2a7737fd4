# SPDX-License-Identifier: LGPL-2.1-or-later
"""A host whose first process is systemd boots with all links cut, and its libvirtd
starts a VM by itself."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from machine import MAP, Machine
from scene import GOLDEN_PAIR, Scene, VM, hostdev
from watch import Watcher, describe

ISOLATE = "\n[policy]\nidle = isolate\n"
UNIT, CHECK = "icn-hook-isolate.service", "icn-hook-check.service"
RULE = "usr/lib/udev/rules.d/70-icn-hook.rules"
METRICS = "/var/lib/prometheus/node-exporter"
# Nothing finds devices here, so nobody would offer a login there.
SYSTEMD = "first_process=/lib/systemd/systemd systemd.mask=serial-getty@ttyS0.service"


def every_link(topology):
    return {ppu: sum(1 << link for link in links) for ppu, links in topology.links.items()}


def enable(layer, name):
    """What `systemctl enable` leaves."""
    unit = next(layer.glob(f"**/systemd/system/{name}"))
    wanted = layer / "etc/systemd/system/multi-user.target.wants"
    wanted.mkdir(exist_ok=True)
    (wanted / name).symlink_to(f"/{unit.relative_to(layer)}")


def make_layer(place, vm, bdfs):
    """What an administrator has set up before the boot."""
    layer, root = place / "boot-layer", place / "root"
    shutil.rmtree(layer, ignore_errors=True)
    subprocess.run(["cp", "-a", place / "layer", layer], check=True)
    with open(layer / "etc/icn-hook/icn-hook.conf", "a", encoding="utf-8") as settings:
        settings.write(ISOLATE)
    map_file = layer / MAP.lstrip("/")
    map_file.parent.mkdir()
    map_file.write_text("[map]\n" + "".join(f"{ppu} = {bdf}\n" for ppu, bdf in enumerate(bdfs)))
    (layer / "etc/systemd/system").mkdir(parents=True)
    shutil.copy(layer / "system-test/agent.service", layer / "etc/systemd/system")
    enable(layer, "agent.service")
    enable(layer, UNIT)
    # As the rule says for cards of another id.
    rule = (layer / RULE).read_text()
    assert rule.count("0x1ded") == rule.count("0x6001") == 1
    (layer / "etc/udev/rules.d").mkdir(parents=True)
    (layer / "etc/udev/rules.d" / Path(RULE).name).write_text(rule.replace("0x1ded", "0x1af4").replace("0x6001", "0x1110"))
    (layer / "etc/modules-load.d").mkdir(parents=True)
    (layer / "etc/modules-load.d/vfio.conf").write_text("vfio-pci\n")
    libvirt = layer / "etc/libvirt"
    (libvirt / "qemu/autostart").mkdir(parents=True)
    (libvirt / "qemu.conf").write_text(
        (root / "etc/libvirt/qemu.conf").read_text() + (layer / "system-test/qemu.conf").read_text())
    (libvirt / f"qemu/{vm.name}.xml").write_text(vm.xml(bdfs))
    (libvirt / f"qemu/autostart/{vm.name}.xml").symlink_to(f"/etc/libvirt/qemu/{vm.name}.xml")
    return layer


@pytest.fixture(name="vm", scope="module")
def fixture_vm():
    return VM(1, [0, 1])


@pytest.fixture(name="boot", scope="module")
def fixture_boot(place, host, vm):
    layer = make_layer(place, vm, host.bdfs)
    machine = Machine(place, layer, place / "boot", SYSTEMD)
    watcher = Watcher(place / "watcher", host.topology, [card.path for card in machine.cards], machine.work)
    machine.boot()
    yield Scene(machine, host.topology)
    machine.stop()
    seen = watcher.finish()
    assert not seen["violations"], describe(seen["violations"])


def moment(boot, unit, event):
    return int(boot.machine.must(f"systemctl show --value -p {event}TimestampMonotonic {unit}"))


def test_links_are_cut_before_libvirt_starts_a_vm(boot, vm):
    boot.machine.wait_for(f"virsh -q domstate {vm.name} | grep -q running", 240)
    boot.expect({**every_link(boot.topology), 0: 0x19, 1: 0x31}, "autostarted")
    assert 0 < moment(boot, UNIT, "ExecMainExit") < moment(boot, "libvirtd.service", "ExecMainStart")
    assert boot.icn("check").status == 0


def test_the_journal_answers_who_could_see_whom(boot, vm):
    """By journald and journalctl themselves, for all that the boot has done."""
    answer = boot.icn("history --json")
    assert answer.status == 0, answer.output
    history = json.loads(answer.stdout)
    assert [(owner["name"], owner["uuid"], [card["ppu"] for card in owner["cards"]], owner["until"])
            for owner in history["owners"]] == [(vm.name, vm.uuid, [0, 1], None)]
    assert not [link for link in history["links"] if link["exposed"]]
    states = {(link["a"], link["b"]): link["state"] for link in history["links"] if link["until"] is None}
    assert states[0, 2] == states[1, 3] == "cut", states
    assert states[0, 1] == "open", states
    assert history["unusable"] == 0
    # Last Tuesday there was no such host.
    nothing = json.loads(boot.icn("history --json --until '2 days ago'").stdout)
    assert (nothing["owners"], nothing["links"]) == ([], [])


def test_the_check_repairs_and_measures(boot):
    """With no more rights than the unit has.  What it has to cut is a link between idle cards."""
    cut = boot.machine.masks()
    boot.machine.cards[4].mask = 0
    boot.machine.must(f"systemctl start {CHECK}")
    assert boot.machine.masks() == cut
    assert f"{METRICS} does not exist, so no metrics are written" in boot.machine.must(f"journalctl -u {CHECK}")
    boot.machine.must(f"mkdir -p {METRICS} && systemctl start {CHECK}")
    written = boot.machine.must(f"cat {METRICS}/icn-hook.prom").splitlines()
    assert "icn_hook_up 1" in written and "icn_hook_drift_cards 0" in written
    assert 'icn_hook_links{evidence="unverified"} 0' in written
    assert [line for line in written if line.startswith("icn_hook_card_owner_info")] != []


def test_the_unit_fails_without_the_policy(boot):
    """Nothing is written: with another policy the links would not stay cut."""
    before = boot.machine.masks()
    boot.machine.must("sed -i s/isolate/restore/ /etc/icn-hook/icn-hook.conf")
    assert boot.machine.run(f"systemctl restart {UNIT}").status != 0
    assert boot.machine.must(f"systemctl show --value -p ExecMainStatus {UNIT}") == "3\n"
    assert "--isolate needs idle = isolate in [policy]" in boot.machine.must(f"journalctl -u {UNIT}")
    assert boot.machine.masks() == before


def test_a_card_that_virsh_plugs_is_cut_at_once(boot, vm):
    """No hook is called.  What nobody holds is cut by udev's rule; with idle = isolate it had been cut before.
    Printed is the time from the kernel's bind to the event of the repair, which comes after the last write."""
    boot.end(vm)
    boot.machine.must(f"icn-hook reset && virsh -q start {vm.name}")
    boot.expect(GOLDEN_PAIR, "idle links are open")
    boot.machine.must("udevadm monitor --kernel --subsystem-match=pci >/run/udev-events 2>&1 &")
    boot.machine.wait_for("grep -q KERNEL /run/udev-events")
    boot.machine.write("/run/device.xml", hostdev(boot.bdfs[2]))
    boot.machine.must(f"virsh -q attach-device {vm.name} /run/device.xml --live")
    boot.await_masks(boot.golden([0, 1, 2]) | {0: 0x19, 1: 0x31, 2: 0x18}, "what nobody holds is cut", timeout=60)
    events = boot.machine.must("cat /run/udev-events")
    bound = float(re.search(rf"KERNEL\[([0-9.]+)\] bind .*/{boot.bdfs[2]} ", events)[1])
    lines = boot.machine.must("journalctl --sync; journalctl -o json ICN_OPERATION=repair").splitlines()
    times = [int(event["__MONOTONIC_TIMESTAMP"]) / 1e6 - bound for event in map(json.loads, lines)]
    seconds = min(time for time in times if time > 0)
    print(f"a plugged card's links to idle cards were open for {seconds:.2f} s")
    assert seconds < 30
