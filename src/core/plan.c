/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/plan.h"

#include "core/contract.h"

/*
 * Theory of operation.  A card's register goes from NOW over NOW | WANT to
 * WANT.  All first halves, which only cut, are written before all second
 * halves, which only open; a half that would change nothing is left out.
 * What a cut half reaches has every cut of WANT, and an open half takes none
 * of them away.  So a link that the wanted masks forbid never becomes live,
 * and none is live any more when the first link opens.
 *
 * A register that did not take its cut does not hold what its opening starts
 * from, so that opening is left out.  A near end that cannot be cut ends the
 * walk: nothing opens for a start that is refused.
 */

/*@ requires \valid_read(goal);
    assigns \nothing;
    ensures \result == between(*goal);
    ensures (goal->now | \result) == \result && (\result | goal->want) == \result;
*/
static uint32_t plan_mask_between(const struct plan_goal *goal)
{
    return goal->now | goal->want;
}

/*@ requires \valid(plan) && plan->count < 2 * PPU_MAX;
    assigns plan->count, plan->writes[plan->count .. 2 * PPU_MAX - 1];
    ensures plan->count == \old(plan->count) + 1;
    ensures plan->writes[\old(plan->count)].ppu == ppu;
    ensures plan->writes[\old(plan->count)].role == role;
    ensures plan->writes[\old(plan->count)].from == from;
    ensures plan->writes[\old(plan->count)].to == to;
    ensures kept{Pre, Post}(plan, \old(plan->count));
*/
static void plan_append(struct plan *plan, int ppu, enum plan_role role, uint32_t from, uint32_t to)
{
    struct plan_write *write = &plan->writes[plan->count];
    write->ppu = ppu;
    write->role = role;
    write->from = from;
    write->to = to;
    plan->count++;
}

/*@ requires \valid(plan) && plan->count <= PPU_MAX;
    requires 0 <= ppu_count <= PPU_MAX && \valid_read(goals + (0 .. ppu_count - 1));
    requires \separated(plan, goals + (0 .. ppu_count - 1));
    requires (role == ROLE_NEAR || role == ROLE_FAR) && counted(goals, ppu_count, role);
    assigns plan->count, plan->writes[plan->count .. 2 * PPU_MAX - 1];
    ensures \old(plan->count) <= plan->count <= \old(plan->count) + fewer[role][ppu_count];
    ensures kept{Pre, Post}(plan, \old(plan->count));
    ensures cuts(plan, \old(plan->count), plan->count, goals, ppu_count, role);
    ensures ascending(plan, \old(plan->count), plan->count);
    ensures all_cut(plan, \old(plan->count), plan->count, goals, ppu_count, role);
*/
static void plan_append_cuts(struct plan *plan, const struct plan_goal goals[], int ppu_count, enum plan_role role)
{
    /*@ loop invariant 0 <= ppu <= ppu_count;
        loop invariant \at(plan->count, Pre) <= plan->count <= \at(plan->count, Pre) + fewer[role][ppu];
        loop invariant kept{Pre, Here}(plan, \at(plan->count, Pre));
        loop invariant below(plan, \at(plan->count, Pre), plan->count, ppu);
        loop invariant cuts: cuts(plan, \at(plan->count, Pre), plan->count, goals, ppu, role);
        loop invariant ascending: ascending(plan, \at(plan->count, Pre), plan->count);
        loop invariant all_cut: all_cut(plan, \at(plan->count, Pre), plan->count, goals, ppu, role);
        loop assigns ppu, plan->count, plan->writes[\at(plan->count, Pre) .. 2 * PPU_MAX - 1];
        loop variant ppu_count - ppu;
    */
    for (int ppu = 0; ppu < ppu_count; ppu++) {
        uint32_t between = plan_mask_between(&goals[ppu]);
        if (goals[ppu].role == role && goals[ppu].now != between) {
            plan_append(plan, ppu, role, goals[ppu].now, between);
            //@ assert below(plan, \at(plan->count, Pre), plan->count - 1, ppu);
            //@ assert cuts(plan, \at(plan->count, Pre), plan->count - 1, goals, ppu, role);
            //@ assert all_cut(plan, \at(plan->count, Pre), plan->count - 1, goals, ppu, role);
            //@ assert its_card: plan->writes[plan->count - 1].ppu == ppu;
        }
    }
}

