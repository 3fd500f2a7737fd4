/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/topology_verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/paths.h"
#include "cli/json.h"
#include "cli/output.h"
#include "engine/generation.h"
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

int topo_validate(const struct options *options)
{
    CLEANUP_FREE struct topology *topology = memory_alloc(1, sizeof *topology);
    struct text_list warnings = {0};
    struct output output;
    struct error err;
    bool is_valid = topo_load(options->validate, topology, &err) == 0;
    output_open(&output, options);
    if (is_valid) {
        topo_compare_with_host(options, topology, &warnings);
        topo_warn(&warnings);
    } else {
        fprintf(stderr, "icn-hook: %s\n", err.text);
    }
    if (options->json) {
        topo_print_validation(&output, is_valid ? topology : NULL, is_valid ? NULL : err.text, &warnings);
    } else if (is_valid) {
        fprintf(output.stream, "%s: valid, %d cards, %d links\n",
                strcmp(options->validate, "-") == 0 ? "standard input" : options->validate, topology->ppu_count,
                topo_count_links(topology));
    }
    text_list_free(&warnings);
    return output_close(&output, is_valid ? STATUS_OK : (int)err.status);
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

int topo_generate(const struct options *options)
{
    struct machine *machine;
    struct error err;
    if (machine_open(options->config, &machine, &err) < 0) {
        fprintf(stderr, "icn-hook: %s\n", err.text);
        return (int)err.status;
    }
    int result = topo_write(options, machine, &err);
    if (result < 0) {
        fprintf(stderr, "icn-hook: %s\n", err.text);
    }
    machine_close(machine);
    return result < 0 ? (int)err.status : STATUS_OK;
}
