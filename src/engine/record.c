/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation: what is written down, and when.
 *
 *   before the first write   the claim (who gets which cards), then the memory of every card that
 *                            is touched: its original mask, and every cut that the writes may leave
 *   after the last write     what each card holds now; at the gate, for whom it was read back; then claims that have
 *                            ended are removed.  An end begins with a tombstone, so that one that is killed on
 *                            the way is finished by the next who has the lock
 *
 * So a call that is killed anywhere leaves cuts that are known to be ours.  A card is owed what
 * it had before (policy_owes) as long as the memory has cuts by us that nothing asks for: a debt is not
 * recorded, it follows, and no end of a domain can lose it.
 *
 * What the original mask is, the policy decides (policy.c).
 *
 * Whose cards are others now is kept for the log, too (trail.c).
 */
#include "engine/record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "engine/trail.h"

/* For the log: CARDS, which is taken over, is what the owner has now, or had until its end.  NAME NULL: not known. */
static void note_change(struct session *session, const char *uuid, const char *name, bool is_group, bool has_ended,
                        char *cards)
{
    for (size_t i = session->change_count; i-- > 0;) {
        struct owner_change *change = &session->changes[i];
        /* An end undoes what this session gave it. */
        if (strcmp(change->uuid, uuid) == 0 && (!change->has_ended || has_ended)) {
            free(change->name);
            free(change->cards);
            memmove(change, change + 1, (--session->change_count - i) * sizeof *change);
        }
    }
    session->changes = memory_grow(session->changes, session->change_count + 1, sizeof *session->changes);
    struct owner_change *change = &session->changes[session->change_count++];
    *change = (struct owner_change){
        .name = name ? memory_copy_text(name) : NULL, .is_group = is_group, .has_ended = has_ended, .cards = cards};
    snprintf(change->uuid, sizeof change->uuid, "%s", uuid);
}

/* What was read back for an earlier owner, or an earlier start of this one, says nothing any more. */
static void forget_evidence(struct session *session, int ppu)
{
    struct card_memory *memory = state_card(&session->state, session->machine->card[ppu]);
    if (memory) {
        evidence_clear(&memory->evidence);
    }
}

static void begin_claim(const struct session *session, struct claim *claim, const struct owner *owner)
{
    claim->is_group = owner->kind == OWNER_KIND_GROUP;
    claim->phase = CLAIM_STARTING;
    claim->since = time(NULL);
    claim->has_daemon = session->has_daemon;
    claim->daemon = session->daemon;
}

int record_claim(struct session *session, const struct owner *owner, enum claim_event event, bool anew,
                 struct error *err)
{
    struct claim *claim = state_claim(&session->state, owner->uuid);
    bool begins = !claim || anew || claim->is_ending;
    if (!claim && !anew && state_unread_claim(&session->state, owner->uuid)) {
        return 0; /* it is kept as it is, and so is the evidence that belongs to it */
    }
    if (begins) {
        claim = state_claim_add(&session->state, owner->uuid, owner->name); /* in place of one that is there */
        begin_claim(session, claim, owner);
    }
    if (begins || event == CLAIM_ADMITTED) {
        claim->boottime_ms = state_boottime_ms(); /* the gate is a step of the start: it has its time from there on */
    }
    if (claim->is_group && (begins || event == CLAIM_ADMITTED)) {
        claim->process = session->bound_to;
    }
    claim->phase = claim_next(claim->phase, event);
    claim->verdict = CLAIM_COUNTS;
    const struct running_vm *vm = running_vms_find(&session->running, claim->uuid);
    if (vm && vm->lives) {
        claim->process = vm->process; /* the claim counts as long as that lives */
    }
    claim_clear_cards(claim);
    for (size_t i = 0; i < session->owners.holding_count; i++) {
        const struct holding *holding = &session->owners.holdings[i];
        if (&session->owners.items[holding->owner] == owner) {
            claim_add_card(claim, session->machine->card[holding->ppu], holding->whole);
            if (begins) {
                forget_evidence(session, holding->ppu);
            }
        }
    }
    if (state_write_claim(&session->state, claim, err) < 0) {
        return -1;
    }
    note_change(session, claim->uuid, claim->name, claim->is_group, false, trail_claim_cards(session, claim));
    return 0;
}

