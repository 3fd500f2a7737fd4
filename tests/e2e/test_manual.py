# SPDX-License-Identifier: LGPL-2.1-or-later
"""Isolation by hand: apply, release, reset.  Masks are those of design and guide;
JSON is a contract, so every field is asserted with its value."""

import re

import pytest

from bystander import BEFORE, WITH_A, vm
from errors import assert_error
from simhost import GUIDE_BDFS
from topology import Topology

GUIDE_LIST = "0,1|2,3|4,5,7|6"
GUIDE_GROUPS = [[0, 1], [2, 3], [4, 5, 7], [6]]
GUIDE_MASKS = {0: 0x19, 1: 0x31, 2: 0x19, 3: 0x31, 4: 0x09, 5: 0x11, 6: 0x39, 7: 0x09}
IDLE = {ppu: 0 for ppu in range(8)}
ALONE = {**IDLE, 0: 0x19, 1: 0x31, 2: 0x18, 3: 0x30, 6: 0x01, 7: 0x01}  # 0,1 alone
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def card_text(ppu):
    return f"PPU {ppu} ({GUIDE_BDFS[ppu]})"


def cards(ppus):
    return [{"ppu": ppu, "bdf": GUIDE_BDFS[ppu]} for ppu in ppus]


def changes(result):
    return [(write["ppu"], int(write["from"], 16), int(write["to"], 16)) for write in result.json()["writes"]]


def fine(result):
    assert (result.status, result.stderr) == (0, ""), result
    return result


def apply(host, groups, *options):
    return fine(host.engine("apply", groups, *options))


def required(host, *groups):
    owners = {ppu: {index} for index, group in enumerate(groups) for ppu in group}
    return Topology.required_masks(host.topology, owners)


def names(host):
    return sorted(entry["name"] for entry in host.claims().values())


def refused(host, status, line, *arguments):
    """Nothing changes; the line is on stderr, and in the JSON."""
    before = host.masks(), host.claim_files()
    result = host.engine(*arguments)
    assert (result.status, result.stdout, result.stderr) == (status, b"", f"icn-hook: {line}\n"), result
    result = host.engine(*arguments, "--json")
    assert_error(result, status, line, json=True)
    assert result.json()["writes"] == []
    assert (host.masks(), host.claim_files()) == before
    return result.json()


# apply


def test_guide_list(host):
    result = apply(host, GUIDE_LIST)
    assert host.masks() == GUIDE_MASKS
    assert result.stdout.decode().splitlines() == [
        f"group 'manual-{group[0]}' is isolated: {', '.join(map(card_text, group))}" for group in GUIDE_GROUPS
    ]
    entries = host.claims().values()
    assert sorted(entry["name"] for entry in entries) == ["manual-0", "manual-2", "manual-4", "manual-6"]
    assert all(entry["kind"] == "group" and UUID.fullmatch(entry["uuid"]) for entry in entries)


def test_json(host):
    found = fine(host.engine("apply", "--name", "red", "0,1|6", "--json")).json()
    uuids = {entry["name"]: entry["uuid"] for entry in host.claims().values()}
    writes = found.pop("writes")
    assert found == {
        "schema": "icn-hook/apply/1",
        "dry_run": False,
        "groups": [
            {"name": "red", "uuid": uuids["red"], "ppus": cards([0, 1])},
            {"name": "manual-6", "uuid": uuids["manual-6"], "ppus": cards([6])},
        ],
        "warnings": [],
        "error": None,
    }
    assert writes[0] == {"ppu": 0, "bdf": GUIDE_BDFS[0], "from": "0x00000000", "to": "0x00000019"}
    masks = dict(IDLE)
    for write in writes:
        assert masks[write["ppu"]] == int(write["from"], 16)
        masks[write["ppu"]] = int(write["to"], 16)
    assert masks == host.masks() == required(host, [0, 1], [6])


