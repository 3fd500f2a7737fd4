# SPDX-License-Identifier: LGPL-2.1-or-later
"""A real node_exporter and a real Prometheus, which see one host's metrics file as a
fleet's do."""

import json
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

EXPORTER, PROMETHEUS = "prometheus-node-exporter", "prometheus"
SERVICE_UNAVAILABLE = 503  # it listens, but has not read its storage yet
CONFIGURATION = """\
global: {{scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 200ms}}
rule_files: ["{rules}"]
scrape_configs:
  - job_name: node
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class FleetView:
    def __init__(self, place, rules):
        """PLACE: an empty directory; RULES: the file with the alerts."""
        self.directory = place / "node-exporter"
        self.directory.mkdir(parents=True)
        self.port, exporter_port = free_port(), free_port()
        (place / "prometheus.yml").write_text(CONFIGURATION.format(rules=rules, port=exporter_port))
        self.log = open(place / "log", "w", encoding="utf-8")
        self.processes = []
        self._start(EXPORTER, f"--web.listen-address=127.0.0.1:{exporter_port}", "--collector.disable-defaults",
                    "--collector.textfile", f"--collector.textfile.directory={self.directory}")
        self._start(PROMETHEUS, f"--config.file={place}/prometheus.yml", f"--storage.tsdb.path={place}/data",
                    f"--web.listen-address=127.0.0.1:{self.port}")

    def _start(self, *command):
        self.processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log))

    def stop(self):
        for process in self.processes:
            process.kill()
            process.wait()
        self.log.close()

    def ask(self, path, **parameters):
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            if error.code == SERVICE_UNAVAILABLE:
                raise
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error

    def query(self, expression):
        """[(labels, value)] of an instant vector or a scalar."""
        data = self.ask("query", query=expression)
        if data["resultType"] == "scalar":
            return [({}, float(data["result"][1]))]
        return [(result["metric"], float(result["value"][1])) for result in data["result"]]

    def wait_for(self, expression, wanted, seconds=60):
        """Until the values of EXPRESSION are those WANTED, in any order."""
        end, values = time.monotonic() + seconds, None
        while time.monotonic() < end:
            try:
                values = sorted(value for _, value in self.query(expression))
            except OSError:
                pass  # it has not begun to serve
            if values == sorted(wanted):
                return
            time.sleep(0.1)
        raise AssertionError(f"{expression} is {values} after {seconds} s, not {wanted}")

    def firing(self):
        return {alert["labels"]["alertname"] for alert in self.ask("alerts")["alerts"] if alert["state"] == "firing"}

    def wait_for_alerts(self, wanted, seconds=60):
        end, found = time.monotonic() + seconds, None
        while time.monotonic() < end:
            found = self.firing()
            if found == wanted:
                return
            time.sleep(0.1)
        raise AssertionError(f"{found} fire after {seconds} s, not {wanted}")
