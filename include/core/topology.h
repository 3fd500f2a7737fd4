/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* How the ICN links join the PPUs of one server. */
enum {
    PPU_MAX = 1024, /* cards in one topology */
    LINK_MAX = 32,  /* links of one card: the bits of its link config register */
    NO_PEER = -1,   /* this link index is not wired */
    EXTERNAL_PEER =
        -2,            /* the other end is none of the topology's cards: a switch, a card of another host, or unknown */
    NO_PEER_LINK = -1, /* which link of the neighbour the other end is, is not known */
};

struct topology {
    int ppu_count;                       /* ids are 0 .. ppu_count-1 */
    int16_t peer[PPU_MAX][LINK_MAX];     /* peer[ppu][link]: the neighbour's id, NO_PEER or EXTERNAL_PEER */
    int16_t peer_link[PPU_MAX][LINK_MAX]; /* the link's index at the neighbour, or NO_PEER_LINK */
};

/* What is wrong with a topology, at which card and link. */
enum topology_fault_kind {
    TOPOLOGY_FINE,
    TOPOLOGY_EMPTY,             /* no card at all, or more than PPU_MAX */
    TOPOLOGY_NO_LINKS,          /* several cards and no link at all: all were down when it was written */
    TOPOLOGY_SELF_LINK,         /* a link leads back to its own card */
    TOPOLOGY_UNKNOWN_NEIGHBOUR, /* a link leads to an id that is not in the topology */
    TOPOLOGY_ONE_SIDED,         /* not as many ends a->b as b->a */
    TOPOLOGY_MISPAIRED,         /* peer_link names a link that does not lead back, or that is joined to another */
};
struct topology_fault {
    enum topology_fault_kind kind;
    int ppu;  /* the card */
    int link; /* the link index, or -1 */
    int peer; /* the neighbour, or -1 */
};

/* Empties TOPOLOGY and gives it PPU_COUNT cards without links. */
void topology_clear(struct topology *topology, int ppu_count);

/* The first fault found by ascending card and link. */
struct topology_fault topology_validate(const struct topology *topology);

/* The bits of PPU's links that are wired, the external ones among them. */
uint32_t topology_links(const struct topology *topology, int ppu);

/* The bits of PPU's external links. */
uint32_t topology_external(const struct topology *topology, int ppu);

/* The bits of the neighbour's links that may be the other end of PPU's link: one where that is known, more where
 * parallel links cannot be told apart, 0 for a link that is not wired or external. */
uint32_t topology_far_ends(const struct topology *topology, int ppu, int link);

/* Which of the cards in SET are connected with each other by links among the
 * set: PART[ppu] is the number of its part, counted from 0 by ascending lowest
 * id, or -1 outside the set.  Returns the number of parts. */
int topology_parts(const struct topology *topology, const bool set[], int16_t part[]);
