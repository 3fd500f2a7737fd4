# SPDX-License-Identifier: LGPL-2.1-or-later
"""icn-hook history: who had which cards, and which links were open, as the journal has it."""

import json
import random
from datetime import datetime, timezone

import pytest

from errors import assert_error
from libvirt_player import Libvirt
from log_sockets import JournalSocket
from stored_journal import BOOT, StoredJournal
from test_trail import EVENTS

NOON = 1764072000  # 2025-11-25T12:00:00Z
UUID = {name: f"{name * 8}-1111-4222-8333-444444444444" for name in "abcdef"}


def moment(at):
    return datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture(name="journal")
def fixture_journal(host):
    return StoredJournal(host)


def event(kind, name=None, cards=None, operation="prepare", **more):
    """The fields of an event, as the manual page has them."""
    fields = {"MESSAGE": f"about {name}", "MESSAGE_ID": EVENTS[kind], "ICN_OPERATION": operation}
    if name:
        fields.update(ICN_VM_UUID=UUID[name], ICN_VM_NAME=name, ICN_KIND="vm")
    if cards is not None:
        fields["ICN_CARDS"] = " ".join(f"{ppu}=0000:{ppu:02x}:00.0" for ppu in cards)
    return {**fields, **more}


def history(host, *arguments):
    result = host.engine("history", "--json", *arguments)
    assert (result.status, result.stderr) == (0, "")
    answer = result.json()
    assert answer["schema"] == "icn-hook/history/1"
    return answer


def owners(answer):
    return [
        (entry["name"], [card["ppu"] for card in entry["cards"]], entry["from"], entry["until"], entry["end"])
        for entry in answer["owners"]
    ]


def links(answer):
    return [
        (entry["a"], entry["b"], entry["state"], entry["owner_a"], entry["owner_b"], entry["from"], entry["until"])
        for entry in answer["links"]
    ]


def test_who_had_what(host, journal):
    journal.store(event("given", "a", [0, 1]), NOON)
    journal.store(event("verified", "a", [0, 1], "start"), NOON + 1)
    journal.store(event("given", "b", [6]), NOON + 10)
    journal.store(event("ended", "a", [0, 1], "stopped"), NOON + 60)
    journal.store(event("ended", "a", None, "release"), NOON + 61)
    answer = history(host)
    assert owners(answer) == [
        ("a", [0, 1], moment(NOON), moment(NOON + 60), "ended"),
        ("b", [6], moment(NOON + 10), None, None),
    ]
    assert answer["owners"][0]["cards"][1] == {"ppu": 1, "bdf": "0000:01:00.0"}
    assert [entry["begin_known"] for entry in answer["owners"]] == [True, True]
    assert answer["recorded_since"] == moment(NOON)
    assert len(answer["events"]) == 5


def test_cards_that_come_and_go(host, journal):
    journal.store(event("running", "a", [0], "reconnect"), NOON)
    journal.store(event("given", "a", [0, 3], "prepare"), NOON + 5)
    answer = history(host)
    assert owners(answer) == [
        ("a", [0], moment(NOON), moment(NOON + 5), "changed"),
        ("a", [0, 3], moment(NOON + 5), None, None),
    ]
    assert [entry["begin_known"] for entry in answer["owners"]] == [False, True]


def test_which_links_were_open(host, journal):
    journal.store(event("given", "a", [0], ICN_LINKS_CUT="0/3:6 6/2:0 0/4:x"), NOON)
    journal.store(event("given", "b", [6]), NOON + 10)
    journal.store(event("ended", "a", [0], "stopped", ICN_LINKS_OPENED="0/4:x"), NOON + 20)
    journal.store(event("ended", "b", [6], "stopped", ICN_LINKS_OPENED="0/3:6 6/2:0"), NOON + 30)
    assert links(history(host)) == [
        (0, 6, "cut", "a", None, moment(NOON), moment(NOON + 10)),
        (0, None, "cut", "a", None, moment(NOON), moment(NOON + 20)),
        (0, 6, "cut", "a", "b", moment(NOON + 10), moment(NOON + 20)),
        (0, 6, "cut", None, "b", moment(NOON + 20), moment(NOON + 30)),
        (0, None, "open", None, None, moment(NOON + 20), None),
        (0, 6, "open", None, None, moment(NOON + 30), None),
    ]


