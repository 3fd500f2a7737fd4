# SPDX-License-Identifier: LGPL-2.1-or-later
"""icn-hook setup with bad input, with bad tools, and while somebody has a card: one line, and
nothing is written."""

import fcntl
import os
import time

import pytest

import answers
from domain_xml import PREPARE, Domain, Hostdev
from errors import assert_error
from libvirt_player import Libvirt
from simhost import GUIDE_BDFS, SimHost
from standins import script
from test_setup import CARDS, TOPOLOGY, check_written, pinned, read
from vendor_outputs import Machine, big_machine, guide_machine

A_PID = 4711
NOISE = bytes(range(1, 256)) * 4112  # 1 MiB


@pytest.fixture(name="machine")
def fixture_machine():
    return big_machine()


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


def assert_refused(host, arguments, status, message):
    assert_error(host.engine("setup", *arguments, "--json"), status, message, True)
    assert_error(host.engine("setup", *arguments, "--dry-run"), status, message, False)
    assert (read(host, TOPOLOGY), read(host, CARDS)) == (None, None)
    assert [path for path in host.path("/etc/icn-hook").rglob("*") if path.name.startswith(".")] == []


def test_remotes_alone_cannot_hide_a_link(blank, machine, tmp_path):
    """icn -r says less than the topology, and no icn -s says that the link is down."""
    gone = ("Link 5: Remote Device 0000:7E:00.0", "Link 6: Remote Device 0001:C9:00.0")
    lines = [line for line in machine.remotes().splitlines(keepends=True)]
    near = lines.index(machine.header(0)) + 5
    far = lines.index(machine.header(4)) + 6
    assert "Link 5" in lines[near] and "Link 6" in lines[far] and gone
    remotes = "".join(line for index, line in enumerate(lines) if index not in (near, far))
    saved = machine.save(tmp_path / "saved", icn_r_txt=remotes, icn_s_txt=None)
    assert_refused(
        blank, ["--from", saved], 3,
        f"{saved}/icn-r.txt:1: PPU 0 (0001:c9:00.0) has no link 5 here, but {saved}/topo.txt joins it to PPU 4 "
        "(0000:7e:00.0)",
    )


def test_states_without_a_link_of_the_topology(blank, machine, tmp_path):
    states = machine.states().replace("    Link 5: 50 GB/s\n", "", 1)
    saved = machine.save(tmp_path / "saved", icn_s_txt=states, icn_r_txt=None)
    assert_refused(
        blank, ["--from", saved], 3,
        f"{saved}/icn-s.txt:1: PPU 0 (0001:c9:00.0) has no link 5 here, but {saved}/topo.txt joins it to PPU 4 "
        "(0000:7e:00.0)",
    )


def test_cards_that_the_tool_does_not_know(blank, machine, tmp_path):
    blank.add_function("0001:fe:00.0", 0x1DED, 0x6001, 0x030200)
    saved = machine.save(tmp_path / "saved")
    assert_refused(
        blank, ["--from", saved], 3, f"{saved}/query.csv:16: the file ends without the card 0001:fe:00.0 of this host"
    )


def test_cards_that_are_not_there(blank, machine, tmp_path):
    blank.remove_function(machine.bdfs[4])
    saved = machine.save(tmp_path / "saved")
    assert_refused(
        blank, ["--from", saved], 3,
        f"{saved}/query.csv:5: 0000:7e:00.0 is not a card of this host (lspci -D -d :6001 lists them); is the file from "
        "another machine?",
    )


def test_no_file(blank, tmp_path):
    (tmp_path / "saved").mkdir()
    for directory in ("saved", "missing"):
        assert_refused(
            blank, ["--from", tmp_path / directory], 3,
            f"{tmp_path}/{directory} has none of query.csv (ppu-smi --query-ppu=index,pci.bus_id,uuid,serial "
            "--format=csv,noheader), icn-s.txt (ppu-smi icn -s), icn-r.txt (ppu-smi icn -r) and topo.txt (ppudbg "
            "--topo_read)",
        )


@pytest.mark.parametrize("files", [("icn-s.txt", "icn-r.txt", "topo.txt"), ("topo.txt",), ("icn-r.txt",)], ids=" ".join)
def test_nothing_says_the_ids(blank, machine, tmp_path, files):
    assert_refused(
        blank, ["--from", machine.save(tmp_path / "saved", *files)], 3,
        "nothing says which card has which id: ppu-smi's list of the cards is missing; give the ids with --map FILE, or, "
        "if they follow the addresses, with --ids-by-address",
    )


