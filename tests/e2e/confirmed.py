# SPDX-License-Identifier: LGPL-2.1-or-later
"""/var/lib/icn-hook/confirmed.json, as icn-hook confirm leaves it."""

import json



FILE = "/var/lib/icn-hook/confirmed.json"
AT = 1764234723  # seconds since the epoch
AT_TEXT = "2025-11-27 09:12 UTC"
REGISTERS = {
    "backend": "mmio",
    "bar": 0,
    "link_config": "0xbe382",
    "link_status": "0xbe383",
    "stride": 4,
    "cut_bit": 1,
    "links": "0x0",
}


def made_for(host, **registers):
    """With the ids and the topology that the host has."""
    lines = [f"{key} = {value}" for key, value in {**REGISTERS, **registers}.items()]
    lines += [f"PPU {ppu} = {bdf}" for ppu, bdf in enumerate(host.bdfs)]
    links = host.topology.links
    return lines + [f"{ppu}.{link} = {peer}" for ppu in sorted(links) for link, peer in sorted(links[ppu].items())]


def links(host, verdicts=None):
    """Each link once, at its lower id.  VERDICTS: those of (ppu, link) that are not confirmed."""
    return [
        {"ppu": ppu, "link": link, "peer": peer, "at": AT, "down": False, "verdict": "confirmed"}
        | (verdicts or {}).get((ppu, link), {})
        for ppu in sorted(host.topology.links)
        for link, peer in sorted(host.topology.links[ppu].items())
        if ppu < peer
    ]


def write(host, verdicts=None, lines=None):
    content = {
        "schema": "icn-hook/confirmed/1",
        "made_for": lines or made_for(host),
        "links": links(host, verdicts),
    }
    return host.write(FILE, json.dumps(content))