def test_who_could_see_whom(host, journal):
    """A forced reset while two VMs run."""
    journal.store(event("given", "a", [0], ICN_LINKS_CUT="0/3:6 6/2:0"), NOON)
    journal.store(event("given", "b", [6]), NOON + 10)
    journal.store(event("reset", operation="reset", ICN_LINKS_OPENED="0/3:6 6/2:0", ICN_CALLER_UID="0",
                        ICN_CALLER_LOGINUID="1000"), NOON + 20)
    journal.store(event("repaired", operation="repair", ICN_LINKS_CUT="0/3:6 6/2:0", ICN_CALLER_UID="0"), NOON + 30)
    answer = history(host, "0-6", "--since", f"@{NOON + 15}", "--until", f"@{NOON + 40}")
    exposed = [entry for entry in answer["links"] if entry["exposed"]]
    assert [(entry["owner_a"], entry["owner_b"], entry["from"], entry["until"]) for entry in exposed] == [
        ("a", "b", moment(NOON + 20), moment(NOON + 30))
    ]
    assert [(entry["operation"], entry["caller_uid"], entry["caller_login_uid"]) for entry in answer["events"]] == [
        ("reset", 0, 1000), ("repair", 0, None),
    ]
    text = host.engine("history", "--since", f"@{NOON + 15}").stdout.decode()
    assert "OPEN BETWEEN DIFFERENT OWNERS: 1 times" in text
    assert " (uid 1000) about None" in text


def test_what_is_not_known_is_not_cut(host, journal):
    """Of two parallel links one was cut; the other was named later."""
    journal.store(event("given", "a", [0], ICN_LINKS_CUT="0/3:6"), NOON)
    journal.store(event("repaired", operation="repair", ICN_LINKS_CUT="0/4:6", ICN_LINKS_FAILED="6/1:0"), NOON + 5)
    assert [(entry[2], entry[5]) for entry in links(history(host))] == [("cut", moment(NOON + 5))]


def test_what_is_cut_again_was_not_cut_all_the_time(host, journal):
    journal.store(event("given", "a", [0], ICN_LINKS_CUT="0/3:6"), NOON)
    journal.store(event("repaired", operation="repair", ICN_LINKS_CUT="0/3:6"), NOON + 5)
    assert [(entry[2], entry[5]) for entry in links(history(host))] == [
        ("unknown", moment(NOON)), ("cut", moment(NOON + 5)),
    ]


def test_a_restart_of_the_host(host, journal):
    journal.store(event("given", "a", [0], ICN_LINKS_CUT="0/3:6 6/2:0"), NOON, boot="a" * 32)
    journal.store(event("given", "b", [1]), NOON + 100, boot="b" * 32)
    answer = history(host)
    assert owners(answer) == [
        ("a", [0], moment(NOON), moment(NOON + 100), "restarted"),
        ("b", [1], moment(NOON + 100), None, "restarted"),
    ]
    assert [(entry[2], entry[6]) for entry in links(answer)] == [("cut", moment(NOON + 100)), ("unknown", None)]


@pytest.mark.parametrize("subject,names", [
    ("a", ["a"]), (UUID["b"], ["b"]), ("6", ["b"]), ("0000:06:00.0", ["b"]), ("0-6", ["a", "b"]),
    ("0000:00:00.0-6", ["a", "b"]), ("1", []),
])
def test_subjects(host, journal, subject, names):
    journal.store(event("given", "a", [0]), NOON)
    journal.store(event("given", "b", [6]), NOON + 1)
    answer = history(host, subject)
    assert [entry[0] for entry in owners(answer)] == names
    assert [entry["name"] for entry in answer["events"]] == names
    assert answer["subject"] == subject


def test_an_unknown_subject(host, journal):
    journal.store(event("given", "a", [0]), NOON)
    assert_error(
        host.engine("history", "--json", "nobody"), 3,
        "'nobody' is not a card, a pair of cards (A-B), or a VM or group of which the journal has an event", json=True,
    )


def test_what_began_before_since_counts(host, journal):
    journal.store(event("given", "a", [0]), NOON)
    journal.store(event("given", "b", [6]), NOON + 1)
    journal.store(event("ended", "b", [6], "stopped"), NOON + 2)
    journal.store(event("given", "c", [4]), NOON + 50)
    answer = history(host, "--since", f"@{NOON + 40}")
    assert [entry[0] for entry in owners(answer)] == ["a", "c"]
    assert [entry["name"] for entry in answer["events"]] == ["c"]
    answer = history(host, "--since", f"@{NOON + 60}")
    assert [entry[0] for entry in owners(answer)] == ["a", "c"]
    assert answer["events"] == []
    answer = history(host, "--until", f"@{NOON + 40}")
    assert [entry[0] for entry in owners(answer)] == ["a", "b"]


