# SPDX-License-Identifier: LGPL-2.1-or-later
"""A broken configuration refuses VMs with cards, tells the line and what is allowed,
and never affects others."""

import os
from pathlib import Path

import pytest

from bystander import BEFORE, WITH_A, vm
from domain_xml import Domain, Hostdev
from errors import assert_error
from simhost import GUIDE_BDFS, PPU_DEVICE

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures/settings"
CONFIG = "/etc/icn-hook/icn-hook.conf"
NEXT_STEP = "; correct the configuration\n"
FILTER = "an lspci filter [vendor]:[device][:class[:prog-if]] in hexadecimal, such as :6001"
REGISTER = "a register number of 32 bits, such as 0xbe382"
PATH = "an absolute path"

# section, key, what is allowed, values that are not
VALUES = [
    ("ppu", "match", FILTER, ["", "6001", ":0x6001", "1ded:60010", ":6001:12:0:0", "lspci"]),
    ("ppu", "topology", PATH, ["", "icn_topo.cfg", "~/icn_topo.cfg"]),
    ("registers", "backend", "mmio or ppudbg", ["", "MMIO", "mock"]),
    ("registers", "bar", "a number from 0 to 5", ["", "6", "-1", "0.0"]),
    ("registers", "link_config", REGISTER, ["", "be382", "0x100000000", "0xbe382,"]),
    ("registers", "link_status", REGISTER, ["", "-1", "0x", "0b1"]),
    ("registers", "stride", "a number of bytes from 1 to 4096", ["", "0", "4097", "4 bytes"]),
    ("registers", "cut_bit", "0 or 1", ["", "2", "yes"]),
    ("registers", "links", "topology, or the register's bits that are links, such as 0x7f", ["", "0", "0x100000000"]),
    ("ppudbg", "path", PATH, ["", "ppudbg"]),
    ("ppudbg", "isolate", "one word or more", [""]),
    ("ppudbg", "timeout", "a number of seconds from 1 to 3600", ["", "0", "3601", "30s"]),
    ("ppu-smi", "path", PATH, ["", "ppu-smi"]),
    ("ppu-smi", "timeout", "a number of seconds from 1 to 3600", ["0"]),
    ("policy", "external", "cut or leave", ["", "open"]),
    ("policy", "require_confirmed", "no or yes", ["", "1"]),
    ("policy", "idle", "restore or isolate", ["", "cut", "Restore"]),
    ("policy", "far_end", "cut or leave", ["", "keep"]),
    ("policy", "on_leak", "alert or kill", ["", "stop"]),
    ("policy", "lock_timeout", "a number of seconds from 0 to 3600", ["", "-1", "3601", "99999999999999999999"]),
    ("policy", "start_timeout", "a number of seconds from 0 to 86400", ["", "-1", "86401", "1h"]),
]
WRONG_VALUES = [(section, key, allowed, value) for section, key, allowed, values in VALUES for value in values]
KEYS = {
    "ppu": "match, topology",
    "registers": "backend, bar, link_config, link_status, stride, cut_bit, links",
    "ppudbg": "path, isolate, timeout",
    "ppu-smi": "path, timeout",
    "policy": "idle, external, far_end, on_leak, require_confirmed, lock_timeout, start_timeout",
}
LINES = {
    "unknown section": ("[polcy]\n", ":1: unknown section [polcy]; the sections are [ppu], [map], "),
    "section with blanks": ("[ policy ]\n", ":1: unknown section [ policy ]"),
    "unclosed section": ("[policy\n", ":1: a section's line must be [name]"),
    "key before a section": ("idle = restore\n", ':1: "idle" is before the first [section]'),
    "no value": ("[policy]\nidle\n", ':2: a line must be "key = value", [section] or a comment'),
    "colon": ("[policy]\nidle: restore\n", ':2: a line must be "key = value", [section] or a comment'),
    "key twice": ("[policy]\nidle = restore\nidle = restore\n", ':3: "idle" is already set in line 2'),
    "control character": ("[policy]\nidle = restore\x01\n", ":2: the line holds a control character"),
    "NUL byte": ("[policy]\nidle = \0restore\n", ":2: the line holds a control character"),
    "long line": (f"[ppu]\ntopology = /{'x' * 300}\n", ":2: the line is too long (at most 198 bytes)"),
    "unaligned register": (
        "[registers]\nstride = 1\n",
        ":2: link_config 0xbe382 at a stride of 1 is byte offset 0xbe382, which is not a multiple of 4",
    ),
    "2 MiB": ("# padding\n" * 200000, " is larger than 1048576 bytes"),
    "id of the map": ("[map]\neight = 0000:08:00.0\n", ':2: "eight" is not a PPU id; a line of [map] is "id = BDF"'),
    "id with a zero": ("[map]\n01 = 0000:08:00.0\n", ':2: "01" is not a PPU id'),
    "id too large": ("[map]\n1024 = 0000:08:00.0\n", ':2: "1024" is not a PPU id'),
    "address of the map": ("[map]\n0 = 08.00.0\n", ':2: PPU 0 is "08.00.0", but must be a PCI address such as'),
    "id mapped twice": ("[map]\n0 = 08:00.0\n0 = 7e:00.0\n", ":3: PPU 0 is already mapped in line 2"),
    "card mapped twice": (
        "[map]\n0 = 08:00.0\n1 = 0000:08:00.0\n",
        ":3: 0000:08:00.0 is already mapped to PPU 0 in line 2",
    ),
}


