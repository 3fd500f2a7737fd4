# SPDX-License-Identifier: LGPL-2.1-or-later
"""The hook program when the engine gives no answer: it cannot be run, dies, or hangs."""

import time
from pathlib import Path

import pytest

import standins
from domain_xml import INACTIVE, LIVE, Domain, Hostdev, Usb
from hook_calls import ALIVE, CARD, DEVICES, ENDING, OPERATIONS, PASSING, PLAIN, STARTING, USB, call, write_entry


def refusal(name, engine, trouble):
    return (
        f"icn-hook: VM '{name}' is not started: {engine} {trouble.format(path=engine)}, so the links of its host PCI "
        f"devices cannot be isolated; reinstall icn-hook, then `ldd {engine}` must find every library\n"
    )


@pytest.mark.parametrize("wreck", standins.WRECKS)
@pytest.mark.parametrize("operation", STARTING)
def test_start_is_refused_without_the_engine(host, tmp_path, operation, wreck):
    engine, trouble = wreck(tmp_path)
    result = call(host, PASSING, operation, engine)
    assert (result.status, result.stderr) == (5, refusal("passing", engine, trouble))
    line = host.log()
    assert line.count("\n") == 1
    assert f": vm=passing op={operation} {engine} {trouble.format(path=engine)}, so the links" in line


@pytest.mark.parametrize("wreck", standins.WRECKS)
@pytest.mark.parametrize("operation", ALIVE + ENDING)
def test_a_vm_is_never_harmed_without_the_engine(host, tmp_path, operation, wreck):
    engine, trouble = wreck(tmp_path)
    result = call(host, PASSING, operation, engine)
    assert (result.status, result.stderr) == (0, "")
    assert host.log().endswith(
        f"]: vm=passing op={operation} {engine} {trouble.format(path=engine)}; the links of the VM's host PCI devices "
        f"were left as they are; reinstall icn-hook, then `ldd {engine}` must find every library\n"
    )
    assert host.log().count("\n") == 1


# An engine that hangs


def hanging(tmp_path):
    """Notes its pid and the files that it has, ignores what can be ignored, and sleeps."""
    return standins.script(
        tmp_path / "hanging",
        f'trap "" TERM INT HUP\ncat > /dev/null\nprintf "%s" "$$" > "{tmp_path}/pid"\nexec sleep 1000\n',
    )


def assert_is_gone(pid_file):
    stat = Path(f"/proc/{pid_file.read_text()}/stat")
    assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_engine_that_hangs_is_killed(host, tmp_path, operation):
    engine = hanging(tmp_path)
    begin = time.monotonic()
    result = call(host, PASSING, operation, engine, ICN_HOOK_WAIT_MS="1000")
    assert 1 <= time.monotonic() - begin < 20
    assert_is_gone(tmp_path / "pid")
    trouble = f"{engine} did not answer within 1 s and was killed"
    remedy = "find the card or the tool that hangs with `icn-hook doctor`\n"
    if operation in STARTING:
        reason = f"{trouble}, so the links of its host PCI devices cannot be isolated; {remedy}"
        assert (result.status, result.stderr) == (6, f"icn-hook: VM 'passing' is not started: {reason}")
    else:
        reason = f"{trouble}; the links of the VM's host PCI devices were left as they are; {remedy}"
        assert (result.status, result.stderr) == (0, "")
    assert host.log().endswith(f"]: vm=passing op={operation} {reason}")
    assert host.log().count("\n") == 1


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_vm_without_cards_passes_a_hanging_engine(host, tmp_path, operation):
    """Its text is not plain: the engine had to be asked."""
    result = call(host, USB, operation, hanging(tmp_path), ICN_HOOK_WAIT_MS="300")
    assert (result.status, result.stderr, host.log()) == (0, "", "")
    assert_is_gone(tmp_path / "pid")


def test_the_wait_is_libvirts_on_a_real_host(host, tmp_path):
    """Nobody shortens it from outside: without a sysroot the engine is the installed one."""
    xml = Domain("vm", [Hostdev("ffff:ff:1f.7")]).xml(LIVE)
    engine = hanging(tmp_path)
    for sysroot in (None, ""):
        environment = {"ICN_ENGINE": str(engine), "ICN_HOOK_WAIT_MS": "1", "ICN_SYSROOT": sysroot}
        assert host.hook("vm", "started", xml, **environment).status == 0
    assert not (tmp_path / "pid").exists()


# The end of a domain is noted when the engine does not do it


def tombstones(host):
    return sorted(path.name for path in host.path("/run/icn-hook").glob("ended-*"))


