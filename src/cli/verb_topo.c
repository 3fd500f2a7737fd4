/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/commands.h"
#include "cli/view.h"
#include "cli/json.h"
#include "cli/output.h"
#include "cli/topology_verbs.h"
#include "cli/verbs.h"
#include "engine/verdict.h"

static bool is_unread(const struct pair *pair)
{
    return pair->verdict == VERDICT_UNSEEN || pair->verdict == VERDICT_UNSURE;
}

static const char *state_text(const struct pair *pair)
{
    if (pair->verdict == VERDICT_LEAK) {
        return "leak";
    }
    if (is_unread(pair)) {
        return "unknown";
    }
    return pair->open == pair->wired ? "open" : pair->open == 0 ? "cut" : "partly";
}

static void topo_put_ends(const struct view *view, int ppu, int peer, struct json_object *array)
{
    for (int link = 0; link < LINK_MAX; link++) {
        if (view->machine->topology.peer[ppu][link] == peer) {
            struct json_object *end = json_object_new_object();
            json_put_number(end, "ppu", ppu);
            json_put_number(end, "link", link);
            json_object_array_add(array, end);
        }
    }
}

static void topo_put_pair(const struct view *view, int a, int b, struct json_object *array)
{
    struct pair pair = pair_look(&view->inspection, a, b);
    if (pair.wired == 0) {
        return;
    }
    struct json_object *object = json_object_new_object();
    json_put_number(object, "a", a);
    json_put_number(object, "b", b);
    struct json_object *ends = json_put_array(object, "links");
    topo_put_ends(view, a, b, ends);
    topo_put_ends(view, b, a, ends);
    json_put_number(object, "wired", pair.wired);
    json_put_known_number(object, "open", is_unread(&pair) ? -1 : pair.open);
    json_put_text(object, "state", state_text(&pair));
    json_put_bool(object, "allowed", pair.allowed);
    json_object_array_add(array, object);
}

static void topo_put_card(const struct view *view, int ppu, struct json_object *array)
{
    const struct snapshot *snapshot = view->inspection.snapshot;
    const struct card *card = &snapshot->cards[ppu];
    bool is_mapped = view->machine->mapped[ppu];
    bool is_present = is_mapped && card->state.present;
    char bdf[BDF_TEXT_SIZE];
    struct json_object *object = json_object_new_object();
    json_put_number(object, "ppu", ppu);
    json_put_text(object, "bdf", is_mapped ? bdf_format(view->machine->card[ppu], bdf) : NULL);
    json_put_bool(object, "present", is_present);
    json_put_text(object, "driver", card->state.driver[0] ? card->state.driver : NULL);
    json_put_known_number(object, "numa_node", is_present ? card->state.numa_node : -1);
    json_put_known_number(object, "iommu_group", is_present ? card->state.iommu_group : -1);
    struct json_object *owners = json_put_array(object, "owners");
    for (size_t i = 0; i < snapshot->claim_count; i++) {
        if (snapshot->claims[i].ppu == ppu) {
            json_object_array_add(owners, json_object_new_string(snapshot->tenants[snapshot->claims[i].tenant].name));
        }
    }
    if (card->unknown_holder) {
        json_object_array_add(owners, json_object_new_string("unknown"));
    }
    json_object_array_add(array, object);
}

static void topo_print_json(const struct view *view, FILE *stream)
{
    int count = view->machine->topology.ppu_count;
    struct json_object *object = json_object_new_object();
    json_put_text(object, "schema", "icn-hook/topo/1");
    struct json_object *ppus = json_put_array(object, "ppus");
    for (int ppu = 0; ppu < count; ppu++) {
        topo_put_card(view, ppu, ppus);
    }
    struct json_object *pairs = json_put_array(object, "pairs");
    for (int a = 0; a < count; a++) {
        for (int b = a + 1; b < count; b++) {
            topo_put_pair(view, a, b, pairs);
        }
    }
    json_write(stream, object);
}

static int topo_show(const struct options *options)
{
    struct output output;
    struct view view;
    int status = view_open(&view, options);
    if (status != STATUS_OK) {
        return status;
    }
    output_open(&output, options);
    if (options->json) {
        topo_print_json(&view, output.stream);
    } else if (options->dot) {
        graph_print(&view, output.stream);
    } else {
        matrix_print(&view, &output);
        if (!view_is_fine(&view)) {
            output_line(&output, COLOUR_RED, "NOT ISOLATED: see icn-hook status");
        }
    }
    view_close(&view);
    return output_close(&output, status);
}

int verb_topo(const struct options *options)
{
    if ((options->generate && options->validate) || ((options->generate || options->validate) && options->dot)) {
        return command_usage_error("one of --generate, --validate and --dot goes with", "topo");
    }
    if (options->dot && options->json) {
        return command_usage_error("one of --json and --dot, not both, goes with", "topo");
    }
    if (options->validate) {
        return topo_validate(options);
    }
    return options->generate ? topo_generate(options) : topo_show(options);
}
