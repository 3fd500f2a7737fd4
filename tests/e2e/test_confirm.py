# SPDX-License-Identifier: LGPL-2.1-or-later
"""icn-hook confirm: what is said of right settings, of each single wrong one, of links
that nobody sees, and what is left behind.

The cards are played by link_status.py and by the stand-ins for the vendor's tools, from
the wiring; which setting is wrong they do not know.
"""

import json
import re
import subprocess
import threading
import time

import pytest

import confirmed
from domain_xml import PREPARE
from link_status import LinkStatus
from simhost import SimHost
from terminal import run_on_terminal
from topology import Topology
from wiring import LinkRegisters, Wiring, guide_8, published_16

GUIDE_ENDS = sorted(Topology.vendor().joins())
WAIT = "8"  # links that do as they are expected to take no time
SHORT = "1"  # for those that do not
NEVER_OPEN = 0xABC00040  # bits of no link


@pytest.fixture(name="host")
def fixture_host(tmp_path):
    host = SimHost(tmp_path / "host", model="guide-8")
    host.set_masks(dict.fromkeys(range(8), NEVER_OPEN))
    return host


def confirm(host, *arguments, wait=WAIT, delay=0.0, status=0, plays=True, **environment):
    """The JSON; STATUS is what it must exit with.  The registers are as before."""
    before = host.masks()

    def run():
        return host.engine("confirm", "--json", "--wait", wait, *arguments, **environment)

    if plays:
        with LinkStatus(host, delay):
            result = run()
    else:
        result = run()
    assert (result.status, result.stderr) == (status, ""), (result, result.stdout.decode())
    assert host.masks() == before
    return result.json()


def verdicts(answer):
    """{(ppu, link): verdict}"""
    return {(link["ppu"], link["link"]): link["verdict"] for link in answer["links"]}


def reasons(answer, verdict="no witness"):
    return {(link["ppu"], link["link"]): link["reason"] for link in answer["links"] if link["verdict"] == verdict}


def all_are(answer, verdict):
    return set(verdicts(answer).values()) == {verdict}


def ids(host):
    """id -> address"""
    return dict(enumerate(host.bdfs))


def swapped(host, a, b):
    return {**ids(host), a: host.bdfs[b], b: host.bdfs[a]}


def card(host, ppu):
    return f"PPU {ppu} ({host.bdfs[ppu]})"


# Right settings


def test_right_settings(host):
    answer = confirm(host, delay=0.02)
    assert answer["schema"] == "icn-hook/confirm/1"
    ends = sorted((link["ppu"], link["link"], link["peer"]) for link in answer["links"])
    assert ends == [(*near, far[0]) for near, far in GUIDE_ENDS]
    assert all_are(answer, "confirmed")
    assert (answer["suspects"], answer["warnings"], answer["unknown_links"]) == ([], [], [])
    assert answer["links"][0] == {
        "ppu": 0,
        "link": 0,
        "peer": 6,
        "verdict": "confirmed",
        "witnesses": ["register: PPU 0 cut, PPU 6 open", "status: PPU 0 down, PPU 6 down"],
        "reason": None,
    }
    assert host.remembered() == {} and host.claims() == {}


def test_every_card_is_written(host):
    """One end of each link, but not always that of the same card."""
    answer = confirm(host)
    written = {int(re.match(r"register: PPU (\d+) cut", link["witnesses"][0])[1]) for link in answer["links"]}
    assert written == set(range(8))


def test_result_is_kept(host):
    confirm(host)
    kept = json.loads(host.path(confirmed.FILE).read_text())
    assert kept["made_for"] == confirmed.made_for(host)
    assert [{**link, "at": confirmed.AT} for link in kept["links"]] == confirmed.links(host)
    assert abs(kept["links"][0]["at"] - time.time()) < 100
    assert host.path(confirmed.FILE).stat().st_mode & 0o7777 == 0o644


