# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a person or a script runs by hand: --dry-run, status, check.  Their JSON is a
contract, so every field is asserted with its value."""

import os
import re
import subprocess
import tempfile
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from bystander import BEFORE, CARDS_OF_B, WITH_A, vm
from domain_xml import CommandLine, Domain, Hostdev, Interface, Mdev, Nvme
from errors import assert_error
from simhost import GUIDE_BDFS, SimHost
from topology import Topology

LINKS = Topology.vendor().links
MDEV = "c0ffee00-0000-4000-8000-000000000001"


def mask_text(mask):
    return f"0x{mask:08x}"


def tree(root):
    """Everything that a write could change: kind, owner, mode, times, content."""
    found = {}
    for directory, names, files in os.walk(root):
        for name in [".", *names, *files]:
            path = Path(directory) / name
            facts = path.lstat()
            content = path.read_bytes() if path.is_file() and facts.st_size < (1 << 20) else None
            times = facts.st_mtime_ns, facts.st_ctime_ns
            found[str(path)] = (facts.st_mode, facts.st_uid, facts.st_nlink, facts.st_size, times, content)
    return found


def plan(scene, domain):
    xml = domain if isinstance(domain, str) else domain.xml()
    return scene.host.engine("--dry-run", "-", "--json", stdin=xml)


# --dry-run --json


def links_of(masks, owned, owner):
    """The links of the cards that the VM gets, as they will be."""
    names = {ppu: "b" for ppu in CARDS_OF_B} | {ppu: owner for ppu in owned}
    return [
        {
            "ppu": ppu,
            "link": link,
            "peer": peer,
            "state": "cut" if masks[ppu] >> link & 1 else "open",
            "peer_owner": names.get(peer, "idle"),
        }
        for ppu in owned
        for link, peer in sorted(LINKS[ppu].items())
    ]


def test_plan(scene):
    result = plan(scene, scene.a)
    assert (result.status, result.stderr) == (0, "")
    assert result.json() == {
        "schema": "icn-hook/plan/1",
        "domain": {"name": "a", "uuid": scene.a.uuid},
        "verdict": "isolate",
        "reason": None,
        "devices": [{"bdf": GUIDE_BDFS[ppu], "via": "hostdev", "ppu": ppu} for ppu in (0, 1)],
        "writes": [
            {"ppu": ppu, "bdf": GUIDE_BDFS[ppu], "from": mask_text(BEFORE[ppu]), "to": mask_text(WITH_A[ppu])}
            for ppu in (0, 1, 6, 7)
        ],
        "links": links_of(WITH_A, (0, 1), "a"),
        "warnings": [],
    }


def test_plan_is_what_prepare_does(scene):
    writes = plan(scene, scene.a).json()["writes"]
    assert scene.call("prepare").status == 0
    assert {write["ppu"]: write["to"] for write in writes} == {
        ppu: mask_text(mask) for ppu, mask in scene.masks().items() if mask != BEFORE[ppu]
    }
    again = plan(scene, scene.a).json()
    assert (again["verdict"], again["writes"], again["links"]) == ("isolate", [], links_of(WITH_A, (0, 1), "a"))


def test_plan_of_a_refused_vm(scene):
    result = plan(scene, vm("c", 3, 4))
    reason = (
        f"icn-hook: VM 'c' would not be started: PPU 3 ({GUIDE_BDFS[3]}) is owned by VM 'b' ({scene.b.uuid}), which "
        "runs; stop that VM or give this one another card"
    )
    assert (result.status, result.stderr) == (4, reason + "\n")
    assert result.json() == {
        "schema": "icn-hook/plan/1",
        "domain": {"name": "c", "uuid": vm("c").uuid},
        "verdict": "refuse",
        "reason": reason,
        "devices": [{"bdf": GUIDE_BDFS[ppu], "via": "hostdev", "ppu": ppu} for ppu in (3, 4)],
        "writes": [],
        "links": [],
        "warnings": [],
    }


def test_plan_without_cards(scene):
    nic = scene.host.add_nic()
    result = plan(scene, Domain("nic", [Hostdev(nic)]))
    assert (result.status, result.stderr) == (0, "")
    assert result.json() == {
        "schema": "icn-hook/plan/1",
        "domain": {"name": "nic", "uuid": Domain("nic").uuid},
        "verdict": "pass",
        "reason": None,
        "devices": [{"bdf": nic, "via": "hostdev", "ppu": None}],
        "writes": [],
        "links": [],
        "warnings": [],
    }


def test_plan_of_every_kind_of_device(scene):
    """In document order, each once, by the card behind it."""
    nic = scene.host.add_nic()
    vf = scene.host.add_vf(5, 0)
    scene.host.add_mdev(4, MDEV)
    devices = [
        Hostdev(GUIDE_BDFS[0]),
        Interface(GUIDE_BDFS[6]),
        Hostdev(vf),
        Nvme(GUIDE_BDFS[7]),
        Mdev(MDEV, GUIDE_BDFS[4]),
        Hostdev(nic),
        CommandLine(GUIDE_BDFS[1]),
        CommandLine(GUIDE_BDFS[0]),
    ]
    result = plan(scene, Domain("all", devices))
    assert result.status == 0
    assert [tuple(device.values()) for device in result.json()["devices"]] == [
        (GUIDE_BDFS[0], "hostdev", 0),
        (GUIDE_BDFS[6], "interface", 6),
        (GUIDE_BDFS[5], "vf", 5),
        (GUIDE_BDFS[7], "nvme", 7),
        (GUIDE_BDFS[4], "mdev", 4),
        (nic, "hostdev", None),
        (GUIDE_BDFS[1], "commandline", 1),
    ]


def test_plan_without_uuid(scene):
    xml = scene.a.xml().replace(f"  <uuid>{scene.a.uuid}</uuid>\n", "")
    assert plan(scene, xml).json()["domain"] == {"name": "a", "uuid": None}


def test_plan_from_a_file_and_as_a_verb(scene, tmp_path):
    (tmp_path / "a.xml").write_text(scene.a.xml())
    expected = plan(scene, scene.a).stdout
    for arguments in (
        ["--dry-run", tmp_path / "a.xml", "--json"],
        ["-n", tmp_path / "a.xml", "--json"],
        ["--json", "plan", tmp_path / "a.xml"],
        ["--json", "plan", "-n", tmp_path / "a.xml"],
    ):
        result = scene.host.engine(*arguments)
        assert (result.status, result.stdout, result.stderr) == (0, expected, "")


def test_plan_of_a_missing_file(scene, tmp_path):
    """A VM's name, too, is taken for a file's."""
    result = scene.host.engine("--dry-run", f"{tmp_path}/vm1")
    assert (result.status, result.stdout) == (3, b"")
    assert result.stderr == f"icn-hook: cannot open {tmp_path}/vm1: No such file or directory\n"


def test_plan_text(scene):
    result = scene.host.engine("--dry-run", "-", stdin=scene.a.xml())
    assert (result.status, result.stderr) == (0, "")
    assert result.stdout.decode().splitlines() == [
        "VM 'a' would be isolated. Register writes, in this order (bit set = link cut):",
        f"  PPU 0 ({GUIDE_BDFS[0]})     0x00000018 -> 0x00000019  card of the VM",
        f"  PPU 1 ({GUIDE_BDFS[1]})     0x00000030 -> 0x00000031  card of the VM",
        f"  PPU 6 ({GUIDE_BDFS[6]})     0x00000000 -> 0x00000001  idle card",
        f"  PPU 7 ({GUIDE_BDFS[7]})     0x00000000 -> 0x00000001  idle card",
    ]
    result = scene.host.engine("--dry-run", "-", stdin=scene.plain.xml())
    assert (result.status, result.stdout) == (0, b"VM 'plain' uses no PPU: nothing to do.\n")
    result = scene.host.engine("--dry-run", "-", stdin=vm("c", 3).xml())
    assert (result.status, result.stdout) == (4, b"")


# status --json


def status_of(scene, masks, owners, held=None):
    """The whole answer, from the test's own knowledge."""
    expected = scene.host.topology.required_masks({ppu: {name} for ppu, name in owners.items()})
    uuids = {name: vm(name).uuid for name in owners.values()}
    held = owners.keys() if held is None else held

    def end(ppu, peer):
        """QEMU keeps the registers of its cards to itself."""
        link = next(link for link, other in sorted(LINKS[ppu].items()) if other == peer)
        if ppu in held:
            return "unknown"
        return "cut" if masks[ppu] >> link & 1 else "open"

    def live(ends):
        if "cut" in ends:
            return False
        return True if ends == ["open", "open"] else None

    def evidence(ppu, peer):
        """The read-back at the gate counts for a card in use, a reading now for any other."""
        if owners.get(ppu) == owners.get(peer):
            return None
        ends = [end(ppu, peer), end(peer, ppu)]
        return "unverified" if ends == ["open", "open"] else "proven" if "cut" in ends else "gated"

    def describe(ppu):
        links = [
            {
                "link": link,
                "peer": peer,
                "near": end(ppu, peer),
                "far": end(peer, ppu),
                "live": live([end(ppu, peer), end(peer, ppu)]),
                "allowed": owners.get(ppu) == owners.get(peer),
                "evidence": evidence(ppu, peer),
                "since": "a time" if evidence(ppu, peer) == "gated" else None,
            }
            for link, peer in sorted(LINKS[ppu].items())
        ]
        owner = owners.get(ppu)
        return {
            "ppu": ppu,
            "bdf": GUIDE_BDFS[ppu],
            "present": True,
            "driver": "vfio-pci" if ppu in held else None,
            "in_use": ppu in held,
            "iommu_group": 10 + ppu,
            "numa_node": ppu // 4,
            "owners": [{"name": owner, "uuid": uuids[owner], "kind": "vm"}] if owner else [],
            "mask": None if ppu in held else mask_text(masks[ppu]),
            "expected": mask_text(expected[ppu]),
            "owed": None,
            "links": links,
        }

    return [describe(ppu) for ppu in range(8)]


