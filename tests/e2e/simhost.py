# SPDX-License-Identifier: LGPL-2.1-or-later
"""A simulated host: a directory tree that icn-hook takes for a machine's root.

The tree has the parts of /sys, /proc, /run and /etc that the programs read; the
cards' link registers are plain files where a real host has BARs.
"""

import json
import os
import re
import shutil
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from daemon import Daemon
from domain_xml import Domain, Hostdev
from journal import Journal
from physical import Hardware
from topology import Topology
from wiring import GUIDE_BDFS, MODELS, LinkRegisters, Wiring

PPU_VENDOR, PPU_DEVICE, PPU_CLASS = 0x1DED, 0x6001, 0x120000
LINK_CONFIG, STRIDE = LinkRegisters.config, LinkRegisters.stride
BAR_SIZE = 4 << 20
BAR_FLAGS = 0x40200  # memory, size-aligned
COMMAND_MEMORY = 0x2
MEMORY_OF_CARDS, IDENTITY = "cards.json", "identity"
TOPOLOGY_FILE = "/etc/icn-hook/icn_topo.cfg"
MAP_FILE = "/etc/icn-hook/icn-hook.conf.d/50-cards.conf"
LINKS_FILE = "/etc/icn-hook/icn-hook.conf.d/50-links.conf"
VENDOR_DRIVER = "alixpu"
TOOLS = Path(__file__).resolve().parent.parent / "lib"

# Handed on from the test runner to the programs: how a sanitizer or a coverage
# build reports.  libvirt hands on none of them.
PASSED_ON = ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS", "GCOV_PREFIX", "GCOV_PREFIX_STRIP")

# An administrator's hooks/qemu that calls ours: it is our parent, and is gone when
# the call has ended.
DISPATCHER = '#!/bin/sh\n"$ICN_TEST_HOOK" "$@"\nexit $?\n'
# A caller that is gone before the hook has begun; init is its parent then.
ORPHANING = 'exec 3<&0; { sleep 0.02; "$@" <&3; echo $? >"$ICN_TEST_STATUS"; } & exit 0'


@dataclass
class Result:
    status: int
    stdout: bytes
    stderr: str
    # What fails if an object is not as its schema says; conftest.py has it for all end-to-end tests.
    validate = None

    def json(self):
        """What icn-hook printed."""
        document = json.loads(self.stdout)
        if self.validate:
            self.validate(document)
        return document


