# SPDX-License-Identifier: LGPL-2.1-or-later
"""icn-hook setup: the ids and the wiring of a machine, from what the vendor's tools print."""

import re
import struct

import pytest

from errors import assert_error
from simhost import GUIDE_BDFS, SimHost
from topology import Topology
from vendor_outputs import big_machine, guide_machine
from wiring import MODELS

TOPOLOGY = "/etc/icn-hook/icn_topo.cfg"
CARDS = "/etc/icn-hook/icn-hook.conf.d/50-cards.conf"
MACHINES = {"guide": guide_machine, "big": big_machine}


def read(host, path):
    found = host.path(path)
    return found.read_text() if found.exists() else None


def parse_cards(text):
    """Section -> key -> value."""
    sections, section = {}, None
    for line in text.splitlines():
        if line.startswith("["):
            section = sections.setdefault(line.strip("[]"), {})
        elif "=" in line and not line.startswith("#"):
            key, value = line.split(" = ", 1)
            assert key not in section
            section[key] = value
    return sections


def pinned(host, bdf):
    """The value of the card's line in [map], by what the host shows of it."""
    steps = host.device(bdf).resolve().relative_to(host.path("/sys/devices")).parts
    text = f"{bdf} path={steps[0]}/{'/'.join(step[-4:] for step in steps[1:])}"
    number = struct.unpack_from("<Q", (host.device(bdf) / "config").read_bytes(), 0x104)[0]
    return f"{text} serial={'-'.join(re.findall('..', f'{number:016x}'))}"


@pytest.fixture(name="machine", params=sorted(MACHINES))
def fixture_machine(request):
    return MACHINES[request.param]()


@pytest.fixture(name="blank")
def fixture_blank(tmp_path, machine):
    host = machine.host(tmp_path / "host")
    yield host
    host.daemon.kill()


@pytest.fixture(name="guide")
def fixture_guide(tmp_path):
    host = guide_machine().host(tmp_path / "host")
    yield host
    host.daemon.kill()


def check_written(host, machine):
    """What was written is the machine as it is wired."""
    sections = parse_cards(read(host, CARDS))
    assert sections["map"] == {str(ppu): pinned(host, bdf) for ppu, bdf in enumerate(machine.bdfs)}
    assert Topology.parse(read(host, TOPOLOGY)).links == machine.links()
    for end, other_end in sections.get("links", {}).items():
        (ppu, link), (peer, peer_link) = (map(int, text.split(".")) for text in (end, other_end))
        assert machine.far[machine.bdfs[ppu], link] == (machine.bdfs[peer], peer_link)
    return sections


def test_saved_outputs(blank, machine, tmp_path):
    result = blank.engine("setup", "--json", "--from", machine.save(tmp_path / "saved"))
    assert (result.status, result.stderr) == (0, "")
    sections = check_written(blank, machine)
    assert sections["registers"] == {"links": "0x3f" if len(machine.bdfs) == 8 else "0x7f"}
    found = result.json()
    assert found["schema"] == "icn-hook/setup/1"
    assert found["ppus"] == [
        {"ppu": ppu, "bdf": bdf, "source": "ppu-smi"} for ppu, bdf in enumerate(machine.bdfs)
    ]
    assert (found["links"], found["external"]) == ((16, 16) if len(machine.bdfs) == 8 else (41, 30))
    assert found["written"] == [str(blank.path(TOPOLOGY)), str(blank.path(CARDS))]
    assert blank.path(TOPOLOGY).stat().st_mode & 0o777 == blank.path(CARDS).stat().st_mode & 0o777 == 0o644


def test_parallel_links_are_told_apart(tmp_path):
    machine = big_machine()
    host = machine.host(tmp_path / "host")
    assert host.engine("setup", "--from", machine.save(tmp_path / "saved")).status == 0
    assert check_written(host, machine)["links"] == {"14.0": "15.0", "14.1": "15.2"}


