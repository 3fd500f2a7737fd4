# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every single write of a link register, in order, for the oracle to judge."""

import os
import subprocess
from pathlib import Path

SOURCE = Path(__file__).resolve().parent / "write_journal.c"


class Journal:
    """The order in which programs wrote link registers: a library that is preloaded into
    them notes the register whenever a mapping for writing ends."""

    def __init__(self, hardware, library, path):
        """LIBRARY: what LD_PRELOAD is to name."""
        self.hardware = hardware
        self.library = library
        self.path = Path(path)
        self.path.touch()
        self.read = 0
        self.cuts = hardware.cuts()
        offset = hardware.registers.config * hardware.registers.stride
        self.environment = {
            "LD_PRELOAD": library,
            "ICN_TEST_WRITES": str(self.path),
            "ICN_TEST_REGISTER": f"/resource{hardware.registers.bar}:{offset}",
        }

    @staticmethod
    def build(path, sanitized=False):
        """SANITIZED: the programs are, and want the sanitizer's own library to be the first."""
        compiler = os.environ.get("CC", "cc").split()
        subprocess.run([*compiler, "-shared", "-fPIC", "-O1", "-o", str(path), str(SOURCE)], check=True)
        if not sanitized:
            return str(path)
        found = subprocess.run([*compiler, "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
        return f"{found.stdout.strip()} {path}"

    def forget(self):
        """The registers are now what somebody else than the programs made them."""
        self.read = self.path.stat().st_size
        self.cuts = self.hardware.cuts()

    def steps(self):
        """(what was written, the cuts of all cards then), for each write since the last time."""
        with open(self.path, encoding="ascii") as file:
            file.seek(self.read)
            lines = file.read()
        self.read += len(lines)
        for line in lines.splitlines():
            bdf, value = line.split()
            self.cuts = {**self.cuts, bdf: self.hardware.cut_bits(bdf, int(value, 16))}
            yield line, self.cuts
