# SPDX-License-Identifier: LGPL-2.1-or-later
"""Plays the link status register of a simulated host's cards: bit i is set while link i
is up.

    link_status.py ROOT [DELAY [down]]

A link comes up when both of its ends have been open for DELAY seconds, and goes down when
one of them has been cut for that long; one that the wiring calls broken stays down.  With
`down` all links are down at first, as after a reset.  Says "ready" when the registers are
right, and ends with its standard input.
"""

import mmap
import os
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True

from physical import Hardware  # noqa: E402

PERIOD = 0.001  # seconds between two looks


class Page:
    """A register of a card; a file that is replaced or removed stays mapped."""

    def __init__(self, path, offset):
        self.path = path
        begin = offset - offset % mmap.PAGESIZE
        self.word = (offset - begin) // 4
        with open(path, "r+b") as resource:
            # Words that are stored at once: struct.pack_into() makes the place zero first.
            self.words = memoryview(mmap.mmap(resource.fileno(), mmap.PAGESIZE, offset=begin)).cast("I")

    def get(self):
        """None if the card is gone."""
        return self.words[self.word] if os.path.exists(self.path) else None

    def set(self, value):
        self.words[self.word] = value


class Player:
    def __init__(self, hardware, delay):
        registers, bdfs = hardware.registers, hardware.wiring.bdfs
        self.hardware, self.delay = hardware, delay
        self.config = {bdf: Page(hardware.resource(bdf), registers.config * registers.stride) for bdf in bdfs}
        self.status = {bdf: Page(hardware.resource(bdf), registers.status * registers.stride) for bdf in bdfs}
        self.shown = {bdf: None for bdf in bdfs}
        self.since = {}  # end -> when what it shows stopped to be so
        self.last = None

    def up_bits(self):
        hardware = self.hardware
        cuts = {bdf: hardware.cut_bits(bdf, page.get()) for bdf, page in self.config.items()}
        if cuts == self.last and not self.since:
            return None
        self.last = cuts
        links = {bdf: hardware.wiring.links(bdf) for bdf in hardware.wiring.bdfs}
        return {bdf: sum(1 << link for link in links[bdf] if hardware.is_up((bdf, link), cuts)) for bdf in links}

    def show(self, bits):
        for bdf, value in bits.items():
            if self.shown[bdf] != value:
                self.status[bdf].set(value)
                self.shown[bdf] = value

    def look(self):
        bits, now = self.up_bits(), time.monotonic()
        if bits is None:
            return
        for bdf, value in bits.items():
            for link in range(32):
                end = bdf, link
                if not (value ^ self.shown[bdf]) >> link & 1:
                    self.since.pop(end, None)
                elif now - self.since.setdefault(end, now) >= self.delay:
                    self.show({bdf: self.shown[bdf] ^ 1 << link})
                    self.since.pop(end)

    def play(self, down):
        self.show(dict.fromkeys(self.config, 0) if down else self.up_bits())
        print("ready", flush=True)
        while True:
            self.look()
            time.sleep(PERIOD)


class LinkStatus:
    """The process, as a context manager."""

    def __init__(self, host, delay=0.0, down=False):
        self.command = [sys.executable, "-S", __file__, str(host.root), str(delay), *(["down"] if down else [])]
        self.process = None

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n", "link_status.py does not play"
        return self

    def __exit__(self, *error):
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


def end_with_stdin():
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=end_with_stdin, daemon=True).start()
    delay = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
    Player(Hardware.of(sys.argv[1]), delay).play(down=sys.argv[3:] == ["down"])
