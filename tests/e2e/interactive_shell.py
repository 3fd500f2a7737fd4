# SPDX-License-Identifier: LGPL-2.1-or-later
"""A shell at a terminal, asked what it would complete a line to."""

import os
import pty
import re
import select
import time
from pathlib import Path

COMPLETIONS = Path(__file__).resolve().parent.parent.parent / "packaging/completion"
INSERT_ALL, SHOW_LINE = b"\x18a", b"\x18p"  # Control-X and a letter
PROMPT, SHOWN = rb"PROMPT>", rb"<<(.*?)>>"
PATIENCE = 30

BASH = rf"""PS1='PRO''MPT>'; unset HISTFILE; bind 'set enable-bracketed-paste off'
. '{COMPLETIONS}/icn-hook.bash'
bind '"\C-xa": insert-completions'; bind -x '"\C-xp": printf "<""<%s>>" "$READLINE_LINE"; READLINE_LINE='
PS1='READY''>'
"""
ZSH = rf"""unsetopt zle_bracketed_paste prompt_sp prompt_cr; PS1='PRO''MPT>'; fpath=('{COMPLETIONS}' $fpath)
autoload -Uz compinit; compinit -D -u; zstyle ':completion:all-matches::::' completer _all_matches _complete
zstyle ':completion:all-matches:*' old-matches false; zstyle ':completion:all-matches:*' insert true
zle -C all-matches complete-word _generic; bindkey '^Xa' all-matches
show() {{ print -nr "<""<$BUFFER>>"; BUFFER= }}; zle -N show; bindkey '^Xp' show; PS1='READY''>'
"""


class InteractiveShell:
    """The shell has the completion of icn-hook, and nothing else of the machine's."""

    def __init__(self, arguments, setup, environment):
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            try:
                os.execvpe(arguments[0], arguments, environment)
            finally:
                os._exit(127)
        os.write(self.terminal, f"{setup}".encode())
        self._read_until(rb"READY>")

    @classmethod
    def bash(cls, environment):
        return cls(["bash", "--norc", "--noprofile", "-i"], BASH, environment | {"INPUTRC": "/dev/null"})

    @classmethod
    def zsh(cls, environment):
        return cls(["zsh", "-f", "-i"], ZSH, environment)

    def _read_until(self, pattern):
        text, deadline = b"", time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if select.select([self.terminal], [], [], 0.2)[0]:
                text += os.read(self.terminal, 1 << 16)
                if match := re.search(pattern, text, re.S):
                    return match
        raise AssertionError(f"the shell does not answer: {text!r}")

    def complete(self, line):
        """LINE with all that its last word could be in its place."""
        os.write(self.terminal, line.encode() + INSERT_ALL + SHOW_LINE)
        return self._read_until(SHOWN)[1].decode()

    def offers(self, line):
        """What the last word of LINE could be; empty: the shell has nothing to offer."""
        completed = self.complete(line)
        if completed.rstrip() == line.rstrip():
            return []
        return completed[line.rindex(" ") + 1 :].split()

    def close(self):
        os.close(self.terminal)
        os.waitpid(self.pid, 0)