def test_published_machine(tmp_path):
    """Two links between 6 and 7, which cross: the far end of each is one of two.  Links that
    leave the host have one end here; nothing answers at the other end of link 2."""
    host = SimHost(tmp_path / "host", model="810e-16")
    answer = confirm(host, status=7)
    within = [link for link in answer["links"] if link["peer"] is not None]
    assert [link["verdict"] for link in within] == ["confirmed"] * 40
    leaving = {(link["ppu"], link["link"]): link for link in answer["links"] if link["peer"] is None}
    assert sorted(leaving) == [(ppu, link) for ppu in range(16) for link in (1, 2)]
    assert leaving[0, 1]["witnesses"] == ["register: PPU 0 cut", "status: PPU 0 down"]
    assert {leaving[ppu, 1]["verdict"] for ppu in range(16)} == {"confirmed"}
    assert {leaving[ppu, 2]["reason"] for ppu in range(16)} == {"it was down before it was cut"}


def test_text(host):
    with LinkStatus(host):
        result = host.engine("confirm", "--wait", WAIT, "0,1")
    lines = result.stdout.decode().splitlines()
    assert result.status == 0
    assert lines[0] == (
        "PPU 0 link 0 to PPU 6: confirmed (register: PPU 0 cut, PPU 6 open; status: PPU 0 down, PPU 6 down)"
    )
    assert lines[-1] == "7 links: 7 confirmed, 0 contradicted, 0 without a witness"
    assert "verb=confirm 7 links: all are confirmed" in host.log()


def test_only_links_of_the_list(host):
    answer = confirm(host, "6|0000:08:00.0")
    assert list(verdicts(answer)) == [(0, 0), (0, 3), (0, 4), (0, 5), (4, 3), (5, 4), (6, 5)]


def test_slow_links(host):
    """They settle within the wait, and not at once."""
    assert all_are(confirm(host, "0,1", wait="5", delay=0.4), "confirmed")


def test_links_that_settle_too_late(host):
    answer = confirm(host, "5,7", wait="0.1", delay=1.5, status=1)
    assert verdicts(answer)[5, 5] == "contradicted"
    assert answer["links"][-1]["reason"].startswith("cut at PPU")


def test_idle_isolate(host):
    """What the policy has cut is opened for the trial, and cut again."""
    host.configure("[policy]\nidle = isolate\n")
    assert host.engine("repair").status == 0
    isolated = {ppu: NEVER_OPEN | mask for ppu, mask in host.isolated(*([ppu] for ppu in range(8))).items()}
    assert host.masks() == isolated
    assert all_are(confirm(host), "confirmed")


# One wrong setting


SWAPS = [(0, 1), (2, 5), (3, 7), (0, 6)]


@pytest.mark.parametrize("a, b", SWAPS)
def test_swapped_ids(host, a, b):
    host.map_ids(swapped(host, a, b))
    answer = confirm(host, wait=SHORT, status=1)
    wrong = swapped(host, a, b)
    assert answer["suspects"] == [f"ids: PPU {a} ({wrong[a]}) and PPU {b} ({wrong[b]}) have each other's id in [map]"]
    assert "contradicted" in verdicts(answer).values()


def test_other_polarity(host):
    """All links read as cut, and are up."""
    host.configure("[registers]\ncut_bit = 0\n")
    answer = confirm(host, status=1)
    assert all_are(answer, "contradicted")
    assert answer["suspects"] == ["cut_bit: a bit that is 0 does not cut a link, the other value does"]
    assert reasons(answer, "contradicted")[0, 0] == (
        "it reads as cut at PPU 0, and is up; it goes down when it is opened there"
    )


NOWHERE = [
    "link_config: register 0xbe382 does not cut links",
    "bar: the registers are not in BAR 0",
    "stride: a register is not 4 bytes after the one before it",
]


def test_registers_elsewhere(host):
    """The cards have theirs at another distance; what the settings say is memory that keeps
    what is written.  Only the tools see the links."""
    host.set_hardware(LinkRegisters(config=0xBE300))
    answer = confirm(host, "0", wait=SHORT, status=1)
    assert all_are(answer, "contradicted")
    assert answer["suspects"] == [*NOWHERE, "link_status: register 0xbe383 does not show links"]
    assert reasons(answer, "contradicted")[0, 0] == "cut at PPU 0, and still up"


