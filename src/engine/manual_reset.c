/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation.  A reset knows no owners: every card that can be read gets
 * what an idle card gets.  So it is refused as long as anybody uses a card, unless
 * it is forced; then the entries of VMs stay, for they own their cards still, and
 * whatever comes next for them (start, reconnect) cuts again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/manual_steps.h"

static void find_exposed(struct manual_parties *exposed, const struct snapshot *snapshot)
{
    struct manual_party *unknown = NULL;
    for (size_t i = 0; i < snapshot->tenant_count; i++) {
        const struct tenant *tenant = &snapshot->tenants[i];
        bool uses = false;
        for (int ppu = 0; ppu < snapshot->machine->topology.ppu_count; ppu++) {
            uses |= manual_owns(snapshot, tenant, ppu) && (!tenant->manual || snapshot->cards[ppu].held);
        }
        if (uses) {
            manual_add_tenant(exposed, snapshot, tenant, tenant->manual);
        }
    }
    for (int ppu = 0; ppu < snapshot->machine->topology.ppu_count; ppu++) {
        if (snapshot->cards[ppu].unknown_holder) {
            unknown = unknown ? unknown : manual_add_party(exposed, "unknown", "");
            manual_add_card(unknown, ppu);
        }
    }
}

static int check_unused(const struct manual_parties *exposed, struct error *err)
{
    char text[1800] = "";
    size_t used = 0;
    if (exposed->count == 0) {
        return 0;
    }
    for (size_t i = 0; i < exposed->count; i++) {
        const struct manual_party *party = &exposed->items[i];
        for (size_t card = 0; card < party->ppu_count && used < sizeof text; card++) {
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%s%s%d", card > 0 || i == 0 ? "" : "), ",
                                     card > 0 ? "" : party->name, card > 0 ? ", " : " (PPU ", party->ppus[card]);
        }
    }
    return error_set(err, STATUS_CONFLICT,
                     "cards are in use, and their users would be exposed: %s); stop these first, or use --force", text);
}

/* A group whose cards [map] no longer names has none: it comes last. */
static int lowest_card(const struct manual_party *party)
{
    return party->ppu_count > 0 ? party->ppus[0] : PPU_MAX;
}

static int compare_lowest_cards(const void *a, const void *b)
{
    return lowest_card(a) - lowest_card(b);
}

static void find_groups(struct manual_parties *groups, const struct snapshot *snapshot)
{
    for (size_t i = 0; i < snapshot->tenant_count; i++) {
        const struct tenant *tenant = &snapshot->tenants[i];
        if (tenant->manual && tenant->alive) {
            manual_add_tenant(groups, snapshot, tenant, false);
        }
    }
    /* Tenants come in the order of their uuids, which are random. */
    if (groups->count > 1) {
        qsort(groups->items, groups->count, sizeof *groups->items, compare_lowest_cards);
    }
}

static int record_ends(struct session *session, struct error *err)
{
    for (size_t i = 0; i < session->snapshot->tenant_count; i++) {
        const struct tenant *tenant = &session->snapshot->tenants[i];
        if (tenant->manual && tenant->alive && record_end(&session->ledger, tenant->entry, err) < 0) {
            return -1;
        }
    }
    return session_look_again(session, err);
}

/* As if nobody owned anything. */
static void decide(struct session *session)
{
    const struct topology *topology = &session->machine->topology;
    session_decide(session, INTENT_STOP, "", "", NULL);
    struct decision *decision = session->decision;
    memset(decision->owners, 0, sizeof decision->owners);
    memset(decision->goals, 0, sizeof decision->goals);
    snapshot_read_all(session->snapshot, &session->registers);
    for (int ppu = 0; ppu < topology->ppu_count; ppu++) {
        const struct card *card = &session->snapshot->cards[ppu];
        if (!card->was_read || card->reading.kind != READING_FINE) {
            continue;
        }
        uint32_t want = card->has_original ? card->original : 0;
        if (session->machine->settings.idle == IDLE_ISOLATE) {
            want = topology_links(topology, ppu);
        }
        decision->goals[ppu] = (struct plan_goal){.role = ROLE_FAR, .now = card->reading.mask, .want = want};
    }
    plan_build(&decision->plan, decision->goals, topology->ppu_count);
}

/* The vendor's tool: the machine as a whole, or each card alone. */
static int execute_as_a_whole(struct session *session, struct error *err)
{
    int groups[PPU_MAX];
    struct registers *registers = &session->registers;
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        groups[ppu] = session->machine->mapped[ppu] && session->snapshot->cards[ppu].state.present ? ppu : -1;
    }
    enum write_failure failure =
        session->machine->settings.idle == IDLE_ISOLATE
            ? registers->backend->isolate(registers, groups, session->machine->topology.ppu_count, err)
            : registers->backend->reset(registers, err);
    return failure == WRITE_FINE ? 0 : -1;
}

static int execute(struct session *session, struct manual_report *report, struct error *err)
{
    if (!session->registers.backend->reads_back) {
        return execute_as_a_whole(session, err);
    }
    if (session_execute(session, true, err) < 0) {
        return -1;
    }
    manual_add_writes(report, session, false);
    manual_add_warnings(report, &session->execution->warnings);
    return 0;
}

/* Cards that somebody holds open, or that nothing was to be done for, are told and
 * left; any other that could not be reached is a failure. */
static int check_reached(const struct session *session, struct manual_report *report, struct error *err)
{
    bool isolates = session->machine->settings.idle == IDLE_ISOLATE;
    const char *lack = isolates ? "not all links are cut" : "not all links are back";
    int result = 0;
    if (session->execution->warnings.count > 0) {
        result = error_set(err, STATUS_HARDWARE, "%s: %s", lack, session->execution->warnings.items[0]);
    }
    for (int ppu = 0; session->registers.backend->reads_back && ppu < session->machine->topology.ppu_count; ppu++) {
        const struct card *card = &session->snapshot->cards[ppu];
        char text[CARD_TEXT_SIZE];
        if (!card->was_read || card->reading.kind == READING_FINE) {
            continue;
        }
        machine_card_text(session->machine, ppu, text);
        bool is_owed = (card->has_original || isolates) && card->reading.kind != READING_GONE;
        if (result == 0 && !card->held && (is_owed || card->reading.kind == READING_FAILED)) {
            result = error_set(err, STATUS_HARDWARE, "%s: %s: %s", lack, text, card->reading.why);
        }
        manual_warn(report, "%s: %s; its links stay as they are", text, card->reading.why);
    }
    return result;
}

static int reset(struct session *session, bool force, bool dry_run, struct manual_report *report, struct error *err)
{
    const struct error *doubt = snapshot_doubt(session->snapshot, "");
    find_exposed(&report->exposed, session->snapshot);
    if (!force && check_unused(&report->exposed, err) < 0) {
        return -1;
    }
    if (!force && doubt) {
        *err = *doubt;
        return -1;
    }
    find_groups(&report->groups, session->snapshot);
    if (!dry_run && record_ends(session, err) < 0) {
        return -1;
    }
    decide(session);
    if (dry_run) {
        manual_add_writes(report, session, true);
        return check_reached(session, report, err);
    }
    if (execute(session, report, err) < 0 || session_clean(session, NULL, err) < 0) {
        return -1;
    }
    return check_reached(session, report, err);
}

int manual_reset(struct machine *machine, bool force, bool dry_run, struct manual_report *report, struct error *err)
{
    struct session session = SESSION_CLOSED;
    int result = manual_open(&session, machine, dry_run, report, err);
    if (result == 0) {
        result = reset(&session, force, dry_run, report, err);
    }
    session_close(&session);
    return result;
}
