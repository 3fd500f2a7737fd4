# SPDX-License-Identifier: LGPL-2.1-or-later
"""status as people and as Prometheus see it; its JSON is tested in test_verbs.py, and what
Prometheus itself makes of the metrics in test_monitoring.py."""

import json
import os
import re
import shutil
from datetime import datetime, timezone

import pytest

import confirmed
from bystander import CARDS_OF_B, vm
from doctor_report import HOOK, HOUR, LIBVIRTD, healthy_host, install_hook, start_daemon
from domain_xml import Domain, Hostdev
from errors import assert_error
from libvirt_player import Libvirt
from log_sockets import JournalSocket
from metrics import samples, version
from simhost import GUIDE_BDFS, config_space
from stored_journal import StoredJournal
from terminal import plain, run_on_terminal

TABLE = """\
PPU  ADDRESS       DRIVER    NUMA  GROUP  MASK        OWNER  LINKS
  0  0000:08:00.0  -            0     10  0x00000018  idle   6 -2 -3 1
  1  0000:7e:00.0  -            0     11  0x00000030  idle   7 0 -2 -3
  2  0000:a2:00.0  vfio-pci     0     12  gate HH:MM  b      -4 -0 -1 ~3
  3  0000:c6:00.0  vfio-pci     0     13  gate HH:MM  b      -5 ~2 -0 -1
  4  0001:09:00.0  -            1     14  0x00000001  idle   -2 6 7 5
  5  0001:7f:00.0  -            1     15  0x00000001  idle   -3 4 6 7
  6  0001:aa:00.0  -            1     16  0x00000000  idle   0 4 5 7
  7  0001:ce:00.0  -            1     17  0x00000000  idle   1 6 4 5
MASK: gate: in use; its cuts were read back at that time, before QEMU opened it
LINKS: N open to PPU N  ~ unreadable, allowed to be open  - cut as required
nothing shows that registers, map and topology are right: run icn-hook confirm
6 links must be cut: 6 read now, 0 read back before QEMU opened the cards, 0 unverified
Every link that must be cut is verified.
"""


def engine_on_terminal(host, *arguments, width=80, **environment):
    variables = host.environment(TERM="xterm", **environment)
    return run_on_terminal([host.engine_program, *arguments], variables, width)


def timeless(text):
    return re.sub(r"gate \d\d:\d\d ", "gate HH:MM ", text)


def test_table(scene):
    result = scene.host.engine("status")
    assert (result.status, timeless(result.stdout.decode()), result.stderr) == (0, TABLE, "")


def test_gate_of_another_day(scene):
    """The date where the time would mislead; check names both."""
    assert scene.libvirt.start(scene.a).running
    path = scene.host.path("/run/icn-hook/cards.json")
    cards = json.loads(path.read_text())
    then = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    for card in cards["cards"]:
        if card["evidence"]:
            card["evidence"]["at"] = int(then.timestamp())
    path.write_text(json.dumps(cards))
    lines = scene.host.engine("status", TZ="UTC").stdout.decode().splitlines()
    assert [line[42:52] for line in lines[1:5]] == ["gate 01-02"] * 4
    assert re.search(r"read back (at|between) 2026-01-02 03:04:05", scene.host.engine("check", TZ="UTC").stdout.decode())


def test_terminal(scene):
    """Within 80 columns, in colour, and with the same text."""
    status, output = engine_on_terminal(scene.host, "status")
    assert (status, timeless(plain(output))) == (0, TABLE)
    assert max(map(len, plain(output).splitlines()[:-2])) <= 80
    assert "\033[1mOWNER\033[0m" in output
    assert "\033[36m-4\033[0m" in output
    assert not re.search(r"\033\[[0-9;]*(30|33|37)m", output)  # black, yellow, white


@pytest.mark.parametrize(
    "arguments, environment, coloured",
    [
        ([], {}, True),
        ([], {"NO_COLOR": "1"}, False),
        ([], {"NO_COLOR": ""}, True),
        ([], {"TERM": "dumb"}, False),
        (["--color=never"], {}, False),
        (["--color=always"], {"NO_COLOR": "1"}, True),
    ],
)
def test_colour(scene, arguments, environment, coloured):
    variables = {**scene.host.environment(TERM="xterm"), **environment}
    _, output = run_on_terminal([scene.host.engine_program, "status", *arguments], variables, 80)
    assert ("\033" in output) == coloured
    assert timeless(plain(output)) == TABLE


