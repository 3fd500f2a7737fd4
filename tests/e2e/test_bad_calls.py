# SPDX-License-Identifier: LGPL-2.1-or-later
"""Odd names, odd calls, closed descriptors: through both programs, with a card."""

import os
import subprocess

import pytest

from bystander import BEFORE, WITH_A, Scene
from domain_xml import LIVE, Domain, Hostdev
from simhost import GUIDE_BDFS

NAMES = {
    "two  words": "two  words",
    "quotes": "a'b\"c",
    "leading dash": "-n",
    "option": "--json",
    "two dashes": "--",
    "UTF-8": "名前-é-\U0001f600",
    "255 bytes": "x" * 255,
    "255 bytes of UTF-8": "é" * 127 + "x",
    "command": "$(touch {tmp}/touched)",
    "backticks": "`touch {tmp}/touched`",
    "semicolon": "a; touch {tmp}/touched",
    "path": "../../etc/passwd",
    "format": "%s%n%n%1000000d",
    "newline": "two\nlines",
    "escapes": "\x1b[31mred\x07\x7f",
    "backslash": "a\\x0ab",
    "operation": "prepare",
    "verb": "status",
    "another verb": "apply",
    "sub-operation": "end",
    "empty": "",
}
NO_XML = {"newline", "escapes", "empty"}  # as arguments only


def escaped(name):
    """As one line shows it."""
    return "".join(f"\\x{ord(letter):02x}" if letter < " " or letter == "\x7f" else letter for letter in name)


def domain_of(name, *ppus):
    return Domain(name, [Hostdev(GUIDE_BDFS[ppu]) for ppu in ppus], uuid="0f0e0d0c-0000-4000-8000-000000000001")


@pytest.mark.parametrize("case", NAMES)
def test_name(scene, tmp_path, case):
    """It is text and nothing else: isolated, refused, logged in one line, restored."""
    name = NAMES[case].format(tmp=tmp_path)
    domain = domain_of(name, 0, 1)
    xml = (domain_of("vm", 0, 1) if case in NO_XML else domain).xml()
    assert scene.call("prepare", xml, domain).status == 0
    assert scene.masks() == WITH_A
    assert scene.call("start", xml, domain).status == 0
    lines = len(scene.host.log().splitlines())
    result = scene.call("prepare", xml.replace(domain.uuid, domain.uuid[:-1] + "2"), domain)
    assert (result.status, result.stderr.count("\n")) == (4, 1)
    shown = escaped(name)
    assert result.stderr.startswith(f"icn-hook: VM '{shown}' is not started: PPU 0 ({GUIDE_BDFS[0]}) is owned by VM '")
    assert len(scene.host.log().splitlines()) == lines + 1
    scene.assert_harmless(xml, domain)
    assert scene.masks() == BEFORE
    assert not (tmp_path / "touched").exists()
    assert list(scene.claim_files()) == [f"{scene.b.uuid}.json"]


def test_names_in_a_dry_run(scene):
    for name in (NAMES[case] for case in NAMES if case not in NO_XML):
        result = scene.host.engine("-n", "-", "--json", stdin=domain_of(name, 0).xml())
        assert (result.status, result.json()["domain"]["name"]) == (0, name)


def test_name_in_the_status(scene):
    name = NAMES["quotes"] + NAMES["UTF-8"]
    domain = domain_of(name, 0)
    assert scene.call("prepare", domain=domain).status == 0
    owners = scene.host.engine("status", "--json").json()["ppus"][0]["owners"]
    assert owners == [{"name": name, "uuid": domain.uuid, "kind": "vm"}]


def test_name_that_is_no_utf8(scene):
    result = subprocess.run(
        [os.fsencode(scene.host.hook_program), b"\xff\xfe", b"prepare", b"begin", b"-"],
        input=scene.a.xml().encode(),
        capture_output=True,
        env=scene.host.environment(),
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")
    assert scene.masks() == WITH_A
    assert scene.host.engine("status", "--json").json()["ppus"][0]["owners"][0]["name"] == "\\xff\\xfe"


# Calls that are none


def test_operations_that_are_left_alone(scene):
    before = scene.state()
    for operation in ("migrate", "restore", "attach"):
        for program in (scene.host.hook_program, scene.host.engine_program):
            result = scene.host.run([program, "a", operation, "begin", "-"], scene.a.xml(), scene.host.environment())
            assert (result.status, result.stdout, result.stderr) == (0, b"", "")
    for operation in ("detach", "", "PREPARE", "--help", "begin"):
        result = scene.host.hook("a", operation, scene.a.xml())
        assert (result.status, result.stderr) == (0, "")
    assert scene.state() == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["a"],
        ["a", "prepare"],
        ["a", "prepare", "begin"],
        ["a", "prepare", "begin", "-", "-"],
        ["a", "prepare", "now", "-"],
        ["a", "prepare", "end", "-"],
        ["a", "release", "begin", "-"],
        ["a", "detach", "begin", "-"],
        ["a", "PREPARE", "begin", "-"],
        ["a", "", "begin", "-"],
    ],
)
def test_engine_is_no_hook_with_other_arguments(scene, arguments):
    """Then they are a verb that does not exist."""
    before = scene.state()
    result = scene.host.engine(*arguments, stdin=scene.a.xml())
    assert (result.status, result.stdout) == (2, b"")
    assert result.stderr == "icn-hook: unknown verb 'a'; see icn-hook --help\n"
    assert scene.state() == before


