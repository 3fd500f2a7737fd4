# SPDX-License-Identifier: LGPL-2.1-or-later
"""ICN_PACKAGES_DIR is the directory that tests/packages/run has filled, ICN_SYSTEM_DIR that
of the system tests."""

import os
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS / "e2e"), str(TESTS / "system")]

from machine import Machine  # noqa: E402
from root import Root  # noqa: E402


skipped = []


def pytest_runtest_logreport(report):
    if report.skipped:
        skipped.append(report.nodeid)


def pytest_sessionfinish(session):
    """What was not done has not passed."""
    if skipped:
        print(f"\nskipped: {' '.join(skipped)}")
        session.exitstatus = session.exitstatus or 1


@pytest.fixture(scope="session")
def place():
    return Path(os.environ["ICN_PACKAGES_DIR"])


def fresh(place, kind):
    root = Root(place, kind)
    try:
        yield root
    finally:
        root.end()


@pytest.fixture
def bare(place):
    """A minimal system without libvirt and systemd."""
    yield from fresh(place, "bare")


@pytest.fixture
def host(place):
    """A minimal system with libvirt, QEMU and systemd; nothing runs."""
    yield from fresh(place, "host")


@pytest.fixture
def machine(place):
    """An emulated machine with eight cards and libvirt, without icn-hook."""
    machine = Machine(os.environ["ICN_SYSTEM_DIR"], place / "layer", place / "machine")
    machine.boot()
    yield machine
    machine.stop()
