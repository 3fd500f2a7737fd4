# SPDX-License-Identifier: LGPL-2.1-or-later
"""The emulated machine: its cards, its boot, and commands run inside it.

Each card is a file of 4 MiB outside, which inside is BAR 2 of a PCI device alone
in its IOMMU group; so the link registers are read and written from both sides.
"""

import base64
import itertools
import json
import mmap
import os
import shlex
import socket
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

CARDS = 8
MAP = "/etc/icn-hook/icn-hook.conf.d/50-cards.conf"  # the ids in the order of the ports
CARD_SIZE = 4 << 20
OWNER = 0
OWNER_CHANGING = 1 << 31
LINK_CONFIG = 0xBE382 * 4
# Under emulation a processor's one-shot timer is lost now and then, and the
# processor sleeps for minutes; a periodic one goes on.
PERIODIC_TIMER = "nohz=off highres=off"
# The processors of one emulator have one counter.  Without it each look at the clock is an
# access to a device, and QEMU inside looks at it all the time.
TRUSTED_COUNTER = "tsc=reliable"
# The kernel counts ten ticks at its boot and panics when an emulator that waits for
# its processor brings too few.
UNCHECKED_TIMER = "no_timer_check"
BOOT_TIMEOUT = 300
# /dev/kvm may be there and unable to run a kernel: it is tried, and given up soon.
KVM_TIMEOUT = 30
COMMAND_TIMEOUT = 300
# Two virtual functions, each with two queue pairs and an interrupt; the rest is the card's.
NVME_FUNCTIONS = "sriov_max_vfs=2,sriov_vq_flexible=4,sriov_vi_flexible=2,max_ioqpairs=6,msix_qsize=4"
# Nothing stays behind when the tests are killed.
DIES_WITH_US = ["setpriv", "--pdeathsig", "KILL"]


def offers(device):
    """Whether the emulator has it."""
    listed = subprocess.run(["qemu-system-x86_64", "-device", "help"], capture_output=True, check=True, text=True)
    return f'name "{device}"' in listed.stdout


@dataclass
class Result:
    status: int
    stdout: str
    stderr: str

    @property
    def output(self):
        return self.stdout + self.stderr


class Pending:
    """A command that runs inside."""

    def __init__(self, script):
        self.script = script
        self.done = threading.Event()
        self.result = None

    def wait(self, timeout=COMMAND_TIMEOUT):
        assert self.done.wait(timeout), f"no answer within {timeout} s to: {self.script}"
        return self.result


