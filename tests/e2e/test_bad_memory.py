# SPDX-License-Identifier: LGPL-2.1-or-later
"""The memory of the cards damaged or lost, tombstones where they should not be, and a
/run without room: b keeps its cards, and no link opens."""

import ctypes
import json
import os
import shutil
import subprocess

import pytest

from bystander import BEFORE, WITH_A, vm
from test_bad_state import GHOST, REPAIR, directory, entry

CLONE_NEWNS = 0x20000


# The memory of the cards


def not_json_at_all(text):
    return "junk"


def cut_in_half(text):
    return text[: len(text) // 2]


def of_another_version(text):
    return text.replace("icn-hook/cards/1", "icn-hook/cards/9")


def with_a_card_twice(text):
    memory = json.loads(text)
    memory["cards"].append(memory["cards"][0])
    return json.dumps(memory)


@pytest.mark.parametrize("wreck", [not_json_at_all, cut_in_half, of_another_version, with_a_card_twice])
def test_memory_of_the_cards(scene, wreck):
    """What was cut is not known any more: no link opens by it, one line says so, and
    `repair` begins a new memory."""
    path = directory(scene) / "cards.json"
    path.write_text(wreck(path.read_text()))
    before = scene.masks()
    for operation in ("prepare", "start"):
        result = scene.call(operation)
        assert result.status in (0, 3), result
        if result.status == 3:
            assert str(path) in result.stderr and result.stderr.endswith(REPAIR)
            assert scene.masks() == before
    scene.assert_harmless()
    scene.assert_plain_domain_passes()
    result = scene.host.engine("repair")
    assert result.status in (0, 7), result
    assert all(scene.masks()[ppu] & mask == mask for ppu, mask in BEFORE.items())
    scene.assert_isolated()
    scene.libvirt.stop("b")
    assert list(scene.claim_files()) == [".cards.json.damaged"]
    assert scene.host.engine("check").status == 0


def test_memory_of_another_boot(scene):
    """Registers are as the firmware left them: what was remembered says nothing."""
    scene.libvirt.stop("b")
    assert scene.libvirt.start(scene.a).running
    scene.libvirt.reboot()
    for path in directory(scene).glob("*-*.json"):
        path.unlink()
    scene.entry_of_b = None
    scene.host.set_masks({5: 0x40})
    assert scene.libvirt.start(vm("c", 0, 1)).running
    scene.libvirt.stop("c")
    assert scene.masks() == {ppu: 0x40 if ppu == 5 else 0 for ppu in range(8)}


def test_lost_memory_of_the_cards(scene):
    """Removed by hand while b runs: what is cut now could be the host's own."""
    (directory(scene) / "cards.json").unlink()
    assert all(scene.masks()[ppu] == mask for ppu, mask in BEFORE.items())
    scene.assert_harmless()
    assert scene.call("prepare").status == 0
    assert scene.masks() == WITH_A
    scene.assert_refused(4, " is owned by VM 'b' ", domain=vm("c", 3))


# Tombstones


def tombstone(scene, uuid):
    path = directory(scene) / f"ended-{uuid}"
    path.touch(mode=0o600)
    return path


def test_tombstone_is_obeyed_by_the_next_hook(scene):
    """a's end was noted without the lock."""
    assert scene.call("prepare").status == 0
    path = tombstone(scene, scene.a.uuid)
    assert scene.call("prepare", domain=vm("c", 0)).status == 0
    assert not path.exists() and not entry(scene, scene.a.uuid).exists()
    owners = {ppu: {"b"} for ppu in (2, 3)} | {0: {"c"}}
    assert scene.masks() == scene.host.topology.required_masks(owners)


def test_tombstone_of_a_living_domain(scene):
    """Whoever made it: b's status file says that it lives.  It is told of, and nothing opens."""
    path = tombstone(scene, scene.b.uuid)
    scene.entry_of_b = None
    result = scene.host.engine("check", "--json")
    assert result.status == 0
    assert any("b" == finding["vm"] or scene.b.uuid in finding["text"] for finding in result.json()["findings"])
    assert scene.masks() == BEFORE
    assert scene.call("prepare", domain=vm("c", 3)).status == 4
    assert not path.exists()
    scene.assert_refused(4, " is owned by VM 'b' ", domain=vm("c", 3))
    scene.assert_isolated()
    assert all(scene.masks()[ppu] == mask for ppu, mask in BEFORE.items())
    scene.libvirt.restart_daemon()
    assert not path.exists()
    assert scene.host.engine("check").status == 0


def test_tombstone_of_nobody(scene):
    path = tombstone(scene, GHOST)
    scene.assert_isolated()
    assert not path.exists()


def test_tombstone_that_is_a_directory(scene):
    """None of ours; it hinders nobody."""
    (directory(scene) / f"ended-{GHOST}").mkdir()
    scene.assert_isolated()


def test_tombstone_of_an_earlier_life(scene):
    """The next start of the same domain is not the one that ended."""
    assert scene.call("prepare").status == 0
    tombstone(scene, scene.a.uuid)
    assert scene.call("prepare").status == 0
    assert scene.masks() == WITH_A
    assert not (directory(scene) / f"ended-{scene.a.uuid}").exists()
    scene.let_through = True
    scene.assert_refused(4, " is owned by VM 'a' ", domain=vm("c", 0))


# No room


@pytest.fixture(name="small_run")
def fixture_small_run(scene):
    """/run/icn-hook on a filesystem of its own that has no room left; without the right
    to mount one there is only strace to say so."""
    if os.geteuid() != 0 or ctypes.CDLL(None).unshare(CLONE_NEWNS) != 0:
        pytest.skip("nothing can be mounted here")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    room = scene.host.root.with_name("room")
    room.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,nr_inodes=64,mode=0700", "tmpfs", room], check=True)
    shutil.copytree(directory(scene), room / "icn-hook")
    subprocess.run(["mount", "--bind", room / "icn-hook", directory(scene)], check=True)
    scene.libvirt.restart_daemon()  # one that sees it
    yield room
    subprocess.run(["umount", "-l", directory(scene), room], check=True)


def fill(path, names):
    """NAMES: there is no room for a name either."""
    with open(path, "wb", buffering=0) as file, pytest.raises(OSError):
        while True:
            file.write(b"\0" * 4096)
    count = 0
    while names:
        try:
            os.link(path, path.with_name(f"{path.name}-{count}"))
        except OSError:
            return
        count += 1


@pytest.mark.parametrize("names", [False, True])
def test_full_run(scene, small_run, names):
    """A start is refused, an end is not lost, and plain VMs notice nothing."""
    assert scene.call("prepare").status == 0
    scene.let_through = True
    fill(small_run / "ballast", names)
    result = scene.call("prepare", domain=vm("c", 4))
    assert result.status == 5 and "No space left on device" in result.stderr, result
    scene.assert_plain_domain_passes()
    for operation in ("stopped", "release"):
        assert (scene.call(operation).status, scene.call(operation).stderr) == (0, "")
    for path in small_run.glob("ballast*"):
        path.unlink()
    assert scene.call("prepare", domain=vm("c", 0)).status == 0
    owners = {ppu: {"b"} for ppu in (2, 3)} | {0: {"c"}}
    assert scene.masks() == scene.host.topology.required_masks(owners)
