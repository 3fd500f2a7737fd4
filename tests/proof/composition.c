/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/contract.h"

/*
 * What the contracts of ownership.c and plan.c say together.  Nothing here
 * is part of the programs: the functions exist to be proved.
 */

/*@ predicate mirrors(struct plan_goal *goals, integer ppu_count) =
        (\forall integer ppu; 0 <= ppu < ppu_count ==> planned[ppu] == goals[ppu]) &&
        (\forall integer ppu; ppu_count <= ppu < PPU_MAX ==> planned[ppu].role == ROLE_NONE);

    // Every goal has at least the cuts that the rule requires.
    predicate wants_required{L}(struct topology *topology, int *owners) =
        \forall integer ppu, link; ours(ppu) && 0 <= link < LINK_MAX && forbidden(topology, owners, ppu, link) ==>
            cut(planned[ppu].want, link);

    predicate valid_roles(struct plan_goal *goals, integer ppu_count) =
        \forall integer ppu; 0 <= ppu < ppu_count ==>
            goals[ppu].role == ROLE_NONE || goals[ppu].role == ROLE_NEAR || goals[ppu].role == ROLE_FAR;

    predicate ends(struct topology *topology, integer a, integer link_a, integer b, integer link_b) =
        0 <= a < PPU_MAX && 0 <= b < PPU_MAX && 0 <= link_a < LINK_MAX && 0 <= link_b < LINK_MAX &&
        topology->peer[a][link_a] == b && topology->peer[b][link_b] == a;

    predicate live(integer a, integer link_a, integer b, integer link_b) =
        !cut(registers[a], link_a) && !cut(registers[b], link_b);

    // apply keeps untouched and none_opened after every single write (its loop
    // invariants), so this holds between any two writes.
    lemma no_forbidden_link_becomes_live{L1, L2}:
        \forall struct topology *topology, int *owners, integer a, link_a, b, link_b;
            untouched{L1, L2} && none_opened{L1, L2} && wants_required{L1}(topology, owners) &&
            ends{L1}(topology, a, link_a, b, link_b) && forbidden{L1}(topology, owners, a, link_a) &&
            live{L2}(a, link_a, b, link_b) ==> live{L1}(a, link_a, b, link_b);

    // A card that holds all that its goal wants has no forbidden link that is live.
    lemma isolated_card_has_no_forbidden_link{L}:
        \forall struct topology *topology, int *owners, integer a, link_a, b, link_b;
            wants_required(topology, owners) && ours(a) && isolated(a) &&
            ends(topology, a, link_a, b, link_b) && forbidden(topology, owners, a, link_a) ==>
                !live(a, link_a, b, link_b);

    // The same for a link that has only one end here: it is live while that end is open.
    predicate leads_out(struct topology *topology, integer ppu, integer link) =
        0 <= ppu < PPU_MAX && 0 <= link < LINK_MAX && external(topology, ppu, link);

    lemma no_forbidden_external_link_becomes_live{L1, L2}:
        \forall struct topology *topology, int *owners, integer ppu, link;
            untouched{L1, L2} && none_opened{L1, L2} && wants_required{L1}(topology, owners) &&
            leads_out{L1}(topology, ppu, link) && forbidden{L1}(topology, owners, ppu, link) &&
            !cut(\at(registers[ppu], L2), link) ==> !cut(\at(registers[ppu], L1), link);

    lemma isolated_card_has_no_forbidden_external_link{L}:
        \forall struct topology *topology, int *owners, integer ppu, link;
            wants_required(topology, owners) && ours(ppu) && isolated(ppu) &&
            leads_out(topology, ppu, link) && forbidden(topology, owners, ppu, link) ==>
                cut(registers[ppu], link);
*/

/*@ requires \valid_read(plan) && \valid_read(goals + (0 .. ppu_count - 1)) && 0 <= ppu_count <= PPU_MAX;
    requires \separated(plan, goals + (0 .. ppu_count - 1));
    requires valid_roles(goals, ppu_count);
    requires in_order(plan, goals, ppu_count, far_cuts, openings_start);
    assigns \nothing;
    ensures \forall integer i; 0 <= i < plan->count ==> chained(plan, goals, i);
*/
void each_write_starts_from_what_the_one_before_left(const struct plan *plan, const struct plan_goal goals[],
                                                     int ppu_count)
{
    //@ assert near_once: once(plan, 0, far_cuts);
    //@ assert cuts_once: once(plan, 0, openings_start);
    //@ assert openings_once: once(plan, openings_start, plan->count);
    /*@ assert cut_chained: \forall integer i; 0 <= i < openings_start ==>
            !written(plan, 0, i, plan->writes[i].ppu) && plan->writes[i].from == goals[plan->writes[i].ppu].now; */
    /*@ assert opening_from: \forall integer i; openings_start <= i < plan->count ==>
            plan->writes[i].from == between(goals[plan->writes[i].ppu]) &&
            has_role(goals, ppu_count, plan->writes[i].ppu); */
    /*@ assert only_opened: \forall integer i; openings_start <= i < plan->count &&
            !to_cut(goals[plan->writes[i].ppu]) ==> !written(plan, 0, i, plan->writes[i].ppu); */
    /*@ assert both: \forall integer i; openings_start <= i < plan->count && to_cut(goals[plan->writes[i].ppu]) ==>
            \exists integer j; 0 <= j < openings_start && plan->writes[j].ppu == plan->writes[i].ppu; */
    /*@ assert opening_chained: \forall integer i, j; openings_start <= i < plan->count && 0 <= j < openings_start &&
            plan->writes[j].ppu == plan->writes[i].ppu ==> plan->writes[j].to == plan->writes[i].from &&
                !written(plan, j + 1, i, plan->writes[i].ppu); */
}

/*@ requires \valid_read(plan) && \valid_read(goals + (0 .. ppu_count - 1)) && 0 <= ppu_count <= PPU_MAX;
    requires \separated(plan, goals + (0 .. ppu_count - 1));
    requires valid_roles(goals, ppu_count) && mirrors(goals, ppu_count);
    requires in_order(plan, goals, ppu_count, far_cuts, openings_start);
    assigns \nothing;
    ensures made_of_planned(plan);
    ensures once(plan, 0, openings_start) && once(plan, openings_start, plan->count);
    ensures complete(plan);
*/
void apply_takes_what_plan_build_makes(const struct plan *plan, const struct plan_goal goals[], int ppu_count)
{
    //@ assert near_once: once(plan, 0, far_cuts);
    //@ assert cuts_once: once(plan, 0, openings_start);
    /*@ assert near: \forall integer ppu; 0 <= ppu < ppu_count && goals[ppu].role == ROLE_NEAR &&
            to_cut(goals[ppu]) ==> written(plan, 0, openings_start, ppu); */
    /*@ assert far: \forall integer ppu; 0 <= ppu < ppu_count && goals[ppu].role == ROLE_FAR &&
            to_cut(goals[ppu]) ==> written(plan, 0, openings_start, ppu); */
}
