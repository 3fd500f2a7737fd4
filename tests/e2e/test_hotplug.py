# SPDX-License-Identifier: LGPL-2.1-or-later
"""attach and detach: cards for a VM that runs, with a libvirt that refuses, hangs or ends."""

import subprocess

import pytest

import libvirt_by_socket
from bystander import vm
from errors import assert_error
from libvirt_by_socket import Daemon
from simhost import GUIDE_BDFS
from test_groups import groups_of
from test_manual import IDLE, apply, card_text, cards, fine, required
from test_run import wait_until

RESERVED = "attach-a-6"
REFUSED = "9 internal error: unable to execute QEMU command 'device_add': no room"
REFUSED_TEXT = "libvirt (qemu:///system): internal error: unable to execute QEMU command 'device_add': no room"
UNKNOWN = (
    f"; it is not known whether it will be, so the card stays isolated as '{RESERVED}' until libvirt's status file lists "
    "it; call attach or detach again when libvirt answers"
)


@pytest.fixture(name="library", scope="session")
def fixture_library(tmp_path_factory):
    return libvirt_by_socket.build(tmp_path_factory.mktemp("libvirt"))


@pytest.fixture(name="daemon")
def fixture_daemon(host, library):
    """VM a runs with the cards 0 and 1."""
    daemon = Daemon(host, library)
    assert daemon.libvirt.start(vm("a", 0, 1)).running
    yield daemon
    daemon.close()


def as_before(daemon):
    """a has its two cards, and nobody else has any."""
    host = daemon.host
    assert host.masks() == required(host, [0, 1])
    assert [claim["name"] for claim in host.claims().values()] == ["a"]
    assert [sorted(card["bdf"] for card in claim["cards"]) for claim in host.claims().values()] == [
        sorted(GUIDE_BDFS[:2])
    ]


def with_6(daemon):
    """a has card 6 too; its link to card 0 stays cut, at both ends."""
    host = daemon.host
    assert host.masks() == required(host, [0, 1], [6])
    [claim] = host.claims().values()
    assert (claim["name"], sorted(card["bdf"] for card in claim["cards"])) == (
        "a", sorted([*GUIDE_BDFS[:2], GUIDE_BDFS[6]])
    )


def refused(daemon, status, line, *arguments):
    result = daemon.engine(*arguments)
    assert_error(result, status, line, json=False)


# The usual way


def test_there_and_back(daemon):
    host = daemon.host
    result = fine(daemon.engine("attach", "a", "6"))
    assert result.stdout.decode() == (
        f"{card_text(6)} is attached to VM 'a'\n"
        "the links between these and the VM's PPU 0 stay cut until its next start: its guest has the registers\n"
    )
    with_6(daemon)
    assert "verb=attach a; cut:" in host.log()
    result = fine(daemon.engine("detach", "a", "6"))
    assert result.stdout.decode() == f"{card_text(6)} is detached from VM 'a'\n"
    as_before(daemon)
    assert daemon.calls == [("attach", 6), ("detach", 6)]
    daemon.libvirt.stop("a")
    assert (host.masks(), host.claims()) == (IDLE, {})


@pytest.mark.parametrize("driver", ["vfio-pci", None])
def test_what_was_read_back_is_evidence(daemon, driver):
    """A card without a driver is bound first, and stays so."""
    host = daemon.host
    host.set_driver(GUIDE_BDFS[6], driver)
    fine(daemon.engine("attach", "a", "6"))
    assert host.engine("check").status == 0
    assert {finding["code"] for finding in host.engine("check", "--json").json()["findings"]} == set()
    assert list(daemon.taken) == ([] if driver else [GUIDE_BDFS[6]])
    fine(daemon.engine("detach", "a", "6"))
    assert host.driver(GUIDE_BDFS[6]) == "vfio-pci"


