# SPDX-License-Identifier: LGPL-2.1-or-later
"""State that is broken, foreign, planted, lost or locked: b keeps its cards, no link
opens, and what is in doubt is refused."""

import fcntl
import json
import os
import shutil
import time

import pytest

import standins
from bystander import BEFORE, WITH_A, vm
from domain_xml import INACTIVE
from faults import Tracer

GHOST = "deadbeef-0000-4000-8000-000000000000"
REPAIR = "; run: icn-hook repair\n"
MOVE_AWAY = "; find out what changed it and move it away\n"
NOT_MINE = 1 if os.geteuid() == 0 else None


def directory(scene):
    return scene.host.path("/run/icn-hook")


def entry(scene, uuid):
    return directory(scene) / f"{uuid}.json"


def text_of(scene, path):
    """A file of the state as it is, or b's for one that is not there."""
    return (path if path.exists() else entry(scene, scene.b.uuid)).read_text()


# Each breaks one entry; with it what is said of it.


def not_json(scene, path):
    path.write_text("junk")


def cut_short(scene, path):
    path.write_text(text_of(scene, path)[:100])


def empty(scene, path):
    path.write_text("")


def other_version(scene, path):
    path.write_text(text_of(scene, path).replace("icn-hook/claim/2", "icn-hook/claim/3"))


def unknown_key(scene, path):
    path.write_text(text_of(scene, path).replace('"phase"', '"mood":1,"phase"'))


def no_utf8(scene, path):
    path.write_bytes(text_of(scene, path).encode().replace(b'"name":"', b'"name":"\xff'))


def large(scene, path):
    path.write_bytes(b" " * ((1 << 20) + 1))


def of_another(scene, path):
    path.write_text(text_of(scene, path).replace(path.stem, "0" * 8 + path.stem[8:]))


def writable_by_others(scene, path):
    path.write_text(text_of(scene, path))
    path.chmod(0o666)


def two_names(scene, path):
    path.write_text(text_of(scene, path))
    os.link(path, scene.host.path("/second-name"))


def a_directory(scene, path):
    path.unlink(missing_ok=True)
    path.mkdir()


def symlink(scene, path):
    scene.host.path("/victim").write_text("not to be touched")
    path.unlink(missing_ok=True)
    path.symlink_to(scene.host.path("/victim"))


def foreign_owner(scene, path):
    path.write_text(text_of(scene, path))
    os.chown(path, 1, 1)


BROKEN = {
    not_json: "it is not JSON",
    cut_short: "it is cut short",
    empty: "it is cut short",
    other_version: "it was written by another version of icn-hook (icn-hook/claim/3)",
    unknown_key: "",
    no_utf8: "",
    large: " is larger than 1048576 bytes",
    writable_by_others: " is writable by others (mode 0666)",
    two_names: " has 2 names (hard links)",
    a_directory: " is not a regular file",
    symlink: " is a symbolic link",
}
if NOT_MINE:
    BROKEN[foreign_owner] = " belongs to user 1, not to user 0"


def check_victim(scene):
    victim = scene.host.path("/victim")
    assert not victim.exists() or victim.read_text() == "not to be touched"


@pytest.mark.parametrize("wreck", BROKEN)
def test_entry_of_a_running_vm(scene, wreck):
    """The status file says what b has; the broken entry is named and left alone."""
    scene.entry_of_b = None
    path = entry(scene, scene.b.uuid)
    wreck(scene, path)
    assert scene.call("prepare").status == 0
    assert scene.masks() == WITH_A
    assert f": vm=a op=prepare {path}" in scene.host.log()
    assert BROKEN[wreck] + REPAIR in scene.host.log()
    scene.let_through = True
    scene.assert_harmless()
    assert scene.masks() == BEFORE
    scene.assert_refused(4, " is owned by VM 'b' ", domain=vm("c", 3))
    scene.assert_plain_domain_passes()
    check_victim(scene)


