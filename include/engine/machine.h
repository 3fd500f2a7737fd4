/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "core/bdf.h"
#include "core/topology.h"
#include "host/pci.h"
#include "host/settings.h"

/* What is at the address that an id is pinned to. */
enum pin_state {
    PIN_FINE,           /* its card, as far as [map] tells more than the address */
    PIN_ABSENT,         /* nothing */
    PIN_OTHER_FUNCTION, /* a function that is no card; nothing is read or written there */
    PIN_UNSURE,         /* a card of which path or serial number cannot be read now: no VM may take it */
};

/* What is fixed about this host: settings, topology, and which PCI function is
 * which PPU. */
struct machine {
    struct settings settings;
    struct pci *pci;
    bool finds_none; /* match finds none of the pinned cards */
    /* Set before machine_survey, to be shown what is known of cards that do not fit [map]: that fault is kept below
     * then, and refuses nothing here.  For sessions that look. */
    bool is_lenient;
    struct error fault; /* STATUS_OK: none */

    /* after machine_survey */
    bool has_ids;
    struct topology topology;
    bool mapped[PPU_MAX];     /* the id has a card (it may be absent now) */
    struct bdf card[PPU_MAX]; /* of mapped ids */
    enum pin_state pins[PPU_MAX];
};

/* Reads the settings (CONFIG, or NULL for the usual file, which may be missing)
 * and gets ready to ask for PCI functions.  *machine is owned by the caller. */
MUST_CHECK int machine_open(const char *config, struct machine **machine, struct error *err);

/* The same without the drop-in of that name, which may be broken: it is about to be replaced. */
MUST_CHECK int machine_open_without(const char *config, const char *drop_in, struct machine **machine,
                                    struct error *err);

/* For a configuration that machine_open refuses: a machine that can tell which
 * functions are PPUs and nothing else.  False if nobody can tell. */
MUST_CHECK bool machine_open_salvaged(const char *config, struct machine **machine);

/* Reads the topology, with what [registers] links and [links] say of it, and gives every PPU its id, by [map] alone.
 * STATUS_INVALID if there is none, or if it does not fit the cards any more (see engine/identity.h). */
MUST_CHECK int machine_survey(struct machine *machine, struct error *err);

/* The cards on this host, sorted by address; owned by the caller. */
MUST_CHECK int machine_list_cards(const struct machine *machine, struct bdf **cards, size_t *count, struct error *err);

/* In place of machine_survey where there are no ids yet, to see who has a card: the cards are counted from 0, which
 * makes no PPU of them, and have no links. */
MUST_CHECK int machine_survey_without_topology(struct machine *machine, struct error *err);

void machine_close(struct machine *machine);

/* The card at the id's address is the pinned one.  False only on a lenient machine with a fault: it may be another
 * card, and nothing that is read there or remembered of the address says anything of this id. */
bool machine_is_sure(const struct machine *machine, int ppu);

/* The serial number that [map] gives the card; NULL: none. */
const char *machine_serial(const struct machine *machine, int ppu);

/* The PPU id of a card, or -1. */
int machine_ppu_at(const struct machine *machine, struct bdf card);

/* "PPU 0 (0000:08:00.0)", for messages. */
enum { CARD_TEXT_SIZE = 48 };
const char *machine_card_text(const struct machine *machine, int ppu, char text[CARD_TEXT_SIZE]);

/* The ids in SET, ascending, as in "0-3,6". */
enum { IDS_TEXT_SIZE = 5 * PPU_MAX };
const char *machine_ids_text(const struct machine *machine, const bool set[], char text[IDS_TEXT_SIZE]);
