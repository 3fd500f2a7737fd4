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

/* Waits for the ledger's lock as a hook does (STATUS_BUSY).  MACHINE is
 * surveyed already and borrowed. */
MUST_CHECK int inspection_open(struct inspection *inspection, struct machine *machine, struct error *err);
void inspection_close(struct inspection *inspection);

/* Reads every card's register. */
void inspection_read_all(struct inspection *inspection);

enum link_end { END_CUT, END_OPEN, END_UNKNOWN };
enum link_live { LIVE_NO, LIVE_YES, LIVE_UNKNOWN };

/* One end of a link as read. */
enum link_end inspection_near_end(const struct inspection *inspection, int ppu, int link);
/* The other end: of several parallel links, open if any is. */
enum link_end inspection_far_end(const struct inspection *inspection, int ppu, int link);
enum link_live inspection_live(const struct inspection *inspection, int ppu, int link);

/* A link that may not be open is known to be live. */
bool inspection_leaks(const struct inspection *inspection, int ppu, int link);

/* The cuts that the card must have at least, and the mask it should have. */
uint32_t inspection_required(const struct inspection *inspection, int ppu);
uint32_t inspection_expected(const struct inspection *inspection, int ppu);

/* A readable mask lacks required cuts. */
bool inspection_drifts(const struct inspection *inspection, int ppu);
