/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/plan.h"

/*
 * Theory of operation.  A card's register goes from NOW over NOW | WANT to
 * WANT.  All first halves, which only cut, are written before all second
 * halves, which only open; a half that would change nothing is left out.
 * What a cut half reaches has every cut of WANT, and an open half takes none
 * of them away.  So a link that the wanted masks forbid never becomes live,
 * and none is live any more when the first link opens.
 */

static uint32_t mask_between(const struct plan_goal *goal)
{
    return goal->now | goal->want;
}

static void append(struct plan *plan, int ppu, enum plan_role role, uint32_t from, uint32_t to)
{
    struct plan_write *write = &plan->writes[plan->count];

    write->ppu = ppu;
    write->role = role;
    write->from = from;
    write->to = to;
    plan->count++;
}

static void append_cuts(struct plan *plan, const struct plan_goal goals[], int ppu_count, enum plan_role role)
{
    for (int ppu = 0; ppu < ppu_count; ppu++) {
        uint32_t between = mask_between(&goals[ppu]);

        if (goals[ppu].role == role && goals[ppu].now != between) {
            append(plan, ppu, role, goals[ppu].now, between);
        }
    }
}

static void append_openings(struct plan *plan, const struct plan_goal goals[], int ppu_count)
{
    for (int ppu = 0; ppu < ppu_count; ppu++) {
        uint32_t between = mask_between(&goals[ppu]);

        if (goals[ppu].role != ROLE_NONE && between != goals[ppu].want) {
            append(plan, ppu, goals[ppu].role, between, goals[ppu].want);
        }
    }
}

bool plan_write_cuts(const struct plan_write *write)
{
    return write->to != write->from && (write->to & write->from) == write->from;
}

void plan_build(struct plan *plan, const struct plan_goal goals[], int ppu_count)
{
    plan->count = 0;
    append_cuts(plan, goals, ppu_count, ROLE_NEAR);
    append_cuts(plan, goals, ppu_count, ROLE_FAR);
    append_openings(plan, goals, ppu_count);
}
