# SPDX-License-Identifier: LGPL-2.1-or-later
"""Domain XML that is broken, hostile or odd: refused with the reason, or read as
libvirt reads it."""

import os
import socket
from pathlib import Path

import pytest

from bystander import BEFORE, WITH_A, vm
from domain_xml import LIVE, Domain, Hostdev, address
from simhost import GUIDE_BDFS

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures/domains"
BROKEN = sorted(path.name for path in (FIXTURES / "broken").glob("*.xml"))
# No element of theirs could be a host device, so the hook answers them itself.
HOLD_NO_DEVICE = ["qemu_no_value.xml", "root_namespace.xml", "two_errors.xml"]
A = vm("a", 0, 1).xml()
UUID_LINE = f"  <uuid>{vm('a').uuid}</uuid>\n"
NEXT_STEP = "; correct the VM with virsh edit\n"
DOCTYPE = "it has a document type declaration (<!DOCTYPE>), which libvirt never writes; remove it"
BOMB = "".join(f"<!ENTITY l{i + 1} '{f'&l{i};' * 10}'>" for i in range(12))
QUADRATIC = f"<!ENTITY q '{'q' * 100000}'>"


def with_device(xml):
    """The domain a with just this piece of XML among its devices."""
    return Domain("a").xml().replace("    <console", xml + "    <console")


def with_address(attributes):
    return with_device(
        f"<hostdev mode='subsystem' type='pci' managed='yes'><source><address {attributes}/></source></hostdev>\n"
    )


def dry_run(host, xml, *options):
    return host.engine("--dry-run", "-", "--json", *options, stdin=xml)


def assert_dry_run_refuses(scene, reason, xml):
    before = scene.state()
    result = dry_run(scene.host, xml)
    plan = result.json()
    assert (result.status, plan["verdict"], plan["devices"], plan["writes"]) == (3, "refuse", [], [])
    assert plan["reason"].startswith("icn-hook: no VM would be started with this XML: standard input: ")
    assert reason in plan["reason"] and result.stderr == plan["reason"] + "\n"
    assert scene.state() == before


# Broken


def test_broken_fixtures(scene):
    """Each message itself is the unit test's matter."""
    before = scene.state()
    for name in BROKEN:
        print(name)
        xml = (FIXTURES / "broken" / name).read_bytes()
        if name in HOLD_NO_DEVICE:
            result = scene.call("prepare", xml)
            assert (result.status, result.stderr) == (0, "")
        else:
            scene.assert_refused(3, "the domain's XML: ", NEXT_STEP, xml=xml, operations=["prepare"])
        for operation in ("reconnect", "stopped"):
            result = scene.call(operation, xml)
            assert (result.status, result.stderr) == (0, "")
        assert scene.state() == before


CUT_OFF = "not well-formed XML: "
CASES = {
    "empty": ("", "it is empty; expected a domain's XML"),
    "truncated in a device": (A[: A.index("bus='0x7e'")], CUT_OFF),
    "truncated at the end": (A[: A.rindex("</domain>")], "not well-formed XML: it is cut off"),
    "two documents": (A + A, "not well-formed XML: it is cut off, or something follows its end"),
    "not XML": ("hostdev type='pci'\n", "line 1: not well-formed XML: "),
    "another root": (A.replace("domain", "network"), "the root element is <network>; expected libvirt's <domain>"),
    "another namespace": (
        A.replace("<domain ", "<domain xmlns='urn:x' "),
        "the root element <domain> is in the namespace 'urn:x'; expected libvirt's <domain>, which is in none",
    ),
    "no uuid": (A.replace(UUID_LINE, ""), "the domain's XML has no uuid"),
    "deep nesting": (with_device("<hostdev type='pci'>" * 5000 + "</hostdev>" * 5000), "not well-formed XML: "),
    "entity bomb": (f"<!DOCTYPE domain [<!ENTITY l0 'lol'>{BOMB}]>" + A.replace(">a<", ">&l12;<"), DOCTYPE),
    "quadratic bomb": (f"<!DOCTYPE domain [{QUADRATIC}]>" + A.replace(">a<", f">{'&q;' * 10000}<"), DOCTYPE),
    "harmless document type": ("<!DOCTYPE domain>" + A, DOCTYPE),
    "UTF-8 that is none": (A.encode().replace(b">a<", b">\xff\xfe<"), "not well-formed XML: "),
    "UTF-16 in name only": ("<?xml version='1.0' encoding='UTF-16'?>" + A, "not well-formed XML: "),
    "NUL byte": (A.replace(">a<", ">a\0<"), "not well-formed XML: "),
    "hostdev without source": (with_device("<hostdev mode='subsystem' type='pci'/>\n"), "has no <source>"),
    "status file without domain": ("<domstatus pid='7'><hostdev type='pci'/></domstatus>", "no <domain>"),
}
ENGINE_ONLY = {"no uuid"}  # found later than the dry run, which needs no uuid


