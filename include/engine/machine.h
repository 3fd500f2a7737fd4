/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "core/bdf.h"
#include "core/topology.h"
#include "host/pci.h"
#include "host/settings.h"

/* What is fixed about this host: settings, topology, and which PCI function is
 * which PPU. */
struct machine {
    struct settings settings;
    struct pci *pci;

    /* after machine_survey */
    struct topology topology;
    bool mapped[PPU_MAX];     /* the id has a card (it may be absent now, if pinned) */
    struct bdf card[PPU_MAX]; /* of mapped ids */
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

/* Reads the topology, with what [registers] links and [links] say of it, and gives every PPU its id: by [map], or by
 * the order of the addresses, which counts only if there are as many cards as the topology has (a card that fell off
 * the bus would shift all ids behind it). */
MUST_CHECK int machine_survey(struct machine *machine, struct error *err);

/* The cards on this host, sorted by address; owned by the caller. */
MUST_CHECK int machine_list_cards(const struct machine *machine, struct bdf **cards, size_t *count, struct error *err);

/* In place of machine_survey where there is no topology yet: the cards get their
 * ids by their order, and no links. */
MUST_CHECK int machine_survey_without_topology(struct machine *machine, struct error *err);

void machine_close(struct machine *machine);

/* The PPU id of a card, or -1. */
int machine_ppu_at(const struct machine *machine, struct bdf card);

/* "PPU 0 (0000:08:00.0)", for messages. */
enum { CARD_TEXT_SIZE = 48 };
const char *machine_card_text(const struct machine *machine, int ppu, char text[CARD_TEXT_SIZE]);

/* The ids in SET, ascending, as in "0-3,6". */
enum { IDS_TEXT_SIZE = 5 * PPU_MAX };
const char *machine_ids_text(const struct machine *machine, const bool set[], char text[IDS_TEXT_SIZE]);
