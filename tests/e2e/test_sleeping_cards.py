# SPDX-License-Identifier: LGPL-2.1-or-later
"""Cards in D3hot: they are woken before they are read or written, and only then."""

from domain_xml import INACTIVE, LIVE, PREPARE, Domain, Hostdev
from simhost import GUIDE_BDFS
from sleeping_cards import Kernel

ALL = range(8)
PAIR = [0x19, 0x31, 0x18, 0x30, 0, 0, 0x01, 0x01]
VM = Domain("vm1", [Hostdev(GUIDE_BDFS[ppu]) for ppu in (0, 1)])
FORMS = {"prepare": PREPARE, "stopped": INACTIVE, "release": INACTIVE}
ASLEEP = "it sleeps (D3hot) and is not woken only to look; vfio-pci with disable_idle_d3=1 keeps cards awake"


def controls(host):
    return {(host.device(bdf) / "power/control").read_text().strip() for bdf in host.bdfs}


def run(host, operation):
    result = host.hook("vm1", operation, VM.xml(FORMS.get(operation, LIVE)))
    assert (result.status, result.stderr) == (0, ""), operation
    assert controls(host) == {"auto"}, f"{operation} left a card awake"


def test_a_vms_life_on_sleeping_cards(host):
    with Kernel(host, ALL) as kernel:
        run(host, "prepare")
        assert kernel.masks() == PAIR
        assert [kernel.woken[bdf] for bdf in GUIDE_BDFS] == [1, 1, 1, 1, 0, 0, 1, 1]
        host.device(GUIDE_BDFS[0]).joinpath("awake").write_bytes(bytes(4 << 20))
        run(host, "start")
        assert kernel.masks() == PAIR
        run(host, "stopped")
        run(host, "release")
        assert kernel.masks() == [0] * 8
    assert host.claim_files() == {}


def test_looking_does_not_wake(host):
    with Kernel(host, ALL) as kernel:
        seen = host.engine("status", "--json").json()
        assert [ppu["mask"] for ppu in seen["ppus"]] == [None] * 8
        texts = [f"PPU {ppu} ({bdf}): {ASLEEP}" for ppu, bdf in enumerate(GUIDE_BDFS)]
        assert [(finding["code"], finding["text"]) for finding in seen["findings"]] == [("card", text) for text in texts]
        plan = host.engine("plan", "-", "--json", stdin=VM.xml(PREPARE)).json()
        assert plan["verdict"] == "isolate"
        assert f"PPU 0 ({GUIDE_BDFS[0]}): {ASLEEP}; its mask is not known now" in plan["warnings"]
        assert set(kernel.woken.values()) == {0}


def test_a_card_that_does_not_wake_is_refused(host):
    with Kernel(host, [0], wakes=False):
        result = host.hook("vm1", "prepare", VM.xml(PREPARE))
    assert result.status == 5
    assert result.stderr == (
        f"icn-hook: VM 'vm1' is not started: PPU 0 ({GUIDE_BDFS[0]}): it does not wake from D3hot; its links cannot be "
        "cut, so correct that or give the VM another card\n"
    )
    assert host.masks() | {0: 0} == {ppu: 0 for ppu in ALL}
    assert (host.device(GUIDE_BDFS[0]) / "power/control").read_text().strip() == "auto"
