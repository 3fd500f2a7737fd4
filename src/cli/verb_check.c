/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/verbs.h"

#include <stdio.h>

#include "cli/json.h"
#include "cli/view.h"
#include "engine/group_check.h"

static void check_put_drift(const struct inspection *inspection, struct json_object *drift, int ppu)
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
        check_put_drift(&view->inspection, drift, ppu);
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

struct list_check {
    struct view view;
    struct card_groups groups;
    bool ok[PPU_MAX]; /* of each group */
    int failed;
    struct text_list findings;
};

/* For this check whoever is in a group owns his cards, and nobody else any. */
static void check_list_own(struct list_check *check)
{
    for (int ppu = 0; ppu < PPU_MAX; ppu++) {
        int group = check->groups.of[ppu];
        check->view.inspection.owners[ppu] = group == IN_NO_GROUP ? OWNER_IDLE : group + 1;
    }
}

static void check_list_run(struct list_check *check)
{
    check_list_own(check);
    for (int group = 0; group < check->groups.count; group++) {
        struct text_list faults = {0};
        group_check(check->view.inspection.snapshot, &check->groups, group, &faults, &check->findings);
        check->ok[group] = faults.count == 0;
        check->failed += faults.count > 0;
        for (size_t i = 0; i < faults.count; i++) {
            text_list_add(&check->findings, "%s", faults.items[i]);
        }
        text_list_free(&faults);
    }
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
        json_put_bool(entry, "ok", check->ok[group]);
        json_object_array_add(array, entry);
    }
}

static void check_list_print_json(const struct list_check *check)
{
    const struct inspection *inspection = &check->view.inspection;
    struct json_object *object = json_object_new_object();
    json_put_text(object, "schema", "icn-hook/check/1");
    json_put_bool(object, "ok", check->failed == 0);
    view_put_leaks(&check->view, object);
    struct json_object *drift = json_put_array(object, "drift");
    for (int ppu = 0; ppu < inspection->machine->topology.ppu_count; ppu++) {
        if (check->groups.of[ppu] != IN_NO_GROUP) {
            check_put_drift(inspection, drift, ppu);
        }
    }
    check_list_put_groups(check, object);
    json_put_list(object, "findings", &check->findings);
    json_print(object);
}

static void check_list_print_text(const struct list_check *check)
{
    for (size_t i = 0; i < check->findings.count; i++) {
        puts(check->findings.items[i]);
    }
    for (int group = 0; group < check->groups.count; group++) {
        printf("group ");
        for (int ppu = -1, next; (next = card_groups_next(&check->groups, group, ppu)) >= 0; ppu = next) {
            printf("%s%d", ppu >= 0 ? "," : "", next);
        }
        puts(check->ok[group] ? ": in force" : ": NOT in force");
    }
    if (check->failed == 0) {
        puts("OK: nothing leaves a group, and every group is whole");
    } else {
        printf("FAILED: groups that are not in force: %d\n", check->failed);
    }
}

static int check_list(const struct options *options, struct error *err)
{
    struct list_check check = {0};
    if (view_open(&check.view, options, err) < 0) {
        return -1;
    }
    int status = card_groups_parse(check.view.machine, options->argument, &check.groups, err);
    if (status == 0) {
        check_list_run(&check);
        (options->json ? check_list_print_json : check_list_print_text)(&check);
        status = check.failed == 0 ? STATUS_OK : STATUS_CHECK_FAILED;
    }
    text_list_free(&check.findings);
    view_close(&check.view);
    return status;
}

int verb_check(const struct options *options, struct error *err)
{
    struct view view;
    if (options->argument) {
        return check_list(options, err);
    }
    if (view_open(&view, options, err) < 0) {
        return -1;
    }
    bool ok = view_is_fine(&view);
    (options->json ? check_print_json : check_print_text)(&view, ok);
    view_close(&view);
    return ok ? STATUS_OK : STATUS_CHECK_FAILED;
}