/*@ requires \valid(plan) && plan->count + ppu_count <= 2 * PPU_MAX;
    requires 0 <= ppu_count <= PPU_MAX && \valid_read(goals + (0 .. ppu_count - 1));
    requires \separated(plan, goals + (0 .. ppu_count - 1));
    assigns plan->count, plan->writes[plan->count .. 2 * PPU_MAX - 1];
    ensures \old(plan->count) <= plan->count <= \old(plan->count) + ppu_count;
    ensures kept{Pre, Post}(plan, \old(plan->count));
    ensures openings(plan, \old(plan->count), plan->count, goals, ppu_count);
    ensures ascending(plan, \old(plan->count), plan->count);
    ensures all_opened(plan, \old(plan->count), plan->count, goals, ppu_count);
*/
static void plan_append_openings(struct plan *plan, const struct plan_goal goals[], int ppu_count)
{
    /*@ loop invariant 0 <= ppu <= ppu_count;
        loop invariant \at(plan->count, Pre) <= plan->count <= \at(plan->count, Pre) + ppu;
        loop invariant kept{Pre, Here}(plan, \at(plan->count, Pre));
        loop invariant below(plan, \at(plan->count, Pre), plan->count, ppu);
        loop invariant openings: openings(plan, \at(plan->count, Pre), plan->count, goals, ppu);
        loop invariant ascending: ascending(plan, \at(plan->count, Pre), plan->count);
        loop invariant all_opened: all_opened(plan, \at(plan->count, Pre), plan->count, goals, ppu);
        loop assigns ppu, plan->count, plan->writes[\at(plan->count, Pre) .. 2 * PPU_MAX - 1];
        loop variant ppu_count - ppu;
    */
    for (int ppu = 0; ppu < ppu_count; ppu++) {
        uint32_t between = plan_mask_between(&goals[ppu]);
        if (goals[ppu].role != ROLE_NONE && between != goals[ppu].want) {
            plan_append(plan, ppu, goals[ppu].role, between, goals[ppu].want);
            //@ assert below(plan, \at(plan->count, Pre), plan->count - 1, ppu);
            //@ assert openings(plan, \at(plan->count, Pre), plan->count - 1, goals, ppu);
            //@ assert all_opened(plan, \at(plan->count, Pre), plan->count - 1, goals, ppu);
            //@ assert its_card: plan->writes[plan->count - 1].ppu == ppu;
        }
    }
}

/*@ requires \valid_read(write);
    assigns \nothing;
    ensures \result <==> write->to != write->from && (write->from | write->to) == write->to;
    ensures \result ==> covers(write->to, write->from);
*/
bool plan_write_cuts(const struct plan_write *write)
{
    return write->to != write->from && (write->from | write->to) == write->to;
}

