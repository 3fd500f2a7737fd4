# SPDX-License-Identifier: LGPL-2.1-or-later
"""plan with bare <hostdev> elements, as virsh attach-device takes one: what a hot-plug would cut."""

from bystander import vm
from domain_xml import PREPARE
from libvirt_player import Libvirt
from test_manual import card_text, fine


def test_plan_of_bare_devices(host):
    assert Libvirt(host).start(vm("a", 0, 1)).running
    expected = host.engine("plan", "-", "--json", stdin=vm("x", 6).xml()).json()
    device = vm("x", 6).devices[0].xml(0, PREPARE)
    for text in (device, f"<?xml version='1.0'?>\n<!-- one -->\n{device}", "\n " + device.strip()):
        found = fine(host.engine("plan", "-", "--json", stdin=text)).json()
        assert found["domain"] == {"name": "", "uuid": None}
        assert {**found, "domain": None} == {**expected, "domain": None}
    text = fine(host.engine("plan", "-", stdin=device)).stdout.decode()
    assert text.startswith("The device would be isolated. Register writes, in this order (bit set = link cut):\n")
    suggested = host.engine("suggest", "2", "--xml").stdout
    ids = [card["ppu"] for card in host.engine("suggest", "2", "--json").json()["ppus"]]
    found = fine(host.engine("plan", "-", "--json", stdin=suggested)).json()
    assert [entry["ppu"] for entry in found["devices"]] == ids


def test_plan_of_bare_devices_that_cannot_be(host):
    assert Libvirt(host).start(vm("a", 0, 1)).running
    device = vm("x", 1).devices[0].xml(0, PREPARE)
    result = host.engine("plan", "-", stdin=device)
    assert result.status == 4
    assert result.stderr.startswith(f"icn-hook: the device would not be attached: {card_text(1)} is owned by VM 'a' ")
    nic = host.add_nic()
    result = fine(host.engine("plan", "-", stdin=device.replace("bus='0x7e'", "bus='0x01'").replace("0x7e", "0x01")))
    assert nic and result.stdout == b"The device is not a PPU: nothing to do.\n"
    for text in ("<hostdev", "<hostdev>", device + "<hostdev", device + "</devices></domain>"):
        result = host.engine("plan", "-", stdin=text)
        assert result.status == 3 and result.stderr.count("\n") == 1, text
    assert host.engine("plan", "-", stdin="<hostdevs/>").status == 3
