/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation.
 *
 * The mask that a card gets back is the one it had before any domain's start
 * touched it.  The first entry that mentions the card reads it from the
 * register; every later one copies it from there.  An entry outlives its domain
 * until each of its cards is back, or another living domain's entry mentions
 * the card and so will bring it back.
 */
#include "engine/record.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"

static bool is_mentioned(const struct ledger_entry *entry, struct bdf bdf)
{
    for (size_t i = 0; i < entry->card_count; i++) {
        if (bdf_compare(entry->cards[i].bdf, bdf) == 0) {
            return true;
        }
    }
    return false;
}

static struct ledger_card describe(const struct snapshot *snapshot, const struct decision *decision,
                                   const struct registers *registers, const int owners_before[], int ppu, bool late)
{
    const struct card *card = &snapshot->cards[ppu];
    struct ledger_card described = {
        .bdf = snapshot->machine->card[ppu],
        .ppu = ppu,
        .owned = decision->near[ppu],
        .whole = decision->whole[ppu],
        .has_original = true,
        .original = card->original,
    };
    if (card->has_original || !registers->backend->reads_back) {
        return described;
    }
    described.has_original = card->was_read && card->reading.kind == READING_FINE;
    if (described.has_original) {
        const int *owners = late ? decision->owners : owners_before;
        described.original = card->reading.mask & ~mask_required(&snapshot->machine->topology, owners, ppu);
    }
    return described;
}

/* Cards of the domain's older entry stay mentioned until they are back. */
static bool belongs_in_entry(const struct snapshot *snapshot, const struct decision *decision,
                             const struct ledger_entry *older, int ppu)
{
    if (!snapshot->machine->mapped[ppu]) {
        return false;
    }
    return decision->near[ppu] || decision->goals[ppu].role == ROLE_FAR ||
           (older && is_mentioned(older, snapshot->machine->card[ppu]));
}

int record_domain(const struct ledger *ledger, const struct snapshot *snapshot, const struct decision *decision,
                  const struct registers *registers, enum ledger_phase phase, bool late, struct error *err)
{
    const struct tenant *self = snapshot_tenant(snapshot, decision->uuid);
    const struct ledger_entry *older = self ? self->entry : NULL;
    int owners_before[PPU_MAX];
    struct ledger_entry entry = {
        .name = memory_copy_text(decision->name), .phase = phase, .since = time(NULL), .manual = decision->by_hand};
    if (!entry.manual) {
        entry.caller = process_caller();
    }
    memcpy(entry.uuid, decision->uuid, sizeof entry.uuid);
    if (older && !older->other_boot && older->phase != PHASE_ENDED) {
        entry.since = older->since;
    }
    entry.cards = memory_alloc(PPU_MAX, sizeof *entry.cards);
    snapshot_owners(snapshot, owners_before);
    for (int ppu = 0; ppu < snapshot->machine->topology.ppu_count; ppu++) {
        if (belongs_in_entry(snapshot, decision, older, ppu)) {
            entry.cards[entry.card_count++] = describe(snapshot, decision, registers, owners_before, ppu, late);
        }
    }
    int result = ledger_write(ledger, &entry, err);
    ledger_entry_free(&entry);
    return result;
}

int record_end(const struct ledger *ledger, const struct ledger_entry *entry, struct error *err)
{
    struct ledger_entry ended = *entry;
    ended.phase = PHASE_ENDED;
    return ledger_write(ledger, &ended, err);
}

static bool was_written(const struct decision *decision, const struct execution *execution, int ppu)
{
    for (size_t i = 0; i < decision->plan.count; i++) {
        if (decision->plan.writes[i].ppu == ppu && execution->outcomes[i] != APPLY_DONE) {
            return false;
        }
    }
    return true;
}

static bool is_back(const struct snapshot *snapshot, const struct decision *decision, const struct execution *execution,
                    const struct ledger_card *recorded, int ppu)
{
    const struct card *card = &snapshot->cards[ppu];
    const struct plan_goal *goal = &decision->goals[ppu];
    if (!card->state.present || !recorded->has_original || (card->was_read && card->reading.kind == READING_GONE)) {
        return true;
    }
    bool aimed =
        goal->role == ROLE_FAR && (goal->want == card->original || snapshot->machine->settings.idle == IDLE_ISOLATE);
    return aimed && was_written(decision, execution, ppu);
}

/* Another domain that lives will bring the card back. */
static bool is_covered(const struct snapshot *snapshot, const struct decision *decision,
                       const struct ledger_entry *entry, struct bdf bdf, int ppu)
{
    if (decision->intent != INTENT_STOP && (decision->near[ppu] || decision->goals[ppu].role == ROLE_FAR)) {
        return true;
    }
    for (size_t i = 0; i < snapshot->tenant_count; i++) {
        const struct tenant *other = &snapshot->tenants[i];
        if (other->alive && other->entry && other->entry != entry && strcmp(other->uuid, decision->uuid) != 0 &&
            is_mentioned(other->entry, bdf)) {
            return true;
        }
    }
    return false;
}

static bool may_go(const struct snapshot *snapshot, const struct decision *decision, const struct execution *execution,
                   const struct registers *registers, const struct ledger_entry *entry)
{
    for (size_t i = 0; i < entry->card_count; i++) {
        const struct ledger_card *recorded = &entry->cards[i];
        int ppu = machine_ppu_at(snapshot->machine, recorded->bdf);
        if (ppu < 0 || !registers->backend->reads_back) {
            continue;
        }
        if (!is_covered(snapshot, decision, entry, recorded->bdf, ppu) &&
            !is_back(snapshot, decision, execution, recorded, ppu)) {
            return false;
        }
    }
    return true;
}

int record_clean(const struct ledger *ledger, const struct snapshot *snapshot, const struct decision *decision,
                 const struct execution *execution, const struct registers *registers, const char *keep_uuid,
                 struct error *err)
{
    for (size_t i = 0; i < snapshot->tenant_count; i++) {
        const struct tenant *tenant = &snapshot->tenants[i];
        bool is_self = strcmp(tenant->uuid, decision->uuid) == 0;
        bool is_gone = is_self ? decision->intent == INTENT_STOP : !tenant->alive;
        bool is_kept = keep_uuid && strcmp(tenant->uuid, keep_uuid) == 0;
        if (tenant->entry && is_gone && !is_kept && may_go(snapshot, decision, execution, registers, tenant->entry) &&
            ledger_remove(ledger, tenant->uuid, err) < 0) {
            return -1;
        }
    }
    return 0;
}
