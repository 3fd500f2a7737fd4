# SPDX-License-Identifier: LGPL-2.1-or-later
"""packaging/hook-place: where the hook goes, and that nothing of the administrator's does."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

HOOK_PLACE = Path(__file__).resolve().parents[2] / "packaging/hook-place"
HOOKS = "/etc/libvirt/hooks"
MAIN, ASIDE = f"{HOOKS}/qemu", f"{HOOKS}/qemu.d/icn-hook"
SCRIPT = "#!/bin/sh\n# /usr/bin/icn-hook\n# icn-hook: hook program for libvirt, placed by hook-place\nexit 0\n"
STAYS = (
    f"icn-hook: {MAIN} is not icn-hook's and stays as it is; "
    f"the hook is {ASIDE} (libvirt 6.5 or later runs it)\n"
)


@dataclass
class Place:
    root: Path
    program: Path

    def run(self, *arguments, path=os.defpath, umask=0o022):
        line = [HOOK_PLACE, *arguments, "--root", self.root, "--program", self.program]
        environment = {**os.environ, "PATH": path}
        return subprocess.run(line, capture_output=True, text=True, check=False, env=environment, umask=umask)

    def must(self, *arguments):
        result = self.run(*arguments)
        assert (result.returncode, result.stderr) == (0, "")
        return result.stdout

    def path(self, name):
        return self.root / name.lstrip("/")

    def write(self, name, content, mode=0o755):
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(mode)
        return path

    def has_program_at(self, name):
        path = self.path(name)
        return path.read_bytes() == self.program.read_bytes() and path.stat().st_mode == 0o100755

    def tree(self):
        """Every file with all that could be changed of it."""
        found = {}
        for path in sorted(self.root.rglob("*")):
            facts = path.lstat()
            times = (facts.st_ino, facts.st_mtime_ns) if not path.is_dir() or path.is_symlink() else ()
            content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
            found[str(path.relative_to(self.root))] = (facts.st_mode, times, content)
        return found


@pytest.fixture(name="place")
def fixture_place(tmp_path):
    (tmp_path / "root").mkdir()
    return Place(tmp_path / "root", Path(os.environ["ICN_BUILD_DIR"]).resolve() / "hook/qemu")


def other_version(place):
    return place.program.read_bytes() + b"of another version"


def test_nothing_is_there(place):
    assert place.run("where").returncode == 1
    assert place.must("install") == ""
    assert place.has_program_at(MAIN)
    assert place.must("where") == f"{MAIN}\n"
    assert place.must("remove") == f"icn-hook: removed {MAIN}\n"
    assert place.tree() == {}
    assert place.must("remove") == ""


def test_with_an_umask_that_hides(place):
    assert place.run("install", umask=0o077).returncode == 0
    assert place.has_program_at(MAIN)
    assert [place.path(name).stat().st_mode for name in ("/etc", "/etc/libvirt", HOOKS)] == [0o040755] * 3


def test_again_changes_nothing(place):
    place.must("install")
    before = place.tree()
    assert place.must("install") == ""
    assert place.tree() == before


def test_another_version_is_replaced(place):
    before = place.write(MAIN, other_version(place)).stat().st_ino
    descriptor = os.open(place.path(MAIN), os.O_RDONLY)
    assert place.must("install") == ""
    assert place.has_program_at(MAIN)
    assert place.path(MAIN).stat().st_ino != before, "it was written into, not replaced"
    os.close(descriptor)
    assert os.listdir(place.path(HOOKS)) == ["qemu"]


def test_ours_gets_its_mode_back(place):
    place.write(MAIN, place.program.read_bytes(), 0o644)
    place.must("install")
    assert place.has_program_at(MAIN)


@pytest.mark.parametrize("mode", [0o755, 0o600])
def test_the_administrators_file_stays(place, mode):
    place.write(MAIN, SCRIPT, mode)
    place.write(f"{HOOKS}/daemon", SCRIPT)
    before = place.tree()
    assert place.must("install") == STAYS
    assert place.has_program_at(ASIDE)
    assert place.must("where") == f"{ASIDE}\n"
    assert {name: facts for name, facts in place.tree().items() if name in before} == before
    assert place.must("install") == "", "what is known is not told again"
    assert place.must("remove") == f"icn-hook: removed {ASIDE}\n"
    assert place.tree() == before


@pytest.mark.parametrize("target", ["/nowhere", "qemu-real", "../../../program"])
def test_the_administrators_link_stays(place, target):
    place.write(f"{HOOKS}/qemu-real", SCRIPT)
    place.write("/program", place.program.read_bytes())
    place.path(MAIN).symlink_to(target)
    before = place.tree()
    assert place.must("install") == STAYS
    assert place.has_program_at(ASIDE)
    place.must("remove")
    assert place.tree() == before


def test_the_administrators_directory_stays(place):
    place.path(MAIN).mkdir(parents=True)
    assert place.must("install") == STAYS


def test_ours_stays_aside_when_the_other_goes(place):
    place.write(MAIN, SCRIPT)
    place.must("install")
    place.path(MAIN).unlink()
    place.write(ASIDE, other_version(place))
    assert place.must("install") == f"icn-hook: the hook stays at {ASIDE}, though {MAIN} is free\n"
    assert place.has_program_at(ASIDE) and not place.path(MAIN).exists()


@pytest.mark.parametrize("name", ["50 cards", ".cards"])
def test_ours_under_another_name(place, name):
    place.write(MAIN, SCRIPT)
    place.write(f"{HOOKS}/qemu.d/{name}", other_version(place))
    place.write(f"{HOOKS}/qemu.d/60-local", SCRIPT)
    assert place.must("install") == ""
    assert place.has_program_at(f"{HOOKS}/qemu.d/{name}") and not place.path(ASIDE).exists()
    assert place.must("where") == f"{HOOKS}/qemu.d/{name}\n"
    place.must("remove")
    assert sorted(os.listdir(place.path(f"{HOOKS}/qemu.d"))) == ["60-local"]


def test_ours_is_there_once(place):
    place.write(MAIN, other_version(place))
    place.write(ASIDE, other_version(place))
    assert place.must("install") == f"icn-hook: removed {ASIDE}: icn-hook's hook is {MAIN}\n"
    assert place.has_program_at(MAIN) and not place.path(ASIDE).exists()


def test_both_places_are_taken(place):
    place.write(MAIN, SCRIPT)
    place.write(ASIDE, SCRIPT)
    before = place.tree()
    result = place.run("install")
    expected = f"icn-hook: {MAIN} and {ASIDE} are not icn-hook's: move one of them, then run: {HOOK_PLACE} install\n"
    assert (result.returncode, result.stdout, result.stderr) == (1, "", expected)
    assert place.tree() == before


LIBRARIES = {
    "6.5 on Debian": (["lib/x86_64-linux-gnu/libvirt.so.0.6005.0"], True),
    "9.0 on Fedora": (["lib64/libvirt.so.0.9000.0"], True),
    "12.0 in lib": (["lib/libvirt.so.0.12000.3"], True),
    "6.4": (["lib64/libvirt.so.0.6004.0"], False),
    "two, the older counts": (["lib64/libvirt.so.0.9000.0", "lib/x/libvirt.so.0.5006.0"], False),
    "another library": (["lib64/libvirt-qemu.so.0.9000.0", "lib64/libvirt.so.0.x", "lib64/libvirt.so.0"], False),
}


@pytest.mark.parametrize("libraries, aside", LIBRARIES.values(), ids=LIBRARIES)
def test_e12_ours_is_aside_where_libvirt_runs_it(place, libraries, aside):
    for name in libraries:
        place.write(f"/usr/{name}", "")
    before = place.tree()
    assert place.must("install") == ""
    assert place.must("where") == f"{ASIDE if aside else MAIN}\n"
    assert place.has_program_at(ASIDE if aside else MAIN)
    assert place.must("install") == ""
    place.must("remove")
    assert place.tree() == before


def test_e12_an_agent_copies_its_script_over_the_main_hook(place):
    """CloudStack's does at each upgrade; ours is called all the same."""
    place.write("/usr/lib64/libvirt.so.0.9000.0", "")
    place.must("install")
    place.write(MAIN, SCRIPT)
    assert place.has_program_at(ASIDE)
    assert place.must("install") == "" and place.must("where") == f"{ASIDE}\n"


