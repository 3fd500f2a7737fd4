# SPDX-License-Identifier: LGPL-2.1-or-later
"""The way from the package to an isolated VM, on a fresh host: install, `icn-hook setup`,
`icn-hook confirm`, `virsh start`.

The programs and the hook are those that the package has put into a fresh root; the cards
are those of a published machine, whose ids do not follow the addresses.  libvirt is played.
"""

import json

import pytest

import answers
from calls import installed
from domain_xml import Domain, Hostdev
from libvirt_player import Libvirt
from link_status import LinkStatus
from simhost import SimHost

CARDS = ("0001:c9:00.0", "0001:c8:00.0")  # joined to each other by one link
# Bit set = link cut: all links of the two cards but that one, and the far ends.  Cards that are not named: 0.
ISOLATED = {
    "0001:c9:00.0": 0x5F, "0001:c8:00.0": 0x77, "0001:80:00.0": 0x18, "0001:81:00.0": 0x30,
    "0000:c7:00.0": 0x01, "0000:c6:00.0": 0x01, "0001:a5:00.0": 0x40, "0001:a4:00.0": 0x40,
}  # fmt: skip


@pytest.fixture(name="fresh")
def fixture_fresh(bare):
    """A machine on which nothing was set up; what the vendor's tools answered on it is in /root/icn."""
    fresh = SimHost(bare.file("/simulated"), model="810e-16", build_dir=installed(bare))
    fresh.forget_setup()
    answers.save(fresh.hardware, fresh.path("/root/icn"))
    return fresh


def icn(bare, arguments, status=0):
    result = bare.run(f"ICN_SYSROOT=/simulated icn-hook {arguments}")
    assert result.returncode == status, f"{arguments}: status {result.returncode}\n{result.stdout}"
    return result.stdout


def masks(fresh):
    """By address, without those that are 0."""
    found = {bdf: fresh.hardware.load(bdf, fresh.hardware.registers.config) for bdf in fresh.wiring.bdfs}
    return {bdf: mask for bdf, mask in found.items() if mask != 0}


def vm():
    return Domain("vm1", [Hostdev(bdf) for bdf in CARDS])


def test_the_four_commands(bare, fresh):
    bare.install()
    assert "written" in icn(bare, "setup --from /simulated/root/icn")
    with LinkStatus(fresh):
        # Nothing answers at the other end of one link of each card, so nothing can be seen of that.
        confirmed = json.loads(icn(bare, "confirm --json", status=7))
    verdicts = [link["verdict"] for link in confirmed["links"]]
    assert {verdict: verdicts.count(verdict) for verdict in set(verdicts)} == {"confirmed": 56, "no witness": 16}
    assert masks(fresh) == {}
    libvirt = Libvirt(fresh)
    assert libvirt.start(vm()).running
    assert masks(fresh) == ISOLATED
    required = fresh.hardware.required({bdf: {"vm1"} for bdf in CARDS})
    assert {bdf: mask for bdf, mask in required.items() if mask} == ISOLATED, "by the wiring"
    assert "OK: every link that must be cut is verified" in icn(bare, "check")
    libvirt.stop("vm1")
    assert masks(fresh) == {}


def test_without_setup(bare, fresh):
    bare.install()
    refused = Libvirt(fresh).start(vm())
    assert (refused.failed, refused.status) == ("prepare", 3)
    assert refused.message == (
        "icn-hook: VM 'vm1' is not started: no [map] in the configuration says which card is which PPU; "
        "run icn-hook setup\n"
    )
    assert masks(fresh) == {}


def test_confirm_can_be_required(bare, fresh):
    """As a policy of the administrator's: without it a start after `setup` alone is let through."""
    bare.install()
    icn(bare, "setup --from /simulated/root/icn")
    fresh.configure("[policy]\nrequire_confirmed = yes\n")
    refused = Libvirt(fresh).start(vm())
    assert (refused.failed, refused.status) == ("prepare", 3)
    assert "run icn-hook confirm" in refused.message
    with LinkStatus(fresh):
        icn(bare, "confirm", status=7)
    assert Libvirt(fresh).start(vm()).running
    assert masks(fresh) == ISOLATED
