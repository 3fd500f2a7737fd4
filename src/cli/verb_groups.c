/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/verbs.h"

#include <inttypes.h>
#include <stdio.h>

#include "cli/json.h"
#include "cli/options.h"
#include "engine/manual.h"

/* What came of apply, release or reset, and how it is told. */
struct groups_outcome {
    const struct options *options;
    struct machine *machine; /* NULL: it came not so far */
    struct manual_report report;
    bool failed;
    struct error err; /* if it failed */
};

enum card_form { CARDS_WITH_ADDRESS, CARDS_BY_ID };

static int groups_open(struct groups_outcome *outcome, const struct options *options)
{
    *outcome = (struct groups_outcome){.options = options};
    if (machine_open(options->config, &outcome->machine, &outcome->err) < 0) {
        return -1;
    }
    return machine_survey(outcome->machine, &outcome->err);
}

static struct json_object *groups_begin_json(const struct groups_outcome *outcome, const char *schema)
{
    struct json_object *object = json_object_new_object();
    json_put_text(object, "schema", schema);
    json_put_bool(object, "dry_run", outcome->options->dry_run);
    return object;
}

static void groups_put_address(const struct groups_outcome *outcome, struct json_object *entry, int ppu)
{
    char bdf[BDF_TEXT_SIZE];
    json_put_number(entry, "ppu", ppu);
    json_put_text(entry, "bdf", bdf_format(outcome->machine->card[ppu], bdf));
}

static void groups_put_cards(struct json_object *object, const struct groups_outcome *outcome,
                             const struct manual_party *party, enum card_form form)
{
    struct json_object *ppus = json_put_array(object, "ppus");
    for (size_t i = 0; party && i < party->ppu_count; i++) {
        if (form == CARDS_BY_ID) {
            json_object_array_add(ppus, json_object_new_int(party->ppus[i]));
            continue;
        }
        struct json_object *entry = json_object_new_object();
        groups_put_address(outcome, entry, party->ppus[i]);
        json_object_array_add(ppus, entry);
    }
}

static void groups_put_parties(struct json_object *object, const char *key, const struct groups_outcome *outcome,
                               const struct manual_parties *parties, enum card_form form)
{
    struct json_object *array = json_put_array(object, key);
    for (size_t i = 0; i < parties->count; i++) {
        const struct manual_party *party = &parties->items[i];
        struct json_object *entry = json_object_new_object();
        json_put_text(entry, "name", party->name);
        json_put_text(entry, "uuid", party->uuid[0] ? party->uuid : NULL);
        groups_put_cards(entry, outcome, party, form);
        json_object_array_add(array, entry);
    }
}

static void groups_end_json(const struct groups_outcome *outcome, struct json_object *object)
{
    struct json_object *writes = json_put_array(object, "writes");
    for (size_t i = 0; i < outcome->report.write_count; i++) {
        const struct plan_write *write = &outcome->report.writes[i];
        struct json_object *entry = json_object_new_object();
        groups_put_address(outcome, entry, write->ppu);
        json_put_mask(entry, "from", write->from);
        json_put_mask(entry, "to", write->to);
        json_object_array_add(writes, entry);
    }
    json_put_list(object, "warnings", &outcome->report.warnings);
    json_put_text(object, "error", outcome->failed ? outcome->err.text : NULL);
    json_print(object);
}

static void groups_print(const struct groups_outcome *outcome, const char *is)
{
    for (size_t i = 0; i < outcome->report.groups.count; i++) {
        const struct manual_party *group = &outcome->report.groups.items[i];
        printf("group '%s' %s", group->name, is);
        for (size_t card = 0; card < group->ppu_count; card++) {
            char text[CARD_TEXT_SIZE];
            printf("%s%s", card > 0 ? ", " : ": ", machine_card_text(outcome->machine, group->ppus[card], text));
        }
        puts("");
    }
}

static void groups_print_writes(const struct groups_outcome *outcome)
{
    puts("Register writes, in this order (bit set = link cut):");
    for (size_t i = 0; i < outcome->report.write_count; i++) {
        const struct plan_write *write = &outcome->report.writes[i];
        char card[CARD_TEXT_SIZE];
        printf("  %-24s 0x%08" PRIx32 " -> 0x%08" PRIx32 "\n", machine_card_text(outcome->machine, write->ppu, card),
               write->from, write->to);
    }
    if (outcome->report.write_count == 0) {
        puts("  none: every link is as it must be");
    }
}

static void groups_print_rest(const struct groups_outcome *outcome)
{
    if (outcome->options->dry_run && !outcome->failed) {
        groups_print_writes(outcome);
    }
    /* Where nothing was done the error says it all. */
    bool is_of_interest = !outcome->failed || outcome->report.write_count > 0;
    for (size_t i = 0; is_of_interest && i < outcome->report.warnings.count; i++) {
        printf("warning: %s\n", outcome->report.warnings.items[i]);
    }
}

