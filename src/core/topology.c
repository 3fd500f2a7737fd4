/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/topology.h"

void topology_clear(struct topology *topology, int ppu_count)
{
    topology->ppu_count = ppu_count;
    for (int ppu = 0; ppu < PPU_MAX; ppu++) {
        for (int link = 0; link < LINK_MAX; link++) {
            topology->peer[ppu][link] = NO_PEER;
            topology->peer_link[ppu][link] = NO_PEER_LINK;
        }
    }
}

/* The bits of PPU's links that lead to PEER.  A row has LINK_MAX entries
 * however many cards there are, so looking at each of them keeps the validation
 * linear in the number of links. */
static uint32_t topology_links_to(const struct topology *topology, int ppu, int peer)
{
    uint32_t links = 0;
    for (int link = 0; link < LINK_MAX; link++) {
        links |= topology->peer[ppu][link] == peer ? UINT32_C(1) << link : 0;
    }
    return links;
}

static int topology_count_bits(uint32_t bits)
{
    int count = 0;
    for (; bits != 0; bits &= bits - 1) {
        count++;
    }
    return count;
}

/* Each end of a pair names the other. */
static bool topology_is_paired(const struct topology *topology, int ppu, int link)
{
    int peer = topology->peer[ppu][link];
    int other = topology->peer_link[ppu][link];
    return other == NO_PEER_LINK || (peer >= 0 && other >= 0 && other < LINK_MAX &&
                                     topology->peer[peer][other] == ppu && topology->peer_link[peer][other] == link);
}

static enum topology_fault_kind topology_validate_link(const struct topology *topology, int ppu, int link)
{
    int peer = topology->peer[ppu][link];
    if (peer == NO_PEER || peer == EXTERNAL_PEER) {
        return topology_is_paired(topology, ppu, link) ? TOPOLOGY_FINE : TOPOLOGY_MISPAIRED;
    }
    if (peer == ppu) {
        return TOPOLOGY_SELF_LINK;
    }
    if (peer < 0 || peer >= topology->ppu_count) {
        return TOPOLOGY_UNKNOWN_NEIGHBOUR;
    }
    if (topology_count_bits(topology_links_to(topology, ppu, peer)) !=
        topology_count_bits(topology_links_to(topology, peer, ppu))) {
        return TOPOLOGY_ONE_SIDED;
    }
    return topology_is_paired(topology, ppu, link) ? TOPOLOGY_FINE : TOPOLOGY_MISPAIRED;
}

struct topology_fault topology_validate(const struct topology *topology)
{
    if (topology->ppu_count < 1 || topology->ppu_count > PPU_MAX) {
        return (struct topology_fault){.kind = TOPOLOGY_EMPTY, .ppu = -1, .link = -1, .peer = -1};
    }
    uint32_t links = 0;
    for (int ppu = 0; ppu < topology->ppu_count; ppu++) {
        for (int link = 0; link < LINK_MAX; link++) {
            enum topology_fault_kind kind = topology_validate_link(topology, ppu, link);
            if (kind != TOPOLOGY_FINE) {
                return (struct topology_fault){
                    .kind = kind, .ppu = ppu, .link = link, .peer = topology->peer[ppu][link]};
            }
        }
        links |= topology_links(topology, ppu);
    }
    if (links == 0 && topology->ppu_count > 1) {
        return (struct topology_fault){.kind = TOPOLOGY_NO_LINKS, .ppu = -1, .link = -1, .peer = -1};
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

uint32_t topology_external(const struct topology *topology, int ppu)
{
    return topology_links_to(topology, ppu, EXTERNAL_PEER);
}

uint32_t topology_far_ends(const struct topology *topology, int ppu, int link)
{
    int peer = topology->peer[ppu][link];
    if (peer < 0) {
        return 0;
    }
    if (topology->peer_link[ppu][link] != NO_PEER_LINK) {
        return UINT32_C(1) << topology->peer_link[ppu][link];
    }
    uint32_t ends = topology_links_to(topology, peer, ppu);
    for (int other = 0; other < LINK_MAX; other++) {
        /* What is joined to another of the card's links is not joined to this one. */
        if (topology->peer_link[peer][other] != NO_PEER_LINK) {
            ends &= ~(UINT32_C(1) << other);
        }
    }
    return ends;
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
            if (peer >= 0 && set[peer] && part[peer] < 0) {
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
