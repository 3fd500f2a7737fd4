/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/inspection.h"

#include "core/mask.h"

int inspection_open(struct inspection *inspection, struct machine *machine, struct error *err)
{
    *inspection = INSPECTION_CLOSED;
    inspection->machine = machine;
    if (machine_open_ledger(machine, LEDGER_LOOK, &inspection->ledger, err) < 0) {
        return -1;
    }
    registers_open(&inspection->registers, &machine->settings, NULL, false);
    if (snapshot_take(machine, &inspection->ledger, &inspection->snapshot, err) < 0) {
        ledger_close(&inspection->ledger);
        return -1;
    }
    snapshot_owners(inspection->snapshot, inspection->owners);
    return 0;
}

void inspection_close(struct inspection *inspection)
{
    if (inspection->snapshot) {
        snapshot_free(inspection->snapshot);
        ledger_close(&inspection->ledger);
    }
}

uint32_t inspection_required(const struct inspection *inspection, int ppu)
{
    const struct settings *settings = &inspection->machine->settings;
    if (inspection->owners[ppu] != OWNER_IDLE) {
        return mask_required(&inspection->machine->topology, inspection->owners, ppu);
    }
    if (settings->idle == IDLE_ISOLATE) {
        return topology_links(&inspection->machine->topology, ppu);
    }
    bool far_ends_are_cut = settings->far_end == FAR_END_CUT && settings->backend == BACKEND_MMIO;
    return far_ends_are_cut ? mask_required(&inspection->machine->topology, inspection->owners, ppu) : 0;
}

uint32_t inspection_expected(const struct inspection *inspection, int ppu)
{
    const struct card *card = &inspection->snapshot->cards[ppu];
    bool keeps_its_own = inspection->owners[ppu] == OWNER_IDLE && card->has_original;
    return inspection_required(inspection, ppu) | (keeps_its_own ? card->original : 0);
}

bool inspection_drifts(const struct inspection *inspection, int ppu)
{
    const struct card *card = &inspection->snapshot->cards[ppu];
    bool is_known = card->was_read && card->reading.kind == READING_FINE;
    return is_known && (inspection_required(inspection, ppu) & ~card->reading.mask) != 0;
}
