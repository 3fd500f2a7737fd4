# SPDX-License-Identifier: LGPL-2.1-or-later
"""explain: why a link is cut or open, and since when."""

import time

import pytest

from bystander import vm
from errors import assert_error
from simhost import GUIDE_BDFS

CARDS = [f"PPU {ppu} ({bdf})" for ppu, bdf in enumerate(GUIDE_BDFS)]


def since(scene, domain=None):
    """The claim's own moment, as seconds and in local time."""
    moment = scene.host.claims()[f"{(domain or scene.b).uuid}.json"]["since"]
    return moment, time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(moment + 8 * 3600))


def explain(scene, *arguments):
    return scene.host.engine("explain", *arguments, TZ="UTC-8")


def test_text(scene):
    result = explain(scene, "2")
    owner = f"VM 'b' (since {since(scene)[1]})"
    assert (result.status, result.stderr) == (0, "")
    assert result.stdout.decode().splitlines() == [
        f"{CARDS[2]} link 0 -> {CARDS[4]}: CUT at PPU 4 (PPU 2 cannot be read), because PPU 2 belongs to {owner} and PPU 4 is idle",
        f"{CARDS[2]} link 3 -> {CARDS[0]}: CUT at PPU 0 (PPU 2 cannot be read), because PPU 2 belongs to {owner} and PPU 0 is idle",
        f"{CARDS[2]} link 4 -> {CARDS[1]}: CUT at PPU 1 (PPU 2 cannot be read), because PPU 2 belongs to {owner} and PPU 1 is idle",
        f"{CARDS[2]} link 5 -> {CARDS[3]}: UNKNOWN (neither card can be read); it is allowed to be open: both cards belong "
        f"to {owner}",
    ]


def test_json(scene):
    result = explain(scene, "4-2", "--json")
    moment, text = since(scene)
    assert result.json() == {
        "schema": "icn-hook/explain/1",
        "subject": "4-2",
        "links": [
            {
                "ppu": 4, "link": 0, "peer": 2, "near": "cut", "far": "unknown", "live": False,
                "allowed": False, "rule": "different_owners", "since": moment, "evidence": "proven",
                "evidence_since": None,
                "text": f"{CARDS[4]} link 0 -> {CARDS[2]}: CUT at PPU 4 (PPU 2 cannot be read), because PPU 4 is idle "
                f"and PPU 2 belongs to VM 'b' (since {text})",
            }
        ],
        "doubt": None,
    }


@pytest.mark.parametrize("subject, links", [
    ("3", [(3, 5), (3, 2), (3, 0), (3, 1)]),
    (GUIDE_BDFS[3], [(3, 5), (3, 2), (3, 0), (3, 1)]),
    ("b", [(2, 4), (2, 0), (2, 1), (2, 3), (3, 5), (3, 0), (3, 1)]),
    ("2-3", [(2, 3)]),
    (f"{GUIDE_BDFS[0]}-{GUIDE_BDFS[1]}", [(0, 1)]),
    ("0-4", []),
])
def test_subjects(scene, subject, links):
    found = explain(scene, subject, "--json").json()
    assert (found["subject"], [(link["ppu"], link["peer"]) for link in found["links"]]) == (subject, links)
    lines = explain(scene, subject).stdout.decode().splitlines()
    assert lines == ([link["text"] for link in found["links"]] or ["The topology has no link between these cards."])


def test_trouble(scene):
    """A leak, a needless cut, a stranger."""
    assert scene.call("prepare").status == 0
    scene.host.set_masks({0: 0x18, 6: 0, 4: 0x09})
    scene.host.set_driver(GUIDE_BDFS[7], "vfio-pci")
    scene.host.set_enable(GUIDE_BDFS[7], 1)
    owner = f"VM 'a' (since {since(scene, scene.a)[1]})"
    assert explain(scene, "0-6").stdout.decode() == (
        f"{CARDS[0]} link 0 -> {CARDS[6]}: LEAK: OPEN at both ends, although PPU 0 belongs to {owner} and PPU 6 is idle; "
        "stop the VM\n"
    )
    assert explain(scene, "4-6").stdout.decode() == (
        f"{CARDS[4]} link 3 -> {CARDS[6]}: CUT at PPU 4 (PPU 6 has it open), although both cards are idle: it is "
        "allowed to be open, and nothing that is known here asks for the cut\n"
    )
    found = explain(scene, "1-7", "--json").json()["links"][0]
    assert (found["rule"], found["since"], found["live"], found["allowed"]) == ("unknown_holder", None, False, False)
    assert found["evidence"] == "proven"


def test_manual_group(scene):
    assert scene.host.engine("apply", "--name", "red", "0,1").status == 0
    found = explain(scene, "red", "--json").json()["links"]
    assert {link["ppu"] for link in found} == {0, 1}
    assert "belongs to group 'red' (since " in found[0]["text"]


@pytest.mark.parametrize("subjects, links", [
    ("0 6", [(0, 6), (0, 2), (0, 3), (0, 1), (6, 4), (6, 5), (6, 7)]),
    ("b 4-6", [(2, 4), (2, 0), (2, 1), (2, 3), (3, 5), (3, 0), (3, 1), (4, 6)]),
    ("0-1 1-0 6-4", [(0, 1), (6, 4)]),
    ("2 b 2-3", [(2, 4), (2, 0), (2, 1), (2, 3), (3, 5), (3, 0), (3, 1)]),
])
def test_several_subjects(scene, subjects, links):
    """Each link once."""
    found = explain(scene, *subjects.split(), "--json").json()
    assert found["subject"] == ", ".join(subjects.split())
    assert [(link["ppu"], link["peer"]) for link in found["links"]] == links


def test_one_unknown_subject_is_enough(scene):
    assert scene.libvirt.start(vm("web1", 0)).running
    result = explain(scene, "0", "web2", "--json")
    assert_error(
        result, 3, "'web2' is not a card, VM, group or pair of cards (A-B); there are the PPUs 0 to 7, by id or address, and "
        "the owners b, web1; did you mean web1?", json=True,
    )


@pytest.mark.parametrize("subject", ["8", "vm9", "0-", "-", "", "0-0", "0-1-2", "0000:09:00.0", "$(reboot)"])
def test_unknown_subject(scene, subject):
    result = explain(scene, "--", subject)
    assert (result.status, result.stdout) == (3, b"")
    assert result.stderr == (
        f"icn-hook: '{subject}' is not a card, VM, group or pair of cards (A-B); there are the PPUs 0 to 7, by "
        "id or address, and the owners b\n"
    )


def test_usage(host):
    result = host.engine("explain")
    assert (result.status, result.stderr) == (
        2, "icn-hook: 'explain' needs an argument: CARD|NAME|A-B...; see icn-hook help explain\n",
    )
