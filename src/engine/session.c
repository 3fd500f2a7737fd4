/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hook_call.h"
#include "base/log.h"
#include "base/memory.h"
#include "engine/identity.h"

/* Status files of domains that we have a claim of are looked into even if they seem to have no device. */
static int load_running(struct session *session, struct error *err)
{
    struct text_list claimed = {0};
    for (size_t i = 0; i < session->state.claim_count; i++) {
        text_list_add_copy(&claimed, session->state.claims[i].uuid);
    }
    int result = running_vms_load(&session->running, &claimed, err);
    text_list_free(&claimed);
    for (size_t i = 0; result == 0 && i < session->running.warnings.count; i++) {
        notes_add(&session->notes, NOTE_WARNING, NOTE_STATUS, -1, NULL, "%s", session->running.warnings.items[i]);
    }
    return result;
}

/* The end of a domain was noted without the lock: its claim is over (record_ends carries that out).  The end
 * of one that lives is a mistake: reported, and forgotten. */
static int obey_tombstone(struct session *session, const char *uuid, struct error *err)
{
    const struct running_vm *vm = running_vms_find(&session->running, uuid);
    struct claim *claim = state_claim(&session->state, uuid);
    bool lives = vm && vm->lives;
    if (lives) {
        notes_add(&session->notes, NOTE_WARNING, NOTE_TOMBSTONE, -1, vm->domain.name,
                  "the end of VM '%s' was noted, but its process %ld lives; the note is ignored", vm->domain.name,
                  (long)vm->domain.pid);
    } else if (claim) {
        claim->phase = claim_next(claim->phase, CLAIM_STOPPED);
    }
    if (session->access == SESSION_LOOK || (claim && !lives) || state_unread_claim(&session->state, uuid)) {
        return 0;
    }
    return claim ? state_write_claim(&session->state, claim, err) : state_remove_claim(&session->state, uuid, err);
}

/* One that cannot be removed hinders nobody. */
static void obey_tombstones(struct session *session)
{
    struct text_list noted = {0};
    struct error err;
    for (size_t i = 0; i < session->state.tombstones.count; i++) {
        text_list_add_copy(&noted, session->state.tombstones.items[i]);
    }
    for (size_t i = 0; i < noted.count; i++) {
        if (obey_tombstone(session, noted.items[i], &err) < 0) {
            notes_add(&session->notes, NOTE_WARNING, NOTE_TOMBSTONE, -1, NULL, "%s", err.text);
        }
    }
    text_list_free(&noted);
}

/* What sysfs says of each card, and who owns it; again if the ids have changed. */
static void gather(struct session *session)
{
    size_t count = (size_t)session->machine->topology.ppu_count;
    free(session->cards);
    free(session->owners_before);
    owners_free(&session->owners);
    session->cards = memory_alloc(count, sizeof *session->cards);
    session->owners_before = memory_alloc(count, sizeof *session->owners_before);
    for (size_t ppu = 0; ppu < count; ppu++) {
        struct pci_state *state = &session->cards[ppu].state;
        if (session->machine->mapped[ppu] && session->machine->pins[ppu] != PIN_OTHER_FUNCTION) {
            sysfs_read_card(session->machine->card[ppu], state);
            if (session->access == SESSION_LOOK && state->present) {
                sysfs_read_place(session->machine->card[ppu], state);
            }
        } else {
            *state = (struct pci_state){.enable = UNKNOWN_NUMBER,
                                        .iommu_group = UNKNOWN_NUMBER,
                                        .numa_node = UNKNOWN_NUMBER,
                                        .held_group = UNKNOWN_NUMBER};
        }
    }
    owners_gather(session);
    memcpy(session->owners_before, session->owners.of, count * sizeof session->owners_before[0]);
}

static int look(struct session *session, struct error *err)
{
    for (size_t i = 0; i < session->state.fault_count; i++) {
        notes_add(&session->notes, NOTE_WARNING, NOTE_STATE, -1, NULL, "%s", session->state.faults[i].error.text);
    }
    if (load_running(session, err) < 0) {
        return -1;
    }
    obey_tombstones(session);
    identity_settle(session, gather);
    size_t count = (size_t)session->machine->topology.ppu_count;
    session->goals = memory_alloc(count, sizeof *session->goals);
    session->plan = memory_alloc(1, sizeof *session->plan);
    session->outcomes = memory_alloc(2 * count, sizeof *session->outcomes);
    return 0;
}

