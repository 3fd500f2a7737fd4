# SPDX-License-Identifier: LGPL-2.1-or-later
"""The hook program alone: whom it answers itself, and what it hands to the engine."""

import fcntl
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

import standins
from domain_xml import INACTIVE, LIVE, Domain, Hostdev
from hook_calls import ALIVE, DEVICES, ENDING, OPERATIONS, PASSING, PLAIN, STARTING, USB, call, run_shell, write_entry


def state_of(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def waiting_for_lock(hook):
    """The pid of HOOK's engine, once it has gone to sleep with the lock open."""
    children = Path(f"/proc/{hook}/task/{hook}/children")

    def has_lock_open():
        pids = children.read_text().split()
        try:
            files = list(Path(f"/proc/{pids[0]}/fd").iterdir()) if pids else []
            return any(os.readlink(file).endswith("/icn-hook/lock") for file in files)
        except FileNotFoundError:  # closed meanwhile
            return False

    until(has_lock_open)
    return int(children.read_text())


# Domains without a host PCI device


@pytest.mark.parametrize("operation", OPERATIONS)
def test_plain_domain_is_answered_without_the_engine(host, tmp_path, operation):
    engine = standins.recorder(tmp_path, status=3)
    result = call(host, PLAIN, operation, engine)
    assert (result.status, result.stderr) == (0, "")
    assert not standins.was_called(tmp_path)
    assert host.log() == ""


@pytest.mark.parametrize("wreck", standins.WRECKS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_plain_and_usb_domains_pass_whatever_the_engine_is(host, tmp_path, operation, wreck):
    engine, _ = wreck(tmp_path)
    for domain in (PLAIN, USB):
        result = call(host, domain, operation, engine)
        assert (result.status, result.stderr) == (0, "")
    assert host.log() == ""


@pytest.mark.parametrize("operation", ["migrate", "restore", "attach", "something", "", "Prepare", "prepare "])
def test_other_operations_are_left_alone_at_once(host, tmp_path, operation):
    """Nothing is read: stdin has no end here."""
    engine = standins.recorder(tmp_path)
    reader, writer = os.pipe()
    try:
        done = subprocess.run(
            [host.hook_program, "vm", operation, "begin", "-"],
            stdin=reader,
            capture_output=True,
            env=host.environment(ICN_ENGINE=str(engine)),
            timeout=5,
            check=False,
        )
    finally:
        os.close(reader)
        os.close(writer)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert not standins.was_called(tmp_path)


# Domains for the engine


@pytest.mark.parametrize("kind", DEVICES)
def test_engine_is_asked_for_every_kind_of_device(host, tmp_path, kind):
    engine = standins.recorder(tmp_path)
    assert call(host, Domain("vm", [DEVICES[kind]]), "start", engine).status == 0
    assert standins.was_called(tmp_path)


@pytest.mark.parametrize(
    "xml",
    [
        "",
        "not XML",
        "<domain><devices>",
        "<domain></domain><!-- more -->",
        "<!DOCTYPE domain><domain></domain>",
        "<domain><interface type='&#104;ostdev'/></domain>",
        "<?xml version='1.0' encoding='UTF-16'?><domain></domain>",
        "\ufeff<domain>\0</domain>",
        "<domain type='kvm'></domain>".encode("utf-16"),
    ],
)
def test_engine_is_asked_when_the_text_is_not_plain(host, tmp_path, xml):
    engine = standins.recorder(tmp_path, status=3, stderr="icn-hook: no")
    result = host.hook("vm", "prepare", xml, ICN_ENGINE=str(engine))
    assert (result.status, result.stderr) == (3, "icn-hook: no\n")
    assert (tmp_path / "stdin").read_bytes() == (xml if isinstance(xml, bytes) else xml.encode())


@pytest.mark.parametrize("operation", OPERATIONS)
def test_engine_gets_the_same_call(host, tmp_path, operation):
    engine = standins.recorder(tmp_path)
    name = "-r two  words $(touch x) 'é"
    result = host.hook(name, operation, PASSING.xml(), "from snapshot", ICN_ENGINE=str(engine), HOME="/h", ODD="a\nb")
    assert (result.status, result.stderr) == (0, "")
    suboperation = "end" if operation in ENDING else "begin"
    assert (tmp_path / "arguments").read_text() == f"{name}\n{operation}\n{suboperation}\nfrom snapshot\n"
    assert (tmp_path / "argument0").read_text() == str(engine)
    assert (tmp_path / "stdin").read_text() == PASSING.xml()
    environment = (tmp_path / "environment").read_text()
    assert "HOME=/h\n" in environment and "ODD=a\nb\n" in environment and "LC_ALL=C\n" in environment


def test_engine_learns_that_the_hook_called_it(host, tmp_path):
    """What the hook's own caller says of it does not count."""
    engine = standins.recorder(tmp_path)
    call(host, PASSING, "prepare", engine, ICN_HOOK_VERDICT_FD="9", ICN_HOOK_DEADLINE="7")
    lines = (tmp_path / "environment").read_text().splitlines()
    told = sorted(line.partition("=")[::2] for line in lines if line.startswith("ICN_HOOK_"))
    assert [name for name, _ in told] == ["ICN_HOOK_DEADLINE", "ICN_HOOK_VERDICT_FD"]
    assert int(told[0][1]) > 7 and told[1][1] == "3"


@pytest.mark.parametrize("wait, answer", [(None, 110), ("120001", 110), ("junk", 110), ("60000", 55), ("1200", 1.1)])
def test_engine_learns_its_deadline(host, tmp_path, wait, answer):
    """It has to answer before the hook kills it."""
    engine = standins.recorder(tmp_path)
    begin = time.monotonic()
    call(host, PASSING, "prepare", engine, ICN_HOOK_WAIT_MS=wait)
    environment = (tmp_path / "environment").read_text()
    deadline = int(environment.partition("ICN_HOOK_DEADLINE=")[2].split()[0]) / 1000
    assert begin + answer - 0.01 <= deadline <= time.monotonic() + answer


def test_engine_gets_large_xml_whole(host, tmp_path):
    engine = standins.recorder(tmp_path)
    padding = "".join(f"    <!-- {index:060} -->\n" for index in range(150000))
    xml = PASSING.xml().replace("  <devices>\n", "  <devices>\n" + padding)
    assert len(xml) > 10 << 20
    assert host.hook("vm", "prepare", xml, ICN_ENGINE=str(engine)).status == 0
    assert (tmp_path / "stdin").read_text() == xml


def test_engine_has_only_its_descriptors(host, tmp_path):
    engine = standins.script(tmp_path / "lister", f'cat > /dev/null; ls /proc/self/fd > "{tmp_path}/fds"\n')
    assert call(host, PASSING, "prepare", engine).status == 0
    # the last one is that of ls
    assert (tmp_path / "fds").read_text().split() == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("status", [0, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_only_a_start_is_refused_with_the_engines_status(host, tmp_path, operation, status):
    engine = standins.recorder(tmp_path, status=status, stderr="icn-hook: the reason")
    result = call(host, PASSING, operation, engine)
    assert result.status == (status if operation in STARTING else 0)
    assert result.stderr == "icn-hook: the reason\n"


@pytest.mark.parametrize("operation", OPERATIONS)
def test_status_1_counts_with_the_verdict(host, tmp_path, operation):
    engine = standins.recorder(tmp_path, status=1, verdict=1, stderr="icn-hook: leak")
    result = call(host, PASSING, operation, engine)
    assert result.status == (1 if operation in ["prepare", "start", "started"] else 0)
    assert result.stderr == "icn-hook: leak\n"


def test_started_kills_for_no_other_status(host, tmp_path):
    for status in (2, 3, 4, 5, 6):
        engine = standins.recorder(tmp_path, status=status, verdict=status)
        assert call(host, PASSING, "started", engine).status == 0


def test_engine_is_chosen_by_environment_only_on_a_simulated_host(host, tmp_path):
    engine = standins.recorder(tmp_path)
    xml = Domain("vm", [Hostdev("ffff:ff:1f.7")]).xml(LIVE)
    for sysroot in (None, ""):
        assert host.hook("vm", "started", xml, ICN_ENGINE=str(engine), ICN_SYSROOT=sysroot).status == 0
        assert not standins.was_called(tmp_path)


# The end of a domain is the engine's while the state has a claim of it


@pytest.mark.parametrize("operation", ENDING)
def test_ending_of_a_known_domain_goes_to_the_engine(host, tmp_path, operation):
    write_entry(host, PLAIN)
    call(host, PLAIN, operation, standins.recorder(tmp_path))
    assert standins.was_called(tmp_path)


@pytest.mark.parametrize("operation", STARTING + ALIVE)
def test_the_state_is_asked_for_endings_only(host, tmp_path, operation):
    write_entry(host, PLAIN)
    call(host, PLAIN, operation, standins.recorder(tmp_path))
    assert not standins.was_called(tmp_path)


@pytest.mark.parametrize("operation", ENDING)
def test_entries_of_others_do_not_count(host, tmp_path, operation):
    write_entry(host, PASSING)
    call(host, PLAIN, operation, standins.recorder(tmp_path))
    assert not standins.was_called(tmp_path)


@pytest.mark.parametrize("spelling", ["{0}", " {0}\n", "{1}", "{2}"])
def test_uuid_is_taken_in_libvirts_spellings(host, tmp_path, spelling):
    write_entry(host, PLAIN)
    uuid = PLAIN.uuid
    spelled = spelling.format(uuid.upper(), uuid.replace("-", ""), uuid[:9] + "-" + uuid[9:] + "-")
    xml = PLAIN.xml(INACTIVE).replace(uuid, spelled)
    host.hook("plain", "stopped", xml, ICN_ENGINE=str(standins.recorder(tmp_path)))
    assert standins.was_called(tmp_path)


@pytest.mark.parametrize(
    "uuid", ["", "1234", "g" * 32, "0" * 5000, None], ids=["empty", "short", "no digits", "long", "none"]
)
def test_without_a_uuid_any_entry_counts(host, tmp_path, uuid):
    line = f"  <uuid>{PLAIN.uuid}</uuid>\n"
    xml = PLAIN.xml(INACTIVE).replace(line, "" if uuid is None else f"  <uuid>{uuid}</uuid>\n")
    engine = standins.recorder(tmp_path)
    assert host.hook("plain", "stopped", xml, ICN_ENGINE=str(engine)).status == 0
    host.write("/run/icn-hook/lock", "")
    assert host.hook("plain", "stopped", xml, ICN_ENGINE=str(engine)).status == 0
    assert not standins.was_called(tmp_path)
    write_entry(host, PASSING)
    assert host.hook("plain", "stopped", xml, ICN_ENGINE=str(engine)).status == 0
    assert standins.was_called(tmp_path)


def test_a_planted_link_counts_as_an_entry(host, tmp_path):
    host.path("/run/icn-hook").mkdir()
    host.path(f"/run/icn-hook/{PLAIN.uuid}.json").symlink_to(tmp_path / "nowhere")
    call(host, PLAIN, "stopped", standins.recorder(tmp_path))
    assert standins.was_called(tmp_path)


def test_an_odd_state_goes_to_the_engine(host, tmp_path):
    host.path("/run/icn-hook").symlink_to("icn-hook")
    call(host, PLAIN, "stopped", standins.recorder(tmp_path))
    assert standins.was_called(tmp_path)
    (tmp_path / "arguments").unlink()
    host.hook("plain", "stopped", "<domain></domain>", ICN_ENGINE=str(tmp_path / "recorder"))
    assert standins.was_called(tmp_path)


@pytest.mark.parametrize("operation", ENDING)
def test_ending_of_a_known_domain_without_the_engine_is_logged(host, tmp_path, operation):
    write_entry(host, PLAIN)
    engine, _ = standins.missing(tmp_path)
    result = call(host, PLAIN, operation, engine)
    assert (result.status, result.stderr) == (0, "")
    assert f"vm=plain op={operation} {engine} cannot be run" in host.log()


def run_as_ordinary_user(host, tmp_path, xml, engine):
    """Root becomes somebody else; anybody else meets a directory that is closed to
    everybody, as root's would be."""
    program = tmp_path / "qemu"
    program.write_bytes(host.hook_program.read_bytes())
    program.chmod(0o755)
    coverage = tmp_path / "coverage"  # of a coverage build, whose own files are not theirs
    coverage.mkdir()
    coverage.chmod(0o777)
    identity = {}
    if os.geteuid() == 0:
        identity = {"user": 65534, "group": 65534, "extra_groups": []}
        for directory in [tmp_path, *tmp_path.parents]:
            if directory == Path(tempfile.gettempdir()).resolve():
                break
            directory.chmod(directory.stat().st_mode | 0o011)
    done = subprocess.run(
        [program, "plain", "stopped", "end", "-"],
        input=xml.encode(),
        capture_output=True,
        env=host.environment(ICN_ENGINE=str(engine), GCOV_PREFIX=str(coverage)),
        check=False,
        **identity,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("xml", [PLAIN.xml(INACTIVE), "<domain></domain>"], ids=["uuid", "no uuid"])
def test_an_ordinary_user_has_no_entry(host, tmp_path, xml):
    """qemu:///session: the state's directory is root's."""
    write_entry(host, PLAIN)
    engine = standins.recorder(tmp_path)
    host.path("/run/icn-hook").chmod(0)
    try:
        assert run_as_ordinary_user(host, tmp_path, xml, engine) == (0, b"", b"")
    finally:
        host.path("/run/icn-hook").chmod(0o700)
    assert not standins.was_called(tmp_path)


# Odd calls


@pytest.mark.parametrize("arguments", [[], ["vm"]])
def test_too_few_arguments_show_the_usage(host, arguments):
    result = host.run([host.hook_program, *arguments])
    assert (result.status, result.stdout) == (2, b"")
    assert result.stderr == "usage: qemu NAME OPERATION begin|end EXTRA < DOMAIN-XML (libvirt's hook; see icn-hook)\n"


@pytest.mark.parametrize(
    "rest", [[], ["begin"], ["begin", "-", "more"], ["", "-"], ["-r", "-"], ["begin ", "-"], ["END", "-"]]
)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_calls_of_another_shape(host, tmp_path, operation, rest):
    engine = standins.recorder(tmp_path)
    environment = host.environment(ICN_ENGINE=str(engine))
    result = host.run([host.hook_program, "vm", operation, *rest], PASSING.xml(), environment)
    assert result.stdout == b""
    assert not standins.was_called(tmp_path)
    if operation in STARTING:
        assert result.status == 2
        assert result.stderr == (
            "icn-hook: VM 'vm' is not started: the hook was not called as NAME OPERATION begin|end EXTRA; "
            "only libvirt should call it\n"
        )
    else:
        assert (result.status, result.stderr) == (0, "")


def test_stdin_closed_is_empty(host, tmp_path):
    engine = standins.recorder(tmp_path, status=3, stderr="icn-hook: empty")
    result = run_shell(host, 'exec "$@" <&-', ["vm", "prepare", "begin", "-"], ICN_ENGINE=str(engine))
    assert (result.status, result.stdout, result.stderr) == (3, b"", "icn-hook: empty\n")
    assert (tmp_path / "stdin").read_bytes() == b""


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_outputs_change_no_decision(host, tmp_path, closed):
    engine = standins.recorder(tmp_path, status=4, stderr="icn-hook: taken")
    arguments = ["vm", "prepare", "begin", "-"]
    result = run_shell(host, f'exec "$@" {closed}', arguments, PASSING.xml(), ICN_ENGINE=str(engine))
    assert (result.status, result.stdout) == (4, b"")
    assert result.stderr == ("" if "2>" in closed else "icn-hook: taken\n")
    missing, _ = standins.missing(tmp_path)
    result = run_shell(host, f'exec "$@" {closed}', arguments, PASSING.xml(), ICN_ENGINE=str(missing))
    assert (result.status, result.stdout) == (5, b"")
    arguments[1] = "reconnect"
    result = run_shell(host, f'exec "$@" {closed}', arguments, PASSING.xml(), ICN_ENGINE=str(missing))
    assert (result.status, result.stdout, result.stderr) == (0, b"", "")


@pytest.mark.parametrize("closed", ["", "<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_engine_has_all_standard_descriptors(host, tmp_path, closed):
    """Otherwise a file that it opens would become its stdout."""
    found = tmp_path / "found"
    engine = standins.script(
        tmp_path / "lister",
        f'for fd in 0 1 2 3; do targets="$targets$(readlink /proc/$$/fd/$fd)\n"; done\nprintf "$targets" > "{found}"\n',
    )
    arguments = ["vm", "prepare", "begin", "-"]
    assert run_shell(host, f'exec "$@" {closed}', arguments, PASSING.xml(), ICN_ENGINE=str(engine)).status == 0
    stdin, stdout, stderr, verdict = found.read_text().splitlines()
    assert stdin == "/memfd:icn-hook-domain (deleted)"
    assert stdout == "/dev/null"
    assert stderr == "/memfd:icn-hook-stderr (deleted)"
    assert verdict.startswith("pipe:")


def test_ignored_child_signal_loses_no_status(host, tmp_path):
    engine = standins.recorder(tmp_path, status=4)
    text = "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    arguments = [sys.executable, "-c", text, host.hook_program, "vm", "prepare", "begin", "-"]
    result = host.run(arguments, PASSING.xml(), host.environment(ICN_ENGINE=str(engine)))
    assert result.status == 4


def test_unreadable_stdin(host):
    def call_on_directory(operation):
        return run_shell(host, 'exec "$@" < /', ["vm", operation, "begin", "-"])

    result = call_on_directory("prepare")
    assert (result.status, result.stdout) == (5, b"")
    assert result.stderr == (
        "icn-hook: VM 'vm' is not started: cannot read the domain's XML on stdin: Is a directory; start it again\n"
    )
    result = call_on_directory("reconnect")
    assert (result.status, result.stdout, result.stderr) == (0, b"", "")
    assert host.log().endswith(
        "vm=vm op=reconnect cannot read the domain's XML on stdin: Is a directory; nothing was done\n"
    )


def test_too_much_stdin(host, tmp_path):
    source = tmp_path / "large"
    with open(source, "wb") as file:
        file.truncate((128 << 20) + 1)
    command = f'exec "$@" < "{source}"'
    result = run_shell(host, command, ["vm", "prepare", "begin", "-"])
    assert (result.status, result.stdout) == (3, b"")
    assert result.stderr == (
        "icn-hook: VM 'vm' is not started: the domain's XML on stdin is larger than 134217728 bytes; correct the VM with virsh edit\n"
    )
    assert run_shell(host, command, ["vm", "stopped", "end", "-"]).status == 0


def test_memory_that_runs_out(host):
    """It refuses a start, and ends nothing that runs."""
    xml = PASSING.xml().replace("  <devices>\n", "  <devices>\n" + " " * (48 << 20))
    for operation in OPERATIONS:
        result = run_shell(host, 'ulimit -v 40000; exec "$@"', ["vm", operation, "begin", "-"], xml)
        assert (result.status, result.stdout) == (5 if operation in STARTING else 0, b"")
        assert result.stderr == "icn-hook: out of memory; free some and try again\n"


def test_stdin_that_never_ends(host):
    """libvirt has no timeout of its own.  All operations wait side by side."""
    text = (PASSING.xml() + " " * (64 << 10)).encode()[: 64 << 10]
    start = time.monotonic()
    running = {
        operation: subprocess.Popen(
            [host.hook_program, "vm", operation, "begin", "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=host.environment(),
        )
        for operation in OPERATIONS
    }
    for process in running.values():
        process.stdin.write(text)
        process.stdin.flush()
    for operation, process in running.items():
        process.wait(timeout=40)
        assert 19 < time.monotonic() - start < 30
        assert process.stdout.read() == b""
        expected = b""
        if operation in STARTING:
            expected = (
                b"icn-hook: VM 'vm' is not started: the domain's XML on stdin did not end in time; start it again\n"
            )
        assert (process.returncode, process.stderr.read()) == (6 if operation in STARTING else 0, expected)
        process.stdin.close()
    assert host.log().count("did not end in time") == len(OPERATIONS)


def test_hook_is_killed_while_the_engine_works(host):
    """libvirt goes on at once, so the engine must not go on behind it: it dies too."""
    host.path("/run/icn-hook").mkdir(mode=0o700)
    lock = host.write("/run/icn-hook/lock", "")
    lock.chmod(0o600)
    with open(lock, "rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        process = subprocess.Popen(
            [host.hook_program, "vm", "prepare", "begin", "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=host.environment(ICN_ENGINE=str(host.engine_program)),
        )
        process.stdin.write(PASSING.xml().encode())
        process.stdin.close()
        engine = waiting_for_lock(process.pid)
        process.kill()
        assert (process.stdout.read(), process.stderr.read()) == (b"", b"")
        assert process.wait() == -9
        until(lambda: not Path(f"/proc/{engine}").exists() or state_of(engine) == "Z")
    assert [path.name for path in host.path("/run/icn-hook").iterdir()] == ["lock"]
