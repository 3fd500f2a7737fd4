# SPDX-License-Identifier: LGPL-2.1-or-later
"""A program's output as a terminal gets it."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios

ESCAPES = re.compile(r"\033\[[0-9;]*m")


def run_on_terminal(arguments, environment, width):
    """Returns exit status and output; standard output is a pseudo terminal of WIDTH columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    with subprocess.Popen([str(argument) for argument in arguments], stdout=theirs, env=environment) as program:
        os.close(theirs)
        output = b""
        while True:
            try:
                part = os.read(ours, 1 << 16)
            except OSError:  # the program has closed its end
                break
            if not part:
                break
            output += part
    os.close(ours)
    return program.returncode, output.decode().replace("\r\n", "\n")


def plain(text):
    """Without colours."""
    return ESCAPES.sub("", text)
