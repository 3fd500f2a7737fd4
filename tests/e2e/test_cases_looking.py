# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who only looks keeps nobody waiting and touches nothing; what one program knows the
others say too."""

import fcntl
import os
import pty
import re
import subprocess
import termios
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from bystander import vm
from domain_xml import LIVE, PREPARE, Domain, Hostdev
from faults import Tracer
from simhost import GUIDE_BDFS
from sleeping_cards import Kernel
from test_cases_ownership import NOTHING_CUT, ONLY_A, cards, owners, passes

PATIENCE = 20
WRITE, WRITEV = 1, 20  # numbers of system calls


# B1, B2: nothing slow or foreign inside the lock


def wait_until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.01)


def is_blocked_in_write(process):
    try:
        with open(f"/proc/{process.pid}/syscall", encoding="ascii") as file:
            number = file.read().split()[0]
    except (OSError, IndexError):
        return False
    return number.isdigit() and int(number) in (WRITE, WRITEV)


@contextmanager
def stopped_terminal():
    """Somebody pressed Control-S."""
    master, terminal = pty.openpty()
    termios.tcflow(terminal, termios.TCOOFF)
    try:
        yield terminal
    finally:
        os.close(terminal)
        os.close(master)


@contextmanager
def full_pipe():
    """A pipe that nobody reads, as a pager's or a hung ssh's."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, b"\0" * 4096)
    except BlockingIOError:
        pass
    os.set_blocking(writing, True)
    try:
        yield writing
    finally:
        os.close(writing)
        os.close(reading)


@pytest.mark.parametrize("output", [full_pipe, stopped_terminal])
@pytest.mark.parametrize(
    "arguments",
    [["status"], ["status", "--json"], ["status", "--prometheus"], ["check"], ["check", "0,1"], ["topo"], ["explain", "0"],
     ["suggest", "2"], ["plan", "-"], ["repair", "--dry-run"]],
    ids=" ".join,
)
def test_output_that_nobody_reads(host, libvirt, arguments, output):
    """A start and a stop go on meanwhile, at once."""
    host.configure("[policy]\nlock_timeout = 2\n")
    assert libvirt.start(vm("b", 2, 3)).running
    with output() as stdout:
        with subprocess.Popen(
            [host.engine_program, *arguments], stdin=subprocess.PIPE, stdout=stdout, env=host.environment()
        ) as process:
            process.stdin.write(vm("d", 4).xml(PREPARE).encode())
            process.stdin.close()
            try:
                wait_until(lambda: is_blocked_in_write(process))
                assert libvirt.start(vm("a", 0, 1)).running
                libvirt.stop("b")
                assert owners(host) == {0: ["a"], 1: ["a"]}
                assert host.masks() == ONLY_A
                assert process.poll() is None
            finally:
                process.kill()


