/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "core/choice_work.h"

enum {
    NO_SLOT = -1,
    ENDS_MAX = 2 * LINK_MAX,
};

/* Where the search stands between two cards. */
struct frontier {
    const struct choice_work *work;
    int left; /* cards that were not taken */
    bool taken[PPU_MAX];
    int16_t twin[PPU_MAX];        /* the card that must go in before, or -1 */
    int16_t slot[PPU_MAX];        /* of cards at the frontier: their bit */
    int16_t node_slot[PPU_MAX];   /* of NUMA nodes at the frontier, or NO_SLOT */
    struct frontier_bits slots;   /* in use */
    int links_left[PPU_MAX];      /* of each card, to cards that were not taken */
    int neighbours_left[PPU_MAX]; /* its neighbours that were not taken */
    int node_left[PPU_MAX];

    /* How many cards that were not taken have which number of … */
    int by_links_left[ENDS_MAX + 1]; /* links to each other */
    int by_ends[ENDS_MAX + 1];       /* links to each other and, counted twice, to taken cards */
    int by_degree[ENDS_MAX + 1];     /* links */
};

/* What taking the next card means for the states. */
struct step {
    int card;
    int twin_slot;
    int frontier_count;
    int16_t frontier_slot[LINK_MAX]; /* its neighbours at the frontier */
    uint8_t frontier_weight[LINK_MAX];
    int node_slot;             /* its NUMA node at the frontier, or NO_SLOT */
    struct frontier_bits kept; /* what still matters afterwards */
    struct frontier_bits own;  /* what its presence sets */
};

bool frontier_has(const struct frontier_bits *bits, int slot);

/* Before the first card. */
void frontier_begin(struct frontier *frontier, const struct choice_work *work);

/* Takes the card that widens the frontier least.  False if the frontier has no
 * room for it. */
bool frontier_take_next(struct frontier *frontier, struct step *step);