class SimHost:
    def __init__(self, root, cards=8, bdfs=None, topology=None, model=None, wiring=None, build_dir=None):
        """MODEL: a machine of wiring.MODELS, or WIRING one of your own.  Else CARDS cards, the
        guide's first eight, then made-up addresses behind them, or those of BDFS; TOPOLOGY
        is the vendor's for up to eight cards, else a ring."""
        self.root = Path(root).resolve()
        self.model = model or wiring and "its own"
        self.build_dir = Path(build_dir or os.environ["ICN_BUILD_DIR"]).resolve()
        if model or wiring:
            wiring = wiring or MODELS[model]()
            self.bdfs = sorted(wiring.bdfs, key=lambda bdf: wiring.card(bdf).ppuid)
            self.topology = wiring.topology(external=True)
        else:
            self.bdfs = list(bdfs) if bdfs else card_addresses(cards)
            self.topology = topology or (Topology.vendor() if len(self.bdfs) <= 8 else Topology.ring(len(self.bdfs)))
        self.hardware = Hardware(self.root, wiring or Wiring.of_topology(self.topology, self.bdfs))
        self.journal = None
        self.external = not self.topology.leaves_external  # links that leave the host are to be cut, too
        self.hook_program = self.build_dir / "hook/qemu"
        self.engine_program = self.build_dir / "icn-hook"
        self.functions = 0
        self.daemon = Daemon(self.path("/usr/sbin/libvirtd"))
        self._lay_out()

    # The tree

    def path(self, absolute):
        """Where an absolute path of the simulated host lies."""
        return self.root / str(absolute).lstrip("/")

    def write(self, absolute, content):
        path = self.path(absolute)
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content)
        return path

    def _lay_out(self):
        for directory in (
            "sys/bus/pci/devices",
            "sys/bus/pci/drivers",
            "sys/bus/mdev/devices",
            "sys/kernel/iommu_groups",
            "proc/sys/kernel/random",
            "run/libvirt/qemu",
            "etc/icn-hook",
            "var/log",
        ):
            self.path(directory).mkdir(parents=True, exist_ok=True)
        self.set_boot_id("11111111-2222-4333-8444-555555555555")
        self.write(TOPOLOGY_FILE, self.topology.text())
        self.map_ids(dict(enumerate(self.bdfs)))
        if self.model and self.wiring.external:
            # Not every port that leads out is in the topology.
            self.write(LINKS_FILE, f"[registers]\nlinks = {self.wiring.all_link_bits():#x}\n")
        self.set_hardware(LinkRegisters())
        for index, bdf in enumerate(self.bdfs):
            self.add_card(self.wiring.card(bdf), iommu_group=10 + index)

    @property
    def wiring(self):
        return self.hardware.wiring

    def set_hardware(self, registers):
        """Where the cards really have their registers."""
        assert max(registers.config, registers.status) * registers.stride < BAR_SIZE
        self.hardware.registers = registers
        self.wiring.save(self.root, registers)
        if self.journal:
            self.note_writes(self.journal.library)

    def rewire(self, wiring):
        """The same cards, with other ids and other cables; what the programs remember is gone."""
        assert {card.bdf: card.serial for card in wiring.cards} == {card.bdf: card.serial for card in self.wiring.cards}
        self.hardware.wiring = wiring
        self.bdfs = sorted(wiring.bdfs, key=lambda bdf: wiring.card(bdf).ppuid)
        self.topology = wiring.topology(external=True)
        self.forget_setup()
        shutil.rmtree(self.path("/run/icn-hook"), ignore_errors=True)
        self.set_hardware(self.hardware.registers)

    def note_writes(self, library):
        """From now on the oracle sees each write.  LIBRARY: what Journal.build made."""
        self.journal = Journal(self.hardware, library, f"{self.root}.writes")

    def set_boot_id(self, boot_id):
        self.write("/proc/sys/kernel/random/boot_id", boot_id + "\n")

    def configure(self, text):
        """The settings; lines of [map] in them take the place of those that name every card."""
        self.write("/etc/icn-hook/icn-hook.conf", text)
        if re.search(r"^\[map\]\n\d", text, re.M):
            self.path(MAP_FILE).unlink(missing_ok=True)

    def map_ids(self, pins):
        """[map] has just PINS: id -> address, or address and what else tells the card."""
        self.write(MAP_FILE, "[map]\n" + "".join(f"{ppu} = {pin}\n" for ppu, pin in pins.items()))

    def forget_setup(self):
        """As the package leaves it: no map and no topology."""
        for path in (MAP_FILE, LINKS_FILE, TOPOLOGY_FILE):
            self.path(path).unlink(missing_ok=True)

    def pin_ids(self, more=""):
        """[map] names every card; the settings are MORE."""
        self.configure(more)
        self.map_ids(dict(enumerate(self.bdfs)))

    def vm(self, name, *ppus):
        """A domain with these cards."""
        return Domain(name, [Hostdev(self.bdfs[ppu]) for ppu in ppus])

    # PCI functions

    def device(self, bdf):
        return self.path("/sys/bus/pci/devices") / bdf

    def add_card(self, card, iommu_group):
        """A card of the wiring."""
        places = {"numa_node": card.numa_node, "parents": card.parents}
        self.add_function(card.bdf, PPU_VENDOR, PPU_DEVICE, PPU_CLASS, iommu_group, serial=card.serial, **places)

    def add_function(
        self, bdf, vendor, device, class_code, iommu_group=None, numa_node=0, bar_size=BAR_SIZE, parents=None,
        serial=None,
    ):
        """A PCI function, laid out as sysfs does it.  PARENTS: the directories above it;
        SERIAL: its Device Serial Number."""
        parents = parents or f"pci{bdf[: bdf.rindex(':')]}"
        real = self.path(f"/sys/devices/{parents}") / bdf
        real.mkdir(parents=True)
        self.device(bdf).symlink_to(f"../../../devices/{parents}/{bdf}")
        start = 0xD0000000 + self.functions * BAR_SIZE
        self.functions += 1
        bar = f"0x{start:016x} 0x{start + bar_size - 1:016x} 0x{BAR_FLAGS:016x}\n"
        none = f"0x{0:016x} 0x{0:016x} 0x{0:016x}\n"
        files = {
            "vendor": f"0x{vendor:04x}\n",
            "device": f"0x{device:04x}\n",
            "class": f"0x{class_code:06x}\n",
            "irq": "0\n",
            "enable": "0\n",
            "numa_node": f"{numa_node}\n",
            "resource": bar + none * 12,
        }
        for name, content in files.items():
            (real / name).write_text(content)
        (real / "config").write_bytes(config_space(vendor, device, class_code, start, serial))
        with open(real / "resource0", "wb") as resource:
            resource.truncate(bar_size)
        if iommu_group is not None:
            members = self.path(f"/sys/kernel/iommu_groups/{iommu_group}/devices")
            members.mkdir(parents=True, exist_ok=True)
            (members / bdf).symlink_to(f"../../../../devices/{parents}/{bdf}")
            up = "../" * (parents.count("/") + 3)
            (real / "iommu_group").symlink_to(f"{up}kernel/iommu_groups/{iommu_group}")

    def add_nic(self, bdf="0000:01:00.0"):
        """A function that is no PPU."""
        self.add_function(bdf, 0x8086, 0x10FB, 0x020000, iommu_group=1, bar_size=4096)
        return bdf

    def add_other_functions(self, count):
        """COUNT functions that are no PPUs, on buses of their own."""
        for index in range(count):
            bdf = f"{0x10 + index // 2048:04x}:{index // 8 % 256:02x}:00.{index % 8}"
            self.add_function(bdf, 0x8086, 0x1572, 0x020000, bar_size=4096)

    def add_vf(self, ppu, index=0, device=PPU_DEVICE + 1):
        """A virtual function of a card."""
        card = self.bdfs[ppu]
        bdf = f"{card[:-1]}{index + 1}"
        self.add_function(bdf, PPU_VENDOR, device, PPU_CLASS, iommu_group=100 + 8 * ppu + index, bar_size=4096)
        (self.device(bdf) / "physfn").symlink_to(f"../{card}")
        (self.device(card) / f"virtfn{index}").symlink_to(f"../{bdf}")
        return bdf

    def add_mdev(self, ppu, uuid):
        """A mediated device of a card."""
        real = self.device(self.bdfs[ppu]).resolve()
        (real / uuid).mkdir()
        place = (real / uuid).relative_to(self.path("/sys"))
        self.path(f"/sys/bus/mdev/devices/{uuid}").symlink_to(f"../../../{place}")
        return uuid

    def remove_function(self, bdf):
        """The card fell off the bus."""
        shutil.rmtree(self.device(bdf).resolve())
        self.device(bdf).unlink()

    def driver(self, bdf):
        link = self.device(bdf) / "driver"
        return os.path.basename(os.readlink(link)) if link.is_symlink() else None

    def device_without_links(self, bdf):
        """Makes its directory one, for strace, which wants paths that go over no link."""
        device = self.device(bdf)
        real = device.resolve()
        if real != device:
            device.unlink()
            real.rename(device)
        return device

    def set_driver(self, bdf, name):
        """Binds a driver, or none.  The host's own switches the card on and claims its
        BARs; vfio's does so only when somebody opens the card."""
        link = self.device(bdf) / "driver"
        if link.is_symlink() and self.driver(bdf) != name:
            link.unlink()
            self.set_enable(bdf, 0)
        if name and not link.is_symlink():
            self.path(f"/sys/bus/pci/drivers/{name}").mkdir(exist_ok=True)
            depth = len(link.parent.resolve().relative_to(self.path("/sys")).parts)
            link.symlink_to("../" * depth + f"bus/pci/drivers/{name}")
            if not is_vfio(name):
                self.set_enable(bdf, 1)

    def load_driver(self, *bdfs):
        """The vendor's driver takes these cards, or all that nothing else has: its tools
        know them then, and their BARs are taken."""
        for bdf in bdfs or self.bdfs:
            if bdfs or not self.driver(bdf):
                self.set_driver(bdf, VENDOR_DRIVER)

    def unload_driver(self):
        for bdf in self.bdfs:
            if self.driver(bdf) == VENDOR_DRIVER:
                self.set_driver(bdf, None)

    def install_tool(self, name, path=None):
        """The stand-in of one of the vendor's tools, in /usr/bin: a file of its own, to be
        broken at will."""
        source = TOOLS / name
        text = f"import sys\nsys.path.insert(0, {str(TOOLS)!r})\nwith open({str(source)!r}) as file:\n"
        text += f"    code = compile(file.read(), {str(source)!r}, 'exec')\nexec(code)\n"
        tool = self.write(path or f"/usr/bin/{name}", "#!/usr/bin/env python3\n" + text)
        tool.chmod(0o755)
        return tool

    def install_tools(self):
        for name in ("ppu-smi", "ppudbg"):
            self.install_tool(name)
        self.install_tool("ppudbg", "/usr/bin/ppucli")

    def tool(self, name, *arguments):
        """What a tool answers, once it is installed."""
        return self.run([self.path("/usr/bin") / name, *arguments])

    def hold(self, bdf):
        """QEMU opens the card through vfio."""
        assert is_vfio(self.driver(bdf) or ""), f"{bdf} is not on a vfio driver: {self.driver(bdf)}"
        self.set_enable(bdf, 1)

    def let_go(self, bdf):
        self.set_enable(bdf, 0)

    def set_enable(self, bdf, count):
        (self.device(bdf) / "enable").write_text(f"{count}\n")

    def enable(self, bdf):
        return int((self.device(bdf) / "enable").read_text())

    def memory_decoding(self, bdf):
        with open(self.device(bdf) / "config", "rb") as config:
            return bool(struct.unpack_from("<H", config.read(6), 4)[0] & COMMAND_MEMORY)

    def set_memory_decoding(self, bdf, on):
        with open(self.device(bdf) / "config", "r+b") as config:
            config.seek(4)
            config.write(struct.pack("<H", COMMAND_MEMORY if on else 0))

    # Registers

    def read_register(self, ppu, register=None):
        """The link config register if no other is named."""
        with open(self.hardware.resource(self.bdfs[ppu]), "rb") as resource:
            resource.seek((register or self.hardware.registers.config) * self.hardware.registers.stride)
            return struct.unpack("<I", resource.read(4))[0]

    def write_register(self, ppu, value, register=None):
        with open(self.hardware.resource(self.bdfs[ppu]), "r+b") as resource:
            resource.seek((register or self.hardware.registers.config) * self.hardware.registers.stride)
            resource.write(struct.pack("<I", value))

    def mask(self, ppu):
        """The link config register: bit i set = link i cut, unless the hardware is set otherwise."""
        return self.read_register(ppu)

    def masks(self):
        return {ppu: self.mask(ppu) for ppu in range(len(self.bdfs)) if self.device(self.bdfs[ppu]).exists()}

    def set_masks(self, masks):
        for ppu, mask in masks.items():
            self.write_register(ppu, mask)
        if self.journal:
            self.journal.forget()

    def leaks(self, masks, owners):
        """The pairs of cards with a live link that may not be, (card,) for one that leaves the
        host; OWNERS: ppu -> set of owners."""
        by_address = {self.bdfs[ppu]: names for ppu, names in owners.items()}
        leaks = self.hardware.leaks(by_address, self._cuts(masks), self.external)
        return sorted(tuple(sorted(self.bdfs.index(end.bdf) for end in pair if end)) for pair in leaks)

    def live_pairs(self, masks):
        """The pairs of cards with a live link."""
        live = [pair for pair in self.hardware.live(self._cuts(masks)) if pair[1]]
        return {tuple(sorted(self.bdfs.index(end.bdf) for end in pair)) for pair in live}

    def _cuts(self, masks):
        return {bdf: self.hardware.cut_bits(bdf, masks.get(ppu)) for ppu, bdf in enumerate(self.bdfs)}

    def required_masks(self, owners):
        """OWNERS: ppu -> set of owners.  The masks that the wiring demands then."""
        by_address = {self.bdfs[ppu]: names for ppu, names in owners.items()}
        required = self.hardware.required(by_address, self.external)
        return {ppu: required[bdf] for ppu, bdf in enumerate(self.bdfs)}

    def isolated(self, *groups):
        """The same where each group of cards is a VM's."""
        return self.required_masks({ppu: {number} for number, group in enumerate(groups) for ppu in group})

    # Running domains

    def start_process(self, pid):
        self.path(f"/proc/{pid}").mkdir(parents=True, exist_ok=True)
        self.write(f"/proc/{pid}/stat", f"{pid} (qemu-system-x86) S 1 " + "0 " * 17 + "4242 " + "0 " * 30 + "\n")

    def end_process(self, pid):
        shutil.rmtree(self.path(f"/proc/{pid}"), ignore_errors=True)

    def status_path(self, name):
        return self.path("/run/libvirt/qemu") / f"{name}.xml"

    def write_status(self, domain, pid):
        self.status_path(domain.name).write_text(domain.status_xml(pid))

    def remove_status(self, name):
        self.status_path(name).unlink(missing_ok=True)

    # The state

    def state_files(self):
        """Name -> content of every file in /run/icn-hook but the lock."""
        directory = self.path("/run/icn-hook")
        if not directory.is_dir():
            return {}
        return {path.name: path.read_bytes() for path in sorted(directory.iterdir()) if path.name != "lock" and path.is_file()}

    def claim_files(self):
        """Those that do not outlive the VMs: all but the memory of the cards and the identity of this boot."""
        return {name: content for name, content in self.state_files().items() if name not in (MEMORY_OF_CARDS, IDENTITY)}

    def claims(self):
        """Name -> parsed claim."""
        return {name: json.loads(content) for name, content in self.claim_files().items() if name.endswith(".json")}

    def remembered(self):
        """BDF -> what is remembered of the card."""
        content = self.state_files().get(MEMORY_OF_CARDS)
        return {card["bdf"]: card for card in json.loads(content)["cards"]} if content else {}

    def log(self):
        path = self.path("/var/log/icn-hook.log")
        return path.read_text() if path.exists() else ""

    # The programs

    def environment(self, **extra):
        environment = {"LC_ALL": "C", "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        environment.update({name: os.environ[name] for name in PASSED_ON if name in os.environ})
        environment.update(ICN_SYSROOT=str(self.root), ICN_ENGINE=str(self.engine_program))
        environment.update(self.journal.environment if self.journal else {})
        environment.update(extra)
        return {name: value for name, value in environment.items() if value is not None}

    def environment_under_strace(self, **extra):
        """Where LeakSanitizer, a tracer itself, does not work."""
        environment = self.environment(**extra)
        environment["ASAN_OPTIONS"] = environment.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
        return environment

    def run(self, arguments, stdin="", environment=None, timeout=60):
        """Runs a program as libvirt runs a hook: three pipes, working directory /."""
        data = stdin if isinstance(stdin, bytes) else stdin.encode()
        done = subprocess.run(
            [str(argument) for argument in arguments],
            input=data,
            capture_output=True,
            cwd="/",
            env=environment or self.environment(),
            timeout=timeout,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr.decode(errors="replace"))

    def run_in_daemon(self, arguments, stdin="", environment=None, timeout=60, daemon=None):
        """The same, as a child of libvirt's daemon."""
        data = stdin if isinstance(stdin, bytes) else stdin.encode()
        call = (daemon or self.daemon).call(arguments, data, environment or self.environment())
        stdout, stderr = call.communicate(timeout)
        return Result(call.status, stdout, stderr.decode(errors="replace"))

    def dispatcher(self):
        """The administrator's script; ICN_TEST_HOOK names our program to it."""
        script = self.path("/usr/sbin/dispatcher")
        if not script.exists():
            self.write("/usr/sbin/dispatcher", DISPATCHER).chmod(0o755)
        return script

    def _run_by_dispatcher(self, arguments, stdin, environment):
        environment = {**environment, "ICN_TEST_HOOK": str(arguments[0])}
        return self.run_in_daemon([self.dispatcher(), *arguments[1:]], stdin, environment)

    def _run_as_orphan(self, arguments, stdin, environment):
        with tempfile.NamedTemporaryFile("r") as status:
            environment = {**environment, "ICN_TEST_STATUS": status.name}
            result = self.run(["/bin/sh", "-c", ORPHANING, "sh", *arguments], stdin, environment)
            result.status = int(status.read())
        return result

    def _run_in_dying_daemon(self, arguments, stdin, environment):
        daemon = Daemon(self.path("/usr/sbin/virtqemud"))
        result = self.run_in_daemon(arguments, stdin, environment, daemon=daemon)
        daemon.kill()
        return result

    def hook(self, name, operation, xml, extra="-", suboperation=None, through="daemon", **environment):
        """Runs the hook program for one operation.  Whatever it does, it must leave
        stdout empty and say at most one line.  THROUGH: who calls it,
            daemon        libvirt's, as its parent
            dispatcher    a script of the administrator's, which the daemon calls
            dying daemon  one that is killed right after the call
            orphan        somebody who has gone before the hook looks
            plain         the test itself: there is no daemon among its ancestors"""
        if suboperation is None:
            suboperation = "end" if operation in ("stopped", "release") else "begin"
        ways = {
            "daemon": self.run_in_daemon,
            "dispatcher": self._run_by_dispatcher,
            "dying daemon": self._run_in_dying_daemon,
            "orphan": self._run_as_orphan,
            "plain": self.run,
        }
        arguments = [self.hook_program, name, operation, suboperation, extra]
        result = ways[through](arguments, xml, self.environment(**environment))
        assert result.stdout == b"", f"{operation}: stdout must stay empty: {result.stdout!r}"
        assert result.stderr.count("\n") <= 1, f"{operation}: more than one line on stderr:\n{result.stderr}"
        return result

    def engine(self, *arguments, stdin="", **environment):
        """Runs icn-hook for a manual verb."""
        return self.run([self.engine_program, *arguments], stdin, self.environment(**environment))


def is_vfio(driver):
    return driver == "vfio-pci" or driver.endswith("-vfio-pci")


def card_addresses(count):
    made_up = [f"{2 + index // 128:04x}:{2 * (index % 128) + 1:02x}:00.0" for index in range(max(0, count - 8))]
    return GUIDE_BDFS[:count] + made_up


def config_space(vendor, device, class_code, bar, serial=None):
    """A configuration header, memory decoding on.  With a SERIAL, it is that of a PCI
    Express endpoint, which has the Device Serial Number in its extended space."""
    header = struct.pack(
        "<HHHHBBBBBBBB", vendor, device, COMMAND_MEMORY, 0x10, 0, class_code & 0xFF, class_code >> 8 & 0xFF,
        class_code >> 16, 16, 0, 0, 0,
    )
    header = (header + struct.pack("<I", bar & 0xFFFFFFF0)).ljust(256, b"\0")
    if serial is None:
        return header
    space = bytearray(header.ljust(4096, b"\0"))
    space[0x34] = 0x40  # the first capability: PCI Express 2, endpoint
    space[0x40:0x44] = struct.pack("<BBH", 0x10, 0, 0x0002)
    space[0x100:0x10C] = struct.pack("<IQ", 0x00010003, serial)
    return bytes(space)