int session_open(struct session *session, struct machine *machine, enum session_access access, struct error *err)
{
    bool may_change = access == SESSION_CHANGE;
    /* Looking is bounded by the lock's time-out too: it waits for the one that changes. */
    int64_t deadline = deadline_after_ms(INT64_C(1000) * machine->settings.lock_timeout);
    int64_t of_hook = deadline_of_hook();
    struct error recovery;
    *session = (struct session){
        .access = access,
        .machine = machine,
        .state = STATE_CLOSED,
    };
    if (of_hook != NO_DEADLINE && of_hook < deadline) {
        deadline = of_hook;
    }
    if (state_open(&session->state, may_change ? STATE_CHANGE : STATE_LOOK, deadline, err) < 0) {
        return err->status == STATUS_INVALID ? error_append(err, "; find out what changed it and move it away") : -1;
    }
    registers_open(&session->registers, &machine->settings, may_change ? &session->state : NULL, may_change);
    if (registers_recover(&session->registers, &recovery) < 0) {
        notes_add(&session->notes, NOTE_WARNING, NOTE_CARD, -1, NULL, "%s", recovery.text);
    }
    session->is_open = true;
    return look(session, err);
}

int session_start(struct session *session, const char *config, enum session_access access, struct error *err)
{
    struct machine *machine = NULL;
    *session = (struct session){.state = STATE_CLOSED};
    if (machine_open(config, &machine, err) < 0) {
        return -1;
    }
    if (machine_survey(machine, err) < 0) {
        machine_close(machine);
        return -1;
    }
    return session_open(session, machine, access, err);
}

void session_unlock(struct session *session)
{
    if (session->is_open) {
        registers_close(&session->registers);
        state_unlock(&session->state);
    }
}

void session_forget_changes(struct session *session)
{
    while (session->change_count > 0) {
        struct owner_change *change = &session->changes[--session->change_count];
        free(change->name);
        free(change->cards);
    }
}

void session_close(struct session *session)
{
    if (session->machine) {
        session_unlock(session);
        state_close(&session->state);
        running_vms_free(&session->running);
        owners_free(&session->owners);
        notes_free(&session->notes);
        free(session->cards);
        free(session->owners_before);
        free(session->goals);
        free(session->plan);
        free(session->outcomes);
        free(session->writings);
        session_forget_changes(session);
        free(session->changes);
        machine_close(session->machine);
    }
    *session = (struct session){.state = STATE_CLOSED};
}

struct card_address session_address(const struct session *session, int ppu)
{
    return (struct card_address){
        .ppu = ppu,
        .bdf = session->machine->card[ppu],
        .state = &session->cards[ppu].state,
        .links = topology_links(&session->machine->topology, ppu),
    };
}

void session_read(struct session *session, int ppu)
{
    struct card *card = &session->cards[ppu];
    char text[CARD_TEXT_SIZE];
    if (card->was_read || card->reach == REACH_NONE) {
        return;
    }
    struct card_address address = session_address(session, ppu);
    session->registers.backend->read(&session->registers, &address, card->reach == REACH_CHANGE, &card->reading);
    card->was_read = true;
    card->bound_since = card->reading.kind == READING_FINE ? 0 : sysfs_vfio_since(&card->state);
    machine_card_text(session->machine, ppu, text);
    if (card->reading.kind == READING_FINE) {
        log_message(LOG_LEVEL_INFO, "%s: mask 0x%08x", text, card->reading.mask);
    } else {
        log_message(LOG_LEVEL_INFO, "%s: %s", text, card->reading.why);
    }
}

void session_forget_readings(struct session *session)
{
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        session->cards[ppu].was_read = false;
    }
}

void session_look_at_all(struct session *session)
{
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        if (session->machine->mapped[ppu] && session->cards[ppu].state.present &&
            machine_is_sure(session->machine, ppu)) {
            session->cards[ppu].reach = REACH_LOOK;
            session_read(session, ppu);
        }
    }
}

bool session_is_read(const struct session *session, int ppu)
{
    return session->cards[ppu].was_read && session->cards[ppu].reading.kind == READING_FINE;
}

const struct card_memory *session_memory(const struct session *session, int ppu)
{
    return session->machine->mapped[ppu] ? state_card(&session->state, session->machine->card[ppu]) : NULL;
}