class Card:
    """A card's memory, seen from outside."""

    def __init__(self, path):
        self.path = path
        with open(path, "w+b") as file:
            file.truncate(CARD_SIZE)
            # Words that are stored at once: struct.pack_into() makes the place zero first.
            self.words = memoryview(mmap.mmap(file.fileno(), CARD_SIZE)).cast("I")

    @property
    def mask(self):
        return self.words[LINK_CONFIG // 4]

    @mask.setter
    def mask(self, value):
        self.words[LINK_CONFIG // 4] = value

    @property
    def owner(self):
        return self.words[OWNER // 4]

    @owner.setter
    def owner(self, value):
        self.words[OWNER // 4] = value


class Monitor:
    """The emulator's own view of the machine, whoever holds a card inside."""

    def __init__(self, path):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(path))
        self._stream = connection.makefile("rw", encoding="utf-8")
        self._stream.readline()
        self._execute("qmp_capabilities")

    def _execute(self, command, **arguments):
        self._stream.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self._stream.flush()
        for line in self._stream:
            answer = json.loads(line)
            if "event" not in answer:
                return answer["return"]
        raise AssertionError("the emulator is gone")

    def word(self, address):
        """None: no device answers at ADDRESS."""
        shown = self._execute("human-monitor-command", **{"command-line": f"xp /1xw {address:#x}"})
        value = shown.split(":", 1)[1].strip()
        return None if value.startswith("Cannot access") else int(value, 16)


class Machine:
    def __init__(self, system, layer, work, parameters=""):
        """SYSTEM: what build-root and initramfs made; LAYER: what layer made; WORK: a
        directory of this run; PARAMETERS: more for the kernel."""
        self.system = Path(system)
        self.layer = Path(layer)
        self.work = Path(work)
        self.parameters = parameters
        self.work.mkdir(parents=True, exist_ok=True)
        self.cards = [Card(self.work / f"card{index}") for index in range(CARDS)]
        self.bdfs = []
        self._numbers = itertools.count(1)
        self._pending = {}
        self._sending = threading.Lock()

    def command_line(self, accelerator):
        line = [*DIES_WITH_US, "qemu-system-x86_64", "-M", "q35,kernel-irqchip=split"]
        line += ["-accel", accelerator, "-cpu", "max,la57=off"]
        line += ["-smp", "2", "-m", "4G", "-display", "none", "-no-reboot", "-nodefaults"]
        line += ["-device", "intel-iommu,intremap=on"]
        line += ["-kernel", self.system / "vmlinuz", "-initrd", self.system / "initramfs"]
        line += ["-append", f"console=ttyS0 intel_iommu=on quiet panic=-1 mitigations=off"
                            f" {PERIODIC_TIMER} {TRUSTED_COUNTER} {UNCHECKED_TIMER} {self.parameters}"]
        line += ["-chardev", f"file,id=console,path={self.work}/console", "-serial", "chardev:console"]
        line += ["-chardev", f"socket,id=agent,path={self.work}/agent,server=on,wait=off", "-serial", "chardev:agent"]
        line += ["-drive", f"file={self.system}/root.img,format=raw,if=none,id=root,readonly=on"]
        line += ["-device", "virtio-blk-pci,drive=root"]
        line += ["-fsdev", f"local,id=layer,path={self.layer},security_model=none,readonly=on,multidevs=remap"]
        line += ["-device", "virtio-9p-pci,fsdev=layer,mount_tag=layer"]
        for index, card in enumerate(self.cards):
            line += ["-object", f"memory-backend-file,id=memory{index},mem-path={card.path},size=4M,share=on"]
            line += ["-device", f"pcie-root-port,id=port{index},chassis={index + 1},slot={index + 1}"]
            line += ["-device", f"ivshmem-plain,memdev=memory{index},bus=port{index}"]
        line += ["-device", "pcie-root-port,id=port8,chassis=9,slot=9", "-device", "e1000e,bus=port8"]
        for port in (9, 10):
            line += ["-device", f"pcie-root-port,id=port{port},chassis={port + 1},slot={port + 1}"]
            line += ["-device", f"nvme-subsys,id=subsystem{port}"]
            line += ["-device", f"nvme,serial={port},subsys=subsystem{port},bus=port{port},{NVME_FUNCTIONS}"]
        if offers("igb"):
            line += ["-device", "pcie-root-port,id=port11,chassis=12,slot=12", "-device", "igb,bus=port11"]
        line += ["-qmp", f"unix:{self.work}/monitor,server=on,wait=off"]
        return [str(word) for word in line]

    def boot(self):
        if not (os.access("/dev/kvm", os.R_OK | os.W_OK) and self._boots("kvm", KVM_TIMEOUT)):
            assert self._boots("tcg,thread=multi", BOOT_TIMEOUT), (
                f"the machine did not boot:\n{self.console()[-4000:]}\n{(self.work / 'qemu.log').read_text()}")
        self._agent.settimeout(None)
        threading.Thread(target=self._listen, daemon=True).start()
        found = self.run("lspci -D -n -d 1af4:1110 | cut -d ' ' -f 1").stdout.split()
        assert len(found) == CARDS, f"cards inside: {found}"
        self.bdfs = found
        self.write(MAP, "[map]\n" + "\n".join(f"{ppu} = {bdf}" for ppu, bdf in enumerate(found)))
        self.monitor = Monitor(self.work / "monitor")

    def _boots(self, accelerator, seconds):
        """Whether the agent inside reports within SECONDS."""
        self.accelerator = accelerator
        (self.work / "agent").unlink(missing_ok=True)
        with open(self.work / "qemu.log", "wb") as log:
            self.process = subprocess.Popen(self.command_line(accelerator), stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log)
        try:
            self._agent = self._connect(time.monotonic() + seconds)
            self._answers = self._agent.makefile("r", encoding="ascii", errors="replace")
            self._agent.settimeout(seconds)
            if any(line.strip() == "ready" for line in self._answers):
                return True
        except OSError:
            pass
        self.process.kill()
        self.process.wait()
        return False

    def _connect(self, deadline):
        while True:
            agent = socket.socket(socket.AF_UNIX)
            try:
                agent.connect(str(self.work / "agent"))
                return agent
            except OSError:
                agent.close()
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def _listen(self):
        for line in self._answers:
            words = line.split()
            if len(words) == 4 and words[0] in self._pending:
                stdout, stderr = ("" if word == "-" else base64.b64decode(word).decode(errors="replace")
                                  for word in words[2:])
                pending = self._pending.pop(words[0])
                pending.result = Result(int(words[1]), stdout, stderr)
                pending.done.set()

    def begin(self, script):
        """Runs SCRIPT in the background inside."""
        pending = Pending(script)
        with self._sending:
            number = str(next(self._numbers))
            self._pending[number] = pending
            self._agent.sendall(f"{number} {base64.b64encode(script.encode()).decode()}\n".encode())
        return pending

    def run(self, script, timeout=COMMAND_TIMEOUT):
        return self.begin(script).wait(timeout)

    def must(self, script, timeout=COMMAND_TIMEOUT):
        result = self.run(script, timeout)
        assert result.status == 0, f"{script}\nexit {result.status}\n{result.output}"
        return result.stdout

    def write(self, path, content):
        self.must(f"mkdir -p {shlex.quote(str(Path(path).parent))}; cat >{shlex.quote(path)} <<'END-OF-FILE'\n"
                  f"{content}\nEND-OF-FILE")

    def wait_for(self, script, timeout=60):
        """Until SCRIPT succeeds inside."""
        self.must(f"end=$((SECONDS + {timeout})); until {script}; do"
                  f" if [ $SECONDS -ge $end ]; then exit 1; fi; sleep 0.2; done", timeout + 60)

    def masks(self):
        return [card.mask for card in self.cards]

    def owners(self):
        return [card.owner for card in self.cards]

    def forget_owner(self, number):
        """The VM's end is asked for: from here on its links may come back."""
        given_up = [card for card in self.cards if number and card.owner == number]
        for owner in (number | OWNER_CHANGING, 0):
            for card in given_up:
                card.owner = owner

    def console(self):
        path = self.work / "console"
        return path.read_text(errors="replace") if path.exists() else ""

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