def test_no_colour_in_a_pipe(scene):
    assert b"\033" not in scene.host.engine("status", TERM="xterm").stdout
    assert b"\033" in scene.host.engine("status", "--color", "always").stdout


def test_long_names(scene):
    """A name gives way to the links; in a pipe nothing is cut."""
    name = "租户-with-a-long-name-that-goes-on-and-on"
    assert scene.libvirt.start(Domain(name, [Hostdev(GUIDE_BDFS[0])])).running
    _, output = engine_on_terminal(scene.host, "status", width=80)
    assert timeless(plain(output)).splitlines()[1] == (
        "  0  0000:08:00.0  vfio-pci     0     10  gate HH:MM  租户-with-...  -6 =2 =3 -1"
    )
    assert name in scene.host.engine("status", COLUMNS="40").stdout.decode()
    _, output = engine_on_terminal(scene.host, "status", width=200, COLUMNS="70")
    assert timeless(plain(output)).splitlines()[1].startswith(
        "  0  0000:08:00.0  vfio-pci     0     10  gate HH:MM  租户-wi"
    )



# Prometheus


def test_prometheus_of_operations(host):
    """What the journal has of this boot, and nothing without one."""
    sent, stored = JournalSocket(host), StoredJournal(host)
    refusals = {reason: 0 for reason in ("invalid", "conflict", "hardware", "busy", "other")}

    def metrics():
        found = samples(host.engine("status", "--prometheus").stdout.decode())
        return (found["icn_hook_refusals_total"], found["icn_hook_last_operation_timestamp_seconds"],
                found["icn_hook_last_operation_duration_seconds"])

    def reasons(**counts):
        return {f'{{reason="{reason}"}}': count for reason, count in {**refusals, **counts}.items()}

    assert metrics() == (reasons(), {}, {})
    assert Libvirt(host).start(vm("a", 0)).running
    for cards, status in (((0, 1), 4), ((0,), 4)):
        assert host.hook("b", "prepare", vm("b", *cards).xml()).status == status
    host.remove_function(GUIDE_BDFS[7])
    assert host.hook("b", "prepare", vm("b", 7).xml()).status == 5
    events = sent.take()
    stored.store({**events[-1], "ICN_DURATION_USEC": "1"}, 1764072000, boot="f" * 32)  # before the last boot
    for second, event in enumerate(events):
        stored.store(event, 1764072001.25 + second)
    took = int(events[-1]["ICN_DURATION_USEC"])
    assert 0 < took < 60_000_000
    assert metrics() == (reasons(conflict=2, hardware=1), {'{operation="prepare"}': 1764072001.25 + len(events) - 1},
                         {'{operation="prepare"}': took / 1e6})
    # An event of a version that did not tell.
    stored.store({name: value for name, value in events[-1].items() if name not in ("ICN_STATUS", "ICN_DURATION_USEC")},
                 1764073000)
    assert metrics() == (reasons(conflict=2, hardware=1, other=1), {'{operation="prepare"}': 1764073000}, {})
    stored.replace("exit 1")
    assert metrics() == ({}, {}, {})
    host.path("/usr/bin/journalctl").unlink()
    assert metrics() == ({}, {}, {})


def test_prometheus(scene):
    result = scene.host.engine("status", "--prometheus")
    assert (result.status, result.stderr) == (0, "")
    found = samples(result.stdout.decode())
    assert found["icn_hook_leaks"] == {None: 0}
    assert found["icn_hook_leaks_by_kind"] == {
        '{kind="vm-vm"}': 0, '{kind="vm-idle"}': 0, '{kind="vm-external"}': 0
    }
    assert found["icn_hook_build_info"] == {f'{{version="{version()}"}}': 1}
    assert (found["icn_hook_hook_installed"], found["icn_hook_hook_known"]) == ({None: 0}, {})
    assert found["icn_hook_confirmed"] == {None: 0}
    assert found["icn_hook_drift_cards"] == {None: 0}
    assert found["icn_hook_owners_known"] == {None: 1}
    assert found["icn_hook_unknown_holders"] == {None: 0}
    assert found["icn_hook_card_present"] == {f'{{ppu="{i}",bdf="{bdf}"}}': 1 for i, bdf in enumerate(GUIDE_BDFS)}
    assert found["icn_hook_card_owner_info"] == {
        f'{{ppu="{ppu}",bdf="{GUIDE_BDFS[ppu]}",vm="b",uuid="{scene.b.uuid}"}}': 1 for ppu in (2, 3)
    }
    assert found["icn_hook_links_required"] == {None: 6}
    assert found["icn_hook_links"] == {
        '{evidence="proven"}': 6,
        '{evidence="gated"}': 0,
        '{evidence="unverified"}': 0,
    }
    assert (found["icn_hook_cards_owed"], found["icn_hook_vms_without_gate"]) == ({None: 0}, {None: 0})
    live = scene.host.live_pairs(scene.masks())
    assert found["icn_hook_link_open"] == {
        f'{{a="{a}",b="{b}"}}': int((a, b) in live)
        for (a, _), (b, _) in scene.host.topology.joins()
        if (a, b) != CARDS_OF_B
    }


