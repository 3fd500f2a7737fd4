# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the stand-ins for the vendor's tools share: the simulated host, faults, calls.

The host is ICN_SYSROOT or, without it, the nearest directory above the tool, as it was
called, that has sys/bus/pci/devices.  Words in the host's etc/TOOL.fault make the tool
fail; each tool's own text says what else it knows:

  hang      it never answers
  exit      it says that the firmware refused, and exits with 1
  signal    it dies of SIGSEGV
  flood     1 MiB of lines, then the answer
  noise     1 MiB without a line's end, instead of the answer
  stderr    warnings on stderr, then the answer
  truncate  the first half of the answer

Each call is added to the host's var/log/TOOL.calls if that directory exists.
"""

import os
import re
import signal
import sys
import time

E2E = os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))), "e2e")
ADDRESS = re.compile(r"(?:([0-9a-f]{4}|[0-9a-f]{8}):)?([0-9a-f]{2}:[0-9a-f]{2}\.[0-7])")


class Tool:
    def __init__(self, name):
        self.name = name
        self.root = os.environ.get("ICN_SYSROOT") or self._find_root()
        self.faults = self._read("etc", f"{name}.fault").split()
        self._note_call()

    def fail(self, message, status=1):
        print(f"{self.name}: error: {message}", file=sys.stderr)
        sys.exit(status)

    def _find_root(self):
        root = os.path.dirname(os.path.abspath(sys.argv[0]))
        while not os.path.isdir(os.path.join(root, "sys/bus/pci/devices")):
            if root == os.path.dirname(root):
                self.fail("no simulated host: set ICN_SYSROOT")
            root = os.path.dirname(root)
        return root

    def path(self, *parts):
        return os.path.join(self.root, *parts)

    def _read(self, *parts):
        try:
            with open(self.path(*parts), encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def _note_call(self):
        calls = self.path("var/log", f"{self.name}.calls")
        if os.path.isdir(os.path.dirname(calls)):
            with open(calls, "a", encoding="utf-8") as file:
                file.write(repr(sys.argv[1:]) + "\n")

    def hardware(self):
        """The cards and their links, or None if the host has no wiring."""
        if not os.path.exists(self.path("wiring.json")):
            return None
        sys.path.insert(0, E2E)
        from physical import Hardware

        return Hardware.of(self.root)

    def run(self, act):
        """Prints the answer that ACT returns."""
        self._act_on_faults()
        answer = act()
        print(answer[: len(answer) // 2] if "truncate" in self.faults else answer, end="")

    def _act_on_faults(self):
        if "hang" in self.faults:
            print("waiting for the firmware", flush=True)
            time.sleep(3600)
        if "exit" in self.faults:
            print("first line")
            self.fail("the firmware refused")
        if "signal" in self.faults:
            os.kill(os.getpid(), signal.SIGSEGV)
        if "flood" in self.faults:
            print("x" * 63 + "\n" + ("y" * 63 + "\n") * (16 * 1024 - 1), end="", flush=True)
        if "noise" in self.faults:
            print("z" * (1 << 20), end="", flush=True)
            sys.exit(0)
        if "stderr" in self.faults:
            for number in range(100):
                print(f"warning {number}: link[0]: nbrPpuid:1", file=sys.stderr)


def address(text):
    """As sysfs writes it, or None; the domain may have 4 or 8 digits, or be left out."""
    match = ADDRESS.fullmatch(text.lower())
    return f"{int(match[1] or '0', 16):04x}:{match[2]}" if match else None