def ppus_of(status):
    """The cards, with a moment of evidence checked and replaced by a word."""
    for ppu in status["ppus"]:
        for link in ppu["links"]:
            if link["since"]:
                then = datetime.strptime(link["since"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
                assert abs(datetime.now(timezone.utc) - then) < timedelta(minutes=10)
                link["since"] = "a time"
    return status["ppus"]


def test_status(scene):
    result = scene.host.engine("status", "--json")
    assert (result.status, result.stderr) == (0, "")
    status = result.json()
    assert status == {
        "schema": "icn-hook/status/2",
        "ok": True,
        "ppus": status_of(scene, BEFORE, {2: "b", 3: "b"}),
        "leaks": [],
        "coverage": {"required": 6, "proven": 6, "gated": 0, "unverified": 0},
        "findings": [],
    }
    assert scene.libvirt.start(scene.a).running
    owners = {0: "a", 1: "a", 2: "b", 3: "b"}
    status = scene.host.engine("status", "--json").json()
    assert ppus_of(status) == status_of(scene, WITH_A, owners)
    assert status["coverage"] == {"required": 8, "proven": 4, "gated": 4, "unverified": 0}


def leak(scene):
    """a is being started, and both ends of the link between its 0 and the idle 6 are open."""
    assert scene.call("prepare").status == 0
    masks = {**WITH_A, 0: 0x18, 6: 0}
    scene.host.set_masks(masks)
    return masks


def test_status_of_a_leak(scene):
    masks = leak(scene)
    assert LINKS[0][0] == 6
    result = scene.host.engine("status", "--json")
    assert (result.status, result.stderr) == (0, "")
    status = result.json()
    assert (status["ok"], status["leaks"]) == (False, [{"a": 0, "b": 6}])
    assert ppus_of(status) == status_of(scene, masks, {0: "a", 1: "a", 2: "b", 3: "b"}, held=CARDS_OF_B)
    assert status["coverage"] == {"required": 8, "proven": 7, "gated": 0, "unverified": 1}
    about = f"PPU 0 ({GUIDE_BDFS[0]})", f"PPU 6 ({GUIDE_BDFS[6]})"
    assert status["findings"] == [
        {
            "code": "leak",
            "severity": "error",
            "ppu": 0,
            "vm": None,
            "text": f"LEAK: a link between {about[0]} and {about[1]} is open on both sides; owners: a / idle; stop the VM",
        },
        *(
            {
                "code": "cut-missing",
                "severity": "error",
                "ppu": ppu,
                "vm": None,
                "text": f"{card} lacks cuts: mask {mask}, required {required}; icn-hook repair makes them",
            }
            for ppu, card, mask, required in (
                (0, about[0], "0x00000018", "0x00000019"),
                (6, about[1], "0x00000000", "0x00000001"),
            )
        ),
    ]
    text = scene.host.engine("status")
    assert text.status == 0
    assert text.stdout.decode().splitlines()[-5:] == [
        *(finding["text"] for finding in status["findings"]),
        "8 links must be cut: 7 read now, 0 read back before QEMU opened the cards, 1 unverified (1 of them OPEN at both "
        "ends)",
        "NOT ISOLATED: see above.",
    ]


def test_status_of_odd_cards(scene):
    """Absent, silent, shared, held by a stranger."""
    scene.host.pin_ids()
    scene.host.remove_function(GUIDE_BDFS[7])
    scene.host.write_register(6, 0xFFFFFFFF)
    (scene.host.device(GUIDE_BDFS[6]) / "config").write_bytes(b"\xff" * 64)
    scene.host.set_driver(GUIDE_BDFS[5], "vfio-pci")
    scene.host.set_enable(GUIDE_BDFS[5], 1)
    scene.host.set_driver(GUIDE_BDFS[4], "ppu")
    (scene.host.device(GUIDE_BDFS[4]) / "iommu_group").unlink()
    (scene.host.device(GUIDE_BDFS[4]) / "numa_node").write_text("-1\n")
    ppus = scene.host.engine("status", "--json").json()["ppus"]
    assert {key: value for key, value in ppus[7].items() if key not in ("ppu", "bdf", "expected", "owed", "links")} == {
        "present": False,
        "driver": None,
        "in_use": False,
        "iommu_group": None,
        "numa_node": None,
        "owners": [],
        "mask": None,
    }
    assert (ppus[6]["present"], ppus[6]["mask"]) == (True, None)
    assert {link["near"] for link in ppus[6]["links"]} == {"unknown"}
    assert (ppus[5]["in_use"], ppus[5]["owners"]) == (True, [{"name": "unknown", "uuid": None, "kind": "unknown"}])
    assert (ppus[4]["driver"], ppus[4]["iommu_group"], ppus[4]["numa_node"]) == ("ppu", None, None)
    to_6 = next(link for link in ppus[4]["links"] if link["peer"] == 6)
    assert (to_6["near"], to_6["far"], to_6["live"], to_6["allowed"]) == ("unknown", "unknown", None, True)
    to_7 = next(link for link in ppus[1]["links"] if link["peer"] == 7)
    assert (to_7["near"], to_7["far"], to_7["live"], to_7["allowed"]) == ("open", "unknown", None, True)


# check


def test_check(scene):
    result = scene.host.engine("check", "--json")
    assert (result.status, result.stderr) == (0, "")
    assert result.json() == {
        "schema": "icn-hook/check/2",
        "ok": True,
        "leaks": [],
        "drift": [],
        "groups": [],
        "coverage": {"required": 6, "proven": 6, "gated": 0, "unverified": 0},
        "findings": [],
    }
    result = scene.host.engine("check")
    assert (result.status, result.stdout.decode().splitlines()) == (
        0,
        [
            "6 links must be cut: 6 read now, 0 read back before QEMU opened the cards, 0 unverified",
            "OK: every link that must be cut is verified",
        ],
    )


def test_check_of_what_only_the_gate_saw(scene):
    """The links between the cards of two VMs: no end can be read now."""
    assert scene.libvirt.start(scene.a).running
    result = scene.host.engine("check")
    assert result.status == 0
    assert re.fullmatch(
        r"8 links must be cut: 4 read now, 4 read back (at \S+|between \S+ and \S+) before QEMU opened the cards, "
        r"0 unverified",
        result.stdout.decode().splitlines()[0],
    )


def test_check_of_what_nothing_shows(scene):
    """The memory of the cards is gone, as under an older icn-hook: not OK, and not a leak either."""
    assert scene.libvirt.start(scene.a).running
    scene.host.path("/run/icn-hook/cards.json").unlink()
    result = scene.host.engine("check", "--json")
    found = result.json()
    assert (result.status, found["ok"], found["leaks"], found["drift"]) == (7, False, [], [])
    assert found["coverage"] == {"required": 8, "proven": 4, "gated": 0, "unverified": 4}
    assert {finding["code"] for finding in found["findings"]} == {"unverified", "no-gate", "card"}
    result = scene.host.engine("check")
    assert (result.status, result.stdout.decode().splitlines()[-1]) == (
        7,
        "CANNOT BE VERIFIED: no leak is known, but not every cut can be shown",
    )


def test_check_of_a_leak(scene):
    leak(scene)
    result = scene.host.engine("check", "--json")
    assert (result.status, result.stderr) == (1, "")
    found = result.json()
    assert (found["schema"], found["ok"], found["leaks"]) == ("icn-hook/check/2", False, [{"a": 0, "b": 6}])
    assert found["drift"] == [
        {"ppu": 0, "mask": "0x00000018", "required": "0x00000019"},
        {"ppu": 6, "mask": "0x00000000", "required": "0x00000001"},
    ]
    assert len(found["findings"]) == 3
    result = scene.host.engine("check")
    assert result.status == 1
    assert result.stdout.endswith(b"FAILED: pairs of cards that leak: 1; cards that lack cuts: 2\n")


def test_check_of_drift_alone(scene):
    """One end still cuts the link, but both have to."""
    scene.host.write_register(4, 0)
    result = scene.host.engine("check", "--json")
    assert (result.status, result.json()["leaks"]) == (1, [])
    assert result.json()["drift"] == [{"ppu": 4, "mask": "0x00000000", "required": "0x00000001"}]


# Nothing is written, nothing else is needed


VERBS = [["--dry-run", "-"], ["--dry-run", "-", "--json"], ["-v", "-n", "-"], ["status"], ["check", "--json"]]


@pytest.mark.parametrize("state", ["state", "no state"])
def test_nothing_is_written(scene, state):
    """Not even a log line, a lock file, a time stamp or memory decoding."""
    if state == "no state":
        for path in scene.host.path("/run/icn-hook").iterdir():
            path.unlink()
        scene.host.path("/run/icn-hook").rmdir()
    scene.host.set_memory_decoding(GUIDE_BDFS[0], False)
    before = tree(scene.host.root)
    for arguments in VERBS:
        for domain in (scene.a, scene.b, scene.plain, vm("c", 3)):
            scene.host.engine(*arguments, stdin=domain.xml())
    scene.host.engine("--dry-run", "-", stdin="junk")
    assert tree(scene.host.root) == before


def as_ordinary_user(scene, tmp_path, program, *arguments, xml=""):
    """Root becomes somebody else, whose coverage data goes elsewhere."""
    coverage = tmp_path / "coverage"
    coverage.mkdir(exist_ok=True)
    coverage.chmod(0o777)
    for directory in [tmp_path, *tmp_path.parents]:
        if directory == Path(tempfile.gettempdir()).resolve():
            break
        directory.chmod(directory.stat().st_mode | 0o011)
    copies = {}
    for path in (scene.host.hook_program, scene.host.engine_program):
        copies[path] = tmp_path / f"copy-of-{path.name}"
        copies[path].write_bytes(path.read_bytes())
        copies[path].chmod(0o755)
    identity = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
    environment = scene.host.environment(
        ICN_ENGINE=str(copies[scene.host.engine_program]),
        GCOV_PREFIX=str(coverage),
        ASAN_OPTIONS=None,
        UBSAN_OPTIONS=None,
    )
    done = subprocess.run(
        [copies[program], *arguments],
        input=xml.encode(),
        capture_output=True,
        cwd="/",
        env=environment,
        check=False,
        **identity,
    )
    return done.returncode, done.stdout, done.stderr.decode()


def test_ordinary_user(scene, tmp_path):
    """qemu:///session: a VM with a card is refused clearly, any other passes."""
    assert os.geteuid() == 0, "only root can make a simulated host that is somebody else's"
    before = tree(scene.host.root)
    hook = scene.host.hook_program
    status, stdout, stderr = as_ordinary_user(scene, tmp_path, hook, "a", "prepare", "begin", "-", xml=scene.a.xml())
    assert (status, stdout) == (5, b"")
    assert stderr.startswith("icn-hook: VM 'a' is not started: ") and "needs root" in stderr
    for operation in ("started", "reconnect", "stopped", "release"):
        answer = as_ordinary_user(scene, tmp_path, hook, "a", operation, "begin", "-", xml=scene.a.xml())
        assert answer == (0, b"", "")
    for operation in ("prepare", "start", "stopped", "release"):
        answer = as_ordinary_user(scene, tmp_path, hook, "plain", operation, "begin", "-", xml=scene.plain.xml())
        assert answer == (0, b"", "")
    for arguments in (["-n", "-"], ["status"], ["check"]):
        status, stdout, stderr = as_ordinary_user(
            scene, tmp_path, scene.host.engine_program, *arguments, xml=scene.a.xml()
        )
        assert (status, stdout) == (5, b"") and "needs root" in stderr
    assert tree(scene.host.root) == before


# The command line


def test_help(host):
    for option in ("-h", "--help"):
        result = host.engine(option)
        assert (result.status, result.stderr) == (0, "")
        lines = result.stdout.decode().splitlines()
        assert lines[0] == "Usage: icn-hook [OPTIONS] VERB [ARGUMENT]"
        assert all(len(line) <= 100 for line in lines)
        for word in ("plan", "status", "check", "-n, --dry-run", "--json", "--config", "-v, --verbose", "--version"):
            assert any(line.strip().startswith(word) for line in lines), word


def test_version(host):
    result = host.engine("--version")
    assert (result.status, result.stderr) == (0, "")
    name, version = result.stdout.decode().removesuffix("\n").split(" ")
    assert name == "icn-hook" and all(part.isdigit() for part in version.split("."))


USAGE = {
    (): "no command given",
    ("--json",): "no command given",
    ("staus",): "unknown verb 'staus' (did you mean status?)",
    ("",): "unknown verb ''",
    ("--jason", "status"): "unknown option '--jason'",
    ("status", "-x"): "unknown option '-x'",
    ("status", "0"): "unexpected argument '0'",
    ("-n",): "plan needs a FILE, or - for standard input, or --domain NAME",
    ("plan",): "plan needs a FILE, or - for standard input, or --domain NAME",
    ("-n", "a", "b"): "unexpected argument 'b'",
    ("status", "-n"): "'status' has no option '--dry-run'",
    ("status", "--force"): "'status' has no option '--force'",
    ("status", "--config"): "option '--config' needs a value: FILE",
    ("status", "--json=1"): "option '--json' takes no value",
    ("status", "--color", "red"): "--color takes auto, always or never, not 'red'",
    ("status", "--reset"): "--reset cannot be combined with 'status'",
    ("-r", "-g"): "--gen_topo cannot be combined with 'reset'",
    ("apply",): "'apply' needs an argument: LIST",
    ("two\nlines",): "unknown verb 'two\\x0alines'",
    ("--re",): "unknown option '--re'",
    ("reset", "--fo"): "unknown option '--fo'",
    ("--vm", "4"): "unknown option '--vm'",
    ("status", "--js"): "unknown option '--js'",
    ("status", "-o", "json"): "status takes --output only with --json or --prometheus",
    ("topo", "-o", "json"): "topo takes --output only with --generate, --json or --dot",
    ("check", "-o", "json"): "'check' has no option '--output'",
    ("status", "--frob", "--json"): "unknown option '--frob'",
}


@pytest.mark.parametrize("arguments", USAGE)
def test_usage(host, arguments):
    masks = host.masks()
    result = host.engine(*arguments)
    assert_error(result, 2, f"{USAGE[arguments]}; see icn-hook --help", json="--json" in arguments)
    assert (host.masks(), os.path.exists("/json")) == (masks, False)


def test_output_that_cannot_be_written(scene):
    """Never 0 on a failed step."""
    for arguments in ("status", "check --json", "--help", "--version"):
        command = f'exec "$1" {arguments} > /dev/full'
        shell = ["/bin/sh", "-c", command, "sh", scene.host.engine_program]
        result = scene.host.run(shell, "", scene.host.environment())
        assert result.status == 5
        assert result.stderr == "icn-hook: cannot write to standard output: No space left on device\n"


@pytest.mark.parametrize("arguments", ["status", "check 0", "check --json", "topo --dot", "--help"])
def test_reader_that_goes_away(scene, arguments):
    """As with head: nothing is said, and the status is the verb's own."""
    expected = scene.host.engine(*arguments.split()).status
    command = f'{{ sleep 0.2; "$1" {arguments}; echo $? >&2; }} | true'
    shell = ["/bin/sh", "-c", command, "sh", scene.host.engine_program]
    assert scene.host.run(shell, "", scene.host.environment()).stderr == f"{expected}\n"


READERS = ["status", "check", "check 0", "topo", "explain 0", "suggest 1", "apply 0", "release red", "reset"]


@pytest.mark.parametrize("arguments", READERS)
def test_error_in_json(scene, arguments):
    scene.host.configure("broken")
    line = scene.host.engine(*arguments.split()).stderr.removeprefix("icn-hook: ").removesuffix("\n")
    assert_error(scene.host.engine(*arguments.split()), 3, line, json=False)
    assert_error(scene.host.engine(*arguments.split(), "--json"), 3, line, json=True)


def test_another_host(tmp_path):
    """Other numbers of cards."""
    host = SimHost(tmp_path / "pair", cards=2)
    assert host.engine("check").status == 3  # the vendor's topology has eight
    host = SimHost(tmp_path / "ring", cards=3, topology=Topology.ring(3))
    assert host.engine("check").status == 0
    assert [card["ppu"] for card in host.engine("status", "--json").json()["ppus"]] == [0, 1, 2]
