# SPDX-License-Identifier: LGPL-2.1-or-later
"""The policies of the configuration, shared cards, and devices that come later."""

import pytest

from bystander import BEFORE, WITH_A, vm
from domain_xml import INACTIVE, LIVE, PREPARE, CommandLine, Domain, Hostdev, Interface, Mdev, NetworkPool, Nvme
from libvirt_player import Libvirt
from simhost import GUIDE_BDFS
from topology import Topology

TOPOLOGY = Topology.vendor()
ALL_CUT = {ppu: sum(1 << link for link in links) for ppu, links in TOPOLOGY.links.items()}
NOTHING_CUT = {ppu: 0 for ppu in range(8)}
MDEVS = [f"c0ffee00-0000-4000-8000-00000000000{index}" for index in range(4)]


def required(owners):
    return TOPOLOGY.required_masks({ppu: set(names) for ppu, names in owners.items()})


def near_only(masks, *ppus):
    return {ppu: masks[ppu] if ppu in ppus else 0 for ppu in masks}


# idle = isolate


def test_idle_isolate(host):
    """A card without owner has all its links cut, from the first hook on."""
    host.configure("[policy]\nidle = isolate\n")
    libvirt = Libvirt(host)
    assert libvirt.start(vm("a", 0, 1)).running
    masks = required({0: "a", 1: "a"})
    assert host.masks() == {**ALL_CUT, 0: masks[0], 1: masks[1]}
    assert libvirt.start(vm("b", 2, 3)).running
    libvirt.stop("a")
    masks = required({2: "b", 3: "b"})
    assert host.masks() == {**ALL_CUT, 2: masks[2], 3: masks[3]}
    libvirt.stop("b")
    assert (host.masks(), host.claim_files()) == (ALL_CUT, {})


def test_idle_isolate_is_what_check_demands(host):
    host.configure("[policy]\nidle = isolate\n")
    result = host.engine("check", "--json")
    assert (result.status, result.json()["leaks"]) == (1, [])
    assert [card["required"] for card in result.json()["drift"]] == [f"0x{ALL_CUT[ppu]:08x}" for ppu in range(8)]
    host.set_masks(ALL_CUT)
    assert host.engine("check").status == 0
    assert [card["expected"] for card in host.engine("status", "--json").json()["ppus"]] == [
        f"0x{ALL_CUT[ppu]:08x}" for ppu in range(8)
    ]


def test_idle_restore_gives_back_what_was_cut_before(host):
    """What somebody had cut by hand stays cut at the end, and only that."""
    libvirt = Libvirt(host)
    host.set_masks({0: 0x20, 6: 0x08, 2: 0x31})
    assert libvirt.start(vm("a", 0, 1)).running
    masks = required({0: "a", 1: "a"})
    assert host.masks()[0] == masks[0]  # its link inside the VM is open
    assert host.masks()[6] == masks[6] | 0x08
    libvirt.stop("a")
    assert host.masks() == {**NOTHING_CUT, 0: 0x20, 6: 0x08, 2: 0x31}


# far_end = leave


def test_far_end_leave(host):
    """Only the VM's own cards are written."""
    host.configure("[policy]\nfar_end = leave\n")
    libvirt = Libvirt(host)
    assert libvirt.start(vm("a", 0, 1)).running
    assert host.masks() == near_only(required({0: "a", 1: "a"}), 0, 1)
    assert host.engine("check").status == 0
    libvirt.stop("a")
    assert (host.masks(), host.claim_files()) == (NOTHING_CUT, {})


def test_far_end_leave_with_two_vms(host):
    host.configure("[policy]\nfar_end = leave\n")
    libvirt = Libvirt(host)
    for domain in (vm("a", 0, 1), vm("b", 2, 6)):
        assert libvirt.start(domain).running
    assert host.masks() == near_only(required({0: "a", 1: "a", 2: "b", 6: "b"}), 0, 1, 2, 6)
    libvirt.stop("a")
    # Cuts towards b that stand on a's former cards are kept as long as b runs.
    assert host.masks() == near_only(required({2: "b", 6: "b"}), 0, 1, 2, 6)
    libvirt.stop("b")
    assert host.masks() == NOTHING_CUT


