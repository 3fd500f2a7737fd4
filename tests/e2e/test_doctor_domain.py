# SPDX-License-Identifier: LGPL-2.1-or-later
"""`icn-hook doctor DOMAIN.xml`: what a VM would meet before its first start, and the
plan; the same findings as warnings of --dry-run."""

import pytest

from bystander import vm
from doctor_report import changed
from domain_xml import Domain, Hostdev
from libvirt_player import Libvirt
from simhost import GUIDE_BDFS

NAMES = [f"PPU {ppu} ({bdf})" for ppu, bdf in enumerate(GUIDE_BDFS)]
PINS = "<vcpu cpuset='0-15'>4</vcpu><numatune><memory mode='strict' nodeset='0'/></numatune>"
VCPUS = "<vcpu cpuset='0-15,32-47'>, or one <vcpupin> each"
MEMORY = "<numatune><memory mode='strict' nodeset='0'/></numatune>"


@pytest.fixture(name="host")
def fixture_host(host):
    """Two NUMA nodes; the cards 0 to 3 are on node 0."""
    host.pin_ids()
    host.write("/sys/devices/system/node/node0/cpulist", "0-15,32-47\n")
    host.write("/sys/devices/system/node/node1/cpulist", "16-31,48-63\n")
    return host


def xml(domain, more=PINS):
    return domain.xml().replace("</uuid>", "</uuid>" + more)


def line(check, text, result="PASS", remedy=None):
    return changed(f"DOMAIN-{check}", text, result, remedy)


FINE = (
    line("NUMA", "its cards are on NUMA node 0")
    + line("VCPUS", "its vCPUs are pinned to NUMA node 0")
    + line("MEMORY", "its memory is bound to NUMA node 0")
    + line("FUNCTIONS", "all functions of its cards are passed")
    + line("MANAGED", "libvirt will bind its cards to vfio-pci")
    + line("PLAN", "VM 'a' would be isolated")
)
PLAN = [
    "VM 'a' would be isolated. Register writes, in this order (bit set = link cut):",
    f"  {NAMES[0]}     0x00000000 -> 0x00000019  card of the VM",
    f"  {NAMES[1]}     0x00000000 -> 0x00000031  card of the VM",
]


def doctor(host, text, *more, status=1):
    """The simulated host has no hook and no IOMMU, which is a FAIL each."""
    result = host.engine("doctor", "-", *more, stdin=text)
    assert (result.status, result.stderr) == (status, "")
    return result.stdout.decode().splitlines()


def findings(host, text):
    found = doctor(host, text)
    start = next(number for number, words in enumerate(found) if "  DOMAIN-" in words)
    end = next((number for number, words in enumerate(found) if words.startswith("VM 'a'")), len(found))
    return found[start:end]


def warnings(host, text):
    return host.engine("--dry-run", "-", "--json", stdin=text).json()["warnings"]


def test_fine(host):
    found = doctor(host, xml(vm("a", 0, 1)))
    assert findings(host, xml(vm("a", 0, 1))) == FINE
    assert found[found.index(FINE[0]) + len(FINE):][:3] == PLAN
    assert changed("CARDS-PRESENT", "2 on the PCI bus", "PASS")[0] in found
    assert changed("CARDS-ALONE", "all that is in their IOMMU groups is passed", "PASS")[0] in found
    assert not [words for words in doctor(host, xml(vm("a", 0, 1)), "-q") if "DOMAIN-" in words or "VM '" in words]
    assert warnings(host, xml(vm("a", 0, 1))) == []