def test_broken(scene):
    for case, (xml, reason) in CASES.items():
        print(case)
        scene.assert_broken_briefly(3, reason, xml=xml)
        if case not in ENGINE_ONLY:
            assert_dry_run_refuses(scene, reason, xml)
    scene.assert_plain_domain_passes()
    scene.assert_mended()


NUMBERS = {
    "bus='0x108' slot='0'": "bus 0x108 is above 0xff",
    "bus='8' slot='32'": "slot 0x20 is above 0x1f",
    "bus='8' function='010'": "function 0x8 is above 0x7",
    "domain='4294967296' bus='8'": "domain='4294967296' is not a number that libvirt accepts",
    "bus='08'": "bus='08' is not a number that libvirt accepts",
    "bus='8 '": "bus='8 ' is not a number that libvirt accepts",
    "bus='0x08;'": "bus='0x08;' is not a number that libvirt accepts",
    "bus='-248'": "bus='-248' is not a number that libvirt accepts",
    "bus=''": "bus='' is not a number that libvirt accepts",
    "bus='eight'": "bus='eight' is not a number that libvirt accepts",
    "bus='0x10000000000000008'": "is not a number that libvirt accepts",
    "bus='&#10;8x'": "is not a number that libvirt accepts",
}


def test_number_that_libvirt_refuses(scene):
    for attributes, reason in NUMBERS.items():
        print(attributes)
        xml = with_address(attributes)
        scene.assert_broken_briefly(3, "line ", "<address>: ", reason, NEXT_STEP, xml=xml)
        assert_dry_run_refuses(scene, reason, xml)


@pytest.mark.parametrize(
    "attributes",
    [
        "domain='0' bus='8' slot='0' function='0'",
        "domain='00' bus='010' slot='000' function='0x0'",
        "bus='0x08'",
        "bus=' +0X8'",
        "domain='0x0000' bus='&#x30;x08' multifunction='on'",
        "type='pci' bus='8'",
    ],
)
def test_number_as_libvirt_reads_it(scene, attributes):
    """Octal, signs, blanks and what is left out: all of them are PPU 0."""
    xml = with_address(attributes)
    plan = dry_run(scene.host, xml).json()
    assert plan["devices"] == [{"bdf": GUIDE_BDFS[0], "via": "hostdev", "ppu": 0}]
    assert scene.call("prepare", xml).status == 0
    assert (scene.masks()[0], scene.masks()[2], scene.masks()[3]) == (0x39, BEFORE[2], BEFORE[3])


def test_hostdev_without_address_is_libvirts_default(scene):
    """0000:00:00.0, which is no card."""
    before = scene.state()
    xml = with_device("<hostdev mode='subsystem' type='pci'><source/></hostdev>\n")
    assert dry_run(scene.host, xml).json()["devices"] == [{"bdf": "0000:00:00.0", "via": "hostdev", "ppu": None}]
    for operation in ("prepare", "start"):
        assert scene.call(operation, xml).status == 0
    assert scene.state() == before


