# SPDX-License-Identifier: LGPL-2.1-or-later
"""The alerts, the dashboard and the runbook, against what the program prints and against
Debian's node_exporter and Prometheus."""

import json
import os
import re
import subprocess

import pytest

from doctor_report import healthy_host
from fleet_view import FleetView
from libvirt_player import Libvirt
from metrics import TREE, samples

RULES = TREE / "monitoring/icn-hook.rules.yml"
DASHBOARD = TREE / "monitoring/icn-hook-dashboard.json"
RUNBOOK = TREE / "doc/runbook.md"
OF_NODE_EXPORTER = {"node_textfile_mtime_seconds"}
# Panel -> the values of its queries on a host where VM a has the cards 0 and 1, and a link to card 6 leaks.
# None: what changes with time, and what the wiring tells.
PANELS = {
    "Hosts that cannot be looked at": [[0]],
    "Leaks between VMs": [[0]],
    "Leaks to idle cards": [[1]],
    "Leaks out of the host": [[0]],
    "Links not verified": [[1]],
    "Hosts that do not call the hook": [[0]],
    "Links that must be cut, by evidence": [[0, 1, 5]],
    "What is not as it has to be": [[2], [0], [0], [0]],
    "Hosts": [[1], [1], [1], [1], [1], [1], [6], [1], None],
    "Who has which card": [[1, 1]],
    "Cards": [[8], [8], [2]],
    "Open links, as read now": [None, []],
}


def alerts():
    """[(name, expression)], in the order of the file."""
    return re.findall(r"^      - alert: (\w+)\n        expr: (.+)$", RULES.read_text(), re.M)


def panels():
    return json.loads(DASHBOARD.read_text())["panels"]


def queries():
    """Every query of the dashboard, for all hosts."""
    return [target["expr"].replace("$instance", ".*") for panel in panels() for target in panel["targets"]]


def metrics_of(expression):
    return set(re.findall(r"\b(?:icn_hook|node)_[a-z_]+\b", re.sub(r'"[^"]*"', "", expression)))


def promtool(*arguments):
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_rules():
    status, output = promtool("check", "rules", RULES)
    assert status == 0 and f"SUCCESS: {len(alerts())} rules found" in output, output
    assert len(alerts()) == RULES.read_text().count("- alert:") == 16


def test_each_alert_has_a_unit_test():
    """One that fires, and before it one that does not."""
    path = RULES.with_name("icn-hook.rules_test.yml")
    status, output = promtool("test", "rules", path)
    assert status == 0 and "SUCCESS" in output, output
    blocks = re.findall(r"^  - name: (\w+)\n(.*?)(?=^  - name: |\Z)", path.read_text(), re.M | re.S)
    assert [name for name, _ in blocks] == [name for name, _ in alerts()]
    for name, block in blocks:
        outcomes = re.findall(r"eval_time: .*\n        alertname: (\w+)\n        exp_alerts:( \[\])?$", block, re.M)
        assert {of for of, _ in outcomes} == {name}
        assert outcomes[0][1] == " []" and outcomes[-1][1] == "", name


def test_each_alert_has_its_heading_in_the_runbook():
    names = [name for name, _ in alerts()]
    assert re.findall("^## (.*)$", RUNBOOK.read_text(), re.M) == names
    urls = re.findall(r"^          runbook_url: (.*)$", RULES.read_text(), re.M)
    assert urls == [f"{RUNBOOK.name}#{name.lower()}" for name in names]
    assert set(re.findall(r"\bIcnHook\w+", RUNBOOK.read_text())) == set(names)


def test_each_metric_is_one_that_is_printed(host):
    printed = set(samples(host.engine("status", "--prometheus").stdout.decode())) | OF_NODE_EXPORTER
    used = [metrics_of(expression) for _, expression in alerts()] + [metrics_of(query) for query in queries()]
    assert all(used) and set().union(*used) - printed == set()
    variable = json.loads(DASHBOARD.read_text())["templating"]["list"][1]["query"]
    assert metrics_of(variable) == {"icn_hook_up"}


def test_each_metric_is_documented(host):
    page = (TREE / "doc/man/icn-hook.8").read_text().split(".SH METRICS\n")[1].split(".SH LOG\n")[0]
    printed = samples(host.engine("status", "--prometheus").stdout.decode())
    assert set(re.findall(r"\bicn_hook_[a-z_]+", page)) == set(printed)


def test_promtool_has_nothing_to_say(scene):
    """The metrics of a host with a VM, and those of one that cannot be looked at."""
    for settings, status in (("", 0), ("broken", 3)):
        scene.host.configure(settings)
        result = scene.host.engine("status", "--prometheus")
        assert result.status == status
        done = subprocess.run(["promtool", "check", "metrics"], input=result.stdout, capture_output=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.fixture(name="view")
def fixture_view(tmp_path):
    """The alerts fire at once."""
    rules = tmp_path / "rules.yml"
    text, count = re.subn(r"^        for: \w+$", "        for: 0s", RULES.read_text(), flags=re.M)
    assert count == len(alerts())
    rules.write_text(text)
    view = FleetView(tmp_path / "view", rules)
    yield view
    view.stop()


def test_a_fleet_sees_the_host(tmp_path, view):
    """Healthy; a leak; not to be looked at; and nobody who looks."""
    host = healthy_host(tmp_path / "host")
    libvirt = Libvirt(host)
    file = view.directory / "icn-hook.prom"

    def write(status=0):
        assert host.engine("status", "--prometheus", "-o", file).status == status

    assert libvirt.start(host.vm("a", 0, 1)).running
    write()
    view.wait_for("icn_hook_up", [1])
    view.wait_for("icn_hook_links_required", [6])
    for name, expression in alerts():
        assert view.query(expression) == [], name
    assert view.firing() == set()

    host.set_masks({0: 0x18, 6: 0})
    assert host.leaks(host.masks(), {0: {"a"}, 1: {"a"}}) == [(0, 6)]
    host.set_driver(host.bdfs[0], None)
    host.set_driver(host.bdfs[1], None)
    write()
    view.wait_for("icn_hook_leaks", [1])
    view.wait_for_alerts({"IcnHookLeakToIdleCard", "IcnHookCutMissing", "IcnHookUnverified"})
    found = {}
    for panel in panels():
        values = [view.query(target["expr"].replace("$instance", ".*")) for target in panel["targets"]]
        found[panel["title"]] = [sorted(value for _, value in results) for results in values]
    age, open_links = found["Hosts"].pop(), found["Open links, as read now"].pop(0)
    assert len(age) == 1 and 0 <= age[0] < 60
    assert open_links == [len(host.live_pairs(host.masks()))]
    assert found == {title: [values for values in panel if values is not None] for title, panel in PANELS.items()}
    owners = view.query("icn_hook_card_owner_info")
    assert sorted((labels["ppu"], labels["vm"]) for labels, _ in owners) == [("0", "a"), ("1", "a")]

    host.configure("broken")
    write(status=3)
    view.wait_for_alerts({"IcnHookDown"})
    view.wait_for("icn_hook_leaks", [])

    hour_ago = file.stat().st_mtime - 3600
    os.utime(file, (hour_ago, hour_ago))
    view.wait_for_alerts({"IcnHookDown", "IcnHookStale"})
