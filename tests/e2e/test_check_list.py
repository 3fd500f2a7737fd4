# SPDX-License-Identifier: LGPL-2.1-or-later
"""check LIST: whether groups are in force, whoever owns the cards; and the manual
verbs over the vendor's tool, without root and with an output that is gone."""

import os
import subprocess
from types import SimpleNamespace

import pytest

from simhost import GUIDE_BDFS
from test_bad_ppudbg import ISO, Tool
from test_command_line import as_ordinary_user
from test_manual import GUIDE_LIST, GUIDE_MASKS, IDLE, apply, card_text, fine, names, required

WHOLE = "OK: every group is isolated, and no link inside a group is read as cut"


def check(host, groups, *options):
    result = host.engine("check", groups, *options)
    assert result.stderr == ""
    return result


def lines(result):
    return result.stdout.decode().splitlines()


def fault(text):
    return {"code": "cut-missing", "severity": "error", "ppu": None, "vm": None, "text": text}


def test_in_force(host):
    host.set_masks(GUIDE_MASKS)
    result = check(host, GUIDE_LIST)
    expected = ["group 0,1: isolated", "group 2,3: isolated", "group 4,5,7: isolated", "group 6: isolated", WHOLE]
    assert (result.status, lines(result)) == (0, expected)
    result = check(host, "1,0|6", "--json")
    assert (result.status, result.json()) == (
        0,
        {
            "schema": "icn-hook/check/2",
            "ok": True,
            "leaks": [],
            "drift": [],
            "groups": [
                {"cards": [0, 1], "ok": True, "verdict": "isolated"},
                {"cards": [6], "ok": True, "verdict": "isolated"},
            ],
            "coverage": {"required": 9, "proven": 9, "gated": 0, "unverified": 0},
            "findings": [],
        },
    )


def test_near_ends_alone_are_enough(host):
    host.set_masks({0: 0x19, 1: 0x31})
    assert check(host, "0,1").status == 0


def test_live_link(host):
    host.set_masks({0: 0x18, 1: 0x31, 6: 0x39})
    result = check(host, "0,1|6", "--json")
    line = f"link 0 of {card_text(0)} to {card_text(6)} leaves the group and is not cut"
    assert (result.status, result.json()) == (
        1,
        {
            "schema": "icn-hook/check/2",
            "ok": False,
            "leaks": [],
            "drift": [{"ppu": 0, "mask": "0x00000018", "required": "0x00000019"}],
            "groups": [
                {"cards": [0, 1], "ok": False, "verdict": "not isolated"},
                {"cards": [6], "ok": True, "verdict": "isolated"},
            ],
            "coverage": {"required": 9, "proven": 9, "gated": 0, "unverified": 0},
            "findings": [fault(line)],
        },
    )
    host.set_masks({6: 0})
    result = check(host, "0,1", "--json")
    line = f"link 0 of {card_text(0)} to {card_text(6)} leaves the group and is LIVE: open on both sides"
    assert (result.status, result.json()["leaks"], result.json()["findings"]) == (1, [{"a": 0, "b": 6}], [fault(line)])
    result = check(host, "0,1")
    assert lines(result) == [line, "group 0,1: NOT isolated", "FAILED: groups that are not isolated: 1"]


def test_cut_inside_a_group(host):
    host.set_masks({0: 0x39, 1: 0x31})
    result = check(host, "0,1")
    line = f"link 5 of {card_text(0)} to {card_text(1)} is cut, though both are in one group"
    assert (result.status, lines(result)[0]) == (1, line)


def test_unread_card(host):
    """One end that is known to be cut is enough; none is not."""
    host.set_masks({0: 0x19, 1: 0x31, 2: 0x18, 3: 0x30, 7: 0x01})
    (host.device(GUIDE_BDFS[0]) / "resource0").unlink()
    why = f"{card_text(0)}: resource0 is missing: the card has no such BAR; check bar in [registers]"
    result = check(host, "0,1")
    line = f"link 0 of {card_text(0)} to {card_text(6)} leaves the group, and no end could be read as cut"
    assert (result.status, lines(result)) == (
        7,
        [
            why,
            line,
            "group 0,1: cannot be verified",
            "CANNOT BE VERIFIED: groups of which not every cut can be shown: 1",
        ],
    )
    groups = check(host, "0,1|4", "--json").json()["groups"]
    assert [group["verdict"] for group in groups] == ["unverified", "not isolated"]
    host.set_masks({6: 0x01})
    result = check(host, "0,1")
    assert (result.status, lines(result)) == (0, [why, "group 0,1: isolated", WHOLE])


