# SPDX-License-Identifier: LGPL-2.1-or-later
"""A process that reads the registers all the time, while programs write them.

The world publishes who has which card; what it published before and after a look
must be the same, or the look is not judged.
"""

import mmap
import os
import struct
import time

import rules
from kernel import Registers

# A sequence number, odd while it is being changed; then for each card who has a
# claim, who was let through, whether it was plugged in without a gate, and from whom
# it was unplugged; then for each tenant until when its start counts; then what the
# watcher reports: looks, looks with somebody let through, and a violation.
CARDS, TABLES, TENANTS = 8, 4, 5
LAYOUT = struct.Struct(f"={TABLES * CARDS}B{TENANTS}d")
SEQUENCE_SIZE = 4
REPORT = struct.Struct("<QQ")
REPORT_AT, TEXT_AT = 128, 160
PAUSE = 0.0005  # seconds; the programs are to run too


class Board:
    def __init__(self):
        self.page = mmap.mmap(-1, mmap.PAGESIZE)
        # Stored at once: struct.pack_into() makes the place zero first.
        self.words = memoryview(self.page).cast("I")

    def publish(self, tables, deadlines):
        """Lists with a number for each card, 0 = nobody, and with a time of the monotonic clock for
        each tenant, whose number is one more than its index."""
        self.words[0] += 1
        numbers = (number for table in tables for number in table)
        LAYOUT.pack_into(self.page, SEQUENCE_SIZE, *numbers, *deadlines)
        self.words[0] += 1

    def read(self):
        """The sequence number and the content."""
        return self.words[0], self.page[SEQUENCE_SIZE : SEQUENCE_SIZE + LAYOUT.size]

    def report(self):
        """(looks, looks with somebody let through, the violation or "")."""
        looks, judged = REPORT.unpack_from(self.page, REPORT_AT)
        return looks, judged, self.page[TEXT_AT:].split(b"\0")[0].decode()


def in_time(tables, deadlines):
    """The tables without those whose start has taken too long: icn-hook may have given up their cards."""
    now = time.monotonic()
    late = {index + 1 for index, deadline in enumerate(deadlines) if deadline <= now}
    claimed, through, plugged, loose = tables
    return [[0 if number in late else number for number in table] for table in (claimed, through)] + [plugged, loose]


def unpack(content):
    numbers = LAYOUT.unpack(content)
    tables = [list(numbers[CARDS * table : CARDS * (table + 1)]) for table in range(TABLES)]
    return in_time(tables, numbers[CARDS * TABLES :])


def watch(board, wires, paths):
    registers, looks, judged, parent = Registers(paths), 0, 0, os.getppid()
    fine = None  # what was last found to be right
    while os.getppid() == parent:
        time.sleep(PAUSE)
        sequence, content = before = board.read()
        masks = registers.all()
        if sequence % 2 or board.read() != before:
            continue
        tables = unpack(content)
        looks += 1
        judged += any(tables[1])
        found = rules.forbidden_links(wires, masks, *tables) if (tables, masks) != fine else []
        fine = (tables, masks)
        REPORT.pack_into(board.page, REPORT_AT, looks, judged)
        if found:
            text = f"live links {found} with registers { {p: hex(m) for p, m in masks.items()} }"
            text += f"; claimed, let through, plugged, loose: {tables}"
            board.page[TEXT_AT : TEXT_AT + len(text) + 1] = text.encode() + b"\0"
            return


def start(board, wires, paths):
    pid = os.fork()
    if pid == 0:
        try:
            watch(board, wires, paths)
        finally:
            os._exit(0)
    return pid