@pytest.mark.parametrize("line, reason", [
    ("stride = 8", "resource0 has 4194304 bytes, too few for the register at 0x5f1c10"),
    ("bar = 2", "resource2 is missing: the card has no such BAR"),
])
def test_registers_out_of_reach(host, line, reason):
    host.configure(f"[registers]\n{line}\n")
    answer = confirm(host, status=1)
    assert all_are(answer, "contradicted")
    assert {text.startswith(reason) for text in reasons(answer, "contradicted").values()} == {True}, reasons(answer, "contradicted")
    key = line.split()[0]
    assert any(suspect.startswith(f"{key}: ") for suspect in answer["suspects"])
    assert not any(suspect.startswith(("cut_bit", "ids", "topology")) for suspect in answer["suspects"])


def test_wrong_index(host):
    """The topology calls link 0 of PPU 1 link 1."""
    links = {ppu: dict(links) for ppu, links in host.topology.links.items()}
    links[1][1] = links[1].pop(0)
    host.write("/etc/icn-hook/icn_topo.cfg", Topology(links).text())
    answer = confirm(host, wait="3", status=1)
    assert answer["suspects"] == [f"topology: the links 0 and 1 of {card(host, 1)} have each other's index"]
    assert answer["unknown_links"] == [f"link 0 of {card(host, 1)} is up, and the topology does not know it"]
    assert [end for end, verdict in verdicts(answer).items() if verdict == "contradicted"] == [(1, 1)]


def test_exchanged_links(host):
    """Two lines of the topology have each other's neighbour."""
    links = {ppu: dict(links) for ppu, links in host.topology.links.items()}
    links[0][3], links[0][4] = links[0][4], links[0][3]
    host.write("/etc/icn-hook/icn_topo.cfg", Topology(links).text())
    answer = confirm(host, wait="3", status=1)
    assert answer["suspects"] == [f"topology: the links 3 and 4 of {card(host, 0)} have each other's index"]
    assert [end for end, verdict in verdicts(answer).items() if verdict == "contradicted"] == [(0, 3), (0, 4)]


def test_two_wrong_settings(host):
    """No single one explains it."""
    host.map_ids({**ids(host), 0: host.bdfs[1], 1: host.bdfs[2], 2: host.bdfs[0]})
    answer = confirm(host, wait=SHORT, status=1)
    assert answer["suspects"] == []
    with LinkStatus(host):
        text = host.engine("confirm", "--wait", SHORT, "0").stdout.decode()
    assert text.splitlines()[-1] == "No single setting that is wrong would explain all that was seen."


# Nothing to be seen


def test_no_status_register(host):
    """It shows nothing, of any card."""
    answer = confirm(host, status=7, plays=False)
    assert all_are(answer, "no witness")
    assert set(reasons(answer).values()) == {"nothing but the register itself tells anything of it"}
    assert answer["warnings"] == ["the link status register reports no link of any card as up"]


# The vendor's tools, which need the vendor's driver: then the cards' registers are taken, and
# ppudbg has to make the cuts, of a whole card at once.


@pytest.fixture(name="tools")
def fixture_tools(tmp_path):
    host = SimHost(tmp_path / "host", cards=2, topology=Topology.ring(2))
    host.install_tools()
    host.load_driver()
    host.pin_ids("[registers]\nbackend = ppudbg\n[policy]\nlock_timeout = 600\n[ppudbg]\ntimeout = 200\n")
    return host


def fault(host, tool, *words):
    host.write(f"/etc/{tool}.fault", " ".join(words))


def confirm_with_tools(host, wait="200", status=0):
    result = host.run([host.engine_program, "confirm", "--json", "--wait", wait], timeout=600)
    assert (result.status, result.stderr) == (status, ""), result
    assert host.masks() == {0: 0, 1: 0}
    assert host.remembered() == {}
    return result.json()


def test_tools(tools):
    (link,) = confirm_with_tools(tools)["links"]
    assert link["verdict"] == "confirmed"
    assert link["witnesses"] == ["ppu-smi: PPU 0 down, PPU 1 down", "ppudbg: PPU 0 down, PPU 1 down"]


def test_tool_that_lies(tools):
    """It says the opposite: that the link is down, until it is cut."""
    fault(tools, "ppu-smi", "lie-state")
    answer = confirm_with_tools(tools)
    assert answer["links"][0]["witnesses"] == ["ppudbg: PPU 0 down, PPU 1 down"]
    assert answer["warnings"] == ["ppu-smi reports no link of any card as up"]


