/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/verbs.h"

#include <inttypes.h>
#include <stdio.h>

#include "cli/commands.h"
#include "cli/view.h"
#include "engine/groups.h"
#include "engine/policy.h"
#include "engine/reconcile.h"

/* What `check LIST` found of each group. */
struct list_check {
    struct session *session;
    struct card_groups groups;
    enum status of[PPU_MAX];
    enum status status; /* of the whole list */
    struct notes findings;
};

/* CHECK: of a list, or NULL: of all cards. */
static void check_print_json(const struct session *session, enum status status, const struct list_check *check)
{
    struct coverage coverage = coverage_count(session);
    struct json_object *object = json_object_new_object();
    json_put_text(object, "schema", "icn-hook/check/2");
    json_put_bool(object, "ok", status == STATUS_OK);
    view_put_leaks(session, object);
    struct json_object *drift = json_put_array(object, "drift");
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        bool is_meant = check ? check->groups.of[ppu] != IN_NO_GROUP : !session->left_out[ppu];
        if (is_meant && links_missing(session, ppu) != 0) {
            struct json_object *entry = json_object_new_object();
            json_put_number(entry, "ppu", ppu);
            json_put_mask(entry, "mask", session->cards[ppu].reading.mask);
            json_put_mask(entry, "required", policy_required(session, ppu));
            json_object_array_add(drift, entry);
        }
    }
    struct json_object *groups = json_put_array(object, "groups");
    for (int group = 0; check && group < check->groups.count; group++) {
        enum status found = check->of[group];
        struct json_object *entry = json_object_new_object();
        struct json_object *cards = json_put_array(entry, "cards");
        for (int ppu = -1; (ppu = card_groups_next(&check->groups, group, ppu)) >= 0;) {
            json_object_array_add(cards, json_object_new_int(ppu));
        }
        json_put_bool(entry, "ok", found == STATUS_OK);
        json_put_text(entry, "verdict",
                      found == STATUS_OK           ? "isolated"
                      : found == STATUS_UNVERIFIED ? "unverified"
                                                   : "not isolated");
        json_object_array_add(groups, entry);
    }
    json_put_coverage(object, &coverage);
    json_put_findings(object, check ? &check->findings : &session->notes);
    json_print(object);
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
        printf("OK: every link%s that must be cut is verified\n", view_scope_text(session));
    } else if (status == STATUS_UNVERIFIED) {
        puts("CANNOT BE VERIFIED: no leak is known, but not every cut can be shown");
    } else {
        int drifting = 0;
        for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
            drifting += !session->left_out[ppu] && links_missing(session, ppu) != 0;
        }
        char external[48] = "";
        if (coverage.external_leaks > 0) {
            snprintf(external, sizeof external, "; external links that leak: %d", coverage.external_leaks);
        }
        printf("FAILED: pairs of cards that leak: %d%s; cards that lack cuts: %d%s\n", view_count_leaks(session),
               external, drifting, session_doubt(session, "") ? "; not every owner is known" : "");
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