def test_text_of_the_drop_in(guide, tmp_path):
    assert guide.engine("setup", "--from", guide_machine().save(tmp_path / "saved")).status == 0
    lines = [f"{ppu} = {pinned(guide, bdf)}\n" for ppu, bdf in enumerate(GUIDE_BDFS)]
    assert read(guide, CARDS) == (
        "# Written by icn-hook setup: which card has which id, and which register bits are links.\n"
        "[map]\n" + "".join(lines) + "\n[registers]\nlinks = 0x3f\n"
    )
    assert read(guide, TOPOLOGY) == Topology.vendor().text()


@pytest.mark.parametrize("seed", range(12))
def test_any_numbering_of_the_cards(tmp_path, seed):
    machine = big_machine().permuted(seed)
    host = machine.host(tmp_path / "host")
    assert host.engine("setup", "--from", machine.save(tmp_path / "saved")).status == 0
    check_written(host, machine)


def test_what_is_not_used_may_be_there(tmp_path):
    machine = big_machine()
    host = machine.host(tmp_path / "host")
    query = "index, name, pci.bus_id, uuid, serial, temp [C]\r\n" + "".join(
        "{}, PPU-ZW810E, {}, PPU-{}, {}, 41\r\n".format(*re.split(", (?:GPU-)?", line))
        for line in machine.query().splitlines()
    ).replace("00000001:", "0001:")
    states = "Driver Version: 2.1.1\n\n" + machine.states().replace("50 GB/s", "50 GB/s (x16)").replace(
        "    Link 3:", "    Link 3: Width: 16\n        Cable: present\n    Link 3:"
    ).replace("GPU-", "PPU-").replace("<inactive>", "<disabled>")
    remotes = "\ufeff" + machine.remotes().replace("Remote Device 00000001:", "Remote Device 0001:").replace("\n", "\r\n")
    saved = machine.save(tmp_path / "saved", query_csv=query, icn_s_txt=states, icn_r_txt=remotes)
    result = host.engine("setup", "--from", saved)
    assert (result.status, result.stderr) == (0, "")
    assert check_written(host, machine)["registers"] == {"links": "0x7f"}


def test_external_links_are_summed_up(tmp_path):
    machine = big_machine()
    host = machine.host(tmp_path / "host")
    saved = machine.save(tmp_path / "saved")
    expected = [
        "link 2 of PPU 0,2,4,6,8,10,12,14; links 1 and 2 of PPU 1,3,5,7,9,11,13; link 1 of PPU 15 are inactive now and "
        "count as external",
        "link 1 of PPU 0,2,4,6,8,10,12 leads to something other than a card of this host and counts as external",
    ]
    shown = host.engine("setup", "--dry-run", "--from", saved).stdout.decode()
    assert [line for line in shown.splitlines() if "warning" in line] == [f"warning: {line}" for line in expected]
    assert host.engine("setup", "--json", "--from", saved).json()["warnings"] == expected


def test_links_that_all_cards_have_down(guide, tmp_path):
    found = guide.engine("setup", "--json", "--from", guide_machine().save(tmp_path / "saved")).json()
    assert found["warnings"] == ["links 1 and 2 of PPU 0-7 are inactive now and count as external"]


def test_an_active_link_without_remote_is_external(guide, tmp_path):
    machine = guide_machine()
    states = machine.states().replace("Link 1: <inactive>", "Link 1: 50 GB/s", 1)
    saved = machine.save(tmp_path / "saved", icn_s_txt=states)
    found = guide.engine("setup", "--json", "--from", saved).json()
    assert found["warnings"] == [
        "link 2 of PPU 0; links 1 and 2 of PPU 1-7 are inactive now and count as external",
        "link 1 of PPU 0 counts as external: nothing says where it leads",
    ]
    assert found["external"] == 16


def test_a_link_that_only_one_card_lists_is_cut_on_all(guide, tmp_path):
    machine = guide_machine()
    states = machine.states().replace("    Link 3:", "    Link 9: <inactive>\n    Link 3:", 1)
    saved = machine.save(tmp_path / "saved", icn_s_txt=states)
    assert guide.engine("setup", "--json", "--from", saved).json()["external"] == 24
    assert parse_cards(read(guide, CARDS))["registers"] == {"links": "0x23f"}


