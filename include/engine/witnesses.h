/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/session.h"
#include "engine/suspects.h"
#include "host/ppu_smi.h"

/* What the witnesses say of all cards at one moment. */
struct view {
    uint32_t known[WITNESS_COUNT][PPU_MAX];
    uint32_t up[WITNESS_COUNT][PPU_MAX];
};

struct witnesses {
    uint32_t indexes;           /* the links that are asked about: those that any card has */
    struct ppu_smi_cards cards; /* owned: which index ppu-smi gives to which address; empty until it was asked */
    bool
        has_seen[WITNESS_COUNT]; /* it reports some link of the host as up, so that it tells something if it does not */
    bool is_silent[WITNESS_COUNT]; /* it is not there, or failed, and is not asked again */
    bool is_silent_of[PPU_MAX];    /* the same of ppudbg and a card of which it knows nothing */
    struct text_list *warnings;    /* borrowed */
};
/* "status", "ppu-smi", "ppudbg" */
const char *witness_text(enum witness witness);

/* Which tools are there.  To be closed. */
void witnesses_open(struct witnesses *witnesses, const struct machine *machine, struct text_list *warnings);
void witnesses_close(struct witnesses *witnesses);
/* Looks at all cards that the session may change, or, if it may change nothing, at those that it looked at; ppudbg is
 * asked about ENDS (by id, or NULL) alone. */
void witnesses_look(struct witnesses *witnesses, struct session *session, const uint32_t ends[], struct view *view);