int session_write(struct session *session, const bool freed[], bool may_defer, bool keep_going, struct error *err)
{
    int count = session->machine->topology.ppu_count;
    CLEANUP_FREE struct card_address *addresses = memory_alloc((size_t)count, sizeof *addresses);
    struct text_list warnings = {0};
    const struct writing writing = {
        .plan = session->plan,
        .cards = addresses,
        .owners = session->owners.of,
        .freed = freed,
        .ppu_count = count,
        .may_defer = may_defer,
        .keep_going = keep_going,
        .isolate_idle = session->machine->settings.idle == IDLE_ISOLATE || session_doubt(session, ""),
    };
    for (int ppu = 0; ppu < count; ppu++) {
        addresses[ppu] = session_address(session, ppu);
    }
    int result =
        session->registers.backend->write_plan(&session->registers, &writing, session->outcomes, &warnings, err);
    for (size_t i = 0; i < warnings.count; i++) {
        notes_add(&session->notes, NOTE_WARNING, NOTE_CARD, -1, NULL, "%s", warnings.items[i]);
    }
    text_list_free(&warnings);
    session_keep_writes(session);
    return result;
}

void session_note_unread(struct session *session, const bool near[])
{
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        const struct card *card = &session->cards[ppu];
        char text[CARD_TEXT_SIZE];
        if (card->was_read && !session_is_read(session, ppu) && !(near && near[ppu])) {
            notes_add(&session->notes, NOTE_WARNING, NOTE_CARD, ppu, NULL,
                      "%s: %s; its own ends of the links stay as they are",
                      machine_card_text(session->machine, ppu, text), card->reading.why);
        }
    }
}

void session_keep_writes(struct session *session)
{
    size_t count = session->writing_count + session->plan->count;
    session->writings = memory_grow(session->writings, count, sizeof *session->writings);
    for (size_t i = 0; i < session->plan->count; i++) {
        const struct plan_write *write = &session->plan->writes[i];
        session->writings[session->writing_count++] = (struct session_writing){
            .write = *write, .outcome = session->outcomes[i], .was_read = session_is_read(session, write->ppu)};
    }
}

bool session_wrote(const struct session *session, int ppu)
{
    for (size_t i = 0; session->access == SESSION_CHANGE && i < session->plan->count; i++) {
        if (session->plan->writes[i].ppu == ppu && session->outcomes[i] != APPLY_DONE) {
            return false;
        }
    }
    return true;
}

const struct error *session_doubt(const struct session *session, const char *uuid)
{
    if (session->identity_doubt.status != STATUS_OK) {
        return &session->identity_doubt;
    }
    for (size_t i = 0; i < session->state.fault_count; i++) {
        const struct state_fault *fault = &session->state.faults[i];
        if (fault->kind == FAULT_CARDS) {
            return &fault->error;
        }
        if (fault->kind != FAULT_CLAIM) {
            continue;
        }
        const struct running_vm *vm = running_vms_find(&session->running, fault->uuid);
        bool may_be_replaced = fault->is_damaged && strcmp(fault->uuid, uuid) == 0;
        if (!may_be_replaced && !(vm && vm->lives)) {
            return &fault->error;
        }
    }
    return NULL;
}

int session_require_idle(const struct session *session, const char *why, struct error *err)
{
    const struct error *doubt = session_doubt(session, "");
    char bdf[BDF_TEXT_SIZE];
    if (doubt) {
        return error_set(err, STATUS_CONFLICT, "%s; it may hide a VM that has a card: %s", doubt->text, why);
    }
    for (size_t i = 0; i < session->owners.holding_count; i++) {
        const struct holding *holding = &session->owners.holdings[i];
        const struct owner *owner = &session->owners.items[holding->owner];
        bdf_format(session->machine->card[holding->ppu], bdf);
        if (owner->kind == OWNER_KIND_STRANGER) {
            return error_set(err, STATUS_CONFLICT,
                             "the card %s is held open by a process that is not a known VM; end it first: %s", bdf,
                             why);
        }
        return error_set(err, STATUS_CONFLICT, "%s '%s' has the card %s; %s it first: %s",
                         owner->kind == OWNER_KIND_GROUP ? "the group" : "VM", owner->name, bdf,
                         owner->kind == OWNER_KIND_GROUP ? "release" : "stop", why);
    }
    /* Cards that are not on the bus now have owners too. */
    for (size_t i = 0; i < session->state.claim_count; i++) {
        const struct claim *claim = &session->state.claims[i];
        if (claim->verdict == CLAIM_COUNTS && claim->card_count > 0) {
            return error_set(err, STATUS_CONFLICT, "%s '%s' has the card %s, which is not on the bus; %s it first: %s",
                             claim->is_group ? "the group" : "VM", claim->name, bdf_format(claim->cards[0].bdf, bdf),
                             claim->is_group ? "release" : "stop", why);
        }
    }
    if (session->owners.unresolved.count > 0) {
        return error_set(err, STATUS_CONFLICT,
                         "the devices of a running VM (uuid %s) cannot be told; stop it first: %s",
                         session->owners.unresolved.items[0], why);
    }
    return 0;
}
