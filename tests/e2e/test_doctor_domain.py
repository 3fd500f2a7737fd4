# SPDX-License-Identifier: LGPL-2.1-or-later
"""`icn-hook doctor DOMAIN.xml`: what a VM would meet before its first start, and the
plan; the same findings as warnings of --dry-run."""

import pytest

from bystander import vm
from doctor_report import changed
from domain_xml import Domain, Hostdev
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