def test_e12_ours_stays_where_it_is(place):
    """A daemon that has run since before 6.5 was installed does not look into qemu.d."""
    place.must("install")
    place.write("/usr/lib64/libvirt.so.0.9000.0", "")
    place.write(MAIN, other_version(place))
    assert place.must("install") == "" and place.has_program_at(MAIN)
    assert place.must("where") == f"{MAIN}\n"


def test_e12_the_administrators_file_aside_stays(place):
    place.write("/usr/lib64/libvirt.so.0.9000.0", "")
    place.write(ASIDE, SCRIPT)
    assert place.must("install") == "" and place.has_program_at(MAIN)
    assert place.path(ASIDE).read_text() == SCRIPT


def test_directories_that_were_there_stay(place):
    place.path(f"{HOOKS}/qemu.d").mkdir(parents=True)
    before = place.tree()
    place.must("install")
    place.must("remove")
    assert place.tree() == before


def test_what_others_put_into_our_directories_stays(place):
    place.must("install")
    place.write("/etc/libvirt/qemu.conf", "", 0o600)
    place.must("remove")
    assert sorted(place.tree()) == ["etc", "etc/libvirt", "etc/libvirt/qemu.conf"]


def test_what_a_killed_run_left_goes(place):
    place.write(f"{HOOKS}/.icn-hook.a1B2c3", "half", 0o600)
    place.must("install")
    assert sorted(os.listdir(place.path(HOOKS))) == ["qemu"]


