# SPDX-License-Identifier: LGPL-2.1-or-later
"""topo: the matrix, the graph, and the topology file."""

import os
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from bystander import vm
from errors import assert_error
from simhost import GUIDE_BDFS, SimHost
from terminal import plain, run_on_terminal
from topology import VENDOR_TOPOLOGY, Topology

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures/topology"
PPUDBG = Path(__file__).resolve().parent.parent / "lib/ppudbg"
MATRIX = """\
PPU    0  1  2  3  4  5  6  7  ADDRESS       DRIVER    NUMA  GROUP  OWNER
  0    X  1  -  -  .  .  1  .  0000:08:00.0  -            0     10  idle
  1    1  X  -  -  .  .  .  1  0000:7e:00.0  -            0     11  idle
  2    -  -  X  ~  -  .  .  .  0000:a2:00.0  vfio-pci     0     12  b
  3    -  -  ~  X  .  -  .  .  0000:c6:00.0  vfio-pci     0     13  b
  4    .  .  -  .  X  1  1  1  0001:09:00.0  -            1     14  idle
  5    .  .  .  -  1  X  1  1  0001:7f:00.0  -            1     15  idle
  6    1  .  .  .  1  1  X  1  0001:aa:00.0  -            1     16  idle
  7    .  1  .  .  1  1  1  X  0001:ce:00.0  -            1     17  idle
X itself  . no link  1 number of open links  ~ unreadable, allowed to be open
   - cut as required
"""


def test_matrix(scene):
    result = scene.host.engine("topo")
    assert (result.status, result.stdout.decode(), result.stderr) == (0, MATRIX, "")
    status, output = run_on_terminal([scene.host.engine_program, "topo"], scene.host.environment(TERM="xterm"), 80)
    assert (status, plain(output)) == (0, MATRIX)
    assert "\033[36m-\033[0m" in output


def test_matrix_of_trouble(scene):
    """A leak, a needless cut, a card that cannot be read."""
    assert scene.call("prepare").status == 0
    scene.host.set_masks({0: 0x18, 6: 0x20})
    (scene.host.device(GUIDE_BDFS[4]) / "resource0").unlink()
    scene.host.pin_ids()
    scene.host.remove_function(GUIDE_BDFS[5])
    lines = scene.host.engine("topo").stdout.decode().splitlines()
    assert [line[7:30] for line in lines[1:9]] == [
        "X  1  -  -  .  .  !  . ",
        "1  X  -  -  .  .  .  - ",
        "-  -  X  ~  =  .  .  . ",
        "-  -  ~  X  .  =  .  . ",
        ".  .  =  .  X  ~  ~  ~ ",
        ".  .  .  =  ~  X  ~  ~ ",
        "!  .  .  .  ~  ~  X  / ",
        ".  -  .  .  ~  ~  /  X ",
    ]
    assert lines[6].split()[9:] == [GUIDE_BDFS[5], "ABSENT", "-", "-", "idle"]
    assert lines[-1] == "NOT ISOLATED: see icn-hook check"


def test_matrix_of_what_nothing_shows(scene):
    assert scene.libvirt.start(scene.a).running
    scene.host.path("/run/icn-hook/cards.json").unlink()
    lines = scene.host.engine("topo").stdout.decode().splitlines()
    assert [line[7:30] for line in lines[1:3]] == ["X  ~  ?  ?  .  .  -  . ", "~  X  ?  ?  .  .  .  - "]
    assert lines[-1] == "NOT VERIFIED: see icn-hook check"
    dot = scene.host.engine("topo", "--dot").stdout.decode()
    assert '  ppu0 -- ppu2 [color="#D55E00", style=dotted, penwidth=3];\n' in dot
    pairs = scene.host.engine("topo", "--json").json()["pairs"]
    found = next(pair for pair in pairs if (pair["a"], pair["b"]) == (0, 2))
    assert (found["open"], found["state"], found["evidence"]) == (None, "unknown", "unverified")


