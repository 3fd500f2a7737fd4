# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whatever the cards are called and however they are joined: what `setup` makes of the
vendor's answers keeps tenants apart, at every single write.

One permutation: a machine with random ids, `icn-hook setup --from`, then a VM and its end,
in each fifth two VMs.  The oracle knows the cables and nothing else.  ICN_TEST_SAMPLE=N: an
N-th of the thousand.
"""

import os
import random

import pytest

import answers
from domain_xml import INACTIVE, LIVE, PREPARE, Domain, Hostdev
from libvirt_player import Libvirt
from simhost import MAP_FILE, SimHost
from wiring import Wiring, published_16

PERMUTATIONS = 1000 // int(os.environ.get("ICN_TEST_SAMPLE", "1"))
PARTS = 10


def machine(dice, index):
    """Three of four are the published machine with other ids; the fourth has other cables."""
    published = published_16()
    return Wiring.random(dice, published.cards) if index % 4 == 3 else published.permuted(dice)


def tenants(dice, bdfs):
    """Two VMs with one to five cards each."""
    cards = dice.sample(bdfs, len(bdfs))
    first, second = dice.randint(1, 5), dice.randint(1, 5)
    return Domain("a", [Hostdev(bdf) for bdf in cards[:first]]), Domain(
        "b", [Hostdev(bdf) for bdf in cards[first : first + second]]
    )


def set_up(host, source):
    result = host.engine("setup", "--from", source)
    assert result.status == 0, result


def let_through(libvirt, domain):
    """The part of a start in which links are cut."""
    assert libvirt.call(domain, "prepare", PREPARE).status == 0, libvirt.calls[-1]
    for device in domain.devices:
        libvirt.host.set_driver(device.bdf, "vfio-pci")
    assert libvirt.call(domain, "start", LIVE).status == 0, libvirt.calls[-1]
    libvirt.let_through[domain.uuid] = libvirt.ppus(domain)
    libvirt.check(f"a passed start of {domain.name}")


@pytest.mark.parametrize("part", range(PARTS))
def test_no_link_between_tenants_at_any_write(tmp_path, journal_library, part):
    host = SimHost(tmp_path / "host", model="810e-16")
    host.note_writes(journal_library)
    libvirt = Libvirt(host)
    for index in range(part, max(PERMUTATIONS, PARTS), PARTS):
        dice = random.Random(f"permutation {index}")
        host.rewire(machine(dice, index))
        set_up(host, answers.save(host.hardware, tmp_path / "answers"))
        for ppu, card in enumerate(map(host.wiring.card, host.bdfs)):
            assert f"\n{ppu} = {card.pin}\n" in host.path(MAP_FILE).read_text(), index
        before = host.journal.path.stat().st_size
        a, b = tenants(dice, host.bdfs)
        domains = (a, b) if index % 5 == 0 else (a,)
        for domain in domains:
            let_through(libvirt, domain)
        assert host.journal.path.stat().st_size > before, index
        cuts = host.hardware.cuts()
        assert all(cuts[device.bdf] for domain in domains for device in domain.devices), index
        for domain in domains:
            assert libvirt.call(domain, "stopped", INACTIVE).status == 0
        assert set(host.masks().values()) == {0}, index
    host.daemon.kill()


def test_the_oracle_sees_two_ids_that_were_swapped_after_setup(tmp_path, journal_library):
    host = SimHost(tmp_path / "host", wiring=published_16())
    host.forget_setup()
    host.note_writes(journal_library)
    set_up(host, answers.save(host.hardware, tmp_path / "answers"))
    cards = host.path(MAP_FILE)
    text = cards.read_text()
    assert text.count("\n0 = 0001:c9") == text.count("\n1 = 0001:c8") == 1
    text = text.replace("\n1 = 0001:c8", "\nX = 0001:c8").replace("\n0 = ", "\n1 = ").replace("\nX = ", "\n0 = ")
    cards.write_text(text)
    with pytest.raises(AssertionError, match="live links that the rule forbids, a passed start of a"):
        Libvirt(host).start(host.vm("a", 0, 2))
    assert host.engine("check").status == 0
    host.daemon.kill()
