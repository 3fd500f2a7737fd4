/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/verbs.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/json.h"
#include "cli/options.h"
#include "engine/groups.h"

/* What came of apply, release or reset, and how it is shown. */
struct groups_outcome {
    const struct options *options;
    struct session session;
    struct group_report report;
    bool failed;
};

enum card_form { CARDS_WITH_ADDRESS, CARDS_BY_ID };

static int groups_start(struct groups_outcome *outcome, struct error *err)
{
    enum session_access access = outcome->options->dry_run ? SESSION_LOOK : SESSION_CHANGE;
    return session_start(&outcome->session, outcome->options->config, access, err);
}

/* The work is done, and logged as EVENT; the lock is given back before anything is said. */
static void groups_finish(struct groups_outcome *outcome, int result, const char *verb, enum log_event event,
                          const char *what, const struct error *err)
{
    const struct party *group =
        result == 0 && event != EVENT_RESET && outcome->report.groups.count > 0 ? outcome->report.groups.items : NULL;
    outcome->failed = result < 0;
    if (!outcome->options->dry_run) {
        verb_log_session(verb, &outcome->session,
                         (struct trail){.event = event,
                                        .uuid = group ? group->uuid : NULL,
                                        .name = group ? group->name : NULL,
                                        .is_group = true,
                                        .err = outcome->failed ? err : NULL,
                                        .what = what});
    }
    session_unlock(&outcome->session);
}

static struct json_object *groups_begin_json(const struct groups_outcome *outcome, const char *schema)
{
    struct json_object *object = json_object_new_object();
    json_put_text(object, "schema", schema);
    json_put_bool(object, "dry_run", outcome->options->dry_run);
    return object;
}

static void groups_put_cards(struct json_object *object, const struct groups_outcome *outcome,
                             const struct party *party, enum card_form form)
{
    struct json_object *ppus = json_put_array(object, "ppus");
    for (size_t i = 0; party && i < party->ppu_count; i++) {
        if (form == CARDS_BY_ID) {
            json_object_array_add(ppus, json_object_new_int(party->ppus[i]));
            continue;
        }
        struct json_object *entry = json_object_new_object();
        char bdf[BDF_TEXT_SIZE];
        json_put_number(entry, "ppu", party->ppus[i]);
        json_put_text(entry, "bdf", bdf_format(outcome->session.machine->card[party->ppus[i]], bdf));
        json_object_array_add(ppus, entry);
    }
}

static void groups_put_parties(struct json_object *object, const char *key, const struct groups_outcome *outcome,
                               const struct parties *parties, enum card_form form)
{
    struct json_object *array = json_put_array(object, key);
    for (size_t i = 0; i < parties->count; i++) {
        const struct party *party = &parties->items[i];
        struct json_object *entry = json_object_new_object();
        json_put_text(entry, "name", party->name);
        json_put_text(entry, "uuid", party->uuid[0] ? party->uuid : NULL);
        groups_put_cards(entry, outcome, party, form);
        json_object_array_add(array, entry);
    }
}

static void groups_put_writes(const struct groups_outcome *outcome, struct json_object *object)
{
    json_put_writes(object, outcome->session.machine, outcome->report.writes, outcome->report.write_count);
    json_put_warnings(object, &outcome->session.notes, NULL);
}

static void groups_end_json(const struct groups_outcome *outcome, struct json_object *object)
{
    groups_put_writes(outcome, object);
    json_put_text(object, "error", NULL);
    json_print(object);
}

static void groups_print(const struct groups_outcome *outcome, const char *is)
{
    for (size_t i = 0; i < outcome->report.groups.count; i++) {
        const struct party *group = &outcome->report.groups.items[i];
        printf("group '%s' %s", group->name, is);
        for (size_t card = 0; card < group->ppu_count; card++) {
            char text[CARD_TEXT_SIZE];
            printf("%s%s", card > 0 ? ", " : ": ",
                   machine_card_text(outcome->session.machine, group->ppus[card], text));
        }
        puts("");
    }
}

