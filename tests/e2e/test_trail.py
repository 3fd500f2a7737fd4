# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a change leaves in the log: an event for the journal, with fields; syslog where there is no journal."""

import os
import re
import socket
import subprocess
from pathlib import Path

import pytest

from libvirt_player import Libvirt
from log_sockets import JournalSocket, Listener

SOURCE = Path(__file__).resolve().parents[2]
CATALOG = SOURCE / "packaging/icn-hook.catalog"
ISOLATE = "[policy]\nidle = isolate\n"  # a repair has something to do then
# What a reader of the log relies on: these never change.
EVENTS = {
    "given": "0d985993ea894838a94d5c15613bb004",
    "verified": "b2a83edc2f7249098fde1839e0565bd0",
    "running": "0f2613372ab948caa5f7b6bb7cd12298",
    "ended": "cd84c14d00ac44d6b3c28cd7a3d1f21e",
    "refused": "c4f51677243a49a89c6f16aa1aaa9186",
    "leak": "79b9851acd334d6aa03df122678f0b4a",
    "repaired": "34556d6bb12948f59231a2eaaa500d2e",
    "reset": "c1a41f2a127345b98c5f363e8937bfae",
    "setup": "08296720b6174fb6a2613b7f5d3f041f",
    "topology": "01466678d88848f9b4166308531ba871",
    "confirmed": "985c1bb9d7ba49979c78a5733145471a",
    "probed": "d714ae709b524fd6af06f61548d4d609",
    "failed": "4f1a9f4326e24a32bd1d0254bcaf7665",
}
NAMES = {identity: name for name, identity in EVENTS.items()}


@pytest.fixture(name="journal")
def fixture_journal(host):
    journal = JournalSocket(host)
    yield journal
    journal.close()


def ends(host, masks):
    """The fields' words for link ends, from the wiring: ppu -> bits."""
    words = []
    for ppu, mask in sorted(masks.items()):
        for link, peer in sorted(host.topology.links[ppu].items()):
            if mask >> link & 1:
                words.append(f"{ppu}/{link}:{peer}")
    return " ".join(words)


def events(entries):
    return [(entry["ICN_OPERATION"], NAMES[entry["MESSAGE_ID"]]) for entry in entries]


def test_the_life_of_a_vm(host, journal):
    libvirt = Libvirt(host)
    domain = host.vm("a", 0, 1)
    libvirt.start(domain)
    cut = host.masks()
    libvirt.stop("a")
    entries = journal.entries()
    cards = f"0={host.bdfs[0]} 1={host.bdfs[1]}"
    assert events(entries) == [
        ("prepare", "given"), ("start", "verified"), ("started", "running"), ("stopped", "ended"), ("release", "ended"),
    ]
    for entry in entries:
        assert entry["ICN_VM_UUID"] == domain.uuid
        assert entry["ICN_VM_NAME"] == "a"
        assert entry["ICN_KIND"] == "vm"
        assert entry["SYSLOG_IDENTIFIER"] == "icn-hook"
        assert entry["PRIORITY"] == "5"
        assert "ICN_CALLER_UID" not in entry
    assert [entry.get("ICN_CARDS") for entry in entries] == [cards, cards, cards, cards, None]
    assert entries[0]["ICN_LINKS_CUT"] == ends(host, cut) != ""
    assert entries[3]["ICN_LINKS_OPENED"] == ends(host, cut)
    assert [sorted(field for field in entry if field.startswith("ICN_LINKS")) for entry in entries] == [
        ["ICN_LINKS_CUT"], [], [], ["ICN_LINKS_OPENED"], [],
    ]
    # The simulated host has its file all the same, with the same words.
    lines = [re.sub(r"^icn-hook\[\d+\]: ", "", line) for line in host.log().splitlines()]
    assert [entry["MESSAGE"] for entry in entries] == lines


def test_a_refusal_says_which_cards_were_wanted(host, journal):
    libvirt = Libvirt(host)
    libvirt.start(host.vm("a", 0))
    other = host.vm("b", 1, 0)
    result = host.hook("b", "prepare", other.xml())
    assert result.status == 4
    entry = journal.entries()[-1]
    assert (NAMES[entry["MESSAGE_ID"]], entry["ICN_OPERATION"], entry["PRIORITY"]) == ("refused", "prepare", "3")
    assert entry["ICN_VM_UUID"] == other.uuid
    assert entry["ICN_CARDS"] == f"1={host.bdfs[1]} 0={host.bdfs[0]}"
    assert entry["MESSAGE"] == f"vm=b op=prepare {result.stderr.rstrip()}"
    assert "ICN_LINKS_CUT" not in entry


