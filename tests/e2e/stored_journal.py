# SPDX-License-Identifier: LGPL-2.1-or-later
"""A journal of a simulated host, and a journalctl that shows it as systemd's does."""

import json

BOOT = "11111111222243338444555555555555"

JOURNALCTL = r"""#!/usr/bin/env python3
import json, os, sys
place = os.path.join(os.environ["ICN_SYSROOT"], "var/log/journal")
with open(os.path.join(place, "calls"), "a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\n")
since, until, matches, fields, newest = None, None, {}, None, 0
shown = []
for word in sys.argv[1:]:
    name, _, value = word.partition("=")
    if name in ("--since", "--until"):
        if not value.startswith("@"):
            print("Failed to parse timestamp:", value, file=sys.stderr)
            sys.exit(1)
        since, until = (int(value[1:]), until) if name == "--since" else (since, int(value[1:]))
    elif name == "--output-fields":
        fields = set(value.split(","))
    elif name == "--boot":
        with open(os.path.join(os.environ["ICN_SYSROOT"], "proc/sys/kernel/random/boot_id")) as file:
            matches["_BOOT_ID"] = {file.read().strip().replace("-", "")}
    elif name == "--lines":
        newest = int(value)
    elif name not in ("--output", "--all", "--quiet", "--no-pager"):
        matches.setdefault(name, set()).add(value)
with open(os.path.join(place, "entries")) as file:
    for line in file:
        entry = json.loads(line)
        at = int(entry["__REALTIME_TIMESTAMP"]) / 1e6
        if (since is not None and at < since) or (until is not None and at > until):
            continue
        if all(entry.get(name) in values for name, values in matches.items()):
            shown.append(json.dumps({name: value for name, value in entry.items()
                                     if name.startswith("_") or name in fields}))
for line in shown[-newest:]:
    print(line)
"""


class StoredJournal:
    def __init__(self, host):
        self.host = host
        self.count = 0
        self.entries = host.write("/var/log/journal/entries", "")
        host.write("/usr/bin/journalctl", JOURNALCTL).chmod(0o755)

    def store(self, fields, at, boot=BOOT, uid=0):
        """FIELDS as journald got them, AT in seconds."""
        self.count += 1
        entry = {
            "__CURSOR": f"s=1;i={self.count:x}",
            "__REALTIME_TIMESTAMP": str(int(at * 1e6)),
            "_BOOT_ID": boot,
            "_UID": str(uid),
            "_TRANSPORT": "journal",
            **fields,
        }
        with open(self.entries, "a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def calls(self):
        return [json.loads(line) for line in self.host.path("/var/log/journal/calls").read_text().splitlines()]

    def replace(self, script):
        """Another journalctl: a shell script."""
        self.host.write("/usr/bin/journalctl", "#!/bin/sh\n" + script).chmod(0o755)
