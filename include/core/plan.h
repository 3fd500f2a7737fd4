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
 * Masks are logical: bit i set = link i cut, with either polarity of the register.
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

/* What became of one write of a plan. */
enum apply_outcome {
    APPLY_NOT_TRIED, /* a near end failed before, or this register did not take its cut */
    APPLY_DONE,      /* the register took it */
    APPLY_DEFERRED,  /* a driver holds the registers; to be written later */
    APPLY_FAILED,    /* each bit may be as before or as wanted */
};

/*
 * Makes one write of a plan.  Returns APPLY_DONE only if the register took it,
 * APPLY_DEFERRED only if a driver holds the registers and nothing was changed,
 * else APPLY_FAILED.  What there is to say about a failure it keeps in CONTEXT;
 * it changes nothing that apply was given.
 */
typedef enum apply_outcome apply_write(void *context, const struct plan_write *write);

/*
 * Makes PLAN's writes in their order and says in OUTCOMES, which has room for
 * PLAN's count, what became of each.
 *
 * A cut of a near end must succeed, or, if MAY_DEFER, be deferred.  When it is
 * neither, nothing after it is tried and the result is false.  Every other
 * failure only shows in OUTCOMES.  An opening is not tried after a cut of the
 * same register that was not done.  A deferral that is not allowed (far end,
 * or not MAY_DEFER) counts as failed.
 */
bool apply(const struct plan *plan, bool may_defer, apply_write *write, void *context, enum apply_outcome outcomes[]);