@pytest.mark.parametrize("wreck", [wreck for wreck in BROKEN if wreck is not a_directory])
def test_entry_of_nobody(scene, wreck):
    """Whose cards it speaks of nobody knows: no VM with cards may start."""
    path = entry(scene, GHOST)
    wreck(scene, path)
    before = scene.masks()
    for operation in ("prepare", "start"):
        result = scene.call(operation)
        assert result.status in (3, 5) and result.stderr.startswith("icn-hook: VM 'a' is not started: "), result
        assert str(path) in result.stderr and result.stderr.endswith(BROKEN[wreck] + REPAIR)
        assert scene.masks() == before
    scene.assert_harmless()
    scene.assert_plain_domain_passes()
    check_victim(scene)
    result = scene.host.engine("repair")
    assert result.status == 0, result
    assert not path.exists()
    check_victim(scene)
    scene.assert_mended()


@pytest.mark.parametrize("wreck", [not_json, cut_short, other_version, symlink, writable_by_others])
def test_own_entry(scene, wreck):
    """What a VM left of itself does not keep it from starting again."""
    wreck(scene, entry(scene, scene.a.uuid))
    scene.assert_isolated()
    assert list(scene.claim_files()) == [f"{scene.b.uuid}.json"]
    check_victim(scene)
    scene.assert_mended()


def test_claim_of_another_boot(scene):
    """b's own is believed no more, but its status file is; a ghost's says nothing."""
    content = entry(scene, scene.b.uuid).read_text()
    entry(scene, GHOST).write_text(content.replace(scene.b.uuid, GHOST).replace('"b"', '"ghost"'))
    scene.host.set_boot_id("99999999-2222-4333-8444-555555555555")
    scene.entry_of_b = None
    assert scene.call("prepare").status == 0
    assert scene.masks() == WITH_A
    assert not entry(scene, GHOST).exists()
    scene.assert_refused(4, " is owned by VM 'b' ", domain=vm("c", 3))


def test_claim_from_the_future(scene):
    """Made by a clock that ran wrong: it counts as new, and its daemon lives."""
    assert scene.call("prepare").status == 0
    scene.let_through = True
    path = entry(scene, scene.a.uuid)
    claim = json.loads(path.read_text())
    claim["boottime_ms"] += 10**12
    claim["since"] += 10**9
    path.write_text(json.dumps(claim))
    scene.assert_refused(4, " is owned by VM 'a' ", domain=vm("c", 0))
    assert scene.masks() == WITH_A
    scene.assert_harmless()
    scene.assert_mended()


@pytest.mark.parametrize("phase", ["starting", "running"])
def test_claim_from_the_future_without_a_daemon(scene, phase):
    """It is void as any other."""
    claim = json.loads(entry(scene, scene.b.uuid).read_text())
    cards = [{"bdf": bdf, "whole": True} for bdf in scene.host.bdfs[:2]]
    claim.update(uuid=GHOST, name="ghost", phase=phase, boottime_ms=10**15, since=10**12, cards=cards)
    claim.update(daemon={"pid": 1 << 22, "start": 1}, process=None)
    entry(scene, GHOST).write_text(json.dumps(claim))
    entry(scene, GHOST).chmod(0o600)
    scene.assert_isolated()
    assert scene.host.engine("repair").status == 0
    assert not entry(scene, GHOST).exists()
    scene.assert_mended()


def run_without_reading(scene, uuid, *arguments, xml=""):
    """The engine cannot open that claim: an I/O error, which is not damage."""
    tracer = Tracer(scene.host, scene.host.engine_program, scene.host.root.parent / "trace", may_print=True)
    fault = ["-P", f"{uuid}.json", "-e", "trace=openat", "-e", "inject=openat:error=EIO"]
    status, message = tracer.run(arguments, xml, fault)
    assert "(INJECTED)" in tracer.log.read_text()
    return status, message