@pytest.mark.parametrize("files", [("query.csv",), ("query.csv", "icn-s.txt")], ids=" ".join)
def test_nothing_says_the_links(blank, machine, tmp_path, files):
    assert_refused(
        blank, ["--from", machine.save(tmp_path / "saved", *files)], 3,
        "nothing says where the links lead: the output of ppu-smi icn -r or of ppudbg --topo_read is missing",
    )


def test_unreadable_file(blank, machine, tmp_path):
    saved = machine.save(tmp_path / "saved", icn_s_txt=None)
    (saved / "icn-s.txt").mkdir()
    result = blank.engine("setup", "--from", saved)
    assert result.status in (3, 5) and f"{saved}/icn-s.txt" in result.stderr
    assert (read(blank, TOPOLOGY), read(blank, CARDS)) == (None, None)


def test_all_links_down(blank, machine, tmp_path):
    down = Machine(machine.bdfs, [], inactive=[(bdf, link) for bdf in machine.bdfs for link in range(7)])
    saved = down.save(tmp_path / "saved", topo_txt=None)
    assert_refused(
        blank, ["--from", saved], 3,
        f"{saved}/icn-r.txt: no link joins two of the 16 cards: all links are cut or down, or the vendor's driver has not "
        "initialised them",
    )


def test_match_that_finds_nothing(blank, machine, tmp_path):
    blank.configure("[ppu]\nmatch = :7001\n")
    assert_refused(
        blank, ["--from", machine.save(tmp_path / "saved")], 3,
        "no PCI function of this host matches :7001; set match in [ppu] (lspci -D lists all)",
    )


# Maps


BAD_MAPS = {
    "empty": (lambda lines: [], '{}:1: there is no line "id = BDF" in it'),
    "id twice": (lambda lines: lines[:3] + [lines[2]] + lines[3:], "{}:4: PPU 2 is already mapped in line 3"),
    "address twice": (
        lambda lines: lines[:3] + ["3 = " + lines[2].split(" = ")[1]] + lines[4:],
        "{}:4: 0001:80:00.0 is already mapped to PPU 2 in line 3",
    ),
    "unknown id": (
        lambda lines: lines[:15] + ["16 = 0000:a2:00.0\n"],
        "{}:16: the ids of 16 cards are 0 to 15, so 0000:a2:00.0 cannot be PPU 16",
    ),
    "unknown card": (
        lambda lines: lines[:15] + ["15 = 0000:a4:00.0\n"],
        "{}:16: 0000:a4:00.0 is not a card of this host (lspci -D -d :6001 lists them); is the file from another machine?",
    ),
    "card missing": (lambda lines: lines[:15], "{}:15: the file ends without the card 0000:a2:00.0 of this host"),
    "wrong path": (
        lambda lines: ["0 = 0001:c9:00.0 path=pci0001:c8/00.0\n"] + lines[1:],
        "{}:1: the path of 0001:c9:00.0 is pci0001:00/19.1/00.0, not pci0001:c8/00.0",
    ),
    "wrong serial": (
        lambda lines: ["0 = 0001:c9:00.0 serial=00-00-00-00-00-00-00-01\n"] + lines[1:],
        "{}:1: the serial number of 0001:c9:00.0 is 1d-ed-60-01-00-00-00-10, not 00-00-00-00-00-00-00-01",
    ),
    "another section": (
        lambda lines: ["[map]\n"] + lines + ["[policy]\nidle = isolate\n"],
        '{}:18: [policy] is not a part of a map, which has lines "id = BDF" only',
    ),
    "noise": (lambda lines: [NOISE.decode("latin-1")], "{}:1: the line holds a control character"),
}


@pytest.mark.parametrize("case", BAD_MAPS)
def test_bad_map(blank, machine, tmp_path, case):
    change, message = BAD_MAPS[case]
    lines = [f"{ppu} = {bdf}\n" for ppu, bdf in enumerate(machine.bdfs)]
    (tmp_path / "ids").write_text("".join(change(lines)), encoding="latin-1")
    (tmp_path / "topo").write_text(machine.topology().text())
    arguments = ["--topology", tmp_path / "topo", "--map", tmp_path / "ids"]
    assert_refused(blank, arguments, 3, message.format(tmp_path / "ids"))


