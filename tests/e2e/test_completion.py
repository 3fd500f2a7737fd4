# SPDX-License-Identifier: LGPL-2.1-or-later
"""Completion at a real bash and a real zsh: every word that is offered."""

import os

import pytest

from bystander import vm
from interactive_shell import InteractiveShell
from libvirt_player import Libvirt
from simhost import GUIDE_BDFS, SimHost

VERBS = ["plan", "status", "check", "explain", "topo", "suggest", "doctor", "setup", "apply", "release", "run", "attach", "detach", "reset", "repair", "confirm", "history", "help"]
CARDS = [word for ppu, bdf in enumerate(GUIDE_BDFS) for word in (str(ppu), bdf)]
NAMES = ["web1", "web\\&2", "red", "rot"]
EVERYWHERE = ["--json", "--config", "--color", "--verbose", "--help", "--version"]
ON_ALL = ["--vm_devices", "--check_devices", "--reset", "--gen_topo"]

VIRSH = """#!/bin/sh
echo "$*" >>"$VIRSH_CALLS"
echo vm1
echo vm2
echo
"""


def cards_behind(before, *given):
    return [before + card for card in CARDS if card not in given]


# What both shells offer for a line.
BOTH = {
    "icn-hook ": VERBS,
    "icn-hook s": ["status", "suggest", "setup"],
    "FOO=1 icn-hook st": ["status"],
    "true | icn-hook st": ["status"],
    "icn-hook help re": ["release", "reset", "repair"],
    "icn-hook frobnicate ": [],
    "icn-hook status ": [*CARDS, *NAMES],
    "icn-hook status web1 r": ["red", "rot"],
    "icn-hook topo 0 0001:c": ["0001:ce:00.0"],
    "icn-hook suggest 2 ": [],
    "icn-hook suggest ": [],
    "icn-hook --json rel": ["release"],
    "icn-hook --color al": ["always"],
    "icn-hook status --color ": ["auto", "always", "never"],
    "icn-hook suggest --numa ": ["0", "1"],
    "icn-hook status -c ": ["qemu:///system"],
    "icn-hook status --connect q": ["qemu:///system"],
    "icn-hook check ": [*CARDS, *NAMES],
    "icn-hook check we": ["web1", "web\\&2"],
    "icn-hook check red 0000:7": ["0000:7e:00.0"],
    "icn-hook check red w": ["web1", "web\\&2"],
    "icn-hook check --q": ["--quiet"],
    "icn-hook check 0,": cards_behind("0,", "0"),
    "icn-hook check 0000:08:00.0,0000:7e:00.0,0000:a": ["0000:08:00.0,0000:7e:00.0,0000:a2:00.0"],
    "icn-hook apply 4,5 ": [],
    "icn-hook --vm_devices 7,": cards_behind("7,", "7"),
    "icn-hook --check_devices 0001:c": ["0001:ce:00.0"],
    "icn-hook doctor --probe 0000:7": ["0000:7e:00.0"],
    "icn-hook explain we": ["web1", "web\\&2"],
    "icn-hook explain ": [*CARDS, *NAMES],
    "icn-hook explain 4 ro": ["rot"],
    "icn-hook explain red 0-0001:a": ["0-0001:aa:00.0"],
    "icn-hook explain 0-0001:a": ["0-0001:aa:00.0"],
    "icn-hook release ": ["red", "rot"],
    "icn-hook release ro": ["rot"],
    "icn-hook plan --domain ": ["vm1", "vm2"],
    "icn-hook apply --name ": [],
    "icn-hook attach ": ["vm1", "vm2"],
    "icn-hook attach vm1 0000:7": ["0000:7e:00.0"],
    "icn-hook detach vm1 0 0001:c": ["0001:ce:00.0"],
    "icn-hook run 0,": cards_behind("0,", "0"),
    "icn-hook topo --validate /etc/icn/": ["/etc/icn/one.cfg", "/etc/icn/two.cfg"],
    "icn-hook setup --map /etc/icn/t": ["/etc/icn/two.cfg"],
    "icn-hook plan /etc/icn/o": ["/etc/icn/one.cfg"],
    "icn-hook --dry-run /etc/icn/o": ["/etc/icn/one.cfg"],
    "icn-hook status -o /etc/icn/t": ["/etc/icn/two.cfg"],
    "icn-hook doctor --verb": ["--verbose"],
    "icn-hook reset --f": ["--force"],
    "icn-hook -r --f": ["--force"],
    "icn-hook -g --do": ["--dot"],
    "icn-hook --vm_devices 0 --dr": ["--dry-run"],
    "icn-hook check --f": [],
    "icn-hook history --since y": ["yesterday"],
    "icn-hook history --until t": ["today"],
    "icn-hook history we": ["web1", "web\\&2"],
}

