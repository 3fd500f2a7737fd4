# SPDX-License-Identifier: LGPL-2.1-or-later
"""The main job through both programs, on each machine that is known: a VM's start
isolates its cards, its end restores their links, and nobody else's are touched."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from domain_xml import LIVE, PREPARE, CommandLine, Domain, Hostdev, Interface, Mdev, NetworkPool, Nvme, Usb
from libvirt_player import Libvirt
from wiring import LinkRegisters

MDEV = "c0ffee00-0000-4000-8000-000000000001"
OTHER_MDEV = "c0ffee00-0000-4000-8000-000000000002"

# Group of cards -> masks that one VM with them needs; cards not named are untouched.
GOLDEN = {
    "guide-8": {
        (0, 1): {0: 0x19, 1: 0x31, 2: 0x18, 3: 0x30, 6: 0x01, 7: 0x01},
        (6,): {6: 0x39, 0: 0x01, 4: 0x08, 5: 0x10, 7: 0x08},
        (6, 7): {6: 0x19, 7: 0x31, 0: 0x01, 1: 0x01, 4: 0x18, 5: 0x30},
        "all": {},
    },
    "810e-16": {
        (0, 1): {0: 0x5F, 1: 0x77, 2: 0x18, 3: 0x30, 6: 0x01, 7: 0x01, 8: 0x40, 9: 0x40},
        (6,): {6: 0x7F, 0: 0x01, 4: 0x08, 5: 0x10, 7: 0x48},
        (6, 7): {6: 0x1F, 7: 0x37, 0: 0x01, 1: 0x01, 4: 0x18, 5: 0x30},
        "all": {ppu: 0x06 for ppu in range(16)},
    },
}
GROUPS = list(GOLDEN["guide-8"])
SPLIT = [(0, 1), (2, 3), (4, 5, 7), (6,)]
GOLDEN_SPLIT = {
    "guide-8": {0: 0x19, 1: 0x31, 2: 0x19, 3: 0x31, 4: 0x09, 5: 0x11, 6: 0x39, 7: 0x09},
    "810e-16": {
        0: 0x5F, 1: 0x77, 2: 0x5F, 3: 0x77, 4: 0x4F, 5: 0x57, 6: 0x7F, 7: 0x4F,
        8: 0x40, 9: 0x40, 10: 0x40, 11: 0x40, 12: 0x40, 13: 0x40,
    },
}


@pytest.fixture(name="host")
def fixture_host(machine):
    return machine


def members(host, group):
    return range(len(host.bdfs)) if group == "all" else group


def golden(host, group):
    return {**nothing_cut(host), **GOLDEN[host.model][group]}


def nothing_cut(host):
    return {ppu: 0 for ppu in range(len(host.bdfs))}


def state(host):
    """All that a hook may change."""
    return host.masks(), host.claim_files()


def assert_clean(host):
    """As if no VM had ever been there."""
    assert state(host) == (nothing_cut(host), {})


# Golden values


@pytest.mark.parametrize("group", GROUPS)
def test_one_vm(host, libvirt, group):
    assert libvirt.start(host.vm("vm1", *members(host, group))).running
    assert host.masks() == golden(host, group)
    assert [status for _, _, status, _ in libvirt.calls] == [0, 0, 0]
    libvirt.stop("vm1")
    assert_clean(host)


@pytest.mark.parametrize("group", GROUPS)
def test_prepare_alone_isolates(host, group):
    domain = host.vm("vm1", *members(host, group))
    result = host.hook("vm1", "prepare", domain.xml(PREPARE))
    assert (result.status, result.stderr) == (0, "")
    assert host.masks() == golden(host, group)
    assert list(host.claim_files()) == [f"{domain.uuid}.json"]


def test_four_vms(host, libvirt):
    for index, group in enumerate(SPLIT):
        assert libvirt.start(host.vm(f"vm{index}", *group)).running
    assert host.masks() == {**nothing_cut(host), **GOLDEN_SPLIT[host.model]}
    for index in (2, 0, 3, 1):
        libvirt.stop(f"vm{index}")
        assert host.masks() == host.required_masks(libvirt.owners())
    assert_clean(host)


def test_the_oracle_agrees_with_the_golden_values(host):
    for group in GROUPS:
        assert host.isolated(members(host, group)) == golden(host, group)
    assert host.isolated(*SPLIT) == {**nothing_cut(host), **GOLDEN_SPLIT[host.model]}


def test_bits_of_no_link_are_kept(host, libvirt):
    others = {ppu: 0xABCD00FF & ~host.wiring.link_bits(bdf) for ppu, bdf in enumerate(host.bdfs)}
    host.set_masks(others)
    assert libvirt.start(host.vm("vm1", 0, 1)).running
    assert host.masks() == {ppu: mask | others[ppu] for ppu, mask in host.isolated((0, 1)).items()}
    libvirt.stop("vm1")
    assert host.masks() == others


def test_other_register_settings(host, libvirt):
    """Another register, another stride, and a cut link's bit is 0."""
    host.configure("[registers]\nlink_config = 0x100\nstride = 8\ncut_bit = 0\n")
    host.set_hardware(LinkRegisters(config=0x100, status=0x101, stride=8, cut_bit=0))
    host.set_masks({ppu: 0xFFFF007F for ppu in range(len(host.bdfs))})
    assert libvirt.start(host.vm("vm1", 0, 1)).running
    assert {ppu: mask ^ 0xFFFF007F for ppu, mask in host.masks().items()} == host.isolated((0, 1))
    libvirt.stop("vm1")
    assert set(host.masks().values()) == {0xFFFF007F}
    host.set_hardware(LinkRegisters())
    assert host.masks() == nothing_cut(host)


