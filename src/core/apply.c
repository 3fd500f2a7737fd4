/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/apply.h"

/*
 * Theory of operation.  A register that did not take its cut does not hold
 * what its opening starts from, so that opening is left out.  A near end that
 * cannot be cut ends the walk: nothing opens for a start that is refused.
 */

static enum apply_outcome judge(enum apply_outcome answer, enum plan_role role, bool may_defer)
{
    if (answer == APPLY_DONE) {
        return APPLY_DONE;
    }
    if (answer == APPLY_DEFERRED && role == ROLE_NEAR && may_defer) {
        return APPLY_DEFERRED;
    }
    return APPLY_FAILED;
}

bool apply(const struct plan *plan, bool may_defer, apply_write *write, void *context,
           enum apply_outcome outcomes[])
{
    bool behind[PPU_MAX] = {false};
    bool refused = false;

    for (size_t i = 0; i < plan->count; i++) {
        const struct plan_write *next = &plan->writes[i];

        outcomes[i] = APPLY_NOT_TRIED;
        if (refused || behind[next->ppu]) {
            continue;
        }
        outcomes[i] = judge(write(context, next), next->role, may_defer);
        behind[next->ppu] = outcomes[i] != APPLY_DONE;
        refused = outcomes[i] == APPLY_FAILED && next->role == ROLE_NEAR && plan_write_cuts(next);
    }
    return !refused;
}