# readline replaces what stands behind a sign or colon, and repeats only that.
ONLY_BASH = {
    "icn-hook status --": [*EVERYWHERE, "--no-header", "--connect", "--prometheus", "--output"],
    "icn-hook reset --": [*EVERYWHERE, "--dry-run", "--force", "--isolate"],
    "icn-hook -r --": [*EVERYWHERE, "--dry-run", "--force", "--isolate"],
    "icn-hook release -": [*EVERYWHERE, "--dry-run", "--if-exists"],
    "icn-hook --": None,
    "icn-hook check 1,0000:08:00.0,2,": [
        "1,0000:08:00.0,2,0",
        *cards_behind("00.0,2,", "0", "1", "2", "0000:08:00.0"),
    ],
    "icn-hook --color=a": ["--color=auto", "always"],
    "icn-hook --config=/etc/icn/o": ["--config=/etc/icn/one.cfg"],
    # Behind a quotation mark that is open readline leaves the mark away.
    'icn-hook check "0,1|0000:7': ["0,1|0000:7e:00.0"],
    "icn-hook check '4|0001:c": ["4|0001:ce:00.0"],
    "icn-hook check 0\\|0000:7": ["0\\|0000:7e:00.0"],
}
ONLY_ZSH = {
    "icn-hook check 1,0000:08:00.0,2,": cards_behind("1,0000:08:00.0,2,", "1", "2", "0000:08:00.0"),
    "icn-hook suggest --n": ["--numa="],
    "icn-hook --color=a": ["--color=auto", "--color=always"],
    "icn-hook --config=/etc/icn/o": ["--config=/etc/icn/one.cfg"],
    'icn-hook check "0,1|0000:7': ['"0,1|0000:7e:00.0'],
    "icn-hook check '4|0001:c": ["'4|0001:ce:00.0"],
    "icn-hook check 0\\|0000:7": ["0\\|0000:7e:00.0"],
}


@pytest.fixture(name="surroundings", scope="module")
def fixture_surroundings(tmp_path_factory):
    """A host on which the and the environment of a shell on it."""
    root = tmp_path_factory.mktemp("completion")
    host = SimHost(root / "host")
    libvirt = Libvirt(host)
    assert libvirt.start(vm("web1", 0, 1)).running and libvirt.start(vm("web&2", 6)).running
    assert host.engine("apply", "--name", "red", "--name", "rot", "4|5").status == 0
    (root / "icn").mkdir()
    for name in ("one.cfg", "two.cfg"):
        (root / "icn" / name).write_text("")
    (root / "bin").mkdir()
    (root / "bin/virsh").write_text(VIRSH)
    (root / "bin/virsh").chmod(0o755)
    environment = host.environment(
        PATH=f"{host.build_dir}:{root / 'bin'}:/usr/bin:/bin", TERM="dumb", LC_ALL="C.UTF-8", HOME=str(root),
        VIRSH_CALLS=str(root / "calls"),
    )
    return root, environment