# Large


def test_64_mib(scene):
    """With a card it is refused; without one nobody looks at its size."""
    padding = " " * (64 << 20)
    reason = "the domain's XML is larger than 16777216 bytes; correct the VM with virsh edit\n"
    scene.assert_refused(3, reason, xml=A + padding, operations=["prepare"])
    result = scene.call("reconnect", A + padding)
    assert (result.status, result.stderr) == (0, "")
    before = scene.state()
    assert scene.call("prepare", scene.plain.xml() + padding, scene.plain).status == 0
    assert scene.state() == before
    result = dry_run(scene.host, A + padding)
    assert (result.status, result.stderr) == (3, "icn-hook: standard input is larger than 16777216 bytes\n")


def test_10_mib_with_a_card(scene):
    comment = f"<!-- {'x' * 1000} -->\n" * 10240
    assert scene.call("prepare", A.replace("  <devices>\n", "  <devices>\n" + comment)).status == 0
    assert scene.masks() == WITH_A


def test_deep_nesting_without_a_card(scene):
    xml = Domain("plain", metadata="<a>" * 100000 + "</a>" * 100000).xml()
    assert scene.call("prepare", xml, scene.plain).status == 0


# External entities are never fetched


ENTITIES = {
    "general": "<!DOCTYPE domain [<!ENTITY x SYSTEM '{url}'>]>",
    "parameter": "<!DOCTYPE domain [<!ENTITY % x SYSTEM '{url}'> %x;]>",
    "document type": "<!DOCTYPE domain SYSTEM '{url}'>",
    "public": "<!DOCTYPE domain PUBLIC '-//X//Y' '{url}'>",
}


@pytest.mark.parametrize("kind", ENTITIES)
def test_external_file_is_not_read(scene, tmp_path, kind):
    """What is in a FIFO is still there if nobody has read it."""
    fifo = tmp_path / "secret"
    os.mkfifo(fifo)
    fd = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    try:
        os.write(fd, b"<!ENTITY y 'secret-word'>")
        xml = ENTITIES[kind].format(url=f"file://{fifo}") + A.replace(">a<", ">&x;<" if kind == "general" else ">a<")
        scene.assert_broken_briefly(3, DOCTYPE, xml=xml)
        assert_dry_run_refuses(scene, DOCTYPE, xml)
        assert os.read(fd, 100) == b"<!ENTITY y 'secret-word'>"
    finally:
        os.close(fd)
    assert "secret-word" not in scene.host.log()


@pytest.mark.parametrize("kind", ENTITIES)
def test_external_server_is_not_asked(scene, kind):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.setblocking(False)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/x"
        scene.assert_refused(3, DOCTYPE, xml=ENTITIES[kind].format(url=url) + A)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_included_file_is_not_read(scene, tmp_path):
    """XInclude is no part of what libvirt writes."""
    (tmp_path / "device").write_text(f"<hostdev type='pci'><source>{address(GUIDE_BDFS[4])}</source></hostdev>")
    include = f"<xi:include xmlns:xi='http://www.w3.org/2001/XInclude' href='{tmp_path}/device'/>\n"
    plan = dry_run(scene.host, A.replace("    <console", include + "    <console")).json()
    assert [device["ppu"] for device in plan["devices"]] == [0, 1]


