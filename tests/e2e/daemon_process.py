# SPDX-License-Identifier: LGPL-2.1-or-later
"""The process that stands for libvirt's daemon: it starts programs as its children.

Descriptor 3 is a socket; each message on it is one call, as JSON, with four
descriptors: stdin, stdout and stderr of the program, and where its pid and then
its exit status are written.  The process ends with the socket.
"""

import array
import json
import os
import signal
import socket
import threading

CALLS = 3
MESSAGE_SIZE = 1 << 20
DESCRIPTORS = 4


def start(call, streams):
    """As libvirt: three streams, no other descriptor, signals as they are at first."""
    return os.posix_spawn(
        call["arguments"][0],
        call["arguments"],
        call["environment"],
        file_actions=[(os.POSIX_SPAWN_DUP2, stream, target) for target, stream in enumerate(streams)],
        setpgroup=0,
        setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
    )


def wait(pid, answer):
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    try:
        os.write(answer, f"{status}\n".encode())
    except BrokenPipeError:
        pass
    os.close(answer)


def serve(calls):
    while True:
        message, ancillary, _, _ = calls.recvmsg(
            MESSAGE_SIZE, socket.CMSG_SPACE(DESCRIPTORS * 4), socket.MSG_CMSG_CLOEXEC
        )
        if not message:
            return
        descriptors = array.array("i", ancillary[0][2])
        *streams, answer = descriptors
        try:
            pid = start(json.loads(message), streams)
            os.write(answer, f"{pid}\n".encode())
            threading.Thread(target=wait, args=(pid, answer), daemon=True).start()
        except OSError as error:
            os.write(answer, f"cannot start: {error}\n".encode())
            os.close(answer)
        for stream in streams:
            os.close(stream)


if __name__ == "__main__":
    serve(socket.socket(fileno=CALLS))
    os._exit(0)
