/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

#include "core/choice.h"
#include "engine/inspection.h"

/* The cards that a VM should get. */
enum { ANY_NODE = -1 };

struct suggestion {
    struct choice choice;
    bool connected;     /* with each other, by links among themselves */
    int nodes[PPU_MAX]; /* their NUMA nodes, ascending; the unknown one is left out */
    int node_count;
    struct text_list warnings;
};

/* The best WANTED cards that are on the host, owned by nobody, not held open and
 * without virtual functions; with NUMA_NODE, of that node only.  STATUS_INVALID:
 * the machine, or the node, has not so many, or there is no such node;
 * STATUS_CONFLICT: it has, but they are not idle.  Any doubt about owners is an
 * error. */
MUST_CHECK int suggestion_make(struct suggestion *suggestion, const struct inspection *inspection, uint64_t wanted,
                               int numa_node, struct error *err);
void suggestion_free(struct suggestion *suggestion);
