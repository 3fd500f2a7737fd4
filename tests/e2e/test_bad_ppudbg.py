# SPDX-License-Identifier: LGPL-2.1-or-later
"""The vendor's tool as backend: what it is called with, and what happens when it is
missing, hangs, fails, dies or talks too much."""

import ast
import re
import shutil
import time

import pytest

from bystander import BEFORE, vm
from libvirt_player import Libvirt
from simhost import GUIDE_BDFS

NEXT_STEP = "; its links are not all cut, so correct that, then start it again\n"
ISO = ["--direct", "--micnop", "iso"]
NOTHING_CUT = {ppu: 0 for ppu in range(8)}


@pytest.fixture(name="tool")
def fixture_tool(host):
    """The stand-in in the host's /usr/bin; one word in a file makes it fail."""
    return Tool(host)


class Tool:
    def __init__(self, host):
        self.host = host
        self.path = host.install_tool("ppudbg")
        host.configure("[registers]\nbackend = ppudbg\n[ppudbg]\ntimeout = 3\n")

    def fail(self, word):
        self.host.write("/etc/ppudbg.fault", word)

    def calls(self):
        path = self.host.path("/var/log/ppudbg.calls")
        text = path.read_text() if path.exists() else ""
        path.unlink(missing_ok=True)
        return [ast.literal_eval(line) for line in text.splitlines()]

    def iso(self, groups, words=ISO):
        """GROUPS of ids; the tool is given addresses."""
        by_address = re.sub(r"\d+", lambda ppu: self.host.bdfs[int(ppu[0])], groups)
        return [*words, str(self.host.path("/etc/icn-hook/icn_topo.cfg")), by_address]


def test_two_vms(host, tool):
    """Each VM's cards are one group; freed cards are isolated singly as long as any VM
    has a card, and only the last one's end resets the machine."""
    libvirt = Libvirt(host)
    assert libvirt.start(vm("a", 0, 1)).running
    assert tool.calls() == [tool.iso("0,1"), tool.iso("0,1")]  # prepare, start
    assert libvirt.start(vm("b", 2, 3)).running
    assert tool.calls() == [tool.iso("2,3"), tool.iso("2,3")]
    libvirt.stop("a")
    calls = tool.calls()
    assert calls and calls[0] == tool.iso("0|1") and [*ISO, "reset"] not in calls
    libvirt.stop("b")
    assert tool.calls()[-1] == [*ISO, "reset"]
    assert (host.masks(), host.claim_files()) == (NOTHING_CUT, {})


def test_newer_tool(host, tool):
    """The words before TOPOLOGY LIST are a setting; they go before `reset` too."""
    tool.path = tool.path.rename(tool.path.with_name("ppucli"))
    host.configure("[registers]\nbackend = ppudbg\n[ppudbg]\npath = /usr/bin/ppucli\nisolate =  --iso \n")
    libvirt = Libvirt(host)
    assert libvirt.start(vm("a", 0, 1)).running
    assert tool.calls() == [tool.iso("0,1", ["--iso"])] * 2
    assert {ppu: mask for ppu, mask in host.masks().items() if mask} == {0: 0x19, 1: 0x31}
    libvirt.stop("a")
    assert tool.calls()[-1] == ["--iso", "reset"]
    tool.fail("exit")
    result = host.hook("a", "prepare", vm("a", 0, 1).xml())
    topology = host.path("/etc/icn-hook/icn_topo.cfg")
    words = f'ppucli --iso {topology} "{GUIDE_BDFS[0]},{GUIDE_BDFS[1]}": {tool.path} ended with {FAULTS["exit"]}'
    assert (result.status, result.stderr) == (5, f"icn-hook: VM 'a' is not started: {words}{NEXT_STEP}")


def test_cards_are_named_by_address(host, tool):
    """Whatever ids the tool has itself: those of [map] are not its own."""
    ids = [5, 4, 7, 6, 1, 0, 3, 2]
    lines = "".join(f"{ppu} = {GUIDE_BDFS[index]}\n" for index, ppu in enumerate(ids))
    host.configure(f"[map]\n{lines}[registers]\nbackend = ppudbg\n")
    assert host.hook("a", "prepare", vm("a", 0, 3).xml()).status == 0
    assert [call[-1] for call in tool.calls()] == [f"{GUIDE_BDFS[0]},{GUIDE_BDFS[3]}"]


def test_running_vm_is_left_in_peace(host, tool):
    libvirt = Libvirt(host)
    assert libvirt.start(vm("a", 0, 1)).running
    tool.calls()
    libvirt.reconnect("a")
    assert tool.calls() == []


def test_plain_domain_asks_nobody(scene, host, tool):
    scene.assert_plain_domain_passes()
    scene.assert_nic_passes(host.add_nic())
    assert tool.calls() == []


FAULTS = {
    "exit": "exit status 1: ppudbg: error: the firmware refused",
    "signal": "signal 11",
    "hang": "did not end in time and was killed",
}