def test_words_of_a_hook_call_name_a_group(scene):
    """They are an operator's, and not a VM called "apply"."""
    result = scene.host.engine("apply", "--name", "prepare", "4,5")
    assert (result.status, result.stderr) == (0, "")
    ppus = scene.host.engine("status", "--json").json()["ppus"]
    assert [owner["name"] for owner in ppus[4]["owners"]] == ["prepare"]
    assert scene.host.engine("release", "prepare").status == 0
    assert scene.host.engine("status", "--json").json()["ppus"][4]["owners"] == []


@pytest.mark.parametrize("arguments", [["--name", "end", "4,5"], ["4,5", "--name", "end"], ["--name", "begin", "4,5"]])
def test_words_of_a_hook_call_that_no_group_may_have(scene, arguments):
    before = scene.state()
    result = scene.host.engine("apply", *arguments)
    assert (result.status, result.stderr.startswith("icn-hook: --name '")) == (2, True)
    assert scene.state() == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["status", "prepare", "begin", "-"],
        ["apply", "prepare", "begin", "-"],
        ["-n", "prepare", "begin", "-"],
        ["--json", "release", "end", "-"],
    ],
)
def test_verbs_and_options_are_no_names_of_vms(scene, arguments):
    """Without the hook program's word: a VM of such a name comes by way of the hook."""
    before = scene.state()
    result = scene.host.engine(*arguments, stdin=scene.a.xml())
    assert result.status == 2
    assert result.json()["code"] == "usage" if "--json" in arguments else result.stdout == b""
    assert result.stderr.startswith("icn-hook: ") and result.stderr.count("\n") == 1
    assert scene.state() == before


def test_other_words_change_nothing(scene):
    """Of the arguments only name and operation count."""
    for extra in ("-", "", "shutdown", "from snapshot", "x" * 5000):
        for suboperation in ("begin", "end"):
            assert scene.host.hook("a", "prepare", scene.a.xml(), extra, suboperation).status == 0
            assert scene.masks() == WITH_A
            assert scene.host.hook("a", "release", scene.a.xml(), extra, suboperation).status == 0
            assert scene.masks() == BEFORE


def test_engine_under_another_name(scene, tmp_path):
    """Hook mode is a matter of the arguments."""
    (tmp_path / "qemu").symlink_to(scene.host.engine_program)
    result = scene.host.run(
        [tmp_path / "qemu", "a", "prepare", "begin", "-"], scene.a.xml(), scene.host.environment()
    )
    assert (result.status, result.stdout, result.stderr) == (0, b"", "")
    assert scene.masks() == WITH_A


# Descriptors


def run_shell(scene, command, operation, xml):
    arguments = ["/bin/sh", "-c", command, "sh", scene.host.hook_program, "a", operation, "begin", "-"]
    return scene.host.run(arguments, xml, scene.host.environment())


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "> /dev/full", "2> /dev/full", "> /dev/full 2>&1"])
def test_closed_or_full_outputs(scene, closed):
    """No decision and no register depends on them, and no file of ours becomes one."""
    result = run_shell(scene, f'exec "$@" {closed}', "prepare", scene.a.xml())
    assert (result.status, result.stdout, result.stderr) == (0, b"", "")
    assert scene.masks() == WITH_A
    scene.check_b("prepare")
    for operation in ("stopped", "release"):
        assert run_shell(scene, f'exec "$@" {closed}', operation, scene.a.xml()).status == 0
    assert scene.masks() == BEFORE
    before = scene.state()
    refused = domain_of("a", 2).xml()
    result = run_shell(scene, f'exec "$@" {closed}', "prepare", refused)
    assert (result.status, result.stdout) == (4, b"")
    assert scene.state() == before


@pytest.mark.parametrize("operation", ["prepare", "start", "started", "reconnect", "stopped", "release"])
def test_stdin_closed(scene, operation):
    """Nobody knows what VM it is: a start is refused."""
    before = scene.state()
    result = run_shell(scene, 'exec "$@" <&-', operation, "")
    if operation in ("prepare", "start"):
        assert result.status == 3
        assert result.stderr == (
            "icn-hook: VM 'a' is not started: the domain's XML: it is empty; expected a domain's XML; "
            "correct the VM with virsh edit\n"
        )
    else:
        assert (result.status, result.stderr) == (0, "")
    assert result.stdout == b""
    assert scene.state() == before


def test_reader_of_stderr_is_gone(scene):
    """The refusal cannot be told, but stands."""
    reader, writer = os.pipe()
    os.close(reader)
    xml = domain_of("a", 2).xml(LIVE).encode()
    with open(writer, "wb") as stderr:
        done = subprocess.run(
            [scene.host.hook_program, "a", "prepare", "begin", "-"],
            input=xml,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=scene.host.environment(),
            check=False,
        )
    assert done.stdout == b""
    assert done.returncode in (4, -13)  # Python's children die of SIGPIPE by default
    scene.check_b("prepare")


def test_no_environment(host):
    """libvirt gives a hook PATH, HOME, USER, LOGNAME and little more."""
    scene = Scene(host)
    environment = host.environment(PATH=None, LC_ALL=None)
    result = host.run([host.hook_program, "a", "prepare", "begin", "-"], scene.a.xml(), environment)
    assert (result.status, result.stdout, result.stderr) == (0, b"", "")
    assert scene.masks() == WITH_A