/*@ ghost
    /@ requires 0 <= ppu_count <= PPU_MAX && \valid_read(goals + (0 .. ppu_count - 1));
       assigns fewer[ROLE_NEAR][0 .. PPU_MAX], fewer[ROLE_FAR][0 .. PPU_MAX];
       ensures counted(goals, ppu_count, ROLE_NEAR) && counted(goals, ppu_count, ROLE_FAR);
       ensures 0 <= fewer[ROLE_NEAR][ppu_count] && 0 <= fewer[ROLE_FAR][ppu_count];
       ensures fewer[ROLE_NEAR][ppu_count] + fewer[ROLE_FAR][ppu_count] <= ppu_count;
    @/
    void count_roles(const struct plan_goal *goals, int ppu_count)
    {
        fewer[ROLE_NEAR][0] = 0;
        fewer[ROLE_FAR][0] = 0;
        /@ loop invariant 0 <= ppu <= ppu_count;
           loop invariant counted(goals, ppu, ROLE_NEAR) && counted(goals, ppu, ROLE_FAR);
           loop invariant 0 <= fewer[ROLE_NEAR][ppu] && 0 <= fewer[ROLE_FAR][ppu];
           loop invariant fewer[ROLE_NEAR][ppu] + fewer[ROLE_FAR][ppu] <= ppu;
           loop assigns ppu, fewer[ROLE_NEAR][1 .. PPU_MAX], fewer[ROLE_FAR][1 .. PPU_MAX];
           loop variant ppu_count - ppu;
        @/
        for (int ppu = 0; ppu < ppu_count; ppu++) {
            fewer[ROLE_NEAR][ppu + 1] = fewer[ROLE_NEAR][ppu] + (goals[ppu].role == ROLE_NEAR ? 1 : 0);
            fewer[ROLE_FAR][ppu + 1] = fewer[ROLE_FAR][ppu] + (goals[ppu].role == ROLE_FAR ? 1 : 0);
        }
    }
*/

/*@ requires \valid(plan);
    requires 0 <= ppu_count <= PPU_MAX && \valid_read(goals + (0 .. ppu_count - 1));
    requires \separated(plan, goals + (0 .. ppu_count - 1));
    assigns *plan, far_cuts, openings_start, fewer[ROLE_NEAR][0 .. PPU_MAX], fewer[ROLE_FAR][0 .. PPU_MAX];
    ensures 0 <= far_cuts <= openings_start <= plan->count <= 2 * PPU_MAX;
    ensures near_part: near_part(plan, goals, ppu_count, far_cuts);
    ensures far_part: far_part(plan, goals, ppu_count, far_cuts, openings_start);
    ensures open_part: open_part(plan, goals, ppu_count, openings_start);
*/
void plan_build(struct plan *plan, const struct plan_goal goals[], int ppu_count)
{
    plan->count = 0;
    //@ ghost count_roles(goals, ppu_count);
    plan_append_cuts(plan, goals, ppu_count, ROLE_NEAR);
    //@ ghost far_cuts = plan->count;
    plan_append_cuts(plan, goals, ppu_count, ROLE_FAR);
    //@ assert far_cut: all_cut(plan, far_cuts, plan->count, goals, ppu_count, ROLE_FAR);
    //@ assert cuts(plan, 0, far_cuts, goals, ppu_count, ROLE_NEAR);
    //@ assert ascending(plan, 0, far_cuts);
    //@ assert all_cut(plan, 0, far_cuts, goals, ppu_count, ROLE_NEAR);
    //@ ghost openings_start = plan->count;
    //@ ghost Cut: ;
    plan_append_openings(plan, goals, ppu_count);
    //@ assert kept{Cut, Here}(plan, openings_start);
    //@ assert cuts(plan, 0, far_cuts, goals, ppu_count, ROLE_NEAR);
    //@ assert ascending(plan, 0, far_cuts);
    //@ assert all_cut(plan, 0, far_cuts, goals, ppu_count, ROLE_NEAR);
    //@ assert cuts(plan, far_cuts, openings_start, goals, ppu_count, ROLE_FAR);
    //@ assert ascending(plan, far_cuts, openings_start);
    //@ assert all_cut(plan, far_cuts, openings_start, goals, ppu_count, ROLE_FAR);
}