def test_running_vm_whose_registers_are_held(scene):
    """As on a real host: while QEMU has the card open, nobody else can map it."""
    for ppu in (2, 3):
        (scene.host.device(GUIDE_BDFS[ppu]) / "resource0").unlink()
    lines = scene.host.engine("topo").stdout.decode().splitlines()
    assert lines[3][7:30] == "-  -  X  ~  -  .  .  . "
    pairs = {(pair["a"], pair["b"]): pair for pair in scene.host.engine("topo", "--json").json()["pairs"]}
    assert (pairs[2, 3]["state"], pairs[2, 3]["open"], pairs[2, 3]["allowed"]) == ("unknown", None, True)
    assert (pairs[0, 2]["state"], pairs[0, 2]["open"], pairs[0, 2]["allowed"]) == ("cut", 0, False)


def test_json(scene):
    topo = scene.host.engine("topo", "--json").json()
    assert topo["schema"] == "icn-hook/topo/1"
    assert topo["ppus"] == [
        {
            "ppu": ppu,
            "bdf": bdf,
            "present": True,
            "driver": "vfio-pci" if ppu in (2, 3) else None,
            "numa_node": ppu // 4,
            "iommu_group": 10 + ppu,
            "owners": ["b"] if ppu in (2, 3) else [],
        }
        for ppu, bdf in enumerate(GUIDE_BDFS)
    ]
    live = scene.host.live_pairs(scene.masks())
    assert topo["pairs"] == [
        {
            "a": a,
            "b": b,
            "links": [{"ppu": a, "link": link_a}, {"ppu": b, "link": link_b}],
            "wired": 1,
            "open": None if (a, b) == (2, 3) else int((a, b) in live),
            "state": "unknown" if (a, b) == (2, 3) else "open" if (a, b) in live else "cut",
            "allowed": (a in (2, 3)) == (b in (2, 3)),
            "evidence": None if (a in (2, 3)) == (b in (2, 3)) else "proven",
        }
        for (a, link_a), (b, link_b) in scene.host.topology.joins()
    ]


# Many cards


@pytest.fixture(name="large")
def fixture_large(tmp_path):
    """Sixteen boards of eight cards, each joined to all of its board and to its
    neighbours on the boards before and after."""
    links = {}
    for card in range(128):
        board, place = divmod(card, 8)
        peers = [board * 8 + other for other in range(8) if other != place]
        peers += [(board + 1) % 16 * 8 + place, (board - 1) % 16 * 8 + place]
        links[card] = dict(enumerate(peers))
    host = SimHost(tmp_path / "large", cards=128, topology=Topology(links))
    host.pin_ids()
    return host


def test_many_cards(large):
    lines = large.engine("topo").stdout.decode().splitlines()
    assert [line[5:22].strip() for line in lines[:4]] == ["", "111111", "01234567 89012345", "X1111111 1......."]
    assert len(lines) == 3 + 128 + 1
    widths = {}
    for width in (80, 132, 200):
        _, output = run_on_terminal([large.engine_program, "topo"], large.environment(TERM="xterm"), width)
        widths[width] = plain(output).splitlines()
        assert max(map(len, widths[width])) <= width
    assert widths[200] == lines


def test_every_link_stands_in_some_block(large):
    """However narrow, nothing is lost."""
    for width in (20, 45, 80):
        _, output = run_on_terminal([large.engine_program, "topo"], large.environment(TERM="xterm"), width)
        rows = [line for line in plain(output).splitlines() if line[4:5] == " " and "idle" in line]
        found = sum(line[5:].split("idle")[0].count("1") for line in rows)
        assert found == 128 * 9, width


def test_what_to_use_where_the_matrix_does_not_fit(large):
    hint = "Too wide for this terminal; show some cards (topo NAME), or use --json or --dot."
    for arguments, width, is_said in ((["topo"], 80, True), (["topo"], 200, False), (["topo", "8-15"], 80, False)):
        _, output = run_on_terminal([large.engine_program, *arguments], large.environment(TERM="xterm"), width)
        lines = plain(output).splitlines()
        assert (lines[-1] == hint) == is_said, (arguments, width)
    assert [line.split()[0] for line in lines if "idle" in line] == [str(ppu) for ppu in range(8, 16)]


