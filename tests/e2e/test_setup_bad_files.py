# SPDX-License-Identifier: LGPL-2.1-or-later
"""icn-hook setup --from with a file that is empty, cut off, noise, of another machine, or that
contradicts itself or another one: one line with file and line, and nothing is written."""

import pytest

from test_setup import CARDS, TOPOLOGY, read
from test_setup_refusals import NOISE, assert_refused
from vendor_outputs import big_machine, guide_machine


@pytest.fixture(name="machine")
def fixture_machine():
    return big_machine()


@pytest.fixture(name="blank")
def fixture_blank(tmp_path, machine):
    host = machine.host(tmp_path / "host")
    yield host
    host.daemon.kill()


def changed(old, new, count=1):
    def change(text):
        assert old in text
        return text.replace(old, new, count)

    return change


def first_lines(count):
    return lambda text: "".join(text.splitlines(keepends=True)[:count])


def first_bytes(count):
    return lambda text: text[:count]


def swapped(text):
    """Links 3 and 4 of the first card lead to each other's card."""
    lines = text.splitlines(keepends=True)
    lines[3], lines[4] = lines[4].replace("Link 4:", "Link 3:", 1), lines[3].replace("Link 3:", "Link 4:", 1)
    return "".join(lines)


BAD = {
    "query empty": ("query.csv", lambda text: "", "{}:1: there is no card in it"),
    "query blank": ("query.csv", lambda text: "\n\n", "{}:2: there is no card in it"),
    "query noise": ("query.csv", lambda text: NOISE, "{}:1: the line holds the control character 0x01"),
    "query cut in a line": (
        "query.csv", first_bytes(90), '{}:2: card 1 has no PCI address such as 00000001:C9:00.0',
    ),
    "query cut after a line": (
        "query.csv", first_lines(15), "{}:15: the file ends without the card 0000:a2:00.0 of this host",
    ),
    "query of another machine": (
        "query.csv", changed("00000001:80:00.0", "00000001:90:00.0"),
        "{}:3: 0001:90:00.0 is not a card of this host (lspci -D -d :6001 lists them); is the file from another machine?",
    ),
    "query with an index twice": ("query.csv", changed("\n2, ", "\n1, "), "{}:3: card 1 is already in line 2"),
    "query with an address twice": (
        "query.csv", changed("00000001:80:00.0", "00000001:C8:00.0"), "{}:3: 0001:c8:00.0 is already card 1 in line 2",
    ),
    "query with a UUID twice": (
        "query.csv", changed("019ea10e-c180-040a-0000-00000000000e", "019ea10f-c180-040a-0000-00000000000f"),
        "{}:2: card 1 has the UUID of card 0 in line 1",
    ),
    "query with a high index": (
        "query.csv", changed("\n2, ", "\n16, "),
        "{}:3: the ids of 16 cards are 0 to 15, so 0001:80:00.0 cannot be PPU 16",
    ),
    "query without index": (
        "query.csv", changed("\n2, ", "\nN/A, "), '{}:3: "N/A" is not the index of a card, 0 to 1023',
    ),
    "query with other headings": (
        "query.csv", lambda text: "index, uuid\n" + text, '{}:1: the headings lack "index" or "pci.bus_id"',
    ),
    "query an error of the tool": (
        "query.csv", lambda text: "Failed to initialize: driver not loaded\n",
        '{}:1: "Failed to initialize: driver not loaded" is not the index of a card, 0 to 1023',
    ),
    "states empty": ("icn-s.txt", lambda text: "", "{}:1: there is no card in it"),
    "states noise": ("icn-s.txt", lambda text: NOISE, "{}:1: the line holds the control character 0x01"),
    "states cut after a card": (
        "icn-s.txt", first_lines(8 * 15), "{}:120: the file ends without PPU 15 (0000:a2:00.0)",
    ),
    "states cut after a link": (
        "icn-s.txt", first_lines(8 * 16 - 1),
        "{dir}/icn-r.txt:105: link 6 of PPU 15 (0000:a2:00.0) leads to another device here, but {}:121 does not list it",
    ),
    "states cut in a line": ("icn-s.txt", first_bytes(-len("50 GB/s\n")), "{}:128: link 6 of card 15: the line is cut off"),
    "states cut in a word": (
        "icn-s.txt", first_lines(4), None,
    ),
    "states of another machine": (
        "icn-s.txt", changed("GPU-019ea10e", "GPU-119ea10e"),
        "{}:9: PPU 1 has the UUID 119ea10e-c180-040a-0000-00000000000e here, but 019ea10e-c180-040a-0000-00000000000e in "
        "{dir}/query.csv:2; is one of the files from another machine, or from before a reboot?",
    ),
    "states of a larger machine": (
        "icn-s.txt", lambda text: text + "PPU 16: PPU-ZW810E\n",
        "{}:129: this host has 16 cards, so there is no PPU 16; is the file from another machine?",
    ),
    "states with a card twice": ("icn-s.txt", changed("PPU 1:", "PPU 0:"), "{}:9: card 0 is already in line 1"),
    "states with a link twice": (
        "icn-s.txt", changed("Link 4:", "Link 3:"), "{}:6: link 3 of card 0 is already in line 5",
    ),
    "states against remotes": (
        "icn-s.txt", changed("Link 3: 50 GB/s", "Link 3: <inactive>"),
        "{dir}/icn-r.txt:4: link 3 of PPU 0 (0001:c9:00.0) leads to another device here, but {}:5 calls it inactive",
    ),
    "states without a card before": (
        "icn-s.txt", lambda text: text.split("\n", 1)[1], '{}:1: a link before the first line "PPU N: …"',
    ),
    "states with a high link": (
        "icn-s.txt", changed("Link 6:", "Link 32:"), '{}:8: "32" is not the index of a link, 0 to 31',
    ),
    "states with an odd line": (
        "icn-s.txt", changed("    Link 6:", "    Lin 6\n    Link 6:"),
        '{}:8: "Lin 6" is none of "PPU N: …", "Link N: …", "key: value"',
    ),
    "states with a cut UUID": (
        "icn-s.txt", changed("0000000e)", "0000000e"),
        '{}:9: card 1: "GPU-019ea10e-c180-040a-0000-00000000000e" is not a UUID',
    ),
    "states with a long line": (
        "icn-s.txt", changed("Link 6:", "Link 6:" + " " * 600), "{}:8: the line is longer than 512 bytes",
    ),
    "remotes empty": ("icn-r.txt", lambda text: "", "{}:1: there is no card in it"),
    "remotes noise": ("icn-r.txt", lambda text: NOISE, "{}:1: the line holds the control character 0x01"),
    "remotes cut in a line": (
        "icn-r.txt", first_bytes(-len(":00.0: Link 5\n")),
        '{}:105: link 6 of card 15: "Remote Device 00000001:0B" is not "Remote Device 00000001:CE:00.0: Link 6"',
    ),
    "remotes cut after a line": (
        "icn-r.txt", first_lines(104),
        "{}:77: link 5 of PPU 11 (0001:0b:00.0) leads to link 6 of PPU 15 (0000:a2:00.0), which is not in the file",
    ),
    "remotes cut after a card": ("icn-r.txt", first_lines(98), "{}:98: the file ends without PPU 15 (0000:a2:00.0)"),
    "remotes with a link to itself": (
        "icn-r.txt", changed("Link 0: Remote Device 00000001:C8:00.0: Link 0", "Link 0: Remote Device 00000001:C9:00.0: Link 0"),
        "{}:2: link 0 of PPU 0 (0001:c9:00.0) leads back to itself",
    ),
    "remotes with one side only": (
        "icn-r.txt", changed("    Link 0: Remote Device 00000001:C9:00.0: Link 0\n", ""),
        "{}:2: link 0 of PPU 0 (0001:c9:00.0) leads to link 0 of PPU 1 (0001:c8:00.0), which is not in the file",
    ),
    "remotes with swapped ends": (
        "icn-r.txt", swapped,
        "{}:4: link 3 of PPU 0 (0001:c9:00.0) leads to link 4 of PPU 3 (0001:81:00.0), which line 24 says leads to link 4 "
        "of 0001:c9:00.0",
    ),
    "remotes with a strange end": (
        "icn-r.txt", changed("00000001:C8:00.0: Link 0", "00000001:C8:00.0: Link 9"),
        "{}:2: link 0 of PPU 0 (0001:c9:00.0) leads to link 9 of PPU 1 (0001:c8:00.0), which is not in the file",
    ),
    "remotes with a high index": (
        "icn-r.txt", changed("00000001:C8:00.0: Link 0", "00000001:C8:00.0: Link 32"),
        '{}:2: link 0 of card 0: "Remote Device 00000001:C8:00.0: Link 32" is not "Remote Device 00000001:CE:00.0: Link 6"',
    ),
    "topology noise": ("topo.txt", lambda text: NOISE, None),
    "topology cut": ("topo.txt", first_lines(113), None),
    "topology of another machine": (
        "topo.txt", lambda text: guide_machine().topology().text(),
        "{}: it has 8 cards, but this host has 16 (lspci -D -d :6001); is the file from another machine?",
    ),
    "topology against remotes": (
        "topo.txt", lambda text: big_machine().permuted(3).topology().text(), None,
    ),
    "topology with one link more": (
        "topo.txt",
        lambda text: text.replace("ppuid: 0\n", "ppuid: 0\nlink[1]: nbrPpuid:2\n").replace(
            "ppuid: 2\n", "ppuid: 2\nlink[1]: nbrPpuid:0\n"
        ),
        "{dir}/icn-r.txt:3: link 1 of PPU 0 (0001:c9:00.0) leads to no card of this host here, but to PPU 2 "
        "(0001:80:00.0) in {}",
    ),
    "topology with one link less": (
        "topo.txt", lambda text: "".join(
            line for index, line in enumerate(text.splitlines(keepends=True)) if index not in (2, 9)
        ),
        "{dir}/icn-r.txt:2: link 0 of PPU 0 (0001:c9:00.0) leads to PPU 1 (0001:c8:00.0) here, but to no card of this "
        "host in {}",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_file(blank, machine, tmp_path, case):
    name, change, message = BAD[case]
    saved = tmp_path / "saved"
    text = change(machine.outputs()[name])
    machine.save(saved, **{name.replace("-", "_").replace(".", "_"): text})
    if message:
        assert_refused(blank, ["--from", saved], 3, message.format(saved / name, dir=saved))
        return
    result = blank.engine("setup", "--from", saved)
    assert result.status == 3 and result.stderr.startswith(f"icn-hook: {saved}/"), result
    assert result.stderr.count("\n") == 1
    assert (read(blank, TOPOLOGY), read(blank, CARDS)) == (None, None)