@pytest.mark.parametrize(
    "more, index, text, remedy",
    [
        ("<numatune><memory nodeset='0'/></numatune>", 1, "its vCPUs are not pinned to NUMA node 0", VCPUS),
        (PINS.replace("0-15", "0-16"), 1, "its vCPUs are pinned outside NUMA node 0", VCPUS),
        (PINS.replace("0-15", "0-31,^16-31,16"), 1, "its vCPUs are pinned outside NUMA node 0", VCPUS),
        (PINS.replace(" cpuset='0-15'", "") + "<cputune><vcpupin vcpu='0' cpuset='1'/></cputune>", 1,
         "its vCPUs are not pinned to NUMA node 0", VCPUS),
        (PINS.replace(" cpuset='0-15'", " placement='auto'"), 1,
         "numad places its vCPUs, and does not know of its cards", VCPUS),
        ("<vcpu cpuset='3'>4</vcpu>", 2, "its memory is not bound to NUMA node 0", MEMORY),
        (PINS.replace("nodeset='0'", "nodeset='0-1'"), 2, "its memory is bound to NUMA node 0-1, its cards are on 0",
         MEMORY),
    ],
)
def test_placement(host, more, index, text, remedy):
    found = findings(host, xml(vm("a", 0, 1), more))
    assert found == FINE[:index] + line(("NUMA", "VCPUS", "MEMORY")[index], text, "WARN", remedy) + FINE[index + 1:]
    assert warnings(host, xml(vm("a", 0, 1), more)) == [f"{text}; {remedy}"]


def test_pins_of_each_vcpu(host):
    pins = "".join(f"<vcpupin vcpu='{vcpu}' cpuset='{32 + vcpu}'/>" for vcpu in range(4))
    more = PINS.replace(" cpuset='0-15'", "") + f"<cputune>{pins}</cputune>"
    assert findings(host, xml(vm("a", 0, 1), more)) == FINE


def test_two_nodes(host):
    text = xml(vm("a", 0, 4), PINS.replace("0-15", "0-63").replace("nodeset='0'", "nodeset='0-1'"))
    assert findings(host, text)[:2] == line(
        "NUMA", "its cards are on NUMA nodes 0,1", "WARN", "icn-hook suggest 2 --numa 0 names cards of one node"
    )
    assert "its cards are on NUMA nodes 0,1; icn-hook suggest 2 --numa 0 names cards of one node" in warnings(host,
                                                                                                              text)


def test_one_node_in_the_host(host):
    """Nothing to pin to."""
    (host.path("/sys/devices/system/node/node1/cpulist")).unlink()
    (host.path("/sys/devices/system/node/node1")).rmdir()
    assert findings(host, xml(vm("a", 0, 1), "")) == FINE[:1] + FINE[3:]


def test_functions_and_binding(host):
    other = GUIDE_BDFS[0][:-1] + "1"
    host.add_function(other, 0x1DED, 0x6002, 0x040300, iommu_group=10)
    host.set_driver(other, "snd")
    text = xml(Domain("a", [Hostdev(GUIDE_BDFS[0]), Hostdev(GUIDE_BDFS[1], managed=False)]))
    expected = (
        line("FUNCTIONS", f"{NAMES[0]}: function {other} of the card is not passed", "WARN",
             "pass it too, as a <hostdev> of the same VM")
        + line("MANAGED", f"{NAMES[1]}: managed='no', and it is not on vfio-pci", "WARN",
               "managed='yes', or virsh nodedev-detach before the start")
    )
    assert findings(host, text) == FINE[:3] + expected + FINE[5:]
    assert warnings(host, text) == [
        f"{NAMES[0]}: {other} with driver snd is in its IOMMU group 10 too; bind it to vfio-pci, or pass it to the "
        "same VM",
        f"{NAMES[0]}: function {other} of the card is not passed; pass it too, as a <hostdev> of the same VM",
        f"{NAMES[1]}: managed='no', and it is not on vfio-pci; managed='yes', or virsh nodedev-detach before the start",
    ]
    host.set_driver(GUIDE_BDFS[1], "vfio-pci")
    whole = xml(Domain("a", [Hostdev(GUIDE_BDFS[0]), Hostdev(other), Hostdev(GUIDE_BDFS[1], managed=False)]))
    assert findings(host, whole) == FINE


def test_virtual_functions(host):
    host.add_vf(0)
    assert warnings(host, xml(vm("a", 0, 1))) == [
        f"{NAMES[0]}: 1 virtual functions are enabled; echo 0 into its sriov_numvfs before it is passed as a whole"
    ]


def test_a_domain_that_takes_a_virtual_function(host):
    """It wants them enabled."""
    function = host.add_vf(0)
    assert not [text for text in warnings(host, xml(Domain("a", [Hostdev(function)]))) if "sriov_numvfs" in text]


