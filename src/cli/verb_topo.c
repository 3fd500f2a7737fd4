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
#include "engine/topology_make.h"
#include "host/topology_file.h"

enum { FILE_LIMIT = 4 << 20 };

struct topo_counts {
    int links; /* between two cards */
    int external;
};

static struct topo_counts topo_count_links(const struct topology *topology)
{
    int ends = 0;
    int external = 0;
    for (int ppu = 0; ppu < topology->ppu_count; ppu++) {
        ends += __builtin_popcount(topology_links(topology, ppu));
        external += __builtin_popcount(topology_external(topology, ppu));
    }
    return (struct topo_counts){.links = (ends - external) / 2, .external = external};
}

/* "8 cards, 16 links", or "8 cards, 16 links, 2 external links" */
enum { COUNTS_TEXT_SIZE = 80 };
static const char *topo_counts_text(const struct topology *topology, char text[COUNTS_TEXT_SIZE])
{
    struct topo_counts counts = topo_count_links(topology);
    int length = snprintf(text, COUNTS_TEXT_SIZE, "%d cards, %d links", topology->ppu_count, counts.links);
    if (counts.external > 0) {
        snprintf(text + length, COUNTS_TEXT_SIZE - (size_t)length, ", %d external link%s", counts.external,
                 counts.external > 1 ? "s" : "");
    }
    return text;
}

/* Where links were down when the file was written, a card may have none. */
static void topo_warn_of_cards_without_links(const struct topology *topology, struct text_list *warnings)
{
    for (int ppu = 0; topology->ppu_count > 1 && ppu < topology->ppu_count; ppu++) {
        if (topology_links(topology, ppu) == 0) {
            text_list_add(warnings, "PPU %d has no link; if it has links in truth, they will not be cut", ppu);
        }
    }
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
    struct topo_counts counts = {.links = UNKNOWN_NUMBER, .external = UNKNOWN_NUMBER};
    if (topology) {
        counts = topo_count_links(topology);
    }
    json_put_known_number(object, "links", counts.links);
    json_put_known_number(object, "external", counts.external);
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
        topo_warn_of_cards_without_links(topology, &warnings);
        topo_compare_with_host(options, topology, &warnings);
        topo_warn(&warnings);
    } else {
        fprintf(stderr, "icn-hook: %s\n", fault.text);
    }
    if (options->json) {
        struct json_object *object = json_object_new_object();
        json_put_text(object, "schema", "icn-hook/validate/1");
        json_put_bool(object, "ok", is_valid);
        topo_put_counts(object, is_valid ? topology : NULL);
        json_put_text(object, "error", is_valid ? NULL : fault.text);
        json_put_list(object, "warnings", &warnings);
        json_write(output.stream, object);
    } else if (is_valid) {
        char counts[COUNTS_TEXT_SIZE];
        fprintf(output.stream, "%s: valid, %s\n",
                strcmp(options->validate, "-") == 0 ? "standard input" : options->validate,
                topo_counts_text(topology, counts));
    }
    text_list_free(&warnings);
    if (output_close(&output, err) < 0) {
        return -1;
    }
    return is_valid ? STATUS_OK : (int)fault.status;
}

static int topo_generate(const struct options *options, struct error *err)
{
    CLEANUP_FREE struct topology_made *made = memory_alloc(1, sizeof *made);
    struct machine *machine;
    if (machine_open(options->config, &machine, err) < 0) {
        return -1;
    }
    CLEANUP_FREE char *usual = paths_resolve("%s", machine->settings.topology);
    machine_close(machine);
    if (topology_make(options->config, made, err) < 0) {
        return -1;
    }
    const char *path = options->output ? options->output : usual; /* the file to be replaced */
    int result = output_replace_file(path, made->text.data, made->text.length, err);
    char counts[COUNTS_TEXT_SIZE];
    topo_counts_text(&made->topology, counts);
    verb_log_result("topo", EVENT_TOPOLOGY, NULL, result < 0 ? err : NULL, "%s written: %s", path, counts);
    if (result == 0) {
        topo_warn_of_cards_without_links(&made->topology, &made->warnings);
        topo_warn(&made->warnings);
        if (options->json) {
            struct json_object *object = json_object_new_object();
            json_put_text(object, "schema", "icn-hook/generate/1");
            json_put_text(object, "file", path);
            topo_put_counts(object, &made->topology);
            json_put_list(object, "warnings", &made->warnings);
            json_print(object);
        } else {
            printf("%s: written, %s\n", path, counts);
        }
    }
    topology_made_free(made);
    return result;
}

static const char *topo_state_text(const struct pair *pair)
{
    if (pair->verdict == VERDICT_LEAK) {
        return "leak";
    }
    if (pair->verdict == VERDICT_GATED) {
        return "cut";
    }
    if (!pair->is_read) {
        return "unknown";
    }
    return pair->open == pair->wired ? "open" : pair->open == 0 ? "cut" : "partly";
}

