/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "core/ownership.h"
#include "core/plan.h"
#include "core/topology.h"

/*
 * The words in which the contracts of ownership.c and plan.c are written.
 * They are comments for the compiler; tests/proof/run has Frama-C prove them.
 */

/*@ // Link LINK is cut in MASK.
    predicate cut(integer mask, integer link) = (mask & (1 << link)) != 0;

    // Every link that LESS cuts is cut in MORE too.
    predicate covers(integer more, integer less) =
        \forall integer link; 0 <= link < LINK_MAX ==> cut(less, link) ==> cut(more, link);

    // The rule, in the specification's words.
    predicate allowed(integer owner_a, integer owner_b) =
        (owner_a == OWNER_IDLE && owner_b == OWNER_IDLE) || (owner_a > 0 && owner_b > 0 && owner_a == owner_b);

    predicate valid_topology(struct topology *topology) =
        \valid_read(topology) && 0 < topology->ppu_count <= PPU_MAX &&
        \forall integer ppu, link; 0 <= ppu < topology->ppu_count && 0 <= link < LINK_MAX ==>
            EXTERNAL_PEER <= topology->peer[ppu][link] < topology->ppu_count;

    // Link LINK of PPU leads to none of the topology's cards.
    predicate external(struct topology *topology, integer ppu, integer link) =
        topology->peer[ppu][link] == EXTERNAL_PEER;

    // Link LINK of PPU is wired and the rule forbids it: an external link unless its card is idle.
    predicate forbidden(struct topology *topology, int *owners, integer ppu, integer link) =
        topology->peer[ppu][link] != NO_PEER &&
        (external(topology, ppu, link) ? owners[ppu] != OWNER_IDLE :
            !allowed(owners[ppu], owners[topology->peer[ppu][link]]));
*/

