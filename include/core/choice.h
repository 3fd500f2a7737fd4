/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

#include "core/topology.h"

/*
 * Which cards a VM that wants COUNT of them should get.  Best is, in this order:
 *   1. most links among the chosen cards, parallel ones counted each;
 *   2. fewest NUMA nodes; the cards whose node is unknown count as one more;
 *   3. fewest links between a chosen card and an available one that is not
 *      chosen: they are cut, and lost to the tenants to come;
 *   4. the lowest ids, compared one after the other.
 * External links count in none of them: they lead to no card that could be chosen, and it makes no
 * difference to them which VM gets the card.
 */
struct choice_request {
    const struct topology *topology; /* valid */
    const bool *available;           /* by id */
    const int *numa_node;            /* by id; below 0: unknown */
    int count;                       /* 1 .. number of available cards */
    long budget;                     /* what trying all sets may cost, in sets; CHOICE_BUDGET */
};

/* Enough to choose any number of 26 cards, in about a tenth of a second. */
enum { CHOICE_BUDGET = 50000000 };

struct choice {
    bool chosen[PPU_MAX];
    int links;      /* among the chosen cards */
    int stranded;   /* from a chosen card to an available one that is not chosen */
    int numa_nodes; /* the unknown one counts */
    bool exact;     /* all sets were tried; otherwise there are too many: the best that exchanging cards found */
};

/* The same request always gets the same answer. */
void choice_make(struct choice *choice, const struct choice_request *request);