static void topo_put_ends(const struct session *session, int ppu, int peer, struct json_object *array)
{
    for (int link = 0; link < LINK_MAX; link++) {
        if (session->machine->topology.peer[ppu][link] == peer) {
            struct json_object *end = json_object_new_object();
            json_put_number(end, "ppu", ppu);
            json_put_number(end, "link", link);
            json_object_array_add(array, end);
        }
    }
}

/* The links between two cards, or, with B EXTERNAL_PEER, the external ones of one. */
static void topo_put_pair(const struct session *session, int a, int b, struct json_object *array)
{
    struct pair pair = pair_look(session, a, b);
    if (pair.wired == 0) {
        return;
    }
    struct json_object *object = json_object_new_object();
    if (b == EXTERNAL_PEER) {
        json_put_number(object, "ppu", a);
    } else {
        json_put_number(object, "a", a);
        json_put_number(object, "b", b);
    }
    struct json_object *ends = json_put_array(object, "links");
    topo_put_ends(session, a, b, ends);
    if (b != EXTERNAL_PEER) {
        topo_put_ends(session, b, a, ends);
    }
    json_put_number(object, "wired", pair.wired);
    json_put_known_number(object, "open", pair.is_read ? pair.open : -1);
    json_put_text(object, "state", topo_state_text(&pair));
    json_put_bool(object, "allowed", pair.allowed);
    json_put_text(object, "evidence", verdict_evidence_text(pair.verdict));
    json_object_array_add(array, object);
}

static void topo_print_json(const struct session *session, FILE *stream)
{
    int count = session->machine->topology.ppu_count;
    struct json_object *object = json_object_new_object();
    json_put_text(object, "schema", "icn-hook/topo/1");
    struct json_object *ppus = json_put_array(object, "ppus");
    for (int ppu = 0; ppu < count; ppu++) {
        if (session->left_out[ppu]) {
            continue;
        }
        const struct card *card = &session->cards[ppu];
        bool is_mapped = session->machine->mapped[ppu];
        bool is_present = is_mapped && card->state.present;
        char bdf[BDF_TEXT_SIZE];
        struct json_object *entry = json_object_new_object();
        json_put_number(entry, "ppu", ppu);
        json_put_text(entry, "bdf", is_mapped ? bdf_format(session->machine->card[ppu], bdf) : NULL);
        json_put_bool(entry, "present", is_present);
        json_put_text(entry, "driver", card->state.driver[0] ? card->state.driver : NULL);
        json_put_known_number(entry, "numa_node", is_present ? card->state.numa_node : -1);
        json_put_known_number(entry, "iommu_group", is_present ? card->state.iommu_group : -1);
        struct json_object *owners = json_put_array(entry, "owners");
        for (size_t i = 0; i < session->owners.holding_count; i++) {
            const struct owner *owner = &session->owners.items[session->owners.holdings[i].owner];
            if (session->owners.holdings[i].ppu == ppu) {
                const char *name = owner->kind == OWNER_KIND_STRANGER ? "unknown" : owner->name;
                json_object_array_add(owners, json_object_new_string(name));
            }
        }
        json_object_array_add(ppus, entry);
    }
    struct json_object *pairs = json_put_array(object, "pairs");
    for (int a = 0; a < count; a++) {
        for (int b = a + 1; b < count; b++) {
            if (!session->left_out[a] || !session->left_out[b]) {
                topo_put_pair(session, a, b, pairs);
            }
        }
    }
    struct json_object *external = json_put_array(object, "external");
    for (int ppu = 0; ppu < count; ppu++) {
        if (!session->left_out[ppu]) {
            topo_put_pair(session, ppu, EXTERNAL_PEER, external);
        }
    }
    json_write(stream, object);
}

static int topo_show(const struct options *options, struct error *err)
{
    struct output output;
    struct session session;
    int result = view_open(&session, options, err);
    if (result == 0) {
        output_open(&output, options);
        if (options->json) {
            topo_print_json(&session, output.stream);
        } else if (options->dot) {
            graph_print(&session, output.stream);
        } else {
            enum status status = links_judge(&session);
            matrix_print(&session, &output);
            if (status == STATUS_UNVERIFIED) {
                output_line(&output, COLOUR_MAGENTA, "NOT VERIFIED: see icn-hook check");
            } else if (status != STATUS_OK) {
                output_line(&output, COLOUR_RED, "NOT ISOLATED: see icn-hook check");
            }
        }
        result = output_close(&output, err);
    }
    session_close(&session);
    return result;
}

int verb_topo(const struct options *options, struct error *err)
{
    if ((options->generate && options->validate) || ((options->generate || options->validate) && options->dot)) {
        return command_usage_error(err, "topo takes one of --generate, --validate and --dot");
    }
    if ((options->generate || options->validate) && options->argument) {
        return command_usage_error(err, "topo --%s takes no '%s'", options->generate ? "generate" : "validate",
                                   options->argument);
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
