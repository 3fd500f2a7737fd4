# SPDX-License-Identifier: LGPL-2.1-or-later
"""What manual verbs ask libvirt, tried with its `test` driver, whose domains stand in a
file; and that hook mode never loads it."""

import socket
import time
from pathlib import Path

import pytest

from bystander import vm
from libvirt_player import Libvirt
from simhost import GUIDE_BDFS

OPERATIONS = ["prepare", "start", "started", "stopped", "release", "reconnect", "migrate", "restore", "attach", "x"]


@pytest.fixture(name="test_libvirt")
def fixture_test_libvirt(tmp_path):
    """Makes the URI of a libvirt that runs DOMAINS."""

    def make(*domains):
        nodes = "".join(
            domain.xml().replace("type='kvm'", "type='test'", 1).partition("?>\n")[2] or domain.xml()
            for domain in domains
        )
        nodes = nodes.replace("type='kvm'", "type='test'")
        path = tmp_path / "node.xml"
        path.write_text(f"<node>\n{nodes}</node>\n")
        return f"test://{path}"

    return make


def test_plan_of_a_domain(host, test_libvirt):
    uri = test_libvirt(vm("a", 0, 1), vm("b", 2))
    expected = host.engine("plan", "-", "--json", stdin=vm("a", 0, 1).xml())
    result = host.engine("plan", "--domain", "a", "-c", uri, "--json")
    assert (result.status, result.stderr, result.json()) == (0, "", expected.json())
    assert host.engine("--dry-run", "--domain", "a", "--connect", uri, "--json").json() == expected.json()


def test_doctor_of_a_domain(host, test_libvirt):
    uri = test_libvirt(vm("a", 0, 1))
    result = host.engine("doctor", "--domain", "a", "-c", uri, "--json")
    assert (result.status, result.stderr) == (1, "")
    assert result.json()["domain"] == {"name": "a", "uuid": vm("a").uuid}
    assert result.json()["plan"]["verdict"] == "isolate"


@pytest.mark.parametrize("verb", ["plan", "doctor"])
def test_unknown_domain(host, test_libvirt, verb):
    uri = test_libvirt(vm("a", 0))
    result = host.engine(verb, "--domain", "b", "-c", uri)
    assert (result.status, result.stdout, result.stderr) == (
        5, b"", f"icn-hook: libvirt ({uri}): Domain not found\n",
    )


def test_domain_and_file(host):
    result = host.engine("plan", "--domain", "b", "x.xml")
    assert (result.status, result.stdout) == (2, b"")
    assert result.stderr == "icn-hook: --domain cannot be combined with the file 'x.xml'; see icn-hook help plan\n"


def test_unreachable(host, tmp_path):
    uri = f"qemu+unix:///system?socket={tmp_path}/no"
    reason = f"libvirt ({uri}): Failed to connect socket to '{tmp_path}/no': No such file or directory"
    result = host.engine("plan", "--domain", "a", "-c", uri)
    assert (result.status, result.stdout, result.stderr) == (5, b"", f"icn-hook: {reason}\n")
    result = host.engine("status", "-c", uri, "--json")
    assert (result.status, result.stderr) == (0, "")
    assert result.json()["findings"] == [
        {"code": "libvirt", "severity": "warning", "ppu": None, "vm": None,
         "text": f"{reason}; nothing was compared with libvirt"}
    ]
    found = host.engine("doctor", "-c", uri, "--json").json()["checks"][-1]
    assert found == {
        "code": "LIBVIRT-REACHABLE", "group": "libvirt", "check": "reachable", "result": "warn", "text": reason,
        "remedy": "nothing was compared with libvirt",
    }


def test_a_daemon_that_hangs(host, tmp_path):
    uri = f"qemu+unix:///system?socket={tmp_path}/socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{tmp_path}/socket")
        listener.listen()
        began = time.monotonic()
        result = host.engine("plan", "--domain", "a", "-c", uri)
        assert 5 <= time.monotonic() - began < 15
    assert (result.status, result.stdout) == (6, b"")
    assert result.stderr == f"icn-hook: libvirt ({uri}) did not answer within 5 s\n"


def test_not_installed(host, test_libvirt):
    """dlopen finds nothing."""
    strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=openat:error=ENOENT"]
    for library in Path("/usr").glob("lib*/**/libvirt.so.0"):
        strace += ["-P", str(library), "-P", str(library).removeprefix("/usr")]
    plan = [host.engine_program, "plan", "--domain", "a", "-c", test_libvirt(vm("a", 0))]
    result = host.run([*strace, *plan], environment=host.environment_under_strace())
    assert (result.status, result.stdout) == (5, b"")
    assert result.stderr.endswith(
        "\nicn-hook: libvirt is not installed: libvirt.so.0: cannot open shared object file: No such file or directory\n"
    )


# Cross-check


def differences(host, uri):
    status = host.engine("status", "-c", uri, "--json").json()["findings"]
    found = [finding["text"] for finding in status if finding["code"] == "libvirt"]
    checks = host.engine("doctor", "-c", uri, "--json").json()["checks"]
    agreed = [check["text"] for check in checks if (check["group"], check["check"]) == ("libvirt", "agrees")]
    assert agreed == (found or ["libvirt and icn-hook agree"])
    return found


def test_they_agree(host, test_libvirt):
    assert Libvirt(host).start(vm("a", 0, 1)).running
    assert differences(host, test_libvirt(vm("a", 0, 1), vm("plain"))) == []


def test_only_libvirt_knows(host, test_libvirt):
    assert Libvirt(host).start(vm("a", 0)).running
    assert differences(host, test_libvirt(vm("a", 0, 1), vm("b", 2))) == [
        f"libvirt runs VM '{name}' with PPU {ppu} ({GUIDE_BDFS[ppu]}), and neither its claim nor its status file "
        "names that card"
        for name, ppu in (("a", 1), ("b", 2))
    ]


def test_only_we_know(host, test_libvirt):
    assert Libvirt(host).start(vm("a", 0)).running
    assert differences(host, test_libvirt(vm("b"))) == [
        "VM 'a' runs with cards by its claim or its status file, but libvirt does not report it"
    ]


# Hook mode


@pytest.mark.parametrize("operation", OPERATIONS)
def test_hook_mode_never_loads_libvirt(host, tmp_path, operation):
    trace = tmp_path / "trace"
    suboperation = "end" if operation in ("stopped", "release") else "begin"
    strace = ["strace", "-f", "-qq", "-e", "trace=%file,connect", "-o", str(trace)]
    hook = [host.hook_program, "a", operation, suboperation, "-"]
    result = host.run([*strace, *hook], vm("a", 0, 1).xml(), host.environment_under_strace())
    assert result.status == 0
    text = trace.read_text()
    assert "/hook/qemu" in text and "libvirt.so" not in text and "libvirt-sock" not in text
    if operation == "prepare":
        assert "/icn-hook" in text and "libxml2" in text


def test_manual_verbs_load_it_when_asked(host, tmp_path, test_libvirt):
    """What the test above looks for would be seen."""
    uri = test_libvirt(vm("a", 0))
    for arguments, loads in ((["status", "-c", uri], True), (["status"], False), (["check"], False)):
        strace = ["strace", "-f", "-qq", "-e", "trace=%file", "-o", str(tmp_path / "trace")]
        verb = [*strace, host.engine_program, *arguments]
        assert host.run(verb, environment=host.environment_under_strace()).status == 0
        assert ("libvirt.so" in (tmp_path / "trace").read_text()) == loads
