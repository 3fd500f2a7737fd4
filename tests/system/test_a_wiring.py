# SPDX-License-Identifier: LGPL-2.1-or-later
"""A host that `icn-hook setup` has configured from what the vendor's tools print.  The ids
do not follow the addresses, so everything is judged by address and link."""

import configparser
import json

import pytest

from functions import CONFIGURATION, configure_as_before, set_aside
from machine import MAP
from outside import SCALE_OUT, Outside
from scene import VM, hexadecimal

SAVED = "/run/saved"
CONFIRMED = "/var/lib/icn-hook/confirmed.json"
MOVED = "the cards have moved since [map] was written: "
OTHER_BUS = 0x40
SCALE_OUT_BITS = sum(1 << link for link in SCALE_OUT)


@pytest.fixture(scope="module")
def outside(host):
    outside = Outside(host.machine)
    set_aside(host.machine)
    host.machine.must(f"rm {CONFIGURATION}/icn_topo.cfg")
    outside.save_answers(SAVED)
    outside.setup = json.loads(host.machine.must(f"icn-hook setup --json --from {SAVED}"))
    yield outside
    outside.clear_status()
    host.machine.must(f"rm -f {CONFIRMED}")
    configure_as_before(host.machine)


def expect(scene, outside, owners, moment):
    """What the cables demand; OWNERS: the place of a card among the addresses -> name."""
    seen, wanted = scene.machine.masks(), outside.required(owners)
    assert seen == wanted, f"{moment}: {hexadecimal(seen)}, expected {hexadecimal(wanted)}\n{scene.log()}"


def test_what_setup_finds(scene, outside):
    ids = {outside.id_of(card): bdf for card, bdf in enumerate(outside.bdfs)}
    assert [ids[ppu] for ppu in range(8)] != outside.bdfs, "the ids follow the addresses"
    assert outside.setup["ppus"] == [{"ppu": ppu, "bdf": ids[ppu], "source": "ppu-smi"} for ppu in range(8)]
    assert (outside.setup["links"], outside.setup["external"]) == (16, 16)
    written = configparser.ConfigParser(delimiters=("=",))
    written.read_string(scene.machine.must(f"cat {MAP}"))
    assert dict(written["map"]) == {str(ppu): f"{bdf} path={outside.wiring.card(bdf).place}" for ppu, bdf in ids.items()}
    assert written["registers"]["links"] == "0x3f"


def test_vms_are_isolated_as_the_cards_are_joined(scene, outside):
    first, second = VM(1, [0, 1]), VM(2, [2, 3])
    alone, both = dict.fromkeys((0, 1), "vm-1"), {0: "vm-1", 1: "vm-1", 2: "vm-2", 3: "vm-2"}
    scene.start(first)
    expect(scene, outside, alone, "one VM")
    scene.start(second)
    expect(scene, outside, both, "two VMs")
    assert scene.machine.owners() == [1, 1, 2, 2, 0, 0, 0, 0]
    assert {ppu["bdf"] for ppu in scene.status()["ppus"] if ppu["owners"]} == set(outside.bdfs[:4])
    scene.check(0)
    refused = scene.icn(f"setup --from {SAVED}")
    assert refused.status == 4, refused.output
    scene.end(first)
    expect(scene, outside, dict.fromkeys((2, 3), "vm-2"), "the other VM")
    scene.end(second)
    scene.expect_idle("stopped")


def renumber(scene, card, bus):
    """The bridge above a card gets another bus number, as when somebody adds a card before it."""
    port = scene.machine.must(f"basename $(dirname $(readlink -f /sys/bus/pci/devices/{card}))").strip()
    scene.machine.must(f"echo 1 >/sys/bus/pci/devices/{card}/remove;"
                       f"setpci -s {port} SECONDARY_BUS={bus:02x} SUBORDINATE_BUS={bus:02x};"
                       f"echo 1 >/sys/bus/pci/devices/{port}/remove; echo 1 >/sys/bus/pci/rescan")
    scene.machine.wait_for(f"[ -e /sys/bus/pci/devices/0000:{bus:02x}:00.0/enable ]")