def test_only_what_root_logged_is_believed(host, journal):
    journal.store(event("given", "a", [0]), NOON)
    journal.store(event("ended", "a", [0]), NOON + 5, uid=1000)
    assert owners(history(host)) == [("a", [0], moment(NOON), None, None)]
    (call,) = journal.calls()
    assert "_UID=0" in call
    assert sorted(word for word in call if word.startswith("MESSAGE_ID=")) == sorted(
        f"MESSAGE_ID={identity}" for identity in EVENTS.values()
    )


def test_a_time_is_one_argument(host, journal):
    host.engine("history", "--since", "--file=/etc/passwd")
    assert "--since=--file=/etc/passwd" in journal.calls()[0]


# Bad input


FOREIGN = {
    "a field that is null": {"FOREIGN": None},
    "a field that is an array of bytes": {"FOREIGN": [255, 0, 10]},
    "a field that is there twice": {"FOREIGN": ["x", "y"]},
    "a huge field": {"FOREIGN": "x" * (1 << 20)},
    "a field with an object": {"FOREIGN": {"a": [1, {}]}},
    "a name in bytes": {"ICN_VM_NAME": [97]},
}


@pytest.mark.parametrize("what", FOREIGN)
def test_what_may_be(host, journal, what):
    entry = event("given", "a", [0], **FOREIGN[what])
    entry = {"__CURSOR": "s=1", "__REALTIME_TIMESTAMP": str(NOON * 1000000), "_BOOT_ID": BOOT, "_UID": "0", **entry}
    journal.replace(f"cat <<'END'\n{json.dumps(entry)}\nEND\n")
    answer = history(host)
    assert owners(answer) == [("a", [0], moment(NOON), None, None)]
    assert answer["unusable"] == 0


UNUSABLE = {
    "no time": {"__REALTIME_TIMESTAMP": None},
    "a time that is none": {"__REALTIME_TIMESTAMP": "yesterday"},
    "a time that is too large": {"__REALTIME_TIMESTAMP": "9" * 19},
    "no boot": {"_BOOT_ID": "xyz"},
    "a uuid that is none": {"ICN_VM_UUID": "a"},
    "a uuid twice": {"ICN_VM_UUID": [UUID["a"], UUID["b"]]},
    "a name that is null": {"ICN_VM_NAME": None},
    "a name with a zero": {"ICN_VM_NAME": "a\0b"},
    "a name in bytes with a zero": {"ICN_VM_NAME": [97, 0]},
    "another kind of owner": {"ICN_KIND": "host"},
    "a card without id": {"ICN_CARDS": "0000:08:00.0"},
    "a card without address": {"ICN_CARDS": "0="},
    "a card beyond all": {"ICN_CARDS": "1024=0000:08:00.0"},
    "cards with two blanks": {"ICN_CARDS": "0=0000:08:00.0  1=0000:0a:00.0"},
    "a link end without peer": {"ICN_LINKS_CUT": "0/3"},
    "a link beyond all": {"ICN_LINKS_CUT": "0/32:6"},
    "a link end with more": {"ICN_LINKS_OPENED": "0/3:6x"},
    "a caller that is none": {"ICN_CALLER_UID": "root"},
    "no operation": {"ICN_OPERATION": None},
}


@pytest.mark.parametrize("what", UNUSABLE)
def test_what_may_not_be(host, journal, what):
    good = {"__CURSOR": "s=1", "__REALTIME_TIMESTAMP": str(NOON * 1000000), "_BOOT_ID": BOOT, "_UID": "0"}
    lines = [{**good, **event("given", "b", [6])}, {**good, **event("given", "a", [0]), **UNUSABLE[what]}]
    journal.replace("cat <<'END'\n" + "\n".join(map(json.dumps, lines)) + "\nEND\n")
    answer = history(host)
    assert [entry[0] for entry in owners(answer)] == ["b"]
    assert answer["unusable"] == 1
    text = host.engine("history").stdout.decode()
    assert text.endswith("warning: events of icn-hook that make no sense and were left out: 1\n")


NOT_JSON = "line 1 of what journalctl printed is not a JSON object"


@pytest.mark.parametrize("output,text", [
    ("echo hello", NOT_JSON), ("echo '[1]'", NOT_JSON), ("echo '{\"a\":'", NOT_JSON), ("printf '\\0'", NOT_JSON),
    ("yes '{' | head -c 100", NOT_JSON),
])
def test_an_answer_that_is_none(host, journal, output, text):
    journal.replace(output)
    assert_error(host.engine("history", "--json"), 5, text, json=True)


