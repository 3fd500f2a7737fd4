# SPDX-License-Identifier: LGPL-2.1-or-later
"""Cards that are not there, do not answer, do not take a write or are held by others.

What a plain file cannot do, strace does to the real engine: it makes single calls on
the register's file fail, or leads the one open for writing to another file, so that
the register does not take the write.
"""

import shutil

import pytest

import standins
from bystander import BEFORE, GONE, WITH_A, vm
from domain_xml import LIVE, PREPARE, Domain, Hostdev
from simhost import GUIDE_BDFS, PPU_CLASS, PPU_DEVICE, PPU_VENDOR

CARD_0 = f"PPU 0 ({GUIDE_BDFS[0]})"
CARD_1 = f"PPU 1 ({GUIDE_BDFS[1]})"
CARD_6 = f"PPU 6 ({GUIDE_BDFS[6]})"
NEXT_STEP = "; its links cannot be cut, so correct that or give the VM another card\n"
NOT_ALL_CUT = "; its links are not all cut, so correct that, then start it again\n"
FAR_NEXT_STEP = "; its own ends of the links stay as they are\n"


def resource(scene, ppu):
    return scene.host.device(GUIDE_BDFS[ppu]).resolve() / "resource0"


def gone(scene, ppu):
    """Off the bus: everything reads all ones, configuration space too."""
    scene.host.write_register(ppu, GONE)
    (scene.host.device(GUIDE_BDFS[ppu]) / "config").write_bytes(b"\xff" * 256)


def missing(scene, ppu):
    resource(scene, ppu).unlink()


def short(scene, ppu):
    with open(resource(scene, ppu), "r+b") as file:
        file.truncate(4096)


def directory(scene, ppu):
    resource(scene, ppu).unlink()
    resource(scene, ppu).mkdir()


def symlink(scene, ppu):
    resource(scene, ppu).rename(resource(scene, ppu).with_name("elsewhere"))
    resource(scene, ppu).symlink_to("elsewhere")


def no_decoding(scene, ppu):
    """Off, and switching it on helps nothing."""
    scene.host.set_memory_decoding(GUIDE_BDFS[ppu], False)
    scene.host.write_register(ppu, GONE)


def bar(scene, ppu, start, flags):
    path = scene.host.device(GUIDE_BDFS[ppu]) / "resource"
    others = path.read_text().splitlines(keepends=True)[1:]
    path.write_text(f"0x{start:016x} 0x{start + (4 << 20) - 1:016x} 0x{flags:016x}\n" + "".join(others))


def no_address(scene, ppu):
    bar(scene, ppu, 0, 0x40200)


def unset(scene, ppu):
    """What the firmware wrote there, which the kernel could not use."""
    bar(scene, ppu, 0x80000000, 0x20040200)


def io_ports(scene, ppu):
    bar(scene, ppu, 0xE000, 0x40101)


def claimed(scene, ppu):
    """By what is no driver of the card."""
    bar(scene, ppu, 0x380000000000, 0x40200)
    lines = [
        "380000000000-38ffffffffff : PCI Bus 0000:00",
        f"  380000000000-3800003fffff : {GUIDE_BDFS[ppu]}",
        "    380000000000-3800000fffff : BOOTFB",
    ]
    scene.host.write("/proc/iomem", "\n".join(lines) + "\n")


ALL_ONES = "the register reads all ones: the card is off the bus or powered down; reset it or replace it"
WRECKS = {
    gone: ALL_ONES,
    missing: "resource0 is missing: the card has no such BAR; check bar in [registers]",
    short: "resource0 has 4096 bytes, too few for the register at 0x2f8e08; check bar, link_config and stride in "
    "[registers]",
    directory: "resource0 is not a regular file",
    symlink: "cannot open resource0: Too many levels of symbolic links",
    no_address: "BAR 0 has no address: the kernel found no room for it; see dmesg, or set bar in [registers]",
    unset: "BAR 0 has no address: the kernel found no room for it; see dmesg, or set bar in [registers]",
    io_ports: "BAR 0 is an I/O BAR; set bar in [registers]",
    claimed: "resource0 cannot be mapped: 'BOOTFB' has claimed the BAR (/proc/iomem), not a driver of the card; keep it "
    "off the card (a boot framebuffer: boot with initcall_blacklist=sysfb_init)",
    no_decoding: "the register reads all ones: memory decoding does not come on; reset the card or replace it",
}