@pytest.mark.parametrize("arguments", [["repair"], ["b", "started", "begin", "-"], ["b", "reconnect", "begin", "-"]])
def test_claim_of_a_running_vm_that_is_not_read_once(scene, arguments):
    """It is kept, and with it the evidence of the gate, which belongs to that start of b."""
    xml = scene.b.xml() if len(arguments) > 1 else ""
    assert run_without_reading(scene, scene.b.uuid, *arguments, xml=xml) == (0, "")
    assert scene.claim_files()[f"{scene.b.uuid}.json"] == scene.entry_of_b
    assert scene.host.engine("check").status == 0


def test_end_whose_claim_is_not_read_once(scene):
    """It is noted, and the next call carries it out."""
    scene.libvirt._qemu_ends(scene.libvirt.running.pop("b"))
    scene.host.remove_status("b")
    stopped = run_without_reading(scene, scene.b.uuid, "b", "stopped", "end", "-", xml=scene.b.xml(INACTIVE))
    assert stopped == (0, "")
    assert (directory(scene) / f"ended-{scene.b.uuid}").exists()
    assert scene.masks() == BEFORE
    scene.entry_of_b = None
    assert scene.host.engine("repair").status == 0
    assert scene.claim_files() == {}
    assert not any(scene.masks().values())


def test_mistaken_end_beside_a_claim_that_is_not_read_once(scene):
    (directory(scene) / f"ended-{scene.b.uuid}").touch()
    assert run_without_reading(scene, scene.b.uuid, "repair") == (0, "")
    assert scene.claim_files()[f"{scene.b.uuid}.json"] == scene.entry_of_b
    assert scene.host.engine("check").status == 0


def test_files_that_are_none_of_ours(scene):
    """Told of, never touched."""
    (directory(scene) / "note.txt").write_text("x")
    (directory(scene) / ".hidden").write_text("x")
    assert scene.call("prepare").status == 0
    assert f"{directory(scene)}/note.txt" in scene.host.log()
    scene.let_through = True
    scene.assert_harmless()
    assert (directory(scene) / "note.txt").read_text() == "x"


# The directory


def lost(path):
    shutil.rmtree(path)


def a_file(path):
    shutil.rmtree(path)
    path.write_text("x")


def a_symlink(path):
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def for_everybody(path):
    path.chmod(0o777)


def of_somebody_else(path):
    os.chown(path, 1, 1)


def lock_is_a_symlink(path):
    (path / "lock").unlink()
    (path / "lock").symlink_to("/etc/hostname")


def lock_is_a_directory(path):
    (path / "lock").unlink()
    (path / "lock").mkdir()


DIRECTORIES = {
    a_file: " is not a directory",
    a_symlink: " is not a directory",
    for_everybody: " is writable by others (mode 0777)",
    lock_is_a_symlink: "/lock is a symbolic link",
    lock_is_a_directory: "/lock is not a regular file",
}
if NOT_MINE:
    DIRECTORIES[of_somebody_else] = " belongs to user 1, not to user 0"


@pytest.mark.parametrize("wreck", DIRECTORIES)
def test_directory_that_cannot_be_trusted(scene, wreck):
    scene.entry_of_b = None
    kept = scene.claim_files()
    wreck(directory(scene))
    scene.assert_refused(3, str(directory(scene)) + DIRECTORIES[wreck] + MOVE_AWAY)
    scene.assert_harmless()
    scene.assert_plain_domain_passes()
    for verb in ("status", "check"):
        result = scene.host.engine(verb)
        assert (result.status, result.stdout) == (3, b"")
        assert result.stderr == f"icn-hook: {directory(scene)}{DIRECTORIES[wreck]}{MOVE_AWAY}"
    if wreck is a_symlink:
        assert (scene.host.path("/run/elsewhere") / f"{scene.b.uuid}.json").read_bytes() in kept.values()


def test_lost_directory(scene):
    """/run was emptied under the running b: its status file is left."""
    lost(directory(scene))
    scene.entry_of_b = None
    result = scene.host.engine("check", "--json")
    assert result.json()["coverage"] == {"required": 6, "proven": 6, "gated": 0, "unverified": 0}
    assert result.status == 7, "all far ends are cut, but nobody knows what b's own cards are like"
    assert not directory(scene).exists()
    scene.assert_isolated()
    assert directory(scene).stat().st_mode & 0o7777 == 0o700
    scene.assert_refused(4, " is owned by VM 'b' ", domain=vm("c", 3))