# Refusals


def test_refused_third_vm_leaves_the_others_alone(host, libvirt):
    assert libvirt.start(host.vm("a", 0, 1)).running
    assert libvirt.start(host.vm("b", 2, 3)).running
    before = state(host)
    outcome = libvirt.start(host.vm("c", 4, 1))
    assert (outcome.failed, outcome.status) == ("prepare", 4)
    assert outcome.message.count("\n") == 1
    for words in ("c", "a", "PPU 1", host.bdfs[1]):
        assert words in outcome.message
    assert [call[:3] for call in libvirt.calls[-3:]] == [("c", "prepare", 4), ("c", "stopped", 0), ("c", "release", 0)]
    assert state(host) == before
    libvirt.stop("a")
    libvirt.stop("b")
    assert_clean(host)


def test_same_name_other_uuid_is_somebody_else(host, libvirt):
    assert libvirt.start(host.vm("a", 0)).running
    before = state(host)
    imposter = host.vm("a", 0)
    imposter.uuid = "00000000-0000-4000-8000-00000000000f"
    assert host.hook("a", "prepare", imposter.xml(PREPARE)).status == 4
    for operation in ("stopped", "release"):
        assert host.hook("a", operation, imposter.xml()).status == 0
    assert state(host) == before


def test_card_of_an_unknown_holder_is_refused(host, libvirt):
    host.set_driver(host.bdfs[6], "vfio-pci")
    host.set_enable(host.bdfs[6], 1)
    outcome = libvirt.start(host.vm("a", 6))
    assert (outcome.failed, outcome.status) == ("prepare", 4)
    assert "PPU 6" in outcome.message and host.bdfs[6] in outcome.message
    assert_clean(host)


def test_link_to_an_unknown_holder_is_cut_on_the_near_end(host, libvirt):
    host.set_driver(host.bdfs[6], "vfio-pci")
    host.set_enable(host.bdfs[6], 1)
    assert libvirt.start(host.vm("a", 0, 1)).running
    masks, needed = host.masks(), host.isolated((0, 1))
    assert (masks[0], masks[1]) == (needed[0], needed[1])
    assert masks[6] == 0