def test_whose_end_nobody_called_is_logged_when_it_is_noticed(host, journal):
    libvirt = Libvirt(host, watch=False)
    first, second = host.vm("a", 0), host.vm("b", 4)
    libvirt.start(first)
    host.end_process(libvirt.running.pop("a").pid)
    host.remove_status("a")
    host.let_go(host.bdfs[0])
    libvirt.start(second)
    entries = journal.entries()[3:]
    assert events(entries)[:2] == [("prepare", "ended"), ("prepare", "given")]
    assert [entry["ICN_VM_UUID"] for entry in entries[:2]] == [first.uuid, second.uuid]
    assert entries[0]["ICN_CARDS"] == f"0={host.bdfs[0]}"


def test_the_lost_end_of_a_vm_that_starts_again(host, journal):
    libvirt = Libvirt(host, watch=False)
    libvirt.start(host.vm("a", 0))
    host.end_process(libvirt.running.pop("a").pid)
    host.remove_status("a")
    host.let_go(host.bdfs[0])
    libvirt.start(host.vm("a", 4))
    entries = journal.entries()[3:5]
    assert events(entries) == [("prepare", "ended"), ("prepare", "given")]
    assert [entry["ICN_CARDS"] for entry in entries] == [f"0={host.bdfs[0]}", f"4={host.bdfs[4]}"]


def test_verbs(host, journal):
    host.write("/proc/self/loginuid", "1000\n")
    assert host.engine("apply", "--name", "red", "--name", "blue", "0,1|4").status == 0
    cut = host.masks()
    assert host.engine("release", "red").status == 0
    assert host.engine("release", "red").status == 3
    assert host.engine("reset").status == 0
    host.configure(ISOLATE)
    assert host.engine("repair").status == 0
    assert host.engine("repair").status == 0  # there is nothing left to do, and so nothing to log
    entries = journal.entries()
    assert events(entries) == [
        ("apply", "given"), ("apply", "given"), ("release", "ended"), ("release", "failed"), ("reset", "ended"),
        ("reset", "reset"), ("repair", "repaired"),
    ]
    assert [entry.get("ICN_VM_NAME") for entry in entries] == ["red", "blue", "red", None, "blue", None, None]
    assert {entry["ICN_CALLER_LOGINUID"] for entry in entries} == {"1000"}
    assert {entry["ICN_CALLER_UID"] for entry in entries} == {str(os.getuid())}
    assert {entry.get("ICN_KIND") for entry in entries} == {"group", None}
    assert entries[0]["ICN_CARDS"] == f"0={host.bdfs[0]} 1={host.bdfs[1]}"
    assert entries[0]["ICN_LINKS_CUT"] == ends(host, cut)
    assert "ICN_LINKS_CUT" not in entries[1]
    assert entries[3]["PRIORITY"] == "3"
    opened = set(entries[2]["ICN_LINKS_OPENED"].split()) | set(entries[5]["ICN_LINKS_OPENED"].split())
    assert opened == set(ends(host, cut).split())


def test_nobody_logged_in(host, journal):
    host.write("/proc/self/loginuid", "4294967295\n")
    host.configure(ISOLATE)
    host.engine("repair")
    (entry,) = journal.entries()
    assert "ICN_CALLER_LOGINUID" not in entry


@pytest.mark.parametrize("verb", [["status"], ["check"], ["repair", "--dry-run"], ["apply", "--dry-run", "0"], ["doctor"]])
def test_looking_leaves_nothing(host, journal, verb):
    host.engine(*verb)
    assert journal.entries() == []
    assert host.log() == ""


def test_a_trial_of_a_card_is_cut_and_open_again(host, journal):
    assert host.engine("doctor", "--probe", "3").status in (0, 1)
    entries = journal.entries()
    assert events(entries) == [("doctor", "probed"), ("doctor", "probed")]
    cut, opened = (set(entries[0][field].split()) for field in ("ICN_LINKS_CUT", "ICN_LINKS_OPENED"))
    assert cut == opened != set()
    assert all(word.startswith("3/") for word in cut)


def test_confirm_logs_each_trial(host, journal):
    host.engine("confirm", "--wait", "0", "0")
    entries = journal.entries()
    assert set(events(entries)) == {("confirm", "confirmed")}
    tried = [entry["ICN_LINKS_CUT"] for entry in entries[:-1]]
    assert tried == [entry["ICN_LINKS_OPENED"] for entry in entries[:-1]]
    links = {tuple(sorted((int(word.split("/")[0]), int(word.split(":")[1])))) for word in tried}
    assert links == {(0, peer) for peer in host.topology.links[0].values()}
    assert "ICN_LINKS_CUT" not in entries[-1]


