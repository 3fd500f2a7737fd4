# SPDX-License-Identifier: LGPL-2.1-or-later
"""Groups made by hand, in one step with the choice of their cards; ranges; and what a script
needs to call release again."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from bystander import vm
from libvirt_player import Libvirt
from simhost import SimHost
from test_manual import IDLE, apply, card_text, cards, fine, names, refused, required


def groups_of(host):
    """Name -> ids of its cards."""
    return {
        claim["name"]: [host.bdfs.index(card["bdf"]) for card in claim["cards"]]
        for claim in host.claims().values() if claim["kind"] == "group"
    }


# Ranges


@pytest.mark.parametrize(
    "groups, expected",
    [
        ("2-5", [[2, 3, 4, 5]]),
        ("0-1|2-2", [[0, 1], [2]]),
        ("4, 0-1 ", [[0, 1, 4]]),
        ("0-7", [list(range(8))]),
    ],
)
def test_ranges(host, groups, expected):
    apply(host, groups)
    assert sorted(groups_of(host).values()) == expected
    assert host.masks() == required(host, *expected)
    assert fine(host.engine("check", groups)).stdout.decode().splitlines()[-1].startswith("OK: ")


def test_bad_ranges(host):
    def said(groups, status, column, what):
        refused(host, status, f"LIST, column {column}: {what}", "apply", groups)

    said("5-2", 2, 1, "'5-2' runs backwards; write the lower id first")
    said("0,2-8", 3, 3, "'2-8' names cards that this host does not have: its ids are 0 to 7")
    said("0-2,1", 3, 5, "'1' names PPU 1 again, which is in this group already")
    said("1|0-2", 3, 3, "'0-2' names PPU 1 again, which is in another group already")
    neither = 'is neither an id, nor a range of ids, nor a PCI address; write LIST as "0,1|4-7"'
    for junk in ("1-", "1-2-3", "1--2", "1-a", "0x1-2", "1 - 2", "1-99999999999999999999"):
        said(junk, 2, 1, f"'{junk}' {neither}")
    host.map_ids({ppu: bdf for ppu, bdf in enumerate(host.bdfs) if ppu != 3})
    said("2-4", 3, 1, "'2-4' includes 3, which has no card: no line of [map] names it")


# apply --count


def test_the_cards_that_suggest_names(host):
    assert Libvirt(host).start(vm("a", 0, 1, 2)).running
    before = host.masks()
    suggested = [card["ppu"] for card in host.engine("suggest", "2", "--json").json()["ppus"]]
    dry = fine(host.engine("apply", "--count", "2", "--dry-run", "--json")).json()
    assert [card["ppu"] for card in dry["groups"][0]["ppus"]] == suggested
    assert (host.masks(), names(host)) == (before, ["a"])
    found = fine(host.engine("apply", "--count", "2", "--name", "red", "--json")).json()
    assert [(group["name"], group["ppus"]) for group in found["groups"]] == [("red", cards(suggested))]
    assert groups_of(host) == {"red": suggested}
    assert host.masks() == required(host, [0, 1, 2], suggested)
    assert "2 cards that were chosen; cut: " in host.log()


def test_of_one_node(tmp_path):
    host = SimHost(tmp_path / "host", model="810e-16")
    node = [ppu for ppu, bdf in enumerate(host.bdfs) if (host.device(bdf) / "numa_node").read_text() == "1\n"]
    fine(host.engine("apply", "--count", "3", "--numa", "1", "--name", "red"))
    [red] = groups_of(host).values()
    assert len(red) == 3 and set(red) <= set(node)
    fine(host.engine("apply", "--count", str(len(node) - 3), "--numa", "1"))
    result = host.engine("apply", "--count", "1", "--numa", "1")
    assert result.status == 4
    assert result.stderr.startswith(f"icn-hook: 0 of the {len(node)} PPUs of NUMA node 1 are idle, not 1; PPU ")
    refused(host, 3, "no PPU is on NUMA node 9; nodes with PPUs: 0, 1", "apply", "--count", "1", "--numa", "9")


def test_more_than_there_are(host):
    refused(host, 3, "this host has 8 PPUs, not 9", "apply", "--count", "9")
    apply(host, "0-6", "--name", "red")
    line = "1 of the 8 PPUs of this host are idle, not 2; PPU 0-6 owned by red"
    refused(host, 4, line, "apply", "--count", "2")


def test_four_at_once_on_five_idle_cards(host):
    """As many as fit succeed, each with cards of its own; the others are told what is left."""
    assert Libvirt(host).start(vm("a", 0, 1, 2)).running
    gate = Barrier(4)

    def run(index):
        gate.wait()
        return host.engine("apply", "--count", "2", "--name", f"g{index}")

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(run, range(4)))
    assert sorted(result.status for result in results) == [0, 0, 4, 4]
    groups = groups_of(host)
    won = [f"g{index}" for index, result in enumerate(results) if result.status == 0]
    assert sorted(groups) == won
    chosen = sorted(ppu for group in groups.values() for ppu in group)
    assert len(set(chosen)) == 4 and not set(chosen) & {0, 1, 2}
    assert host.masks() == required(host, [0, 1, 2], *groups.values())
    for result in results:
        if result.status == 4:
            assert result.stdout == b"" and result.stderr.count("\n") == 1
            assert result.stderr.startswith("icn-hook: 1 of the 8 PPUs of this host are idle, not 2; PPU ")


def test_a_card_that_may_be_another_is_not_chosen(host):
    """Its serial number cannot be read now, so no VM may take it."""
    config = host.device(host.bdfs[0]) / "config"
    serial = config.read_bytes()[0x104:0x10C][::-1].hex("-")
    host.map_ids({**dict(enumerate(host.bdfs)), 0: f"{host.bdfs[0]} serial={serial}"})
    fine(host.engine("apply", "--count", "8", "--dry-run"))
    config.unlink()
    config.mkdir()
    line = "7 of the 8 PPUs of this host are idle, not 8; PPU 0 perhaps not the card in [map]"
    refused(host, 4, line, "apply", "--count", "8")
    fine(host.engine("apply", "--count", "7"))
    assert list(groups_of(host).values()) == [list(range(1, 8))]


# The name of a group that is there


def test_other_cards_under_the_same_name(host):
    apply(host, "5", "--name", "red")
    line = (
        f"group 'red' is not isolated: there is a group 'red' already, which has {card_text(5)}; end it first with "
        "`icn-hook release red`, or choose another name"
    )
    refused(host, 4, line, "apply", "5,7", "--name", "red")
    apply(host, "5", "--name", "red")
    assert groups_of(host) == {"red": [5]}


# release --if-exists


def test_release_of_what_may_be_there(host):
    apply(host, "0,1", "--name", "red")
    assert fine(host.engine("release", "--if-exists", "red")).stdout.decode() == (
        f"group 'red' is released: {card_text(0)}, {card_text(1)}\n"
    )
    assert (host.masks(), host.claims()) == (IDLE, {})
    before = host.log()
    result = fine(host.engine("release", "--if-exists", "red"))
    assert result.stdout == b"there is no group 'red': nothing to release\n"
    found = fine(host.engine("release", "--if-exists", "red", "--json")).json()
    assert found == {
        "schema": "icn-hook/release/1", "dry_run": False, "name": "red", "uuid": None, "ppus": [], "writes": [],
        "warnings": [], "error": None,
    }
    assert host.log().startswith(before)


def test_what_is_no_group_is_still_refused(host):
    assert Libvirt(host).start(vm("a", 0)).running
    refused(host, 3, "'a' is a VM of libvirt; stop it with virsh", "release", "--if-exists", "a")


def test_a_claim_that_cannot_be_read_may_be_the_group(host):
    apply(host, "0,1", "--name", "red")
    [name] = host.claims()
    host.path(f"/run/icn-hook/{name}").write_text("{")
    result = host.engine("release", "--if-exists", "red")
    assert (result.status, result.stdout) == (3, b"")
    assert result.stderr.startswith("icn-hook: whether there is a group 'red' is not known: ")
    assert host.masks() == required(host, [0, 1])
