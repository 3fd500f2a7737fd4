/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/suggest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/vm_cards.h"

/* Why a card is not for a VM that takes it whole. */
enum { REASON_SIZE = OWNER_TEXT_SIZE + 32 };

struct offer {
    struct session *session;
    int numa_node;
    bool present[PPU_MAX]; /* on the host, and on the node that is asked for */
    int present_count;
    bool idle[PPU_MAX];
    int idle_count;
    bool has_functions[PPU_MAX]; /* virtual ones */
};

static void look_at_cards(struct offer *offer)
{
    const struct machine *machine = offer->session->machine;
    for (int ppu = 0; ppu < machine->topology.ppu_count; ppu++) {
        struct card *card = &offer->session->cards[ppu];
        if (offer->session->access == SESSION_CHANGE && machine->mapped[ppu] && card->state.present) {
            sysfs_read_place(machine->card[ppu], &card->state); /* which hooks have no use for */
        }
        bool is_on_node = offer->numa_node == ANY_NODE || card->state.numa_node == offer->numa_node;
        CLEANUP_FREE struct bdf *functions = NULL;
        size_t count = 0;
        if (!machine->mapped[ppu] || !card->state.present || !is_on_node) {
            continue;
        }
        sysfs_virtual_functions(machine->card[ppu], &functions, &count);
        offer->present[ppu] = true;
        offer->present_count++;
        offer->has_functions[ppu] = count > 0;
        offer->idle[ppu] = offer->session->owners.of[ppu] == OWNER_IDLE && !offer->has_functions[ppu] &&
                           machine->pins[ppu] != PIN_UNSURE;
        offer->idle_count += offer->idle[ppu];
    }
}

static void describe_obstacle(const struct offer *offer, int ppu, char text[REASON_SIZE])
{
    const struct owners *owners = &offer->session->owners;
    char owner[OWNER_TEXT_SIZE];
    if (owners->of[ppu] == OWNER_UNKNOWN) {
        snprintf(text, REASON_SIZE, "held open by an unknown process");
    } else if (owners->of[ppu] != OWNER_IDLE) {
        snprintf(text, REASON_SIZE, "owned by %s", owners_text(owners, ppu, owner));
    } else if (offer->session->machine->pins[ppu] == PIN_UNSURE) {
        snprintf(text, REASON_SIZE, "perhaps not the card in [map]");
    } else {
        snprintf(text, REASON_SIZE, "split into virtual functions");
    }
}

/* "; PPU 0-2 owned by a; PPU 5 owned by b": the cards that are there but not idle. */
static void list_obstacles(const struct offer *offer, char *text, size_t size)
{
    const struct machine *machine = offer->session->machine;
    int count = machine->topology.ppu_count;
    bool told[PPU_MAX] = {false};
    size_t used = 0;
    text[0] = '\0';
    for (int first = 0; first < count && used < size; first++) {
        bool same[PPU_MAX] = {false};
        char ids[IDS_TEXT_SIZE];
        char reason[REASON_SIZE];
        if (!offer->present[first] || offer->idle[first] || told[first]) {
            continue;
        }
        describe_obstacle(offer, first, reason);
        for (int ppu = first; ppu < count; ppu++) {
            char other[REASON_SIZE];
            if (offer->present[ppu] && !offer->idle[ppu]) {
                describe_obstacle(offer, ppu, other);
                same[ppu] = strcmp(other, reason) == 0;
                told[ppu] |= same[ppu];
            }
        }
        used += (size_t)snprintf(text + used, size - used, "; PPU %s %s", machine_ids_text(machine, same, ids), reason);
    }
}

/* "NUMA node 0", or "this host". */
static const char *place_text(const struct offer *offer, char text[32])
{
    snprintf(text, 32, offer->numa_node == ANY_NODE ? "this host" : "NUMA node %d", offer->numa_node);
    return text;
}

static int check_node(const struct offer *offer, struct error *err)
{
    const struct session *session = offer->session;
    bool all[PPU_MAX];
    int nodes[PPU_MAX];
    char list[256] = "";
    size_t used = 0;
    if (offer->numa_node == ANY_NODE || offer->present_count > 0) {
        return 0;
    }
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        all[ppu] = session->cards[ppu].state.present;
    }
    int count = suggest_nodes(session, all, nodes);
    for (int i = 0; i < count && used < sizeof list; i++) {
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%d", i > 0 ? ", " : "", nodes[i]);
    }
    return error_set(err, STATUS_INVALID, "no PPU is on NUMA node %d; nodes with PPUs: %s", offer->numa_node,
                     count > 0 ? list : "none is known");
}

