# SPDX-License-Identifier: LGPL-2.1-or-later
"""The watcher outside, from Python."""

import json
import signal
import subprocess

from machine import DIES_WITH_US


class Watcher:
    def __init__(self, program, topology, cards, work):
        links = work / "links"
        links.write_text("".join(f"{ppu} {link} {peer}\n" for ppu in sorted(topology.links)
                                 for link, peer in sorted(topology.links[ppu].items())))
        command = [*DIES_WITH_US, program, links, *cards]
        self.process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE)
        self.begun = self.process.stdout.readline()

    def finish(self):
        """What it saw."""
        self.process.send_signal(signal.SIGTERM)
        output, _ = self.process.communicate(timeout=30)
        return json.loads(self.begun + output)


def describe(violations):
    return "\n".join(f"at {v['time']:.3f}: live link {v['a']}-{v['b']}, owners {v['owners']}, registers "
                     + " ".join(f"{register:#x}" for register in v["registers"]) for v in violations)