static void groups_print_rest(const struct groups_outcome *outcome)
{
    if (outcome->options->dry_run && !outcome->failed) {
        puts("Register writes, in this order (bit set = link cut):");
        for (size_t i = 0; i < outcome->report.write_count; i++) {
            const struct plan_write *write = &outcome->report.writes[i];
            char card[CARD_TEXT_SIZE];
            printf("  %-24s 0x%08" PRIx32 " -> 0x%08" PRIx32 "\n",
                   machine_card_text(outcome->session.machine, write->ppu, card), write->from, write->to);
        }
        if (outcome->report.write_count == 0) {
            puts("  none: every link is as it must be");
        }
    }
    /* Where nothing was done the error says it all. */
    bool is_of_interest = !outcome->failed || outcome->report.write_count > 0;
    for (size_t i = 0; is_of_interest && i < outcome->session.notes.count; i++) {
        printf("warning: %s\n", outcome->session.notes.items[i].text);
    }
}

/* Reports the error, if any, with who keeps a reset from being made and what was done before it; frees, and returns
 * the exit status. */
static int groups_close(struct groups_outcome *outcome, const struct error *err)
{
    int status = outcome->failed ? verbs_report(false, err) : STATUS_OK;
    if (outcome->failed && outcome->options->json) {
        struct json_object *object = json_error(err);
        if (outcome->report.exposed.count > 0) {
            groups_put_parties(object, "exposed", outcome, &outcome->report.exposed, CARDS_BY_ID);
        }
        groups_put_writes(outcome, object);
        json_print(object);
    }
    group_report_free(&outcome->report);
    session_close(&outcome->session);
    return status;
}

int groups_check_options(const struct options *options, struct error *err)
{
    if (options->argument && options->count) {
        return command_usage_error(err, "LIST and --count cannot be combined: '%s'", options->argument);
    }
    if (!options->argument && !options->count) {
        return command_usage_error(err, "LIST or --count N is missing");
    }
    if (options->numa && !options->count) {
        return command_usage_error(err, "--numa goes with --count");
    }
    if (options->count && options->name_count > 1) {
        return command_usage_error(err, "--count makes one group, which has one name");
    }
    for (size_t i = 0; i < options->name_count; i++) {
        if (group_name_check(options->names[i], err) < 0) {
            return -1;
        }
    }
    return 0;
}

int groups_isolate(struct session *session, const struct options *options, struct process_identity bound_to,
                   struct group_report *report, struct error *err)
{
    enum session_access access = options->dry_run ? SESSION_LOOK : SESSION_CHANGE;
    struct card_groups groups;
    struct machine *machine = NULL;
    uint64_t count = 0;
    int numa_node = 0;
    if (groups_check_options(options, err) < 0 ||
        (options->count && verb_read_choice(options, options->count, &count, &numa_node, err) < 0)) {
        return -1;
    }
    if (machine_open(options->config, &machine, err) < 0 || machine_survey(machine, err) < 0 ||
        (options->argument && card_groups_parse(machine, options->argument, &groups, err) < 0)) {
        machine_close(machine);
        return -1;
    }
    if (session_open(session, machine, access, err) < 0) {
        return -1;
    }
    session->bound_to = bound_to;
    if (options->count && card_groups_choose(session, count, numa_node, &groups, err) < 0) {
        return -1;
    }
    return groups_apply(session, &groups, options->names, options->name_count, report, err);
}

int verb_apply(const struct options *options, struct error *err)
{
    struct groups_outcome outcome = {.options = options, .session = {.state = STATE_CLOSED}};
    int result = groups_isolate(&outcome.session, options, (struct process_identity){0}, &outcome.report, err);
    char what[64];
    snprintf(what, sizeof what, "%.20s cards that were chosen", options->count ? options->count : "");
    groups_finish(&outcome, result, "apply", EVENT_CARDS_GIVEN, options->count ? what : options->argument, err);
    if (!options->json) {
        groups_print(&outcome, options->dry_run ? "would be isolated" : "is isolated");
        groups_print_rest(&outcome);
    } else if (!outcome.failed) {
        struct json_object *object = groups_begin_json(&outcome, "icn-hook/apply/1");
        groups_put_parties(object, "groups", &outcome, &outcome.report.groups, CARDS_WITH_ADDRESS);
        groups_end_json(&outcome, object);
    }
    return groups_close(&outcome, err);
}