def test_inactive_link_that_the_topology_knows(guide, tmp_path):
    machine = guide_machine()
    lines = machine.remotes().splitlines(keepends=True)
    near, far = (GUIDE_BDFS[0], 0), machine.far[GUIDE_BDFS[0], 0]
    gone = [index_of(machine, lines, *near), index_of(machine, lines, *far)]
    remotes = "".join(line for index, line in enumerate(lines) if index not in gone)
    states = machine.states().splitlines(keepends=True)
    for bdf, link in (near, far):
        at = next(
            index
            for index in range(states.index(machine.header(machine.id_of(bdf))), len(states))
            if states[index].startswith(f"    Link {link}:")
        )
        states[at] = f"    Link {link}: <inactive>\n"
    saved = machine.save(tmp_path / "saved", icn_r_txt=remotes, icn_s_txt="".join(states))
    found = guide.engine("setup", "--json", "--from", saved).json()
    assert found["warnings"] == [
        "links 1 and 2 of PPU 0-7 are inactive now and count as external",
        f"link 0 of PPU 0,6 is inactive now; where it leads is taken from {saved}/topo.txt",
    ]
    check_written(guide, machine)


def index_of(machine, lines, bdf, link):
    start = lines.index(machine.header(machine.id_of(bdf)))
    return next(index for index in range(start + 1, len(lines)) if lines[index].startswith(f"    Link {link}:"))


@pytest.mark.parametrize(
    ("files", "links"),
    [
        (("query.csv", "icn-r.txt"), {8: "0x39", 16: "0x7f"}),  # only those that are up
        (("query.csv", "topo.txt"), {8: None, 16: None}),  # the topology alone says which bits are links
        (("query.csv", "icn-s.txt", "topo.txt"), {8: "0x3f", 16: "0x7f"}),
    ],
)
def test_fewer_sources(blank, machine, tmp_path, files, links):
    result = blank.engine("setup", "--from", machine.save(tmp_path / "saved", *files))
    assert (result.status, result.stderr) == (0, "")
    sections = check_written(blank, machine)
    assert sections.get("registers", {}).get("links") == links[len(machine.bdfs)]


def test_topology_with_map(blank, machine, tmp_path):
    (tmp_path / "topo").write_text(machine.topology().text())
    (tmp_path / "ids").write_text("[map]\n" + "".join(f"{p} = {bdf.upper()}\n" for p, bdf in enumerate(machine.bdfs)))
    result = blank.engine("setup", "--json", "--topology", tmp_path / "topo", "--map", tmp_path / "ids")
    assert (result.status, result.stderr) == (0, "")
    assert {ppu["source"] for ppu in result.json()["ppus"]} == {"file"}
    assert "registers" not in check_written(blank, machine)


def test_topology_with_ids_by_address(guide, tmp_path):
    (tmp_path / "topo").write_text(Topology.vendor().text())
    result = guide.engine("setup", "--json", "--topology", tmp_path / "topo", "--ids-by-address")
    assert (result.status, result.stderr) == (0, "")
    assert {ppu["source"] for ppu in result.json()["ppus"]} == {"address"}
    check_written(guide, guide_machine())


def test_ids_by_address_against_the_tool(tmp_path):
    machine = big_machine()
    host = machine.host(tmp_path / "host")
    saved = machine.save(tmp_path / "saved")
    assert_error(
        host.engine("setup", "--ids-by-address", "--from", saved),
        3,
        f"--ids-by-address:1: PPU 0 is 0000:08:00.0 here, but {saved}/query.csv says it is 0001:c9:00.0",
        False,
    )


