# SPDX-License-Identifier: LGPL-2.1-or-later
"""A topology that is broken, missing or does not fit the host: VMs with cards are
refused and told the line, nobody else notices, and after the repair nothing is lost."""

import os
from pathlib import Path

import pytest

from bystander import Scene, vm
from domain_xml import Domain, Hostdev
from errors import assert_error
from simhost import GUIDE_BDFS, SimHost
from topology import Topology

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures/topology"
CONFIG = "/etc/icn-hook/icn_topo.cfg"
VENDOR = Topology.vendor().text()
NEXT_STEP = "; correct the topology, or write it anew with ppudbg --topo_read\n"


def changed(old, new):
    assert old in VENDOR
    return VENDOR.replace(old, new, 1)


def line_of(text):
    return VENDOR[: VENDOR.index(text)].count("\n") + 1


LINE_1 = "==========device0==========\nppuid: 0\n"
CASES = {
    "empty": ("", ": there is no device in it"),
    "only blanks": ("\n \n\t\n", ": there is no device in it"),
    "one-sided link": (
        changed("link[0]: nbrPpuid:6\n", ""),
        ": links between PPU 6 and PPU 0: PPU 6 lists 1, but PPU 0 lists 0",
    ),
    "link to itself": (
        changed("link[0]: nbrPpuid:6", "link[0]: nbrPpuid:0"),
        ":3: link[0] of PPU 0 leads back to PPU 0",
    ),
    "neighbour without a section, where one is meant": (
        changed("link[0]: nbrPpuid:6", "link[0]: nbrPpuid:8"),
        ": links between PPU 6 and PPU 0: PPU 6 lists 1, but PPU 0 lists 0",
    ),
    "no link at all": (
        Topology({ppu: {} for ppu in range(8)}).text(),
        ": 8 devices and no link: all links were cut or down when it was written; write it again while they are up",
    ),
    "no-break space": (changed("ppuid: 0", "ppuid:\u00a00"), r':2: "ppuid:\xc2\xa00" is none of'),
    "index twice": (changed(LINE_1, LINE_1 + "link[0]: nbrPpuid:6\n"), ":4: link[0] of PPU 0 is already in line 3"),
    "index 32": (changed("link[0]: nbrPpuid:6", "link[32]: nbrPpuid:6"), ":3: link index 32 is above 31"),
    "negative index": (changed("link[0]: nbrPpuid:6", "link[-1]: nbrPpuid:6"), ':3: "link[-1]: nbrPpuid:6" is none of'),
    "id twice": (changed("ppuid: 1", "ppuid: 0"), f":{line_of('ppuid: 1')}: ppuid 0 is already used in line 2"),
    "ids with a gap": (changed("ppuid: 7", "ppuid: 8"), ": ppuid 8: the ids of 8 devices must be 0 to 7"),
    "no id": (changed("ppuid: 0\n", ""), ':2: a link before its device\'s "ppuid:" line'),
    "id before its device": ("ppuid: 0\n" + VENDOR, ':1: a "ppuid:" line before the first device line'),
    "unknown line": (changed(LINE_1, LINE_1 + "speed: 25\n"), ':3: "speed: 25" is none of "==========deviceN'),
    "error of the tool": ("ERROR: no driver\n" + VENDOR, ':1: "ERROR: no driver" is none of'),
    "truncated in a line": (VENDOR[: VENDOR.rindex("nbrPpuid") + 4], ' is none of "==========deviceN=========='),
    "truncated in a device": (VENDOR[: VENDOR.rindex("link[")], " lists 1, but PPU "),
    "truncated after a device line": (VENDOR + "==========device8==========\n", 'device8 has no "ppuid:" line'),
    "NUL byte": (changed("ppuid: 0", "ppuid: 0\0"), ":2: the line holds a NUL byte"),
    "UTF-16": (VENDOR.encode("utf-16"), ":1: "),
    "long line": ("=" * 200 + VENDOR, ":1: the line is longer than 128 bytes"),
    "1,025 cards": (
        "".join(f"==device{ppu}==\nppuid: {ppu % 1024}\n" for ppu in range(1025)),
        ":2049: more than 1024 devices",
    ),
    "id 1024": (changed("ppuid: 7", "ppuid: 1024"), ": ppuid 1024 is above 1023"),
    "5 MiB": ("# padding\n" * (1 << 19), " is larger than 4194304 bytes"),
}


