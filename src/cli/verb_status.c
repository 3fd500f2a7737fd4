/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <stdio.h>

#include "cli/view.h"
#include "cli/commands.h"
#include "cli/json.h"
#include "cli/output.h"
#include "cli/table.h"
#include "cli/verbs.h"
#include "engine/link_state.h"
#include "engine/verdict.h"

static void status_put_owners(const struct snapshot *snapshot, int ppu, struct json_object *array)
{
    for (size_t i = 0; i < snapshot->claim_count; i++) {
        if (snapshot->claims[i].ppu == ppu) {
            const struct tenant *tenant = &snapshot->tenants[snapshot->claims[i].tenant];
            struct json_object *owner = json_object_new_object();
            json_put_text(owner, "name", tenant->name);
            json_put_text(owner, "uuid", tenant->uuid);
            json_object_array_add(array, owner);
        }
    }
    if (snapshot->cards[ppu].unknown_holder) {
        struct json_object *owner = json_object_new_object();
        json_put_text(owner, "name", "unknown");
        json_put_text(owner, "uuid", NULL);
        json_object_array_add(array, owner);
    }
}

static void status_put_links(const struct inspection *inspection, int ppu, struct json_object *array)
{
    for (int link = 0; link < LINK_MAX; link++) {
        int peer = inspection->machine->topology.peer[ppu][link];
        if (peer == NO_PEER) {
            continue;
        }
        struct json_object *entry = json_object_new_object();
        json_put_number(entry, "link", link);
        json_put_number(entry, "peer", peer);
        json_put_end(entry, "near", link_near_end(inspection->snapshot, ppu, link));
        json_put_end(entry, "far", link_far_end(inspection->snapshot, ppu, link));
        json_put_live(entry, "live", link_live(inspection->snapshot, ppu, link));
        json_put_bool(entry, "allowed", link_may_be_open(inspection->owners[ppu], inspection->owners[peer]));
        json_object_array_add(array, entry);
    }
}

static struct json_object *status_card_object(const struct view *view, int ppu)
{
    const struct inspection *inspection = &view->inspection;
    const struct card *card = &inspection->snapshot->cards[ppu];
    struct json_object *entry = json_object_new_object();
    char bdf[BDF_TEXT_SIZE];
    bool mapped = view->machine->mapped[ppu];
    json_put_number(entry, "ppu", ppu);
    json_put_text(entry, "bdf", mapped ? bdf_format(view->machine->card[ppu], bdf) : NULL);
    json_put_bool(entry, "present", mapped && card->state.present);
    json_put_text(entry, "driver", card->state.driver[0] ? card->state.driver : NULL);
    json_put_bool(entry, "in_use", card->held);
    json_put_known_number(entry, "iommu_group", mapped && card->state.present ? card->state.iommu_group : -1);
    json_put_known_number(entry, "numa_node", mapped && card->state.present ? card->state.numa_node : -1);
    status_put_owners(inspection->snapshot, ppu, json_put_array(entry, "owners"));
    if (card->was_read && card->reading.kind == READING_FINE) {
        json_put_mask(entry, "mask", card->reading.mask);
    } else {
        json_put_text(entry, "mask", NULL);
    }
    json_put_mask(entry, "expected", inspection_expected(inspection, ppu));
    status_put_links(inspection, ppu, json_put_array(entry, "links"));
    return entry;
}

static void status_print_json(const struct view *view, bool ok, const struct output *output)
{
    struct json_object *object = json_object_new_object();
    json_put_text(object, "schema", "icn-hook/status/1");
    json_put_bool(object, "ok", ok);
    struct json_object *ppus = json_put_array(object, "ppus");
    for (int ppu = 0; ppu < view->machine->topology.ppu_count; ppu++) {
        json_object_array_add(ppus, status_card_object(view, ppu));
    }
    view_put_leaks(view, object);
    json_put_list(object, "findings", &view->findings);
    json_write(output->stream, object);
}