def path(scene):
    return str(scene.host.path(CONFIG))


def test_wrong_values(scene):
    for section, key, allowed, value in WRONG_VALUES:
        print(section, key, value)
        scene.host.configure(f"# of rack 7\n[{section}]\n{key} = {value}\n")
        words = f'{path(scene)}:3: {key} is "{value}", but must be {allowed}{NEXT_STEP}'
        scene.assert_refused(3, words, operations=["prepare"])
        assert scene.call("stopped").status == 0
    scene.assert_broken(3, NEXT_STEP)
    scene.host.path(CONFIG).unlink()
    scene.assert_mended()


def test_unknown_keys(scene):
    for section, keys in KEYS.items():
        scene.host.configure(f"[{section}]\nbogus = 1\n")
        words = f'{path(scene)}:2: unknown key "bogus" in [{section}], whose keys are {keys}{NEXT_STEP}'
        scene.assert_broken_briefly(3, words)
    scene.host.path(CONFIG).unlink()
    scene.assert_mended()


def test_broken_lines(scene):
    for case, (text, words) in LINES.items():
        print(case)
        scene.host.configure(text)
        scene.assert_broken_briefly(3, path(scene) + words, NEXT_STEP)
    scene.host.pin_ids()
    scene.assert_mended()


def test_broken_fixtures(scene):
    for expected in sorted(FIXTURES.glob("*.conf.expected")):
        name = expected.name.removesuffix(".expected")
        print(name)
        scene.host.write(CONFIG, (FIXTURES / name).read_bytes())
        words = expected.read_text().rstrip("\n").removeprefix(name)
        scene.assert_refused(3, path(scene) + words + NEXT_STEP, operations=["prepare"])
        result = scene.call("reconnect")
        assert (result.status, result.stderr) == (0, "")


@pytest.mark.parametrize("arguments", [["status"], ["check"], ["status", "--json"], ["check", "--json"]])
def test_verbs_say_the_same(scene, arguments):
    scene.host.configure("[policy]\nidle = cut\n")
    words = f'{path(scene)}:2: idle is "cut", but must be restore or isolate'
    result = scene.host.engine(*arguments)
    assert_error(result, 3, f"{words}{NEXT_STEP}".removesuffix("\n"), json="--json" in arguments)


def test_dry_run_says_the_same(scene):
    scene.host.configure("[policy]\nidle = cut\n")
    result = scene.host.engine("-n", "-", "--json", stdin=scene.a.xml())
    assert (result.status, result.json()["verdict"]) == (3, "refuse")
    assert result.json()["reason"] + "\n" == result.stderr == (
        f"icn-hook: VM 'a' would not be started: {path(scene)}:2: idle is \"cut\", but must be restore or isolate"
        f"{NEXT_STEP}"
    )


# The file


def test_missing_is_all_defaults(scene):
    assert not scene.host.path(CONFIG).exists()
    scene.assert_mended()


def test_nothing_in_it_is_all_defaults(scene):
    for text in ("", "\n\n", "# nothing\n; at all\n", "[ppu]\n[map]\n[policy]\r\n", "\ufeff[ppu]\n"):
        scene.host.configure(text)
        assert scene.call("prepare").status == 0
        assert scene.masks() == WITH_A
        assert scene.call("stopped").status == 0
        assert scene.masks() == BEFORE


def test_directory_in_its_place(scene):
    scene.host.path(CONFIG).mkdir()
    scene.assert_broken(3, f"{path(scene)} is not a regular file{NEXT_STEP}")


def test_fifo_in_its_place(scene):
    os.mkfifo(scene.host.path(CONFIG))
    scene.assert_broken(3, f"{path(scene)} is not a regular file{NEXT_STEP}")