/*@ // What a register holds between its two writes.
    logic integer between(struct plan_goal goal) = goal.now | goal.want;

    predicate has_role(struct plan_goal *goals, integer ppu_count, integer ppu) =
        0 <= ppu < ppu_count && goals[ppu].role != ROLE_NONE;

    // GOAL's register has to be written to cut, to open.
    predicate to_cut(struct plan_goal goal) = goal.now != between(goal);
    predicate to_open(struct plan_goal goal) = goal.want != between(goal);

    // WRITE is the half of its card's goal that only cuts, that only opens.
    predicate is_cut(struct plan_write write, struct plan_goal goal) =
        to_cut(goal) && write.role == goal.role && write.from == goal.now && write.to == between(goal) &&
        (write.from | write.to) == write.to;
    predicate is_opening(struct plan_write write, struct plan_goal goal) =
        to_open(goal) && write.role == goal.role && write.from == between(goal) && write.to == goal.want &&
        (write.from | write.to) == write.from;

    // Writes FIRST .. LAST-1 are cuts of cards with ROLE, openings of cards with any role.
    predicate cuts(struct plan *plan, integer first, integer last, struct plan_goal *goals, integer ppu_count,
                   integer role) =
        \forall integer i; first <= i < last ==>
            has_role(goals, ppu_count, plan->writes[i].ppu) && plan->writes[i].role == role &&
            is_cut(plan->writes[i], goals[plan->writes[i].ppu]);
    predicate openings(struct plan *plan, integer first, integer last, struct plan_goal *goals, integer ppu_count) =
        \forall integer i; first <= i < last ==>
            has_role(goals, ppu_count, plan->writes[i].ppu) &&
            is_opening(plan->writes[i], goals[plan->writes[i].ppu]);

    // By ascending id, so each card at most once.
    predicate ascending(struct plan *plan, integer first, integer last) =
        \forall integer i, j; first <= i < j < last ==> plan->writes[i].ppu < plan->writes[j].ppu;

    predicate below(struct plan *plan, integer first, integer last, integer ppu) =
        \forall integer i; first <= i < last ==> 0 <= plan->writes[i].ppu < ppu;

    predicate written(struct plan *plan, integer first, integer last, integer ppu) =
        \exists integer i; first <= i < last && plan->writes[i].ppu == ppu;

    // No card that needs it is left out.
    predicate all_cut(struct plan *plan, integer first, integer last, struct plan_goal *goals, integer ppu_count,
                      integer role) =
        \forall integer ppu; 0 <= ppu < ppu_count && goals[ppu].role == role && to_cut(goals[ppu]) ==>
            written(plan, first, last, ppu);
    predicate all_opened(struct plan *plan, integer first, integer last, struct plan_goal *goals, integer ppu_count) =
        \forall integer ppu; 0 <= ppu < ppu_count && goals[ppu].role != ROLE_NONE && to_open(goals[ppu]) ==>
            written(plan, first, last, ppu);

    // The first COUNT writes are the same at both places.
    predicate kept{L1, L2}(struct plan *plan, integer count) =
        \forall integer i; 0 <= i < count ==>
            \at(plan->writes[i].ppu, L1) == \at(plan->writes[i].ppu, L2) &&
            \at(plan->writes[i].role, L1) == \at(plan->writes[i].role, L2) &&
            \at(plan->writes[i].from, L1) == \at(plan->writes[i].from, L2) &&
            \at(plan->writes[i].to, L1) == \at(plan->writes[i].to, L2);

    // What plan_build makes of GOALS: cuts of near ends, then of far ends from FAR on, then openings from OPEN on.
    predicate near_part(struct plan *plan, struct plan_goal *goals, integer ppu_count, integer far) =
        cuts(plan, 0, far, goals, ppu_count, ROLE_NEAR) && ascending(plan, 0, far) &&
        all_cut(plan, 0, far, goals, ppu_count, ROLE_NEAR);
    predicate far_part(struct plan *plan, struct plan_goal *goals, integer ppu_count, integer far, integer open) =
        cuts(plan, far, open, goals, ppu_count, ROLE_FAR) && ascending(plan, far, open) &&
        all_cut(plan, far, open, goals, ppu_count, ROLE_FAR);
    predicate open_part(struct plan *plan, struct plan_goal *goals, integer ppu_count, integer open) =
        openings(plan, open, plan->count, goals, ppu_count) && ascending(plan, open, plan->count) &&
        all_opened(plan, open, plan->count, goals, ppu_count);
    predicate in_order(struct plan *plan, struct plan_goal *goals, integer ppu_count, integer far, integer open) =
        0 <= far <= open <= plan->count <= 2 * PPU_MAX && near_part(plan, goals, ppu_count, far) &&
        far_part(plan, goals, ppu_count, far, open) && open_part(plan, goals, ppu_count, open);

    // The write's FROM is what its register holds after the writes before it.
    predicate chained(struct plan *plan, struct plan_goal *goals, integer i) =
        (!written(plan, 0, i, plan->writes[i].ppu) && plan->writes[i].from == goals[plan->writes[i].ppu].now) ||
        (\exists integer j; 0 <= j < i && plan->writes[j].ppu == plan->writes[i].ppu &&
            plan->writes[j].to == plan->writes[i].from && !written(plan, j + 1, i, plan->writes[i].ppu));
*/

/*@ ghost size_t far_cuts, openings_start;  // where plan_build's far cuts and openings begin
    int fewer[ROLE_FAR + 1][PPU_MAX + 1];  // fewer[role][ppu]: how many cards below PPU have ROLE
*/

/*@ predicate counted(struct plan_goal *goals, integer ppu_count, integer role) = fewer[role][0] == 0 &&
        \forall integer ppu; 0 <= ppu < ppu_count ==> 0 <= fewer[role][ppu] <= ppu &&
            fewer[role][ppu + 1] == fewer[role][ppu] + (goals[ppu].role == role ? 1 : 0);
*/

/*
 * The machine as apply sees it: one register per card, with any content, that
 * only the caller's function writes.
 */
/*@ ghost uint32_t registers[PPU_MAX];     // what the cards' registers hold
    struct plan_goal planned[PPU_MAX];     // the goals of the plan; ROLE_NONE beyond the last card
*/

