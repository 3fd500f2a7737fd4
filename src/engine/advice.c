/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/advice.h"

#include <stdio.h>
#include <string.h>

const char *advice_ids_text(const struct machine *machine, const bool set[], char text[IDS_TEXT_SIZE])
{
    int count = machine->topology.ppu_count;
    size_t used = 0;

    text[0] = '\0';
    for (int first = 0; first < count; first++) {
        int last = first;
        if (!set[first]) {
            continue;
        }
        while (last + 1 < count && set[last + 1]) {
            last++;
        }
        used += (size_t)snprintf(text + used, IDS_TEXT_SIZE - used, "%s%d", used > 0 ? "," : "", first);
        if (last > first) {
            used += (size_t)snprintf(text + used, IDS_TEXT_SIZE - used, "%s%d", last > first + 1 ? "-" : ",", last);
        }
        first = last;
    }
    return text;
}

static int count_cards(const struct machine *machine, const bool set[])
{
    int count = 0;

    for (int ppu = 0; ppu < machine->topology.ppu_count; ppu++) {
        count += set[ppu];
    }
    return count;
}

void advice_on_parts(const struct machine *machine, const bool taken[], enum hint hint, struct text_list *warnings)
{
    char remedy[96] = "";
    int16_t part[PPU_MAX];
    bool set[PPU_MAX];
    char ids[IDS_TEXT_SIZE];
    char parts[2 * IDS_TEXT_SIZE] = ""; /* every id once, and what separates them */
    size_t used = 0;
    int count = topology_parts(&machine->topology, taken, part);

    for (int i = 0; i < count; i++) {
        for (int ppu = 0; ppu < machine->topology.ppu_count; ppu++) {
            set[ppu] = part[ppu] == i;
        }
        used += (size_t)snprintf(parts + used, sizeof parts - used, "%s%s", i > 0 ? " | " : "",
                                 advice_ids_text(machine, set, ids));
    }
    if (hint == WITH_HINT) {
        snprintf(remedy, sizeof remedy, "; icn-hook suggest %d shows the idle PPUs that are joined best",
                 count_cards(machine, taken));
    }
    if (count > 1) {
        text_list_add(warnings, "no link joins these PPUs of the VM with each other: %s%s", parts, remedy);
    }
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

int advice_nodes(const struct machine *machine, const struct snapshot *snapshot, const bool set[], int nodes[])
{
    int count = 0;

    for (int ppu = 0; ppu < machine->topology.ppu_count; ppu++) {
        if (set[ppu] && snapshot->cards[ppu].state.numa_node >= 0) {
            count = insert_node(nodes, count, snapshot->cards[ppu].state.numa_node);
        }
    }
    return count;
}

void advice_on_nodes(const struct machine *machine, const struct snapshot *snapshot, const bool taken[],
                     struct text_list *warnings)
{
    int nodes[PPU_MAX];
    bool set[PPU_MAX];
    char ids[IDS_TEXT_SIZE];
    char list[6 * IDS_TEXT_SIZE] = "";
    size_t used = 0;
    int count = advice_nodes(machine, snapshot, taken, nodes);

    for (int i = 0; i < count; i++) {
        for (int ppu = 0; ppu < machine->topology.ppu_count; ppu++) {
            set[ppu] = taken[ppu] && snapshot->cards[ppu].state.numa_node == nodes[i];
        }
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s on node %d", i > 0 ? ", " : "",
                                 advice_ids_text(machine, set, ids), nodes[i]);
    }
    if (count > 1) {
        text_list_add(warnings, "the VM's PPUs are on different NUMA nodes: %s", list);
    }
}
