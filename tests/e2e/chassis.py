# SPDX-License-Identifier: LGPL-2.1-or-later
"""Cards in the slots of a machine, whose addresses change as they do when buses are numbered anew.

A slot is a bridge below the host bridge pci0000:00, and is the card's path; a card has its registers and its
serial number wherever it is.
"""

import os
import struct

from simhost import config_space, PPU_CLASS, PPU_DEVICE, PPU_VENDOR

SERIAL_CAPABILITY = 0x0003
CONFIG_SIZE, EXTENDED = 4096, 0x100
BAR = 0xD0000000


class Chassis:
    def __init__(self, host):
        """Slot and serial number of each card: its index, plus 1, in HOST's order."""
        self.host = host
        self.slots = {}  # address -> slot
        for index, bdf in enumerate(list(host.bdfs)):
            self._unplug(bdf, self._stand(bdf))
            self._plug(bdf, self._tray(index), index)
            self.set_serial(bdf, index + 1)

    def path(self, slot):
        return f"pci0000:00/{slot + 1:02x}.0/00.0"

    def serial(self, number):
        return f"00-00-00-00-00-00-00-{number:02x}"

    def pins(self, with_path=False, with_serial=False):
        """What [map] says of the cards as they are now."""
        words = {}
        for index, bdf in enumerate(self.host.bdfs):
            words[index] = bdf
            words[index] += f" path={self.path(self.slots[bdf])}" if with_path else ""
            words[index] += f" serial={self.serial(index + 1)}" if with_serial else ""
        return words

    def set_serial(self, bdf, number):
        """In the extended configuration space."""
        config = config_space(PPU_VENDOR, PPU_DEVICE, PPU_CLASS, BAR).ljust(EXTENDED, b"\0")
        config += struct.pack("<III", 1 << 16 | SERIAL_CAPABILITY, number, 0)
        (self.host.device(bdf) / "config").write_bytes(config.ljust(CONFIG_SIZE, b"\0"))

    def _tray(self, slot):
        """Where a card is while it has no address."""
        return self.host.path(f"/trays/{slot}")

    def _stand(self, bdf):
        return self.host.device(bdf).resolve()

    def _unplug(self, bdf, real):
        slot = self.slots.pop(bdf, self.host.bdfs.index(bdf) if bdf in self.host.bdfs else None)
        self._tray(slot).parent.mkdir(exist_ok=True)
        self.host.device(bdf).unlink()
        real.rename(self._tray(slot))
        return slot

    def _plug(self, bdf, tray, slot):
        bridge = self.host.path(f"/sys/devices/pci0000:00/0000:00:{slot + 1:02x}.0")
        bridge.mkdir(parents=True, exist_ok=True)
        tray.rename(bridge / bdf)
        self.host.device(bdf).symlink_to(os.path.relpath(bridge / bdf, self.host.device(bdf).parent))
        self.slots[bdf] = slot

    def renumber(self, new):
        """Cards get other addresses: NEW has the index of each and its address."""
        slots = {}
        for index in new:
            bdf = self.host.bdfs[index]
            slots[index] = self._unplug(bdf, self._stand(bdf))
        for index, bdf in new.items():
            self._plug(bdf, self._tray(slots[index]), slots[index])
            self.host.bdfs[index] = bdf

    def swap(self, first, second):
        """Two cards change their slots: addresses and paths stay where they are."""
        one, other = self.host.bdfs[first], self.host.bdfs[second]
        slots = self._unplug(one, self._stand(one)), self._unplug(other, self._stand(other))
        self._plug(one, self._tray(slots[1]), slots[0])
        self._plug(other, self._tray(slots[0]), slots[1])
        self.host.bdfs[first], self.host.bdfs[second] = other, one