def test_dot_of_many_cards(large):
    """A box for each owner, and for the idle cards of each NUMA node."""
    assert large.engine("apply", "--name", "red", "--name", "blue", "0-3|4-7,9").status == 0
    source = large.engine("topo", "--dot").stdout
    lines = source.decode().splitlines()
    cards = large.engine("topo", "--json").json()["ppus"]
    box_of = [(card["owners"] or [f"idle, NUMA node {card['numa_node']}"])[0] for card in cards]
    boxes = {name: [ppu for ppu in range(128) if box_of[ppu] == name] for name in dict.fromkeys(box_of)}
    between = Counter(tuple(sorted((box_of[a], box_of[b]), key=list(boxes).index)) for (a, _), (b, _) in large.topology.joins())
    found = [re.fullmatch(r'  box(\d+) \[label="(.*)", fillcolor="(.*)"\];', line) for line in lines if " [label=" in line]
    colours = {match[2].split("\\n")[0]: match[3] for match in found if match[3] != "white"}
    assert (set(colours), set(colours.values())) == ({"red", "blue"}, {"#56B4E9", "#E69F00"}), "which has which is chance"
    assert [match.groups() for match in found] == [
        (str(ppus[0]), f"{name}\\nPPU {','.join(map(str, ppus))}\\ncards: {len(ppus)}, links inside: {between[name, name]}",
         colours.get(name, "white")) for name, ppus in boxes.items()
    ]
    edges = {(boxes[a][0], boxes[b][0]): (a, b) for a, b in between if a != b}
    assert len(lines) == 6 + len(boxes) + len(edges)
    for (a, b), names in edges.items():
        style = "color=gray40, style=dashed" if {"red", "blue"} & set(names) else "color=black, penwidth=2"
        label = f', label="{between[names]}"' if between[names] > 1 else ""
        assert f"  box{a} -- box{b} [{style}{label}];" in lines
    assert subprocess.run(["dot", "-Tsvg"], input=source, capture_output=True, check=True).stderr == b""
    assert large.engine("topo", "--dot", "red").stdout.count(b"[label=\"PPU ") == 16


# The graph


def test_dot_rings_the_cards_of_a_numa_node(tmp_path):
    host = SimHost(tmp_path / "host", model="810e-16")
    source = host.engine("topo", "--dot").stdout
    rings = re.findall(r"subgraph cluster_numa(\d+) {\n(.*?)\n  }", source.decode(), re.S)
    nodes = {node: sorted(map(int, re.findall(r"^    ppu(\d+) ", body, re.M))) for node, body in rings}
    places = {str(card["numa_node"]): [] for card in host.engine("topo", "--json").json()["ppus"]}
    for card in host.engine("topo", "--json").json()["ppus"]:
        places[str(card["numa_node"])].append(card["ppu"])
    assert nodes == places and len(nodes) > 1 and sum(map(len, nodes.values())) == 16
    assert subprocess.run(["dot", "-Tsvg"], input=source, capture_output=True, check=True).stderr == b""


def test_dot(scene):
    result = scene.host.engine("topo", "--dot")
    assert (result.status, result.stderr) == (0, "")
    lines = result.stdout.decode().splitlines()
    assert lines[0] == "graph icn {"
    assert f'    ppu2 [label="PPU 2\\n{GUIDE_BDFS[2]}\\nb", fillcolor="#56B4E9"];' in lines
    assert f'    ppu0 [label="PPU 0\\n{GUIDE_BDFS[0]}\\nidle", fillcolor="white"];' in lines
    live = scene.host.live_pairs(scene.masks())
    for (a, _), (b, _) in scene.host.topology.joins():
        style = "color=black, penwidth=2" if (a, b) in live else "color=gray40, style=dashed"
        if (a, b) == (2, 3):
            style = "color=gray50, style=dotted"
        assert f"  ppu{a} -- ppu{b} [{style}];" in lines
    assert scene.host.engine("topo", "--dot").stdout == result.stdout