def test_prometheus_of_what_nothing_shows(scene):
    """Two VMs next to each other; then what was read back for them is lost."""
    assert scene.libvirt.start(scene.a).running
    found = samples(scene.host.engine("status", "--prometheus").stdout.decode())
    assert found["icn_hook_links"]['{evidence="gated"}'] == 4
    assert not [pair for pair in ('{a="0",b="2"}', '{a="0",b="1"}') if pair in found["icn_hook_link_open"]]
    scene.host.path("/run/icn-hook/cards.json").unlink()
    found = samples(scene.host.engine("status", "--prometheus").stdout.decode())
    assert found["icn_hook_links"] == {
        '{evidence="proven"}': 4,
        '{evidence="gated"}': 0,
        '{evidence="unverified"}': 4,
    }
    assert found["icn_hook_vms_without_gate"] == {None: 2}


def test_prometheus_of_a_leak(scene):
    assert scene.call("prepare").status == 0
    scene.host.set_masks({0: 0x18, 6: 0})
    (scene.host.device(GUIDE_BDFS[7]) / "resource0").unlink()
    found = samples(scene.host.engine("status", "--prometheus").stdout.decode())
    assert (found["icn_hook_leaks"], found["icn_hook_drift_cards"]) == ({None: 1}, {None: 2})
    assert found["icn_hook_leaks_by_kind"] == {
        '{kind="vm-vm"}': 0, '{kind="vm-idle"}': 1, '{kind="vm-external"}': 0
    }
    assert found["icn_hook_link_open"]['{a="0",b="6"}'] == 1
    assert found["icn_hook_links"]['{evidence="unverified"}'] == 1
    assert [labels for labels in found["icn_hook_link_open"] if '"7"' in labels] == ['{a="1",b="7"}']


def test_prometheus_of_a_leak_between_vms(scene):
    assert scene.call("prepare").status == 0
    for ppu in CARDS_OF_B:
        scene.host.set_driver(GUIDE_BDFS[ppu], None)
    scene.host.set_masks({0: 0, 1: 0x01, 2: 0, 3: 0, 6: 0})
    found = samples(scene.host.engine("status", "--prometheus").stdout.decode())
    leaks = scene.host.leaks(scene.masks(), {0: {"a"}, 1: {"a"}, 2: {"b"}, 3: {"b"}})
    between = [pair for pair in leaks if set(pair) <= {0, 1, 2, 3}]
    assert (len(leaks), len(between)) == (5, 4) and found["icn_hook_leaks"] == {None: 5}
    assert found["icn_hook_leaks_by_kind"] == {
        '{kind="vm-vm"}': 4, '{kind="vm-idle"}': 1, '{kind="vm-external"}': 0
    }


def of_the_hook(host):
    found = samples(host.engine("status", "--prometheus").stdout.decode())
    return found["icn_hook_hook_installed"].get(None), found["icn_hook_hook_known"].get(None)


def test_prometheus_of_the_hook(tmp_path):
    """As doctor judges it."""
    host = healthy_host(tmp_path / "host")
    assert of_the_hook(host) == (1, 1)
    host.path(HOOK).chmod(0o644)
    assert of_the_hook(host)[0] == 0
    host.path(HOOK).unlink()
    assert of_the_hook(host) == (0, None)
    install_hook(host)
    start_daemon(host, ago=HOUR)
    assert of_the_hook(host) == (1, 0)
    start_daemon(host, "virtqemud", LIBVIRTD + 1, ago=HOUR)
    host.path("/run/libvirtd.pid").unlink()
    shutil.rmtree(host.path(f"/proc/{LIBVIRTD}"))
    assert of_the_hook(host) == (1, 0)
    shutil.rmtree(host.path(f"/proc/{LIBVIRTD + 1}"))
    assert of_the_hook(host) == (1, None)
    start_daemon(host)
    host.path("/proc/stat").unlink()
    assert of_the_hook(host) == (1, None)