def test_refused(host):
    assert host.hook("b", "prepare", vm("b", 1).xml()).status == 0
    result = host.engine("doctor", "-", "--json", stdin=xml(vm("a", 0, 1)))
    assert (result.status, result.stderr) == (1, "")
    report = result.json()
    assert report["domain"] == {"name": "a", "uuid": vm("a").uuid}
    assert (report["plan"]["verdict"], report["plan"]["writes"]) == ("refuse", [])
    assert report["plan"]["reason"].startswith(f"icn-hook: VM 'a' would not be started: {NAMES[1]} is owned by VM 'b'")
    assert report["checks"][-1] == {
        "code": "DOMAIN-PLAN", "group": "domain", "check": "plan", "result": "fail", "text": report["plan"]["reason"],
        "remedy": None,
    }


def test_without_cards(host):
    found = doctor(host, Domain("a").xml())
    assert found[-2:] == [*line("PLAN", "VM 'a' uses no PPU"), "VM 'a' uses no PPU: nothing to do."]
    assert not [words for words in found if "  CARDS-" in words]


def test_bad_input(host, tmp_path):
    result = host.engine("doctor", f"{tmp_path}/x.xml")
    assert (result.status, result.stdout) == (3, b"")
    assert result.stderr == f"icn-hook: cannot open {tmp_path}/x.xml: No such file or directory\n"
    found = "\n".join(doctor(host, ""))
    assert "icn-hook: no VM would be started with this XML: standard input: it is empty" in found


# A VM that runs: what its cards have


def give(host, ppu, **files):
    """Files of the card in sysfs; None: not there."""
    for name, content in files.items():
        path = host.device(GUIDE_BDFS[ppu]) / name
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_text(content)


def give_pcie(host, ppu, width=16, speed="32.0 GT/s PCIe"):
    give(host, ppu, current_link_width=f"{width}\n", max_link_width="16\n", current_link_speed=f"{speed}\n",
         max_link_speed="32.0 GT/s PCIe\n")


def give_errors(host, ppu, correctable=0, nonfatal=0, fatal=0):
    give(host, ppu, aer_dev_correctable=f"RxErr {correctable}\nBadTLP 0\nTOTAL_ERR_COR {correctable}\n",
         aer_dev_nonfatal=f"Undefined 0\nTOTAL_ERR_NONFATAL {nonfatal}\n",
         aer_dev_fatal=f"Undefined 0\nTOTAL_ERR_FATAL {fatal}\n")


def running(host, *more):
    """The paragraph and its JSON, of the VM a."""
    text = xml(vm("a", 0, 1), *more)
    paragraph, = [line for line in doctor(host, text) if line.startswith("VM 'a' runs ")]
    found = host.engine("doctor", "-", "--json", stdin=text).json()["running"]
    assert found["text"] == paragraph
    return paragraph, found


def card(ppu, width=16, speed="32.0 GT/s", correctable=0, nonfatal=0, fatal=0):
    return {
        "ppu": ppu, "numa_node": 0, "width": width, "width_at_most": 16, "speed": speed, "speed_at_most": "32.0 GT/s",
        "aer_correctable": correctable, "aer_nonfatal": nonfatal, "aer_fatal": fatal,
    }


@pytest.fixture(name="busy")
def fixture_busy(host):
    """VM a runs with the cards 0 and 1, which are joined by one link."""
    for ppu in (0, 1):
        give_pcie(host, ppu)
        give_errors(host, ppu)
    libvirt = Libvirt(host)
    assert libvirt.start(vm("a", 0, 1)).running
    host.pid_of_a = libvirt.running["a"].pid
    return host


def test_running(busy):
    paragraph, found = running(busy)
    since = found["inner_links"].pop("since")
    assert found["inner_links"] == {"count": 1, "open": 1, "unknown": 0}
    assert found["witnesses"] == [
        {"name": "status", "up": 0, "down": 0, "unknown": 2}, {"name": "ppu-smi", "up": 0, "down": 0, "unknown": 2},
    ]
    assert found["cards"] == [card(0), card(1)]
    assert since.endswith("Z")
    head, tail = paragraph.split(", as read back before QEMU opened the cards, ")
    assert head == f"VM 'a' runs (pid {busy.pid_of_a}) with PPUs 0,1. Links between its cards: 1 of 1 open"
    assert tail.split(". ", 1)[1] == (
        "Their ends are up by status: 0 of 2, 2 cannot be seen now; by ppu-smi: 0 of 2, 2 cannot be seen now. "
        "NUMA: PPUs 0,1 node 0. PCIe now, of at most: PPUs 0,1 x16 of x16, 32.0 GT/s of 32.0 GT/s. "
        "AER errors: PPUs 0,1 0 correctable, 0 nonfatal, 0 fatal."
    )


