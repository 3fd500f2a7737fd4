/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/snapshot.h"

/* The host as it is, for verbs that only look: nothing is created or changed. */
struct inspection {
    struct machine *machine;
    struct ledger ledger;
    struct registers registers;
    struct snapshot *snapshot;
    int owners[PPU_MAX];
};

/* An inspection that inspection_close may close, whether it was opened or not. */
#define INSPECTION_CLOSED ((struct inspection){.ledger = {.dirfd = -1, .lockfd = -1}})

/* Waits for the ledger's lock as a hook does (STATUS_BUSY).  MACHINE is
 * surveyed already and borrowed. */
MUST_CHECK int inspection_open(struct inspection *inspection, struct machine *machine, struct error *err);
void inspection_close(struct inspection *inspection);

/* The cuts that the card must have at least, and the mask it should have. */
uint32_t inspection_required(const struct inspection *inspection, int ppu);
uint32_t inspection_expected(const struct inspection *inspection, int ppu);

/* A readable mask lacks required cuts. */
bool inspection_drifts(const struct inspection *inspection, int ppu);
