/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which card has which id: all who say it must say the same, of exactly the cards on the bus. */
#include <stdlib.h>
#include <string.h>

#include "engine/wiring_making.h"

static bool is_on_bus(const struct wiring_sources *sources, struct bdf bdf)
{
    return bsearch(&bdf, sources->cards, sources->card_count, sizeof bdf, bdf_order);
}

/* FILE:LINE says that the card at BDF has the id. */
static int give_id(struct wiring_making *making, const char *file, int line, int ppu, struct bdf bdf,
                   enum id_source source)
{
    const struct wiring_sources *sources = making->sources;
    struct wiring *wiring = making->wiring;
    char text[BDF_TEXT_SIZE];
    char other[BDF_TEXT_SIZE];
    if (!is_on_bus(sources, bdf)) {
        return error_set(making->err, STATUS_INVALID,
                         "%s:%d: %s is not a card of this host (lspci -D -d %s lists them); is the file from another "
                         "machine?",
                         file, line, bdf_format(bdf, text), sources->match);
    }
    if (ppu >= wiring->topology.ppu_count) {
        return error_set(making->err, STATUS_INVALID,
                         "%s:%d: the ids of %zu cards are 0 to %zu, so %s cannot be PPU %d", file, line,
                         sources->card_count, sources->card_count - 1, bdf_format(bdf, text), ppu);
    }
    if (making->has_id[ppu] && bdf_compare(wiring->card[ppu], bdf) != 0) {
        return error_set(making->err, STATUS_INVALID, "%s:%d: PPU %d is %s here, but %s says it is %s", file, line, ppu,
                         bdf_format(bdf, text),
                         wiring->source[ppu] == ID_FROM_PPU_SMI ? sources->query_name : sources->map_name,
                         bdf_format(wiring->card[ppu], other));
    }
    if (!making->has_id[ppu]) {
        making->has_id[ppu] = true;
        wiring->card[ppu] = bdf;
        wiring->source[ppu] = source;
    }
    return 0;
}

/* The source that ends at FILE:LINE must have told of COUNT cards, all that are there. */
static int check_complete(struct wiring_making *making, const char *file, int line, size_t count)
{
    const struct wiring_sources *sources = making->sources;
    char text[BDF_TEXT_SIZE];
    for (size_t i = 0; count < sources->card_count && i < sources->card_count; i++) {
        if (wiring_find_card(making->wiring, sources->cards[i]) < 0) {
            return error_set(making->err, STATUS_INVALID, "%s:%d: the file ends without the card %s of this host", file,
                             line, bdf_format(sources->cards[i], text));
        }
    }
    return 0;
}

/* The path and serial number that a person wrote must be the card's. */
static int check_pin(struct wiring_making *making, const struct settings_pin *pin, int line)
{
    char path[PCI_PATH_SIZE] = "none";
    char serial[PCI_SERIAL_SIZE] = "none";
    char text[BDF_TEXT_SIZE];
    const char *name = making->sources->map_name;
    bdf_format(pin->bdf, text);
    if (pin->path[0] && (pci_card_path(pin->bdf, path) != 0 || strcmp(path, pin->path) != 0)) {
        return error_set(making->err, STATUS_INVALID, "%s:%d: the path of %s is %s, not %s", name, line, text, path,
                         pin->path);
    }
    if (pin->serial[0] && (pci_card_serial(pin->bdf, serial) != 0 || strcmp(serial, pin->serial) != 0)) {
        return error_set(making->err, STATUS_INVALID, "%s:%d: the serial number of %s is %s, not %s", name, line, text,
                         serial, pin->serial);
    }
    return 0;
}

int wiring_find_ids(struct wiring_making *making)
{
    const struct wiring_sources *sources = making->sources;
    for (size_t i = 0; i < sources->query.count; i++) {
        const struct ppu_smi_card *card = &sources->query.items[i];
        if (give_id(making, sources->query_name, card->line, card->index, card->bdf, ID_FROM_PPU_SMI) < 0) {
            return -1;
        }
    }
    if (sources->query_name &&
        check_complete(making, sources->query_name, sources->query.last_line, sources->query.count) < 0) {
        return -1;
    }
    for (int i = 0; i < sources->map.count; i++) {
        const struct settings_pin *pin = &sources->map.map[i];
        int line = sources->map.lines[i];
        if (give_id(making, sources->map_name, line, pin->ppu, pin->bdf, ID_FROM_FILE) < 0 ||
            check_pin(making, pin, line) < 0) {
            return -1;
        }
    }
    if (sources->map_name &&
        check_complete(making, sources->map_name, sources->map.last_line, (size_t)sources->map.count) < 0) {
        return -1;
    }
    for (size_t i = 0; sources->ids_by_address && i < sources->card_count; i++) {
        if (give_id(making, "--ids-by-address", (int)i + 1, (int)i, sources->cards[i], ID_FROM_ADDRESS) < 0) {
            return -1;
        }
    }
    if (!sources->query_name && !sources->map_name && !sources->ids_by_address) {
        return error_set(making->err, STATUS_INVALID,
                         "nothing says which card has which id: ppu-smi's list of the cards is missing; give the ids "
                         "with --map FILE, or, if they follow the addresses, with --ids-by-address");
    }
    return 0;
}