int verb_release(const struct options *options, struct error *err)
{
    struct groups_outcome outcome = {.options = options, .session = {.state = STATE_CLOSED}};
    int result = groups_start(&outcome, err);
    if (result == 0) {
        result = groups_release(&outcome.session, options->argument, options->if_exists, &outcome.report, err);
    }
    groups_finish(&outcome, result, "release", EVENT_ENDED, options->argument, err);
    if (!options->json) {
        if (!outcome.failed) {
            groups_print(&outcome, options->dry_run ? "would be released" : "is released");
        }
        if (!outcome.failed && outcome.report.groups.count == 0) {
            printf("there is no group '%s': nothing to release\n", options->argument);
        }
        groups_print_rest(&outcome);
    } else if (!outcome.failed) {
        struct json_object *object = groups_begin_json(&outcome, "icn-hook/release/1");
        const struct party *group = outcome.report.groups.count > 0 ? outcome.report.groups.items : NULL;
        json_put_text(object, "name", group ? group->name : options->argument);
        json_put_text(object, "uuid", group ? group->uuid : NULL);
        groups_put_cards(object, &outcome, group, CARDS_WITH_ADDRESS);
        groups_end_json(&outcome, object);
    }
    return groups_close(&outcome, err);
}

static int reset_host(struct groups_outcome *outcome, const struct options *options, struct error *err)
{
    if (groups_start(outcome, err) < 0) {
        return -1;
    }
    if (options->isolate && outcome->session.machine->settings.idle != IDLE_ISOLATE) {
        return error_set(err, STATUS_INVALID,
                         "--isolate needs idle = isolate in [policy]: otherwise a card without owner gets its links "
                         "back");
    }
    return groups_reset(&outcome->session, options->force, &outcome->report, err);
}

int verb_reset(const struct options *options, struct error *err)
{
    struct groups_outcome outcome = {.options = options, .session = {.state = STATE_CLOSED}};
    groups_finish(&outcome, reset_host(&outcome, options, err), "reset", EVENT_RESET, "all groups end", err);
    /* A refusal names them itself. */
    for (size_t i = 0; options->force && i < outcome.report.exposed.count; i++) {
        const struct party *party = &outcome.report.exposed.items[i];
        fprintf(stderr, "icn-hook: %s: '%s' (PPU", options->dry_run ? "would be exposed" : "exposed", party->name);
        for (size_t card = 0; card < party->ppu_count; card++) {
            fprintf(stderr, "%s%d", card > 0 ? ", " : " ", party->ppus[card]);
        }
        fputs(")\n", stderr);
    }
    if (!options->json) {
        groups_print(&outcome, outcome.options->dry_run ? "would be ended" : "is ended");
        groups_print_rest(&outcome);
        if (!outcome.failed && !outcome.options->dry_run) {
            bool isolates = outcome.session.machine->settings.idle == IDLE_ISOLATE;
            bool is_whole = !notes_have(&outcome.session.notes, NOTE_CARD);
            printf("%s %s.\n",
                   is_whole ? "All cards have their links" : "All cards but those named above have their links",
                   isolates ? "cut" : "back");
        }
    } else if (!outcome.failed) {
        struct json_object *object = groups_begin_json(&outcome, "icn-hook/reset/1");
        struct json_object *ended = json_put_array(object, "ended");
        for (size_t i = 0; i < outcome.report.groups.count; i++) {
            json_object_array_add(ended, json_object_new_string(outcome.report.groups.items[i].name));
        }
        groups_put_parties(object, "exposed", &outcome, &outcome.report.exposed, CARDS_BY_ID);
        groups_end_json(&outcome, object);
    }
    return groups_close(&outcome, err);
}
