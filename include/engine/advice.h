/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/snapshot.h"

/*
 * What is no fault, but seldom meant, about the cards of one VM.  TAKEN says by id
 * which cards it has.
 */

/* Warns if the cards are not all connected with each other by links among
 * themselves: the parts that are.  The hint is to ask for a suggestion. */
enum hint { WITHOUT_HINT, WITH_HINT };
void advice_on_parts(const struct machine *machine, const bool taken[], enum hint hint, struct text_list *warnings);

/* Warns if the cards are on different NUMA nodes; cards whose node is unknown do
 * not count. */
void advice_on_nodes(const struct machine *machine, const struct snapshot *snapshot, const bool taken[],
                     struct text_list *warnings);

/* The NUMA nodes of the cards in SET, ascending, each once, the unknown one left
 * out; NODES has PPU_MAX entries.  Returns their number. */
int advice_nodes(const struct machine *machine, const struct snapshot *snapshot, const bool set[], int nodes[]);

/* The ids in SET, ascending, as in "0-3,6". */
enum { IDS_TEXT_SIZE = 5 * PPU_MAX };
const char *advice_ids_text(const struct machine *machine, const bool set[], char text[IDS_TEXT_SIZE]);
