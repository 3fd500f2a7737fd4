# SPDX-License-Identifier: LGPL-2.1-or-later
"""Cards that the kernel lets sleep, as vfio-pci does with those that nobody has open.

While a card sleeps its register reads all ones and what is written to it is lost: its
`resource0` is then a file of ones, and the true one lies beside it.
"""

import threading
import time

from simhost import LINK_CONFIG, STRIDE

POLL_SECONDS = 0.0005
REGISTER = LINK_CONFIG * STRIDE


class Kernel(threading.Thread):
    """What the kernel does while the programs run."""

    def __init__(self, host, ppus, wakes=True):
        super().__init__(daemon=True)
        self.host = host
        self.wakes = wakes
        self.cards = [host.device(host.bdfs[ppu]).resolve() for ppu in ppus]
        self.woken = {card.name: 0 for card in self.cards}
        self.ending = threading.Event()
        self.working = threading.Lock()
        for card in self.cards:
            host.set_driver(card.name, "vfio-pci")
            (card / "power").mkdir()
            (card / "power/control").write_text("auto\n")
            (card / "ones").write_bytes(b"\xff" * (card / "resource0").stat().st_size)
            self._sleep(card)

    def _set(self, card, state, runtime):
        for name, value in (("power/runtime_status", runtime), ("power_state", state)):
            (card / "next").write_text(f"{value}\n")
            (card / "next").rename(card / name)

    def _sleep(self, card):
        self._set(card, "D3hot", "suspended")
        (card / "resource0").rename(card / "awake")
        (card / "ones").rename(card / "resource0")

    def _wake(self, card):
        (card / "resource0").rename(card / "ones")
        (card / "awake").rename(card / "resource0")
        self._set(card, "D0", "active")
        self.woken[card.name] += 1

    def _step(self):
        for card in self.cards:
            control = (card / "power/control").read_text().strip()
            asleep = (card / "awake").exists()
            if control == "on" and asleep and self.wakes:
                self._wake(card)
            elif control == "auto" and not asleep:
                self._sleep(card)

    def run(self):
        while not self.ending.is_set():
            with self.working:
                self._step()
            time.sleep(POLL_SECONDS)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.join()

    def masks(self):
        """The true registers, once every card sleeps."""
        with self.working:
            self._step()
            registers = [(card / "awake").read_bytes()[REGISTER : REGISTER + 4] for card in self.cards]
        return [int.from_bytes(register, "little") for register in registers]