def test_tool_that_hangs(host, libvirt):
    """A start and a stop do not wait for the vendor's tool that a person asks."""
    host.configure("[policy]\nlock_timeout = 2\n[ppudbg]\ntimeout = 60\n")
    host.write("/usr/bin/ppudbg", "#!/bin/sh\n: >\"$(dirname \"$0\")/called\"\nexec sleep 60\n").chmod(0o755)
    assert host.engine("apply", "4").status == 0
    assert host.engine("release", "manual-4").status == 0
    with subprocess.Popen(
        [host.engine_program, "topo", "--generate"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=host.environment(),
    ) as process:
        try:
            wait_until(lambda: host.path("/usr/bin/called").exists() or process.poll() is not None)
            assert process.poll() is None, process.stderr.read()
            assert libvirt.start(vm("a", 0, 1)).running
            assert owners(host) == {0: ["a"], 1: ["a"]}
            libvirt.stop("a")
            assert host.masks() == NOTHING_CUT
            assert process.poll() is None
        finally:
            process.terminate()


# B3: `started` looks


def card_files(host, ppus):
    """Content and time of change of all that a card shows."""
    found = {}
    for ppu in ppus:
        directory = host.device(GUIDE_BDFS[ppu]).resolve()
        for path in sorted(directory.rglob("*")):
            if path.is_file() and not path.is_symlink():
                facts = path.stat()
                content = None if path.name.startswith("resource") or path.name in ("ones", "awake") else path.read_bytes()
                found[str(path)] = (facts.st_mtime_ns, facts.st_ino, content)
    return found


def test_started_leaves_other_cards_alone(host, libvirt):
    """Neighbours sleep, have their memory decoding off, or are being bound for another
    VM: none is woken, enabled or written."""
    b = vm("b", 0, 1)
    assert libvirt.start(b).running
    others = [2, 3, 4, 5, 6, 7]
    for ppu in (3, 7):
        host.set_memory_decoding(GUIDE_BDFS[ppu], False)
    with Kernel(host, [2, 6]) as kernel:
        before = card_files(host, others)
        woken = dict(kernel.woken)
        for operation in ("started", "started"):
            passes(host, b, operation)
        assert card_files(host, others) == before
        assert kernel.woken == woken


def test_started_opens_nothing_for_writing(host, libvirt):
    b = vm("b", 0, 1)
    assert libvirt.start(b).running
    for ppu in (3, 7):
        host.set_memory_decoding(GUIDE_BDFS[ppu], False)
    tracer = Tracer(host, host.engine_program, host.root.parent / "trace")
    status, message = tracer.run(["b", "started", "begin", "-"], b.xml(LIVE), ["-f", "-e", "trace=openat,open"])
    assert (status, message) == (0, "")
    writes = [line for line in tracer.log.read_text().splitlines() if re.search("O_WRONLY|O_RDWR", line)]
    assert not [line for line in writes if "/sys/" in line], writes
    read = {bdf for bdf in GUIDE_BDFS if f"{bdf}/resource" in tracer.log.read_text()}
    neighbours = {GUIDE_BDFS[ppu] for ppu in (0, 1, 2, 3, 6, 7)}
    assert read <= neighbours, "a register of a card was read that b's cards have no link to"


# B5, B6: what `plan` says `prepare` says


def with_arguments(domain, *arguments):
    lines = "".join(f"    <qemu:arg value='{text}'/>\n" for text in arguments)
    xml = domain.xml(PREPARE).replace("<domain ", "<domain xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0' ", 1)
    return xml.replace("</domain>\n", f"  <qemu:commandline>\n{lines}  </qemu:commandline>\n</domain>\n")


def test_warning_of_the_parser_is_heard_in_both(host):
    xml = with_arguments(vm("a", 0), "-readconfig", "/etc/a.cfg")
    result = host.engine("plan", "--json", "-", stdin=xml)
    assert result.status == 0, result
    warnings = [text for text in result.json()["warnings"] if "-readconfig" in text]
    assert len(warnings) == 1
    assert (host.hook("a", "prepare", xml).status, host.log().count(warnings[0])) == (0, 1)


def test_every_warning_of_plan_is_one_of_prepare(host, libvirt):
    """Of a far end that cannot be reached, too."""
    for ppu in (2, 6):
        host.set_driver(GUIDE_BDFS[ppu], "ppu")
    warnings = host.engine("plan", "--json", "-", stdin=vm("a", 0, 1).xml(PREPARE)).json()["warnings"]
    assert len(warnings) >= 2
    assert host.hook("a", "prepare", vm("a", 0, 1).xml(PREPARE)).status == 0
    log = host.log()
    for text in warnings:
        assert text in log, text


def test_domain_without_uuid(host):
    xml = re.sub(r"  <uuid>.*</uuid>\n", "", vm("a", 0).xml(PREPARE))
    planned = host.engine("plan", "--json", "-", stdin=xml)
    done = host.hook("a", "prepare", xml)
    assert planned.json()["verdict"] == "refuse"
    assert planned.status == done.status == 3
    assert planned.json()["reason"].endswith(": the domain's XML has no uuid")
    assert done.stderr == "icn-hook: VM 'a' is not started: the domain's XML has no uuid\n"
    assert host.masks() == NOTHING_CUT


# F: what people run


RESERVED = ["idle", "unknown", "external", "0", "17", "-x", "end", "begin", "0000:08:00.0"]


@pytest.mark.parametrize("name", RESERVED)
def test_group_name_that_means_something_else(host, name):
    result = host.engine("apply", f"--name={name}", "4")
    assert result.status in (2, 3), result
    assert result.stderr.count("\n") == 1 and name in result.stderr
    assert (host.masks(), host.claims()) == (NOTHING_CUT, {})


@pytest.mark.parametrize("arguments", [["status"], ["check"], ["topo"], ["doctor"], ["help"]], ids=" ".join)
def test_reader_that_has_enough(host, arguments):
    """status | head"""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [host.engine_program, *arguments], stdout=writing, stderr=subprocess.PIPE, env=host.environment(), check=False
    )
    os.close(writing)
    assert (done.stderr, done.returncode == 5) == (b"", False), done