def test_what_cannot_be_put_in_place_leaves_nothing(place, tmp_path):
    """Nor does it wait where libvirt runs every file."""
    place.write(MAIN, SCRIPT)
    place.write(ASIDE, other_version(place))
    before = place.tree()
    place.write("../standins/mv", f'#!/bin/sh\necho "$2" "$3" >{tmp_path}/moved\nexit 1\n')
    assert place.run("install", path=f"{tmp_path}/standins:{os.defpath}").returncode == 1
    waiting, target = (tmp_path / "moved").read_text().split()
    assert (Path(waiting).parent, target) == (place.path(HOOKS), str(place.path(ASIDE)))
    assert place.tree() == before


def test_the_program_must_be_ours(place):
    for content in (SCRIPT, b"", Path("/bin/true").read_bytes()):
        place.program = place.write("/other", content)
        result = place.run("install")
        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr == f"icn-hook: {place.program} is not icn-hook's hook program\n"
    place.program = place.root / "missing"
    assert place.run("install").stderr == f"icn-hook: {place.program} is not icn-hook's hook program\n"
    assert sorted(place.tree()) == ["other"]


def test_another_directory_of_hooks(place):
    assert place.must("install", "--hooks", "/opt/etc/libvirt/hooks") == ""
    assert place.has_program_at("/opt/etc/libvirt/hooks/qemu")
    place.must("remove", "--hooks", "/opt/etc/libvirt/hooks")
    assert place.tree() == {}


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "which command?"),
        (["put"], "unknown argument 'put'"),
        (["install", "remove"], "one command at a time"),
        (["where", "--hooks", "hooks"], "--hooks needs an absolute directory, not 'hooks'"),
    ],
)
def test_usage(place, arguments, message):
    result = place.run(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"hook-place: {message}\nusage: hook-place install|remove|where")