def test_ordinary_refusals_change_nothing(host, libvirt):
    """What is wrong with the host refuses VMs with a card, and nobody else."""
    host.configure("[ppu]\nbogus = 1\n")
    outcome = libvirt.start(host.vm("a", 0))
    assert (outcome.failed, outcome.status) == ("prepare", 3)
    assert "icn-hook.conf:2" in outcome.message
    assert libvirt.start(Domain("usb", [Usb()])).running
    nic = host.add_nic()
    assert libvirt.start(Domain("nic", [Hostdev(nic)])).running
    assert_clean(host)


# Devices


@pytest.mark.parametrize("device", [Hostdev, Interface, Nvme, CommandLine])
def test_every_way_to_pass_a_card(host, libvirt, device):
    if device is CommandLine:
        host.set_driver(host.bdfs[6], "vfio-pci")
    assert libvirt.start(Domain("a", [device(host.bdfs[6])])).running
    assert host.masks() == host.isolated((6,))
    assert libvirt.start(host.vm("b", 6)).status == 4
    libvirt.stop("a")
    assert_clean(host)


def test_network_pool_is_isolated_at_start(host, libvirt):
    """The card is in the XML of `start` only, and in none at the end."""
    assert libvirt.start(Domain("a", [NetworkPool(host.bdfs[6])])).running
    assert host.masks() == host.isolated((6,))
    libvirt.stop("a")
    assert_clean(host)


def test_function_that_is_no_ppu_passes(host, libvirt):
    nic = host.add_nic()
    assert libvirt.start(Domain("a", [Hostdev(nic)])).running
    libvirt.stop("a")
    assert_clean(host)
    assert {status for _, _, status, _ in libvirt.calls} == {0}


def test_shared_card_is_cut_off_from_everything(host, libvirt):
    first, second = host.add_vf(0, 0), host.add_vf(0, 1)
    assert libvirt.start(Domain("a", [Hostdev(first)])).running
    assert libvirt.start(Domain("b", [Hostdev(second)])).running
    alone = host.isolated((0,))[0]
    assert host.mask(0) == alone
    libvirt.stop("a")
    assert host.mask(0) == alone
    libvirt.stop("b")
    assert_clean(host)


def test_sharing_cuts_both_ends_of_what_was_open(host, libvirt):
    """A VM has functions of two cards, then another VM gets one of the first card: the
    second card's own registers are still the host's."""
    parts = [host.add_vf(0, 0), host.add_vf(1, 0)]
    other = host.add_vf(0, 1)
    assert libvirt.start(Domain("a", [Hostdev(part) for part in parts])).running
    assert host.masks() == host.isolated((0, 1))
    assert libvirt.start(Domain("b", [Hostdev(other)])).running
    assert (host.mask(0), host.mask(1)) == (host.isolated((0,))[0], host.isolated((1,))[1])
    assert host.engine("check").status == 0
    libvirt.stop("b")
    assert (host.mask(0), host.mask(1)) == (host.isolated((0,))[0], host.isolated((1,))[1])
    assert host.engine("check").status == 0
    libvirt.stop("a")
    assert_clean(host)


def test_a_whole_card_in_a_vm_is_not_written_for_another(host, libvirt):
    """Its guest has opened it; the far end of an idle card would be cut again."""
    assert libvirt.start(host.vm("a", 0, 1)).running
    outside = host.isolated(members(host, "all"))[1]
    host.write_register(1, outside)
    shared = host.add_vf(3, 0)
    assert libvirt.start(Domain("b", [Hostdev(shared)])).running
    assert (host.mask(1), host.mask(3)) == (outside, host.isolated((3,))[3])


def test_mediated_devices_share_a_card(host, libvirt):
    host.add_mdev(0, MDEV)
    host.add_mdev(0, OTHER_MDEV)
    assert libvirt.start(Domain("a", [Mdev(MDEV, host.bdfs[0])])).running
    assert libvirt.start(Domain("b", [Mdev(OTHER_MDEV, host.bdfs[0])])).running
    assert host.mask(0) == host.isolated((0,))[0]
    assert libvirt.start(host.vm("c", 0)).status == 4
    libvirt.stop("a")
    libvirt.stop("b")
    assert_clean(host)