/*@ assigns \nothing;
    ensures \result == APPLY_DONE || \result == APPLY_DEFERRED || \result == APPLY_FAILED;
    ensures \result == APPLY_DONE <==> answer == APPLY_DONE;
    ensures \result == APPLY_DEFERRED <==> answer == APPLY_DEFERRED && role == ROLE_NEAR && may_defer;
*/
static enum apply_outcome apply_judge(enum apply_outcome answer, enum plan_role role, bool may_defer)
{
    if (answer == APPLY_DONE) {
        return APPLY_DONE;
    }
    if (answer == APPLY_DEFERRED && role == ROLE_NEAR && may_defer) {
        return APPLY_DEFERRED;
    }
    return APPLY_FAILED;
}

/*@ requires \valid_read(write);
    assigns \nothing;
    ensures \result <==> outcome == APPLY_FAILED && write->role == ROLE_NEAR && write->to != write->from &&
        (write->from | write->to) == write->to;
*/
static bool apply_refuses(enum apply_outcome outcome, const struct plan_write *write)
{
    return outcome == APPLY_FAILED && write->role == ROLE_NEAR && plan_write_cuts(write);
}

/*@ requires \valid_read(plan) && write == &any_register_write;
    requires made_of_planned(plan) && once(plan, 0, openings_start) && once(plan, openings_start, plan->count);
    requires complete(plan);
    requires \valid(outcomes + (0 .. plan->count - 1));
    assigns registers[0 .. PPU_MAX - 1], outcomes[0 .. plan->count - 1];
    ensures untouched{Pre, Post};
    ensures none_opened{Pre, Post};
    ensures refused: \result <==> !near_cut_failed(plan, outcomes, plan->count);
    ensures walk_ends(plan, outcomes, plan->count) && left_behind(plan, outcomes, plan->count);
    ensures may_defer: deferred_near(plan, outcomes, plan->count) &&
        (!may_defer ==> \forall integer i; 0 <= i < plan->count ==> outcomes[i] != APPLY_DEFERRED);
    ensures cut_only: !\result ==> \forall integer ppu; ours(ppu) && as_read{Pre}(ppu) ==>
        covers(registers[ppu], planned[ppu].now);
    ensures isolated: \result && !may_defer ==> \forall integer ppu; ours(ppu) &&
        planned[ppu].role == ROLE_NEAR && as_read{Pre}(ppu) ==> isolated(ppu);
    ensures whole: \forall integer ppu; ours(ppu) && as_read{Pre}(ppu) && all_done(plan, outcomes, ppu) ==>
        registers[ppu] == planned[ppu].want;
*/
bool apply(const struct plan *plan, bool may_defer, apply_write *write, void *context, enum apply_outcome outcomes[])
{
    bool behind[PPU_MAX] = {false};
    bool refused = false;
    //@ assert \forall integer ppu; ours(ppu) && !to_cut(planned[ppu]) ==> covers(planned[ppu].now, planned[ppu].want);
    /*@ loop invariant 0 <= i <= plan->count;
        loop invariant untouched{Pre, Here};
        loop invariant none_opened{Pre, Here};
        loop invariant fresh: \forall integer ppu; 0 <= ppu < PPU_MAX && !written(plan, 0, i, ppu) ==>
            !behind[ppu] && registers[ppu] == \at(registers[ppu], Pre);
        loop invariant cuts: \forall integer j; 0 <= j < i && j < openings_start && outcomes[j] == APPLY_DONE ==>
            isolated(plan->writes[j].ppu);
        loop invariant half: \forall integer j; 0 <= j < i && j < openings_start && outcomes[j] == APPLY_DONE &&
            !written(plan, openings_start, i, plan->writes[j].ppu) ==>
                registers[plan->writes[j].ppu] == plan->writes[j].to && !behind[plan->writes[j].ppu];
        loop invariant whole: \forall integer j; openings_start <= j < i && outcomes[j] == APPLY_DONE ==>
            registers[plan->writes[j].ppu] == plan->writes[j].to;
        loop invariant refused: refused ==> near_cut_failed(plan, outcomes, i);
        loop invariant failed: near_cut_failed(plan, outcomes, i) ==> refused;
        loop invariant domain: \forall integer j; 0 <= j < i ==> outcomes[j] == APPLY_DONE ||
            outcomes[j] == APPLY_DEFERRED || outcomes[j] == APPLY_FAILED || outcomes[j] == APPLY_NOT_TRIED;
        loop invariant tried: \forall integer j; 0 <= j < i && j < openings_start &&
            outcomes[j] == APPLY_NOT_TRIED ==> refused;
        loop invariant walk_ends: walk_ends(plan, outcomes, i);
        loop invariant behind: \forall integer j; 0 <= j < i && outcomes[j] != APPLY_DONE ==>
            behind[plan->writes[j].ppu] || refused;
        loop invariant left_behind: left_behind(plan, outcomes, i);
        loop invariant near: deferred_near(plan, outcomes, i);
        loop invariant may_defer: !may_defer ==> \forall integer j; 0 <= j < i ==> outcomes[j] != APPLY_DEFERRED;
        loop invariant cut_only: i <= openings_start || refused ==>
            \forall integer ppu; ours(ppu) && as_read{Pre}(ppu) ==> covers(registers[ppu], planned[ppu].now);
        loop assigns i, refused, behind[0 .. PPU_MAX - 1], registers[0 .. PPU_MAX - 1],
            outcomes[0 .. plan->count - 1];
        loop variant plan->count - i;
    */
    for (size_t i = 0; i < plan->count; i++) {
        struct plan_write next = plan->writes[i];
        enum apply_outcome outcome = APPLY_NOT_TRIED;
        if (!refused && !behind[next.ppu]) {
            /*@ assert no_cut_needed: \forall integer ppu; ours(ppu) && !to_cut(planned[ppu]) && as_read{Pre}(ppu) ==>
                    isolated(ppu); */
            /*@ assert cuts_first: openings_start <= i ==> \forall integer ppu; ours(ppu) && to_cut(planned[ppu]) ==>
                    isolated(ppu) || cut_missed(plan, outcomes, ppu); */
            //@ assert half: i < openings_start <==> next.to != next.from && (next.from | next.to) == next.to;
            //@ assert covers(next.to, planned[next.ppu].want);
            //@ assert i < openings_start ==> covers(next.to, planned[next.ppu].now);
            //@ calls any_register_write;
            outcome = apply_judge(write(context, &next), next.role, may_defer);
            behind[next.ppu] = outcome != APPLY_DONE;
            refused = apply_refuses(outcome, &next);
            //@ assert done: outcome == APPLY_DONE ==> registers[next.ppu] == next.to;
            /*@ assert kept: \forall integer link; 0 <= link < LINK_MAX && cut(next.to, link) &&
                    cut(\at(registers[plan->writes[i].ppu], LoopCurrent), link) ==> cut(registers[next.ppu], link); */
        }
        outcomes[i] = outcome;
    }
    /*@ assert no_cut_needed: \forall integer ppu; ours(ppu) && !to_cut(planned[ppu]) && as_read{Pre}(ppu) ==>
            isolated(ppu); */
    /*@ assert all_cut: !refused && !may_defer ==> \forall integer ppu; ours(ppu) && to_cut(planned[ppu]) &&
            planned[ppu].role == ROLE_NEAR ==> isolated(ppu); */
    /*@ assert opened: \forall integer ppu; ours(ppu) && to_open(planned[ppu]) && all_done(plan, outcomes, ppu) ==>
            registers[ppu] == planned[ppu].want; */
    /*@ assert only_cut: \forall integer ppu; ours(ppu) && !to_open(planned[ppu]) && to_cut(planned[ppu]) &&
            all_done(plan, outcomes, ppu) ==> registers[ppu] == planned[ppu].want; */
    /*@ assert left: \forall integer ppu; ours(ppu) && !to_open(planned[ppu]) && !to_cut(planned[ppu]) ==>
            registers[ppu] == \at(registers[ppu], Pre); */
    return !refused;
}