def test_a_binding_that_loses_the_mask(daemon):
    """It is cut again before libvirt is asked to attach it."""
    host = daemon.host
    host.set_driver(GUIDE_BDFS[6], None)
    seen = []
    daemon.before["take"] = lambda bdf: host.set_masks({6: 0})
    daemon.before["attach"] = lambda bdf: seen.append(host.masks())
    fine(daemon.engine("attach", "a", "6"))
    assert seen == [required(host, [0, 1], [6])]


def test_a_card_that_cannot_be_bound_before(daemon):
    """libvirt may attach it all the same; that it was not read back after that is said."""
    daemon.before["take"] = lambda bdf: f"{REFUSED.split(' ', 1)[0]} internal error: no node devices here"
    said = fine(daemon.engine("attach", "a", "6")).stdout.decode()
    assert said.endswith(
        f"warning: {card_text(6)} is bound to vfio-pci only when it is attached, so `check` ends with 7 until the VM's "
        "next start: libvirt (qemu:///system): internal error: no node devices here\n"
    )
    with_6(daemon)
    assert daemon.host.engine("check").status == 7


def test_a_refused_card_goes_back(daemon):
    daemon.before["attach"] = lambda bdf: REFUSED
    assert daemon.engine("attach", "a", "4", "6").status == 5
    assert (daemon.host.driver(GUIDE_BDFS[6]), daemon.taken) == (None, {})
    as_before(daemon)
    daemon.before["return"] = lambda bdf: REFUSED
    result = daemon.engine("attach", "a", "6")
    assert result.status == 5 and f"; {card_text(6)} stays on vfio-pci: {REFUSED_TEXT}" in result.stderr
    as_before(daemon)


def test_the_cut_is_there_before_libvirt_is_asked(daemon):
    host = daemon.host
    seen = []
    daemon.before["attach"] = lambda bdf: seen.append((host.masks(), groups_of(host)))
    fine(daemon.engine("attach", "a", "6"))
    assert seen == [(required(host, [0, 1], [6]), {RESERVED: [6]})]


def test_stop_with_the_card(daemon):
    fine(daemon.engine("attach", "a", "6"))
    daemon.libvirt.stop("a")
    assert (daemon.host.masks(), daemon.host.claims()) == (IDLE, {})


def test_json(daemon):
    found = fine(daemon.engine("attach", "a", "6", GUIDE_BDFS[7], "--json")).json()
    writes = found.pop("writes")
    uuid = vm("a").uuid
    assert found == {
        "schema": "icn-hook/attach/1", "vm": {"name": "a", "uuid": uuid}, "ppus": cards([6, 7]), "warnings": [],
    }
    assert (6, 7) == tuple(write["ppu"] for write in writes if write["from"] == "0x00000001")
    assert daemon.host.masks() == required(daemon.host, [0, 1], [6], [7])
    found = fine(daemon.engine("detach", "a", "6-7", "--json")).json()
    assert (found["schema"], found["ppus"]) == ("icn-hook/detach/1", cards([6, 7]))
    as_before(daemon)


# What is refused before anything is done


