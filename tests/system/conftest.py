# SPDX-License-Identifier: LGPL-2.1-or-later
"""One emulated machine for all scenarios of a worker, and a watcher around each.

ICN_SYSTEM_DIR is the directory that tests/system/run has filled.
"""

import os
import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "e2e"))

from machine import Machine, offers  # noqa: E402
from scene import Scene  # noqa: E402
from topology import Topology  # noqa: E402
from watch import Watcher, describe  # noqa: E402

# The one network card with virtual functions is in QEMU 8 and later.
collect_ignore = [] if offers("igb") else ["test_9_network_pool.py"]
# A virtqemud that was built from its sources has no unit.
if (Path(os.environ["ICN_SYSTEM_DIR"]) / "layer/system-test/daemon").read_text() != "libvirtd\n":
    collect_ignore.append("test_b_boot.py")

# Below this rate the watcher has not watched.
LEAST_RATE = 1000
WATCHED = ("samples", "dropped", "seconds", "violations")
totals = {**dict.fromkeys(WATCHED, 0), "skipped": 0}


@pytest.fixture(scope="session")
def place():
    return Path(os.environ["ICN_SYSTEM_DIR"])


@pytest.fixture(scope="session")
def machine(place):
    machine = Machine(place, place / "layer", place / "run" / os.environ.get("PYTEST_XDIST_WORKER", "alone"))
    machine.boot()
    totals["accelerator"] = machine.accelerator
    yield machine
    machine.stop()


@pytest.fixture(scope="session")
def host(machine):
    """The scene of all scenarios, with a daemon that runs."""
    scene = Scene(machine, Topology.vendor())
    scene.start_daemon()
    return scene


@pytest.fixture
def scene(host, place):
    """The machine with nothing on it, watched until the scenario is over and
    everything has been stopped."""
    host.machine.must(": >/var/log/syslog; rm -rf /run/stall /run/locked; mkdir -p /run/stall")
    watcher = Watcher(place / "watcher", host.topology, [card.path for card in host.machine.cards], host.machine.work)
    try:
        yield host
        host.clear()
        host.await_masks({}, "after the scenario", timeout=5)
    finally:
        seen = watcher.finish()
        if host.machine.process.poll() is None:
            host.reset_cards()
    for name in ("samples", "dropped", "seconds"):
        totals[name] += seen[name]
    totals["violations"] += len(seen["violations"])
    assert not seen["violations"], describe(seen["violations"]) + "\n" + host.log()


def pytest_collection_modifyitems(items):
    """ICN_SYSTEM_SHARE=N: of each file's scenarios the first and every N-th.  The watcher's own tests take no time,
    and those of a boot go together."""
    share = int(os.environ.get("ICN_SYSTEM_SHARE", "1"))
    seen = Counter()
    chosen = []
    for item in items:
        if seen[item.path] % share == 0 or item.path.name in ("test_0_watcher.py", "test_b_boot.py"):
            chosen.append(item)
        seen[item.path] += 1
    items[:] = chosen


def pytest_runtest_logreport(report):
    """A failure is shown at once: the whole takes a while."""
    totals["skipped"] += report.skipped
    if report.failed:
        print(f"\n{report.longreprtext}\n")


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """What a worker has watched."""
    seen = getattr(node, "workeroutput", {}).get("totals", {})
    for name in set(WATCHED) & set(seen):
        totals[name] += seen[name]
    totals.update((name, seen[name]) for name in {"accelerator"} & set(seen))


def pytest_terminal_summary(terminalreporter):
    if "accelerator" in totals:
        terminalreporter.write_line(f"machine: {totals['accelerator']}")
    if not totals["seconds"]:
        return
    terminalreporter.write_line(
        f"watcher: {totals['samples']} samples in {totals['seconds']:.0f} s, "
        f"{totals['samples'] / totals['seconds']:.0f}/s, {totals['dropped']} dropped, "
        f"{totals['violations']} violations"
    )


def pytest_sessionfinish(session):
    """What was not done has not passed."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["totals"] = totals
        return
    if totals["seconds"] and totals["samples"] / totals["seconds"] < LEAST_RATE:
        print(f"\nthe watcher took fewer than {LEAST_RATE} samples/s")
        session.exitstatus = session.exitstatus or 1
    if totals["skipped"]:
        print(f"\n{totals['skipped']} scenarios were skipped")
        session.exitstatus = session.exitstatus or 1
