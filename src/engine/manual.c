/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/manual.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/manual_steps.h"

static void free_parties(struct manual_parties *parties)
{
    for (size_t i = 0; i < parties->count; i++) {
        free(parties->items[i].name);
        free(parties->items[i].ppus);
    }
    free(parties->items);
}

void manual_report_free(struct manual_report *report)
{
    free_parties(&report->groups);
    free_parties(&report->exposed);
    free(report->writes);
    text_list_free(&report->warnings);
    *report = (struct manual_report){0};
}

int manual_open(struct session *session, struct machine *machine, bool dry_run, struct manual_report *report,
                struct error *err)
{
    if (session_open(session, machine, dry_run ? LEDGER_LOOK : LEDGER_CHANGE, err) < 0) {
        return -1;
    }
    manual_add_warnings(report, &session->snapshot->findings);
    return 0;
}

struct manual_party *manual_add_party(struct manual_parties *parties, const char *name, const char *uuid)
{
    parties->items = memory_grow(parties->items, parties->count + 1, sizeof *parties->items);
    struct manual_party *party = &parties->items[parties->count++];
    *party = (struct manual_party){.name = memory_copy_text(name)};
    memcpy(party->uuid, uuid, strlen(uuid) + 1);
    return party;
}

void manual_add_card(struct manual_party *party, int ppu)
{
    party->ppus = memory_grow(party->ppus, party->ppu_count + 1, sizeof *party->ppus);
    party->ppus[party->ppu_count++] = ppu;
}

bool manual_owns(const struct snapshot *snapshot, const struct tenant *tenant, int ppu)
{
    size_t index = (size_t)(tenant - snapshot->tenants);
    for (size_t i = 0; i < snapshot->claim_count; i++) {
        if (snapshot->claims[i].tenant == index && snapshot->claims[i].ppu == ppu) {
            return true;
        }
    }
    return false;
}

void manual_add_tenant(struct manual_parties *parties, const struct snapshot *snapshot, const struct tenant *tenant,
                       bool only_held)
{
    struct manual_party *party = manual_add_party(parties, tenant->name, tenant->uuid);
    for (int ppu = 0; ppu < snapshot->machine->topology.ppu_count; ppu++) {
        if (manual_owns(snapshot, tenant, ppu) && (!only_held || snapshot->cards[ppu].held)) {
            manual_add_card(party, ppu);
        }
    }
}

void manual_warn(struct manual_report *report, const char *format, ...)
{
    char text[2048];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    for (size_t i = 0; i < report->warnings.count; i++) {
        if (strcmp(report->warnings.items[i], text) == 0) {
            return;
        }
    }
    text_list_add(&report->warnings, "%s", text);
}

void manual_add_warnings(struct manual_report *report, const struct text_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        manual_warn(report, "%s", list->items[i]);
    }
}

void manual_add_writes(struct manual_report *report, const struct session *session, bool planned)
{
    const struct plan *plan = &session->decision->plan;
    for (size_t i = 0; i < plan->count; i++) {
        if (planned || session->execution->outcomes[i] == APPLY_DONE) {
            report->writes = memory_grow(report->writes, report->write_count + 1, sizeof *report->writes);
            report->writes[report->write_count++] = plan->writes[i];
        }
    }
}

/* A card of the entry that nobody owns and that cannot be looked at: the masks of
 * all others are planned, and their entry may only wait for other owners. */
static int check_read(const struct session *session, const struct ledger_entry *entry, struct error *err)
{
    for (size_t i = 0; i < entry->card_count; i++) {
        int ppu = machine_ppu_at(session->machine, entry->cards[i].bdf);
        char text[CARD_TEXT_SIZE];
        if (ppu < 0 || session->decision->owners[ppu] != OWNER_IDLE || !session->registers.backend->reads_back) {
            continue;
        }
        const struct card *card = &session->snapshot->cards[ppu];
        if (card->was_read && card->reading.kind != READING_FINE && card->reading.kind != READING_GONE) {
            return error_set(err, STATUS_HARDWARE, "%s: %s", machine_card_text(session->machine, ppu, text),
                             card->reading.why);
        }
    }
    return 0;
}

static int check_back(const struct session *session, const struct ledger_entry *entry, struct error *err)
{
    const struct error *doubt = snapshot_doubt(session->snapshot, session->decision->uuid);
    if (doubt) {
        *err = *doubt;
    } else if (session->execution->warnings.count > 0) {
        error_set(err, STATUS_HARDWARE, "%s", session->execution->warnings.items[0]);
    } else if (check_read(session, entry, err) == 0) {
        return 0;
    }
    return error_set(err, err->status, "not all links are back: %s; correct that, then run icn-hook reset", err->text);
}

int manual_end(struct session *session, const char *uuid, struct manual_report *report, struct error *err)
{
    const struct tenant *tenant = snapshot_tenant(session->snapshot, uuid);
    struct error trouble;
    if (tenant->entry->phase != PHASE_ENDED && record_end(&session->ledger, tenant->entry, err) < 0) {
        return -1;
    }
    session_decide(session, INTENT_STOP, uuid, tenant->name, NULL);
    if (session_execute(session, true, err) < 0) {
        return -1;
    }
    manual_add_writes(report, session, false);
    manual_add_warnings(report, &session->execution->warnings);
    bool is_back = check_back(session, tenant->entry, &trouble) == 0;
    if (session_clean(session, NULL, err) < 0 || session_look_again(session, err) < 0) {
        return -1;
    }
    if (!is_back) {
        *err = trouble;
    }
    return is_back ? 0 : -1;
}