def test_bad_input(daemon):
    host = daemon.host
    assert daemon.libvirt.start(vm("b", 2)).running
    apply(host, "3", "--name", "red")
    daemon.shut_off["off"] = vm("off", 4)
    host.remove_function(GUIDE_BDFS[5])
    before = host.masks(), host.claims()
    shut_off = "VM 'off' is shut off; give it cards in its configuration (virsh edit)"
    for verb in ("attach", "detach"):
        refused(daemon, 3, "there is no VM 'x' (libvirt, qemu:///system)", verb, "x", "6")
        refused(daemon, 3, shut_off, verb, "off", "6")
        refused(daemon, 3, "LIST, column 1: '8' is not a card of this host: its ids are 0 to 7", verb, "a", "8")
        refused(daemon, 2, f"'{verb}' needs arguments: VM CARD...; see icn-hook help {verb}", verb, "a")
        refused(daemon, 2, f"the cards are for one VM: '6|7'; see icn-hook help {verb}", verb, "a", "6|7")
    refused(daemon, 3, f"VM 'a' gets no card: VM 'a' has {card_text(1)} already", "attach", "a", "6", "1")
    line = (
        f"VM 'a' gets no card: {card_text(2)} is owned by VM 'b' ({vm('b').uuid}), which runs; stop that VM or choose "
        "another card"
    )
    refused(daemon, 4, line, "attach", "a", "6", "2")
    line = (
        f"VM 'a' gets no card: {card_text(3)} is in the group 'red', which was isolated by hand; end that with `icn-hook "
        "release red`, or choose another card"
    )
    refused(daemon, 4, line, "attach", "a", "3")
    line = f"VM 'a' gets no card: {card_text(5)} is not on the PCI bus; see dmesg, rescan the bus or choose another card"
    refused(daemon, 5, line, "attach", "a", "5")
    refused(daemon, 3, f"VM 'a' does not have {card_text(2)} (b)", "detach", "a", "0", "2")
    refused(daemon, 3, f"VM 'a' does not have {card_text(6)} (idle)", "detach", "a", "6")
    assert (host.masks(), host.claims(), daemon.calls) == (before[0], before[1], [])


def test_a_card_of_the_hosts_driver(daemon):
    """Its links cannot be cut before the VM has it."""
    daemon.host.load_driver(GUIDE_BDFS[6])
    result = daemon.engine("attach", "a", "6")
    assert result.status == 5 and result.stderr.startswith(f"icn-hook: VM 'a' gets no card: {card_text(6)}: ")
    as_before(daemon)
    assert daemon.calls == []


def test_without_a_status_file(daemon):
    daemon.host.status_path("a").rename(daemon.host.root / "away")
    result = daemon.engine("attach", "a", "6")
    assert result.status == 3
    assert "libvirt's status file of VM 'a' is missing or cannot be used" in result.stderr
    assert daemon.calls == []


# libvirt refuses


def test_refused_by_libvirt(daemon):
    daemon.before["attach"] = lambda bdf: REFUSED
    refused(daemon, 5, f"{card_text(6)} is not attached to VM 'a': {REFUSED_TEXT}; no card was attached", "attach", "a", "6")
    as_before(daemon)


def test_undone_in_reverse(daemon):
    daemon.before["attach"] = lambda bdf: REFUSED if bdf == GUIDE_BDFS[7] else None
    line = f"{card_text(7)} is not attached to VM 'a': {REFUSED_TEXT}; no card was attached"
    refused(daemon, 5, line, "attach", "a", "4", "6", "7")
    assert daemon.calls == [("attach", 4), ("attach", 6), ("attach", 7), ("detach", 6), ("detach", 4)]
    as_before(daemon)


def test_undo_that_libvirt_refuses(daemon):
    """The card that stays with the VM stays isolated, and is the VM's."""
    daemon.before["attach"] = lambda bdf: REFUSED if bdf == GUIDE_BDFS[7] else None
    daemon.before["detach"] = lambda bdf: REFUSED
    result = daemon.engine("attach", "a", "6", "7")
    assert result.status == 5 and f"; {card_text(6)} is not detached from VM 'a': " in result.stderr
    with_6(daemon)
    del daemon.before["detach"]
    fine(daemon.engine("detach", "a", "6"))
    as_before(daemon)


def test_detach_refused_by_libvirt(daemon):
    fine(daemon.engine("attach", "a", "6"))
    daemon.before["detach"] = lambda bdf: REFUSED
    refused(daemon, 5, f"{card_text(6)} is not detached from VM 'a': {REFUSED_TEXT}", "detach", "a", "6")
    with_6(daemon)


# No answer


def reserved(daemon):
    """Nobody knows yet whether a gets card 6."""
    host = daemon.host
    assert host.masks() == required(host, [0, 1], [6])
    assert groups_of(host) == {RESERVED: [6]}
    host.engine("repair")
    assert groups_of(host) == {RESERVED: [6]}


