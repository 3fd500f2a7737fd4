/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/recovery.h"

#include <stdlib.h>

#include "base/memory.h"

static bool lacks_originals(const struct snapshot *snapshot, const struct ledger_entry *entry)
{
    for (size_t i = 0; i < entry->card_count; i++) {
        const struct ledger_card *card = &entry->cards[i];
        int ppu = machine_ppu_at(snapshot->machine, card->bdf);
        if (card->owned && ppu >= 0 && !snapshot->cards[ppu].has_original) {
            return true;
        }
    }
    return false;
}

static void had_by_entry(const struct snapshot *snapshot, const struct ledger_entry *entry, struct demand *had)
{
    had->devices = memory_alloc(entry->card_count + 1, sizeof *had->devices);
    for (size_t i = 0; i < entry->card_count; i++) {
        const struct ledger_card *card = &entry->cards[i];
        int ppu = machine_ppu_at(snapshot->machine, card->bdf);
        if (card->owned && ppu >= 0) {
            had->devices[had->count++] = (struct demand_device){.function = card->bdf,
                                                                .card = card->bdf,
                                                                .is_ppu = true,
                                                                .whole = card->whole,
                                                                .present = snapshot->cards[ppu].state.present,
                                                                .ppu = ppu};
            had->has_ppu = true;
        }
    }
}

/* A domain that was refused has no status file. */
static int had_by_status(const struct snapshot *snapshot, const char *uuid, struct demand *had, struct error *err)
{
    struct domain domain;
    struct text_list warnings = {0};
    int found = running_domains_find(uuid, &domain, err);
    if (found <= 0) {
        return found;
    }
    int result = demand_resolve(snapshot->machine, &domain, had, &warnings, err);
    if (result == 0) {
        result = demand_number(snapshot->machine, had, err);
    }
    text_list_free(&warnings);
    domain_free(&domain);
    return result;
}

static int find_what_it_had(const struct snapshot *snapshot, const char *uuid, struct demand *had, struct error *err)
{
    const struct tenant *self = snapshot_tenant(snapshot, uuid);
    if (!self || !self->entry) {
        return had_by_status(snapshot, uuid, had, err);
    }
    if (lacks_originals(snapshot, self->entry)) {
        had_by_entry(snapshot, self->entry, had);
    }
    return 0;
}

int recovery_complete(const struct ledger *ledger, struct snapshot *snapshot, struct registers *registers,
                      const char *uuid, const char *name, bool *completed, struct error *err)
{
    struct demand had = {0};
    int result = find_what_it_had(snapshot, uuid, &had, err);
    bool is_needed = result == 0 && had.has_ppu;
    if (is_needed) {
        CLEANUP_FREE struct decision *decision = memory_alloc(1, sizeof *decision);
        decision_make(decision, snapshot, registers, INTENT_KEEP, uuid, name, &had);
        result = record_domain(ledger, snapshot, decision, registers, PHASE_ENDED, true, err);
    }
    demand_free(&had);
    if (result == 0) {
        *completed = is_needed;
    }
    return result;
}