def test_absent_card(host):
    host.pin_ids()
    host.set_masks(GUIDE_MASKS)
    host.remove_function(GUIDE_BDFS[6])
    result = check(host, "6|0,1")
    assert (result.status, lines(result)) == (
        1,
        [
            f"{card_text(6)} is not on the PCI bus",
            "group 6: NOT isolated",
            "group 0,1: isolated",
            "FAILED: groups that are not isolated: 1",
        ],
    )


# The vendor's tool


@pytest.fixture(name="tool")
def fixture_tool(host):
    return Tool(host)


def test_vendor_tool(host, tool):
    """LIST reaches it as one argument and no shell; the whole machine is reset only
    when nobody owns a card."""
    apply(host, "0,1|2,3")
    assert tool.calls() == [tool.iso("0,1|2,3")]
    assert names(host) == ["manual-0", "manual-2"]
    fine(host.engine("release", "manual-0"))
    assert tool.calls() == [tool.iso("0|1")]
    fine(host.engine("release", "manual-2"))
    assert tool.calls() == [[*ISO, "reset"]]
    apply(host, "6")
    tool.calls()
    fine(host.engine("reset"))
    assert tool.calls() == [[*ISO, "reset"]]
    assert (host.masks(), host.claims()) == (IDLE, {})


@pytest.mark.parametrize("groups", ["0;touch ../pwned", "$(touch pwned)", "0|1;id", "`id`", "0 1", "0&"])
def test_no_shell(host, tool, groups):
    for arguments in (["apply", groups], ["--vm_devices", groups]):
        assert host.engine(*arguments).status == 2
    assert (tool.calls(), host.claim_files()) == ([], {})


def test_vendor_tool_isolates_idle_cards(host, tool):
    host.configure("[registers]\nbackend = ppudbg\n[policy]\nidle = isolate\n")
    fine(host.engine("reset"))
    assert tool.calls() == [tool.iso("0|1|2|3|4|5|6|7")]


def test_vendor_tool_fails(host, tool):
    """The vendor's script ended with 0."""
    tool.fail("fail-reset")
    result = host.engine("-r")
    assert result.status == 5
    assert result.stderr.startswith("icn-hook: ppudbg --direct --micnop iso reset: "), result
    tool.fail("exit")
    result = host.engine("apply", "0,1|2,3", "--json")
    assert (result.status, result.json()["code"], result.json()["writes"]) == (5, "hardware", [])
    assert "the firmware refused" in result.stderr and result.stderr.count("\n") == 1
    tool.fail("")
    fine(host.engine("reset"))
    assert (host.masks(), host.claims()) == (IDLE, {})


def test_vendor_tool_is_not_asked_in_a_dry_run(host, tool):
    for arguments in (["apply", "0,1"], ["reset"]):
        fine(host.engine(*arguments, "-n"))
    assert (tool.calls(), host.path("/run/icn-hook").exists()) == ([], False)


def test_reset_under_a_vm_asks_the_tool_only_by_force(scene):
    """VM b was isolated through mmio; then the backend is the tool."""
    tool = Tool(scene.host)
    assert scene.host.engine("reset").status == 4
    assert tool.calls() == []
    assert scene.host.engine("reset", "--force").status == 0
    assert tool.calls() == [[*ISO, "reset"]]
    assert list(scene.host.claims()) == [f"{scene.b.uuid}.json"]


# Who asks, and where the answer goes


@pytest.mark.parametrize("arguments", [["apply", "0"], ["release", "red"], ["reset"]])
def test_without_root(host, tmp_path, arguments):
    assert os.geteuid() == 0, "only root can become somebody else"
    scene = SimpleNamespace(host=host)
    status, stdout, stderr = as_ordinary_user(scene, tmp_path, host.engine_program, *arguments)
    assert (status, stdout) == (5, b"") and stderr.endswith("/run/icn-hook: this needs root\n"), stderr
    assert as_ordinary_user(scene, tmp_path, host.engine_program, "apply", "0", "--dry-run")[0] == 0


@pytest.mark.parametrize("arguments", [["apply", "0"], ["reset"], ["check", "0"]])
def test_full_disk(host, arguments):
    """The work is done; that nobody was told is an error all the same."""
    host.set_masks({0: 0x39})
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [host.engine_program, *arguments], stdout=full, stderr=subprocess.PIPE, env=host.environment(), check=False
        )
    assert (done.returncode, done.stderr) == (5, b"icn-hook: cannot write to standard output: No space left on device\n")
    if arguments[0] == "apply":
        assert host.masks()[0] == required(host, [0])[0]