/* "1 -2 !3": the cards at the other ends, a sign before each. */
static void status_add_links(struct table *table, const struct inspection *inspection, int ppu, signs_used *used)
{
    bool is_first = true;
    table_add(table, COLOUR_PLAIN, "%s", "");
    for (int link = 0; link < LINK_MAX; link++) {
        int peer = inspection->machine->topology.peer[ppu][link];
        if (peer != NO_PEER) {
            enum verdict verdict = link_verdict(inspection, ppu, link);
            char text[sizeof "!-2147483648"];
            snprintf(text, sizeof text, "%.*s%d", verdict == VERDICT_OPEN ? 0 : 1, &signs[verdict].character, peer);
            table_append(table, COLOUR_PLAIN, is_first ? "" : " ");
            table_append(table, signs[verdict].colour, text);
            *used |= 1u << verdict;
            is_first = false;
        }
    }
}

static void status_add_card(struct table *table, const struct view *view, int ppu, signs_used *used)
{
    const struct card *card = &view->inspection.snapshot->cards[ppu];
    table_add(table, COLOUR_PLAIN, "%d", ppu);
    card_cells_add_place(table, view, ppu);
    if (card->was_read && card->reading.kind == READING_FINE) {
        table_add(table, COLOUR_PLAIN, "0x%08" PRIx32, card->reading.mask);
    } else {
        table_add(table, COLOUR_PLAIN, "unknown");
    }
    card_cells_add_owner(table, view, ppu);
    status_add_links(table, &view->inspection, ppu, used);
}

static void status_print_text(const struct view *view, bool ok, const struct output *output)
{
    signs_used used = 0;
    struct table table;
    table_open(&table, 4 + PLACE_CELLS);
    table.right[0] = table.right[3] = table.right[4] = true;
    table.shrinking = 6;
    table_add(&table, COLOUR_BOLD, "PPU");
    card_cells_add_place_titles(&table);
    table_add(&table, COLOUR_BOLD, "MASK");
    table_add(&table, COLOUR_BOLD, "OWNER");
    table_add(&table, COLOUR_BOLD, "LINKS");
    for (int ppu = 0; ppu < view->machine->topology.ppu_count; ppu++) {
        status_add_card(&table, view, ppu, &used);
    }
    table_print(&table, output);
    table_free(&table);
    sign_print_legend(output, "LINKS: the card at the other end, open", used);
    for (size_t i = 0; i < view->findings.count; i++) {
        fprintf(output->stream, "%s\n", view->findings.items[i]);
    }
    output_line(output, ok ? COLOUR_GREEN : COLOUR_RED, ok ? "No leak is known." : "NOT ISOLATED: see above.");
}

static int status_show(const struct view *view, const struct options *options, struct error *err)
{
    struct output output;
    bool ok = view_is_fine(view);
    output_open(&output, options);
    if (options->json) {
        status_print_json(view, ok, &output);
    } else if (options->prometheus) {
        prometheus_print(view, output.stream);
    } else {
        status_print_text(view, ok, &output);
    }
    return output_close(&output, err);
}

/* Metrics of the last look that succeeded would say that all is well for ever. */
static void status_report_down(const struct options *options)
{
    struct output output;
    struct error unused;
    output_open(&output, options);
    prometheus_print_down(output.stream);
    if (output_close(&output, &unused) < 0) {
        fprintf(stderr, "icn-hook: warning: %s\n", unused.text);
    }
}

int verb_status(const struct options *options, struct error *err)
{
    struct view view;
    if (options->json && options->prometheus) {
        return command_usage_error(err, "status takes --json or --prometheus, not both");
    }
    if (options->output && !options->json && !options->prometheus) {
        return command_usage_error(err, "status takes --output only with --json or --prometheus");
    }
    if (view_open(&view, options, err) < 0) {
        if (options->prometheus) {
            status_report_down(options);
        }
        return -1;
    }
    int result = status_show(&view, options, err);
    view_close(&view);
    return result;
}