def test_broken(scene):
    for case, (text, words) in CASES.items():
        print(case)
        scene.host.write(CONFIG, text)
        scene.assert_broken_briefly(3, str(scene.host.path(CONFIG)), words, NEXT_STEP)
    scene.host.write(CONFIG, VENDOR)
    scene.assert_mended()


def test_others_pass(scene):
    nic = scene.host.add_nic()
    scene.host.write(CONFIG, CASES["empty"][0])
    scene.assert_broken(3, CASES["empty"][1])
    scene.assert_nic_passes(nic)


def test_broken_fixtures(scene):
    """Every line of the refusal is the parser's own, with the file's path."""
    for expected in sorted(FIXTURES.glob("*.cfg.expected")):
        name = expected.name.removesuffix(".expected")
        print(name)
        scene.host.write(CONFIG, (FIXTURES / name).read_bytes())
        words = expected.read_text().rstrip("\n").removeprefix(name)
        scene.assert_refused(3, str(scene.host.path(CONFIG)) + words + NEXT_STEP, operations=["prepare"])
        assert scene.call("reconnect").status == 0


@pytest.mark.parametrize("arguments", [["status"], ["check"], ["status", "--json"], ["check", "--json"]])
def test_verbs_say_the_same(scene, arguments):
    scene.host.write(CONFIG, CASES["index 32"][0])
    result = scene.host.engine(*arguments)
    line = f"{scene.host.path(CONFIG)}:3: link index 32 is above 31{NEXT_STEP}"
    assert_error(result, 3, line.removesuffix("\n"), json="--json" in arguments)


def test_dry_run_says_the_same(scene):
    scene.host.write(CONFIG, CASES["index 32"][0])
    result = scene.host.engine("--dry-run", "-", "--json", stdin=scene.a.xml())
    plan = result.json()
    assert (result.status, plan["verdict"], plan["writes"]) == (3, "refuse", [])
    assert plan["reason"] == (
        f"icn-hook: VM 'a' would not be started: {scene.host.path(CONFIG)}:3: link index 32 is above 31{NEXT_STEP}"
    ).rstrip("\n")


# The file


def test_missing(scene):
    scene.host.path(CONFIG).unlink()
    scene.assert_broken(3, f"cannot open {scene.host.path(CONFIG)}: No such file or directory", NEXT_STEP)
    scene.host.write(CONFIG, VENDOR)
    scene.assert_mended()


def test_directory_in_its_place(scene):
    scene.host.path(CONFIG).unlink()
    scene.host.path(CONFIG).mkdir()
    scene.assert_broken(3, f"{scene.host.path(CONFIG)} is not a regular file", NEXT_STEP)
    scene.host.path(CONFIG).rmdir()
    scene.host.write(CONFIG, VENDOR)
    scene.assert_mended()


def test_fifo_in_its_place(scene):
    """Nobody waits for it."""
    scene.host.path(CONFIG).unlink()
    os.mkfifo(scene.host.path(CONFIG))
    scene.assert_broken(3, f"{scene.host.path(CONFIG)} is not a regular file", NEXT_STEP)


def test_link_to_nowhere(scene):
    scene.host.path(CONFIG).unlink()
    scene.host.path(CONFIG).symlink_to("nowhere")
    scene.assert_broken(3, f"cannot open {scene.host.path(CONFIG)}: No such file or directory")


def test_crlf(scene):
    """As the vendor's tool may have been run on another system."""
    scene.host.write(CONFIG, VENDOR.replace("\n", "\r\n").encode())
    scene.assert_mended()