def test_map_against_the_tool(blank, machine, tmp_path):
    order = [machine.bdfs[1], machine.bdfs[0], *machine.bdfs[2:]]
    (tmp_path / "ids").write_text("".join(f"{ppu} = {bdf}\n" for ppu, bdf in enumerate(order)))
    saved = machine.save(tmp_path / "saved")
    assert_refused(
        blank, ["--from", saved, "--map", tmp_path / "ids"], 3,
        f"{tmp_path}/ids:1: PPU 0 is 0001:c8:00.0 here, but {saved}/query.csv says it is 0001:c9:00.0",
    )


def test_a_map_with_the_right_path_and_no_tool(blank, machine, tmp_path):
    (tmp_path / "ids").write_text(
        "".join(f"{ppu} = {pinned(blank, bdf)}\n" for ppu, bdf in enumerate(machine.bdfs))
    )
    (tmp_path / "topo").write_text(machine.topology().text())
    assert blank.engine("setup", "--topology", tmp_path / "topo", "--map", tmp_path / "ids").status == 0
    check_written(blank, machine)


# The rest of the configuration


def test_the_main_file_contradicts(guide, tmp_path):
    guide.configure(f"[map]\n0 = {GUIDE_BDFS[1]}\n")
    result = guide.engine("setup", "--from", guide_machine().save(tmp_path / "saved"))
    assert result.status == 3
    assert result.stderr == (
        f"icn-hook: {guide.path(CARDS)}:3: PPU 0 is already mapped in {guide.path('/etc/icn-hook/icn-hook.conf')}:2; setup "
        f"would write {guide.path(CARDS)}: correct the other file\n"
    )
    assert (read(guide, TOPOLOGY), read(guide, CARDS)) == (None, None)


def test_the_main_file_says_the_same(guide, tmp_path):
    guide.configure("[map]\n" + "".join(f"{ppu} = {bdf}\n" for ppu, bdf in enumerate(GUIDE_BDFS)))
    assert guide.engine("setup", "--from", guide_machine().save(tmp_path / "saved")).status == 0
    check_written(guide, guide_machine())


def test_a_later_drop_in_contradicts(guide, tmp_path):
    guide.write("/etc/icn-hook/icn-hook.conf.d/90-mine.conf", f"[map]\n0 = {GUIDE_BDFS[1]}\n")
    result = guide.engine("setup", "--from", guide_machine().save(tmp_path / "saved"))
    assert result.status == 3 and "90-mine.conf:2: PPU 0 is already mapped in" in result.stderr
    assert (read(guide, TOPOLOGY), read(guide, CARDS)) == (None, None)


# Owners


A = Domain("a", [Hostdev(GUIDE_BDFS[0]), Hostdev(GUIDE_BDFS[1])])


def set_up(host, tmp_path):
    """A host that has been set up; returns a directory that says the ids otherwise."""
    assert host.engine("setup", "--from", guide_machine().save(tmp_path / "saved")).status == 0
    return guide_machine().permuted(5).save(tmp_path / "other")


def assert_kept(host, other, status, message):
    before = read(host, TOPOLOGY), read(host, CARDS)
    for more in ([], ["--dry-run"], ["--force"]):
        result = host.engine("setup", "--from", other, *more)
        assert (result.status, result.stderr) == (status, f"icn-hook: {message}\n")
        assert (read(host, TOPOLOGY), read(host, CARDS)) == before


def test_a_vm_that_is_being_started(guide, tmp_path):
    other = set_up(guide, tmp_path)
    assert guide.hook("a", "prepare", A.xml(PREPARE)).status == 0
    assert_kept(
        guide, other, 4,
        f"VM 'a' has the card {GUIDE_BDFS[0]}; stop it first: the ids and links that it was started with must not change",
    )
    assert guide.hook("a", "release", A.xml(PREPARE)).status == 0
    assert guide.engine("setup", "--force", "--from", other).status == 0


def test_a_running_vm_on_a_host_without_map(guide, tmp_path):
    for device in A.devices:
        guide.set_driver(device.bdf, "vfio-pci")
        guide.hold(device.bdf)
    guide.start_process(A_PID)
    guide.write_status(A, A_PID)
    assert_refused(
        guide, ["--from", guide_machine().save(tmp_path / "saved")], 4,
        f"VM 'a' has the card {GUIDE_BDFS[0]}; stop it first: the ids and links that it was started with must not change",
    )


