# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fixtures of the end-to-end tests of the two built programs.

ICN_BUILD_DIR names the build directory; nothing is skipped when a program is
missing, the tests fail.
"""

import os
from collections import Counter
from pathlib import Path

import pytest

import schemas
from bystander import Scene
from faults import is_sanitized
from journal import Journal
from libvirt_player import Libvirt
from simhost import Result, SimHost

Result.validate = staticmethod(schemas.validate)


def pytest_configure(config):
    build_dir = os.environ.get("ICN_BUILD_DIR")
    if not build_dir:
        pytest.exit("ICN_BUILD_DIR must name the build directory", returncode=2)
    for program in ("hook/qemu", "icn-hook"):
        if not os.access(Path(build_dir) / program, os.X_OK):
            print(f"warning: {build_dir}/{program} is not built; its tests will fail")


@pytest.fixture(name="host")
def fixture_host(tmp_path):
    host = SimHost(tmp_path / "host")
    yield host
    host.daemon.kill()


@pytest.fixture(name="journal_library", scope="session")
def fixture_journal_library(tmp_path_factory):
    """What lets the oracle see each write."""
    sanitized = is_sanitized(Path(os.environ["ICN_BUILD_DIR"]) / "icn-hook")
    return Journal.build(tmp_path_factory.mktemp("journal") / "write_journal.so", sanitized)


@pytest.fixture(name="machine", params=["guide-8", "810e-16"])
def fixture_machine(request, tmp_path, journal_library):
    """Each of the machines that are known, as a host."""
    host = SimHost(tmp_path / "host", model=request.param)
    host.note_writes(journal_library)
    yield host
    host.daemon.kill()


@pytest.fixture(name="libvirt")
def fixture_libvirt(host):
    return Libvirt(host)


@pytest.fixture(name="scene")
def fixture_scene(host):
    return Scene(host)


@pytest.fixture(autouse=True)
def no_sanitizer_reports(tmp_path, monkeypatch):
    """In a sanitizer build a report must not hide in a hook that exits with 0."""
    reports = tmp_path / "sanitizer"
    options = [os.environ.get("ASAN_OPTIONS", ""), f"log_path={reports}"]
    monkeypatch.setenv("ASAN_OPTIONS", ":".join(filter(None, options)))
    options = [os.environ.get("UBSAN_OPTIONS", ""), f"log_path={reports}", "print_stacktrace=1"]
    monkeypatch.setenv("UBSAN_OPTIONS", ":".join(filter(None, options)))
    yield
    found = [path.read_text() for path in tmp_path.glob("sanitizer.*")]
    assert not found, "\n".join(found)


def pytest_collection_modifyitems(items):
    """For builds that are slow.  ICN_TEST_VARIANTS=N: of each function's tests the first and every N-th.
    ICN_TEST_SHARE=N: every N-th of what is left."""
    variants, share = (int(os.environ.get(f"ICN_TEST_{name}", "1")) for name in ("VARIANTS", "SHARE"))
    seen = Counter()
    chosen = []
    for item in items:
        name = item.nodeid.split("[")[0]
        if seen[name] % variants == 0:
            chosen.append(item)
        seen[name] += 1
    items[:] = chosen[::share]