@pytest.mark.parametrize(
    "arguments", [["status"], ["check"], ["topo"], ["explain", "0"], ["suggest", "2"], ["doctor"], ["repair"]], ids=" ".join
)
def test_error_is_an_object_too(host, arguments):
    """A file of settings that makes no sense."""
    host.configure("[ppu]\nbogus = 1\n")
    result = host.engine(*arguments, "--json")
    if arguments == ["doctor"]:
        assert result.json()["schema"].startswith("icn-hook/doctor/")
        return
    error = result.json()
    assert (error["schema"], error["status"], result.status) == ("icn-hook/error/1", 3, 3)
    assert error["code"] and "icn-hook.conf:2" in error["text"]
    assert result.stderr == f"icn-hook: {error['text']}\n"


def test_metrics_file_after_an_error(host):
    """What it says is of now, or it is not there."""
    path = host.path("/metrics.prom")
    assert host.engine("status", "--prometheus", "-o", path).status == 0
    before = path.read_text()
    host.configure("[ppu]\nbogus = 1\n")
    assert host.engine("status", "--prometheus", "-o", path).status == 3
    assert not path.exists() or path.read_text() != before


@pytest.mark.parametrize(
    "arguments", [["apply", "4"], ["release", "4"], ["reset", "--force"], ["repair"], ["doctor", "--probe", "5"]], ids=" ".join
)
def test_verb_that_writes_leaves_a_line_in_the_log(host, arguments):
    if arguments[0] == "release":
        host.engine("apply", "--name", "mine", "4")
        arguments = ["release", "mine"]
    if arguments[0] == "repair":
        host.write_register(4, 0x08)
        passes(host, vm("a", 4), "prepare")
        host.daemon.restart()
    before = len(host.log())
    result = host.engine(*arguments)
    assert result.status == 0, result
    lines = host.log()[before:].splitlines()
    assert any(arguments[0] in line for line in lines), lines


def test_topology_that_is_made_leaves_a_line_in_the_log(host):
    text = host.path("/etc/icn-hook/icn_topo.cfg").read_text()
    host.write("/usr/bin/ppudbg", f"#!/bin/sh\ncat <<'END'\n{text}END\n").chmod(0o755)
    host.path("/etc/icn-hook/icn_topo.cfg").unlink()
    assert host.engine("topo", "--generate").status == 0
    assert "topo" in host.log()


def test_group_on_cards_that_sleep(host):
    """They were woken to be cut, and read back then; check reads none of them now."""
    with Kernel(host, [4, 5]) as kernel:
        assert host.engine("apply", "4,5").status == 0
        result = host.engine("check", "--json")
        coverage = result.json()["coverage"]
        required = sum(
            1 for (a, _), (b, _) in host.topology.joins() if (a in (4, 5)) != (b in (4, 5))
        )
        assert coverage["required"] == required == 6
        assert (coverage["proven"] + coverage["gated"], coverage["unverified"]) == (6, 0)
        assert result.status == 0
        assert host.engine("check", "4,5").status == 0
        assert {cards(host)[ppu]["mask"] for ppu in (4, 5)} == {None}
        assert kernel.masks() == [host.topology.required_mask(ppu, {4: {"g"}, 5: {"g"}}) for ppu in (4, 5)]


def test_several_take_what_was_suggested(host):
    """Four want two of five idle cards each: nobody gets another's."""
    assert host.engine("apply", "0,1,2").status == 0
    gate = threading.Barrier(4)

    def take(index):
        suggested = host.engine("suggest", "2", "--json").json()["ppus"]
        gate.wait()
        return host.engine("apply", "--name", f"g{index}", ",".join(str(each["ppu"]) for each in suggested))

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(take, range(4)))
    won = [f"g{index}" for index, result in enumerate(results) if result.status == 0]
    assert won and {result.status for result in results} <= {0, 4}
    have = [names for names in owners(host).values() if names[0].startswith("g")]
    assert {name for names in have for name in names} >= set(won)
    assert all(len(names) == 1 for names in have)