def test_dot_is_understood(scene):
    assert scene.libvirt.start(vm('x"\\N&amp;<y>', 0)).running
    source = scene.host.engine("topo", "--dot").stdout
    picture = subprocess.run(["dot", "-Tsvg"], input=source, capture_output=True, check=True)
    assert picture.stderr == b""
    assert b">x&quot;\\x5cN&amp;amp;&lt;y&gt;</text>" in picture.stdout
    assert b"NUMA node 1" in picture.stdout


# --validate


def test_validate(host):
    """It needs no configuration and no root."""
    host.configure("broken")
    result = host.engine("topo", "--validate", VENDOR_TOPOLOGY)
    assert (result.status, result.stderr) == (0, "")
    assert result.stdout.decode() == f"{VENDOR_TOPOLOGY}: valid, 8 cards, 16 links\n"
    assert host.engine("topo", "--validate", VENDOR_TOPOLOGY, "--json").json() == {
        "schema": "icn-hook/validate/1",
        "ok": True,
        "cards": 8,
        "links": 16,
        "external": 0,
        "error": None,
        "warnings": [],
    }
    result = host.engine("topo", "--validate", "-", stdin=Topology.vendor().text())
    assert result.stdout == b"standard input: valid, 8 cards, 16 links\n"


def test_validate_warns(host):
    host.remove_function(GUIDE_BDFS[5])
    result = host.engine("topo", "--validate", VENDOR_TOPOLOGY)
    assert result.status == 0
    assert result.stderr == "icn-hook: warning: the topology has 8 cards, but 7 match :6001 on this host\n"


@pytest.mark.parametrize("name", sorted(path.name for path in FIXTURES.glob("*.cfg.expected")))
def test_validate_refuses(host, name):
    path = FIXTURES / name.removesuffix(".expected")
    result = host.engine("topo", "--validate", path)
    assert (result.status, result.stdout) == (3, b"")
    assert result.stderr.startswith(f"icn-hook: {path}:") and result.stderr.count("\n") == 1
    found = host.engine("topo", "--validate", path, "--json")
    assert found.status == 3
    error = result.stderr.removeprefix("icn-hook: ").rstrip("\n")
    assert found.json() == {
        "schema": "icn-hook/validate/1", "ok": False, "cards": None, "links": None, "external": None,
        "error": error, "warnings": [],
    }


def test_validate_nothing(host):
    for path in ("/nowhere", "/dev/null", "/"):
        assert host.engine("topo", "--validate", path).status == 3


# --generate


@pytest.fixture(name="tooled")
def fixture_tooled(host):
    host.configure(f"[ppudbg]\npath = {PPUDBG}\ntimeout = 2\n")
    return host


def state_of(path):
    facts = path.stat()
    return facts.st_ino, facts.st_mtime_ns, path.read_bytes()


@pytest.mark.parametrize("arguments", [["topo", "--generate"], ["-g"], ["--gen_topo"]])
def test_generate(tooled, arguments):
    path = tooled.path("/etc/icn-hook/icn_topo.cfg")
    inode = path.stat().st_ino
    result = tooled.engine(*arguments)
    assert (result.status, result.stderr) == (0, "")
    assert result.stdout.decode() == f"{path}: written, 8 cards, 16 links\n"
    assert path.read_text() == Topology.vendor().text()
    assert (path.stat().st_mode & 0o7777, path.stat().st_ino != inode) == (0o644, True)
    assert tooled.path("/var/log/ppudbg.calls").read_text() == "['--topo_read']\n"


def test_generate_into_a_file(tooled, tmp_path):
    path = tmp_path / "made.cfg"
    result = tooled.engine("topo", "--generate", "-o", path, "--json")
    assert result.json() == {
        "schema": "icn-hook/generate/1", "file": str(path), "cards": 8, "links": 16, "external": 0,
        "warnings": [],
    }
    assert path.read_text() == Topology.vendor().text()


