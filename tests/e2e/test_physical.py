# SPDX-License-Identifier: LGPL-2.1-or-later
"""The physical oracle itself: it sees what the programs cannot, and complains."""

import pytest

from domain_xml import PREPARE
from libvirt_player import Libvirt
from physical import Hardware
from simhost import SimHost
from wiring import MODELS, End, LinkRegisters, Wiring

BONDED = 6, 7  # of the 16-card machine: joined by two links that cross


def swapped(host, a, b):
    """The map with two ids swapped."""
    order = list(range(len(host.bdfs)))
    order[a], order[b] = b, a
    return "[map]\n" + "".join(f"{ppu} = {host.bdfs[card]}\n" for ppu, card in enumerate(order))


@pytest.mark.parametrize("pair, cards", [((0, 1), (0, 2)), ((2, 6), (2, 4))])
def test_swapped_ids_are_seen(machine, pair, cards):
    """The programs cut what the map tells them, and find nothing wrong."""
    machine.configure(swapped(machine, *pair))
    libvirt = Libvirt(machine)
    with pytest.raises(AssertionError, match="live links that the rule forbids, a passed start of a"):
        libvirt.start(machine.vm("a", *cards))
    assert machine.engine("check").status == 0


def test_a_wrong_topology_is_seen(machine):
    """It is of another machine of the same size."""
    topology = machine.wiring.topology([machine.bdfs[3], *machine.bdfs[:3], *machine.bdfs[4:]])
    machine.write("/etc/icn-hook/icn_topo.cfg", topology.text())
    with pytest.raises(AssertionError, match="live links that the rule forbids"):
        Libvirt(machine).start(machine.vm("a", 0, 1))


def test_a_wrong_register_is_seen(machine):
    machine.set_hardware(LinkRegisters(config=0x100))
    with pytest.raises(AssertionError, match="live links that the rule forbids, a passed start of a"):
        Libvirt(machine).start(machine.vm("a", 0, 1))


def test_a_link_that_opens_between_two_writes_is_seen(machine):
    """The registers are right before and after; in between they were not."""
    libvirt = Libvirt(machine)
    assert libvirt.start(machine.vm("a", 0, 1)).running
    mask, outside = machine.mask(0), machine.isolated(range(len(machine.bdfs)))[0]
    with open(machine.journal.path, "a", encoding="ascii") as journal:
        journal.write(f"{machine.bdfs[0]} {outside:x}\n{machine.bdfs[6]} 0\n{machine.bdfs[0]} {mask:x}\n")
    with pytest.raises(AssertionError, match=f"when {machine.bdfs[6]} 0 was written"):
        libvirt.check("the test")


def test_each_write_is_seen(machine):
    domain = machine.vm("a", 0, 1)
    plan = machine.engine("plan", "-", "--json", stdin=domain.xml(PREPARE)).json()
    assert machine.hook("a", "prepare", domain.xml(PREPARE)).status == 0
    written = [text for text, _ in machine.journal.steps()]
    assert written == [f"{write['bdf']} {int(write['to'], 16):x}" for write in plan["writes"]]
    assert len(written) >= 6
    assert machine.journal.cuts == machine.hardware.cuts()


# Links, by address and number


def test_parallel_links_that_cross(tmp_path):
    """6.5 is joined to 7.6, and 6.6 to 7.3: cutting 6.5 and 7.3 cuts both, cutting 6.5 and
    7.6 cuts one."""
    host = SimHost(tmp_path / "host", model="810e-16")
    a, b = (host.bdfs[ppu] for ppu in BONDED)
    assert host.wiring.other((a, 5)) == End(b, 6)
    owners = {a: {"a"}, b: {"b"}}

    def leaks(mask_a, mask_b):
        host.set_masks({6: mask_a, 7: mask_b})
        return [pair for pair in host.hardware.leaks(owners) if {pair[0].bdf, pair[1] and pair[1].bdf} == {a, b}]

    assert leaks(0, 0) == [(End(a, 5), End(b, 6)), (End(a, 6), End(b, 3))]
    assert leaks(1 << 5, 1 << 6) == [(End(a, 6), End(b, 3))]
    assert leaks(1 << 5, 1 << 3) == []


def test_a_link_to_another_host(tmp_path):
    hardware = SimHost(tmp_path / "host", model="810e-16").hardware
    bdf = hardware.wiring.bdfs[0]
    ends = {end for end, other in hardware.leaks({bdf: {"a"}}) if other is None}
    assert ends == {End(bdf, 1), End(bdf, 2)}
    assert hardware.required({bdf: {"a"}})[bdf] == 0x7F
    assert hardware.required({bdf: {"a"}}, external=False)[bdf] == 0x79
    assert (hardware.is_up((bdf, 1)), hardware.is_up((bdf, 2))) == (True, False)
    hardware.store(bdf, LinkRegisters.config, 0x02)
    assert not hardware.is_up((bdf, 1))


def test_a_broken_link_is_down_and_may_come_up(tmp_path):
    wiring = MODELS["guide-8"]()
    end, other = wiring.joins[0]
    host = SimHost(tmp_path / "host", wiring=Wiring(wiring.cards, wiring.joins, broken=[end]))
    assert not host.hardware.is_up(end) and not host.hardware.is_up(other)
    assert (end, other) in host.hardware.leaks({end.bdf: {"a"}})


@pytest.mark.parametrize("model", MODELS)
def test_wiring_of_a_model(tmp_path, model):
    """Each link joins two cards, and the file says the same."""
    host = SimHost(tmp_path / "host", model=model)
    wiring = host.wiring
    assert len(set(wiring.bdfs)) == len(wiring.cards) == int(model[-2:].strip("-"))
    assert all(a.bdf != b.bdf for a, b in wiring.joins)
    assert len({card.serial for card in wiring.cards}) == len(wiring.cards)
    loaded = Hardware.of(host.root)
    assert (loaded.wiring.cards, loaded.wiring.joins) == (wiring.cards, wiring.joins)
    assert (loaded.wiring.external, loaded.registers) == (wiring.external, LinkRegisters())
    for card in wiring.cards:
        real = host.device(card.bdf).resolve()
        assert real == host.path(f"/sys/devices/{card.parents}/{card.bdf}")
        assert (real / "iommu_group/devices" / card.bdf / "vendor").read_text() == "0x1ded\n"
        assert int((real / "numa_node").read_text()) == int(card.bdf[:4], 16)
