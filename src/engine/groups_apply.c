/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation.  Under one lock all groups are admitted before the first is touched; then
 * they take the path of a VM's prepare and start together: one plan, all claims, one write.  When
 * that fails, those of this call that were not there before are given back.  A call that is
 * killed leaves claims whose cards are cut or not; the same call again completes them, release
 * and reset undo them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/groups_private.h"
#include "engine/links.h"
#include "engine/record.h"

/* Who a group of LIST is. */
struct group_identity {
    char *name; /* owned */
    char uuid[UUID_SIZE];
    bool is_given; /* the name, by the caller */
    bool existed;  /* the group is there already, with these very cards */
};

struct application {
    struct session *session;
    const struct card_groups *groups;
    struct group_identity *identities;
    struct turn *turn;
};

static bool has_these_cards(const struct application *application, const struct owner *owner, int group)
{
    const struct session *session = application->session;
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        if (owners_has(&session->owners, owner, ppu) != (application->groups->of[ppu] == group)) {
            return false;
        }
    }
    return true;
}

/* NAME may be NULL: any. */
static const struct owner *find_existing(const struct application *application, int group, const char *name)
{
    const struct owners *owners = &application->session->owners;
    for (size_t i = 0; i < owners->count; i++) {
        const struct owner *owner = &owners->items[i];
        if (owner->kind == OWNER_KIND_GROUP && (!name || strcmp(owner->name, name) == 0) &&
            has_these_cards(application, owner, group)) {
            return owner;
        }
    }
    return NULL;
}

/* Each group is one that is there already, or a new one with the name that was given, or the usual one. */
static int identify_all(const struct application *application, const char *const names[], size_t name_count,
                        struct error *err)
{
    if (name_count > (size_t)application->groups->count) {
        return error_set(err, STATUS_USAGE, "%zu names, but LIST has %d group%s", name_count,
                         application->groups->count, application->groups->count == 1 ? "" : "s");
    }
    for (int group = 0; group < application->groups->count; group++) {
        struct group_identity *identity = &application->identities[group];
        const char *given = (size_t)group < name_count ? names[group] : NULL;
        char usual[sizeof "manual-2147483647"];
        if (given && group_name_check(given, err) < 0) {
            return -1;
        }
        const struct session *session = application->session;
        const struct owner *existing = find_existing(application, group, given);
        /* A process has nothing to do with a group that is there, but for what it reserved itself, and what an
         * attach that was killed left. */
        if (existing && session->bound_to.pid != 0 &&
            !(session->reserves && (existing->pid == 0 || existing->pid == session->bound_to.pid))) {
            existing = NULL;
        }
        snprintf(usual, sizeof usual, "manual-%d", card_groups_next(application->groups, group, -1));
        identity->name = memory_copy_text(existing ? existing->name : given ? given : usual);
        identity->is_given = given;
        identity->existed = existing;
        if (existing) {
            memcpy(identity->uuid, existing->uuid, sizeof identity->uuid);
        } else if (!text_make_uuid(identity->uuid)) {
            return error_set(err, STATUS_HARDWARE, "the kernel gives no random uuid; is /proc mounted?");
        }
    }
    return 0;
}

/* Nobody who owns cards, and no group before this one, has the name.  Asked after the cards were
 * admitted: that a group has them says more than its name. */
static int check_name_is_free(const struct application *application, int group, struct error *err)
{
    const char *name = application->identities[group].name;
    const struct owner *owner = owners_named(&application->session->owners, name);
    if (application->identities[group].existed) {
        return 0;
    }
    if (owner) {
        return error_set(err, STATUS_INVALID, "there is a %s '%s' already; choose another name with --name",
                         owner->kind == OWNER_KIND_GROUP ? "group" : "VM", name);
    }
    for (int i = 0; i < group; i++) {
        if (strcmp(application->identities[i].name, name) == 0) {
            return error_set(err, STATUS_INVALID, "two groups cannot both be called '%s'", name);
        }
    }
    return 0;
}

/* The group that has the name of a group of LIST has the card too: somebody wants to change that group. */
static int check_not_its_namesake(const struct application *application, int group, int ppu, struct error *err)
{
    const struct group_identity *identity = &application->identities[group];
    const struct owners *owners = &application->session->owners;
    const struct owner *namesake = owners_named(owners, identity->name);
    char card[CARD_TEXT_SIZE];
    if (!identity->is_given || identity->existed || !namesake || namesake->kind != OWNER_KIND_GROUP ||
        namesake->pid != 0 || !owners_has(owners, namesake, ppu)) {
        return 0;
    }
    return error_set(err, STATUS_CONFLICT,
                     "there is a group '%s' already, which has %s; end it first with `icn-hook release %s`, or choose "
                     "another name",
                     identity->name, machine_card_text(application->session->machine, ppu, card), identity->name);
}

static int admit_all(const struct application *application, struct error *err)
{
    const struct card_groups *groups = application->groups;
    for (int group = 0; group < groups->count; group++) {
        const struct applicant applicant = {.uuid = application->identities[group].uuid, .by_hand = true};
        int result = policy_admit_doubt(application->session, &applicant, err);
        for (int ppu = card_groups_next(groups, group, -1); result == 0 && ppu >= 0;
             ppu = card_groups_next(groups, group, ppu)) {
            result = check_not_its_namesake(application, group, ppu, err) < 0
                         ? -1
                         : policy_admit(application->session, &applicant, ppu, true, err);
        }
        if (result < 0) {
            return application->session->reserves
                       ? -1
                       : error_wrap(err, "group '%s' is not isolated", application->identities[group].name);
        }
    }
    for (int group = 0; group < groups->count; group++) {
        if (check_name_is_free(application, group, err) < 0) {
            return -1;
        }
    }
    return 0;
}

