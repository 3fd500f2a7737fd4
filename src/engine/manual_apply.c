/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation.  Under one lock all groups are admitted before the first is
 * touched; then each takes the path of a VM's prepare and start: decide, record,
 * cut.  When one fails, those of this call that were not there before are given
 * back.  A call that is killed leaves entries whose cards are cut or not; the same
 * call again completes them, release and reset undo them.
 */
#include <string.h>

#include "base/memory.h"
#include "engine/foresight.h"
#include "engine/group_check.h"
#include "engine/manual_names.h"
#include "engine/manual_steps.h"

struct application {
    struct session *session;
    const struct card_groups *groups;
    struct manual_identity *identities;
    bool dry_run;
    struct manual_report *report;
};

/* The cards of a group, as a domain would want them; to be freed. */
static struct demand demand_of(const struct application *application, int group)
{
    const struct machine *machine = application->session->machine;
    const struct card_groups *groups = application->groups;
    struct demand demand = {.has_ppu = true, .by_hand = true};
    demand.devices = memory_alloc((size_t)machine->topology.ppu_count, sizeof *demand.devices);
    for (int ppu = card_groups_next(groups, group, -1); ppu >= 0; ppu = card_groups_next(groups, group, ppu)) {
        demand.devices[demand.count++] = (struct demand_device){
            .function = machine->card[ppu],
            .card = machine->card[ppu],
            .is_ppu = true,
            .whole = true,
            .present = application->session->snapshot->cards[ppu].state.present,
            .ppu = ppu,
        };
    }
    return demand;
}

static int admit_all(const struct application *application, struct error *err)
{
    const struct snapshot *snapshot = application->session->snapshot;
    for (int group = 0; group < application->groups->count; group++) {
        struct demand demand = demand_of(application, group);
        int result = decision_admit(snapshot, &demand, application->identities[group].uuid, err);
        demand_free(&demand);
        if (result < 0) {
            return error_wrap(err, "group '%s' is not isolated", application->identities[group].name);
        }
    }
    return manual_check_names(snapshot, application->identities, application->groups->count, err);
}

static void report_group(const struct application *application, int group)
{
    const struct manual_identity *identity = &application->identities[group];
    const char *uuid = application->dry_run && !identity->existed ? "" : identity->uuid;
    struct manual_party *party = manual_add_party(&application->report->groups, identity->name, uuid);
    const struct card_groups *groups = application->groups;
    for (int ppu = card_groups_next(groups, group, -1); ppu >= 0; ppu = card_groups_next(groups, group, ppu)) {
        manual_add_card(party, ppu);
    }
}

static void warn_of_unread(const struct application *application)
{
    const struct session *session = application->session;
    for (int ppu = 0; session->registers.backend->reads_back && ppu < session->machine->topology.ppu_count; ppu++) {
        const struct card *card = &session->snapshot->cards[ppu];
        char text[CARD_TEXT_SIZE];
        if (card->was_read && card->reading.kind != READING_FINE) {
            manual_warn(application->report, "%s: %s; its own ends of the links stay as they are",
                        machine_card_text(session->machine, ppu, text), card->reading.why);
        }
    }
}

/* Somebody uses the group, as he may: what he keeps from being written must have
 * been cut before. */
static int verify_used(const struct application *application, int group, struct error *err)
{
    struct session *session = application->session;
    struct text_list faults = {0};
    struct text_list notes = {0};
    int result = 0;
    snapshot_read_all(session->snapshot, &session->registers);
    group_check(session->snapshot, application->groups, group, &faults, &notes);
    if (faults.count > 0) {
        result = error_set(err, STATUS_HARDWARE, "%s; end its VM, then apply it again", faults.items[0]);
    }
    text_list_free(&faults);
    text_list_free(&notes);
    return result;
}

static bool any_deferred(const struct session *session)
{
    for (size_t i = 0; i < session->decision->plan.count; i++) {
        if (session->execution->outcomes[i] == APPLY_DEFERRED) {
            return true;
        }
    }
    return false;
}

static int cut(const struct application *application, int group, struct error *err)
{
    struct session *session = application->session;
    struct error cleaning;
    bool existed = application->identities[group].existed;
    if (session_record(session, PHASE_PREPARED, false, err) < 0) {
        return -1;
    }
    int result = session_execute(session, existed, err);
    /* The vendor's tool tells nothing of single writes. */
    manual_add_writes(application->report, session, result == 0 && !session->registers.backend->reads_back);
    manual_add_warnings(application->report, &session->execution->warnings);
    if (result < 0) {
        return -1;
    }
    if (session_clean(session, application->identities[group].uuid, &cleaning) < 0) {
        manual_warn(application->report, "%s", cleaning.text);
    }
    bool deferred = any_deferred(session);
    if (session_look_again(session, err) < 0) {
        return -1;
    }
    return deferred ? verify_used(application, group, err) : 0;
}

static int isolate(const struct application *application, int group, struct error *err)
{
    struct session *session = application->session;
    const struct manual_identity *identity = &application->identities[group];
    struct demand demand = demand_of(application, group);
    session_decide(session, INTENT_START, identity->uuid, identity->name, &demand);
    demand_free(&demand);
    if (decision_check_near(session->decision, session->snapshot, err) < 0) {
        return -1;
    }
    warn_of_unread(application);
    if (!application->dry_run) {
        return cut(application, group, err);
    }
    manual_add_writes(application->report, session, true);
    foresight_assume(session->snapshot, session->decision);
    return 0;
}

static void give_back(const struct application *application, int last, struct error *err)
{
    struct error trouble;
    for (int group = last; group >= 0; group--) {
        const struct manual_identity *identity = &application->identities[group];
        if (identity->existed) {
            continue;
        }
        if (session_look_again(application->session, &trouble) < 0 ||
            (snapshot_tenant(application->session->snapshot, identity->uuid) &&
             manual_end(application->session, identity->uuid, application->report, &trouble) < 0)) {
            manual_warn(application->report, "group '%s': %s", identity->name, trouble.text);
        }
    }
    error_set(err, err->status, "%s; no group of this call is isolated, so correct that, then apply it again",
              err->text);
}

static int isolate_all(const struct application *application, struct error *err)
{
    for (int group = 0; group < application->groups->count; group++) {
        if (isolate(application, group, err) < 0) {
            error_wrap(err, "group '%s'", application->identities[group].name);
            if (!application->dry_run) {
                give_back(application, group, err);
            }
            return -1;
        }
    }
    for (int group = 0; group < application->groups->count; group++) {
        report_group(application, group);
    }
    return 0;
}

int manual_apply(struct machine *machine, const struct card_groups *groups, const char *const names[],
                 size_t name_count, bool dry_run, struct manual_report *report, struct error *err)
{
    struct session session = SESSION_CLOSED;
    struct application application = {.session = &session, .groups = groups, .dry_run = dry_run, .report = report};
    int result = manual_open(&session, machine, dry_run, report, err);
    if (result == 0) {
        result = manual_identify(session.snapshot, groups, names, name_count, &application.identities, err);
    }
    if (result == 0) {
        result = admit_all(&application, err);
    }
    if (result == 0) {
        result = isolate_all(&application, err);
    }
    session_close(&session);
    manual_identities_free(application.identities, groups->count);
    return result;
}