@pytest.mark.parametrize("present", [None, "broken\n", ""])
def test_generate_without_a_topology(tooled, present):
    """That is what it is for."""
    tooled.write("/etc/vendor.cfg", Topology.vendor().text())
    tool = tooled.write("/usr/bin/ppudbg", f"#!/bin/sh\nexec cat {tooled.path('/etc/vendor.cfg')}\n")
    tool.chmod(0o755)
    tooled.configure("")
    path = tooled.path("/etc/icn-hook/icn_topo.cfg")
    path.unlink()
    if present is not None:
        path.write_text(present)
    assert tooled.engine("topo", "--generate").status == 0
    assert path.read_text() == Topology.vendor().text()
    assert tooled.engine("check").status == 0


def test_generate_while_a_vm_runs(scene):
    scene.host.configure(f"[ppudbg]\npath = {PPUDBG}\n")
    path = scene.host.path("/etc/icn-hook/icn_topo.cfg")
    before = state_of(path)
    result = scene.host.engine("topo", "--generate")
    assert (result.status, result.stdout) == (4, b"")
    assert result.stderr == (
        f"icn-hook: VM 'b' has the card {GUIDE_BDFS[2]}; stop it first: ppudbg sees no links that are cut\n"
    )
    assert state_of(path) == before
    assert not scene.host.path("/var/log/ppudbg.calls").exists()


@pytest.mark.parametrize("fault, status, words", [
    ("exit", 5, "ended with exit status 1: ppudbg: error: the firmware refused"),
    ("signal", 5, "signal 11"),
    ("hang", 6, "ppudbg --topo_read: "),
    ("flood", 3, "output of ppudbg --topo_read:1: "),
])
def test_generate_fails(tooled, fault, status, words):
    path = tooled.path("/etc/icn-hook/icn_topo.cfg")
    tooled.write("/etc/ppudbg.fault", fault)
    before, names = state_of(path), os.listdir(path.parent)
    result = tooled.engine("topo", "--generate")
    assert (result.status, result.stdout) == (status, b"")
    assert words in result.stderr and result.stderr.count("\n") == 1
    assert (state_of(path), os.listdir(path.parent)) == (before, names)


def refused_generation(host, line):
    path = host.path("/etc/icn-hook/icn_topo.cfg")
    before = state_of(path)
    result = host.engine("topo", "--generate")
    assert (result.status, result.stdout, result.stderr) == (3, b"", f"icn-hook: {line}\n")
    assert state_of(path) == before


def test_generate_where_links_of_idle_cards_are_cut(host):
    """What is not in the topology is never cut."""
    host.configure(f"[ppudbg]\npath = {PPUDBG}\n[policy]\nidle = isolate\n")
    refused_generation(
        host, "with idle = isolate links are cut, and ppudbg sees no links that are cut; set idle = restore in [policy], "
        "run icn-hook reset, and then this"
    )
    assert not host.path("/var/log/ppudbg.calls").exists()


def test_generate_where_no_link_is_seen(host):
    host.write("/etc/unlinked.cfg", Topology({ppu: {} for ppu in range(8)}).text())
    host.write("/usr/bin/ppudbg", f"#!/bin/sh\nexec cat {host.path('/etc/unlinked.cfg')}\n").chmod(0o755)
    refused_generation(
        host, "output of ppudbg --topo_read: 8 devices and no link: all links were cut or down when it was written; "
        "write it again while they are up"
    )


def test_generate_without_the_tool(host):
    result = host.engine("topo", "--generate")
    assert (result.status, result.stdout) == (5, b"")
    assert result.stderr.endswith("; check path in [ppudbg]\n")


USAGE = {
    ("topo", "--dot", "--json"): "topo takes --json or --dot, not both",
    ("topo", "--generate", "--dot"): "topo takes one of --generate, --validate and --dot",
    ("topo", "--generate", "--validate", "x"): "topo takes one of --generate, --validate and --dot",
    ("topo", "--validate", "x", "0"): "topo --validate takes no '0'",
    ("topo", "--generate", "vm1"): "topo --generate takes no 'vm1'",
    ("topo", "--no-header", "--json"): "--no-header is for tables only",
}


@pytest.mark.parametrize("arguments", USAGE)
def test_usage(host, arguments):
    result = host.engine(*arguments)
    assert_error(result, 2, f"{USAGE[arguments]}; see icn-hook help topo", json="--json" in arguments)