@pytest.mark.parametrize("wreck", [*standins.WRECKS, lambda path: (hanging(path), "did not answer")])
@pytest.mark.parametrize("operation", ENDING)
def test_the_end_is_noted_without_the_engine(host, tmp_path, operation, wreck):
    engine, _ = wreck(tmp_path)
    for domain in (PLAIN, PASSING):
        write_entry(host, domain)
        result = call(host, domain, operation, engine, ICN_HOOK_WAIT_MS="300")
        assert (result.status, result.stderr) == (0, "")
        tombstone = host.path(f"/run/icn-hook/ended-{domain.uuid}")
        assert (tombstone.read_bytes(), tombstone.stat().st_mode) == (b"", 0o100600)
        trouble, noted = host.log().splitlines()[-2:]
        assert f"vm={domain.name} op={operation} {engine} " in trouble
        assert noted.endswith(
            f"vm={domain.name} op={operation} its end is noted: the next hook or `icn-hook repair` gives its cards back"
        )
        assert host.path(f"/run/icn-hook/{domain.uuid}.json").exists()
    assert tombstones(host) == sorted(f"ended-{domain.uuid}" for domain in (PLAIN, PASSING))


def test_no_end_is_noted_by_others(host, tmp_path):
    engine, _ = standins.missing(tmp_path)
    write_entry(host, PASSING)
    for operation in STARTING + ALIVE:
        call(host, PASSING, operation, engine)
    call(host, PLAIN, "stopped", engine)
    call(host, Domain("other", [Hostdev(CARD)]), "release", engine)
    assert tombstones(host) == []


def test_an_engine_that_answers_notes_the_end_itself(host, tmp_path):
    write_entry(host, PASSING)
    for status in (0, 2, 3, 4, 5, 6):
        assert call(host, PASSING, "stopped", standins.recorder(tmp_path, status=status)).status == 0
    assert tombstones(host) == []


def test_an_end_that_cannot_be_noted_is_logged(host, tmp_path):
    engine, _ = standins.missing(tmp_path)
    write_entry(host, PASSING)
    host.path("/run/icn-hook").chmod(0o777)
    assert call(host, PASSING, "release", engine).status == 0
    assert host.log().endswith(
        f"vm=passing op=release {host.path('/run/icn-hook')} is not ours alone: chown root and chmod 0700; "
        "its cards stay its own until `icn-hook repair`\n"
    )
    host.path("/run/icn-hook").chmod(0o700)
    xml = PASSING.xml(INACTIVE).replace("<uuid>", "<uuid>x")
    assert host.hook("passing", "release", xml, ICN_ENGINE=str(engine)).status == 0
    assert host.log().endswith(
        "vm=passing op=release the domain's XML has no uuid, so its end could not be noted; `icn-hook status` shows "
        "what it still owns\n"
    )
    assert tombstones(host) == []


@pytest.mark.parametrize("kind", DEVICES)
def test_every_kind_of_device_is_refused_without_the_engine(host, tmp_path, kind):
    engine, trouble = standins.missing(tmp_path)
    result = call(host, Domain("vm", [DEVICES[kind]]), "start", engine)
    assert (result.status, result.stderr) == (5, refusal("vm", engine, trouble))


@pytest.mark.parametrize("xml", ["", "not XML", "<domain><devices>", "<!DOCTYPE domain><domain></domain>"])
def test_doubt_is_refused_without_the_engine(host, tmp_path, xml):
    engine, trouble = standins.missing(tmp_path)
    result = host.hook("vm", "prepare", xml, ICN_ENGINE=str(engine))
    assert (result.status, result.stderr) == (5, refusal("vm", engine, trouble))


def test_words_in_foreign_places_pass_without_the_engine(host, tmp_path):
    engine, _ = standins.missing(tmp_path)
    domain = Domain("vm", [Usb()], metadata="    <a:app xmlns:a='u'><hostdev type='pci'/>nvme vfio</a:app>\n")
    result = call(host, domain, "prepare", engine)
    assert (result.status, result.stderr) == (0, "")


def test_names_cannot_forge_lines(host, tmp_path):
    engine, trouble = standins.missing(tmp_path)
    result = host.hook("a\nb\x1b[31m\\\x7fé", "prepare", PASSING.xml(), ICN_ENGINE=str(engine))
    assert result.stderr == refusal("a\\x0ab\\x1b[31m\\x5c\\x7fé", engine, trouble)
    assert "vm=a\\x0ab\\x1b[31m\\x5c\\x7fé op=prepare" in host.log()
    assert host.log().count("\n") == 1


def test_a_very_long_name_is_cut(host, tmp_path):
    engine, _ = standins.missing(tmp_path)
    result = host.hook("\n" * 3000, "prepare", PASSING.xml(), ICN_ENGINE=str(engine))
    assert result.status == 5
    assert result.stderr.startswith("icn-hook: VM '\\x0a")
    assert result.stderr.endswith("must find every library\n")


def test_missing_log_directory_changes_nothing(host, tmp_path):
    engine, trouble = standins.missing(tmp_path)
    host.path("/var/log").rmdir()
    assert call(host, PASSING, "prepare", engine).stderr == refusal("passing", engine, trouble)
    assert call(host, PASSING, "reconnect", engine).status == 0