def test_link_in_a_circle(scene):
    scene.host.path(CONFIG).symlink_to(CONFIG.rsplit("/", maxsplit=1)[1])
    scene.assert_broken(5, f"cannot open {path(scene)}: Too many levels of symbolic links{NEXT_STEP}")


def test_other_file_by_option(scene, tmp_path):
    (tmp_path / "other.conf").write_text("[policy]\nidle = cut\n")
    for option in (["--config", f"{tmp_path}/other.conf"], [f"--config={tmp_path}/other.conf"]):
        result = scene.host.engine("status", *option)
        assert (result.status, result.stderr) == (
            3,
            f'icn-hook: {tmp_path}/other.conf:2: idle is "cut", but must be restore or isolate{NEXT_STEP}',
        )
    assert scene.host.engine("status").status == 0


# What a broken configuration still tells: which functions are cards


SALVAGED = {
    "a fault elsewhere": "[ppu]\nmatch = :6001\n[policy]\nidle = cut\n",
    "no match line": "[policy]\nidle = cut\n",
    "the same twice": "[ppu]\nmatch = :6001\nmatch = :6001\n",
    "unknown section": "[gpu]\nx = 1\n",
    "unknown key": "[ppu]\nbogus = 1\n",
    "broken line behind it": "[ppu]\nmatch = :6001\njunk\n",
}
DOUBTFUL = {
    "broken match line": "[ppu]\nmatch = 6001\n",
    "two that differ": "[ppu]\nmatch = :6001\nmatch = :6002\n",
    "misspelt key": "[ppu]\nmtach = :6002\n",
    "another case": "[ppu]\nMatch = :6002\n",
    "outside its section": "match = :6002\n",
    "a line that nobody understands": "[ppu]\nmatch :6002\n",
    "unclosed section": "[ppu\nmatch = :6002\n",
}


@pytest.mark.parametrize("case", SALVAGED)
def test_card_of_others_passes(scene, case):
    """The match line is certain, so a NIC is known to be no card."""
    nic = scene.host.add_nic()
    scene.host.configure(SALVAGED[case])
    scene.assert_nic_passes(nic)
    scene.assert_broken_briefly(3, path(scene), NEXT_STEP)


@pytest.mark.parametrize("case", DOUBTFUL)
def test_in_doubt_every_host_device_may_be_a_card(scene, case):
    nic = Domain("nic", [Hostdev(scene.host.add_nic())])
    scene.host.configure(DOUBTFUL[case])
    scene.assert_refused(3, path(scene), NEXT_STEP, domain=nic)
    scene.assert_broken_briefly(3, path(scene), NEXT_STEP)


def test_another_match_is_salvaged(scene):
    """Cards of another id, which the broken file still names."""
    scene.host.configure(f"[ppu]\nmatch = 1ded:{PPU_DEVICE:x}\n[policy]\nbogus = 1\n")
    scene.assert_broken(3, path(scene), NEXT_STEP)
    scene.host.configure("[ppu]\nmatch = :6002\n[policy]\nbogus = 1\n")
    for bdf in GUIDE_BDFS[:2]:
        (scene.host.device(bdf) / "device").write_text("0x6002\n")
    scene.assert_broken(3, path(scene), NEXT_STEP)


def test_stop_with_broken_settings_is_made_up_for(scene):
    scene.host.configure("[policy]\nidle = cut\n")
    scene.libvirt.stop("b")
    assert scene.masks() == BEFORE
    scene.host.path(CONFIG).unlink()
    scene.libvirt.watch = False
    assert scene.libvirt.start(vm("c", 2, 6)).running
    scene.libvirt.stop("c")
    assert scene.state() == ({ppu: 0 for ppu in range(8)}, {})


def test_every_value_that_is_allowed(scene):
    """The least and the largest, in every spelling of numbers."""
    scene.host.configure(
        "[ppu]\nmatch = *:6001:12xx:00\ntopology = /etc/icn-hook/icn_topo.cfg # behind a blank\n"
        "[registers]\nbackend = mmio\nbar = 0x0\nlink_config = 779138\nlink_status = 0xBE383\n"
        "stride = 0x4\ncut_bit = 1\n"
        "[ppudbg]\npath = /nowhere\ntimeout = 3600\n"
        "[policy]\nidle = restore\nfar_end = cut\non_leak = alert\nlock_timeout = 0\nstart_timeout = 0\n"
    )
    assert scene.call("prepare").status == 0
    assert scene.masks() == WITH_A