static void take_group(const struct application *application, int group)
{
    struct owners *owners = &application->session->owners;
    const struct group_identity *identity = &application->identities[group];
    const struct owner *owner = owners_find(owners, identity->uuid);
    if (!owner) {
        owner = owners_add(owners, OWNER_KIND_GROUP, identity->uuid, identity->name);
    }
    for (int ppu = card_groups_next(application->groups, group, -1); ppu >= 0;
         ppu = card_groups_next(application->groups, group, ppu)) {
        application->turn->near[ppu] = true;
        owners_give(owners, owner, ppu, true);
    }
}

static void report_group(const struct application *application, int group, struct group_report *report)
{
    const struct group_identity *identity = &application->identities[group];
    bool is_real = application->session->access == SESSION_CHANGE || identity->existed;
    struct party *party = parties_add(&report->groups, identity->name, is_real ? identity->uuid : "");
    for (int ppu = card_groups_next(application->groups, group, -1); ppu >= 0;
         ppu = card_groups_next(application->groups, group, ppu)) {
        party_add_card(party, ppu);
    }
}

/* What could not be written because it is in use: of a group that was there, and is used as it may be, it must
 * have been cut before; a new one is not isolated. */
static int check_deferred(const struct application *application, struct error *err)
{
    const struct session *session = application->session;
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        struct text_list faults = {0};
        struct text_list unverified = {0};
        char card[CARD_TEXT_SIZE];
        int group = application->groups->of[ppu];
        int result = 0;
        if (group == IN_NO_GROUP || session_wrote(session, ppu)) {
            continue;
        }
        if (!application->identities[group].existed) {
            return error_set(err, STATUS_HARDWARE, "%s: %s", machine_card_text(session->machine, ppu, card),
                             session->cards[ppu].reading.why);
        }
        group_check(session, application->groups, group, &faults, &unverified);
        if (faults.count > 0 || unverified.count > 0) {
            result = error_set(err, STATUS_HARDWARE, "%s; end its VM, then apply it again",
                               faults.count > 0 ? faults.items[0] : unverified.items[0]);
        }
        text_list_free(&faults);
        text_list_free(&unverified);
        if (result < 0) {
            return -1;
        }
    }
    return 0;
}

static int cut(const struct application *application, struct error *err)
{
    struct session *session = application->session;
    for (int group = 0; group < application->groups->count; group++) {
        const struct group_identity *identity = &application->identities[group];
        const struct owner *owner = owners_find(&session->owners, identity->uuid);
        enum claim_event event = session->reserves ? CLAIM_ADMITTED : CLAIM_SEEN;
        if (record_claim(session, owner, event, !identity->existed, err) < 0) {
            return -1;
        }
    }
    if (record_intent(session, application->turn, err) < 0 ||
        session_write(session, application->turn->given_back, true, false, err) < 0) {
        return -1;
    }
    if (record_result(session, application->turn, true, err) < 0) {
        return -1;
    }
    return check_deferred(application, err);
}

/* None of this call is isolated: those that were not there before end. */
static void undo(const struct application *application, struct group_report *report, struct error *err)
{
    struct session *session = application->session;
    struct turn *turn = application->turn;
    struct error trouble;
    *turn = (struct turn){.intent = INTENT_END};
    for (int group = 0; group < application->groups->count; group++) {
        const struct owner *owner = owners_find(&session->owners, application->identities[group].uuid);
        if (!application->identities[group].existed && record_end(session, owner, turn, &trouble) < 0) {
            notes_add(&session->notes, NOTE_WARNING, NOTE_STATE, -1, NULL, "group '%s': %s",
                      application->identities[group].name, trouble.text);
        }
    }
    session_forget_readings(session);
    policy_decide(session, turn);
    if (record_intent(session, turn, &trouble) < 0 ||
        session_write(session, turn->given_back, true, true, &trouble) < 0 ||
        record_result(session, turn, false, &trouble) < 0) {
        notes_add(&session->notes, NOTE_WARNING, NOTE_CARD, -1, NULL, "%s", trouble.text);
    }
    session_list_writes(session, &report->writes, &report->write_count);
    if (!session->reserves) {
        error_append(err, "; no group of this call is isolated, so correct that, then apply it again");
    }
}

static int apply_groups(const struct application *application, struct group_report *report, struct error *err)
{
    struct session *session = application->session;
    struct turn *turn = application->turn;
    turn->intent = INTENT_START;
    if (record_catch_up(session, turn, err) < 0) {
        return -1;
    }
    for (int group = 0; group < application->groups->count; group++) {
        take_group(application, group);
    }
    policy_decide(session, turn);
    session_note_unread(session, NULL);
    if (policy_check_near(session, turn, true, err) < 0) {
        return -1;
    }
    int result = session->access == SESSION_CHANGE ? cut(application, err) : 0;
    session_list_writes(session, &report->writes, &report->write_count);
    if (result < 0) {
        undo(application, report, err);
        return -1;
    }
    for (int group = 0; group < application->groups->count; group++) {
        report_group(application, group, report);
    }
    return 0;
}

int groups_apply(struct session *session, const struct card_groups *groups, const char *const names[],
                 size_t name_count, struct group_report *report, struct error *err)
{
    struct application application = {
        .session = session,
        .groups = groups,
        .identities = memory_alloc((size_t)groups->count, sizeof *application.identities),
        .turn = memory_alloc(1, sizeof *application.turn),
    };
    int result = identify_all(&application, names, name_count, err);
    if (result == 0) {
        result = admit_all(&application, err);
    }
    if (result == 0) {
        result = apply_groups(&application, report, err);
    }
    for (int group = 0; group < groups->count; group++) {
        free(application.identities[group].name);
    }
    free(application.identities);
    free(application.turn);
    return result;
}
