/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/verbs.h"

#include <inttypes.h>
#include <stdio.h>

#include "cli/view.h"
#include "engine/groups.h"
#include "engine/policy.h"

static void check_put_drift(const struct session *session, struct json_object *drift, int ppu)
{
    if (links_missing(session, ppu) != 0) {
        struct json_object *entry = json_object_new_object();
        json_put_number(entry, "ppu", ppu);
        json_put_mask(entry, "mask", session->cards[ppu].reading.mask);
        json_put_mask(entry, "required", policy_required(session, ppu));
        json_object_array_add(drift, entry);
    }
}

static void check_print_json(const struct session *session, enum status status)
{
    struct coverage coverage = coverage_count(session);
    struct json_object *object = json_object_new_object();
    json_put_text(object, "schema", "icn-hook/check/2");
    json_put_bool(object, "ok", status == STATUS_OK);
    view_put_leaks(session, object);
    struct json_object *drift = json_put_array(object, "drift");
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        check_put_drift(session, drift, ppu);
    }
    json_put_array(object, "groups");
    json_put_coverage(object, &coverage);
    json_put_findings(object, &session->notes);
    json_print(object);
}

static int count_drifting(const struct session *session)
{
    int count = 0;
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        count += links_missing(session, ppu) != 0;
    }
    return count;
}

static void check_print_text(const struct session *session, enum status status)
{
    struct coverage coverage = coverage_count(session);
    char text[COVERAGE_TEXT_SIZE];
    puts(coverage_text(&coverage, text));
    for (size_t i = 0; i < session->notes.count; i++) {
        puts(session->notes.items[i].text);
    }
    if (status == STATUS_OK) {
        puts("OK: every link that must be cut is verified");
    } else if (status == STATUS_UNVERIFIED) {
        puts("CANNOT BE VERIFIED: no leak is known, but not every cut can be shown");
    } else {
        printf("FAILED: pairs of cards that leak: %d; cards that lack cuts: %d%s\n", view_count_leaks(session),
               count_drifting(session), session_doubt(session, "") ? "; not every owner is known" : "");
    }
}

/* What `check LIST` found of each group. */
struct list_check {
    struct session *session;
    struct card_groups groups;
    enum status of[PPU_MAX];
    enum status status; /* of the whole list */
    struct notes findings;
};

/* For this check the members of a group own their cards, and nobody else owns any. */
static void check_list_own(struct list_check *check)
{
    for (int ppu = 0; ppu < check->session->machine->topology.ppu_count; ppu++) {
        int group = check->groups.of[ppu];
        check->session->owners.of[ppu] = group == IN_NO_GROUP ? OWNER_IDLE : group + 1;
    }
}

static void check_list_note(struct list_check *check, enum severity severity, enum note_code code,
                            struct text_list *lines)
{
    for (size_t i = 0; i < lines->count; i++) {
        notes_add(&check->findings, severity, code, -1, NULL, "%s", lines->items[i]);
    }
    text_list_free(lines);
}

/* Why cards of the list cannot be read, where nothing was read back either. */
static void check_list_note_unread(struct list_check *check)
{
    for (size_t i = 0; i < check->session->notes.count; i++) {
        const struct note *note = &check->session->notes.items[i];
        bool is_of_list = note->ppu >= 0 && check->groups.of[note->ppu] != IN_NO_GROUP;
        if (note->code == NOTE_CARD && is_of_list && check->session->cards[note->ppu].state.present) {
            notes_add(&check->findings, note->severity, note->code, note->ppu, NULL, "%s", note->text);
        }
    }
}

static void check_list_run(struct list_check *check)
{
    bool any_fault = false;
    bool any_unverified = false;
    check_list_note_unread(check);
    check_list_own(check);
    for (int group = 0; group < check->groups.count; group++) {
        struct text_list faults = {0};
        struct text_list unverified = {0};
        group_check(check->session, &check->groups, group, &faults, &unverified);
        check->of[group] = faults.count > 0       ? STATUS_CHECK_FAILED
                           : unverified.count > 0 ? STATUS_UNVERIFIED
                                                  : STATUS_OK;
        any_fault |= check->of[group] == STATUS_CHECK_FAILED;
        any_unverified |= check->of[group] == STATUS_UNVERIFIED;
        check_list_note(check, NOTE_WARNING, NOTE_UNVERIFIED, &unverified);
        check_list_note(check, NOTE_ERROR, NOTE_CUT_MISSING, &faults);
    }
    check->status = any_fault ? STATUS_CHECK_FAILED : any_unverified ? STATUS_UNVERIFIED : STATUS_OK;
}