def test_tool_without_sense(tools):
    fault(tools, "ppu-smi", "noise")
    answer = confirm_with_tools(tools)
    assert answer["links"][0]["witnesses"] == ["ppudbg: PPU 0 down, PPU 1 down"]
    assert answer["warnings"] == [
        "ppu-smi is not asked any more: output of ppu-smi --query-ppu=index,pci.bus_id,uuid,serial:1: the line is "
        "longer than 512 bytes"
    ]


def test_tool_that_prints_too_much(tools):
    fault(tools, "ppudbg", "flood")
    assert all_are(confirm_with_tools(tools), "confirmed")


def test_tools_that_hang(host):
    """They are asked once each, and not for long."""
    host.configure("[policy]\nlock_timeout = 6\n")
    for tool in ("ppu-smi", "ppudbg"):
        script = f"#!/bin/sh\necho called >>{host.path('/var/log')}/{tool}.calls\nsleep 3600\n"
        host.write(f"/usr/bin/{tool}", script).chmod(0o755)
    answer = confirm(host, "0,1")
    assert all_are(answer, "confirmed")
    assert [warning.split(":")[0] for warning in answer["warnings"]] == [
        "ppu-smi is not asked any more",
        "ppudbg is not asked any more",
    ]
    for tool in ("ppu-smi", "ppudbg"):
        assert host.path(f"/var/log/{tool}.calls").read_text().count("\n") == 1


def test_backend_that_opens_only_all(tools):
    """With a VM on a card ppudbg cannot give a single card back."""
    tools.unload_driver()
    result = tools.engine("apply", "--name", "mine", "0")
    assert result.status == 0, result
    result = tools.engine("confirm")
    assert result.status == 4
    assert result.stderr == (
        f"icn-hook: PPU 0 ({tools.bdfs[0]}) has the owner mine, and backend ppudbg opens links only for all cards at "
        "once; confirm when no card is in use\n"
    )


def test_broken_links(tmp_path):
    wiring = guide_8()
    wiring = Wiring(wiring.cards, wiring.joins, broken=[(wiring.bdfs[0], 3)])
    host = SimHost(tmp_path / "host", wiring=wiring)
    answer = confirm(host, status=7)
    assert reasons(answer) == {(0, 3): "it was down before it was cut"}
    kept = {(link["ppu"], link["link"]): link for link in json.loads(host.path(confirmed.FILE).read_text())["links"]}
    assert [end for end, link in kept.items() if link["down"]] == [(0, 3)]


def test_driver_holds_the_registers(host):
    host.load_driver(host.bdfs[4])
    answer = confirm(host, status=7)
    held = "resource0 cannot be mapped now: a driver or QEMU holds the card's registers (EINVAL)"
    assert reasons(answer) == {
        (2, 0): held,
        (4, 4): held,
        (4, 3): "nobody sees its other end",
        (4, 5): "nobody sees its other end",
    }


def test_cut_by_somebody_else(host):
    host.set_masks({0: NEVER_OPEN | 1})
    answer = confirm(host, status=7)
    assert list(reasons(answer)) == [(0, 0)]
    assert reasons(answer)[0, 0].startswith("it is cut already")


# Cards in use


def test_cards_in_use_are_left_out(host, libvirt):
    assert libvirt.start(host.vm("vm1", 0, 1)).running
    answer = confirm(host, status=7)
    left_out = {(0, 0), (0, 3), (0, 4), (0, 5), (1, 0), (1, 4), (1, 5)}
    assert set(reasons(answer)) == left_out
    assert reasons(answer)[0, 3] == (
        f"left out: {card(host, 0)} is owned by VM 'vm1' ({host.vm('vm1').uuid}), which runs; stop that VM or choose "
        "another card"
    )


def test_earlier_result_of_links_that_are_left_out(host, libvirt):
    confirm(host)
    first = host.path(confirmed.FILE).read_text()
    assert libvirt.start(host.vm("vm1", 0, 1)).running
    confirm(host, status=7)
    second = json.loads(host.path(confirmed.FILE).read_text())
    assert all(link["verdict"] == "confirmed" for link in second["links"])
    assert [link["ppu"] for link in second["links"]] == [link["ppu"] for link in json.loads(first)["links"]]


def test_cards_held_by_somebody(host):
    host.set_driver(host.bdfs[5], "vfio-pci")
    host.hold(host.bdfs[5])
    answer = confirm(host, status=7)
    assert set(reasons(answer)) == {(3, 0), (4, 5), (5, 4), (5, 5)}
    assert all("is not a known VM" in reason for reason in reasons(answer).values())