@pytest.mark.parametrize(
    "groups",
    [
        "0000:08:00.0,0000:7e:00.0",
        "08:00.0 , 7E:00.0",
        " 0\t,1 ",
        "1,0",
        "00,7e:0.0",
    ],
)
def test_spellings(host, groups):
    apply(host, groups)
    assert host.masks() == ALONE
    assert names(host) == ["manual-0"]


def test_vendor_spelling(host):
    fine(host.engine("--vm_devices", GUIDE_LIST))
    assert host.masks() == GUIDE_MASKS
    assert fine(host.engine("--check_devices", GUIDE_LIST)).stdout.endswith(
        b"OK: every group is isolated, and no link inside a group is read as cut\n"
    )
    fine(host.engine("-r"))
    assert (host.masks(), host.claims()) == (IDLE, {})


def test_released_one_after_another(host):
    """In an order of its own; what was cut by somebody before comes back as it was."""
    host.set_masks({7: 0x20})
    apply(host, GUIDE_LIST)
    left = list(GUIDE_GROUPS)
    for group in ([2, 3], [6], [0, 1], [4, 5, 7]):
        left.remove(group)
        result = fine(host.engine("release", f"manual-{group[0]}"))
        assert result.stdout.decode() == (
            f"group 'manual-{group[0]}' is released: {', '.join(map(card_text, group))}\n"
        )
        expected = required(host, *left)
        expected[7] |= 0x20 if [4, 5, 7] not in left else 0
        assert host.masks() == expected, group
    assert host.claims() == {}


def test_several_calls(host):
    apply(host, "0,1", "--name", "a b")
    apply(host, "2,3")
    assert host.masks() == required(host, [0, 1], [2, 3])
    fine(host.engine("release", "a b"))
    assert host.masks() == required(host, [2, 3])


def test_the_same_again(host):
    """It verifies and cuts again, whatever happened to the registers."""
    apply(host, "0,1|6", "--name", "red")
    files = host.claim_files().keys()
    assert changes(apply(host, "0,1|6", "--json")) == []
    host.set_masks({0: 0, 6: 0x8})
    for options in ([], ["--name", "red"]):
        host.set_masks({0: 0, 6: 0x8})
        found = apply(host, "1,0|6", "--json", *options)
        assert sorted(changes(found)) == [(0, 0, 0x19), (6, 8, 0x39)]
        assert host.masks() == required(host, [0, 1], [6])
        assert host.claim_files().keys() == files
    fine(host.engine("release", "red"))
    fine(host.engine("release", "manual-6"))
    assert (host.masks(), host.claims()) == (IDLE, {})


def test_in_use_by_its_own_vmm(host):
    """Whoever applied the group opens its cards: they stay his."""
    apply(host, "0,1")
    for ppu in (0, 1):
        host.set_driver(GUIDE_BDFS[ppu], "vfio-pci")
        host.set_enable(GUIDE_BDFS[ppu], 1)
    apply(host, "0,1|2")
    assert host.masks() == required(host, [0, 1], [2])
    line = f"{card_text(0)} of the group 'manual-0' is held open through vfio; end its VM first"
    refused(host, 4, line, "release", "manual-0")
    line = "cards are in use, and their users would be exposed: manual-0 (PPU 0, 1); stop these first, or use --force"
    found = refused(host, 4, line, "reset")
    assert found["exposed"] == [{"name": "manual-0", "uuid": found["exposed"][0]["uuid"], "ppus": [0, 1]}]


def test_dry_run(host):
    apply(host, "2,3")
    before = host.masks(), host.claim_files()
    found = fine(host.engine("apply", "0,1|6", "-n", "--json"))
    assert [group["uuid"] for group in found.json()["groups"]] == [None, None]
    assert (host.masks(), host.claim_files()) == before
    assert changes(apply(host, "0,1|6", "--json")) == changes(found)
    text = fine(host.engine("release", "--dry-run", "manual-6")).stdout.decode().splitlines()
    assert text == [
        f"group 'manual-6' would be released: {card_text(6)}",
        "Register writes, in this order (bit set = link cut):",
        f"  {card_text(4)}     0x00000009 -> 0x00000001",
        f"  {card_text(5)}     0x00000011 -> 0x00000001",
        f"  {card_text(6)}     0x00000039 -> 0x00000001",
        f"  {card_text(7)}     0x00000009 -> 0x00000001",
    ]
    planned = fine(host.engine("release", "--dry-run", "manual-6", "--json"))
    assert changes(fine(host.engine("release", "manual-6", "--json"))) == changes(planned)
    planned = fine(host.engine("reset", "--dry-run", "--json"))
    assert planned.json()["ended"] == ["manual-0", "manual-2"]
    assert host.masks() == required(host, [2, 3], [0, 1])
    assert changes(fine(host.engine("reset", "--json"))) == changes(planned)
    assert (host.masks(), host.claims()) == (IDLE, {})


