/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/foresight.h"

#include <string.h>

#include "base/memory.h"

static void assume_claims(struct snapshot *snapshot, const struct decision *decision, size_t tenant)
{
    for (int ppu = 0; ppu < snapshot->machine->topology.ppu_count; ppu++) {
        if (decision->near[ppu]) {
            snapshot->claims = memory_grow(snapshot->claims, snapshot->claim_count + 1, sizeof *snapshot->claims);
            snapshot->claims[snapshot->claim_count++] =
                (struct claim){.tenant = tenant, .ppu = ppu, .whole = decision->whole[ppu]};
        }
    }
}

/* Who has its cards already stays as it is. */
static void assume_tenant(struct snapshot *snapshot, const struct decision *decision)
{
    if (snapshot_tenant(snapshot, decision->uuid)) {
        return;
    }
    snapshot->tenants = memory_grow(snapshot->tenants, snapshot->tenant_count + 1, sizeof *snapshot->tenants);
    struct tenant *tenant = &snapshot->tenants[snapshot->tenant_count];
    *tenant = (struct tenant){.name = decision->name, .manual = decision->by_hand, .alive = true};
    memcpy(tenant->uuid, decision->uuid, sizeof tenant->uuid);
    assume_claims(snapshot, decision, snapshot->tenant_count++);
}

/* Read as the registers were before the decision: see record_domain. */
static void assume_original(struct card *card, const struct topology *topology, const int owners_before[], int ppu)
{
    if (!card->has_original && card->was_read && card->reading.kind == READING_FINE) {
        card->has_original = true;
        card->original = card->reading.mask & ~mask_required(topology, owners_before, ppu);
    }
}

void foresight_assume(struct snapshot *snapshot, const struct decision *decision)
{
    int owners_before[PPU_MAX];
    snapshot_owners(snapshot, owners_before);
    for (int ppu = 0; ppu < snapshot->machine->topology.ppu_count; ppu++) {
        if (decision->goals[ppu].role != ROLE_NONE) {
            assume_original(&snapshot->cards[ppu], &snapshot->machine->topology, owners_before, ppu);
        }
    }
    for (size_t i = 0; i < decision->plan.count; i++) {
        snapshot->cards[decision->plan.writes[i].ppu].reading.mask = decision->plan.writes[i].to;
    }
    assume_tenant(snapshot, decision);
}