def test_blanks_and_comments(scene):
    scene.host.write(CONFIG, "# of rack 7\n\n" + VENDOR.replace("\n", "  \n\n").replace("link", "\tlink"))
    scene.assert_mended()


# It does not fit the cards


def test_of_more_cards(scene):
    """b is isolated by the other one."""
    scene.host.write(CONFIG, Topology.ring(9).text())
    scene.assert_broken(
        3,
        "the configuration was changed while cards are in use: the topology had 8 PPUs and has 9 now; change it back, or "
        "stop the VMs and release the groups that have cards\n",
    )
    scene.host.write(CONFIG, VENDOR)
    scene.assert_mended()


def without_card_7():
    links = {
        ppu: {link: peer for link, peer in ends.items() if peer != 7}
        for ppu, ends in Topology.vendor().links.items()
        if ppu != 7
    }
    return Topology(links).text()


def test_pin_beyond_the_topology(scene):
    scene.host.write(CONFIG, without_card_7())
    scene.host.pin_ids()
    nic = scene.host.add_nic()
    scene.assert_broken(
        3, f"[map] 7 = {GUIDE_BDFS[7]}: the topology {CONFIG} has only the PPUs 0 to 6; correct one of the two\n"
    )
    scene.assert_nic_passes(nic)


def test_stop_with_a_broken_topology_is_made_up_for(scene):
    """Nothing opens while nobody knows which links there are.  Whoever comes next
    after the repair gives b's cards back."""
    scene.host.write(CONFIG, "")
    masks = scene.masks()
    scene.libvirt.stop("b")
    assert scene.masks() == masks
    assert list(scene.claim_files()) == [f"{scene.b.uuid}.json", f"ended-{scene.b.uuid}"]
    assert f": vm=b op=stopped {scene.host.path(CONFIG)}: there is no device in it{NEXT_STEP[:-1]}" in scene.host.log()
    assert "; the cuts of the VM's cards stay until that is corrected\n" in scene.host.log()
    scene.host.write(CONFIG, VENDOR)
    scene.libvirt.watch = False
    assert scene.libvirt.start(vm("c", 2, 6)).running
    assert scene.masks() == scene.host.topology.required_masks({2: {"c"}, 6: {"c"}})
    scene.libvirt.stop("c")
    assert scene.state() == ({ppu: 0 for ppu in range(8)}, {})


# Large


def test_1024_cards(tmp_path):
    host = SimHost(tmp_path / "large", cards=1024)
    domain = Domain("large", [Hostdev(bdf) for bdf in (host.bdfs[0], host.bdfs[500], host.bdfs[1023])])
    assert host.hook("large", "prepare", domain.xml()).status == 0
    masks = {ppu: mask for ppu, mask in host.masks().items() if mask}
    assert masks == {0: 0b10, 1: 0b01, 499: 0b10, 500: 0b11, 501: 0b01, 1022: 0b10, 1023: 0b01}
    assert host.hook("large", "stopped", domain.xml()).status == 0
    assert host.hook("large", "release", domain.xml()).status == 0
    assert not any(host.masks().values()) and host.claim_files() == {}


def test_1024_cards_of_which_8_are_there(host):
    """Pinned ids: the others are nobody's matter."""
    links = {ppu: {} for ppu in range(1024)}
    links.update(Topology.vendor().links)
    host.write(CONFIG, Topology(links).text())
    host.pin_ids()
    Scene(host).assert_mended()


def test_32_links(tmp_path):
    """Every bit of the register is a link."""
    topology = Topology({0: {link: 1 for link in range(32)}, 1: {link: 0 for link in range(32)}})
    host = SimHost(tmp_path / "wide", cards=2, topology=topology)
    assert host.hook("a", "prepare", vm("a", 0).xml()).status == 0
    assert host.masks() == {0: 0xFFFFFFFF, 1: 0xFFFFFFFF}
    assert host.hook("a", "stopped", vm("a", 0).xml()).status == 0
    assert host.masks() == {0: 0, 1: 0}
