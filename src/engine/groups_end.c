/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation.  A release ends one group as the stop of a VM ends that.  A reset knows no
 * owners: every card that can be written gets what a card without owner gets.  So it is refused as long
 * as anybody uses a card, unless it is forced; then the claims of VMs stay, for they own
 * their cards still, and what comes next for them (start, reconnect, repair) cuts again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/groups_private.h"
#include "engine/record.h"

/* A VM that runs, with cards or without, or that is being started with some. */
static bool is_vm(const struct session *session, const char *name)
{
    const struct owner *owner = owners_named(&session->owners, name);
    for (size_t i = 0; i < session->running.count; i++) {
        if (session->running.vms[i].lives && strcmp(session->running.vms[i].domain.name, name) == 0) {
            return true;
        }
    }
    return owner && owner->kind == OWNER_KIND_VM;
}

static int refuse_unknown_group(const struct session *session, const char *name, struct error *err)
{
    char known[1024] = "";
    size_t used = 0;
    if (is_vm(session, name)) {
        return error_set(err, STATUS_INVALID, "'%s' is a VM of libvirt; stop it with virsh", name);
    }
    for (size_t i = 0; i < session->owners.count && used < sizeof known; i++) {
        const struct owner *owner = &session->owners.items[i];
        if (owner->kind == OWNER_KIND_GROUP) {
            used += (size_t)snprintf(known + used, sizeof known - used, "%s'%s'", used > 0 ? ", " : "", owner->name);
        }
    }
    return error_set(err, STATUS_INVALID, "there is no group '%s'; %s%s", name,
                     used > 0 ? "there are: " : "nothing is isolated by hand", known);
}

/* Its links would come back under a VMM that runs. */
static int check_group_unused(const struct session *session, const struct owner *group, struct error *err)
{
    if (group->pid != 0) {
        return error_set(err, STATUS_CONFLICT,
                         "the group '%s' lasts as long as process %ld, for which icn-hook made it; end that process",
                         group->name, (long)group->pid);
    }
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        char card[CARD_TEXT_SIZE];
        char command[PROCESS_COMMAND_SIZE];
        char process[64] = "";
        pid_t pid;
        if (!owners_has(&session->owners, group, ppu) || !session->owners.held[ppu]) {
            continue;
        }
        if (process_holder_of(session->cards[ppu].state.held_group, session->cards[ppu].state.held_function, &pid,
                              command)) {
            snprintf(process, sizeof process, " by process %ld (%.32s)", (long)pid, command);
        }
        return error_set(err, STATUS_CONFLICT, "%s of the group '%s' is held open through vfio%s; end its VM first",
                         machine_card_text(session->machine, ppu, card), group->name, process);
    }
    return 0;
}

/* Writes what was decided, and records it; the writes go into the report. */
static int give_cards_back(struct session *session, const struct turn *turn, struct group_report *report,
                           struct error *err)
{
    if (session->access == SESSION_CHANGE &&
        (record_intent(session, turn, err) < 0 || session_write(session, turn->given_back, true, true, err) < 0 ||
         record_result(session, turn, false, err) < 0)) {
        return -1;
    }
    session_list_writes(session, &report->writes, &report->write_count);
    return 0;
}

static const char *why_not_back(const struct session *session, int ppu)
{
    const struct card *card = &session->cards[ppu];
    return card->was_read && !session_is_read(session, ppu) ? card->reading.why : "its register did not take the write";
}

static bool has_outcome(const struct session *session, int ppu, enum apply_outcome outcome)
{
    for (size_t i = 0; session->access == SESSION_CHANGE && i < session->plan->count; i++) {
        if (session->plan->writes[i].ppu == ppu && session->outcomes[i] == outcome) {
            return true;
        }
    }
    return false;
}

/* The links of a card without owner that could not be given back are owed, and that is a failure; but not where
 * nothing failed: the vendor's tool opens links only when nobody owns a card. */
