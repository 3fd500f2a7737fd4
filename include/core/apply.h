/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

#include "core/plan.h"

/* What became of one write of a plan. */
enum apply_outcome {
    APPLY_NOT_TRIED, /* a near end failed before, or this register did not take its cut */
    APPLY_DONE,      /* the register took it */
    APPLY_DEFERRED,  /* a driver holds the near end's registers; to be written later */
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