def test_dry_run_creates_nothing(host):
    for arguments in (["apply", "0,1"], ["reset"]):
        fine(host.engine(*arguments, "--dry-run"))
        assert not host.path("/run/icn-hook").exists()
    assert host.engine("release", "red", "--dry-run").status == 3
    assert not host.path("/run/icn-hook").exists()


# Bad input

SYNTAX = [
    ("", "column 1: a card is missing"),
    (" ", "column 2: a card is missing"),
    ("0,", "column 3: a card is missing"),
    (",0", "column 1: a card is missing"),
    ("0,,1", "column 3: a card is missing"),
    ("0|", "column 3: a card is missing"),
    ("0||1", "column 3: a card is missing"),
    ("|", "column 1: a card is missing"),
    ("0, 1 ,", "column 7: a card is missing"),
]
NEITHER = 'is neither an id, nor a range of ids, nor a PCI address; write LIST as "0,1|4-7"'
SYNTAX += [
    (f"0,{junk}", f"column 3: '{shown}' {NEITHER}")
    for junk, shown in [
        ("1;touch x", "1;touch x"),
        ("$(touch x)", "$(touch x)"),
        ("`id`", "`id`"),
        ("1 2", "1 2"),
        ("-1", "-1"),
        ("+1", "+1"),
        ("0x1", "0x1"),
        ("1.0", "1.0"),
        ("a", "a"),
        ("1&", "1&"),
        ("1\n", "1\\x0a"),
        ("1，2", "1，2"),
        ("z" * 70, "z" * 64),
    ]
]
SYNTAX += [
    (f"é|{bad}", f"column 1: 'é' {NEITHER}") for bad in ["0"]
] + [
    (f"0|{bad}", f"column 3: '{bad}' is not a PCI address; write it as 0000:08:00.0 or 08:00.0")
    for bad in ["08:00", "08:00.8", "08:20.0", "100:00.0", ":", "0000:08:00.0.0"]
]
WRONG = [
    ("8", "column 1: '8' is not a card of this host: its ids are 0 to 7"),
    ("0,99999999999999999999", "column 3: '99999999999999999999' is not a card of this host: its ids are 0 to 7"),
    ("0,0", "column 3: '0' names PPU 0 again, which is in this group already"),
    ("0,1|2, 08:00.0", "column 8: '08:00.0' names PPU 0 again, which is in another group already"),
    ("0|0001:09:00.1", "column 3: '0001:09:00.1' is not on this host"),
    ("0|09:00.0", "column 3: '09:00.0' is not on this host"),
    ("0000:01:00.0", "column 1: '0000:01:00.0' is not a PPU"),
]


@pytest.mark.parametrize("verb", ["apply", "check"])
def test_bad_lists(host, verb):
    host.add_nic("0000:01:00.0")
    for status, cases in ((2, SYNTAX), (3, WRONG)):
        for groups, what in cases:
            result = host.engine(verb, groups)
            assert (result.status, result.stderr) == (status, f"icn-hook: LIST, {what}\n"), groups
            assert result.stdout == b""
    assert host.masks() == IDLE
    assert not host.path("/run/icn-hook").exists()


def test_json_of_a_bad_list(host):
    result = host.engine("apply", "0,", "--json")
    assert_error(result, 2, "LIST, column 3: a card is missing", json=True)
    assert (result.json()["writes"], result.json()["warnings"]) == ([], [])


