/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/apply.h"

#include "core/contract.h"

/*
 * Theory of operation.  A register that did not take its cut does not hold
 * what its opening starts from, so that opening is left out.  A near end that
 * cannot be cut ends the walk: nothing opens for a start that is refused.
 */

/*@ assigns \nothing;
    ensures \result == APPLY_DONE || \result == APPLY_DEFERRED || \result == APPLY_FAILED;
    ensures \result == APPLY_DONE <==> answer == APPLY_DONE;
    ensures \result == APPLY_DEFERRED <==> answer == APPLY_DEFERRED && role == ROLE_NEAR && may_defer;
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

/*@ requires \valid_read(write);
    assigns \nothing;
    ensures \result <==> outcome == APPLY_FAILED && write->role == ROLE_NEAR && write->to != write->from &&
        (write->from | write->to) == write->to;
*/
static bool refuses(enum apply_outcome outcome, const struct plan_write *write)
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
            outcome = judge(write(context, &next), next.role, may_defer);
            behind[next.ppu] = outcome != APPLY_DONE;
            refused = refuses(outcome, &next);
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