def test_dry_run_shows_all_and_writes_nothing(blank, machine, tmp_path):
    saved = machine.save(tmp_path / "saved")
    before = tree(blank)
    shown = blank.engine("setup", "--dry-run", "--from", saved)
    found = blank.engine("setup", "--dry-run", "--json", "--from", saved)
    assert (shown.status, shown.stderr, found.status) == (0, "", 0)
    assert tree(blank) == before
    found = found.json()
    assert found["written"] == []
    assert [file["change"] for file in found["files"]] == ["new", "new"]
    assert blank.engine("setup", "--from", saved).status == 0
    assert [file["text"] for file in found["files"]] == [read(blank, TOPOLOGY), read(blank, CARDS)]
    for text in (read(blank, TOPOLOGY), read(blank, CARDS)):
        assert text in shown.stdout.decode()


def tree(host):
    return {
        str(path.relative_to(host.root)): path.read_bytes() if path.is_file() and path.stat().st_size < 1 << 20 else None
        for path in host.root.rglob("*")
        if not path.is_symlink()
    }


def test_again_changes_nothing(guide, tmp_path):
    saved = guide_machine().save(tmp_path / "saved")
    assert guide.engine("setup", "--from", saved).status == 0
    guide.path(TOPOLOGY).write_text("# by hand\n" + Topology.vendor().text())
    before = {path: (read(guide, path), guide.path(path).stat().st_ino) for path in (TOPOLOGY, CARDS)}
    again = guide.engine("setup", "--json", "--from", saved)
    assert (again.status, again.json()["written"]) == (0, [])
    assert {path: (read(guide, path), guide.path(path).stat().st_ino) for path in (TOPOLOGY, CARDS)} == before


@pytest.mark.parametrize("path", [TOPOLOGY, CARDS])
def test_something_different_needs_force(guide, tmp_path, path):
    saved = guide_machine().save(tmp_path / "saved")
    assert guide.engine("setup", "--from", saved).status == 0
    right = read(guide, path)
    other = right.replace("nbrPpuid:6", "nbrPpuid:x").replace("links = 0x3f", "links = 0x79")
    guide.path(path).write_text(other)
    message = (
        f"{guide.path(path)} says something different; compare it with icn-hook setup --dry-run, and replace it with "
        "--force"
    )
    assert_error(guide.engine("setup", "--json", "--from", saved), 3, message, True)
    assert read(guide, path) == other
    dry = guide.engine("setup", "--dry-run", "--json", "--from", saved).json()
    assert sorted(file["change"] for file in dry["files"]) == ["different", "unchanged"]
    assert "run icn-hook setup --force without --dry-run: nothing has been written" in dry["next"]
    forced = guide.engine("setup", "--force", "--json", "--from", saved)
    assert (forced.status, forced.json()["written"]) == (0, [str(guide.path(path))])
    assert read(guide, path) == right


def test_a_broken_drop_in_of_ours_is_no_obstacle(guide, tmp_path):
    saved = guide_machine().save(tmp_path / "saved")
    guide.write(CARDS, "[map]\n0 = junk\n")
    assert guide.engine("setup", "--force", "--from", saved).status == 0
    check_written(guide, guide_machine())


def test_a_link_to_the_file_stays(guide, tmp_path):
    (tmp_path / "elsewhere").write_text("old")
    guide.path(TOPOLOGY).symlink_to(tmp_path / "elsewhere")
    assert guide.engine("setup", "--force", "--from", guide_machine().save(tmp_path / "saved")).status == 0
    assert guide.path(TOPOLOGY).is_symlink()
    assert (tmp_path / "elsewhere").read_text() == Topology.vendor().text()


def test_another_configuration_file(guide, tmp_path):
    guide.write("/etc/other.conf", "[ppu]\ntopology = /etc/other.cfg\n")
    saved = guide_machine().save(tmp_path / "saved")
    result = guide.engine("setup", "--config", guide.path("/etc/other.conf"), "--json", "--from", saved)
    assert result.json()["written"] == [
        str(guide.path("/etc/other.cfg")), str(guide.path("/etc/other.conf.d/50-cards.conf"))
    ]
    assert (read(guide, TOPOLOGY), read(guide, CARDS)) == (None, None)