def test_prometheus_of_what_confirm_found(tmp_path):
    host = healthy_host(tmp_path / "host")

    def is_confirmed():
        return samples(host.engine("status", "--prometheus").stdout.decode())["icn_hook_confirmed"][None]

    assert is_confirmed() == 1
    confirmed.write(host, {(0, 0): {"verdict": "contradicted"}})
    assert is_confirmed() == 0
    confirmed.write(host)
    host.configure("[registers]\nstride = 8\n")
    assert is_confirmed() == 0


def test_prometheus_labels(scene):
    assert scene.libvirt.start(vm('x"y\\z{,}', 0)).running
    found = samples(scene.host.engine("status", "--prometheus").stdout.decode())
    assert [labels for labels in found["icn_hook_card_owner_info"] if 'vm="x\\"y\\\\z{,}"' in labels]


def test_output_file(scene, tmp_path):
    path = tmp_path / "icn-hook.prom"
    result = scene.host.engine("status", "--prometheus", "-o", path)
    assert (result.status, result.stdout, result.stderr) == (0, b"", "")
    assert path.read_bytes() == scene.host.engine("status", "--prometheus").stdout
    assert path.stat().st_mode & 0o7777 == 0o644
    for arguments in (["status", "--json"], ["topo", "--json"], ["topo", "--dot"]):
        assert scene.host.engine(*arguments, "--output", path).status == 0
        assert path.read_bytes() == scene.host.engine(*arguments).stdout
    assert sorted(os.listdir(tmp_path)) == ["host", "icn-hook.prom"]


def test_output_file_of_a_failure(scene, tmp_path):
    """Metrics of the look before would say that all is well."""
    path = tmp_path / "icn-hook.prom"
    path.write_text("old")
    scene.host.configure("broken")
    assert scene.host.engine("status", "--prometheus", "-o", path).status == 3
    assert samples(path.read_text()) == {"icn_hook_up": {None: 0}}
    result = scene.host.engine("status", "--prometheus")
    assert (result.status, result.stdout) == (3, path.read_bytes())


def test_output_that_is_no_file(scene, tmp_path):
    """Never a device: a test must not try it on the machine's own."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "dangling").symlink_to("nowhere")
    messages = {
        "fifo": "{} is not a regular file",
        "dangling": "{} is not a regular file",
        ".": "{} is not a regular file",
        "nowhere/file": "cannot write {}: No such file or directory",
    }
    for name, message in messages.items():
        path = f"{tmp_path}/{name}"
        result = scene.host.engine("status", "--prometheus", "-o", path)
        assert_error(result, 3, message.format(path), json=False)
    assert (tmp_path / "fifo").is_fifo()


def test_usage(scene):
    result = scene.host.engine("status", "--json", "--prometheus")
    assert_error(result, 2, "status takes --json or --prometheus, not both; see icn-hook help status", json=True)


# A host that lost a card: what is known is shown, then the error that every verb has

NAME_OF_3 = f"PPU 3 ({GUIDE_BDFS[3]})"
SERIALS = {ppu: f"00-00-00-00-00-00-00-{ppu + 1:02x}" for ppu in range(8)}
NOT_KNOWN = "NOT KNOWN whether every link that must be cut is: the cards do not fit [map]."


def pin_with_serials(host, ppus):
    """[map] gives the serial numbers of PPUS, and the cards have them."""
    lines = []
    for ppu, bdf in enumerate(GUIDE_BDFS):
        config = host.device(bdf) / "config"
        config.write_bytes(config_space(0x1DED, 0x6001, 0x120000, 0xD0000000, ppu + 1))
        lines.append(f"{ppu} = {bdf}" + (f" serial={SERIALS[ppu]}" if ppu in ppus else "") + "\n")
    host.configure("[map]\n" + "".join(lines))


def lose_and_gain(host):
    """Card 3 is gone, and a card is where none was."""
    host.remove_function(GUIDE_BDFS[3])
    host.add_function("0000:c7:00.0", 0x1DED, 0x6001, 0x120000, iommu_group=77)
    return (3, f"the cards have moved since [map] was written: PPU 3 was at {GUIDE_BDFS[3]}, where no card matches :6001 "
               "now, and 0000:c7:00.0 is a card that is not in [map]; run icn-hook setup")


def become_unreadable(host):
    path = host.device(GUIDE_BDFS[3]) / "vendor"
    path.write_text("")
    return (5, f"PCI function {GUIDE_BDFS[3]}: {path} does not hold a number up to 0xffff: \"\"; correct that, or take "
               "PPU 3 out of [map]")


def rows(result):
    """id -> the row's cells."""
    found = {}
    for line in result.stdout.decode().splitlines():
        if line[:3].strip().isdigit() and len(line.split()) >= 7:
            found[int(line.split()[0])] = line.split()[1:]
    return found


