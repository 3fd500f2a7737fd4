# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the vendor's tools answer about a host's cards, in the vendor's form.

CARDS are (index, card) of those that the tool knows.  LIES are words that make an answer
wrong: lie-state, lie-remote, lie-index, lie-ids, lie; see the tools.
"""

QUERY = ("index", "pci.bus_id", "uuid", "serial")


def bus_id(bdf):
    return f"0000{bdf}".upper()


def query(wiring, cards, fields=QUERY, header=False, lies=()):
    """ppu-smi --query-ppu"""
    indices = {card.bdf: index for index, card in enumerate(wiring.cards)}
    if "lie-ids" in lies:
        _swap(indices, wiring)
    values = {
        "index": lambda card: str(indices[card.bdf]),
        "pci.bus_id": lambda card: bus_id(card.bdf),
        "uuid": lambda card: card.uuid,
        "serial": lambda card: card.board_serial,
        "name": lambda card: wiring.name,
    }
    lines = [", ".join(fields)] if header else []
    lines += [", ".join(values[field](card) for field in fields) for _, card in cards]
    return "".join(f"{line}\n" for line in lines)


def states(hardware, cards, links=None, lies=()):
    """ppu-smi icn -s"""
    cuts = hardware.cuts()

    def state(card, link):
        return "50 GB/s" if hardware.is_up((card.bdf, link), cuts) != ("lie-state" in lies) else "<inactive>"

    return _of_links(hardware.wiring, cards, links, state)


def remotes(hardware, cards, links=None, lies=()):
    """ppu-smi icn -r: the links that are up"""
    cuts, wiring = hardware.cuts(), hardware.wiring
    names = {bdf: bdf for bdf in wiring.bdfs}
    if "lie-remote" in lies:
        _swap(names, wiring)

    def remote(card, link):
        if not hardware.is_up((card.bdf, link), cuts):
            return None
        other = wiring.other((card.bdf, link)) or wiring.external[card.bdf, link]
        return f"Remote Device {bus_id(names.get(other.bdf, other.bdf))}: Link {other.link + ('lie-index' in lies)}"

    return _of_links(wiring, cards, links, remote)


def topology(hardware, lies=()):
    """ppudbg --topo_read: the links that are up"""
    cuts, wiring = hardware.cuts(), hardware.wiring
    ids = {card.bdf: card.ppuid for card in wiring.cards}
    if "lie" in lies:
        _swap(ids, wiring)
    lines = []
    for bdf, ppu in sorted(ids.items(), key=lambda item: item[1]):
        lines += [f"==========device{ppu}==========", f"ppuid: {ppu}"]
        for link in wiring.links(bdf):
            if hardware.is_up((bdf, link), cuts):
                other = wiring.other((bdf, link))
                lines.append(f"link[{link}]: nbrPpuid:{ids[other.bdf] if other else wiring.external[bdf, link].ppuid}")
    return "".join(f"{line}\n" for line in lines)


def save(hardware, directory):
    """The answers of a host whose cards all have the driver, as `icn-hook setup --from` wants them."""
    cards = list(enumerate(hardware.wiring.cards))
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "query.csv").write_text(query(hardware.wiring, cards))
    (directory / "icn-s.txt").write_text(states(hardware, cards))
    (directory / "icn-r.txt").write_text(remotes(hardware, cards))
    (directory / "topo.txt").write_text(topology(hardware))
    return directory


def _of_links(wiring, cards, links, tell):
    lines = []
    for index, card in cards:
        lines.append(f"PPU {index}: {wiring.name} (UUID: {card.uuid})")
        for link in range(wiring.ports) if links is None else links:
            if text := tell(card, link):
                lines.append(f"    Link {link}: {text}")
    return "".join(f"{line}\n" for line in lines)


def _swap(values, wiring):
    first, second = wiring.bdfs[:2]
    values[first], values[second] = values[second], values[first]
