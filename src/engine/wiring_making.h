/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/machine.h"
#include "engine/wiring.h"

/* A wiring while it is put together. */
struct wiring_making {
    const struct wiring_sources *sources;
    struct wiring *wiring;
    struct text_list *warnings;
    struct error *err;
    bool has_id[PPU_MAX];
};

/* "PPU 0 (0000:08:00.0)" */
const char *wiring_name_card(const struct wiring *wiring, int ppu, char text[CARD_TEXT_SIZE]);
/* The id of the card, or -1. */
int wiring_find_card(const struct wiring *wiring, struct bdf bdf);

/* Gives every card its id. */
MUST_CHECK int wiring_find_ids(struct wiring_making *making);

/* Adds a warning for each kind of links that are down or lead to no card of this host, with all links of the kind. */
void wiring_warn_of_external(struct wiring_making *making);