def assert_refused(scene, status, *words):
    before = scene.claim_files()
    result = scene.call("prepare")
    assert result.status == status, result
    assert result.stderr.startswith("icn-hook: VM 'a' is not started: ppudbg --direct --micnop iso "), result
    assert result.stderr.endswith(NEXT_STEP)
    for word in words:
        assert word in result.stderr, result
    assert f": vm=a op=prepare {result.stderr}" in scene.host.log()
    assert scene.masks() == BEFORE
    length = len(scene.host.log())
    for operation in ("stopped", "release"):
        result = scene.call(operation)
        assert (result.status, result.stderr) == (0, "")
    assert scene.masks() == BEFORE
    scene.assert_plain_domain_passes()
    assert len(scene.claim_files()) >= len(before)
    return scene.host.log()[length:]


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_refuses_the_start(scene, host, tool, fault):
    tool.fail(fault)
    start = time.monotonic()
    assert_refused(scene, 6 if fault == "hang" else 5, FAULTS[fault])
    assert time.monotonic() - start < 20
    result = scene.call("started")
    assert (result.status, result.stderr) == (0, "")


def test_gate_refuses_too(scene, tool):
    assert scene.call("prepare").status == 0
    tool.fail("exit")
    result = scene.call("start")
    assert result.status == 5 and FAULTS["exit"] in result.stderr


def test_missing(scene, tool):
    tool.path.unlink()
    assert_refused(scene, 5, "No such file or directory; check path in [ppudbg]")


def test_not_executable(scene, tool):
    tool.path.chmod(0o644)
    assert_refused(scene, 5, "Permission denied; check path in [ppudbg]")


def test_junk(scene, tool):
    tool.path.write_bytes(b"\x7fELF junk")
    tool.path.chmod(0o755)
    assert_refused(scene, 5, "Exec format error")


def test_directory(scene, tool):
    tool.path.unlink()
    tool.path.mkdir()
    assert_refused(scene, 5, "Permission denied")


def test_one_mib_of_output(scene, tool):
    """It is read to its end, so that the tool can finish, and stays out of stdout and
    stderr (which every hook call of these tests looks at)."""
    tool.fail("flood")
    result = scene.call("prepare")
    assert (result.status, result.stderr) == (0, "")
    assert scene.masks()[0] == 0x19 and scene.masks()[1] == 0x31
    assert len(scene.host.log()) < 10000


def test_output_and_failure(scene, tool):
    """Of a flood that ends in a failure the refusal holds one line."""
    tool.path.write_text("#!/bin/sh\nyes 'line\twith a tab' | head -c 1000000\nprintf 'the\\001 end'\nexit 7\n")
    assert_refused(scene, 5, "exit status 7", "the\\x01 end")


def test_nothing_of_the_environment_reaches_the_tool(scene, tool, tmp_path):
    notes = f"env > '{tmp_path}/environment'\nread line && echo \"$line\" > '{tmp_path}/stdin'\n"
    tool.path.write_text(f"#!/bin/sh\n{notes}exit 0\n")
    result = scene.host.hook("a", "prepare", scene.a.xml(), SECRET="word", LD_LIBRARY_PATH="/nowhere")
    assert result.status == 0
    names = {line.split("=")[0] for line in (tmp_path / "environment").read_text().splitlines()}
    assert not names & {"SECRET", "LD_LIBRARY_PATH", "ICN_ENGINE", "ICN_HOOK_DEADLINE", "ICN_HOOK_VERDICT_FD"}
    assert not (tmp_path / "stdin").exists()


def test_child_that_outlives_the_tool(scene, tool):
    """What it left in the background and holds its output is killed with it."""
    tool.path.write_text("#!/bin/sh\nsleep 300 &\nexit 0\n")
    start = time.monotonic()
    result = scene.call("prepare")
    assert time.monotonic() - start < 10
    assert result.status in (0, 6)


def test_failed_restore_is_made_up_for(host, tool):
    """What could not be reset at the end stays cut, and the next end resets it."""
    libvirt = Libvirt(host)
    assert libvirt.start(vm("a", 0, 1)).running
    tool.fail("fail-reset")
    libvirt.stop("a")
    assert host.masks()[0] == 0x19
    assert "reset failed" in host.log()
    tool.fail("")
    assert libvirt.start(vm("c", 6)).running
    libvirt.stop("c")
    assert (host.masks(), host.claim_files()) == (NOTHING_CUT, {})


def test_status_says_what_it_cannot_know(scene, host, tool):
    result = host.engine("status", "--json")
    assert result.status == 0
    assert {card["mask"] for card in result.json()["ppus"]} == {None}
    assert {link["live"] for card in result.json()["ppus"] for link in card["links"]} == {None}
    reason = "backend ppudbg cannot read single registers; set backend = mmio to verify them"
    assert f"PPU 0 ({GUIDE_BDFS[0]}): {reason}" in [finding["text"] for finding in result.json()["findings"]]
    assert tool.calls() == []