static int check_paid(struct session *session, int ppu, struct error *err)
{
    char text[CARD_TEXT_SIZE];
    uint32_t owed;
    if (session_wrote(session, ppu) && session->goals[ppu].role != ROLE_NONE) {
        return 0;
    }
    if (!policy_owes(session, ppu, &owed)) {
        return 0;
    }
    if (has_outcome(session, ppu, APPLY_NOT_TRIED) && !has_outcome(session, ppu, APPLY_FAILED)) {
        notes_add(&session->notes, NOTE_WARNING, NOTE_DEBT, ppu, NULL,
                  "%s is owed the mask 0x%08x, which it gets back when no card has an owner",
                  machine_card_text(session->machine, ppu, text), owed);
        return 0;
    }
    return error_set(err, STATUS_HARDWARE,
                     "not all links are back: %s is owed the mask 0x%08x: %s; icn-hook repair gives it back as soon as "
                     "its registers can be written",
                     machine_card_text(session->machine, ppu, text), owed, why_not_back(session, ppu));
}

static int check_released(struct session *session, const struct turn *turn, struct error *err)
{
    const struct error *doubt = session_doubt(session, "");
    if (doubt) {
        *err = *doubt;
        return error_wrap(err, "not all links are back");
    }
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        if (turn->given_back[ppu] && check_paid(session, ppu, err) < 0) {
            return -1;
        }
    }
    return 0;
}

int groups_give_back(struct session *session, struct turn *turn, struct group_report *report, struct error *err)
{
    turn->intent = INTENT_END;
    policy_decide(session, turn);
    return give_cards_back(session, turn, report, err) < 0 ? -1 : check_released(session, turn, err);
}

int groups_release(struct session *session, const char *name, bool if_exists, struct group_report *report,
                   struct error *err)
{
    CLEANUP_FREE struct turn *turn = memory_alloc(1, sizeof *turn);
    const struct owner *group = owners_named(&session->owners, name);
    if (!group && if_exists && !is_vm(session, name)) {
        const struct error *doubt = session_doubt(session, "");
        if (doubt) {
            *err = *doubt;
            return error_wrap(err, "whether there is a group '%s' is not known", name);
        }
        return 0;
    }
    if (!group || group->kind != OWNER_KIND_GROUP) {
        return refuse_unknown_group(session, name, err);
    }
    parties_add_owner(&report->groups, session, group, false);
    if (check_group_unused(session, group, err) < 0 || record_end(session, group, turn, err) < 0) {
        return -1;
    }
    return groups_give_back(session, turn, report, err);
}

int groups_catch_up(struct session *session, struct group_report *report, struct error *err)
{
    CLEANUP_FREE struct turn *turn = memory_alloc(1, sizeof *turn);
    return record_catch_up(session, turn, err) < 0 ? -1 : groups_give_back(session, turn, report, err);
}

static void find_exposed(struct parties *exposed, const struct session *session)
{
    struct party *unknown = NULL;
    for (size_t i = 0; i < session->owners.count; i++) {
        const struct owner *owner = &session->owners.items[i];
        bool is_group = owner->kind == OWNER_KIND_GROUP;
        bool uses = false;
        for (int ppu = 0; owner->kind != OWNER_KIND_STRANGER && ppu < session->machine->topology.ppu_count; ppu++) {
            uses |=
                owners_has(&session->owners, owner, ppu) && (!is_group || owner->pid != 0 || session->owners.held[ppu]);
        }
        if (uses) {
            parties_add_owner(exposed, session, owner, is_group && owner->pid == 0);
        }
    }
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        if (session->owners.of[ppu] == OWNER_UNKNOWN) {
            unknown = unknown ? unknown : parties_add(exposed, "unknown", "");
            party_add_card(unknown, ppu);
        }
    }
}

