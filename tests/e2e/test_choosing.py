# SPDX-License-Identifier: LGPL-2.1-or-later
"""status, topo and check of some cards: named by id, range, address, VM, group or uuid."""

import pytest

from bystander import vm
from errors import assert_error
from libvirt_player import Libvirt
from simhost import GUIDE_BDFS, SimHost
from stored_journal import StoredJournal
from test_trail import EVENTS
from topology import Topology

WEB, DB = vm("web", 0, 1), vm("2-5", 4)
KNOWN = "there are the PPUs 0 to 7, by id or address, and the owners 2-5, red, web"
CHOICES = {
    "0": [0],
    "1-3": [1, 2, 3],
    GUIDE_BDFS[7]: [7],
    "7e:00.0": [1],
    "web": [0, 1],
    WEB.uuid: [0, 1],
    "red": [6],
    "2-5": [4],  # a VM of that name is meant before a range
    "red 0-1 6": [0, 1, 6],
    "0-7": list(range(8)),
}


@pytest.fixture(name="busy")
def fixture_busy(host):
    """Two VMs, a group, and trouble with card 6 alone."""
    libvirt = Libvirt(host)
    assert libvirt.start(WEB).running and libvirt.start(DB).running
    assert host.engine("apply", "--name", "red", "6").status == 0
    host.write_register(6, 0)
    return host


def of(found, chosen):
    """What status --json of all cards says of links with an end in CHOSEN: how many must be cut, and of what evidence."""
    counts = {"required": 0, "proven": 0, "gated": 0, "unverified": 0}
    for card in found["ppus"]:
        for link in card["links"]:
            if card["ppu"] < link["peer"] and {card["ppu"], link["peer"]} & set(chosen) and not link["allowed"]:
                counts["required"] += 1
                counts[link["evidence"]] += 1
    return counts


@pytest.mark.parametrize("words", CHOICES)
def test_status(busy, words):
    whole = busy.engine("status", "--json").json()
    found = busy.engine("status", *words.split(), "--json").json()
    chosen = CHOICES[words]
    assert found["ppus"] == [whole["ppus"][ppu] for ppu in chosen]
    assert found["coverage"] == of(whole, chosen)
    assert found["ok"] == (6 not in chosen)
    assert [finding["code"] for finding in found["findings"]] == (["cut-missing"] if 6 in chosen else [])
    lines = busy.engine("status", *words.split()).stdout.decode().splitlines()
    assert [int(line.split()[0]) for line in lines[1 : 1 + len(chosen)]] == chosen
    every = "Every link that" if len(chosen) == 8 else "Every link of these cards that"
    assert lines[-1] == (f"{every} must be cut is verified." if 6 not in chosen else "NOT ISOLATED: see above.")


@pytest.mark.parametrize("words", CHOICES)
def test_topo(busy, words):
    whole = busy.engine("topo", "--json").json()
    found = busy.engine("topo", *words.split(), "--json").json()
    chosen = CHOICES[words]
    assert found["ppus"] == [whole["ppus"][ppu] for ppu in chosen]
    assert found["pairs"] == [pair for pair in whole["pairs"] if {pair["a"], pair["b"]} & set(chosen)]
    lines = busy.engine("topo", *words.split()).stdout.decode().splitlines()
    joined = sorted(set(chosen).union(*({pair["a"], pair["b"]} for pair in found["pairs"])))
    head = lines[0].split()
    assert head[1 : head.index("ADDRESS")] == [str(ppu) for ppu in joined]
    rows = [line.split() for line in lines[1 : 1 + len(chosen)]]
    assert [int(row[0]) for row in rows] == chosen
    assert all(row[1 + joined.index(ppu)] == "X" for row, ppu in zip(rows, chosen))
    dot = busy.engine("topo", "--dot", *words.split()).stdout.decode()
    assert [f"ppu{ppu} [label" in dot for ppu in range(8)] == [ppu in joined for ppu in range(8)]
    assert dot.count(" -- ") == len(found["pairs"])


def test_topo_of_cards_with_external_links(tmp_path):
    host = SimHost(tmp_path / "host", model="810e-16")
    whole = host.engine("topo", "--json").json()
    external = [entry["ppu"] for entry in whole["external"]]
    assert external
    chosen = [external[0], next(ppu for ppu in range(16) if ppu not in external)] if len(external) < 16 else external[:2]
    found = host.engine("topo", "--json", *map(str, chosen)).json()
    assert found["external"] == [entry for entry in whole["external"] if entry["ppu"] in chosen]
    dot = host.engine("topo", "--dot", str(chosen[0])).stdout.decode()
    assert dot.count(" -- external") == 1


def test_a_leak_concerns_both_ends(busy):
    busy.set_masks({7: 0})
    leak = {"a": 6, "b": 7}
    assert busy.engine("status", "--json").json()["leaks"] == [leak]
    for word, leaks in (("red", [leak]), ("7", [leak]), ("web", [])):
        found = busy.engine("status", word, "--json").json()
        assert (found["leaks"], "leak" in {finding["code"] for finding in found["findings"]}) == (leaks, bool(leaks))
    assert busy.engine("check", "7", "7", "--json").json()["leaks"] == [leak]