/*@ predicate ours(integer ppu) = 0 <= ppu < PPU_MAX && planned[ppu].role != ROLE_NONE;

    // PLAN is in_order for the goals planned.
    predicate made_of_planned(struct plan *plan) =
        0 <= openings_start <= plan->count <= 2 * PPU_MAX &&
        \forall integer i; 0 <= i < plan->count ==> ours(plan->writes[i].ppu) &&
            (i < openings_start ? is_cut(plan->writes[i], planned[plan->writes[i].ppu])
                                : is_opening(plan->writes[i], planned[plan->writes[i].ppu]));
    predicate once(struct plan *plan, integer first, integer last) =
        \forall integer i, j; first <= i < j < last ==> plan->writes[i].ppu != plan->writes[j].ppu;
    predicate complete(struct plan *plan) =
        (\forall integer ppu; ours(ppu) && to_cut(planned[ppu]) ==> written(plan, 0, openings_start, ppu)) &&
        (\forall integer ppu; ours(ppu) && to_open(planned[ppu]) ==>
            written(plan, openings_start, plan->count, ppu));

    // No register that is not ours has changed, and none lost a cut that its goal wants.
    predicate untouched{L1, L2} =
        \forall integer ppu; 0 <= ppu < PPU_MAX && \at(planned[ppu].role, L1) == ROLE_NONE ==>
            \at(registers[ppu], L1) == \at(registers[ppu], L2);
    predicate none_opened{L1, L2} =
        \forall integer ppu, link; 0 <= ppu < PPU_MAX && 0 <= link < LINK_MAX &&
            cut(\at(planned[ppu].want, L1), link) &&
            cut(\at(registers[ppu], L1), link) ==> cut(\at(registers[ppu], L2), link);

    predicate as_read(integer ppu) = registers[ppu] == planned[ppu].now;
    predicate isolated(integer ppu) = covers(registers[ppu], planned[ppu].want);

    predicate near_cut_failed(struct plan *plan, enum apply_outcome *outcomes, integer last) =
        \exists integer i; 0 <= i < last && i < openings_start && plan->writes[i].role == ROLE_NEAR &&
            outcomes[i] == APPLY_FAILED;
    // Nothing is tried after a near end that could not be cut, nor on a register that is behind.
    predicate walk_ends(struct plan *plan, enum apply_outcome *outcomes, integer last) =
        \forall integer i, j; 0 <= i < j < last && i < openings_start && plan->writes[i].role == ROLE_NEAR &&
            outcomes[i] == APPLY_FAILED ==> outcomes[j] == APPLY_NOT_TRIED;
    predicate left_behind(struct plan *plan, enum apply_outcome *outcomes, integer last) =
        \forall integer i, j; 0 <= i < j < last && plan->writes[i].ppu == plan->writes[j].ppu &&
            outcomes[i] != APPLY_DONE ==> outcomes[j] == APPLY_NOT_TRIED;
    predicate deferred_near(struct plan *plan, enum apply_outcome *outcomes, integer last) =
        \forall integer i; 0 <= i < last && outcomes[i] == APPLY_DEFERRED ==> plan->writes[i].role == ROLE_NEAR;
    predicate cut_missed(struct plan *plan, enum apply_outcome *outcomes, integer ppu) =
        \exists integer i; 0 <= i < openings_start && plan->writes[i].ppu == ppu &&
            (outcomes[i] == APPLY_DEFERRED ||
             (outcomes[i] == APPLY_FAILED && plan->writes[i].role != ROLE_NEAR));
    predicate all_done(struct plan *plan, enum apply_outcome *outcomes, integer ppu) =
        \forall integer i; 0 <= i < plan->count && plan->writes[i].ppu == ppu ==> outcomes[i] == APPLY_DONE;

    // Each link as in OLD or as in WANTED.
    predicate torn(integer result, integer old, integer wanted) =
        \forall integer link; 0 <= link < LINK_MAX ==>
            (cut(result, link) <==> cut(old, link)) || (cut(result, link) <==> cut(wanted, link));
*/

#ifdef __FRAMAC__
/*@ requires ours(write->ppu);
    assigns registers[write->ppu];
    ensures \result == APPLY_DONE ==> registers[write->ppu] == write->to;
    ensures \result == APPLY_DEFERRED ==> registers[write->ppu] == \old(registers[write->ppu]);
    ensures torn(registers[write->ppu], \old(registers[write->ppu]), write->to);
*/
enum apply_outcome any_register_write(void *context, const struct plan_write *write);
#endif
