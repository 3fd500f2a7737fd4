/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

#include "core/choice.h"

/* What the two halves of choosing share.  Cards are numbered here by their rank
 * among the available ones, so that lower is lower by id too. */
enum {
    STATES_MAX = 1 << 16, /* partial choices at one time */
    SET_WORDS = PPU_MAX / 64,
    SET_POOL = 4 * STATES_MAX, /* words for the sets of all partial choices */
    TABLE_SIZE = 4 * STATES_MAX,
    FRONTIER_MAX = 128,
};

/* Of a whole or partial choice: objectives 1 to 3 as one number, higher is better.
 * With the links inside a set given, as few links to the outside as possible
 * means as small a sum of degrees as possible. */
enum { LINK_VALUE = 1 << 27, NODE_VALUE = 1 << 16 };

/* A set of cards while it is changed card by card. */
struct candidate {
    bool in[PPU_MAX];
    int gain[PPU_MAX]; /* links of each card to the set */
    int on_node[PPU_MAX];
    int size;
    int64_t value;
};

/* Cards and NUMA nodes at the frontier of the search, a bit each. */
struct frontier_bits {
    uint64_t words[FRONTIER_MAX / 64];
};

/* A partial choice: all that matters of it for the cards that come after. */
struct state {
    struct frontier_bits in; /* which cards and nodes at the frontier are in it */
    int size;
    int open; /* links from its cards to cards that come after */
    int64_t value;
};

struct layer {
    struct state states[STATES_MAX];
    uint64_t sets[SET_POOL]; /* WORDS for each state */
    int count;
};

struct choice_work {
    int wanted;
    int cards;
    int16_t id[PPU_MAX];
    int16_t node[PPU_MAX]; /* numbered from 0 */
    int node_size[PPU_MAX];
    int degree[PPU_MAX]; /* links to available cards */
    int greatest_weight;
    int neighbour_count[PPU_MAX];
    int16_t neighbours[PPU_MAX][LINK_MAX]; /* each once */
    uint8_t weight[PPU_MAX][PPU_MAX];      /* links between two cards */

    struct candidate best;
    struct candidate trial;

    struct layer layers[2];
    int32_t table[TABLE_SIZE]; /* hash table: state of the next layer, or -1 */
};

/* Replaces WORK->best by the best of all choices and returns true, or gives up
 * when BUDGET is used up.  WORK->best.value is reached already. */
bool choice_prove(struct choice_work *work, long budget);