# Odd, but as libvirt reads it


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "latin-1", "utf-8-sig"])
def test_other_encodings(scene, encoding):
    declared = {"utf-8-sig": "UTF-8", "latin-1": "ISO-8859-1"}.get(encoding, "UTF-16")
    bom = "\ufeff" if encoding in ("utf-16-le", "utf-16-be") else ""
    head = f"{bom}<?xml version='1.0' encoding='{declared}'?>\n"
    xml = (head + A.replace("disk.qcow2", "Übung.qcow2")).encode(encoding)
    assert scene.call("prepare", xml).status == 0
    scene.let_through = True
    assert scene.masks() == WITH_A
    for operation in ("stopped", "release"):
        assert scene.call(operation, xml).status == 0
    assert scene.masks() == BEFORE
    plain = (head + scene.plain.xml()).encode(encoding)
    assert scene.call("prepare", plain, scene.plain).status == 0
    assert scene.masks() == BEFORE


def test_same_card_twice(scene):
    xml = Domain("a", [Hostdev(GUIDE_BDFS[0]), Hostdev(GUIDE_BDFS[1]), Hostdev(GUIDE_BDFS[0])]).xml()
    plan = dry_run(scene.host, xml).json()
    assert [device["ppu"] for device in plan["devices"]] == [0, 1]
    assert plan["warnings"] == [f"the device {GUIDE_BDFS[0]} is named 2 times"]
    assert scene.call("prepare", xml).status == 0
    assert scene.masks() == WITH_A


DECOY = f"<hostdev mode='subsystem' type='pci'><source>{address(GUIDE_BDFS[2])}</source></hostdev>"
DECOYS = {
    "metadata": ("<metadata>", f"<metadata>{DECOY}<devices>{DECOY}</devices>"),
    "foreign element": ("    <console", f"<x:hostdev xmlns:x='urn:x' type='pci'>{DECOY}</x:hostdev>\n    <console"),
    "foreign default": ("    <console", DECOY.replace("<hostdev", "<hostdev xmlns='urn:x'") + "\n    <console"),
    "comment": ("    <console", f"<!-- {DECOY} -->\n    <console"),
    "CDATA": ("<metadata>", f"<description><![CDATA[{DECOY}]]></description><metadata>"),
    "not a device": ("    <console", f"<group>{DECOY}</group>\n    <console"),
    "beside the devices": ("  <devices>", f"{DECOY}\n  <devices>"),
    "processing instruction": ("    <console", f"<?x {DECOY.replace('?', '')} ?>\n    <console"),
    "foreign command line": (
        "  <devices>",
        f"<x:commandline xmlns:x='urn:x'><x:arg value='-device'/><x:arg value='vfio-pci,host={GUIDE_BDFS[2]}'/>"
        "</x:commandline>\n  <devices>",
    ),
}


@pytest.mark.parametrize("kind", DECOYS)
def test_decoys_name_no_device(scene, kind):
    """They name a card of b: taken at their word, a could not start."""
    old, new = DECOYS[kind]
    domain = vm("a", 0, 1)
    domain.metadata = "    <x:y xmlns:x='urn:x'/>\n"
    assert old in domain.xml()
    xml = domain.xml().replace(old, new)
    assert [device["ppu"] for device in dry_run(scene.host, xml).json()["devices"]] == [0, 1]
    assert scene.call("prepare", xml).status == 0
    assert scene.masks() == WITH_A
    scene.assert_harmless(xml)
    plain = Domain("plain", metadata=domain.metadata).xml().replace(old, new)
    before = scene.state()
    for operation in ("prepare", "start", "started", "stopped", "release"):
        assert scene.call(operation, plain, scene.plain).status == 0
    assert scene.state() == before


def test_status_file_form(scene):
    """It names the same devices, to the hook and to the dry run."""
    xml = scene.a.status_xml(4711)
    plan = dry_run(scene.host, xml).json()
    assert (plan["domain"], plan["verdict"]) == ({"name": "a", "uuid": scene.a.uuid}, "isolate")
    assert plan["writes"] == dry_run(scene.host, scene.a.xml(LIVE)).json()["writes"] != []
    assert scene.call("prepare", xml).status == 0
    scene.let_through = True
    assert scene.masks() == WITH_A
    scene.assert_harmless(xml)
    assert scene.masks() == BEFORE