def test_a_write_that_failed_is_not_called_a_cut(host, journal):
    """Card 6 has no register file: its end of the link cannot be cut."""
    host.hardware.resource(host.bdfs[6]).unlink()
    domain = host.vm("a", 0)
    host.hook("a", "prepare", domain.xml())
    (entry,) = [entry for entry in journal.entries() if NAMES[entry["MESSAGE_ID"]] == "given"]
    assert not any(word.startswith("6/") for word in entry["ICN_LINKS_CUT"].split())
    assert any(word.startswith("0/") and word.endswith(":6") for word in entry["ICN_LINKS_CUT"].split())


# Where the journal is missing, or does not take it


def syslog_line(data):
    """(priority, the text), of a line as RFC 3164 has it."""
    found = re.fullmatch(rb"<(\d+)>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d icn-hook\[\d+\]: (.*)", data)
    assert found, data
    return int(found[1]), found[2].decode()


def test_syslog_without_a_journal(host):
    syslog = Listener(host, "/dev/log")
    assert host.engine("apply", "--name", "red", "0").status == 0
    (line,) = syslog.close()
    priority, text = syslog_line(line)
    assert priority == 3 << 3 | 5
    assert text.startswith("verb=apply 0; cut: 0:0x00000000>0x")


def test_syslog_at_a_stream(host):
    path = host.path("/dev/log")
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        assert host.engine("apply", "--name", "red", "0").status == 0
        connection, _ = listener.accept()
        with connection:
            data = connection.recv(65536)
    assert data.endswith(b"\0")
    assert syslog_line(data[:-1])[1].startswith("verb=apply 0; cut: ")


def full_socket(path):
    """A socket that nobody reads, with a queue that takes nothing more; what fills it stays open."""
    path.parent.mkdir(parents=True, exist_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(path))
    filler = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    filler.setblocking(False)
    with pytest.raises(BlockingIOError):
        while True:
            filler.sendto(b"x", str(path))
    return listener, filler


@pytest.mark.parametrize("both", [False, True], ids=["journal", "journal and syslog"])
def test_a_log_that_takes_nothing_holds_up_nobody(host, both):
    sockets = [full_socket(host.path("/run/systemd/journal/socket"))]
    syslog = None
    if both:
        sockets.append(full_socket(host.path("/dev/log")))
    else:
        syslog = Listener(host, "/dev/log")
    domain = host.vm("a", 0)
    result = host.run_in_daemon([host.hook_program, "a", "prepare", "begin", "-"], domain.xml(), timeout=20)
    assert (result.status, result.stderr) == (0, "")
    if syslog:
        lines = [syslog_line(line)[1] for line in syslog.close()]
        assert len(lines) == 1 and lines[0].startswith("vm=a op=prepare isolated; cut: ")
    for listener, filler in sockets:
        listener.close()
        filler.close()


def test_a_journal_that_nobody_listens_at(host):
    """What a killed journald leaves behind."""
    path = host.path("/run/systemd/journal/socket")
    path.parent.mkdir(parents=True)
    left = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    left.bind(str(path))
    left.close()
    syslog = Listener(host, "/dev/log")
    assert host.engine("apply", "0").status == 0
    assert len(syslog.close()) == 1


# The catalog


def catalog_entries():
    return dict(re.findall(r"^-- ([0-9a-f]{32})\nSubject: (.+)$", CATALOG.read_text(), re.M))


def test_the_catalog_explains_every_event_and_no_other():
    source = (SOURCE / "src/base/log.c").read_text()
    in_source = re.findall(r'\] = "([0-9a-f]{32})"', source)
    assert sorted(in_source) == sorted(EVENTS.values())
    assert len(set(in_source)) == len(in_source)
    assert set(catalog_entries()) == set(in_source)


def test_the_catalog_is_one_for_journalctl(tmp_path):
    database = tmp_path / "var/lib/systemd/catalog"
    database.mkdir(parents=True)
    target = tmp_path / "usr/lib/systemd/catalog/icn-hook.catalog"
    target.parent.mkdir(parents=True)
    target.write_text(CATALOG.read_text())
    subprocess.run(["journalctl", f"--root={tmp_path}", "--update-catalog"], check=True)
    listed = subprocess.run(
        ["journalctl", f"--root={tmp_path}", "--list-catalog"], check=True, capture_output=True, text=True
    ).stdout
    found = dict(re.findall(r"^([0-9a-f]{32}) icn-hook: (.+)$", listed, re.M))
    assert found == catalog_entries()