def test_a_card_that_has_moved(scene, outside):
    running, other, plain = VM(1, [0, 1]), scene.define(VM(2, [2, 3])), VM(3)
    here = outside.bdfs[5]
    there = f"0000:{OTHER_BUS:02x}:00.0"
    moved = f"{MOVED}PPU {outside.id_of(5)} was at {here} and is at {there} now; run icn-hook setup"
    owners = dict.fromkeys((0, 1), "vm-1")
    scene.start(running)
    expect(scene, outside, owners, "running")
    renumber(scene, here, OTHER_BUS)
    try:
        message = scene.refused_start(other)
        assert f"icn-hook: VM 'vm-2' is not started: {moved}" in message, message
        expect(scene, outside, owners, "moved; the other VM was refused")
        check = scene.icn("check")
        assert (check.status, check.output) == (3, f"icn-hook: {moved}\n")
        doctor = scene.icn("doctor")
        failed = [line for line in doctor.stdout.splitlines() if moved in line]
        assert doctor.status == 1 and len(failed) == 1 and failed[0].startswith("FAIL "), doctor.output
        scene.start(plain)
        assert scene.state(running) == "running"
    finally:
        renumber(scene, there, int(here[5:7], 16))
    scene.check(0)
    expect(scene, outside, owners, "the card is back")
    scene.start(other)
    expect(scene, outside, {**owners, 2: "vm-2", 3: "vm-2"}, "the other VM is started")
    scene.check(0)
    for vm in (running, other, plain):
        scene.end(vm)
    scene.expect_idle("stopped")


# icn-hook confirm


def confirm(scene, arguments, status):
    result = scene.icn(f"confirm --json {arguments}")
    assert result.status == status, f"exit {result.status}: {result.output}\n{scene.log()}"
    return json.loads(result.stdout)


def verdicts(answer):
    return {(link["ppu"], link["link"]): link["verdict"] for link in answer["links"]}


def links(outside, *without):
    """(ppu, link) of each link of no card of WITHOUT, at its lower id, as the answer has them."""
    ids = {bdf: outside.wiring.card(bdf).ppuid for bdf in outside.bdfs}
    left_out = {outside.bdfs[card] for card in without}
    ends = [{(ids[end.bdf], end.link) for end in pair} for pair in outside.wiring.joins
            if not left_out & {end.bdf for end in pair}]
    return sorted([min(pair) for pair in ends] +
                  [(ids[end.bdf], end.link) for end in outside.wiring.external if end.bdf not in left_out])


def test_confirm_sees_each_link_go_down(scene, outside):
    with outside.play_status(delay=0.05):
        answer = confirm(scene, "", 0)
    assert verdicts(answer) == dict.fromkeys(links(outside), "confirmed")
    assert (answer["suspects"], answer["unknown_links"], answer["warnings"]) == ([], [], [])
    scene.expect_idle("confirmed")


def test_confirm_leaves_the_links_of_a_running_vm(scene, outside):
    """The guest opens its own ends, so that nothing but the other ends keeps them apart."""
    vm = VM(1, [0, 1])
    scene.start(vm)
    isolated = outside.required(dict.fromkeys((0, 1), "vm-1"))
    for card in scene.machine.cards[:2]:
        card.mask = SCALE_OUT_BITS
    with outside.play_status(delay=0.05):
        answer = confirm(scene, "", 7)
    seen = verdicts(answer)
    assert [end for end in seen if seen[end] == "confirmed"] == links(outside, 0, 1)
    reasons = [link["reason"] for link in answer["links"] if link["verdict"] == "no witness"]
    assert len(reasons) == 11 and all("is owned by VM 'vm-1'" in reason for reason in reasons), reasons
    assert scene.machine.masks()[2:] == isolated[2:]
    scene.end(vm)
    scene.expect_idle("stopped")


def test_confirm_names_two_ids_that_are_swapped(scene, outside):
    first, second = sorted((outside.id_of(2), outside.id_of(5)))
    lines = scene.machine.must(f"cat {MAP}")
    scene.machine.must(f"sed -i 's/^{first} = /swapped = /; s/^{second} = /{first} = /; s/^swapped = /{second} = /' {MAP}")
    try:
        with outside.play_status(delay=0.05):
            answer = confirm(scene, "--wait 1", 1)
    finally:
        scene.machine.write(MAP, lines.rstrip("\n"))
    bdfs = sorted((outside.bdfs[2], outside.bdfs[5]), key=lambda bdf: -outside.wiring.card(bdf).ppuid)
    assert answer["suspects"] == [f"ids: PPU {first} ({bdfs[0]}) and PPU {second} ({bdfs[1]}) have each other's id in "
                                  "[map]"]
    assert "contradicted" in verdicts(answer).values()
    scene.expect_idle("swapped")


def test_confirm_says_that_a_status_register_does_not_move(scene, outside):
    with outside.play_status(delay=0):
        pass
    answer = confirm(scene, f"--wait 0.2 {outside.id_of(6)}", 1)
    assert set(verdicts(answer).values()) == {"contradicted"}
    assert all(link["reason"].endswith("and still up") for link in answer["links"]), answer
    assert "link_status: register 0xbe383 does not show links" in answer["suspects"]
    outside.clear_status()
    answer = confirm(scene, f"--wait 0.2 {outside.id_of(6)}", 7)
    assert set(verdicts(answer).values()) == {"no witness"}
    assert answer["warnings"] == ["the link status register reports no link of any card as up"]
    scene.expect_idle("frozen")
