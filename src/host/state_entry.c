/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Entries of version 0.1 (icn-hook/ledger/1), so that an upgrade with VMs running loses
 * nothing.  An entry held a domain's claim and the original masks of all cards that were
 * touched for it.  What 0.1 wrote to them it did not note, so any cut may be its own.
 */
#include <stdlib.h>

#include "base/memory.h"
#include "core/topology.h"
#include "host/state_json.h"

enum { ENTRY_KEYS = 8, ENTRY_CARD_KEYS = 5 };

static const char *const entry_phase_words[] = {"prepared", "running", "ended", NULL};
static const enum claim_phase entry_phases[] = {CLAIM_STARTING, CLAIM_RUNNING, CLAIM_ENDED};

/* What one card of an entry says. */
struct entry_card {
    bool is_owned; /* otherwise only the far end of its links was touched */
    struct claim_card card;
    struct card_memory memory;
};

static int parse_entry_card(const struct strict *strict, struct json_object *object, struct entry_card *card)
{
    int64_t ppu;
    if (!json_object_is_type(object, json_type_object)) {
        return strict_fail(strict, "a card is not a JSON object");
    }
    if (strict_bdf(strict, object, "bdf", &card->card.bdf) < 0 ||
        strict_number(strict, object, "ppu", 0, PPU_MAX - 1, &ppu) < 0 ||
        strict_boolean(strict, object, "owned", &card->is_owned) < 0 ||
        strict_boolean(strict, object, "whole", &card->card.whole) < 0 ||
        strict_mask_or_null(strict, object, "original", &card->memory.has_original, &card->memory.original) < 0) {
        return -1;
    }
    card->memory.bdf = card->card.bdf;
    card->memory.has_written = card->memory.has_original;
    card->memory.written = card->memory.has_original ? UINT32_MAX : 0;
    return strict_keys(strict, object, "a card", ENTRY_CARD_KEYS);
}

/* CLAIM gets all cards, so that none can be listed twice, and then loses those that are not
 * owned. */
static int parse_entry_cards(const struct strict *strict, struct json_object *list, struct claim *claim,
                             struct card_memory **carried, size_t *carried_count)
{
    size_t count = json_object_array_length(list);
    CLEANUP_FREE bool *owned = memory_alloc(count + 1, sizeof *owned);
    *carried = memory_alloc(count + 1, sizeof **carried);
    for (size_t i = 0; i < count; i++) {
        struct entry_card card = {0};
        if (parse_entry_card(strict, json_object_array_get_idx(list, i), &card) < 0 ||
            strict_add_card(strict, claim, card.card.bdf, card.card.whole) < 0) {
            return -1;
        }
        owned[i] = card.is_owned;
        if (card.memory.has_original) {
            (*carried)[(*carried_count)++] = card.memory;
        }
    }
    claim->card_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (owned[i]) {
            claim->cards[claim->card_count++] = claim->cards[i];
        }
    }
    return 0;
}

/* An entry of a VM has no such key. */
static int parse_manual(const struct strict *strict, struct json_object *object, bool *is_manual)
{
    if (!json_object_object_get_ex(object, "manual", NULL)) {
        *is_manual = false;
        return 0;
    }
    if (strict_boolean(strict, object, "manual", is_manual) < 0) {
        return -1;
    }
    return *is_manual ? 0 : strict_fail(strict, "\"manual\" is there and false");
}

int entry_parse(const struct strict *strict, struct json_object *object, const char *boot_id, struct claim *claim,
                bool *other_boot, struct card_memory **carried, size_t *carried_count)
{
    const char *name;
    struct json_object *cards;
    int phase;
    if (strict_boot(strict, object, "boot_id", boot_id, other_boot) < 0 ||
        strict_uuid(strict, object, "uuid", claim->uuid) < 0 || strict_text(strict, object, "name", &name) < 0 ||
        strict_word(strict, object, "phase", entry_phase_words, &phase) < 0 ||
        strict_process(strict, object, "caller", 0, &claim->daemon) < 0 ||
        strict_number(strict, object, "since", 0, INT64_MAX, &claim->since) < 0 ||
        strict_take(strict, object, "cards", json_type_array, &cards) < 0 ||
        parse_manual(strict, object, &claim->is_group) < 0 ||
        strict_keys(strict, object, "the entry", ENTRY_KEYS + claim->is_group) < 0) {
        return -1;
    }
    claim->name = memory_copy_text(name);
    claim->has_daemon = claim->daemon.pid != 0;
    claim->phase = entry_phases[phase];
    if (claim->is_group && claim->phase == CLAIM_STARTING) {
        claim->phase = CLAIM_RUNNING; /* a group does not start */
    }
    claim->is_carried_over = true;
    return parse_entry_cards(strict, cards, claim, carried, carried_count);
}