def strace(scene, tmp_path, call, action, path):
    engine = standins.script(
        tmp_path / "engine",
        'export ASAN_OPTIONS="$ASAN_OPTIONS:detect_leaks=0"\n'
        f"exec strace -D -qq -o '{tmp_path}/trace' -e trace={call} -P '{path}' -e 'inject={call}:{action}' -- "
        f"'{scene.host.engine_program}' \"$@\"\n",
    )
    return {"ICN_ENGINE": str(engine)}


@pytest.mark.parametrize(
    "error, text",
    [
        ("ENOSPC", "No space left on device"),
        ("EROFS", "Read-only file system"),
        ("EDQUOT", "Disk quota exceeded"),
    ],
)
def test_entry_cannot_be_written(scene, tmp_path, error, text):
    """Intent first: without the entry no register is touched."""
    environment = strace(scene, tmp_path, "renameat", f"error={error}", directory(scene))
    before = scene.state()
    for operation in ("prepare", "start", "started", "reconnect", "stopped", "release"):
        result = scene.host.hook("a", operation, scene.a.xml(), **environment)
        if operation in ("prepare", "start"):
            assert result.status == 5
            assert result.stderr.startswith(f"icn-hook: VM 'a' is not started: {directory(scene)}: cannot write ")
            assert result.stderr.endswith(f": {text}; make sure that it is writable and has room\n")
        else:
            assert (result.status, result.stderr) == (0, "")
        assert scene.state() == before
    scene.assert_mended()


def test_directory_cannot_be_made(scene, tmp_path):
    scene.entry_of_b = None
    lost(directory(scene))
    environment = strace(scene, tmp_path, "mkdir", "error=EROFS", directory(scene))
    result = scene.host.hook("a", "prepare", scene.a.xml(), **environment)
    assert result.status == 5
    assert f"VM 'a' is not started: cannot create {directory(scene)}: Read-only file system" in result.stderr
    assert scene.masks() == BEFORE
    assert scene.host.hook("a", "stopped", scene.a.xml(), **environment).status == 0


def test_end_cannot_be_recorded(scene, tmp_path):
    """The cards stay cut, and the next hook gives them back."""
    assert scene.call("prepare").status == 0
    environment = strace(scene, tmp_path, "renameat,unlinkat", "error=EROFS", directory(scene))
    for operation in ("stopped", "release"):
        result = scene.host.hook("a", operation, scene.a.xml(), **environment)
        assert (result.status, result.stderr) == (0, "")
        scene.check_b(operation)
    assert "Read-only file system" in scene.host.log()
    scene.assert_mended()


# The lock


@pytest.mark.parametrize("seconds", [0, 1])
def test_lock_is_held_past_the_deadline(scene, seconds):
    scene.host.configure(f"[policy]\nlock_timeout = {seconds}\n")
    words = (
        f"another icn-hook holds {directory(scene)}/lock and did not end in time; try again, or find it with lslocks\n"
    )
    with open(directory(scene) / "lock", "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        start = time.monotonic()
        scene.assert_refused(6, words, operations=["prepare"])
        assert seconds <= time.monotonic() - start < seconds + 5
        scene.assert_plain_domain_passes()
        if seconds == 0:
            scene.assert_harmless()
            for verb in (["status"], ["check"], ["-n", "-"]):
                result = scene.host.engine(*verb, stdin=scene.a.xml())
                assert (result.status, result.stdout) == (6, b"")
                assert words in result.stderr
    scene.assert_mended()


def test_boot_id_that_is_none(scene):
    scene.host.write("/proc/sys/kernel/random/boot_id", "x" * 100)
    path = scene.host.path("/proc/sys/kernel/random/boot_id")
    scene.assert_broken(5, f"{path} does not hold a boot id")
