/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "cli/commands.h"
#include "cli/preview.h"
#include "cli/verbs.h"

static void plan_print_json(const struct preview *preview)
{
    struct json_object *object = json_object_new_object();
    json_put_text(object, "schema", "icn-hook/plan/1");
    preview_put_domain(preview, object);
    preview_put_plan(preview, object);
    json_print(object);
}

int verb_plan(const struct options *options)
{
    struct preview preview;
    if (!options->argument && !options->domain) {
        return command_usage_error("FILE|- must follow", "plan");
    }
    int status = preview_open(&preview, options);
    if (status == STATUS_OK) {
        if (preview.is_refused) {
            fprintf(stderr, "%s\n", preview.reason.text);
            status = (int)preview.reason.status;
        }
        (options->json ? plan_print_json : preview_print)(&preview);
    }
    preview_close(&preview);
    return status;
}
