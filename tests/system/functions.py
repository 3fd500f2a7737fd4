# SPDX-License-Identifier: LGPL-2.1-or-later
"""Cards with virtual functions, and the product configured for another kind of card."""

CONFIGURATION = "/etc/icn-hook"


class Shared:
    """Physical functions and what they were split into."""

    def __init__(self, scene, match, driver):
        self.scene = scene
        self.machine = scene.machine
        self.driver = driver
        self.cards = self.machine.must(f"lspci -D -n -d {match} | cut -d ' ' -f 1").split()

    def split(self, card, count):
        self.machine.must(f"/system-test/virtual-functions {self.cards[card]} {self.driver} {count}")

    def function(self, card, index):
        link = f"/sys/bus/pci/devices/{self.cards[card]}/virtfn{index}"
        return self.machine.must(f"basename $(readlink {link})").strip()

    def address(self, card):
        """Where the host has the card's BAR 0."""
        resource = self.machine.must(f"cat /sys/bus/pci/devices/{self.cards[card]}/resource")
        return int(resource.split()[0], 16)

    def set_awake(self, card, awake):
        """vfio-pci lets a card that nobody has open sleep; from QEMU 10 on it answers nothing then."""
        value = "on" if awake else "auto"
        self.machine.must(f"echo {value} >/sys/bus/pci/devices/{self.cards[card]}/power/control")

    def join(self):
        for card in range(len(self.cards)):
            self.split(card, 0)


def set_aside(machine):
    """The configuration, and with it all ids; configure_as_before brings it back."""
    machine.must(f"rm -rf /run/ordinary; cp -a {CONFIGURATION} /run/ordinary; rm -r {CONFIGURATION}/icn-hook.conf.d")


def configure(machine, settings, topology):
    set_aside(machine)
    machine.write(f"{CONFIGURATION}/icn-hook.conf", settings)
    machine.write(f"{CONFIGURATION}/icn_topo.cfg", topology)


def configure_as_before(machine):
    machine.must(f"cp -a /run/ordinary/. {CONFIGURATION}/")
