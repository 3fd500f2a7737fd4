# SPDX-License-Identifier: LGPL-2.1-or-later
"""What `icn-hook status --prometheus` prints, read strictly."""

import re
from pathlib import Path

TREE = Path(__file__).resolve().parent.parent.parent
SAMPLE = re.compile(r'([a-z_]+)(\{(?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*"(?:,(?!\})|(?=\})))*\})? (-?[0-9]+(?:\.[0-9]{6})?)')


def version():
    return re.search(r"AC_INIT\(\[icn-hook\], \[([^]]+)\]", (TREE / "configure.ac").read_text())[1]


def samples(text):
    """A strict reading: every line, HELP and TYPE before the samples of their metric."""
    found, described, lines = {}, None, text.split("\n")
    assert lines.pop() == ""
    while lines:
        line = lines.pop(0)
        if line.startswith("# HELP "):
            described = line.split(" ")[2]
            kind = "counter" if described.endswith("_total") else "gauge"
            assert lines.pop(0) == f"# TYPE {described} {kind}"
            assert described not in found
            found[described] = {}
            continue
        match = SAMPLE.fullmatch(line)
        assert match and match[1] == described, line
        assert match[2] not in found[described]
        found[described][match[2]] = float(match[3]) if "." in match[3] else int(match[3])
    return found
