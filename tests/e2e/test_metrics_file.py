# SPDX-License-Identifier: LGPL-2.1-or-later
"""The metrics file that icn-hook-check.service has written: always of the last look, also if
that failed, and nothing fails on a host that has no node_exporter."""

from metrics import TREE, samples

SCRIPT = TREE / "packaging/write-metrics"


def write_metrics(host, directory, told):
    return host.run([SCRIPT, host.engine_program, told], environment=host.environment(ICN_METRICS_DIRECTORY=str(directory)))


def test_file(scene, tmp_path):
    directory, told = tmp_path / "node-exporter", tmp_path / "told"
    directory.mkdir()
    result = write_metrics(scene.host, directory, told)
    assert (result.status, result.stdout, result.stderr) == (0, b"", "")
    file = directory / "icn-hook.prom"
    assert list(directory.iterdir()) == [file] and not told.exists()
    assert samples(file.read_text())["icn_hook_links_required"] == {None: 6}
    scene.libvirt.stop("b")
    assert write_metrics(scene.host, directory, told).status == 0
    assert samples(file.read_text())["icn_hook_links_required"] == {None: 0}


def test_host_that_cannot_be_looked_at(scene, tmp_path):
    """The unit fails, and the file does not go stale."""
    told = tmp_path / "told"
    assert write_metrics(scene.host, tmp_path, told).status == 0
    scene.host.configure("broken")
    assert write_metrics(scene.host, tmp_path, told).status == 3
    assert samples((tmp_path / "icn-hook.prom").read_text()) == {"icn_hook_up": {None: 0}}


def test_no_directory(scene, tmp_path):
    """Nothing fails; it is said once, and anew after there was one."""
    directory, told = tmp_path / "node-exporter", tmp_path / "told"
    said = f"icn-hook: {directory} does not exist, so no metrics are written; see icn-hook(8), MONITORING\n"
    for wanted in (said, "", ""):
        result = write_metrics(scene.host, directory, told)
        assert (result.status, result.stdout, result.stderr) == (0, b"", wanted)
    directory.mkdir()
    assert write_metrics(scene.host, directory, told).status == 0
    assert (directory / "icn-hook.prom").exists()
    (directory / "icn-hook.prom").unlink()
    directory.rmdir()
    for wanted in (said, ""):
        assert write_metrics(scene.host, directory, told).stderr == wanted


def test_no_room(scene, tmp_path):
    """What cannot be written is an error, which names the file."""
    directory = tmp_path / "node-exporter"
    (directory / "icn-hook.prom").mkdir(parents=True)
    result = write_metrics(scene.host, directory, tmp_path / "told")
    assert (result.status, result.stderr) == (3, f"icn-hook: {directory}/icn-hook.prom is not a regular file\n")
