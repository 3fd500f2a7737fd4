/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/manual_output.h"

#include <inttypes.h>
#include <stdio.h>

int manual_outcome_open(struct manual_outcome *outcome, const struct options *options)
{
    *outcome = (struct manual_outcome){.options = options};
    if (machine_open(options->config, &outcome->machine, &outcome->err) < 0) {
        return -1;
    }
    return machine_survey(outcome->machine, &outcome->err);
}

struct json_object *manual_begin_json(const struct manual_outcome *outcome, const char *schema)
{
    struct json_object *object = json_object_new_object();
    json_put_text(object, "schema", schema);
    json_put_bool(object, "dry_run", outcome->options->dry_run);
    return object;
}

static void groups_put_address(const struct manual_outcome *outcome, struct json_object *entry, int ppu)
{
    char bdf[BDF_TEXT_SIZE];
    json_put_number(entry, "ppu", ppu);
    json_put_text(entry, "bdf", bdf_format(outcome->machine->card[ppu], bdf));
}

void manual_put_cards(struct json_object *object, const struct manual_outcome *outcome,
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

void manual_put_parties(struct json_object *object, const char *key, const struct manual_outcome *outcome,
                        const struct manual_parties *parties, enum card_form form)
{
    struct json_object *array = json_put_array(object, key);
    for (size_t i = 0; i < parties->count; i++) {
        const struct manual_party *party = &parties->items[i];
        struct json_object *entry = json_object_new_object();
        json_put_text(entry, "name", party->name);
        json_put_text(entry, "uuid", party->uuid[0] ? party->uuid : NULL);
        manual_put_cards(entry, outcome, party, form);
        json_object_array_add(array, entry);
    }
}

void manual_end_json(const struct manual_outcome *outcome, struct json_object *object)
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

void manual_print_groups(const struct manual_outcome *outcome, const char *is)
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

static void groups_print_writes(const struct manual_outcome *outcome)
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

void manual_print_rest(const struct manual_outcome *outcome)
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

int manual_outcome_close(struct manual_outcome *outcome)
{
    int status = outcome->failed ? (int)outcome->err.status : STATUS_OK;
    if (outcome->failed) {
        fprintf(stderr, "icn-hook: %s\n", outcome->err.text);
    }
    manual_report_free(&outcome->report);
    machine_close(outcome->machine);
    return status;
}