@pytest.mark.parametrize("lose", [lose_and_gain, become_unreadable])
def test_what_is_known_of_a_host_that_lost_a_card(host, lose):
    pin_with_serials(host, range(8))
    assert Libvirt(host).start(vm("a", 0, 1)).running
    before = rows(host.engine("status"))
    status, reason = lose(host)
    result = host.engine("status")
    assert (result.status, result.stderr) == (status, f"icn-hook: {reason}\n")
    now = rows(result)
    assert sorted(now) == list(range(8))
    assert {ppu for ppu in now if now[ppu][:7] != before[ppu][:7]} <= {2, 3, 5}, "place, mask and owner; 2 and 5: a link"
    assert now[0][4] == "gate" and now[0][6] == "a" and "=3" in now[0], "its owner, and what the gate read"
    assert now[2][:6] == [GUIDE_BDFS[2], "-", "0", "12", "0x00000018", "idle"]
    assert now[3][:2] == [GUIDE_BDFS[3], "ABSENT" if lose is lose_and_gain else "-"] and "unknown" in now[3]
    text = result.stdout.decode().splitlines()
    if lose is lose_and_gain:
        assert f"{NAME_OF_3} is not on the PCI bus; its serial number is {SERIALS[3]}" in text
    else:
        assert f"{NAME_OF_3}: whether that card is there, or another one, is not known: its registers were not read" in text
    assert text[-1] == NOT_KNOWN and "is verified" not in result.stdout.decode()
    start = host.hook("b", "prepare", vm("b", 6).xml())
    assert (start.status, start.stderr) == (status, f"icn-hook: VM 'b' is not started: {reason}\n")


def test_only_cards_that_show_who_they_are_are_known_then(host):
    """Others may have moved too: nothing is read there, and nothing that was read there counts."""
    pin_with_serials(host, [0, 2])
    assert Libvirt(host).start(vm("a", 0, 1)).running
    lose_and_gain(host)
    now = rows(host.engine("status"))
    assert [ppu for ppu in now if "unknown" not in now[ppu]] == [0, 2]
    assert now[1][:2] == [GUIDE_BDFS[1], "vfio-pci"] and "a" in now[1], "the driver at its address, and its owner"
    assert "not read back" not in host.engine("status").stdout.decode()


def test_no_card_is_left(host):
    pin_with_serials(host, range(8))
    for bdf in GUIDE_BDFS:
        host.remove_function(bdf)
    result = host.engine("status")
    assert (result.status, result.stderr.startswith("icn-hook: match = :6001 in [ppu] finds none of the 8 cards")) == (3, True)
    assert {cells[1] for cells in rows(result).values()} == {"ABSENT"} and len(rows(result)) == 8


def test_one_card_is_only_absent(host):
    """It harms no other, and everything else is known: no error."""
    pin_with_serials(host, range(8))
    host.remove_function(GUIDE_BDFS[3])
    result = host.engine("status")
    assert (result.status, result.stderr) == (0, "")
    assert f"{NAME_OF_3} is not on the PCI bus; its serial number is {SERIALS[3]}" in result.stdout.decode().splitlines()
    assert NOT_KNOWN not in result.stdout.decode()


def test_what_tools_read_of_it_is_an_error_as_before(host):
    pin_with_serials(host, range(8))
    status, reason = lose_and_gain(host)
    result = host.engine("status", "--json")
    assert (result.status, result.json()["schema"], result.json()["text"]) == (status, "icn-hook/error/1", reason)
    assert "icn_hook_up 0\n" in host.engine("status", "--prometheus").stdout.decode()
    assert host.engine("check").stdout == b"" and host.engine("check").status == status
