/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "cli/table.h"
#include "cli/view.h"

/* What status and topo say of a card, in cells of a table. */

/* ADDRESS, DRIVER, NUMA, GROUP: the latter two are numbers. */
enum { PLACE_CELLS = 4 };
void card_cells_add_place_titles(struct table *table);
void card_cells_add_place(struct table *table, const struct view *view, int ppu);

void card_cells_add_owner(struct table *table, const struct view *view, int ppu);
