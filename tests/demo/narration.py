# SPDX-License-Identifier: LGPL-2.1-or-later
"""How the demo and the operator's day tell what they do."""

import os
import shutil
import sys
import textwrap
import time

from libvirt_player import Libvirt

WIDTH = min(shutil.get_terminal_size(fallback=(100, 24)).columns, 100) - 2
BOLD, RED, GREEN, DIM = "1", "31", "32", "2"
IN_COLOUR = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text, *codes):
    return f"\033[{';'.join(codes)}m{text}\033[0m" if IN_COLOUR else text


def title(text):
    print(f"\n{paint(text, BOLD)}\n{'-' * len(text)}")


def say(text, indent=""):
    print(textwrap.fill(" ".join(text.split()), WIDTH, initial_indent=indent, subsequent_indent=indent))


def command(text):
    print(f"\n{paint('$ ' + text, BOLD)}")


def show(output, *codes):
    """A program's output, indented, long lines folded."""
    for line in output.rstrip("\n").splitlines():
        folded = textwrap.wrap(line, WIDTH - 2, subsequent_indent="    ", replace_whitespace=False)
        for part in folded or [""]:
            print("  " + paint(part, *codes) if codes else "  " + part)


def must(condition, otherwise):
    if not condition:
        raise AssertionError(otherwise)


def card(host, ppu):
    return f"PPU {ppu} ({host.bdfs[ppu]})"



class NarratingLibvirt(Libvirt):
    """Tells each call of the hook, and what it changed in the registers: the simulation
    knows them always, a host only while nobody has the card open."""

    def call(self, domain, operation, form, extra="-", **options):
        before, began = self.host.masks(), time.monotonic()
        result = super().call(domain, operation, form, extra, **options)
        spent = (time.monotonic() - began) * 1000
        changed = [ppu for ppu, mask in self.host.masks().items() if mask != before[ppu]]
        verdict = paint(f"exit {result.status}", GREEN if result.status == 0 else RED)
        print(f"  hook: {domain.name} {operation:<8} {verdict}  {spent:3.0f} ms  {registers_text(changed)}")
        for ppu in changed:
            print(f"          {card(self.host, ppu)}  0x{before[ppu]:08x} -> 0x{self.host.mask(ppu):08x}")
        return result


def registers_text(changed):
    if not changed:
        return "no register changed"
    return f"{len(changed)} register{'s' if len(changed) > 1 else ''} changed"