def test_unmanaged_card(host, libvirt):
    host.set_driver(host.bdfs[6], "vfio-pci")
    assert libvirt.start(Domain("a", [Hostdev(host.bdfs[6], managed=False)])).running
    assert host.masks() == host.isolated((6,))
    libvirt.stop("a")
    assert_clean(host)


@pytest.mark.parametrize("name", ["two words", "quote'\"", "-r", "--reset", "naïve", "x" * 251, "$(touch x)", ".."])
def test_odd_names(host, libvirt, name):
    assert libvirt.start(host.vm(name, 0, 1)).running
    assert host.masks() == host.isolated((0, 1))
    libvirt.stop(name)
    assert_clean(host)


def test_ids_are_those_of_the_map(host, libvirt):
    """Somebody renames two cards, in the map and in the topology."""
    order = [1, 0, *range(2, len(host.bdfs))]
    host.configure("[map]\n" + "".join(f"{ppu} = {host.bdfs[card]}\n" for ppu, card in enumerate(order)))
    host.write("/etc/icn-hook/icn_topo.cfg", host.wiring.topology([host.bdfs[card] for card in order]).text())
    assert libvirt.start(host.vm("a", 1)).running
    assert host.masks() == host.isolated((1,))
    plan = host.engine("plan", "-", "--json", stdin=host.vm("b", 0).xml(PREPARE)).json()
    assert plan["devices"] == [{"bdf": host.bdfs[0], "via": "hostdev", "ppu": 1}]


# Crashes and restarts


def test_crash_of_a_vm(host, libvirt):
    assert libvirt.start(host.vm("a", 0, 1)).running
    libvirt.crash("a")
    assert_clean(host)


def test_restart_of_the_daemon(host, libvirt):
    assert libvirt.start(host.vm("a", 0, 1)).running
    assert libvirt.start(host.vm("b", 6)).running
    before = host.masks()
    for name in ("b", "a"):
        libvirt.reconnect(name)
    assert host.masks() == before
    libvirt.stop("a")
    libvirt.stop("b")
    assert_clean(host)


def test_installed_while_vms_run(host, libvirt):
    """No claim in the state: the status file says who has the card."""
    assert libvirt.start(host.vm("a", 0, 1)).running
    for path in host.path("/run/icn-hook").iterdir():
        path.unlink()
    assert libvirt.start(host.vm("b", 1)).status == 4
    assert libvirt.start(host.vm("c", 2, 3)).running
    libvirt.reconnect("a")
    libvirt.stop("c")
    libvirt.stop("a")
    assert_clean(host)


@pytest.mark.parametrize("state", ["claim", "claim, then the daemon restarted", "memory", "memory and claim"])
def test_lost_state(host, libvirt, state):
    """What the VM had is known all the same, and its links come back."""
    assert libvirt.start(host.vm("b", 6)).running
    before = host.masks()
    a = host.vm("a", 0, 1)
    assert libvirt.start(a).running
    if "claim" in state:
        host.path(f"/run/icn-hook/{a.uuid}.json").unlink()
    if "memory" in state:
        host.path("/run/icn-hook/cards.json").unlink()
    if "restarted" in state:
        libvirt.reconnect("a")
    libvirt.stop("a")
    assert host.masks() == before
    libvirt.stop("b")
    assert_clean(host)


def test_reboot_forgets_the_vms(host, libvirt):
    """A /run that survives is of another boot."""
    assert libvirt.start(host.vm("a", 0, 1)).running
    libvirt.reboot()
    assert libvirt.start(host.vm("b", 1, 2)).running
    assert host.masks() == host.required_masks(libvirt.owners())
    libvirt.stop("b")
    assert_clean(host)