def test_running_with_a_card_that_is_slow_and_one_with_errors(busy):
    give_pcie(busy, 0, width=8, speed="16.0 GT/s PCIe")
    give_errors(busy, 1, correctable=17, nonfatal=2, fatal=1)
    give(busy, 1, numa_node="1\n")
    paragraph, found = running(busy)
    assert found["cards"] == [
        card(0, width=8, speed="16.0 GT/s"), {**card(1, correctable=17, nonfatal=2, fatal=1), "numa_node": 1},
    ]
    assert paragraph.endswith(
        "NUMA: PPU 0 node 0; PPU 1 node 1. PCIe now, of at most: PPU 0 x8 of x16, 16.0 GT/s of 32.0 GT/s; "
        "PPU 1 x16 of x16, 32.0 GT/s of 32.0 GT/s. AER errors: PPU 0 0 correctable, 0 nonfatal, 0 fatal; "
        "PPU 1 17 correctable, 2 nonfatal, 1 fatal."
    )


def test_running_says_what_cannot_be_read(busy):
    give_pcie(busy, 0, width=255, speed="Unknown")
    give(busy, 0, aer_dev_nonfatal="?\n", numa_node="-1\n")
    give(busy, 1, current_link_width=None, max_link_width=None, current_link_speed=None, max_link_speed=None,
         aer_dev_correctable=None, aer_dev_nonfatal=None, aer_dev_fatal=None)
    paragraph, found = running(busy)
    nothing = dict.fromkeys(card(1)) | {"ppu": 1, "numa_node": 0}
    assert found["cards"] == [
        {**card(0), "numa_node": None, "width": None, "speed": None, "aer_nonfatal": None}, nothing,
    ]
    assert paragraph.endswith(
        "NUMA: PPU 0 not known; PPU 1 node 0. PCIe now, of at most: PPU 0 x? of x16, ? GT/s of 32.0 GT/s; PPU 1 not "
        "known. AER errors: PPU 0 0 correctable, nonfatal not known, 0 fatal; PPU 1 correctable not known, nonfatal "
        "not known, fatal not known."
    )


def test_running_without_a_gate(busy):
    """Nothing was read back, and nothing can be read: nothing is called open."""
    for path in busy.path("/run/icn-hook").iterdir():
        path.unlink()
    paragraph, found = running(busy)
    assert found["inner_links"] == {"count": 1, "open": 0, "unknown": 1, "since": None}
    assert ". Links between its cards: 0 of 1 open, 1 not known. " in paragraph


@pytest.mark.parametrize("up", [True, False])
def test_running_with_registers_that_can_be_read(busy, up):
    """The VMM has let go of them: what is read now counts, of the links and of their state."""
    for ppu, mask in enumerate(busy.masks().values()):
        if ppu in (0, 1):
            busy.let_go(GUIDE_BDFS[ppu])
            busy.write_register(ppu, mask if up else 0x3F)
            busy.write_register(ppu, 0x3F if up else 0, 0xBE383)
    paragraph, found = running(busy)
    assert found["inner_links"] == {"count": 1, "open": int(up), "unknown": 0, "since": None}
    assert found["witnesses"][0] == {"name": "status", "up": 2 * up, "down": 2 * (not up), "unknown": 0}
    assert f"cards: {int(up)} of 1 open. Their ends are up by status: {2 * up} of 2; by ppu-smi" in paragraph


def test_a_vm_that_does_not_run_has_no_paragraph(host):
    text = xml(vm("a", 0, 1))
    assert not [line for line in doctor(host, text) if " runs (pid " in line]
    assert "running" not in host.engine("doctor", "-", "--json", stdin=text).json()
    assert host.hook("a", "prepare", vm("a", 0, 1).xml()).status == 0
    assert "running" not in host.engine("doctor", "-", "--json", stdin=text).json()