static const char *check_list_verdict(enum status status)
{
    return status == STATUS_OK ? "isolated" : status == STATUS_UNVERIFIED ? "unverified" : "not isolated";
}

static void check_list_put_groups(const struct list_check *check, struct json_object *object)
{
    struct json_object *array = json_put_array(object, "groups");
    for (int group = 0; group < check->groups.count; group++) {
        struct json_object *entry = json_object_new_object();
        struct json_object *cards = json_put_array(entry, "cards");
        for (int ppu = -1; (ppu = card_groups_next(&check->groups, group, ppu)) >= 0;) {
            json_object_array_add(cards, json_object_new_int(ppu));
        }
        json_put_bool(entry, "ok", check->of[group] == STATUS_OK);
        json_put_text(entry, "verdict", check_list_verdict(check->of[group]));
        json_object_array_add(array, entry);
    }
}

static void check_list_print_json(const struct list_check *check)
{
    const struct session *session = check->session;
    struct coverage coverage = coverage_count(session);
    struct json_object *object = json_object_new_object();
    json_put_text(object, "schema", "icn-hook/check/2");
    json_put_bool(object, "ok", check->status == STATUS_OK);
    view_put_leaks(session, object);
    struct json_object *drift = json_put_array(object, "drift");
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        if (check->groups.of[ppu] != IN_NO_GROUP) {
            check_put_drift(session, drift, ppu);
        }
    }
    check_list_put_groups(check, object);
    json_put_coverage(object, &coverage);
    json_put_findings(object, &check->findings);
    json_print(object);
}

static int check_list_count(const struct list_check *check, enum status status)
{
    int count = 0;
    for (int group = 0; group < check->groups.count; group++) {
        count += check->of[group] == status;
    }
    return count;
}

static void check_list_print_text(const struct list_check *check)
{
    for (size_t i = 0; i < check->findings.count; i++) {
        puts(check->findings.items[i].text);
    }
    for (int group = 0; group < check->groups.count; group++) {
        printf("group ");
        for (int ppu = -1, next; (next = card_groups_next(&check->groups, group, ppu)) >= 0; ppu = next) {
            printf("%s%d", ppu >= 0 ? "," : "", next);
        }
        puts(check->of[group] == STATUS_OK           ? ": isolated"
             : check->of[group] == STATUS_UNVERIFIED ? ": cannot be verified"
                                                     : ": NOT isolated");
    }
    if (check->status == STATUS_OK) {
        puts("OK: every group is isolated, and no link inside a group is read as cut");
    } else if (check->status == STATUS_UNVERIFIED) {
        printf("CANNOT BE VERIFIED: groups of which not every cut can be shown: %d\n",
               check_list_count(check, STATUS_UNVERIFIED));
    } else {
        printf("FAILED: groups that are not isolated: %d\n", check_list_count(check, STATUS_CHECK_FAILED));
    }
}

static int check_list(const struct options *options, struct error *err)
{
    struct session session;
    struct list_check check = {.session = &session};
    int status = view_open(&session, options, err);
    if (status == 0) {
        status = card_groups_parse(session.machine, options->argument, &check.groups, err);
    }
    if (status == 0) {
        check_list_run(&check);
        (options->json ? check_list_print_json : check_list_print_text)(&check);
        status = (int)check.status;
    }
    notes_free(&check.findings);
    session_close(&session);
    return status;
}

int verb_check(const struct options *options, struct error *err)
{
    struct session session;
    if (options->argument) {
        return check_list(options, err);
    }
    int status = view_open(&session, options, err);
    if (status == 0) {
        status = (int)links_judge(&session);
        (options->json ? check_print_json : check_print_text)(&session, (enum status)status);
    }
    session_close(&session);
    return status;
}