def test_daemon_dies_in_prepare(host, libvirt):
    """Neither stopped nor release follow; whoever comes next cleans up."""
    orphan = host.vm("a", 0, 1)
    assert host.hook("a", "prepare", orphan.xml(PREPARE), through="dying daemon").status == 0
    assert host.mask(0) == host.isolated((0, 1))[0]
    assert libvirt.start(host.vm("b", 1)).running
    assert host.masks() == host.required_masks(libvirt.owners())
    libvirt.stop("b")
    assert_clean(host)


@pytest.mark.parametrize("path", ["/etc/icn-hook/icn-hook.conf", "/etc/icn-hook/icn_topo.cfg"])
def test_stop_with_broken_settings_gives_up_the_cards(host, libvirt, path):
    """Nothing can be restored then, but the cards have no owner any more."""
    good = host.path(path).read_text() if host.path(path).exists() else ""
    assert libvirt.start(host.vm("a", 0, 1)).running
    cut = host.masks()
    host.write(path, "[broken\n")
    libvirt.stop("a")
    assert host.masks() == cut
    assert f"ended-{host.vm('a').uuid}" in host.claim_files()
    assert "its end is noted, and the next hook or `icn-hook repair` carries it out" in host.log()
    host.write(path, good)
    assert libvirt.start(host.vm("b", 1, 2)).running
    assert host.masks() == host.required_masks(libvirt.owners())
    libvirt.stop("b")
    assert_clean(host)


def test_start_in_progress_is_not_stale(host, libvirt):
    """Its daemon lives: between prepare and start there is no other sign of the domain."""
    assert host.hook("a", "prepare", host.vm("a", 0, 1).xml(PREPARE)).status == 0
    assert libvirt.start(host.vm("b", 1)).status == 4
    assert host.masks() == host.isolated((0, 1))


def test_hot_plugged_card_has_its_owner(host, libvirt):
    assert libvirt.start(host.vm("a", 0, 1)).running
    libvirt.hot_plug("a", Hostdev(host.bdfs[4]))
    assert libvirt.start(host.vm("b", 4)).status == 4
    libvirt.stop("a")
    assert_clean(host)


def test_register_that_was_reset_is_cut_again_at_start(host):
    domain = host.vm("a", 0, 1)
    assert host.hook("a", "prepare", domain.xml(PREPARE)).status == 0
    for ppu in (0, 1):
        host.set_driver(host.bdfs[ppu], "vfio-pci")
        host.write_register(ppu, 0)
    assert host.hook("a", "start", domain.xml(LIVE)).status == 0
    assert host.masks() == host.isolated((0, 1))


@pytest.mark.parametrize("policy, status", [("alert", 0), ("kill", 1)])
def test_leak_at_started(host, libvirt, policy, status):
    """QEMU does not open a device whose address in the guest is unassigned, so its
    register can be read."""
    host.configure(f"[policy]\non_leak = {policy}\n")
    domain = host.vm("a", 0, 1)
    assert host.hook("a", "prepare", domain.xml(PREPARE)).status == 0
    assert host.hook("a", "start", domain.xml(LIVE)).status == 0
    host.set_masks(nothing_cut(host))
    for ppu in (0, 1):
        host.set_driver(host.bdfs[ppu], "vfio-pci")
    host.start_process(4711)
    host.write_status(domain, 4711)
    assert host.hook("a", "started", domain.xml(LIVE)).status == status
    assert "vm=a op=started" in host.log()


# Many at once


def test_two_want_the_same_card(host):
    domains = [host.vm("a", 0, 1), host.vm("b", 1, 2)]
    for _ in range(5):
        with ThreadPoolExecutor(2) as pool:
            results = list(pool.map(lambda domain: host.hook(domain.name, "prepare", domain.xml(PREPARE)), domains))
        assert sorted(result.status for result in results) == [0, 4]
        for domain in domains:
            for operation in ("stopped", "release"):
                assert host.hook(domain.name, operation, domain.xml()).status == 0
        assert_clean(host)


