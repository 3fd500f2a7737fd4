/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/topology.h"

/*
 * From masks as read and masks wanted to an ordered list of single-register
 * writes: every write that cuts comes before any write that opens, and a
 * register that does both is written twice.  So no write of the list, done
 * alone or as the last before a crash, makes a link live that the wanted masks
 * forbid.
 *
 * Masks are logical: bit i set = link i cut, whatever the register's polarity.
 */
enum plan_role {
    ROLE_NONE, /* the card's register is not ours to touch now */
    ROLE_NEAR, /* a card of the domain that is started: must succeed */
    ROLE_FAR,  /* another card: the far end of a link, or an idle card to restore; best effort */
};

/* For one card. */
struct plan_goal {
    enum plan_role role;
    uint32_t now;  /* mask as read (or assumed, where it cannot be read) */
    uint32_t want; /* mask wanted */
};

struct plan_write {
    int ppu;
    enum plan_role role;
    uint32_t from;
    uint32_t to;
};

struct plan {
    size_t count;
    struct plan_write writes[2 * PPU_MAX];
};

/* True when the write cuts links and opens none. */
bool plan_write_cuts(const struct plan_write *write);

/* GOALS has PPU_COUNT entries (at most PPU_MAX).  Order: cuts of near ends,
 * cuts of far ends, then openings; each by ascending id. */
void plan_build(struct plan *plan, const struct plan_goal goals[], int ppu_count);
