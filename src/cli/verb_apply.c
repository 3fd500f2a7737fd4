/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/manual_output.h"
#include "cli/verbs.h"

static int apply_list(struct manual_outcome *outcome, const struct options *options)
{
    struct card_groups groups;
    if (manual_outcome_open(outcome, options) < 0 ||
        card_groups_parse(outcome->machine, options->argument, &groups, &outcome->err) < 0) {
        return -1;
    }
    return manual_apply(outcome->machine, &groups, options->names, options->name_count, options->dry_run,
                        &outcome->report, &outcome->err);
}

static void apply_print_json(const struct manual_outcome *outcome)
{
    struct json_object *object = manual_begin_json(outcome, "icn-hook/apply/1");
    manual_put_parties(object, "groups", outcome, &outcome->report.groups, CARDS_WITH_ADDRESS);
    manual_end_json(outcome, object);
}

int verb_apply(const struct options *options)
{
    struct manual_outcome outcome;
    outcome.failed = apply_list(&outcome, options) < 0;
    if (options->json) {
        apply_print_json(&outcome);
    } else {
        manual_print_groups(&outcome, options->dry_run ? "would be isolated" : "is isolated");
        manual_print_rest(&outcome);
    }
    return manual_outcome_close(&outcome);
}
