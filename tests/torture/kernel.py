# SPDX-License-Identifier: LGPL-2.1-or-later
"""The cards of a simulated host as the kernel has them: their registers, whatever
becomes of the files that show them, and their sleep.

A card that nobody has open sleeps on vfio-pci.  Its `resource0` is then a file of
ones, and what is written there is lost; `on` in power/control wakes it.  Both files
keep a name of their own, so `resource0` always is one of them.
"""

import ctypes
import mmap
import os
import select
import struct
import sys
import threading
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "e2e"))

from simhost import LINK_CONFIG, STRIDE, is_vfio  # noqa: E402

REGISTER = LINK_CONFIG * STRIDE
IN_MODIFY = 0x2
EVENT_SIZE = 16
HEARTBEAT, LATE = 0.1, 0.5  # seconds; a program waits for 1 s
libc = ctypes.CDLL(None, use_errno=True)


class Registers:
    """Reads and writes the registers themselves.  A file that is renamed stays mapped."""

    def __init__(self, paths):
        self.pages = []
        for path in paths:
            with open(path, "r+b") as resource:
                page = REGISTER - REGISTER % mmap.PAGESIZE
                # Words that are stored at once: struct.pack_into() makes the place zero first.
                mapping = mmap.mmap(resource.fileno(), mmap.PAGESIZE, offset=page)
                self.pages.append(memoryview(mapping).cast("I"))

    def read(self, ppu):
        return self.pages[ppu][REGISTER % mmap.PAGESIZE // 4]

    def write(self, ppu, mask):
        self.pages[ppu][REGISTER % mmap.PAGESIZE // 4] = mask

    def all(self):
        return {ppu: self.read(ppu) for ppu in range(len(self.pages))}


class Kernel:
    def __init__(self, host):
        self.host = host
        self.cards = [host.device(bdf).resolve() for bdf in host.bdfs]
        self.registers = Registers([card / "resource0" for card in self.cards])
        self.sleepy = [False] * len(self.cards)  # goes to sleep when nobody keeps it awake
        self.asleep = [False] * len(self.cards)
        self.lock = threading.Lock()
        self.watches = {}
        self.seen, self.delay = time.monotonic(), 0  # when the watch last looked, and the longest time that it did not
        self.inotify = libc.inotify_init1(os.O_CLOEXEC)
        for ppu, card in enumerate(self.cards):
            (card / "power").mkdir()
            (card / "power/control").write_text("on\n")
            (card / "ones").write_bytes(b"\xff" * (card / "resource0").stat().st_size)
            (card / "awake").hardlink_to(card / "resource0")
            self._set_power(card, True)
            watch = libc.inotify_add_watch(self.inotify, os.fsencode(card / "power/control"), IN_MODIFY)
            assert watch >= 0, os.strerror(ctypes.get_errno())
            self.watches[watch] = ppu
        threading.Thread(target=self._watch, daemon=True).start()

    @staticmethod
    def _set_power(card, is_on):
        """No reader finds a card in D3hot whose runtime status is active."""
        words = [("power/runtime_status", "active" if is_on else "suspended"), ("power_state", "D0" if is_on else "D3hot")]
        for name, word in reversed(words) if is_on else words:
            (card / "next").write_text(f"{word}\n")
            (card / "next").rename(card / name)

    def _watch(self):
        """An error here would let cards sleep on: the whole process ends with it."""
        try:
            self._watch_on()
        except BaseException:
            traceback.print_exc()
            os._exit(1)

    def _watch_on(self):
        while True:
            is_ready = select.select([self.inotify], [], [], HEARTBEAT)[0]
            now = time.monotonic()
            self.delay = max(self.delay, now - self.seen)
            self.seen = now
            events = os.read(self.inotify, 64 * EVENT_SIZE) if is_ready else b""
            for offset in range(0, len(events), EVENT_SIZE):
                self.settle(self.watches[struct.unpack_from("i", events, offset)[0]])

    def was_late(self):
        """Since this was last asked a card may have slept on for longer than the programs wait for it: the machine
        that this runs on had no time."""
        delay, self.delay = max(self.delay, time.monotonic() - self.seen), 0
        return delay > LATE

    def is_asleep(self, ppu):
        return self.asleep[ppu]

    def _show(self, ppu, name):
        card = self.cards[ppu]
        (card / "next").hardlink_to(card / name)
        (card / "next").rename(card / "resource0")
        self.asleep[ppu] = name == "ones"

    def _wants_sleep(self, ppu):
        # What was written over a longer word by a slow writer counts too.  A plain file is empty before it is written
        # and after its writer was killed: that counts as `on`, which the word was or was to be.
        return self.sleepy[ppu] and (self.cards[ppu] / "power/control").read_text().startswith("auto")

    def settle(self, ppu):
        """Gives the card the power that power/control and its users ask for.  Who writes
        `on` and then finds it in D0 may rely on that."""
        card = self.cards[ppu]
        with self.lock:
            if self._wants_sleep(ppu) and not self.asleep[ppu]:
                self._set_power(card, False)
                if self._wants_sleep(ppu):
                    self._show(ppu, "ones")
                else:
                    self._set_power(card, True)
            elif not self._wants_sleep(ppu) and self.asleep[ppu]:
                self._show(ppu, "awake")
                self._set_power(card, True)

    def settle_all(self):
        """When no program runs."""
        for ppu in range(len(self.cards)):
            control = self.cards[ppu] / "power/control"
            if not control.read_text():
                control.write_text("on\n")
            self.settle(ppu)

    def driver(self, ppu):
        return self.host.driver(self.host.bdfs[ppu])

    def bind(self, ppu, driver, sleeps=False):
        """Binds a driver, or none; SLEEPS: vfio-pci lets the card sleep."""
        self.sleepy[ppu] = False
        self.settle(ppu)
        self.host.set_driver(self.host.bdfs[ppu], driver)
        if sleeps and driver and is_vfio(driver):
            (self.cards[ppu] / "power/control").write_text("auto\n")
            self.sleepy[ppu] = True
            self.settle(ppu)

    def hold(self, ppu):
        self.sleepy[ppu] = False
        self.settle(ppu)
        self.host.hold(self.host.bdfs[ppu])

    def let_go(self, ppu):
        self.host.let_go(self.host.bdfs[ppu])

    def is_held(self, ppu):
        driver = self.driver(ppu)
        return bool(driver) and is_vfio(driver) and self.host.enable(self.host.bdfs[ppu]) > 0

    def is_claimed_by_driver(self, ppu):
        driver = self.driver(ppu)
        return bool(driver) and not is_vfio(driver)

    def can_be_written(self, ppu):
        """By whoever may wake it."""
        return not self.is_held(ppu) and not self.is_claimed_by_driver(ppu)

    def can_be_read(self, ppu):
        """Without waking it."""
        return self.can_be_written(ppu) and not self.is_asleep(ppu)