int record_remove_claim(struct session *session, const char *uuid, const char *name, struct error *err)
{
    const struct claim *claim = state_claim(&session->state, uuid);
    note_change(session, uuid, name, claim && claim->is_group, true,
                claim ? trail_claim_cards(session, claim) : memory_copy_text(""));
    return state_remove_claim(&session->state, uuid, err);
}

int record_end(struct session *session, const struct owner *owner, struct turn *turn, struct error *err)
{
    char uuid[UUID_SIZE];
    memcpy(uuid, owner->uuid, sizeof uuid);
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        if (owners_has(&session->owners, owner, ppu)) {
            turn->given_back[ppu] = true;
            forget_evidence(session, ppu);
            session->owners_before[ppu] = session->owners.of[ppu];
        }
    }
    owners_take_back(&session->owners, owner);
    struct claim *claim = state_claim(&session->state, uuid);
    if (claim) {
        claim->phase = claim_next(claim->phase, CLAIM_STOPPED);
        claim->verdict = CLAIM_VOID;
        claim->is_ending = true;
    }
    if (!claim || session->access == SESSION_LOOK) {
        return 0;
    }
    note_change(session, uuid, claim->name, claim->is_group, true, trail_claim_cards(session, claim));
    return state_end_claim(&session->state, uuid, err);
}

void record_hand_over(struct session *session, const char *from, const struct owner *owner)
{
    for (size_t i = 0; i < session->state.card_count; i++) {
        struct evidence *evidence = &session->state.cards[i].evidence;
        int ppu = machine_ppu_at(session->machine, session->state.cards[i].bdf);
        if (evidence->owner_count == 1 && strcmp(evidence->owners[0], from) == 0 && ppu >= 0 &&
            owners_sole(&session->owners, ppu) == owner) {
            memcpy(evidence->owners[0], owner->uuid, UUID_SIZE);
        }
    }
}

struct owner *record_restore_owner(struct session *session, const struct claim *claim)
{
    struct owner *owner = owners_find(&session->owners, claim->uuid);
    if (!owner) {
        owner =
            owners_add(&session->owners, claim->is_group ? OWNER_KIND_GROUP : OWNER_KIND_VM, claim->uuid, claim->name);
    }
    for (size_t i = 0; i < claim->card_count; i++) {
        int ppu = machine_ppu_at(session->machine, claim->cards[i].bdf);
        if (ppu >= 0) {
            owners_give(&session->owners, owner, ppu, claim->cards[i].whole);
        }
    }
    return owner;
}

/* The claim lists just what OWNER (NULL: nobody) has. */
static bool claim_lists(const struct session *session, const struct claim *claim, const struct owner *owner)
{
    size_t count = 0;
    for (size_t i = 0; i < session->owners.holding_count; i++) {
        count += owner && &session->owners.items[session->owners.holdings[i].owner] == owner;
    }
    for (size_t i = 0; i < claim->card_count; i++) {
        int ppu = machine_ppu_at(session->machine, claim->cards[i].bdf);
        if (ppu < 0 || !owner || !owners_has(&session->owners, owner, ppu)) {
            return false;
        }
    }
    return count == claim->card_count;
}

int record_catch_up(struct session *session, struct turn *turn, struct error *err)
{
    bool may_change = session->access == SESSION_CHANGE;
    for (size_t i = session->state.claim_count; i-- > 0;) {
        const struct claim *claim = &session->state.claims[i];
        const struct owner *owner = owners_find(&session->owners, claim->uuid);
        int result = 0;
        if (claim->verdict == CLAIM_VOID && !claim->is_ending) {
            if (may_change && !claim->is_ended) {
                notes_add(&session->notes, NOTE_INFO, NOTE_CHANGE, -1, claim->name,
                          "%s '%s' has ended without a call that said so; its cards are given back",
                          claim->is_group ? "the group" : "VM", claim->name);
            }
            result = record_end(session, record_restore_owner(session, claim), turn, err);
        } else if (claim->verdict == CLAIM_SUPERSEDED && may_change && !claim_lists(session, claim, owner)) {
            /* Cards come and go while a VM runs (hot-plug).  What its claim says must not outlive that, for the status
             * file that says better may vanish before the claim. */
            result = owner ? record_claim(session, owner, CLAIM_SEEN, false, err)
                           : record_remove_claim(session, claim->uuid, claim->name, err);
        }
        if (result < 0) {
            return -1;
        }
    }
    return 0;
}