def run_cases(surroundings, shell, cases, order):
    root, environment = surroundings
    opened = shell(environment)
    files = str(root / "icn")
    try:
        found = {line: opened.offers(line.replace("/etc/icn", files)) for line in cases}
    finally:
        opened.close()
    for line, words in cases.items():
        if words is not None:
            wanted = [word.replace("/etc/icn", files) for word in words]
            assert order(found[line]) == order(wanted), line
    return found


def test_bash(surroundings):
    found = run_cases(surroundings, InteractiveShell.bash, BOTH | ONLY_BASH, sorted)
    every = found["icn-hook --"]
    assert every[: len(EVERYWHERE)] == EVERYWHERE and every[-len(ON_ALL) :] == ON_ALL


def test_zsh(surroundings):
    run_cases(surroundings, InteractiveShell.zsh, BOTH | ONLY_ZSH, sorted)


@pytest.mark.parametrize("shell", [InteractiveShell.bash, InteractiveShell.zsh])
def test_virsh_is_asked_as_icn_hook_would(surroundings, shell):
    root, _ = surroundings
    (root / "calls").unlink(missing_ok=True)
    run_cases(surroundings, shell, {"icn-hook doctor -c test:///default --domain ": ["vm1", "vm2"]}, sorted)
    assert (root / "calls").read_text() == "-r -q -c test:///default list --all --name\n"


@pytest.mark.parametrize("shell", [InteractiveShell.bash, InteractiveShell.zsh])
def test_the_configuration_on_the_line_counts(surroundings, shell):
    root, environment = surroundings
    pinned = root / "pinned.conf"
    pinned.write_text("[map]\n" + "".join(f"{ppu} = {bdf}\n" for ppu, bdf in enumerate(GUIDE_BDFS)))
    assert shell(environment).offers(f"icn-hook --config {root}/none.conf doctor --probe ") == []
    line = f"icn-hook --config {pinned} doctor --probe "
    found = run_cases(surroundings, shell, {line: None}, sorted)[line]
    assert found[:2] == ["0", GUIDE_BDFS[0]]


# What the shells ask


def complete(host, kind, *arguments):
    result = host.engine("complete", kind, *arguments)
    assert (result.status, result.stderr) == (0, "")
    return [line.split("\t") for line in result.stdout.decode().splitlines()]


def test_a_group_made_by_hand(host):
    assert host.engine("apply", "--name", "red", "2,3").status == 0
    Libvirt(host).start(vm("a", 0))
    assert complete(host, "groups") == [["red", "-", "group, 2 cards"]]
    assert sorted(complete(host, "names")) == [["a", "-", "VM, 1 card"], ["red", "-", "group, 2 cards"]]
    assert complete(host, "cards")[4:6] == [["2", "-", f"{GUIDE_BDFS[2]}, red"], [GUIDE_BDFS[2], "-", "PPU 2, red"]]


def test_nothing_can_be_looked_at(host):
    host.path("/etc/icn-hook/icn_topo.cfg").unlink()
    for kind in ("cards", "names", "groups", "nodes", "frobnicate", ""):
        assert complete(host, kind) == []
    host.configure("broken")
    for kind in ("cards", "names", "groups", "nodes"):
        assert complete(host, kind) == []
    assert complete(host, "cards", "--config", "/nowhere") == []


def test_a_state_that_is_not_ours(host):
    """As for an ordinary user: the cards are offered, their owners are not known."""
    host.path("/run/icn-hook").mkdir(mode=0o777)
    os.chmod(host.path("/run/icn-hook"), 0o777)
    assert complete(host, "cards")[:2] == [["0", "-", GUIDE_BDFS[0]], [GUIDE_BDFS[0], "-", "PPU 0"]]
    assert complete(host, "names") == []


def test_a_card_that_is_absent(host):
    host.pin_ids()
    host.remove_function(GUIDE_BDFS[0])
    assert complete(host, "cards")[0] == ["1", "-", f"{GUIDE_BDFS[1]}, idle"]
