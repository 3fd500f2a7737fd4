# SPDX-License-Identifier: LGPL-2.1-or-later
"""A host on which VM b runs with the cards 2 and 3: whatever a test breaks and
whatever VM a then does, b must lose nothing by it."""

import struct

from domain_xml import INACTIVE, LIVE, PREPARE, Domain, Hostdev
from libvirt_player import Libvirt
from simhost import GUIDE_BDFS

STARTING = ["prepare", "start"]
RUNNING = ["started", "reconnect"]
ENDING = ["stopped", "release"]
FORMS = {"prepare": PREPARE, "stopped": INACTIVE, "release": INACTIVE}
CARDS_OF_B = (2, 3)
GONE = 0xFFFFFFFF
BEFORE = {0: 0x18, 1: 0x30, 2: 0x19, 3: 0x31, 4: 0x01, 5: 0x01, 6: 0, 7: 0}  # b alone
WITH_A = {**BEFORE, 0: 0x19, 1: 0x31, 6: 0x01, 7: 0x01}


def vm(name, *ppus):
    return Domain(name, [Hostdev(GUIDE_BDFS[ppu]) for ppu in ppus])


def form(domain, operation):
    return domain.xml(FORMS.get(operation, LIVE))


class Scene:
    def __init__(self, host):
        self.host = host
        self.libvirt = Libvirt(host)
        self.a = vm("a", 0, 1)
        self.b = vm("b", *CARDS_OF_B)
        self.plain = Domain("plain")
        assert self.libvirt.start(self.b).running
        self.entry_of_b = self.claim_files()[f"{self.b.uuid}.json"]
        self.let_through = False  # a has its cards
        assert self.masks() == BEFORE

    def masks(self):
        """A card without a register counts as gone."""
        found = {}
        for ppu in range(len(self.host.bdfs)):
            try:
                found[ppu] = self.host.mask(ppu)
            except (OSError, struct.error):
                found[ppu] = GONE
        return found

    def claim_files(self):
        try:
            return self.host.claim_files()
        except OSError:
            return {}

    def state(self):
        return self.masks(), self.claim_files()

    def check_b(self, moment):
        """The invariant, and that nobody touched b's registers or entry."""
        masks = self.masks()
        owners = {ppu: {"b"} for ppu in CARDS_OF_B}
        if self.let_through:
            owners.update({0: {"a"}, 1: {"a"}})
        assert self.host.leaks(masks, owners) == [], f"{moment}: {masks}"
        for ppu in CARDS_OF_B:
            assert masks[ppu] in (BEFORE[ppu], GONE), f"{moment} wrote a register of b"
        if self.entry_of_b is not None:
            assert self.claim_files().get(f"{self.b.uuid}.json") == self.entry_of_b, f"{moment} changed the entry of b"

    def call(self, operation, xml=None, domain=None):
        """One hook of a, or of another domain."""
        domain = domain or self.a
        result = self.host.hook(domain.name, operation, form(domain, operation) if xml is None else xml)
        self.let_through = self.let_through and operation not in ENDING
        self.check_b(f"{operation} of {domain.name}")
        return result

    def assert_refused(self, status, *words, xml=None, domain=None, operations=tuple(STARTING)):
        """Nothing changes, one line says why, on stderr and in the log."""
        name = (domain or self.a).name
        before = self.state()
        for operation in operations:
            result = self.call(operation, xml, domain)
            assert result.status == status, result
            assert result.stderr.startswith(f"icn-hook: VM '{name}' is not started: "), result.stderr
            assert result.stderr.endswith("\n")
            for word in words:
                assert word in result.stderr, (word, result.stderr)
            assert f": vm={name} op={operation} {result.stderr}" in self.host.log()
            assert self.state() == before

    def assert_harmless(self, xml=None, domain=None):
        """A VM that runs already, or that has ended: nothing fails and no link of
        the others opens.  Returns what was logged."""
        length = len(self.host.log())
        for operation in RUNNING + ENDING:
            result = self.call(operation, xml, domain)
            assert (result.status, result.stderr) == (0, ""), operation
            masks = self.masks()
            for ppu, mask in BEFORE.items():
                assert masks[ppu] & mask == mask, (operation, masks)
        return self.host.log()[length:]

    def assert_isolated(self, *, watched=True):
        """a starts and gets exactly its cuts; at its end they are gone again."""
        before = self.masks()
        for operation in STARTING:
            result = self.call(operation)
            assert (result.status, result.stderr) == (0, ""), result
            self.let_through = True
            if watched:
                assert self.masks() == WITH_A
        self.assert_harmless()
        if watched:
            assert self.masks() == before

    def assert_plain_domain_passes(self):
        """A domain without host PCI devices never notices anything."""
        before = self.state(), self.host.log()
        for operation in STARTING + RUNNING + ENDING:
            result = self.call(operation, domain=self.plain)
            assert (result.status, result.stderr) == (0, ""), operation
        assert (self.state(), self.host.log()) == before

    def assert_nic_passes(self, bdf):
        """Neither does one whose host PCI device is no card."""
        domain, before = Domain("nic", [Hostdev(bdf)]), self.state()
        for operation in STARTING + RUNNING + ENDING:
            result = self.call(operation, domain=domain)
            assert (result.status, result.stderr) == (0, ""), operation
        assert self.state() == before

    def assert_broken(self, status, *words, xml=None, domain=None):
        """The usual: a is refused, comes to no harm, and others pass."""
        self.assert_refused(status, *words, xml=xml, domain=domain)
        self.assert_harmless(xml, domain)
        self.assert_plain_domain_passes()

    def assert_broken_briefly(self, status, *words, xml=None):
        """The same for one of many cases on one host."""
        self.assert_refused(status, *words, xml=xml)
        before = self.masks()
        for operation in ("reconnect", "stopped", "release"):
            result = self.call(operation, xml)
            assert (result.status, result.stderr) == (0, ""), operation
        assert self.masks() == before
        assert self.call("prepare", domain=self.plain).status == 0

    def assert_mended(self):
        """After the repair everything is as if nothing had happened."""
        for operation in ENDING:
            assert self.call(operation).status == 0
        self.assert_isolated()
        self.libvirt.stop("b")
        assert self.state() == ({ppu: 0 for ppu in BEFORE}, {})