def test_links_that_are_still_cut(tmp_path):
    """A VM ended when there was no map: its cards keep their cuts, which the tools take for links that lead nowhere."""
    host = SimHost(tmp_path / "host", model="guide-8")
    host.install_tools()
    answers.save(host.hardware, tmp_path / "saved")
    libvirt = Libvirt(host)
    assert libvirt.start(host.vm("a", 0, 1)).running
    host.forget_setup()
    libvirt.stop("a")
    assert host.mask(0) != 0
    host.load_driver()
    assert_refused(
        host, [], 4,
        f"links of the card {GUIDE_BDFS[0]} are still cut, and the vendor's tools see no links that are cut; run icn-hook "
        "repair where there is a [map], else boot the host, or give outputs with --from that were saved while all links "
        "were open",
    )
    host.unload_driver()
    assert host.engine("setup", "--from", tmp_path / "saved").status == 0
    assert host.engine("repair").status == 0
    assert set(host.masks().values()) == {0}
    host.load_driver()
    again = host.engine("setup", "--json")
    assert (again.status, again.json()["written"]) == (0, [])
    host.daemon.kill()


def test_a_card_that_somebody_holds(guide, tmp_path):
    guide.set_driver(GUIDE_BDFS[3], "vfio-pci")
    guide.hold(GUIDE_BDFS[3])
    assert_refused(
        guide, ["--from", guide_machine().save(tmp_path / "saved")], 4,
        f"the card {GUIDE_BDFS[3]} is held open by a process that is not a known VM; end it first: the ids and links that "
        "it was started with must not change",
    )


def test_a_group(guide, tmp_path):
    other = set_up(guide, tmp_path)
    assert guide.engine("apply", "--name", "red", "6").status == 0
    assert_kept(
        guide, other, 4,
        f"the group 'red' has the card {GUIDE_BDFS[6]}; release it first: the ids and links that it was started with must "
        "not change",
    )


def test_an_owner_whose_card_is_gone(guide, tmp_path):
    set_up(guide, tmp_path)
    assert guide.engine("apply", "--name", "red", "6").status == 0
    guide.remove_function(GUIDE_BDFS[6])
    assert_kept(
        guide, tmp_path / "other", 4,
        f"the group 'red' has the card {GUIDE_BDFS[6]}, which is not on the bus; release it first: the ids and links that "
        "it was started with must not change",
    )


def test_damaged_state(guide, tmp_path):
    other = set_up(guide, tmp_path)
    assert guide.hook("a", "prepare", A.xml(PREPARE)).status == 0
    (claim,) = guide.claim_files()
    (guide.path("/run/icn-hook") / claim).write_text("{")
    result = guide.engine("setup", "--force", "--from", other)
    assert result.status == 4
    assert result.stderr.endswith(
        "; it may hide a VM that has a card: the ids and links that it was started with must not change\n"
    )
    check_written(guide, guide_machine())


