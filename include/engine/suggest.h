/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

#include "core/choice.h"
#include "engine/session.h"

/* The cards that a VM should get. */
enum { ANY_NODE = -1 };

struct suggestion {
    struct choice choice;
    bool connected;     /* with each other, by links among themselves */
    int nodes[PPU_MAX]; /* their NUMA nodes, ascending; the unknown one is left out */
    int node_count;
};

/* The best WANTED cards that are on the host, owned by nobody, not held open and without
 * virtual functions; with NUMA_NODE, of that node only.  STATUS_INVALID: the machine, or the
 * node, has not so many, or there is no such node; STATUS_CONFLICT: it has, but they are not
 * idle.  Any doubt about owners is an error.  Warnings are notes of the session. */
MUST_CHECK int suggest_make(struct suggestion *suggestion, struct session *session, uint64_t wanted, int numa_node,
                            struct error *err);

/* The NUMA nodes of the cards in SET, ascending, each once, the unknown one left out; NODES has
 * PPU_MAX entries.  Returns their number. */
int suggest_nodes(const struct session *session, const bool set[], int nodes[]);

/* Notes it if the cards in SET are on different NUMA nodes; unknown ones do not count.  Public for
 * its test. */
void suggest_advise_nodes(struct session *session, const bool set[], struct notes *notes);
