/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation: makes the whole host what it has to be.
 *
 *   1. state   claims that nothing supports end; a damaged claim whose domain does not live hides nothing
 *              that a hook would not find again, and is removed; a damaged memory of the cards is begun anew;
 *              VMs that run without a claim get one
 *   2. cards   every card that can be written gets the cuts that it lacks and the debts that it is owed
 *   3. report  what stays unverified or owed
 *
 * Nothing is opened but debts, and cuts come first, as in every plan.
 */
#include "engine/reconcile.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/groups_private.h"
#include "engine/record.h"

/* Cuts of a card without owner that nothing asks for, when it was forgotten whose they are: they stay, and count
 * neither as a debt nor as what the card had before us. */
static void keep_forgotten_cuts(struct session *session)
{
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        char card[CARD_TEXT_SIZE];
        bool is_idle = session->owners.of[ppu] == OWNER_IDLE && session_is_read(session, ppu);
        if (!is_idle || (session->cards[ppu].reading.mask & ~policy_required(session, ppu)) == 0) {
            continue;
        }
        struct card_memory *memory = state_remember(&session->state, session->machine->card[ppu]);
        memory->has_original = false;
        memory->has_written = true;
        memory->written = session->cards[ppu].reading.mask;
        notes_add(&session->notes, NOTE_WARNING, NOTE_STATE, ppu, NULL,
                  "%s has cuts of which it is not known any more who made them; they stay until `icn-hook reset`, when "
                  "no card is in use",
                  machine_card_text(session->machine, ppu, card));
    }
}

/* What could only not be read this time may make sense: damage alone is cleared away.  A damaged identity is begun
 * anew as soon as nobody has a card (identity_settle), and not before. */
static int clear_faults(struct session *session, bool *forgot, struct error *err)
{
    struct state *state = &session->state;
    for (size_t i = state->fault_count; i-- > 0;) {
        const struct state_fault fault = state->faults[i];
        const struct running_vm *vm = running_vms_find(&session->running, fault.uuid);
        int result = 0;
        if (!fault.is_damaged || fault.kind == FAULT_FOREIGN || fault.kind == FAULT_IDENTITY) {
            continue;
        }
        if (fault.kind == FAULT_CLAIM) {
            notes_add(&session->notes, NOTE_INFO, NOTE_CHANGE, -1, NULL, "the damaged claim of %s is %s", fault.uuid,
                      vm && vm->lives ? "written anew from libvirt's status file" : "removed, because no such VM runs");
        } else {
            notes_add(&session->notes, NOTE_INFO, NOTE_CHANGE, -1, NULL,
                      "the damaged memory of the cards is begun anew");
            *forgot = true;
        }
        if (session->access == SESSION_LOOK) {
            /* What follows is what would follow. */
            state->fault_count--;
            memmove(&state->faults[i], &state->faults[i + 1], (state->fault_count - i) * sizeof *state->faults);
        } else if (fault.kind == FAULT_CLAIM) {
            result = record_remove_claim(session, fault.uuid, NULL, err);
        } else {
            result = state_forget_cards_fault(state, err);
        }
        if (result < 0) {
            return -1;
        }
    }
    return 0;
}

/* VMs that run and of which no claim is known, or none that says so. */
static int adopt(struct session *session, struct error *err)
{
    for (size_t i = 0; i < session->owners.count; i++) {
        const struct owner *owner = &session->owners.items[i];
        const struct claim *claim = state_claim(&session->state, owner->uuid);
        if (owner->kind != OWNER_KIND_VM || !owner->runs || (claim && claim->phase == CLAIM_RUNNING) ||
            state_unread_claim(&session->state, owner->uuid)) {
            continue;
        }
        if (!claim) {
            notes_add(&session->notes, NOTE_INFO, NOTE_CHANGE, -1, owner->name,
                      "VM '%s' runs and icn-hook did not know of it; it has a claim on its cards now", owner->name);
        }
        if (session->access == SESSION_CHANGE && record_claim(session, owner, CLAIM_SEEN, false, err) < 0) {
            return -1;
        }
    }
    return 0;
}

/* Cuts that are missing afterwards too, on cards that nobody holds open: more than a repair can do. */
static int check_repaired(const struct session *session, struct error *err)
{
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        char card[CARD_TEXT_SIZE];
        if (session->access == SESSION_CHANGE && links_missing(session, ppu) != 0) {
            return error_set(err, STATUS_HARDWARE,
                             "%s lacks cuts and did not take them (mask 0x%08x, required 0x%08x); take it out of use",
                             machine_card_text(session->machine, ppu, card), session->cards[ppu].reading.mask,
                             policy_required(session, ppu));
        }
    }
    return 0;
}

/* What the registers are known to hold after the writes: what they took was read back. */
static void update_readings(struct session *session)
{
    for (size_t i = 0; session->access == SESSION_CHANGE && i < session->plan->count; i++) {
        const struct plan_write *write = &session->plan->writes[i];
        if (session->outcomes[i] == APPLY_DONE && session_is_read(session, write->ppu)) {
            session->cards[write->ppu].reading.mask = write->to;
        }
    }
}

int repair_host(struct session *session, struct repair_report *report, struct error *err)
{
    CLEANUP_FREE struct turn *turn = memory_alloc(1, sizeof *turn);
    bool forgot = false;
    int result = 0;
    turn->intent = INTENT_REPAIR;
    turn->late = true;
    if (clear_faults(session, &forgot, err) < 0 || record_catch_up(session, turn, err) < 0 || adopt(session, err) < 0) {
        return -1;
    }
    policy_decide(session, turn);
    if (forgot) {
        keep_forgotten_cuts(session);
    }
    if (session->access == SESSION_CHANGE &&
        (record_intent(session, turn, err) < 0 || session_write(session, turn->given_back, true, true, err) < 0 ||
         record_result(session, turn, false, err) < 0)) {
        result = -1;
    }
    session_list_writes(session, &report->writes, &report->write_count);
    update_readings(session);
    links_find(session);
    report->coverage = coverage_count(session);
    return result < 0 ? -1 : check_repaired(session, err);
}

void repair_report_free(struct repair_report *report)
{
    free(report->writes);
    *report = (struct repair_report){0};
}