def test_the_lock_is_held_by_another(guide, tmp_path):
    other = set_up(guide, tmp_path)
    guide.configure("[policy]\nlock_timeout = 0\n")
    with open(guide.path("/run/icn-hook/lock"), "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)  # one that looks hinders no other that looks, but the writing
        dry = guide.engine("setup", "--dry-run", "--from", other)
        result = guide.engine("setup", "--force", "--from", other)
    assert (dry.status, result.status) == (0, 6), result
    check_written(guide, guide_machine())


# Tools


def tools(host, tmp_path, machine, ppu_smi="", ppudbg="", timeout=20):
    """Stand-ins that print what is saved; PPU_SMI and PPUDBG: what they do before that."""
    saved = machine.save(tmp_path / "printed")
    calls = tmp_path / "calls"
    smi = script(
        tmp_path / "ppu-smi",
        f'printf "%s\\n" "ppu-smi $*" >> {calls}\n{ppu_smi}\n'
        f'case "$*" in\n'
        f'"--query-ppu=index,pci.bus_id,uuid,serial --format=csv,noheader") cat {saved}/query.csv ;;\n'
        f'"icn -s") cat {saved}/icn-s.txt ;;\n"icn -r") cat {saved}/icn-r.txt ;;\n*) exit 9 ;;\nesac\n',
    )
    debug = script(tmp_path / "ppudbg", f'printf "%s\\n" "ppudbg $*" >> {calls}\n{ppudbg}\ncat {saved}/topo.txt\n')
    host.configure(
        f"[ppu-smi]\npath = {smi}\ntimeout = {timeout}\n[ppudbg]\npath = {debug}\ntimeout = {timeout}\n"
    )
    return calls


def test_ppu_smi_is_asked(blank, machine, tmp_path):
    calls = tools(blank, tmp_path, machine)
    result = blank.engine("setup", "--json")
    assert (result.status, result.stderr) == (0, "")
    assert check_written(blank, machine)["registers"] == {"links": "0x7f"}
    assert {ppu["source"] for ppu in result.json()["ppus"]} == {"ppu-smi"}
    assert calls.read_text().splitlines() == [
        "ppu-smi --query-ppu=index,pci.bus_id,uuid,serial --format=csv,noheader", "ppu-smi icn -s", "ppu-smi icn -r"
    ]


def test_the_lock_is_free_while_a_tool_runs(blank, machine, tmp_path):
    tools(blank, tmp_path, machine, ppu_smi=f"flock -n -x {blank.path('/run/icn-hook/lock')} true || exit 8")
    assert blank.engine("repair").status in (0, 1, 3)
    blank.path("/run/icn-hook").mkdir(mode=0o700, exist_ok=True)
    (blank.path("/run/icn-hook") / "lock").touch(0o600)
    assert blank.engine("setup").status == 0


def test_without_ppu_smi_ppudbg_is_asked(guide, tmp_path):
    calls = tools(guide, tmp_path, guide_machine())
    os.unlink(tmp_path / "ppu-smi")
    result = guide.engine("setup", "--ids-by-address", "--json")
    assert (result.status, result.stderr) == (0, "")
    assert "registers" not in check_written(guide, guide_machine())
    assert calls.read_text() == "ppudbg --topo_read\n"


def test_no_tool(guide):
    guide.configure("[ppu-smi]\npath = /no/ppu-smi\n[ppudbg]\npath = /no/ppudbg\n")
    assert_refused(
        guide, [], 5,
        "neither /no/ppu-smi nor /no/ppudbg is on this host; save the outputs of the vendor's tools where its driver is "
        "loaded and give their directory with --from, or give a topology with --topology",
    )


def test_tools_that_see_no_cut_links(guide, tmp_path):
    tools(guide, tmp_path, guide_machine())
    with open(guide.path("/etc/icn-hook/icn-hook.conf"), "a", encoding="utf-8") as settings:
        settings.write("[policy]\nidle = isolate\n")
    assert_refused(
        guide, [], 3,
        "with idle = isolate links are cut, and the vendor's tools see no links that are cut; set idle = restore in "
        "[policy], run icn-hook reset, and then this; or give saved outputs with --from",
    )
    assert guide.engine("setup", "--from", tmp_path / "printed").status == 0


def test_a_tool_that_fails(guide, tmp_path):
    tools(guide, tmp_path, guide_machine(), ppu_smi='[ "$1" = icn ] && { echo "no driver" >&2; exit 3; }')
    result = guide.engine("setup")
    assert result.status == 5
    assert result.stderr.startswith("icn-hook: ppu-smi icn -s: ") and "no driver" in result.stderr
    assert (read(guide, TOPOLOGY), read(guide, CARDS)) == (None, None)


def test_a_tool_that_hangs(guide, tmp_path):
    tools(guide, tmp_path, guide_machine(), ppu_smi='[ "$2" = -r ] && sleep 1000', timeout=1)
    began = time.monotonic()
    result = guide.engine("setup")
    assert time.monotonic() - began < 20
    assert result.status == 6 and result.stderr.startswith("icn-hook: ppu-smi icn -r: ")
    assert (read(guide, TOPOLOGY), read(guide, CARDS)) == (None, None)


def test_a_tool_that_prints_noise(guide, tmp_path):
    (tmp_path / "noise").write_bytes(NOISE)
    tools(guide, tmp_path, guide_machine(), ppu_smi=f'[ "$2" = -s ] && cat {tmp_path}/noise')
    assert_refused(guide, [], 3, "output of ppu-smi icn -s:1: the line holds the control character 0x01")


def test_a_tool_that_complains_on_stderr(guide, tmp_path):
    tools(guide, tmp_path, guide_machine(), ppu_smi="echo 'PPU 0: warning' >&2")
    assert guide.engine("setup").status == 0
    check_written(guide, guide_machine())


def test_a_vm_that_starts_meanwhile(guide, tmp_path):
    """The card is taken while the tool runs: what was seen first does not count."""
    device = guide.device(GUIDE_BDFS[5])
    guide.set_driver(GUIDE_BDFS[5], "vfio-pci")
    tools(guide, tmp_path, guide_machine(), ppu_smi=f'[ "$2" = -r ] && echo 1 > {device}/enable')
    result = guide.engine("setup")
    assert (result.status, result.stderr) == (
        4,
        f"icn-hook: the card {GUIDE_BDFS[5]} is held open by a process that is not a known VM; end it first: the ids and "
        "links that it was started with must not change\n",
    )
    assert (read(guide, TOPOLOGY), read(guide, CARDS)) == (None, None)
