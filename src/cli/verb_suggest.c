/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/json.h"
#include "cli/verbs.h"
#include "engine/suggest.h"

struct answer {
    const struct options *options;
    uint64_t wanted;
    int numa_node;
    struct session session;
    struct suggestion suggestion;
};

static bool parse_decimal(const char *text, uint64_t max, uint64_t *number)
{
    return text[strspn(text, "0123456789")] == '\0' && text_parse_number(text, max, number);
}

static int next_chosen(const struct answer *answer, int ppu)
{
    do {
        ppu++;
    } while (ppu < answer->session.machine->topology.ppu_count && !answer->suggestion.choice.chosen[ppu]);
    return ppu < answer->session.machine->topology.ppu_count ? ppu : -1;
}

static void suggest_print_json(const struct answer *answer)
{
    const struct suggestion *suggestion = &answer->suggestion;
    struct json_object *object = json_object_new_object();
    json_put_text(object, "schema", "icn-hook/suggest/1");
    struct json_object *ppus = json_put_array(object, "ppus");
    for (int ppu = next_chosen(answer, -1); ppu >= 0; ppu = next_chosen(answer, ppu)) {
        struct json_object *entry = json_object_new_object();
        char bdf[BDF_TEXT_SIZE];
        json_put_number(entry, "ppu", ppu);
        json_put_text(entry, "bdf", bdf_format(answer->session.machine->card[ppu], bdf));
        json_object_array_add(ppus, entry);
    }
    json_put_number(object, "links", suggestion->choice.links);
    json_put_number(object, "stranded", suggestion->choice.stranded);
    struct json_object *nodes = json_put_array(object, "numa_nodes");
    for (int i = 0; i < suggestion->node_count; i++) {
        json_object_array_add(nodes, json_object_new_int(suggestion->nodes[i]));
    }
    json_put_bool(object, "exact", suggestion->choice.exact);
    json_put_bool(object, "connected", suggestion->connected);
    json_put_warnings(object, &answer->session.notes, NULL);
    json_print(object);
}

static void suggest_print_warnings(const struct answer *answer, FILE *stream, const char *prefix)
{
    for (size_t i = 0; i < answer->session.notes.count; i++) {
        fprintf(stream, "%swarning: %s\n", prefix, answer->session.notes.items[i].text);
    }
}

const char *verb_hostdev(struct bdf bdf, char text[HOSTDEV_SIZE])
{
    snprintf(text, HOSTDEV_SIZE,
             "<hostdev mode='subsystem' type='pci' managed='yes'><source><address domain='0x%04x' bus='0x%02x' "
             "slot='0x%02x' function='0x%x'/></source></hostdev>",
             bdf.domain, bdf.bus, bdf.slot, bdf.function);
    return text;
}

/* `virsh attach-device` takes one device from a file, so each has a line of
 * its own: a loop of the shell hands them over one by one. */
static void suggest_print_xml(const struct answer *answer)
{
    for (int ppu = next_chosen(answer, -1); ppu >= 0; ppu = next_chosen(answer, ppu)) {
        char text[HOSTDEV_SIZE];
        puts(verb_hostdev(answer->session.machine->card[ppu], text));
    }
    suggest_print_warnings(answer, stderr, "icn-hook: ");
}

static void suggest_print_text(const struct answer *answer)
{
    const struct choice *choice = &answer->suggestion.choice;
    char card[CARD_TEXT_SIZE];
    for (int ppu = next_chosen(answer, -1); ppu >= 0; ppu = next_chosen(answer, ppu)) {
        printf("%s%s", machine_card_text(answer->session.machine, ppu, card),
               next_chosen(answer, ppu) >= 0 ? ", " : "\n");
    }
    printf("links among them: %d\n", choice->links);
    printf("links to other idle cards that would be lost: %d\n", choice->stranded);
    printf("NUMA nodes: ");
    for (int i = 0; i < answer->suggestion.node_count; i++) {
        printf("%s%d", i > 0 ? ", " : "", answer->suggestion.nodes[i]);
    }
    bool some_unknown = answer->suggestion.node_count < answer->suggestion.choice.numa_nodes;
    printf("%s%s\n", some_unknown && answer->suggestion.node_count > 0 ? ", " : "", some_unknown ? "unknown" : "");
    puts(choice->exact ? "compared all choices: this is the best"
                       : "the best choice found; there are too many to compare them all");
    suggest_print_warnings(answer, stdout, "");
}

int verb_read_choice(const struct options *options, const char *count, uint64_t *wanted, int *numa_node,
                     struct error *err)
{
    uint64_t node = 0;
    if (!parse_decimal(count, UINT64_MAX, wanted) || *wanted == 0) {
        return command_usage_error(err, "the number of cards must be 1 or more, not '%s'", count);
    }
    if (options->numa && !parse_decimal(options->numa, INT_MAX, &node)) {
        return command_usage_error(err, "--numa takes the number of a node, not '%s'", options->numa);
    }
    *numa_node = options->numa ? (int)node : ANY_NODE;
    return 0;
}

int verb_suggest(const struct options *options, struct error *err)
{
    struct answer answer = {.options = options};
    if (verb_read_choice(options, options->argument, &answer.wanted, &answer.numa_node, err) < 0) {
        return -1;
    }
    if (options->json && options->xml) {
        return command_usage_error(err, "suggest takes --json or --xml, not both");
    }
    int result = session_start(&answer.session, options->config, SESSION_LOOK, err);
    if (result == 0) {
        session_unlock(&answer.session);
        result = suggest_make(&answer.suggestion, &answer.session, answer.wanted, answer.numa_node, err);
    }
    if (result == 0) {
        (options->json ? suggest_print_json : options->xml ? suggest_print_xml : suggest_print_text)(&answer);
    }
    session_close(&answer.session);
    return result;
}