def test_bad_names(host):
    refused(host, 2, "--name: a group's name must not be empty", "apply", "0", "--name", "")
    for name, shown in (("a\nb", "a\\x0ab"), ("\x7f", "\\x7f"), ("x" * 129, "x" * 128)):
        line = f"--name '{shown}': a group's name is at most 128 bytes of printable UTF-8"
        refused(host, 2, line, "apply", "0", "--name", name)
    for name in ("idle", "unknown", "external", "begin", "end", "0", "42", "-x", "0000:08:00.0"):
        line = (
            f"--name '{name}': the name of a group is not a number, an address, a word that begins with -, or one of "
            "idle, unknown, external, begin and end"
        )
        refused(host, 2, line, "apply", "0", "--name", name)
    refused(host, 2, "2 names, but LIST has 1 group", "apply", "0,1", "--name", "a", "--name", "b")
    refused(host, 3, "two groups cannot both be called 'a'", "apply", "0|1", "--name", "a", "--name", "a")
    apply(host, "0", "--name", "红 team")
    assert names(host) == ["红 team"]
    line = "there is a group '红 team' already; choose another name with --name"
    refused(host, 3, line, "apply", "1", "--name", "红 team")
    line = "two groups cannot both be called 'manual-2'"
    refused(host, 3, line, "apply", "1|2", "--name", "manual-2")


def test_broken_configuration(host):
    host.configure("junk\n")
    result = host.engine("reset", "--json")
    line = result.stderr.removeprefix("icn-hook: ").removesuffix("\n")
    assert_error(result, 3, line, json=True)
    assert set(result.json()) == {"schema", "status", "code", "text", "writes", "warnings"}


# Together with libvirt


def test_beside_vms(scene):
    """VM b owns 2 and 3; a group beside it, and VM a that wants a card of it."""
    host = scene.host
    apply(host, "0,1", "--name", "red")
    scene.let_through = True
    scene.check_b("apply")
    assert host.masks() == WITH_A
    line = (
        f"{card_text(0)} is in the group 'red', which was isolated by hand; end that with `icn-hook release red`, or "
        "give the VM another card"
    )
    scene.assert_refused(4, line)
    status = fine(host.engine("status", "--json")).json()
    assert [owner["name"] for ppu in status["ppus"] for owner in ppu["owners"]] == ["red", "red", "b", "b"]
    assert status["ok"] is True
    fine(host.engine("check"))
    other = vm("c", 4, 5)
    assert scene.libvirt.start(other).running
    assert host.masks() == required(host, [0, 1], [2, 3], [4, 5])
    scene.libvirt.stop("c")
    assert host.masks() == WITH_A
    fine(host.engine("release", "red"))
    scene.let_through = False
    scene.check_b("release")
    assert host.masks() == BEFORE
    scene.assert_isolated()


def test_card_of_a_vm(scene):
    line = (
        f"group 'manual-0' is not isolated: {card_text(3)} is owned by VM 'b' ({scene.b.uuid}), which runs; stop that VM "
        "or choose another card"
    )
    refused(scene.host, 4, line, "apply", "0,3|4")
    refused(scene.host, 4, line, "apply", "0,3|4", "--dry-run")
    scene.check_b("refused apply")


def test_card_of_another_group(host):
    apply(host, "0,1", "--name", "red")
    line = (
        f"group 'manual-1' is not isolated: {card_text(1)} is in the group 'red', which was isolated by hand; end that "
        "with `icn-hook release red`, or choose another card"
    )
    refused(host, 4, line, "apply", "1,2")
    refused(host, 4, line.replace("manual-1'", "blue'").replace(card_text(1), card_text(0)), "apply", "0,1", "--name", "blue")


def test_card_held_by_a_stranger(host):
    host.set_driver(GUIDE_BDFS[5], "vfio-pci")
    host.set_enable(GUIDE_BDFS[5], 1)
    line = (
        f"group 'manual-5' is not isolated: {card_text(5)} is held open through vfio by a process that is not a known VM; "
        "end it or choose another card"
    )
    refused(host, 4, line, "apply", "4|5")
    line = "cards are in use, and their users would be exposed: unknown (PPU 5); stop these first, or use --force"
    assert refused(host, 4, line, "reset")["exposed"] == [{"name": "unknown", "uuid": None, "ppus": [5]}]