static int groups_close(struct groups_outcome *outcome)
{
    int status = outcome->failed ? (int)outcome->err.status : STATUS_OK;
    if (outcome->failed) {
        fprintf(stderr, "icn-hook: %s\n", outcome->err.text);
    }
    manual_report_free(&outcome->report);
    machine_close(outcome->machine);
    return status;
}

static int apply_list(struct groups_outcome *outcome, const struct options *options)
{
    struct card_groups groups;
    if (groups_open(outcome, options) < 0 ||
        card_groups_parse(outcome->machine, options->argument, &groups, &outcome->err) < 0) {
        return -1;
    }
    return manual_apply(outcome->machine, &groups, options->names, options->name_count, options->dry_run,
                        &outcome->report, &outcome->err);
}

static void apply_print_json(const struct groups_outcome *outcome)
{
    struct json_object *object = groups_begin_json(outcome, "icn-hook/apply/1");
    groups_put_parties(object, "groups", outcome, &outcome->report.groups, CARDS_WITH_ADDRESS);
    groups_end_json(outcome, object);
}

int verb_apply(const struct options *options)
{
    struct groups_outcome outcome;
    outcome.failed = apply_list(&outcome, options) < 0;
    if (options->json) {
        apply_print_json(&outcome);
    } else {
        groups_print(&outcome, options->dry_run ? "would be isolated" : "is isolated");
        groups_print_rest(&outcome);
    }
    return groups_close(&outcome);
}

static int release_group(struct groups_outcome *outcome, const struct options *options)
{
    if (groups_open(outcome, options) < 0) {
        return -1;
    }
    return manual_release(outcome->machine, options->argument, options->dry_run, &outcome->report, &outcome->err);
}

static void release_print_json(const struct groups_outcome *outcome)
{
    struct json_object *object = groups_begin_json(outcome, "icn-hook/release/1");
    const struct manual_party *group = outcome->report.groups.count > 0 ? outcome->report.groups.items : NULL;
    json_put_text(object, "name", group ? group->name : outcome->options->argument);
    json_put_text(object, "uuid", group ? group->uuid : NULL);
    groups_put_cards(object, outcome, group, CARDS_WITH_ADDRESS);
    groups_end_json(outcome, object);
}

int verb_release(const struct options *options)
{
    struct groups_outcome outcome;
    outcome.failed = release_group(&outcome, options) < 0;
    if (options->json) {
        release_print_json(&outcome);
    } else {
        if (!outcome.failed) {
            groups_print(&outcome, options->dry_run ? "would be released" : "is released");
        }
        groups_print_rest(&outcome);
    }
    return groups_close(&outcome);
}

static int reset_host(struct groups_outcome *outcome, const struct options *options)
{
    if (groups_open(outcome, options) < 0) {
        return -1;
    }
    if (options->isolate && outcome->machine->settings.idle != IDLE_ISOLATE) {
        return error_set(&outcome->err, STATUS_INVALID,
                         "the links of cards without owner are not to be cut: set idle = isolate in [policy]");
    }
    return manual_reset(outcome->machine, options->force, options->dry_run, &outcome->report, &outcome->err);
}

static void reset_print_json(const struct groups_outcome *outcome)
{
    struct json_object *object = groups_begin_json(outcome, "icn-hook/reset/1");
    struct json_object *ended = json_put_array(object, "ended");
    for (size_t i = 0; i < outcome->report.groups.count; i++) {
        json_object_array_add(ended, json_object_new_string(outcome->report.groups.items[i].name));
    }
    groups_put_parties(object, "exposed", outcome, &outcome->report.exposed, CARDS_BY_ID);
    groups_end_json(outcome, object);
}

/* A refusal names them itself. */
static void reset_name_exposed(const struct groups_outcome *outcome)
{
    for (size_t i = 0; outcome->options->force && i < outcome->report.exposed.count; i++) {
        const struct manual_party *party = &outcome->report.exposed.items[i];
        fprintf(stderr, "icn-hook: %s: '%s' (PPU", outcome->options->dry_run ? "would be exposed" : "exposed",
                party->name);
        for (size_t card = 0; card < party->ppu_count; card++) {
            fprintf(stderr, "%s%d", card > 0 ? ", " : " ", party->ppus[card]);
        }
        fputs(")\n", stderr);
    }
}

int verb_reset(const struct options *options)
{
    struct groups_outcome outcome;
    outcome.failed = reset_host(&outcome, options) < 0;
    reset_name_exposed(&outcome);
    if (options->json) {
        reset_print_json(&outcome);
    } else {
        groups_print(&outcome, options->dry_run ? "would be ended" : "is ended");
        groups_print_rest(&outcome);
        if (!outcome.failed && !options->dry_run) {
            bool isolates = outcome.machine->settings.idle == IDLE_ISOLATE;
            printf("Every card that could be reached has its links %s.\n", isolates ? "cut" : "back");
        }
    }
    return groups_close(&outcome);
}