@pytest.mark.parametrize("idle", ["restore", "isolate"])
@pytest.mark.parametrize("far_end", ["cut", "leave"])
def test_every_pair_of_policies_isolates(host, idle, far_end):
    """The player's oracle looks after every step."""
    host.configure(f"[policy]\nidle = {idle}\nfar_end = {far_end}\n")
    libvirt = Libvirt(host)
    for name, ppus in {"a": (0, 1), "b": (2, 6), "c": (3,)}.items():
        assert libvirt.start(vm(name, *ppus)).running
    for name in ("b", "c", "a"):
        assert host.engine("check").status == 0
        libvirt.reconnect(name)
        libvirt.stop(name)
    assert host.masks() == (ALL_CUT if idle == "isolate" else NOTHING_CUT)


# cut_bit = 0


def test_cut_bit_0(host):
    """Open links are ones; other bits keep what they hold."""
    host.configure("[registers]\ncut_bit = 0\n")
    host.set_masks({ppu: 0x7E000000 | mask for ppu, mask in ALL_CUT.items()})
    libvirt = Libvirt(host, watch=False)
    before = host.masks()
    assert libvirt.start(vm("a", 0, 1)).running
    masks = required({0: "a", 1: "a"})
    assert host.masks() == {ppu: before[ppu] & ~masks[ppu] for ppu in range(8)}
    status = host.engine("status", "--json").json()
    held = [None, None]
    assert [card["mask"] for card in status["ppus"]] == held + [f"0x{masks[ppu]:08x}" for ppu in range(2, 8)]
    assert host.engine("check").status == 0
    libvirt.stop("a")
    assert host.masks() == before


def test_all_ones_that_are_real(host):
    """Every bit a link, all of them cut: the card is there all the same."""
    links = {ppu: {} for ppu in range(8)}
    links[0] = {link: 1 for link in range(32)}
    links[1] = {link: 0 for link in range(32)}
    host.write("/etc/icn-hook/icn_topo.cfg", Topology(links).text())
    for operation, form in (("prepare", PREPARE), ("start", LIVE)):
        assert host.hook("a", operation, vm("a", 0).xml(form)).status == 0
        assert (host.mask(0), host.mask(1)) == (0xFFFFFFFF, 0xFFFFFFFF)
    assert host.hook("a", "stopped", vm("a", 0).xml(INACTIVE)).status == 0
    assert (host.mask(0), host.mask(1)) == (0, 0)


# on_leak


def leak(scene):
    """Both ends of a link are open, and can be read: b's QEMU has not opened the card,
    whose address in the guest is unassigned."""
    scene.host.let_go(GUIDE_BDFS[2])
    scene.host.set_masks({2: 0x18, 4: 0})


LEAK = f"LEAK: link 0 of PPU 2 ({GUIDE_BDFS[2]}) to PPU 4 (idle) was open on both sides while the VM ran\n"


@pytest.mark.parametrize("policy", ["alert", "kill"])
def test_reconnect_never_kills(scene, policy):
    """Whatever on_leak says: a restart of the daemon must not end a VM."""
    scene.host.configure(f"[policy]\non_leak = {policy}\n")
    leak(scene)
    result = scene.host.hook("b", "reconnect", scene.b.xml(LIVE))
    assert (result.status, result.stderr) == (0, "")
    assert f": vm=b op=reconnect {LEAK}" in scene.host.log()
    assert scene.masks() == BEFORE  # and what is missing is cut


def test_kill_needs_a_leak(scene):
    """A fault that is no leak ends nobody's VM."""
    scene.host.configure("[policy]\non_leak = kill\n")
    scene.host.let_go(GUIDE_BDFS[2])
    scene.host.device(GUIDE_BDFS[2]).joinpath("resource0").unlink()
    result = scene.host.hook("b", "started", scene.b.xml(LIVE))
    assert (result.status, result.stderr) == (0, "")


