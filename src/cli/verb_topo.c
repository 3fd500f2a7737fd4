/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/paths.h"
#include "cli/commands.h"
#include "cli/json.h"
#include "cli/output.h"
#include "cli/view.h"
#include "engine/generation.h"
#include "engine/verdict.h"
#include "host/topology_file.h"

enum { FILE_LIMIT = 4 << 20 };

/* Every link has two ends. */
static int topo_count_links(const struct topology *topology)
{
    int ends = 0;
    for (int ppu = 0; ppu < topology->ppu_count; ppu++) {
        ends += __builtin_popcount(topology_links(topology, ppu));
    }
    return ends / 2;
}

static void topo_warn(const struct text_list *warnings)
{
    for (size_t i = 0; i < warnings->count; i++) {
        fprintf(stderr, "icn-hook: warning: %s\n", warnings->items[i]);
    }
}

static int topo_load(const char *path, struct topology *topology, struct error *err)
{
    struct buffer text;
    if (strcmp(path, "-") != 0) {
        return topology_file_load(path, topology, err);
    }
    if (file_read_fd(STDIN_FILENO, "standard input", FILE_LIMIT, NO_DEADLINE, &text, err) < 0) {
        return -1;
    }
    int result = topology_file_parse(text.data, text.length, "standard input", topology, err);
    buffer_free(&text);
    return result;
}

/* The file is checked on any machine, under any configuration: nothing is said if
 * the cards cannot be found. */
static void topo_compare_with_host(const struct options *options, const struct topology *topology,
                                   struct text_list *warnings)
{
    struct machine *machine;
    struct error ignored;
    if (machine_open(options->config, &machine, &ignored) < 0) {
        return;
    }
    CLEANUP_FREE struct bdf *cards = NULL;
    size_t count;
    if (machine_list_cards(machine, &cards, &count, &ignored) == 0 && count != (size_t)topology->ppu_count) {
        text_list_add(warnings, "the topology has %d cards, but %zu match %s on this host", topology->ppu_count, count,
                      machine->settings.match);
    }
    machine_close(machine);
}

static void topo_put_counts(struct json_object *object, const struct topology *topology)
{
    json_put_known_number(object, "cards", topology ? topology->ppu_count : -1);
    json_put_known_number(object, "links", topology ? topo_count_links(topology) : -1);
}

static void topo_print_validation(const struct output *output, const struct topology *topology, const char *error,
                                  const struct text_list *warnings)
{
    struct json_object *object = json_object_new_object();
    json_put_text(object, "schema", "icn-hook/validate/1");
    json_put_bool(object, "ok", !error);
    topo_put_counts(object, topology);
    json_put_text(object, "error", error);
    json_put_list(object, "warnings", warnings);
    json_write(output->stream, object);
}

static int topo_validate(const struct options *options, struct error *err)
{
    CLEANUP_FREE struct topology *topology = memory_alloc(1, sizeof *topology);
    struct text_list warnings = {0};
    struct output output;
    struct error fault;
    bool is_valid = topo_load(options->validate, topology, &fault) == 0;
    output_open(&output, options);
    if (is_valid) {
        topo_compare_with_host(options, topology, &warnings);
        topo_warn(&warnings);
    } else {
        fprintf(stderr, "icn-hook: %s\n", fault.text);
    }
    if (options->json) {
        topo_print_validation(&output, is_valid ? topology : NULL, is_valid ? NULL : fault.text, &warnings);
    } else if (is_valid) {
        fprintf(output.stream, "%s: valid, %d cards, %d links\n",
                strcmp(options->validate, "-") == 0 ? "standard input" : options->validate, topology->ppu_count,
                topo_count_links(topology));
    }
    text_list_free(&warnings);
    if (output_close(&output, err) < 0) {
        return -1;
    }
    return is_valid ? STATUS_OK : (int)fault.status;
}

static void topo_report(const struct options *options, const char *path, const struct generation *generation)
{
    if (options->json) {
        struct json_object *object = json_object_new_object();
        json_put_text(object, "schema", "icn-hook/generate/1");
        json_put_text(object, "file", path);
        topo_put_counts(object, &generation->topology);
        json_put_list(object, "warnings", &generation->warnings);
        json_print(object);
    } else {
        printf("%s: written, %d cards, %d links\n", path, generation->topology.ppu_count,
               topo_count_links(&generation->topology));
    }
}

static int topo_write(const struct options *options, struct machine *machine, struct error *err)
{
    struct generation generation;
    CLEANUP_FREE char *usual = paths_resolve("%s", machine->settings.topology);
    const char *path = options->output ? options->output : usual;
    if (generation_make(machine, &generation, err) < 0) {
        return -1;
    }
    int result = output_replace_file(path, generation.text.data, generation.text.length, err);
    if (result == 0) {
        topo_warn(&generation.warnings);
        topo_report(options, path, &generation);
    }
    generation_free(&generation);
    return result;
}

static int topo_generate(const struct options *options, struct error *err)
{
    struct machine *machine;
    if (machine_open(options->config, &machine, err) < 0) {
        return -1;
    }
    int result = topo_write(options, machine, err);
    machine_close(machine);
    return result;
}

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

static int topo_show(const struct options *options, struct error *err)
{
    struct output output;
    struct view view;
    if (view_open(&view, options, err) < 0) {
        return -1;
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
    return output_close(&output, err);
}

int verb_topo(const struct options *options, struct error *err)
{
    if ((options->generate && options->validate) || ((options->generate || options->validate) && options->dot)) {
        return command_usage_error(err, "topo takes one of --generate, --validate and --dot");
    }
    if (options->dot && options->json) {
        return command_usage_error(err, "topo takes --json or --dot, not both");
    }
    if (options->output && !options->generate && !options->json && !options->dot) {
        return command_usage_error(err, "topo takes --output only with --generate, --json or --dot");
    }
    if (options->validate) {
        return topo_validate(options, err);
    }
    return options->generate ? topo_generate(options, err) : topo_show(options, err);
}
