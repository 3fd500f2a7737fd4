/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/inspection.h"

#include "base/file.h"
#include "core/mask.h"

int inspection_open(struct inspection *inspection, struct machine *machine, struct error *err)
{
    *inspection = (struct inspection){.machine = machine, .ledger = {.dirfd = -1, .lockfd = -1}};
    int64_t deadline = deadline_after_ms(INT64_C(1000) * machine->settings.lock_timeout);
    if (ledger_open(&inspection->ledger, LEDGER_LOOK, deadline, err) < 0) {
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

void inspection_read_all(struct inspection *inspection)
{
    for (int ppu = 0; ppu < inspection->machine->topology.ppu_count; ppu++) {
        if (inspection->machine->mapped[ppu] && inspection->snapshot->cards[ppu].state.present) {
            snapshot_read(inspection->snapshot, &inspection->registers, ppu);
        }
    }
}

static bool mask_is_known(const struct inspection *inspection, int ppu)
{
    const struct card *card = &inspection->snapshot->cards[ppu];
    return card->was_read && card->reading.kind == READING_FINE;
}

enum link_end inspection_near_end(const struct inspection *inspection, int ppu, int link)
{
    if (!mask_is_known(inspection, ppu)) {
        return END_UNKNOWN;
    }
    return ((inspection->snapshot->cards[ppu].reading.mask >> link) & 1) ? END_CUT : END_OPEN;
}

enum link_end inspection_far_end(const struct inspection *inspection, int ppu, int link)
{
    const struct topology *topology = &inspection->machine->topology;
    int peer = topology->peer[ppu][link];
    enum link_end end = END_CUT;
    for (int back = 0; back < LINK_MAX; back++) {
        if (topology->peer[peer][back] == ppu && inspection_near_end(inspection, peer, back) != END_CUT) {
            end = inspection_near_end(inspection, peer, back);
        }
    }
    return end;
}

enum link_live inspection_live(const struct inspection *inspection, int ppu, int link)
{
    enum link_end near = inspection_near_end(inspection, ppu, link);
    enum link_end far = inspection_far_end(inspection, ppu, link);
    if (near == END_CUT || far == END_CUT) {
        return LIVE_NO;
    }
    return near == END_OPEN && far == END_OPEN ? LIVE_YES : LIVE_UNKNOWN;
}

bool inspection_leaks(const struct inspection *inspection, int ppu, int link)
{
    int peer = inspection->machine->topology.peer[ppu][link];
    return peer != NO_PEER && !link_may_be_open(inspection->owners[ppu], inspection->owners[peer]) &&
           inspection_live(inspection, ppu, link) == LIVE_YES;
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
    return mask_is_known(inspection, ppu) &&
           (inspection_required(inspection, ppu) & ~inspection->snapshot->cards[ppu].reading.mask) != 0;
}
