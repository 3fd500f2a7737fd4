# SPDX-License-Identifier: LGPL-2.1-or-later
"""A fresh root of a Debian release: a layer over one that build-roots has made."""

import os
import signal
import subprocess
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
LAYER = '. "$0" && "$@"'
ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
}
# As a person's apt, but for the lists, which may be those of some past day.
APT_INSTALL = "apt-get install -y -q -o Dpkg::Use-Pty=0 -o DPkg::Options::=--force-unsafe-io --no-install-recommends"


class Root:
    def __init__(self, place, kind):
        """KIND: bare or host."""
        self.place = place
        self.path = place / "scene"
        self._layer("layer_mount", place / kind, self.path)

    def _layer(self, *arguments):
        subprocess.run(["bash", "-ec", LAYER, HERE / "layer.sh", *arguments], check=True)

    def end(self):
        """Every process of the root is one of this scenario."""
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.2)
        self._layer("layer_remove", self.path)

    def processes(self):
        own, found = os.stat(self.path), []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                root = os.stat(entry / "root")
            except OSError:
                continue
            if (root.st_dev, root.st_ino) == (own.st_dev, own.st_ino):
                found.append(int(entry.name))
        return found

    # Commands and files

    def run(self, command, timeout=300):
        return subprocess.run(
            ["chroot", self.path, "sh", "-c", command],
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )

    def must(self, command, timeout=300):
        result = self.run(command, timeout)
        assert result.returncode == 0, f"{command}: status {result.returncode}\n{result.stdout}"
        return result.stdout

    def file(self, name):
        return self.path / name.lstrip("/")

    def write(self, name, content, mode=0o644):
        path = self.file(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        path.chmod(mode)
        return path

    def wait_for(self, command, seconds=60):
        end = time.monotonic() + seconds
        while self.run(command).returncode != 0:
            assert time.monotonic() < end, f"{command}: not true after {seconds} s"
            time.sleep(0.2)

    def tree(self, *directories):
        """Every file with its mode, owner, time and size, or what it leads to; of the
        directories that there are."""
        names = " ".join(directories)
        found = self.must(f"find {names} -type d -printf '%M %u:%g %p\\n' -o -printf '%M %u:%g %p %T@ %s %l\\n' 2>/dev/null || true")
        return sorted(found.splitlines())

    # The package

    def bring(self, kind):
        """KIND: package or previous.  The name of the .deb in the root."""
        package = next((self.place / kind).glob("icn-hook_*.deb"))
        name = f"/tmp/{package.name}"
        self.file(name).write_bytes(package.read_bytes())
        return name

    def install(self, kind="package"):
        """Asked which settings to take, the administrator keeps their own."""
        return self.must(f"{APT_INSTALL} -o DPkg::Options::=--force-confold {self.bring(kind)}")

    # libvirt

    def start_libvirt(self):
        self.must("virtlogd -d && libvirtd -d")
        self.wait_for("virsh -q -c qemu:///system uri")
        return self.daemon()

    def daemon(self):
        return int(self.file("/run/libvirtd.pid").read_text())

    def virsh(self, command):
        return self.run(f"virsh -q -c qemu:///system {command}")
