# SPDX-License-Identifier: LGPL-2.1-or-later
"""repair: what it says and how it ends; and the line that every verb that changes something has in the log."""

import re

from bystander import BEFORE, WITH_A
from simhost import GUIDE_BDFS

CARD_4 = f"PPU 4 ({GUIDE_BDFS[4]})"


def lines_of_verbs(host):
    return [re.sub(r"^icn-hook\[\d+\]: ", "", line) for line in host.log().splitlines() if "]: verb=" in line]


def test_nothing_to_do(scene):
    result = scene.host.engine("repair")
    assert (result.status, result.stderr) == (0, "")
    assert result.stdout.decode().splitlines() == [
        "No register had to be written.",
        "6 links must be cut: 6 read now, 0 read back before QEMU opened the cards, 0 unverified",
    ]
    assert lines_of_verbs(scene.host) == []


def test_a_missing_cut(scene):
    """As after a bus reset of an idle neighbour."""
    scene.host.write_register(4, 0)
    write = {"ppu": 4, "bdf": GUIDE_BDFS[4], "from": "0x00000000", "to": "0x00000001"}
    result = scene.host.engine("repair", "--dry-run", "--json")
    assert (result.status, result.json()["writes"], scene.host.mask(4)) == (1, [write], 0)
    assert lines_of_verbs(scene.host) == []
    result = scene.host.engine("repair", "--json")
    assert (result.status, result.stderr) == (0, "")
    assert result.json() == {
        "schema": "icn-hook/repair/1",
        "dry_run": False,
        "writes": [write],
        "debts": [],
        "coverage": {"required": 6, "proven": 6, "gated": 0, "unverified": 0},
        "findings": [],
    }
    assert scene.masks() == BEFORE
    assert lines_of_verbs(scene.host) == ["verb=repair the whole host; cut: 4:0x00000000>0x00000001; restored: nothing"]
    scene.host.write_register(4, 0)
    assert f"{CARD_4} written: 0x00000000 -> 0x00000001\n" in scene.host.engine("repair").stdout.decode()


def test_what_stays_unverified(scene):
    """Nothing can be done for a VM that was let through by nobody; it is said, and not passed over."""
    assert scene.libvirt.start(scene.a).running
    for path in scene.host.path("/run/icn-hook").glob("*.json"):
        path.unlink()
    result = scene.host.engine("repair", "--json")
    assert (result.status, result.stderr) == (7, "")
    found = result.json()
    assert found["coverage"] == {"required": 8, "proven": 4, "gated": 0, "unverified": 4}
    assert {"no-gate", "unverified", "repaired"} <= {finding["code"] for finding in found["findings"]}
    assert scene.masks() == WITH_A
    assert len(scene.host.claims()) == 2


def test_a_debt(scene):
    """A card that nobody can write stays owed: reported, and no failure; then it is paid."""
    assert scene.call("prepare").status == 0
    scene.host.set_driver(GUIDE_BDFS[0], "ppu")
    assert scene.call("stopped").status == scene.call("release").status == 0
    result = scene.host.engine("repair", "--json")
    assert result.json()["debts"] == [{"ppu": 0, "owed": "0x00000018"}]
    assert "owed" in {finding["code"] for finding in result.json()["findings"]}
    scene.host.set_driver(GUIDE_BDFS[0], None)
    result = scene.host.engine("repair", "--json")
    assert (result.status, result.json()["debts"], scene.masks()) == (0, [], BEFORE)


def test_every_change_has_its_line(host):
    """Also one that failed; with -v it is on stderr too."""
    cuts = (
        "0:0x00000000>0x00000019 1:0x00000000>0x00000031 2:0x00000000>0x00000018 3:0x00000000>0x00000030 "
        "6:0x00000000>0x00000001 7:0x00000000>0x00000001"
    )
    line = f"0,1; cut: {cuts}; restored: nothing"
    result = host.engine("apply", "0,1", "--name", "red", "-v")
    assert (result.status, f"icn-hook: {line}\n" in result.stderr) == (0, True)
    assert host.engine("apply", "1", "--name", "blue").status == 4
    assert host.engine("apply", "1", "--dry-run").status == 4
    assert host.engine("release", "red").status == 0
    assert host.engine("reset").status == 0
    lines = lines_of_verbs(host)
    assert lines[0] == f"verb=apply {line}"
    assert re.fullmatch(r"verb=apply group 'blue' is not isolated: .*; cut: nothing; restored: nothing", lines[1])
    assert lines[2].startswith("verb=release red; cut: nothing; restored: 0:0x00000019>0x00000000 ")
    assert lines[3:] == ["verb=reset all groups end; cut: nothing; restored: nothing"]