def test_a_journalctl_that_fails(host, journal):
    journal.replace("echo 'Cannot do it' >&2; exit 1")
    program = host.path("/usr/bin/journalctl")
    assert_error(host.engine("history"), 5, f"{program} ended with exit status 1: Cannot do it", json=False)


def test_a_time_that_is_none(host, journal):
    program = host.path("/usr/bin/journalctl")
    assert_error(
        host.engine("history", "--since", "whenever"), 3,
        f"{program} ended with exit status 1: Failed to parse timestamp: whenever; write times as journalctl does, such "
        'as yesterday or "2026-11-24 09:00"',
        json=False,
    )
    assert journal.count == 0


def test_more_than_can_be_held(host, journal):
    journal.replace("yes '{\"MESSAGE\":\"x\"}' | head -c 17000000")
    assert_error(
        host.engine("history"), 6,
        "the journal has more than 16 MiB of events; ask for less with --until, or remove old ones with journalctl "
        "--vacuum-time",
        json=False,
    )


def test_no_journalctl(host, journal):
    program = host.path("/usr/bin/journalctl")
    program.unlink()
    assert_error(
        host.engine("history"), 5,
        f"there is no {program} to read the journal with; where syslog has the log, its lines begin with icn-hook",
        json=False,
    )
    assert journal.count == 0


def test_no_journal(host):
    kept, volatile = host.path("/var/log/journal"), host.path("/run/log/journal")
    assert_error(
        host.engine("history"), 5,
        f"this host keeps no journal (there is neither {kept} nor {volatile}); where syslog has the log, its lines begin "
        "with icn-hook",
        json=False,
    )


def test_an_empty_journal(host, journal):
    assert host.engine("history").stdout == b"The journal has no event of icn-hook.\n"
    answer = history(host, "--since", f"@{NOON}")
    assert (answer["owners"], answer["links"], answer["events"], answer["recorded_since"]) == ([], [], [], None)
    assert journal.count == 0


# What hooks really log


def state_at(periods, a, b, at):
    """(state, owner of a, owner of b) of the pair; None: nothing is said."""
    for entry in periods:
        is_begun = entry["from"] <= at and (entry["until"] is None or at < entry["until"])
        if (entry["a"], entry["b"]) == (a, b) and is_begun:
            return entry["state"], entry["owner_a"], entry["owner_b"]
    return None


@pytest.mark.parametrize("seed", range(2))
def test_what_was_is_what_history_says(host, journal, seed):
    """Random starts and stops: the test knows from its own events who had what, and from the registers what was open."""
    chance = random.Random(seed)
    listener = JournalSocket(host)
    libvirt = Libvirt(host)
    pairs = sorted({tuple(sorted((ppu, peer))) for ppu, peers in host.topology.links.items() for peer in peers.values()})
    expected, lasting, known = [], {}, []
    free = set(range(8))
    for step in range(16):
        at = NOON + 10 * step
        if free and (not lasting or chance.random() < 0.6):
            name = f"vm{step}"
            cards = sorted(chance.sample(sorted(free), chance.randint(1, min(3, len(free)))))
            assert libvirt.start(host.vm(name, *cards)).running
            lasting[name] = (cards, at)
            free -= set(cards)
        else:
            name = chance.choice(sorted(lasting))
            libvirt.stop(name)
            cards, since = lasting.pop(name)
            expected.append((name, cards, moment(since), moment(at), "ended"))
            free |= set(cards)
        for entry in listener.take():
            journal.store(entry, at)
        has = {ppu: name for name, (cards, _) in lasting.items() for ppu in cards}
        known.append((at, has, host.live_pairs(host.masks())))
    expected += [(name, cards, moment(since), None, None) for name, (cards, since) in lasting.items()]
    answer = history(host)
    assert sorted(owners(answer)) == sorted(expected)
    assert not [entry for entry in answer["links"] if entry["exposed"]]
    named = 0
    for at, has, live in known:
        for a, b in pairs:
            said = state_at(answer["links"], a, b, moment(at + 5))
            if said:
                named += 1
                assert said == ("open" if (a, b) in live else "cut", has.get(a), has.get(b)), (at, a, b)
            else:
                assert (a, b) in live, f"{a}-{b} was cut at {at}, and nothing says so"
    assert named > 50
    listener.close()