static int check_nobody_exposed(const struct parties *exposed, struct error *err)
{
    char text[1800] = "";
    size_t used = 0;
    if (exposed->count == 0) {
        return 0;
    }
    for (size_t i = 0; i < exposed->count; i++) {
        const struct party *party = &exposed->items[i];
        for (size_t card = 0; card < party->ppu_count && used < sizeof text; card++) {
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%s%s%d", card > 0 || i == 0 ? "" : "), ",
                                     card > 0 ? "" : party->name, card > 0 ? ", " : " (PPU ", party->ppus[card]);
        }
    }
    return error_set(err, STATUS_CONFLICT,
                     "cards are in use, and their users would be exposed: %s); stop these first, or use --force", text);
}

/* A group whose cards [map] no longer names has none: it comes last. */
static int lowest_card(const struct party *party)
{
    return party->ppu_count > 0 ? party->ppus[0] : PPU_MAX;
}

static int compare_lowest_cards(const void *a, const void *b)
{
    return lowest_card(a) - lowest_card(b);
}

static int end_all_groups(struct session *session, struct turn *turn, struct group_report *report, struct error *err)
{
    for (size_t i = 0; i < session->owners.count; i++) {
        const struct owner *owner = &session->owners.items[i];
        if (owner->kind != OWNER_KIND_GROUP) {
            continue;
        }
        parties_add_owner(&report->groups, session, owner, false);
        if (record_end(session, owner, turn, err) < 0) {
            return -1;
        }
    }
    /* Owners come in the order of their uuids, which are random. */
    if (report->groups.count > 1) {
        qsort(report->groups.items, report->groups.count, sizeof *report->groups.items, compare_lowest_cards);
    }
    return 0;
}

/* Cards that could not be reached are named; that is a failure unless a process holds them open, or there was
 * nothing to do for them.  What was noted from NOTED on the writes said. */
static int check_reset(struct session *session, size_t noted, struct error *err)
{
    bool isolates = session->machine->settings.idle == IDLE_ISOLATE;
    int result = 0;
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        const struct card *card = &session->cards[ppu];
        char text[CARD_TEXT_SIZE];
        bool is_done = session->goals[ppu].role != ROLE_NONE && session_wrote(session, ppu);
        if (is_done || !card->was_read) {
            continue;
        }
        machine_card_text(session->machine, ppu, text);
        if (session->goals[ppu].role == ROLE_NONE) {
            notes_add(&session->notes, NOTE_WARNING, NOTE_CARD, ppu, NULL, "%s: %s; its links stay as they are", text,
                      why_not_back(session, ppu));
        }
        if (result < 0 || session->owners.held[ppu]) {
            continue;
        }
        if (has_outcome(session, ppu, APPLY_FAILED) && card->reading.kind == READING_UNVERIFIABLE &&
            session->notes.count > noted) {
            result = error_set(err, STATUS_HARDWARE, "%s", session->notes.items[noted].text);
            continue;
        }
        bool is_needed = (isolates && card->reading.kind != READING_GONE) || card->reading.kind == READING_FAILED ||
                         card->reading.kind == READING_FINE;
        result = is_needed ? error_set(err, STATUS_HARDWARE, "%s: %s: %s",
                                       isolates ? "not all links are cut" : "not all links are back", text,
                                       why_not_back(session, ppu))
                           : check_paid(session, ppu, err);
    }
    return result;
}

int groups_reset(struct session *session, bool force, struct group_report *report, struct error *err)
{
    CLEANUP_FREE struct turn *turn = memory_alloc(1, sizeof *turn);
    find_exposed(&report->exposed, session);
    if (!force) {
        const struct error *doubt = session_doubt(session, "");
        if (check_nobody_exposed(&report->exposed, err) < 0) {
            return -1;
        }
        if (doubt) {
            *err = *doubt;
            return -1;
        }
    }
    if (record_catch_up(session, turn, err) < 0 || end_all_groups(session, turn, report, err) < 0) {
        return -1;
    }
    turn->intent = INTENT_RESET;
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        session->owners.of[ppu] = OWNER_IDLE; /* as if nobody owned anything */
    }
    policy_decide(session, turn);
    size_t noted = session->notes.count;
    if (give_cards_back(session, turn, report, err) < 0) {
        return -1;
    }
    return check_reset(session, noted, err);
}
