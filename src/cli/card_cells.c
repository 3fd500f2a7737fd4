/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/card_cells.h"

#include "core/mask.h"

void card_cells_add_place_titles(struct table *table)
{
    static const char *const titles[PLACE_CELLS] = {"ADDRESS", "DRIVER", "NUMA", "GROUP"};
    for (size_t i = 0; i < PLACE_CELLS; i++) {
        table_add(table, COLOUR_BOLD, "%s", titles[i]);
    }
}

static void add_known_number(struct table *table, int number)
{
    if (number < 0) {
        table_add(table, COLOUR_PLAIN, "-");
    } else {
        table_add(table, COLOUR_PLAIN, "%d", number);
    }
}

void card_cells_add_place(struct table *table, const struct view *view, int ppu)
{
    const struct pci_state *state = &view->inspection.snapshot->cards[ppu].state;
    bool is_mapped = view->machine->mapped[ppu];
    bool is_present = is_mapped && state->present;
    char bdf[BDF_TEXT_SIZE];
    table_add(table, COLOUR_PLAIN, "%s", is_mapped ? bdf_format(view->machine->card[ppu], bdf) : "-");
    if (is_present) {
        table_add(table, COLOUR_PLAIN, "%s", state->driver[0] ? state->driver : "-");
    } else {
        table_add(table, COLOUR_RED, "%s", is_mapped ? "ABSENT" : "NO CARD");
    }
    add_known_number(table, is_present ? state->numa_node : UNKNOWN_NUMBER);
    add_known_number(table, is_present ? state->iommu_group : UNKNOWN_NUMBER);
}

void card_cells_add_owner(struct table *table, const struct view *view, int ppu)
{
    const struct inspection *inspection = &view->inspection;
    char owner[OWNER_TEXT_SIZE];
    table_add(table, inspection->owners[ppu] == OWNER_IDLE ? COLOUR_PLAIN : COLOUR_BOLD, "%s",
              snapshot_owner_text(inspection->snapshot, ppu, owner));
}