static void check_list_run(struct list_check *check)
{
    bool any_fault = false;
    bool any_unverified = false;
    /* Why cards of the list cannot be read, where nothing was read back either. */
    for (size_t i = 0; i < check->session->notes.count; i++) {
        const struct note *note = &check->session->notes.items[i];
        bool is_of_list = note->ppu >= 0 && check->groups.of[note->ppu] != IN_NO_GROUP;
        if (note->code == NOTE_CARD && is_of_list && check->session->cards[note->ppu].state.present) {
            notes_add(&check->findings, note->severity, note->code, note->ppu, NULL, "%s", note->text);
        }
    }
    /* For this check the members of a group own their cards, and nobody else owns any. */
    for (int ppu = 0; ppu < check->session->machine->topology.ppu_count; ppu++) {
        int group = check->groups.of[ppu];
        check->session->owners.of[ppu] = group == IN_NO_GROUP ? OWNER_IDLE : group + 1;
    }
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

/* One argument is a LIST, unless it is none and a VM or group is called so; several name cards, VMs and groups. */
static int check_read_arguments(struct list_check *check, const struct options *options, bool *is_list,
                                struct error *err)
{
    bool unused[PPU_MAX] = {false};
    *is_list = false;
    if (options->argument && options->more_count == 0) {
        if (card_groups_parse(check->session->machine, options->argument, &check->groups, err) == 0) {
            *is_list = true;
            return 0;
        }
        if (!card_choose_owned(check->session, options->argument, unused)) {
            const char *nearest = card_nearest_owner(check->session, options->argument);
            return nearest ? error_set(err, err->status, "%s; did you mean %s?", err->text, nearest) : -1;
        }
    }
    return view_choose(check->session, options, err);
}

int verb_check(const struct options *options, struct error *err)
{
    struct session session;
    struct list_check check = {.session = &session};
    bool is_list = false;
    if (options->json && options->quiet) {
        return command_usage_error(err, "check takes --json or --quiet, not both");
    }
    int status = view_start(&session, options, err);
    if (status == 0) {
        status = check_read_arguments(&check, options, &is_list, err);
    }
    if (status == 0) {
        view_find(&session, options);
    }
    if (status == 0 && is_list) {
        check_list_run(&check);
        status = (int)check.status;
    } else if (status == 0) {
        status = (int)links_judge(&session);
    }
    if (status >= 0 && options->json) {
        check_print_json(&session, (enum status)status, is_list ? &check : NULL);
    } else if (status >= 0 && !options->quiet && is_list) {
        check_list_print_text(&check);
    } else if (status >= 0 && !options->quiet) {
        check_print_text(&session, (enum status)status);
    }
    notes_free(&check.findings);
    session_close(&session);
    return status;
}

/* What was changed, then what stays to be said. */
static void repair_print_notes(const struct notes *notes, bool changes)
{
    for (size_t i = 0; i < notes->count; i++) {
        if ((notes->items[i].code == NOTE_CHANGE) == changes) {
            puts(notes->items[i].text);
        }
    }
}

static void repair_print_text(const struct session *session, const struct repair_report *report)
{
    char coverage[COVERAGE_TEXT_SIZE];
    bool looks = session->access == SESSION_LOOK;
    for (size_t i = 0; i < report->write_count; i++) {
        const struct plan_write *write = &report->writes[i];
        char card[CARD_TEXT_SIZE];
        printf("%s %s 0x%08" PRIx32 " -> 0x%08" PRIx32 "\n", machine_card_text(session->machine, write->ppu, card),
               looks ? "would be written:" : "written:", write->from, write->to);
    }
    repair_print_notes(&session->notes, true);
    if (report->write_count == 0) {
        puts(looks ? "No register would be written." : "No register had to be written.");
    }
    repair_print_notes(&session->notes, false);
    puts(coverage_text(&report->coverage, coverage));
}

int verb_repair(const struct options *options, struct error *err)
{
    struct session session;
    struct repair_report report = {0};
    int result = session_start(&session, options->config, options->dry_run ? SESSION_LOOK : SESSION_CHANGE, err);
    if (result == 0) {
        result = repair_host(&session, &report, err);
    }
    /* A timer calls it every minute: what changed nothing is no event. */
    bool has_changed = session.writing_count > 0 || session.change_count > 0 || notes_have(&session.notes, NOTE_CHANGE);
    if (!options->dry_run && (result < 0 || has_changed)) {
        verb_log_session(
            "repair", &session,
            (struct trail){.event = EVENT_REPAIRED, .err = result < 0 ? err : NULL, .what = "the whole host"});
    }
    session_unlock(&session);
    if (result == 0) {
        if (options->json) {
            struct json_object *object = json_object_new_object();
            json_put_text(object, "schema", "icn-hook/repair/1");
            json_put_bool(object, "dry_run", session.access == SESSION_LOOK);
            json_put_writes(object, session.machine, report.writes, report.write_count);
            struct json_object *debts = json_put_array(object, "debts");
            for (int ppu = 0; ppu < session.machine->topology.ppu_count; ppu++) {
                uint32_t owed;
                if (policy_owes(&session, ppu, &owed)) {
                    struct json_object *entry = json_object_new_object();
                    json_put_number(entry, "ppu", ppu);
                    json_put_mask(entry, "owed", owed);
                    json_object_array_add(debts, entry);
                }
            }
            json_put_coverage(object, &report.coverage);
            json_put_findings(object, &session.notes);
            json_print(object);
        } else {
            repair_print_text(&session, &report);
        }
        result = (int)links_judge(&session); /* as check would */
    }
    repair_report_free(&report);
    session_close(&session);
    return result;
}