def test_findings_about_a_vm(busy):
    """It goes where one of its cards goes."""
    busy.write(f"/run/icn-hook/ended-{DB.uuid}", "")
    for word, vms in (("4", ["2-5"]), ("2-5", ["2-5"]), ("web", []), ("3", [])):
        findings = busy.engine("status", word, "--json").json()["findings"]
        assert [finding["vm"] for finding in findings if finding["code"] == "tombstone"] == vms, word


# check


@pytest.mark.parametrize("words, status, drift", [
    ("web", 0, []), (WEB.uuid, 0, []), ("red", 1, [6]), ("web red", 1, [6]), ("web 4", 0, []), ("0 7-7", 0, []), ("5 5-6", 1, [6]),
])
def test_check(busy, words, status, drift):
    result = busy.engine("check", *words.split(), "--json")
    found = result.json()
    assert (result.status, found["ok"], [card["ppu"] for card in found["drift"]]) == (status, status == 0, drift)
    assert found["groups"] == []
    assert found["coverage"] == busy.engine("status", *words.split(), "--json").json()["coverage"]
    lines = busy.engine("check", *words.split()).stdout.decode().splitlines()
    assert lines[-1] == (
        "OK: every link of these cards that must be cut is verified" if status == 0
        else "FAILED: pairs of cards that leak: 0; cards that lack cuts: 1"
    )


def test_one_argument_of_check_is_a_list_if_it_can_be_one(busy):
    for groups in ("2-5", "4", "0,1", "0,1|4"):
        assert busy.engine("check", groups, "--json").json()["groups"] != [], groups


def test_check_of_what_nothing_shows(busy):
    busy.path("/run/icn-hook/cards.json").unlink()
    assert [busy.engine("check", *words).status for words in (["web"], ["2-5", "2-5"], ["3", "3"])] == [7, 7, 0]


@pytest.mark.parametrize("arguments, status", [("", 1), ("web", 0), ("red", 1), ("0,1", 0), ("6", 1), ("6|0,1", 1)])
def test_check_quietly(busy, arguments, status):
    for quiet in ("-q", "--quiet"):
        result = busy.engine("check", quiet, *arguments.split())
        assert (result.status, result.stdout, result.stderr) == (status, b"", "")


def test_check_quietly_says_why_it_could_not_look(busy):
    busy.configure("broken")
    result = busy.engine("check", "-q")
    assert (result.status, result.stdout, result.stderr.count("\n")) == (3, b"", 1)


# What is not there


@pytest.mark.parametrize("verb", ["status", "topo", "check"])
@pytest.mark.parametrize("words, unknown, likely", [
    ("0 8", "8", ""),
    ("weeb 0", "weeb", "; did you mean web?"),
    ("0 5-3", "5-3", ""),
    ("0 6-8", "6-8", ""),
    ("web 0,1", "0,1", ""),
    ("0 0000:09:00.0", "0000:09:00.0", ""),
])
def test_unknown_words(busy, verb, words, unknown, likely):
    line = f"'{unknown}' is not a card, range of ids (A-B), VM or group; {KNOWN}{likely}"
    for json in (False, True):
        result = busy.engine(verb, *words.split(), *(["--json"] if json else []))
        assert_error(result, 2, line, json)


def test_one_unknown_word_of_check(busy):
    """As of any LIST, but a name may have been meant."""
    neither = "is neither an id, nor a range of ids, nor a PCI address; write LIST as \"0,1|4-7\""
    for word, likely in (("wep", "; did you mean web?"), ("database", "")):
        assert_error(busy.engine("check", word), 2, f"LIST, column 1: '{word}' {neither}{likely}", False)


# Tables without titles


@pytest.mark.parametrize("arguments", ["status", "status 0 web", "topo", "topo web"])
def test_no_header(busy, arguments):
    lines = busy.engine(*arguments.split()).stdout.decode().splitlines()
    assert lines[0].startswith("PPU ")
    assert busy.engine(*arguments.split(), "--no-header").stdout.decode().splitlines() == lines[1:]


def test_no_header_where_ids_stand_upright(tmp_path):
    host = SimHost(tmp_path / "host", cards=40, topology=Topology.ring(40))
    lines = host.engine("topo").stdout.decode().splitlines()
    assert lines[1].startswith("PPU ")
    assert host.engine("topo", "--no-header").stdout.decode().splitlines() == lines[2:]


def test_no_header_of_history(host):
    journal = StoredJournal(host)
    fields = {"MESSAGE": "m", "ICN_OPERATION": "prepare", "ICN_VM_UUID": WEB.uuid, "ICN_VM_NAME": "web", "ICN_KIND": "vm"}
    journal.store({**fields, "MESSAGE_ID": EVENTS["given"], "ICN_CARDS": "0=0000:08:00.0"}, 1764072000)
    lines = host.engine("history").stdout.decode().splitlines()
    titles = [line for line in lines if line.startswith("FROM ")]
    assert len(titles) == 1
    without = host.engine("history", "--no-header").stdout.decode().splitlines()
    assert without == [line for line in lines if line not in titles]
