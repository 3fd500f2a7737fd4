/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/ownership.h"

#include "core/contract.h"

/*@ assigns \nothing;
    ensures \result <==> allowed(owner_a, owner_b);
*/
bool link_may_be_open(int owner_a, int owner_b)
{
    return owner_a == owner_b && owner_a >= OWNER_IDLE;
}

/*@ assigns \nothing;
    ensures \result <==> owner == OWNER_IDLE;
*/
bool external_may_be_open(int owner)
{
    return owner == OWNER_IDLE;
}

/*@ requires valid_topology(topology) && 0 <= ppu < topology->ppu_count && 0 <= link < LINK_MAX;
    requires \valid_read(owners + (0 .. topology->ppu_count - 1));
    assigns \nothing;
    ensures \result <==> forbidden(topology, owners, ppu, link);
*/
static bool link_must_be_cut(const struct topology *topology, const int owners[], int ppu, int link)
{
    int peer = topology->peer[ppu][link];
    if (peer == EXTERNAL_PEER) {
        return !external_may_be_open(owners[ppu]);
    }
    return peer != NO_PEER && !link_may_be_open(owners[ppu], owners[peer]);
}

/*@ requires valid_topology(topology) && 0 <= ppu < topology->ppu_count;
    requires \valid_read(owners + (0 .. topology->ppu_count - 1));
    assigns \nothing;
    ensures \forall integer link; 0 <= link < LINK_MAX ==>
        (cut(\result, link) <==> forbidden(topology, owners, ppu, link));
*/
uint32_t mask_required(const struct topology *topology, const int owners[], int ppu)
{
    uint32_t required = 0;
    /*@ loop invariant 0 <= link <= LINK_MAX;
        loop invariant \forall integer i; 0 <= i < LINK_MAX ==>
            (cut(required, i) <==> i < link && forbidden(topology, owners, ppu, i));
        loop assigns link, required;
        loop variant LINK_MAX - link;
    */
    for (int link = 0; link < LINK_MAX; link++) {
        if (link_must_be_cut(topology, owners, ppu, link)) {
            required |= UINT32_C(1) << link;
        }
    }
    return required;
}

/*@ assigns \nothing;
    ensures ended_is_final: phase == CLAIM_ENDED && event != CLAIM_ADMITTED ==> \result == CLAIM_ENDED;
    ensures stop_is_final: event == CLAIM_STOPPED ==> \result == CLAIM_ENDED;
    ensures admitted: event == CLAIM_ADMITTED ==> \result == CLAIM_STARTING;
    ensures seen: event == CLAIM_SEEN && phase != CLAIM_ENDED ==> \result == CLAIM_RUNNING;
*/
enum claim_phase claim_next(enum claim_phase phase, enum claim_event event)
{
    if (event == CLAIM_ADMITTED) {
        return CLAIM_STARTING;
    }
    if (event == CLAIM_STOPPED || phase == CLAIM_ENDED) {
        return CLAIM_ENDED;
    }
    return CLAIM_RUNNING;
}

/* A process that may use the claim's cards is there. */
/*@ requires \valid_read(facts);
    assigns \nothing;
    ensures \result <==> facts->holds_unexplained || facts->process_lives;
*/
static bool claim_is_in_use(const struct claim_facts *facts)
{
    return facts->holds_unexplained || facts->process_lives;
}

/* QEMU may still appear: between prepare and QEMU's start nobody holds a card, so only
 * the daemon that starts it supports the claim, and not for ever. */
/*@ requires \valid_read(facts);
    assigns \nothing;
    ensures \result <==> facts->daemon != DAEMON_GONE &&
        (facts->age_ms < 0 ? 0 : facts->age_ms) < facts->start_timeout_ms;
*/
static bool claim_may_still_start(const struct claim_facts *facts)
{
    int64_t age_ms = facts->age_ms < 0 ? 0 : facts->age_ms;
    return facts->daemon != DAEMON_GONE && age_ms < facts->start_timeout_ms;
}

/*@ requires \valid_read(facts);
    assigns \nothing;
    ensures counts: \result == CLAIM_COUNTS <==> facts->phase != CLAIM_ENDED &&
        (facts->is_group ? !facts->names_process || facts->holds_unexplained || facts->process_lives :
            !facts->has_status_file && (facts->holds_unexplained || (facts->phase == CLAIM_STARTING ?
                facts->daemon != DAEMON_GONE && (facts->age_ms < 0 ? 0 : facts->age_ms) < facts->start_timeout_ms :
                facts->process_lives)));
    ensures superseded: \result == CLAIM_SUPERSEDED <==>
        facts->phase != CLAIM_ENDED && !facts->is_group && facts->has_status_file;
    ensures bounded: facts->age_ms >= facts->start_timeout_ms >= 0 && !facts->has_status_file &&
        !facts->holds_unexplained && !facts->process_lives && !(facts->is_group && !facts->names_process) ==>
            \result == CLAIM_VOID;
    ensures held: facts->holds_unexplained && facts->phase != CLAIM_ENDED ==> \result != CLAIM_VOID;
*/
enum claim_verdict claim_judge(const struct claim_facts *facts)
{
    bool counts;
    if (facts->phase == CLAIM_ENDED) {
        return CLAIM_VOID;
    }
    if (facts->is_group) {
        counts = !facts->names_process || claim_is_in_use(facts);
    } else if (facts->has_status_file) {
        return CLAIM_SUPERSEDED;
    } else if (facts->phase == CLAIM_STARTING) {
        counts = facts->holds_unexplained || claim_may_still_start(facts);
    } else {
        counts = claim_is_in_use(facts);
    }
    return counts ? CLAIM_COUNTS : CLAIM_VOID;
}
