# SPDX-License-Identifier: LGPL-2.1-or-later
"""ICN_PACKAGES_DIR is the directory that tests/packages/run has filled."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "e2e"))

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