def test_absent_card(host):
    host.pin_ids()
    host.remove_function(GUIDE_BDFS[5])
    line = (
        f"group 'manual-5' is not isolated: {card_text(5)} is not on the PCI bus; see dmesg, rescan the bus or choose "
        "another card"
    )
    refused(host, 5, line, "apply", "0|5")


def test_all_or_nothing(host):
    """The last group's card does not answer: the others are given back."""
    host.set_driver(GUIDE_BDFS[6], "ppu")
    before = host.masks()
    result = host.engine("apply", "0,1|2,3|6", "--json")
    assert (result.status, result.json()["code"]) == (5, "hardware")
    assert result.stderr.startswith(f"icn-hook: {card_text(6)}: resource0 cannot be mapped now: a driver")
    assert result.stderr.endswith("; no group of this call is isolated, so correct that, then apply it again\n")
    assert (host.masks(), host.claims()) == (before, {})
    assert len(changes(result)) > 8


def test_a_group_that_was_there_survives_the_failure_of_another(host):
    apply(host, "0,1")
    host.set_driver(GUIDE_BDFS[6], "ppu")
    assert host.engine("apply", "0,1|2,3|6").status == 5
    assert host.masks() == ALONE
    assert names(host) == ["manual-0"]


def test_release_of_what_is_no_group(scene):
    host = scene.host
    line = "there is no group 'red'; nothing is isolated by hand"
    refused(host, 3, line, "release", "red")
    apply(host, "0", "--name", "blue")
    refused(host, 3, "there is no group 'red'; there are: 'blue'", "release", "red")
    refused(host, 3, "'b' is a VM of libvirt; stop it with virsh", "release", "b")
    refused(host, 3, "there is a VM 'b' already; choose another name with --name", "apply", "4", "--name", "b")


def test_release_json(host):
    apply(host, "0,1", "--name", "red")
    [entry] = host.claims().values()
    found = fine(host.engine("release", "red", "--json")).json()
    writes = found.pop("writes")
    assert found == {
        "schema": "icn-hook/release/1",
        "dry_run": False,
        "name": "red",
        "uuid": entry["uuid"],
        "ppus": cards([0, 1]),
        "warnings": [],
        "error": None,
    }
    assert writes[0] == {"ppu": 0, "bdf": GUIDE_BDFS[0], "from": "0x00000019", "to": "0x00000000"}
    assert [write["ppu"] for write in writes] == [0, 1, 2, 3, 6, 7]


def test_release_that_cannot_reach_a_card(host):
    """It is told, not hidden; the next one completes it."""
    apply(host, "0,1", "--name", "red")
    resource = host.device(GUIDE_BDFS[1]) / "resource0"
    content = resource.read_bytes()
    resource.unlink()
    result = host.engine("release", "red")
    assert result.status == 5
    assert result.stderr.startswith(f"icn-hook: not all links are back: {card_text(1)} is owed the mask 0x00000000: resource0 is missing")
    assert result.stderr.endswith("; icn-hook repair gives it back as soon as its registers can be written\n")
    assert host.claims() == {}
    assert host.engine("status", "--json").json()["ppus"][1]["owed"] == "0x00000000"
    result = host.engine("reset")
    assert result.status == 5
    assert result.stderr.startswith(f"icn-hook: not all links are back: {card_text(1)}: resource0 is missing")
    resource.write_bytes(content)
    assert host.masks() != IDLE
    fine(host.engine("repair"))
    assert (host.masks(), host.claims()) == (IDLE, {})


def test_another_boot_ends_a_group(host):
    apply(host, "0,1", "--name", "red")
    host.set_boot_id("99999999-2222-4333-8444-555555555555")
    host.set_masks(IDLE)
    found = fine(host.engine("status", "--json")).json()
    assert all(ppu["owners"] == [] for ppu in found["ppus"])
    assert found["findings"] == []
    apply(host, "1,2", "--name", "red")
    assert names(host) == ["red"]
    assert host.masks() == required(host, [1, 2])


