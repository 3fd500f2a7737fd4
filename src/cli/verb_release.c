/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/manual_output.h"
#include "cli/verbs.h"

static int release_group(struct manual_outcome *outcome, const struct options *options)
{
    if (manual_outcome_open(outcome, options) < 0) {
        return -1;
    }
    return manual_release(outcome->machine, options->argument, options->dry_run, &outcome->report, &outcome->err);
}

static void release_print_json(const struct manual_outcome *outcome)
{
    struct json_object *object = manual_begin_json(outcome, "icn-hook/release/1");
    const struct manual_party *group = outcome->report.groups.count > 0 ? outcome->report.groups.items : NULL;
    json_put_text(object, "name", group ? group->name : outcome->options->argument);
    json_put_text(object, "uuid", group ? group->uuid : NULL);
    manual_put_cards(object, outcome, group, CARDS_WITH_ADDRESS);
    manual_end_json(outcome, object);
}

int verb_release(const struct options *options)
{
    struct manual_outcome outcome;
    outcome.failed = release_group(&outcome, options) < 0;
    if (options->json) {
        release_print_json(&outcome);
    } else {
        if (!outcome.failed) {
            manual_print_groups(&outcome, options->dry_run ? "would be released" : "is released");
        }
        manual_print_rest(&outcome);
    }
    return manual_outcome_close(&outcome);
}