@pytest.mark.parametrize("wreck", WRECKS)
def test_own_register_is_out_of_reach(scene, wreck):
    wreck(scene, 0)
    scene.assert_broken(5, f"{CARD_0}: {WRECKS[wreck]}{NEXT_STEP}")
    assert scene.host.enable(GUIDE_BDFS[0]) == 0
    result = scene.host.engine("-n", "-", "--json", stdin=scene.a.xml())
    if wreck is no_decoding:  # switching it on is not for a dry run
        assert (result.status, result.json()["verdict"]) == (0, "isolate")
        assert result.json()["warnings"] == [f"{CARD_0}: memory decoding is off; its mask is not known now"]
    else:
        assert (result.status, result.json()["verdict"]) == (5, "refuse")
        assert f"VM 'a' would not be started: {CARD_0}: {WRECKS[wreck]}" in result.json()["reason"]


@pytest.mark.parametrize("wreck", WRECKS)
def test_far_end_is_out_of_reach(scene, wreck):
    """One cut end is enough, but it is worth a line."""
    wreck(scene, 6)
    out_of_reach = scene.masks()[6]
    assert scene.call("prepare").status == 0
    assert f": vm=a op=prepare {CARD_6}: {WRECKS[wreck]}{FAR_NEXT_STEP}" in scene.host.log()
    scene.let_through = True
    assert scene.masks() == {**WITH_A, 6: out_of_reach}
    scene.assert_harmless()
    assert scene.masks() == {**BEFORE, 6: out_of_reach}
    assert list(scene.claim_files()) == [f"{scene.b.uuid}.json"]


@pytest.mark.parametrize("wreck", WRECKS)
def test_far_end_fails_while_the_vm_runs(scene, wreck):
    """The others get their links back all the same."""
    assert scene.call("prepare").status == 0
    scene.let_through = True
    wreck(scene, 6)
    out_of_reach = scene.masks()[6]
    scene.assert_harmless()
    assert scene.masks() == {**BEFORE, 6: out_of_reach}


def test_card_falls_off_between_prepare_and_start(scene):
    assert scene.call("prepare").status == 0
    gone(scene, 0)
    scene.assert_refused(5, f"{CARD_0}: {ALL_ONES}{NEXT_STEP}", operations=["start"])
    scene.assert_harmless()
    assert scene.masks() == {**BEFORE, 0: GONE}
    assert list(scene.claim_files()) == [f"{scene.b.uuid}.json"]


# Absent cards, and too many


def test_absent_card(scene):
    scene.host.remove_function(GUIDE_BDFS[0])
    scene.assert_broken(
        5, f"{CARD_0} is not on the PCI bus; see dmesg, rescan the bus or give the VM another card\n"
    )
    scene.libvirt.watch = False
    assert scene.libvirt.start(vm("c", 6)).running  # the others keep working
    scene.libvirt.stop("c")
    assert scene.masks() == {**BEFORE, 0: GONE}


def test_absent_far_end(scene):
    scene.host.remove_function(GUIDE_BDFS[6])
    assert scene.call("prepare").status == 0
    assert scene.masks() == {**WITH_A, 6: GONE}
    scene.assert_harmless()
    assert scene.masks() == {**BEFORE, 6: GONE}


def test_card_vanishes_while_its_vm_runs(scene):
    assert scene.call("prepare").status == 0
    scene.host.remove_function(GUIDE_BDFS[0])
    scene.assert_harmless()
    assert scene.masks() == {**BEFORE, 0: GONE}
    assert list(scene.claim_files()) == [f"{scene.b.uuid}.json"]


def extra_card(scene):
    bdf = "0002:01:00.0"
    scene.host.add_function(bdf, PPU_VENDOR, PPU_DEVICE, PPU_CLASS, iommu_group=99)
    return bdf


def test_more_cards_than_the_pinned_ones(scene):
    """Only a VM that takes the unknown one is refused."""
    bdf = extra_card(scene)
    reason = f"{bdf} is a PPU but no [map] line says which; run icn-hook setup, or give the VM another card\n"
    scene.assert_broken(3, reason, domain=Domain("extra", [Hostdev(bdf)]))
    scene.assert_isolated()


@pytest.mark.parametrize("name, text", [("vendor", "junk\n"), ("device", ""), ("device", "0x16001\n")])
def test_ids_that_are_none(scene, name, text):
    (scene.host.device(GUIDE_BDFS[0]) / name).write_text(text)
    path = scene.host.device(GUIDE_BDFS[0]) / name
    words = f'PCI function {GUIDE_BDFS[0]}: {path} does not hold a number up to 0xffff: "{text.rstrip()}"'
    scene.assert_broken(5, words)


# Registers that do not take the write