# The rest of `check`


def test_check_that_saw_nothing(host):
    """A VM runs that no hook was called for: its links are open, or nobody knows."""
    a = vm("a", 0, 1)
    for device in a.devices:
        host.set_driver(device.bdf, "vfio-pci")
        host.hold(device.bdf)
    for ppu in (2, 3, 6, 7):
        host.set_driver(GUIDE_BDFS[ppu], "ppu")
    host.start_process(4711)
    host.write_status(a, 4711)
    result = host.engine("check", "--json")
    assert result.status == 7
    assert result.json()["coverage"] == {"required": 6, "proven": 0, "gated": 0, "unverified": 6}
    assert [finding for finding in result.json()["findings"] if finding["vm"] == "a"]
    for ppu in (2, 3, 6, 7):
        host.set_driver(GUIDE_BDFS[ppu], None)
    assert host.engine("check").status == 1
    assert host.engine("repair").status in (0, 7)
    after = host.engine("check", "--json")
    assert after.json()["coverage"] == {"required": 6, "proven": 6, "gated": 0, "unverified": 0}
    assert host.leaks(host.masks(), {0: {"a"}, 1: {"a"}}) == []


def test_plug_and_plug_into_another(host, libvirt):
    """At each step `check` says what is known, and `repair` mends what can be mended."""
    assert libvirt.start(vm("a", 0, 1)).running
    assert libvirt.start(vm("b", 4)).running
    libvirt.watch = False
    libvirt.hot_plug("a", Hostdev(GUIDE_BDFS[6]))
    assert owners(host) == {0: ["a"], 1: ["a"], 4: ["b"], 6: ["a"]}
    assert host.engine("check").status == 1  # 5 and 7 can be read, and lack their cuts
    assert host.engine("repair").status in (0, 7)
    coverage = host.engine("check", "--json").json()["coverage"]
    assert coverage["unverified"] == 0 and coverage["required"] == coverage["proven"] + coverage["gated"]
    libvirt.hot_unplug("a", GUIDE_BDFS[6])
    assert owners(host) == {0: ["a"], 1: ["a"], 4: ["b"]}
    assert host.engine("repair").status == 0
    assert host.engine("check").status == 0
    assert host.masks() == host.topology.required_masks({0: {"a"}, 1: {"a"}, 4: {"b"}})
    libvirt.hot_plug("b", Hostdev(GUIDE_BDFS[6]))
    assert owners(host) == {0: ["a"], 1: ["a"], 4: ["b"], 6: ["b"]}
    assert host.engine("repair").status in (0, 7)
    owned = {0: {"a"}, 1: {"a"}, 4: {"b"}, 6: {"b"}}
    assert host.leaks(host.masks(), owned) == []


def test_unplug_and_plug_into_the_same(host, libvirt):
    """A card that its driver took anew may have been reset: what the gate read back is void."""
    assert libvirt.start(vm("a", 0, 1)).running
    assert libvirt.start(vm("b", 2, 3)).running
    group = int(host.device(GUIDE_BDFS[1]).joinpath("iommu_group").readlink().name)
    node = host.write(f"/dev/vfio/{group}", "")
    os.utime(node, (1, 1))
    assert host.engine("check").status == 0
    libvirt.watch = False
    libvirt.hot_unplug("a", GUIDE_BDFS[1])
    libvirt.hot_plug("a", Hostdev(GUIDE_BDFS[1]))
    later = time.time() + 10
    os.utime(node, (later, later))
    result = host.engine("check", "--json")
    assert result.status == 7
    assert [finding["ppu"] for finding in result.json()["findings"] if finding["code"] == "no-gate"] == [1]
    libvirt.stop("a")
    os.utime(node, (1, 1))
    assert libvirt.start(vm("a", 0, 1)).running
    assert host.engine("check").status == 0


def test_reset_neighbour_is_healed_by_the_next_hook(host, libvirt):
    """Whoever's link it is."""
    assert libvirt.start(vm("a", 0, 1)).running
    host.write_register(2, 0)
    assert host.engine("check").status == 1
    passes(host, vm("c", 4), "prepare")
    assert host.mask(2) == host.topology.required_mask(2, {0: {"a"}, 1: {"a"}, 4: {"c"}})
    assert Domain("c").uuid in {name[:36] for name in host.claims()}