def test_random_life(host):
    """The masks are always exactly those that the rule demands."""
    libvirt = Libvirt(host)
    dice = random.Random(20240607)
    for step in range(60):
        if libvirt.running and dice.random() < 0.4:
            libvirt.stop(dice.choice(sorted(libvirt.running)), dice.choice(["shutdown", "crashed", "destroyed"]))
        else:
            domain = host.vm(f"vm{step}", *dice.sample(range(len(host.bdfs)), dice.randint(1, 3)))
            taken = set(libvirt.owners()) & libvirt.ppus(domain)
            assert libvirt.start(domain).status == (4 if taken else 0)
        assert host.masks() == host.required_masks(libvirt.owners())
    for name in sorted(libvirt.running):
        libvirt.stop(name)
    assert_clean(host)


# Dry run


def test_dry_run_tells_and_changes_nothing(host):
    domain = host.vm("a", 0, 1)
    result = host.engine("--dry-run", "-", "--json", stdin=domain.xml(PREPARE))
    assert (result.status, result.stderr) == (0, "")
    plan = result.json()
    assert plan["schema"] == "icn-hook/plan/1"
    assert plan["domain"] == {"name": "a", "uuid": domain.uuid}
    assert (plan["verdict"], plan["reason"], plan["warnings"]) == ("isolate", None, [])
    assert plan["devices"] == [
        {"bdf": host.bdfs[0], "via": "hostdev", "ppu": 0},
        {"bdf": host.bdfs[1], "via": "hostdev", "ppu": 1},
    ]
    golden_masks = {ppu: mask for ppu, mask in golden(host, (0, 1)).items() if mask}
    assert plan["writes"] == [
        {"ppu": ppu, "bdf": host.bdfs[ppu], "from": "0x00000000", "to": f"0x{mask:08x}"}
        for ppu, mask in sorted(golden_masks.items())
    ]
    assert_clean(host)
    assert not host.path("/run/icn-hook").exists()


def test_verbose_dry_run_tells_what_it_found(host, libvirt):
    a = host.vm("a", 6)
    assert libvirt.start(a).running
    before = host.log()
    result = host.engine("-v", "--dry-run", "-", stdin=host.vm("b", 0, 1).xml())
    assert result.status == 0
    lines = result.stderr.splitlines()
    assert lines[:2] == [
        f"icn-hook: topology {host.path('/etc/icn-hook/icn_topo.cfg')}: {len(host.bdfs)} PPUs, of which [map] pins "
        f"{len(host.bdfs)}",
        f"icn-hook: vm a ({a.uuid}): runs",
    ]
    # Its own cards, and those without owner that a link joins with them.
    cards = [0, 1, 2, 3, 7] + ([8, 9] if host.model == "810e-16" else [])
    assert lines[2:] == [
        f"icn-hook: PPU {ppu} ({host.bdfs[ppu]}): mask {host.mask(ppu):#010x}" for ppu in cards
    ]
    assert host.log() == before


def test_dry_run_of_a_conflict(host, libvirt):
    assert libvirt.start(host.vm("a", 0, 1)).running
    before = state(host)
    result = host.engine("plan", "-", "--json", stdin=host.vm("b", 1).xml(PREPARE))
    assert result.status == 4
    plan = result.json()
    assert plan["verdict"] == "refuse" and "PPU 1" in plan["reason"] and plan["writes"] == []
    assert state(host) == before


def test_dry_run_of_a_domain_without_cards(host):
    result = host.engine("-n", "-", "--json", stdin=Domain("plain").xml(PREPARE))
    assert (result.status, result.json()["verdict"], result.json()["devices"]) == (0, "pass", [])


def test_dry_run_of_a_function_that_is_not_there(host):
    """libvirt will refuse it; a mistyped address must not look as if all were well."""
    result = host.engine("-n", "-", stdin=Domain("a", [Hostdev("0000:99:00.0")]).xml(PREPARE))
    assert (result.status, result.stdout.decode().splitlines()) == (
        0,
        ["VM 'a' uses no PPU: nothing to do.", "warning: the PCI function 0000:99:00.0 is not on this host"],
    )