def strace(scene, tmp_path, ppu, call, action):
    """An engine whose uses of CALL on the register's file are tampered with."""
    path = scene.host.device_without_links(GUIDE_BDFS[ppu]) / "resource0"
    options = f"-e trace={call} -P '{path}' -e 'inject={call}:{action}'"
    scene.engine = standins.script(
        tmp_path / "engine",
        'export ASAN_OPTIONS="$ASAN_OPTIONS:detect_leaks=0"\n'
        f"exec strace -D -qq -o '{tmp_path}/trace' {options} -- '{scene.host.engine_program}' \"$@\"\n",
    )
    return {"ICN_ENGINE": str(scene.engine)}


def call(scene, operation, **environment):
    form = {"prepare": PREPARE}.get(operation, LIVE)
    result = scene.host.hook("a", operation, scene.a.xml(form), **environment)
    scene.check_b(operation)
    return result


def does_not_take(scene, tmp_path, ppu, which):
    """Its WHICH-th open of the register, the one for writing, opens a copy."""
    copy = scene.host.device(GUIDE_BDFS[ppu]) / "resource9"
    shutil.copy(resource(scene, ppu), copy)
    path = str(copy).encode() + b"\0"
    return strace(scene, tmp_path, ppu, "openat", f"poke_enter=@arg2={path.hex()}:when={which}")


def assert_write_is_refused(scene, operation, words, **environment):
    result = call(scene, operation, **environment)
    assert result.status == 5
    assert result.stderr == f"icn-hook: VM 'a' is not started: {words}{NOT_ALL_CUT}"
    assert f": vm=a op={operation} {result.stderr}" in scene.host.log()


@pytest.mark.parametrize("ppu, old, new", [(0, 0x18, 0x19), (1, 0x30, 0x31)])
def test_own_register_does_not_take_the_write(scene, tmp_path, ppu, old, new):
    """A cut that did not happen is seen, whatever was cut before it."""
    environment = does_not_take(scene, tmp_path, ppu, 2)
    words = f"PPU {ppu} ({GUIDE_BDFS[ppu]}): register did not take the write (wrote 0x{new:08x}, reads 0x{old:08x})"
    assert_write_is_refused(scene, "prepare", words, **environment)
    assert scene.masks()[ppu] == old
    scene.assert_harmless()
    assert scene.masks() == BEFORE
    scene.assert_mended()


def test_far_register_does_not_take_the_write(scene, tmp_path):
    environment = does_not_take(scene, tmp_path, 6, 2)
    assert call(scene, "prepare", **environment).status == 0
    words = f"{CARD_6}: register did not take the write (wrote 0x00000001, reads 0x00000000)\n"
    assert f": vm=a op=prepare {words}" in scene.host.log()
    scene.let_through = True
    assert scene.masks() == {**WITH_A, 6: 0}
    scene.assert_harmless()
    assert scene.masks() == BEFORE


def test_register_does_not_take_the_restore(scene, tmp_path):
    """A link that stays cut harms nobody, and b's entry remembers the card: who comes
    next opens it."""
    assert call(scene, "prepare").status == 0
    environment = does_not_take(scene, tmp_path, 0, 2)
    for operation in ("stopped", "release"):
        result = scene.host.hook("a", operation, scene.a.xml(), **environment)
        assert (result.status, result.stderr) == (0, "")
        scene.check_b(operation)
    assert scene.masks()[0] == 0x19
    words = f"{CARD_0}: register did not take the write (wrote 0x00000018, reads 0x00000019)\n"
    assert f": vm=a op=stopped {words}" in scene.host.log()
    scene.assert_mended()


@pytest.mark.parametrize(
    "error, words",
    [
        ("EROFS", "cannot open resource0: Read-only file system"),
        ("EPERM", "cannot open resource0 (this needs root): Operation not permitted"),
        ("EACCES", "cannot open resource0 (this needs root): Permission denied"),
    ],
)
def test_own_register_is_unwritable(scene, tmp_path, error, words):
    environment = strace(scene, tmp_path, 0, "openat", f"error={error}:when=2")
    assert_write_is_refused(scene, "prepare", f"{CARD_0}: {words}", **environment)
    scene.assert_harmless()
    assert scene.masks() == BEFORE


def test_kernel_is_locked_down(scene, tmp_path):
    environment = strace(scene, tmp_path, 0, "mmap", "error=EPERM")
    result = call(scene, "prepare", **environment)
    assert result.status == 5
    assert "the kernel does not let resource0 be mapped: it is locked down" in result.stderr
    assert "boot without lockdown or set backend = ppudbg" in result.stderr
    assert scene.masks() == BEFORE


# Held by others


HELD_NOW = "resource0 cannot be mapped now: a driver or QEMU holds the card's registers"