# reset


def test_reset(host):
    """Recorded masks come back; what nobody recorded is opened."""
    host.set_masks({5: 0x20})
    apply(host, "4,5", "--name", "red")
    host.set_masks({0: 0x8, 1: 0x30})
    result = fine(host.engine("reset"))
    assert result.stdout.decode() == (
        f"group 'red' is ended: {card_text(4)}, {card_text(5)}\nAll cards have their links back.\n"
    )
    assert (host.masks(), host.claims()) == ({**IDLE, 5: 0x20}, {})


def every_link(host):
    return {ppu: sum(1 << link for link in host.topology.links[ppu]) for ppu in range(8)}


def test_reset_isolates_idle_cards(host):
    host.configure("[policy]\nidle = isolate\n")
    apply(host, "0,1")
    result = fine(host.engine("reset", "--isolate"))
    assert result.stdout.decode().endswith("All cards have their links cut.\n")
    assert host.masks() == every_link(host)


def test_reset_isolates_only_by_policy(host):
    line = "--isolate needs idle = isolate in [policy]: otherwise a card without owner gets its links back"
    refused(host, 3, line, "reset", "--isolate")


def test_reset_cannot_isolate_every_card(host):
    """Whoever relies on it has to learn of it; without the policy the card lacks nothing."""
    host.set_driver(GUIDE_BDFS[3], "ppu")
    assert host.engine("reset").status == 0
    host.configure("[policy]\nidle = isolate\n")
    result = host.engine("reset", "--isolate")
    line = f"{card_text(3)}: resource0 cannot be mapped now: a driver or QEMU holds the card's registers (EINVAL)"
    assert (result.status, result.stderr) == (5, f"icn-hook: not all links are cut: {line}\n")
    assert result.stdout.decode() == f"warning: {line}\n"
    assert host.masks() == {**every_link(host), 3: 0}


def test_reset_while_vms_run(scene):
    host = scene.host
    apply(host, "0,1", "--name", "red")
    line = "cards are in use, and their users would be exposed: b (PPU 2, 3); stop these first, or use --force"
    found = refused(host, 4, line, "reset")
    assert found["exposed"] == [{"name": "b", "uuid": scene.b.uuid, "ppus": [2, 3]}]
    refused(host, 4, line, "--reset")
    refused(host, 4, line, "reset", "--dry-run")
    entry = host.claim_files()[f"{scene.b.uuid}.json"]
    result = host.engine("reset", "--force", "--dry-run", "--json")
    assert (result.status, result.stderr) == (0, "icn-hook: would be exposed: 'b' (PPU 2, 3)\n")
    assert host.masks() == WITH_A
    result = host.engine("reset", "--force", "--json")
    assert (result.status, result.stderr) == (0, "icn-hook: exposed: 'b' (PPU 2, 3)\n")
    assert (result.json()["ended"], result.json()["exposed"]) == (["red"], found["exposed"])
    # QEMU keeps the registers of its cards to itself.
    assert host.masks() == {**IDLE, 2: BEFORE[2], 3: BEFORE[3]}
    assert host.claim_files() == {f"{scene.b.uuid}.json": entry}
    scene.libvirt.watch = False
    scene.libvirt.reconnect("b")
    assert host.masks() == BEFORE
    scene.libvirt.watch = True
    scene.libvirt.stop("b")
    assert (host.masks(), host.claims()) == (IDLE, {})


def test_reset_with_an_unreadable_entry(host):
    """It may hide an owner."""
    apply(host, "0,1")
    host.write("/run/icn-hook/00000000-1111-4222-8333-444444444444.json", "{").chmod(0o600)
    result = host.engine("reset")
    assert (result.status, "icn-hook repair" in result.stderr) == (3, True)
    assert host.masks() == ALONE
    fine(host.engine("reset", "--force"))
    assert host.masks() == IDLE
