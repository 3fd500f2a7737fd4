/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "cli/manual_output.h"
#include "cli/verbs.h"

static int reset_host(struct manual_outcome *outcome, const struct options *options)
{
    if (manual_outcome_open(outcome, options) < 0) {
        return -1;
    }
    if (options->isolate && outcome->machine->settings.idle != IDLE_ISOLATE) {
        return error_set(&outcome->err, STATUS_INVALID,
                         "the links of cards without owner are not to be cut: set idle = isolate in [policy]");
    }
    return manual_reset(outcome->machine, options->force, options->dry_run, &outcome->report, &outcome->err);
}

static void reset_print_json(const struct manual_outcome *outcome)
{
    struct json_object *object = manual_begin_json(outcome, "icn-hook/reset/1");
    struct json_object *ended = json_put_array(object, "ended");
    for (size_t i = 0; i < outcome->report.groups.count; i++) {
        json_object_array_add(ended, json_object_new_string(outcome->report.groups.items[i].name));
    }
    manual_put_parties(object, "exposed", outcome, &outcome->report.exposed, CARDS_BY_ID);
    manual_end_json(outcome, object);
}

/* A refusal names them itself. */
static void reset_name_exposed(const struct manual_outcome *outcome)
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
    struct manual_outcome outcome;
    outcome.failed = reset_host(&outcome, options) < 0;
    reset_name_exposed(&outcome);
    if (options->json) {
        reset_print_json(&outcome);
    } else {
        manual_print_groups(&outcome, options->dry_run ? "would be ended" : "is ended");
        manual_print_rest(&outcome);
        if (!outcome.failed && !options->dry_run) {
            bool isolates = outcome.machine->settings.idle == IDLE_ISOLATE;
            printf("Every card that could be reached has its links %s.\n", isolates ? "cut" : "back");
        }
    }
    return manual_outcome_close(&outcome);
}