def test_kill_says_why(scene):
    scene.host.configure("[policy]\non_leak = kill\n")
    leak(scene)
    result = scene.host.hook("b", "started", scene.b.xml(LIVE))
    assert result.status == 1
    assert result.stderr.endswith(LEAK)


# Shared cards


@pytest.mark.parametrize("kind", ["vf", "mdev"])
def test_shared_card(host, kind):
    """Two VMs on one card: all its links are cut, each VM can go alone, and a third can
    take a part but not the whole."""
    if kind == "vf":
        parts = [Hostdev(host.add_vf(0, index)) for index in range(3)]
    else:
        parts = [Mdev(host.add_mdev(0, MDEVS[index]), GUIDE_BDFS[0]) for index in range(3)]
    libvirt = Libvirt(host)
    assert libvirt.start(Domain("a", [parts[0], Hostdev(GUIDE_BDFS[1])])).running
    alone = host.masks()
    assert alone[0] == required({0: "a", 1: "a"})[0]
    assert libvirt.start(Domain("b", [parts[1]])).running
    assert host.masks()[0] == ALL_CUT[0]
    assert libvirt.start(vm("whole", 0)).status == 4
    assert libvirt.start(Domain("c", [parts[2]])).running
    libvirt.stop("b")
    assert host.masks()[0] == ALL_CUT[0]
    libvirt.stop("c")
    libvirt.stop("a")
    assert (host.masks(), host.claim_files()) == (NOTHING_CUT, {})


def bind_physical_function(host):
    """What makes the parts of card 0 keeps the card's registers."""
    host.set_driver(GUIDE_BDFS[0], "ppu")


@pytest.mark.parametrize("kind", ["vf", "mdev"])
def test_part_of_a_card_whose_driver_keeps_the_registers(scene, kind):
    host = scene.host
    part = Hostdev(host.add_vf(0)) if kind == "vf" else Mdev(host.add_mdev(0, MDEVS[0]), GUIDE_BDFS[0])
    domain = Domain("a", [part])
    bind_physical_function(host)
    reason = (f"PPU 0 ({GUIDE_BDFS[0]}): the VM takes a part of it only, so driver ppu keeps its registers and its links "
              "cannot be cut; set backend = ppudbg in [registers], or give the VM whole cards")
    plan = host.engine("plan", "-", "--json", stdin=domain.xml())
    assert (plan.status, plan.json()["verdict"], plan.json()["writes"]) == (5, "refuse", [])
    assert plan.json()["reason"] == f"icn-hook: VM 'a' would not be started: {reason}"
    scene.assert_broken(5, f"VM 'a' is not started: {reason}\n", domain=domain)
    assert scene.masks() == BEFORE
    result = scene.call("start", domain=domain)
    assert (result.status, reason in result.stderr) == (5, True)


def test_part_of_a_card_without_links_that_leave_the_vm(host):
    """Nothing has to be cut, so nobody's registers are needed."""
    text = "".join(
        f"==========device{ppu}==========\nppuid: {ppu}\n" + (f"link[0]: nbrPpuid:{ppu ^ 1}\n" if ppu in (4, 5) else "")
        for ppu in range(8)
    )
    host.write("/etc/icn-hook/icn_topo.cfg", text)
    domain = Domain("a", [Hostdev(host.add_vf(0))])
    bind_physical_function(host)
    assert host.hook("a", "prepare", domain.xml()).status == 0
    assert host.hook("a", "start", domain.xml()).status == 0


def test_part_of_a_card_through_the_tool(host):
    """It asks the driver, which has the registers."""
    host.install_tool("ppudbg")
    host.configure("[registers]\nbackend = ppudbg\n")
    domain = Domain("a", [Hostdev(host.add_vf(0))])
    bind_physical_function(host)
    assert host.engine("plan", "-", "--json", stdin=domain.xml()).json()["verdict"] == "isolate"
    for operation in ("prepare", "start"):
        assert host.hook("a", operation, domain.xml()).status == 0
        assert host.masks()[0] == ALL_CUT[0]