def test_serial_numbers_pin_cards(guide, tmp_path):
    set_serial(guide, GUIDE_BDFS[1], 0x00010203)
    set_serial(guide, GUIDE_BDFS[2], 0x00010203)
    (guide.device(GUIDE_BDFS[3]) / "config").write_bytes((guide.device(GUIDE_BDFS[3]) / "config").read_bytes()[:256])
    assert guide.engine("setup", "--from", guide_machine().save(tmp_path / "saved")).status == 0
    found = parse_cards(read(guide, CARDS))["map"]
    assert found["0"] == "0000:08:00.0 path=pci0000:00/01.0/00.0 serial=1d-ed-60-01-00-00-00-01"
    # The same one twice tells nothing apart.
    assert [found[ppu].count("serial=") for ppu in "01234567"] == [1, 0, 0, 0, 1, 1, 1, 1]
    assert all(" path=pci000" in line for line in found.values())


def set_serial(host, bdf, number):
    config = bytearray((host.device(bdf) / "config").read_bytes())
    config[0x100:0x10C] = struct.pack("<IQ", 0x00010003, number)
    (host.device(bdf) / "config").write_bytes(config)


def test_a_card_that_does_not_answer(guide, tmp_path):
    (guide.device(GUIDE_BDFS[3]) / "config").write_bytes(b"\xff" * 256)
    assert_error(
        guide.engine("setup", "--from", guide_machine().save(tmp_path / "saved")),
        5,
        "PPU 3 (0000:c6:00.0): its place on the bus or its serial number cannot be read; run this as root, and see with "
        "lspci -vv -s 0000:c6:00.0 whether the card answers",
        False,
    )
    assert (read(guide, TOPOLOGY), read(guide, CARDS)) == (None, None)


def test_what_is_left_to_do(guide, tmp_path):
    saved = guide_machine().save(tmp_path / "saved")
    confirm = "run icn-hook confirm: it tries on the cards whether ids, links and [registers] are right"
    hook = "put the hook in its place (hook-place install): libvirt does not call icn-hook yet"
    doctor = "run icn-hook doctor: it checks the rest of this host"
    assert guide.engine("setup", "--json", "--from", saved).json()["next"] == [confirm, hook, doctor]
    guide.write("/etc/libvirt/hooks/qemu", "#!/bin/sh\n/usr/bin/icn-hook\n").chmod(0o755)
    found = guide.engine("setup", "--from", saved).stdout.decode()
    assert found.endswith(f"\nWhat is left to do:\n  1. {confirm}\n  2. {doctor}\n")


def test_it_is_logged(guide, tmp_path):
    saved = guide_machine().save(tmp_path / "saved")
    assert guide.engine("setup", "--from", saved).status == 0
    assert f"{guide.path(CARDS)} written: 8 cards, 16 links, 16 external" in guide.log()
    assert guide.engine("setup", "--from", tmp_path / "nowhere").status == 3
    assert f"{tmp_path}/nowhere has none of query.csv" in guide.log()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from", "a", "--topology", "b"], "setup takes --from or --topology, not both"),
        (["--map", "a", "--ids-by-address"], "setup takes --map or --ids-by-address, not both"),
        (
            ["--topology", "a"],
            "setup --topology needs --map FILE, or --ids-by-address if the ids follow the addresses",
        ),
    ],
)
def test_usage(guide, arguments, message):
    assert_error(guide.engine("setup", *arguments), 2, f"{message}; see icn-hook help setup", False)


@pytest.mark.parametrize("model", sorted(MODELS))
def test_the_stand_ins_of_the_tools(tmp_path, model):
    """Both machines that all tests share, by what their tools print."""
    host = SimHost(tmp_path / "host", model=model)
    host.install_tools()
    host.load_driver()
    host.forget_setup()
    result = host.engine("setup", "--json")
    assert (result.status, result.stderr) == (0, ""), result
    sections = parse_cards(read(host, CARDS))
    bdfs = [ppu["bdf"] for ppu in result.json()["ppus"]]
    assert sections["map"] == {str(ppu): pinned(host, bdf) for ppu, bdf in enumerate(bdfs)}
    assert Topology.parse(read(host, TOPOLOGY)).links == host.wiring.topology(bdfs).links
    host.daemon.kill()
