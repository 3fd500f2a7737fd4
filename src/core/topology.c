/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/topology.h"

void topology_clear(struct topology *topology, int ppu_count)
{
    topology->ppu_count = ppu_count;
    for (int ppu = 0; ppu < PPU_MAX; ppu++) {
        for (int link = 0; link < LINK_MAX; link++) {
            topology->peer[ppu][link] = NO_PEER;
        }
    }
}

/* The number of links by which PPU names PEER.  A row has LINK_MAX entries
 * however many cards there are, so counting per link keeps the validation
 * linear in the number of links. */
static int topology_count_links(const struct topology *topology, int ppu, int peer)
{
    int count = 0;
    for (int link = 0; link < LINK_MAX; link++) {
        count += topology->peer[ppu][link] == peer;
    }
    return count;
}

static enum topology_fault_kind topology_validate_link(const struct topology *topology, int ppu, int peer)
{
    if (peer == NO_PEER) {
        return TOPOLOGY_FINE;
    }
    if (peer == ppu) {
        return TOPOLOGY_SELF_LINK;
    }
    if (peer < 0 || peer >= topology->ppu_count) {
        return TOPOLOGY_UNKNOWN_NEIGHBOUR;
    }
    if (topology_count_links(topology, ppu, peer) != topology_count_links(topology, peer, ppu)) {
        return TOPOLOGY_ONE_SIDED;
    }
    return TOPOLOGY_FINE;
}

struct topology_fault topology_validate(const struct topology *topology)
{
    if (topology->ppu_count < 1 || topology->ppu_count > PPU_MAX) {
        return (struct topology_fault){.kind = TOPOLOGY_EMPTY, .ppu = -1, .link = -1, .peer = -1};
    }
    for (int ppu = 0; ppu < topology->ppu_count; ppu++) {
        for (int link = 0; link < LINK_MAX; link++) {
            int peer = topology->peer[ppu][link];
            enum topology_fault_kind kind = topology_validate_link(topology, ppu, peer);
            if (kind != TOPOLOGY_FINE) {
                return (struct topology_fault){.kind = kind, .ppu = ppu, .link = link, .peer = peer};
            }
        }
    }
    return (struct topology_fault){.kind = TOPOLOGY_FINE, .ppu = -1, .link = -1, .peer = -1};
}

uint32_t topology_links(const struct topology *topology, int ppu)
{
    uint32_t links = 0;
    for (int link = 0; link < LINK_MAX; link++) {
        if (topology->peer[ppu][link] != NO_PEER) {
            links |= UINT32_C(1) << link;
        }
    }
    return links;
}

/* Gives FIRST and all that it is connected with the part's number. */
static void topology_mark_part(const struct topology *topology, const bool set[], int16_t part[], int first,
                               int16_t number)
{
    int16_t waiting[PPU_MAX];
    int count = 0;
    part[first] = number;
    waiting[count++] = (int16_t)first;
    while (count > 0) {
        int ppu = waiting[--count];
        for (int link = 0; link < LINK_MAX; link++) {
            int16_t peer = topology->peer[ppu][link];
            if (peer != NO_PEER && set[peer] && part[peer] < 0) {
                part[peer] = number;
                waiting[count++] = peer;
            }
        }
    }
}

int topology_parts(const struct topology *topology, const bool set[], int16_t part[])
{
    int16_t count = 0;
    for (int ppu = 0; ppu < topology->ppu_count; ppu++) {
        part[ppu] = -1;
    }
    for (int ppu = 0; ppu < topology->ppu_count; ppu++) {
        if (set[ppu] && part[ppu] < 0) {
            topology_mark_part(topology, set, part, ppu, count++);
        }
    }
    return count;
}