@pytest.fixture(name="unanswered", params=["hang", "die"])
def fixture_unanswered(request, daemon):
    daemon.before["attach"] = lambda bdf: request.param
    result = daemon.engine("attach", "a", "6", "--wait", "2" if request.param == "hang" else "30")
    reason = {"hang": "did not answer within ", "die": "End of file while reading data: Input/output error"}[request.param]
    assert result.stderr.count("\n") == 1 and reason in result.stderr and result.stderr.endswith(UNKNOWN + "\n")
    assert result.status == (6 if request.param == "hang" else 5)
    reserved(daemon)
    daemon.before.clear()
    return daemon


def test_libvirt_attaches_it_later(unanswered):
    """The status file lists the card then, and the reservation is over."""
    unanswered.attach("a", GUIDE_BDFS[6])
    assert unanswered.host.engine("repair").status in (0, 7)
    with_6(unanswered)


def test_the_same_again(unanswered):
    fine(unanswered.engine("attach", "a", "6"))
    with_6(unanswered)


def test_detach_settles_it(unanswered):
    fine(unanswered.engine("detach", "a", "6"))
    as_before(unanswered)


def test_release_settles_it(unanswered):
    fine(unanswered.host.engine("release", RESERVED))
    as_before(unanswered)


def test_it_ends_by_itself(unanswered):
    unanswered.host.configure("[policy]\nstart_timeout = 1\n")
    wait_until(lambda: unanswered.host.engine("repair").status == 0 and not groups_of(unanswered.host))
    as_before(unanswered)


def test_the_daemon_ends_after_it_attached(daemon):
    daemon.before["attach"] = lambda bdf: daemon.attach("a", bdf) and Daemon.DIE
    fine(daemon.engine("attach", "a", "6"))
    with_6(daemon)


def test_not_reachable(daemon):
    daemon.environment["ICN_TEST_LIBVIRT"] = "/no/such/socket"
    refused(daemon, 5, "libvirt (qemu:///system): Failed to connect socket to '/no/such/socket'", "attach", "a", "6")
    as_before(daemon)


def test_killed_while_libvirt_works(daemon):
    daemon.before["attach"] = lambda bdf: Daemon.HANG
    words = [str(daemon.host.engine_program), "attach", "a", "6"]
    environment = daemon.host.environment(**daemon.environment)
    with subprocess.Popen(words, env=environment, cwd="/") as process:
        wait_until(lambda: daemon.calls)
        refused(daemon, 4, f"the group '{RESERVED}' lasts as long as process {process.pid}, for which icn-hook made it; "
                           "end that process", "release", RESERVED)
        process.kill()
    reserved(daemon)
    daemon.before.clear()
    fine(daemon.engine("attach", "a", "6"))
    with_6(daemon)


# The guest


def test_a_guest_that_does_not_let_go(daemon):
    fine(daemon.engine("attach", "a", "6"))
    daemon.before["detach"] = lambda bdf: "0 "
    line = (
        f"the guest of VM 'a' has not let {card_text(6)} go; it has the card still, isolated, and when it lets go the next "
        "hook or `icn-hook repair` restores the links"
    )
    refused(daemon, 6, line, "detach", "a", "6", "--wait", "0.5")
    with_6(daemon)
    daemon.detach("a", GUIDE_BDFS[6])
    fine(daemon.host.engine("repair"))
    as_before(daemon)


def test_the_vm_ends_meanwhile(daemon):
    def end(bdf):
        running = daemon.libvirt.running.pop("a")
        daemon.libvirt._qemu_ends(running)  # pylint: disable=protected-access
        daemon.host.remove_status("a")
        return REFUSED

    daemon.before["attach"] = end
    assert daemon.engine("attach", "a", "6").status == 5
    assert groups_of(daemon.host) == {}
    fine(daemon.host.engine("repair"))
    assert (daemon.host.masks(), daemon.host.claims()) == (IDLE, {})