def test_host_driver_holds_the_register_until_start(scene):
    """prepare puts the cut off, and start refuses as long as it cannot be made."""
    scene.host.set_driver(GUIDE_BDFS[0], "ppu")
    assert call(scene, "prepare").status == 0
    assert scene.masks() == {**WITH_A, 0: 0x18}
    assert " 0:unread>0x00000019(deferred)" in scene.host.log()
    assert_write_is_refused(scene, "start", f"{CARD_0}: {HELD_NOW} (EINVAL)")
    scene.host.set_driver(GUIDE_BDFS[0], "vfio-pci")
    assert call(scene, "start").status == 0
    scene.let_through = True
    assert scene.masks() == WITH_A
    scene.assert_harmless()
    assert scene.masks() == BEFORE


@pytest.mark.parametrize("driver", [None, "vfio-pci"])
def test_mapping_is_refused_and_nobody_has_the_card(scene, tmp_path, driver):
    """It will not be better at start."""
    scene.host.set_driver(GUIDE_BDFS[0], driver)
    environment = strace(scene, tmp_path, 0, "mmap", "error=EINVAL")
    result = call(scene, "prepare", **environment)
    words = ("resource0 cannot be mapped: something other than a driver of the card or QEMU has claimed the BAR; look in "
             "/proc/iomem for what it is, and keep it off the card")
    assert (result.status, result.stderr) == (5, f"icn-hook: VM 'a' is not started: {CARD_0}: {words}{NEXT_STEP}")
    assert scene.masks() == BEFORE


def test_host_driver_holds_the_far_end(scene):
    scene.host.set_driver(GUIDE_BDFS[6], "ppu")
    assert call(scene, "prepare").status == 0
    assert f": vm=a op=prepare {CARD_6}: {HELD_NOW} (EINVAL){FAR_NEXT_STEP}" in scene.host.log()
    assert scene.masks() == {**WITH_A, 6: 0}


def hold(scene, bdf, count=1):
    scene.host.set_driver(bdf, "vfio-pci")
    scene.host.set_enable(bdf, count)


def test_somebody_holds_the_card_open(scene):
    """vfio, and no VM that anybody knows."""
    hold(scene, GUIDE_BDFS[0])
    words = f"{CARD_0} is held open through vfio by a process that is not a known VM; end it or "
    scene.assert_broken(4, words, "give the VM another card\n")
    scene.host.set_enable(GUIDE_BDFS[0], 0)
    scene.assert_mended()


def test_somebody_holds_a_virtual_function_of_the_card_open(scene):
    hold(scene, scene.host.add_vf(0, 0))
    scene.assert_refused(4, f"{CARD_0} is held open through vfio by a process that is not a known VM")


def test_the_card_of_b_is_refused(scene):
    """And after the refusal b still has it."""
    owner = f"PPU 2 ({GUIDE_BDFS[2]}) is owned by VM 'b' ({scene.b.uuid}), which runs"
    greedy = vm("a", 0, 2)
    scene.assert_refused(4, f"{owner}; stop that VM or give this one another card\n", domain=greedy)
    before = scene.state()
    for operation in ("stopped", "release"):
        assert scene.call(operation, domain=greedy).status == 0
    assert scene.state() == before


def test_card_still_held_at_stopped_keeps_its_cuts(scene):
    """QEMU is slow to die: its card's links stay cut until nobody holds it."""
    assert call(scene, "prepare").status == 0
    hold(scene, GUIDE_BDFS[0])
    assert scene.call("stopped").status == 0
    owners = {0: {"a"}, 2: {"b"}, 3: {"b"}}
    assert scene.host.leaks(scene.masks(), owners) == []
    scene.host.set_enable(GUIDE_BDFS[0], 0)
    assert scene.call("release").status == 0
    assert scene.masks() == BEFORE


@pytest.mark.parametrize("ppu", [0, 6])
def test_memory_decoding_is_switched_on_and_off_again(scene, ppu):
    scene.host.set_memory_decoding(GUIDE_BDFS[ppu], False)
    scene.assert_isolated()
    assert scene.host.enable(GUIDE_BDFS[ppu]) == 0
    assert not any(name.startswith("enabled-") for name in scene.claim_files())


def test_no_memory_decoding_while_a_driver_is_bound(scene):
    """Not even sysfs may switch it on then."""
    no_decoding(scene, 0)
    scene.host.set_driver(GUIDE_BDFS[0], "ppu")
    assert scene.call("prepare").status == 0
    assert scene.masks() == {**WITH_A, 0: GONE}
    words = "memory decoding is off and cannot be switched on while driver ppu is bound"
    assert_write_is_refused(scene, "start", f"{CARD_0}: {words}")
    scene.assert_harmless()
    assert scene.masks() == {**BEFORE, 0: GONE}