static int check_number(const struct offer *offer, uint64_t wanted, struct error *err)
{
    char place[32];
    char obstacles[1024];
    if (wanted > (uint64_t)offer->present_count) {
        return error_set(err, STATUS_INVALID, "%s has %d PPUs, not %" PRIu64, place_text(offer, place),
                         offer->present_count, wanted);
    }
    if (wanted > (uint64_t)offer->idle_count) {
        list_obstacles(offer, obstacles, sizeof obstacles);
        return error_set(err, STATUS_CONFLICT, "%d of the %d PPUs of %s are idle, not %" PRIu64 "%s", offer->idle_count,
                         offer->present_count, place_text(offer, place), wanted, obstacles);
    }
    return 0;
}

static void choose(struct suggestion *suggestion, const struct offer *offer, int count)
{
    const struct machine *machine = offer->session->machine;
    int numa_nodes[PPU_MAX];
    int16_t part[PPU_MAX];
    for (int ppu = 0; ppu < machine->topology.ppu_count; ppu++) {
        numa_nodes[ppu] = offer->session->cards[ppu].state.numa_node;
    }
    const struct choice_request request = {
        .topology = &machine->topology,
        .available = offer->idle,
        .numa_node = numa_nodes,
        .count = count,
        .budget = CHOICE_BUDGET,
    };
    choice_make(&suggestion->choice, &request);
    suggestion->connected = topology_parts(&machine->topology, suggestion->choice.chosen, part) == 1;
    suggestion->node_count = suggest_nodes(offer->session, suggestion->choice.chosen, suggestion->nodes);
}

static void note_split_cards(const struct offer *offer)
{
    struct session *session = offer->session;
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        char card[CARD_TEXT_SIZE];
        if (offer->has_functions[ppu] && session->owners.of[ppu] == OWNER_IDLE) {
            notes_add(&session->notes, NOTE_WARNING, NOTE_ADVICE, ppu, NULL,
                      "%s is idle but split into virtual functions, so it cannot be passed whole; write 0 into its "
                      "sriov_numvfs to have it offered",
                      machine_card_text(session->machine, ppu, card));
        }
    }
}

int suggest_make(struct suggestion *suggestion, struct session *session, uint64_t wanted, int numa_node,
                 struct error *err)
{
    struct offer offer = {.session = session, .numa_node = numa_node};
    const struct error *doubt = session_doubt(session, "");
    if (doubt) {
        *err = *doubt;
        return error_wrap(err, "not every owner is known, so no card can be offered");
    }
    look_at_cards(&offer);
    if (check_node(&offer, err) < 0 || check_number(&offer, wanted, err) < 0) {
        return -1;
    }
    *suggestion = (struct suggestion){0};
    choose(suggestion, &offer, (int)wanted);
    vm_cards_advise_links(session->machine, suggestion->choice.chosen, WITHOUT_HINT, &session->notes);
    suggest_advise_nodes(session, suggestion->choice.chosen, &session->notes);
    note_split_cards(&offer);
    return 0;
}

/* Puts NODE among COUNT ascending ones, unless it is there; returns their number. */
static int insert_node(int nodes[], int count, int node)
{
    int place = count;
    while (place > 0 && nodes[place - 1] > node) {
        place--;
    }
    if (place > 0 && nodes[place - 1] == node) {
        return count;
    }
    memmove(&nodes[place + 1], &nodes[place], (size_t)(count - place) * sizeof nodes[0]);
    nodes[place] = node;
    return count + 1;
}

int suggest_nodes(const struct session *session, const bool set[], int nodes[])
{
    int count = 0;
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        if (set[ppu] && session->cards[ppu].state.numa_node >= 0) {
            count = insert_node(nodes, count, session->cards[ppu].state.numa_node);
        }
    }
    return count;
}

void suggest_advise_nodes(struct session *session, const bool set[], struct notes *notes)
{
    int nodes[PPU_MAX];
    bool members[PPU_MAX];
    char ids[IDS_TEXT_SIZE];
    char list[6 * IDS_TEXT_SIZE] = "";
    size_t used = 0;
    int count = suggest_nodes(session, set, nodes);
    for (int i = 0; i < count; i++) {
        for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
            members[ppu] = set[ppu] && session->cards[ppu].state.numa_node == nodes[i];
        }
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s on node %d", i > 0 ? ", " : "",
                                 machine_ids_text(session->machine, members, ids), nodes[i]);
    }
    if (count > 1) {
        notes_add(notes, NOTE_WARNING, NOTE_ADVICE, -1, NULL, "the VM's PPUs are on different NUMA nodes: %s", list);
    }
}
