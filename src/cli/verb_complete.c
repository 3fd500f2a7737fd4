/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the shells' completion asks for.  One candidate a line:
 *   WORD <tab> VALUE <tab> DESCRIPTION
 * VALUE is what must follow a verb or an option, as help shows it; "-": nothing.
 * A person waits at the keyboard for something else: what cannot be looked at
 * is left out, without a word and without waiting for the lock.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/verbs.h"
#include "engine/session.h"

/* As many as Linux can be built for. */
enum { NODE_MAX = 1024 };

/* The host, as far as it can be looked at. */
struct host {
    struct session session;
    bool owners_are_known;
};

static bool is_one_word_of_a_line(const char *text)
{
    while (*text && !iscntrl((unsigned char)*text)) {
        text++;
    }
    return *text == '\0';
}

static void offer(const char *word, const char *value, const char *what)
{
    if (word[0] && is_one_word_of_a_line(word)) {
        printf("%s\t%s\t%s\n", word, value ? value : "-", is_one_word_of_a_line(what) ? what : "");
    }
}

/* The verb of that name, or for which the option of that name stands. */
static enum verb_id find_verb(const char *name)
{
    for (size_t i = 0; i < command_option_count; i++) {
        const struct option_row *row = &command_options[i];
        const char letter[] = {'-', row->letter, '\0'};
        bool is_named =
            strncmp(name, "--", 2) == 0 ? strcmp(name + 2, row->name) == 0 : row->letter && strcmp(name, letter) == 0;
        if (is_named && option_is_verb(row)) {
            return row->verb;
        }
    }
    return command_find_verb(name);
}

/* NAME: of a verb; none or an unknown one: all options. */
static void offer_options(const char *name)
{
    enum verb_id verb = find_verb(name);
    for (size_t i = 0; i < command_option_count; i++) {
        const struct option_row *row = &command_options[i];
        char word[40];
        if (!option_fits(row, verb) || (option_is_verb(row) && verb != VERB_NONE)) {
            continue;
        }
        snprintf(word, sizeof word, "--%s", row->name);
        offer(word, row->value, row->what);
        if (row->letter) {
            snprintf(word, sizeof word, "-%c", row->letter);
            offer(word, row->value, row->what);
        }
    }
}

static bool is_present(const struct host *host, int ppu, struct pci_state *state)
{
    if (!host->session.machine->mapped[ppu]) {
        return false;
    }
    sysfs_read_state(host->session.machine->card[ppu], state);
    return state->present;
}

static void offer_cards(const struct host *host)
{
    for (int ppu = 0; ppu < host->session.machine->topology.ppu_count; ppu++) {
        struct pci_state state;
        char id[12];
        char bdf[BDF_TEXT_SIZE];
        char owner[OWNER_TEXT_SIZE] = "";
        char what[OWNER_TEXT_SIZE + 40];
        if (!is_present(host, ppu, &state)) {
            continue;
        }
        snprintf(id, sizeof id, "%d", ppu);
        bdf_format(host->session.machine->card[ppu], bdf);
        if (host->owners_are_known) {
            owners_text(&host->session.owners, ppu, owner);
        }
        snprintf(what, sizeof what, "%s%s%s", bdf, owner[0] ? ", " : "", owner);
        offer(id, NULL, what);
        snprintf(what, sizeof what, "PPU %d%s%s", ppu, owner[0] ? ", " : "", owner);
        offer(bdf, NULL, what);
    }
}

static void offer_owners(const struct host *host, bool only_groups)
{
    const struct owners *owners = &host->session.owners;
    for (size_t i = 0; host->owners_are_known && i < owners->count; i++) {
        const struct owner *owner = &owners->items[i];
        bool is_group = owner->kind == OWNER_KIND_GROUP;
        int cards = 0;
        char what[48];
        for (size_t j = 0; j < owners->holding_count; j++) {
            cards += owners->holdings[j].owner == i;
        }
        if (cards > 0 && (is_group || (owner->kind == OWNER_KIND_VM && !only_groups))) {
            snprintf(what, sizeof what, "%s, %d card%s", is_group ? "group" : "VM", cards, cards > 1 ? "s" : "");
            offer(owner->name, NULL, what);
        }
    }
}

static void offer_nodes(const struct host *host)
{
    bool seen[NODE_MAX] = {false};
    for (int ppu = 0; ppu < host->session.machine->topology.ppu_count; ppu++) {
        struct pci_state state;
        char node[12];
        if (!is_present(host, ppu, &state)) {
            continue;
        }
        sysfs_read_place(host->session.machine->card[ppu], &state);
        if (state.numa_node >= 0 && state.numa_node < NODE_MAX && !seen[state.numa_node]) {
            seen[state.numa_node] = true;
            snprintf(node, sizeof node, "%d", state.numa_node);
            offer(node, NULL, "NUMA node");
        }
    }
}

int verb_complete(const struct options *options, struct error *err)
{
    static const char options_of[] = "options:";
    const char *kind = options->argument;
    struct host host = {.session = {.state = STATE_CLOSED}};
    struct machine *machine = NULL;
    if (strcmp(kind, "verbs") == 0) {
        for (enum verb_id verb = 0; verb < VERB_COUNT; verb++) {
            if (!command_verbs[verb].hidden) {
                offer(command_verbs[verb].name, command_verbs[verb].argument, command_verbs[verb].what);
            }
        }
        return STATUS_OK;
    }
    if (strncmp(kind, options_of, strlen(options_of)) == 0) {
        offer_options(kind + strlen(options_of));
        return STATUS_OK;
    }
    if (machine_open(options->config, &machine, err) < 0 || machine_survey(machine, err) < 0) {
        machine_close(machine);
        return STATUS_OK;
    }
    machine->settings.lock_timeout = 0;
    host.owners_are_known = session_open(&host.session, machine, SESSION_LOOK, err) == 0;
    session_unlock(&host.session);
    if (strcmp(kind, "cards") == 0) {
        offer_cards(&host);
    } else if (strcmp(kind, "nodes") == 0) {
        offer_nodes(&host);
    } else if (strcmp(kind, "names") == 0 || strcmp(kind, "groups") == 0) {
        offer_owners(&host, strcmp(kind, "groups") == 0);
    }
    session_close(&host.session);
    return STATUS_OK;
}
