# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command line of the verbs that only look: what it takes, what it says of anything
else, and that nothing is written by it."""

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from bystander import vm
from errors import assert_error
from simhost import GUIDE_BDFS, SimHost
from topology import Topology


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
        # A thread of ours that forks meanwhile would hold a copy open that we write, and exec would find it busy.
        subprocess.run(["install", "-m", "755", path, copies[path]], check=True)
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


# The verb whose help the message names, where it is not the first word.
OTHER_HELP = {
    ("-n",): "help plan", ("-n", "a", "b"): "help plan", ("-r", "-g"): "help reset",
    **{arguments: "--help" for arguments in [
        (), ("--json",), ("staus",), ("",), ("--jason", "status"), ("two\nlines",), ("--re",), ("--vm", "4"), ("help", "relaese"),
    ]},
}
USAGE = {
    (): "no command given",
    ("--json",): "no command given",
    ("staus",): "unknown verb 'staus' (did you mean status?)",
    ("",): "unknown verb ''",
    ("--jason", "status"): "unknown option '--jason' (did you mean --json?)",
    ("check", "--quite"): "unknown option '--quite' (did you mean --quiet?)",
    ("status", "--quite"): "unknown option '--quite'",
    ("help", "relaese"): "unknown verb 'relaese' (did you mean release?)",
    ("status", "-x"): "unknown option '-x'",
    ("suggest", "1", "0"): "unexpected argument '0'",
    ("status", *["0"] * 66): "too many arguments: '0'",
    ("status", "--prometheus", "0"): "status --prometheus is of all cards, without '0'",
    ("status", "--no-header", "--json"): "--no-header is for tables only",
    ("check", "--no-header"): "'check' has no option '--no-header'",
    ("check", "-q", "--json"): "check takes --json or --quiet, not both",
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
    ("apply",): "LIST or --count N is missing",
    ("apply", "0,", "1"): "unexpected argument '1'; write LIST as one word, without blanks",
    ("apply", "0", "--count", "1"): "LIST and --count cannot be combined: '0'",
    ("apply", "--count", "0"): "the number of cards must be 1 or more, not '0'",
    ("apply", "--count", "2x"): "the number of cards must be 1 or more, not '2x'",
    ("apply", "--count", "1", "--numa", "-1"): "--numa takes the number of a node, not '-1'",
    ("apply", "0", "--numa", "1"): "--numa goes with --count",
    ("apply", "--count", "2", "--name", "a", "--name", "b"): "--count makes one group, which has one name",
    ("release",): "'release' needs an argument: NAME",
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
    hint = OTHER_HELP.get(arguments) or f"help {arguments[0]}"
    assert_error(result, 2, f"{USAGE[arguments]}; see icn-hook {hint}", json="--json" in arguments)
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
    """Other numbers of cards; [map] need not name all ids of the topology, and no others."""
    host = SimHost(tmp_path / "pair", cards=2)
    assert host.engine("check").status == 0  # the vendor's topology has eight
    host.map_ids({0: host.bdfs[0], 8: host.bdfs[1]})
    assert host.engine("check").status == 3
    host = SimHost(tmp_path / "ring", cards=3, topology=Topology.ring(3))
    assert host.engine("check").status == 0
    assert [card["ppu"] for card in host.engine("status", "--json").json()["ppus"]] == [0, 1, 2]
