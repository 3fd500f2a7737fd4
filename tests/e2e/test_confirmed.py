# SPDX-License-Identifier: LGPL-2.1-or-later
"""What icn-hook confirm left: in status, in doctor, and where [policy] require_confirmed
asks for it."""

import pytest

import confirmed
from domain_xml import INACTIVE, PREPARE
from test_confirm import confirm, fixture_host, ids, swapped  # noqa: F401
from topology import Topology


def refusal(host):
    domain = host.vm("vm1", 0, 1)
    result = host.hook(domain.name, "prepare", domain.xml(PREPARE))
    assert (result.status, result.stdout) == ((3, b"") if result.stderr else (0, b"")), result
    if result.status == 0:
        assert host.hook(domain.name, "release", domain.xml(INACTIVE)).status == 0
    return result.stderr.removeprefix("icn-hook: VM 'vm1' is not started: ").rstrip("\n")


REQUIRED = "[policy]\nrequire_confirmed = yes\n"
POLICY = "[policy] require_confirmed = yes: "
NONE = "nothing shows that registers, map and topology are right: run icn-hook confirm"


def test_vms_need_no_confirmation_by_default(host):
    assert refusal(host) == ""


def test_required(host):
    host.configure(REQUIRED)
    assert refusal(host) == POLICY + NONE
    confirm(host)
    assert refusal(host) == ""


def test_required_and_something_changed(host):
    confirmed.write(host)
    host.configure(REQUIRED)
    assert refusal(host) == ""
    host.configure("[registers]\nlink_status = 0xbe384\n" + REQUIRED)
    assert refusal(host) == (
        POLICY + "something has changed since icn-hook confirm ran (it was 'link_status = 0xbe383' and is 'link_status = "
        "0xbe384' now): run it again"
    )
    host.configure(REQUIRED)
    host.map_ids(swapped(host, 6, 7))
    assert f"(it was 'PPU 6 = {host.bdfs[6]}' and is 'PPU 6 = {host.bdfs[7]}' now)" in refusal(host)
    links = {ppu: dict(links) for ppu, links in host.topology.links.items()}
    links[0][3], links[0][4] = links[0][4], links[0][3]
    host.map_ids(ids(host))
    host.write("/etc/icn-hook/icn_topo.cfg", Topology(links).text())
    assert "(it was '0.3 = 2' and is '0.3 = 3' now)" in refusal(host)


VERDICTS = [
    ({(5, 5): {"verdict": "contradicted"}}, "1 of 16 links contradicted the settings; see icn-hook confirm"),
    ({(5, 5): {"verdict": "no witness"}}, None),
    ({(0, 4): {"verdict": "no witness"}}, "of the 4 links of PPU 0 (0000:08:00.0) only 3 are confirmed"),
    ({(0, 4): {"verdict": "no witness", "down": True}}, None),
    ({(1, link): {"verdict": "no witness", "down": True} for link in (0, 4, 5)} | {(0, 5): {"verdict": "no witness",
     "down": True}}, "of the 4 links of PPU 1 (0000:7e:00.0) only 0 are confirmed"),
]


@pytest.mark.parametrize("verdicts_of, reason", VERDICTS)
def test_required_of_links(host, verdicts_of, reason):
    """Those of the VM's cards are confirmed, or were down, and none of the host is contradicted."""
    confirmed.write(host, verdicts_of)
    host.configure(REQUIRED)
    found = refusal(host)
    assert found.startswith(POLICY + reason) if reason else found == ""


def test_required_of_vms_alone(host):
    """A VM without cards passes, and groups are made by people."""
    host.configure(REQUIRED)
    domain = host.vm("plain")
    assert host.hook(domain.name, "prepare", domain.xml(PREPARE)).status == 0
    assert host.engine("apply", "0,1").status == 0


def test_plan_is_refused_alike(host):
    host.configure(REQUIRED)
    result = host.engine("plan", "-", "--json", stdin=host.vm("vm1", 0).xml(PREPARE))
    assert (result.status, result.json()["verdict"]) == (3, "refuse")
    assert result.json()["reason"].endswith(f": {POLICY}{NONE}")


BAD_FILES = {
    "empty": ("", "it is cut short"),
    "another version": ('{"schema":"icn-hook/confirmed/2"}', "it was written by another version of icn-hook"),
    "a claim": ('{"schema":"icn-hook/claim/2"}', "it is not a result of icn-hook confirm"),
}


@pytest.mark.parametrize("content, reason", BAD_FILES.values(), ids=BAD_FILES)
def test_bad_file(host, content, reason):
    host.configure(REQUIRED)
    host.write(confirmed.FILE, content)
    found = refusal(host)
    assert found.startswith(f"{POLICY}{host.path(confirmed.FILE)}") and found.endswith("; run icn-hook confirm")
    confirm(host)
    assert refusal(host) == ""


def test_file_that_others_can_write(host):
    host.configure(REQUIRED)
    confirmed.write(host).chmod(0o666)
    assert refusal(host) == f"{POLICY}{host.path(confirmed.FILE)} is writable by others (mode 0666); run icn-hook confirm"


def test_status_shows_it(host):
    def shown():
        assert host.engine("status").stdout.decode().splitlines()[-3] == host.engine("status", "--json").json()["confirmed"]["text"]
        return tuple(host.engine("status", "--json").json()["confirmed"].values())

    assert shown() == ("none", NONE)
    confirmed.write(host)
    assert shown() == ("confirmed", f"16 of 16 links are confirmed, 0 were down ({confirmed.AT_TEXT})")
    confirmed.write(host, {(0, 0): {"verdict": "no witness"}, (5, 5): {"verdict": "no witness", "down": True}})
    assert shown() == (
        "partial",
        f"14 of 16 links are confirmed, 1 were down ({confirmed.AT_TEXT}); run icn-hook confirm while the other cards are "
        "idle",
    )
    confirmed.write(host, {(0, 0): {"verdict": "contradicted"}})
    assert shown()[0] == "contradicted"
    host.configure("[registers]\nbar = 1\n")
    assert shown()[0] == "changed"
    host.write(confirmed.FILE, "")
    assert shown()[0] == "unusable"


def doctor(host):
    checks = host.engine("doctor", "--json").json()["checks"]
    return next((check["result"], check["text"]) for check in checks if check["check"] == "confirmed")


def test_doctor_shows_it(host):
    assert doctor(host) == ("warn", NONE)
    confirmed.write(host)
    assert doctor(host)[0] == "pass"
    host.configure("[registers]\nstride = 8\n")
    assert doctor(host)[0] == "warn"
    host.configure("[registers]\nstride = 8\n" + REQUIRED)
    assert doctor(host)[0] == "fail"
    host.configure("")
    confirmed.write(host, {(0, 0): {"verdict": "contradicted"}})
    assert doctor(host)[0] == "fail"
