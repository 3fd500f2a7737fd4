# SPDX-License-Identifier: LGPL-2.1-or-later
"""Hooks of several domains at the same moment, as libvirt calls them."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from domain_xml import INACTIVE, LIVE, PREPARE, Domain, Hostdev
from faults import SAMPLE
from simhost import SimHost

CARDS = 64
DOMAINS = 32
MANY_ROUNDS = max(2, 6 // SAMPLE)
PAIR_ROUNDS = max(5, 50 // SAMPLE)
ENDING = {"stopped", "release"}


@pytest.fixture(name="host")
def fixture_host(tmp_path):
    host = SimHost(tmp_path / "host", cards=CARDS)
    host.configure("[policy]\nlock_timeout = 120\n")
    return host


def vm(host, name, *ppus):
    return Domain(name, [Hostdev(host.bdfs[ppu]) for ppu in ppus])


def nothing_cut(host):
    return {ppu: 0 for ppu in range(len(host.bdfs))}


def all_at_once(host, calls):
    """CALLS: (domain, operation).  Every hook is started at the same moment."""
    gate = Barrier(len(calls))

    def run(call):
        domain, operation = call
        xml = domain.xml(INACTIVE if operation in ENDING else LIVE if operation == "start" else PREPARE)
        gate.wait()
        return host.hook(domain.name, operation, xml)

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def all_pass(host, domains, operation):
    results = all_at_once(host, [(domain, operation) for domain in domains])
    assert {(result.status, result.stderr) for result in results} == {(0, "")}


def test_many_domains(host):
    """Neighbours on the ring belong to different domains: each start writes into
    registers that two others write."""
    domains = [vm(host, f"vm{index}", index, index + DOMAINS) for index in range(DOMAINS)]
    owners = {ppu: {domain.uuid} for index, domain in enumerate(domains) for ppu in (index, index + DOMAINS)}
    for _ in range(MANY_ROUNDS):
        all_pass(host, domains, "prepare")
        assert host.masks() == host.topology.required_masks(owners)
        assert set(host.claim_files()) == {f"{domain.uuid}.json" for domain in domains}
        all_pass(host, domains, "start")
        assert host.masks() == host.topology.required_masks(owners)
        all_pass(host, domains, "stopped")
        all_pass(host, domains, "release")
        assert (host.masks(), host.claim_files()) == (nothing_cut(host), {})


def test_two_want_the_same_card(host):
    """Exactly one gets it, and the other is told who."""
    domains = [vm(host, "first", 0, 1), vm(host, "second", 1, 2)]
    for _ in range(PAIR_ROUNDS):
        results = all_at_once(host, [(domain, "prepare") for domain in domains])
        assert sorted(result.status for result in results) == [0, 4]
        winner, loser = sorted((0, 1), key=lambda index: results[index].status)
        assert results[winner].stderr == ""
        message = results[loser].stderr
        assert message.count("\n") == 1
        for words in (f"VM '{domains[loser].name}'", f"VM '{domains[winner].name}'", "PPU 1", host.bdfs[1]):
            assert words in message
        ppus = (0, 1) if winner == 0 else (1, 2)
        assert host.masks() == host.topology.required_masks({ppu: {domains[winner].uuid} for ppu in ppus})
        assert list(host.claims()) == [f"{domains[winner].uuid}.json"]
        # libvirt ends the loser's start, and the winner's VM stops, at once.
        all_pass(host, domains, "stopped")
        all_pass(host, domains, "release")
        assert (host.masks(), host.claim_files()) == (nothing_cut(host), {})


def test_start_against_stop(host):
    """One VM starts while the one beside it stops: the order decides nothing."""
    stays, leaves, comes = vm(host, "stays", 0), vm(host, "leaves", 1, 2), vm(host, "comes", 3, 4)
    all_pass(host, [stays], "prepare")
    for _ in range(PAIR_ROUNDS):
        all_pass(host, [leaves], "prepare")
        results = all_at_once(host, [(comes, "prepare"), (leaves, "stopped")])
        assert {(result.status, result.stderr) for result in results} == {(0, "")}
        both = {0: {"stays"}, 3: {"comes"}, 4: {"comes"}}
        assert host.masks() == host.topology.required_masks(both)
        results = all_at_once(host, [(comes, "stopped"), (leaves, "release")])
        assert {(result.status, result.stderr) for result in results} == {(0, "")}
        all_pass(host, [comes], "release")
        assert host.masks() == host.topology.required_masks({0: {"stays"}})
        assert list(host.claims()) == [f"{stays.uuid}.json"]


def test_card_that_changes_hands(host):
    """The next owner's start meets the last one's stop: it gets the card, or is told
    who has it; then it starts again."""
    leaves, comes = vm(host, "leaves", 1, 2), vm(host, "comes", 2, 3)
    for _ in range(PAIR_ROUNDS):
        all_pass(host, [leaves], "prepare")
        start, stop = all_at_once(host, [(comes, "prepare"), (leaves, "stopped")])
        assert (stop.status, stop.stderr) == (0, "")
        assert start.status in (0, 4)
        assert start.status == 0 or "VM 'leaves'" in start.stderr
        all_pass(host, [leaves], "release")
        if start.status != 0:
            all_pass(host, [comes], "stopped")
            all_pass(host, [comes], "release")
            assert host.masks() == nothing_cut(host)
            all_pass(host, [comes], "prepare")
        assert host.masks() == host.topology.required_masks({2: {"comes"}, 3: {"comes"}})
        all_pass(host, [comes], "stopped")
        all_pass(host, [comes], "release")
        assert (host.masks(), host.claim_files()) == (nothing_cut(host), {})
