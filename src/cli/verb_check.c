/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "cli/json.h"
#include "cli/verb_check_list.h"
#include "cli/verbs.h"
#include "cli/view.h"

void verb_check_put_drift(const struct inspection *inspection, struct json_object *drift, int ppu)
{
    if (inspection_drifts(inspection, ppu)) {
        struct json_object *entry = json_object_new_object();
        json_put_number(entry, "ppu", ppu);
        json_put_mask(entry, "mask", inspection->snapshot->cards[ppu].reading.mask);
        json_put_mask(entry, "required", inspection_required(inspection, ppu));
        json_object_array_add(drift, entry);
    }
}

static void check_print_json(const struct view *view, bool ok)
{
    struct json_object *object = json_object_new_object();
    json_put_text(object, "schema", "icn-hook/check/1");
    json_put_bool(object, "ok", ok);
    view_put_leaks(view, object);
    struct json_object *drift = json_put_array(object, "drift");
    for (int ppu = 0; ppu < view->machine->topology.ppu_count; ppu++) {
        verb_check_put_drift(&view->inspection, drift, ppu);
    }
    json_put_array(object, "groups");
    json_put_list(object, "findings", &view->findings);
    json_print(object);
}

static void check_print_text(const struct view *view, bool ok)
{
    for (size_t i = 0; i < view->findings.count; i++) {
        puts(view->findings.items[i]);
    }
    if (ok) {
        puts("OK: no leak is known, and no readable card lacks a cut");
        return;
    }
    printf("FAILED: pairs of cards that leak: %d; cards that lack cuts: %d%s\n", view->leaks, view->drifts,
           view->in_doubt ? "; not every owner is known" : "");
}

int verb_check(const struct options *options)
{
    bool ok = false;
    if (options->argument) {
        return verb_check_list(options);
    }
    int status = view_show(options, check_print_json, check_print_text, &ok);
    return status == STATUS_OK && !ok ? STATUS_CHECK_FAILED : status;
}