int record_intent(struct session *session, const struct turn *turn, struct error *err)
{
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        const struct plan_goal *goal = &session->goals[ppu];
        bool is_its_own = turn->near[ppu] || turn->given_back[ppu];
        if (goal->role == ROLE_NONE || (!is_its_own && goal->now == goal->want)) {
            continue;
        }
        struct card_memory *memory = state_remember(&session->state, session->machine->card[ppu]);
        memory->evidence.mask &= goal->want; /* what is opened now is no longer shown to be cut */
        /* Of a card that was never read nothing is claimed before the write is done. */
        if (memory->has_original || memory->has_written) {
            /* A card that cannot be read keeps the cuts that it had until it is seen that they are gone. */
            uint32_t unseen = session_is_read(session, ppu) || !memory->has_written ? 0 : memory->written;
            memory->written = unseen | goal->now | goal->want;
            memory->has_written = true;
        }
    }
    return state_write_cards(&session->state, err);
}

/* What was read back at the gate, for exactly the card's owners. */
static void keep_evidence(const struct session *session, struct card_memory *memory, int ppu)
{
    char(*uuids)[UUID_SIZE];
    size_t count;
    if (session_is_read(session, ppu) && session_wrote(session, ppu) &&
        owners_uuids(&session->owners, ppu, &uuids, &count)) {
        evidence_clear(&memory->evidence);
        memory->evidence = (struct evidence){
            .mask = session->goals[ppu].want, .at = time(NULL), .owners = uuids, .owner_count = count};
    }
}

/* Nobody has the card or a neighbour that asks for a cut of it, and it has what it had before us: there is nothing
 * to remember any more. */
static bool is_settled(const struct session *session, const struct card_memory *memory, int ppu)
{
    return session->owners.of[ppu] == OWNER_IDLE && policy_required(session, ppu) == 0 &&
           session_is_read(session, ppu) && session_wrote(session, ppu) && memory->has_original &&
           memory->original == session->goals[ppu].want;
}

/* Every card of the claim that has no owner is right. */
static bool is_carried_out(const struct session *session, const struct claim *claim)
{
    for (size_t i = 0; i < claim->card_count; i++) {
        int ppu = machine_ppu_at(session->machine, claim->cards[i].bdf);
        if (ppu >= 0 && session->owners.of[ppu] == OWNER_IDLE && session->cards[ppu].state.present &&
            (session->goals[ppu].role == ROLE_NONE || !session_wrote(session, ppu))) {
            return false;
        }
    }
    return true;
}

/* The last step of every end: what is still owed is in the memory of the cards.  After `stopped` comes `release`,
 * which tries again what could not be done. */
static int remove_ended_claims(struct session *session, const struct turn *turn, struct error *err)
{
    for (size_t i = session->state.claim_count; i-- > 0;) {
        const struct claim *claim = &session->state.claims[i];
        bool is_tried_again =
            turn->comes_again && strcmp(claim->uuid, turn->comes_again) == 0 && !is_carried_out(session, claim);
        if (claim->is_ending && !is_tried_again && state_remove_claim(&session->state, claim->uuid, err) < 0) {
            return -1;
        }
    }
    return 0;
}

int record_result(struct session *session, const struct turn *turn, bool gate, struct error *err)
{
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        struct card_memory *memory =
            session->goals[ppu].role == ROLE_NONE ? NULL : state_card(&session->state, session->machine->card[ppu]);
        if (!memory) {
            continue;
        }
        bool is_written = session->goals[ppu].now != session->goals[ppu].want;
        /* Written unread, by a backend that cannot read: it is taken to have found all links open. */
        if (is_written && session_wrote(session, ppu) && !memory->has_original && !session_is_read(session, ppu)) {
            memory->has_original = true;
            memory->original = 0;
        }
        if (memory->has_original && session_wrote(session, ppu) && (is_written || session_is_read(session, ppu))) {
            memory->written = session->goals[ppu].want;
            memory->has_written = true;
        }
        /* Before a vfio driver has the card, its registers are within reach of the host's. */
        if (gate && turn->near[ppu] && (!session->reserves || session->cards[ppu].state.on_vfio)) {
            keep_evidence(session, memory, ppu);
        }
        bool is_reset = turn->intent == INTENT_RESET && session_wrote(session, ppu);
        if (is_reset || is_settled(session, memory, ppu)) {
            memory->has_original = false;
            memory->has_written = false;
        }
    }
    if (state_write_cards(&session->state, err) < 0) {
        return -1;
    }
    return remove_ended_claims(session, turn, err);
}