def test_state_that_may_hide_an_owner(host):
    uuid = host.vm("vm1").uuid
    host.write(f"/run/icn-hook/{uuid}.json", "{")
    host.path("/run/icn-hook").chmod(0o700)
    result = host.engine("confirm", "--wait", WAIT)
    assert result.status == 4
    assert "a card may belong to a VM" in result.stderr
    assert not host.path(confirmed.FILE).exists()


def test_vms_that_start_meanwhile(host):
    """The lock is held for one link at a time, and each asks again who has its cards."""
    domain = host.vm("vm1", 0, 1)
    with LinkStatus(host, 0.15):
        answer = {}

        def run():
            answer.update(host.engine("confirm", "--json", "--wait", "5").json())

        thread = threading.Thread(target=run)
        thread.start()
        time.sleep(0.8)
        began = time.monotonic()
        result = host.hook(domain.name, "prepare", domain.xml(PREPARE))
        took = time.monotonic() - began
        thread.join()
    assert (result.status, result.stderr) == (0, "")
    assert took < 5, "it had to wait for more than the link under trial"
    left_out = set(reasons(answer))
    assert left_out and left_out < {(0, 0), (0, 3), (0, 4), (0, 5), (1, 0), (1, 4), (1, 5)}
    assert all("vm1" in reason for reason in reasons(answer).values())
    required = host.isolated([0, 1])
    assert host.masks() == {ppu: NEVER_OPEN | mask for ppu, mask in required.items()}


def test_configuration_that_changes_meanwhile(host):
    with LinkStatus(host, 0.15):
        environment = host.environment()
        command = [str(host.engine_program), "confirm", "--wait", "5"]
        with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
            time.sleep(0.5)
            host.map_ids(swapped(host, 0, 1))
            stderr = run.communicate()[1]
    assert (run.returncode, stderr) == (
        3,
        "icn-hook: the configuration has changed meanwhile; run icn-hook confirm again\n",
    )
    assert host.masks() == dict.fromkeys(range(8), NEVER_OPEN)
    assert not host.path(confirmed.FILE).exists()


# Killed


def test_killed_while_a_link_is_cut(host):
    """The memory knows that the cut is ours: repair, and the next hook, give it back."""
    before = host.masks()
    with LinkStatus(host, 1.0):
        command = [str(host.engine_program), "confirm", "--wait", "5"]
        with subprocess.Popen(command, env=host.environment(), stdout=subprocess.DEVNULL) as run:
            deadline = time.monotonic() + 10
            while host.masks() == before:
                assert time.monotonic() < deadline, "nothing was cut"
            run.kill()
        assert host.masks() != before
    (remembered,) = host.remembered().values()
    assert remembered["original"] == "0x00000000"
    assert host.engine("repair").status == 0
    assert host.masks() == before
    assert host.remembered() == {}


# Options and output


@pytest.mark.parametrize("wait", ["", "-1", "x", "1s", "601", "1.", "1.0001", ".5", "1e2"])
def test_bad_wait(host, wait):
    result = host.engine("confirm", "--wait", wait)
    assert result.status == 2
    assert f"--wait takes seconds, 0 to 600, not '{wait}'" in result.stderr


def test_bad_list(host):
    assert host.engine("confirm", "0,9").status == 3
    assert host.engine("confirm", "0,,1").status == 2


def test_result_that_cannot_be_kept(host):
    host.write("/var/lib/icn-hook", "a file\n")
    answer = confirm(host, "5,7", status=5)
    assert all_are(answer, "confirmed")
    assert answer["warnings"] == [f"the result is not kept: {host.path('/var/lib/icn-hook')} is not a directory"]


def test_progress_on_a_terminal(host):
    """On stderr, and only there; the line is empty again at the end."""
    shell = f"exec 2>&1 >/dev/null; exec {host.engine_program} confirm --wait {WAIT} 6"
    with LinkStatus(host):
        status, output = run_on_terminal(["/bin/sh", "-c", shell], host.environment(), 80)
    assert status == 0
    assert output == "".join(f"\r\033[Kconfirm: {number} of 4" for number in range(1, 5)) + "\r\033[K"
