/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "base/file.h"
#include "base/text.h"
#include "core/bdf.h"
#include "core/topology.h"
#include "host/ppu_smi.h"
#include "host/settings.h"

/* Who says which card has an id (contract: setup --json). */
enum id_source { ID_FROM_PPU_SMI, ID_FROM_FILE, ID_FROM_ADDRESS };

/* Everything that is known of a host's cards, each from its own source.  A name that is NULL: there is no such
 * source. */
struct wiring_sources {
    const struct bdf *cards; /* on the bus, ascending; borrowed */
    size_t card_count;
    const char *match;    /* by what they were found; borrowed */
    bool ids_by_address;  /* a person said so */
    const char *map_name; /* a file that a person wrote; borrowed */
    struct settings_map_file map;
    char *query_name; /* owned, as all names and contents here */
    struct ppu_smi_cards query;
    char *states_name; /* ppu-smi icn -s */
    struct ppu_smi_links states;
    char *remotes_name; /* ppu-smi icn -r */
    struct ppu_smi_links remotes;
    char *topology_name; /* in the vendor's form */
    struct topology topology;
    struct buffer topology_text;
};
void wiring_sources_free(struct wiring_sources *sources);

/* Which card has which id, and where the links lead. */
struct wiring {
    struct topology topology;            /* only links between cards of this host */
    int16_t peer_link[PPU_MAX][LINK_MAX]; /* the link's index at the neighbour, or -1: not told */
    struct bdf card[PPU_MAX];
    enum id_source source[PPU_MAX];
    uint32_t listed[PPU_MAX]; /* the links that the card has, wherever they lead */
    uint32_t links;           /* the register's bits that are links; 0: only the topology tells */
};

/* Puts the sources together.  They must agree with each other, with the cards on the bus, and with themselves: each end
 * of a link with the other.  STATUS_INVALID, with file and line, if they do not.  A link whose other end is not known
 * to be a card of this host is external, and WARNINGS name it. */
MUST_CHECK int wiring_make(const struct wiring_sources *sources, struct wiring *wiring, struct text_list *warnings,
                           struct error *err);

/* Links between two cards of this host, each once; and ends of external ones. */
int wiring_count_links(const struct wiring *wiring);
int wiring_count_external(const struct wiring *wiring);