def test_part_of_a_card_that_is_taken_whole(scene):
    vf = Domain("part", [Hostdev(scene.host.add_vf(2, 0))])
    scene.assert_refused(4, f"PPU 2 ({GUIDE_BDFS[2]}) is owned by VM 'b'", domain=vf)


def test_owners_of_a_shared_card(host):
    libvirt = Libvirt(host)
    for index, name in enumerate(("a", "b")):
        assert libvirt.start(Domain(name, [Hostdev(host.add_vf(0, index))])).running
    card = host.engine("status", "--json").json()["ppus"][0]
    assert {owner["name"] for owner in card["owners"]} == {"a", "b"}
    assert not any(link["allowed"] for link in card["links"])
    assert host.engine("check").status == 0


# Other ways to take a card


@pytest.mark.parametrize("device", [Interface, Nvme, CommandLine])
def test_conflict_is_seen_whatever_the_way(scene, device):
    scene.assert_refused(4, f"PPU 2 ({GUIDE_BDFS[2]}) is owned by VM 'b'", domain=Domain("c", [device(GUIDE_BDFS[2])]))


def test_network_pool_gives_a_card_of_another(scene):
    """The pool's choice is in the XML of `start` only, and there it is refused."""
    domain = Domain("c", [NetworkPool(GUIDE_BDFS[2])])
    assert scene.call("prepare", domain=domain).status == 0
    scene.assert_refused(4, f"PPU 2 ({GUIDE_BDFS[2]}) is owned by VM 'b'", domain=domain, operations=["start"])
    for operation in ("stopped", "release"):
        assert scene.call(operation, domain=domain).status == 0
    assert scene.masks() == BEFORE


def test_network_pool_beside_a_card(scene):
    """What prepare isolated and what start adds are one group."""
    domain = Domain("a", [Hostdev(GUIDE_BDFS[0]), NetworkPool(GUIDE_BDFS[1])])
    assert scene.libvirt.start(domain).running
    assert scene.masks() == WITH_A
    scene.libvirt.stop("a")
    assert scene.masks() == BEFORE


def test_hot_plugged_card_is_isolated_at_reconnect(scene):
    """No hook tells of it; the next restart of the daemon does."""
    assert scene.libvirt.start(vm("a", 0)).running
    scene.libvirt.watch = False
    scene.libvirt.hot_plug("a", Hostdev(GUIDE_BDFS[1]))
    assert scene.host.engine("check").status == 1
    scene.libvirt.reconnect("a")
    # What is missing was cut, but the new card was never read back before QEMU opened it.
    result = scene.host.engine("check", "--json")
    assert (result.status, {finding["code"] for finding in result.json()["findings"]}) == (7, {"no-gate", "card"})
    assert scene.host.leaks(scene.masks(), {0: {"a"}, 1: {"a"}, 2: {"b"}, 3: {"b"}}) == []
    owned = [card["bdf"] for card in scene.host.claims()[f"{vm('a').uuid}.json"]["cards"]]
    assert owned == GUIDE_BDFS[:2]
    scene.libvirt.stop("a")
    assert scene.masks() == BEFORE


def test_unplugged_card_is_idle_after_reconnect(scene):
    assert scene.libvirt.start(vm("a", 0, 1)).running
    running = scene.libvirt.running["a"]
    running.domain.devices.pop()
    scene.host.set_enable(GUIDE_BDFS[1], 0)
    scene.host.set_driver(GUIDE_BDFS[1], None)
    scene.host.write_status(running.domain, running.pid)
    scene.libvirt.let_through[running.domain.uuid].discard(1)
    scene.libvirt.reconnect("a")
    owned = [card["bdf"] for card in scene.host.claims()[f"{vm('a').uuid}.json"]["cards"]]
    assert owned == GUIDE_BDFS[:1]
    assert scene.libvirt.start(vm("c", 1)).running
    for name in ("a", "c"):
        scene.libvirt.stop(name)
    assert scene.masks() == BEFORE
