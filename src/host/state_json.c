/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/state.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "core/topology.h"
#include "host/strict_json.h"

#define CLAIM_FAMILY "icn-hook/claim/"
#define CLAIM_SCHEMA CLAIM_FAMILY "2"
#define CARDS_FAMILY "icn-hook/cards/"
#define CARDS_SCHEMA CARDS_FAMILY "1"
#define ENTRY_FAMILY "icn-hook/ledger/"
#define ENTRY_SCHEMA ENTRY_FAMILY "1"

enum { CLAIM_KEYS = 11, CLAIM_CARD_KEYS = 2, CARDS_KEYS = 3, MEMORY_KEYS = 4, EVIDENCE_KEYS = 3 };

static const char *const kind_words[] = {"vm", "group", NULL};
static const char *const phase_words[] = {[CLAIM_STARTING] = "starting", [CLAIM_RUNNING] = "running", NULL};

void claim_free(struct claim *claim)
{
    free(claim->name);
    free(claim->cards);
    claim->name = NULL;
    claim->cards = NULL;
    claim->card_count = 0;
}

void claim_clear_cards(struct claim *claim)
{
    free(claim->cards);
    claim->cards = NULL;
    claim->card_count = 0;
}

void claim_add_card(struct claim *claim, struct bdf bdf, bool whole)
{
    claim->cards = memory_grow(claim->cards, claim->card_count + 1, sizeof *claim->cards);
    claim->cards[claim->card_count++] = (struct claim_card){.bdf = bdf, .whole = whole};
}

void evidence_clear(struct evidence *evidence)
{
    free(evidence->owners);
    *evidence = (struct evidence){0};
}

void cards_free(struct card_memory *cards, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        evidence_clear(&cards[i].evidence);
    }
    free(cards);
}

bool state_name_is_printable(const char *name)
{
    for (size_t length = 1; *name != '\0' && length > 0; name += length) {
        length = (unsigned char)*name < 0x20 || *name == 0x7f ? 0 : text_utf8_length(name);
    }
    return *name == '\0';
}

/* The "boot" of an object, under KEY. */
static int strict_boot(const struct strict *strict, struct json_object *object, const char *key, const char *boot_id,
                       bool *other_boot)
{
    const char *boot;
    if (strict_text(strict, object, key, &boot) < 0) {
        return -1;
    }
    if (strlen(boot) >= UUID_SIZE) {
        return strict_fail(strict, "\"%s\" is too long", key);
    }
    *other_boot = strcmp(boot, boot_id) != 0;
    return 0;
}

/* Adds a card to CLAIM; once only. */
static int strict_add_card(const struct strict *strict, struct claim *claim, struct bdf bdf, bool whole)
{
    char text[BDF_TEXT_SIZE];
    for (size_t i = 0; i < claim->card_count; i++) {
        if (bdf_compare(claim->cards[i].bdf, bdf) == 0) {
            return strict_fail(strict, "card %s is listed twice", bdf_format(bdf, text));
        }
    }
    if (claim->card_count == PPU_MAX) {
        return strict_fail(strict, "more than %d cards", PPU_MAX);
    }
    claim_add_card(claim, bdf, whole);
    return 0;
}

/* pid 0 for null. */
static int parse_process_or_null(const struct strict *strict, struct json_object *object, const char *key,
                                 struct process_identity *identity)
{
    return strict_is_null(object, key) ? 0 : strict_process(strict, object, key, 1, identity);
}

static int parse_claim_card(const struct strict *strict, struct json_object *object, struct claim *claim)
{
    struct bdf bdf;
    bool whole;
    if (!json_object_is_type(object, json_type_object)) {
        return strict_fail(strict, "a card is not a JSON object");
    }
    if (strict_bdf(strict, object, "bdf", &bdf) < 0 || strict_boolean(strict, object, "whole", &whole) < 0 ||
        strict_keys(strict, object, "a card", CLAIM_CARD_KEYS) < 0) {
        return -1;
    }
    return strict_add_card(strict, claim, bdf, whole);
}

static int parse_claim(const struct strict *strict, struct json_object *object, const char *boot_id,
                       struct claim *claim, bool *other_boot)
{
    const char *name;
    int kind;
    int phase;
    struct json_object *cards;
    if (strict_boot(strict, object, "boot", boot_id, other_boot) < 0 ||
        strict_uuid(strict, object, "uuid", claim->uuid) < 0 || strict_text(strict, object, "name", &name) < 0 ||
        strict_word(strict, object, "kind", kind_words, &kind) < 0 ||
        strict_word(strict, object, "phase", phase_words, &phase) < 0 ||
        parse_process_or_null(strict, object, "daemon", &claim->daemon) < 0 ||
        parse_process_or_null(strict, object, "process", &claim->process) < 0 ||
        strict_number(strict, object, "since", 0, INT64_MAX, &claim->since) < 0 ||
        strict_number(strict, object, "boottime_ms", 0, INT64_MAX, &claim->boottime_ms) < 0 ||
        strict_take(strict, object, "cards", json_type_array, &cards) < 0 ||
        strict_keys(strict, object, "the claim", CLAIM_KEYS) < 0) {
        return -1;
    }
    claim->name = memory_copy_text(name);
    claim->is_group = kind == 1;
    claim->phase = (enum claim_phase)phase;
    claim->has_daemon = claim->daemon.pid != 0;
    for (size_t i = 0; i < json_object_array_length(cards); i++) {
        if (parse_claim_card(strict, json_object_array_get_idx(cards, i), claim) < 0) {
            return -1;
        }
    }
    return 0;
}

/* WHAT is what the text should be. */
static int refuse_schema(const struct strict *strict, const char *schema, const char *family, const char *what)
{
    if (strncmp(schema, family, strlen(family)) == 0 || strncmp(schema, ENTRY_FAMILY, strlen(ENTRY_FAMILY)) == 0) {
        return strict_fail(strict, "it was written by another version of icn-hook (%.60s)", schema);
    }
    return strict_fail(strict, "it is not %s of icn-hook", what);
}

/* -- What version 0.1 wrote --------------------------------------------------------------- */

/*
 * Entries of version 0.1 (icn-hook/ledger/1), so that an upgrade with VMs running loses
 * nothing.  An entry held a domain's claim and the original masks of all cards that were
 * touched for it.  What 0.1 wrote to them it did not note, so any cut may be its own.
 */
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

static int entry_parse(const struct strict *strict, struct json_object *object, const char *boot_id,
                       struct claim *claim, bool *other_boot, struct card_memory **carried, size_t *carried_count)
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

/* -- Claims --------------------------------------------------------------------------------- */

int claim_parse(const char *text, size_t length, const char *name, const char *boot_id, struct claim *claim,
                bool *other_boot, struct card_memory **carried, size_t *carried_count, struct error *err)
{
    const struct strict strict = {.name = name, .err = err};
    struct json_object *object;
    const char *schema;
    struct claim parsed = {0};
    struct card_memory *memory = NULL;
    size_t memory_count = 0;
    bool is_other = false;
    if (strict_parse(&strict, text, length, &object) < 0) {
        return -1;
    }
    int result = strict_text(&strict, object, "schema", &schema);
    if (result == 0 && strcmp(schema, CLAIM_SCHEMA) == 0) {
        result = parse_claim(&strict, object, boot_id, &parsed, &is_other);
    } else if (result == 0 && strcmp(schema, ENTRY_SCHEMA) == 0) {
        result = entry_parse(&strict, object, boot_id, &parsed, &is_other, &memory, &memory_count);
    } else if (result == 0) {
        result = refuse_schema(&strict, schema, CLAIM_FAMILY, "a claim");
    }
    json_object_put(object);
    if (result < 0) {
        claim_free(&parsed);
        cards_free(memory, memory_count);
        return -1;
    }
    *claim = parsed;
    *other_boot = is_other;
    *carried = memory;
    *carried_count = memory_count;
    return 0;
}

static int parse_owners(const struct strict *strict, struct json_object *object, struct evidence *evidence)
{
    struct json_object *owners;
    if (strict_take(strict, object, "owners", json_type_array, &owners) < 0) {
        return -1;
    }
    size_t count = json_object_array_length(owners);
    evidence->owners = memory_alloc(count + 1, sizeof *evidence->owners);
    for (; evidence->owner_count < count; evidence->owner_count++) {
        char *uuid = evidence->owners[evidence->owner_count];
        struct json_object *owner = json_object_array_get_idx(owners, evidence->owner_count);
        const char *text = json_object_is_type(owner, json_type_string) ? json_object_get_string(owner) : "";
        if (!text_parse_uuid(text, uuid) || strcmp(text, uuid) != 0 ||
            json_object_get_string_len(owner) != UUID_SIZE - 1) { /* there may be more after a NUL */
            return strict_fail(strict, "an owner is not a canonical UUID");
        }
        if (evidence->owner_count > 0 && strcmp(uuid - sizeof *evidence->owners, uuid) >= 0) {
            return strict_fail(strict, "\"owners\" are not in ascending order");
        }
    }
    return 0;
}

static int parse_evidence(const struct strict *strict, struct json_object *object, struct evidence *evidence)
{
    struct json_object *value;
    if (strict_is_null(object, "evidence")) {
        return 0;
    }
    if (strict_take(strict, object, "evidence", json_type_object, &value) < 0 ||
        strict_mask(strict, value, "mask", &evidence->mask) < 0 ||
        strict_number(strict, value, "at", 1, INT64_MAX, &evidence->at) < 0 ||
        parse_owners(strict, value, evidence) < 0) {
        return -1;
    }
    return strict_keys(strict, value, "\"evidence\"", EVIDENCE_KEYS);
}

static int parse_memory(const struct strict *strict, struct json_object *object, struct card_memory *memory)
{
    if (!json_object_is_type(object, json_type_object)) {
        return strict_fail(strict, "a card is not a JSON object");
    }
    if (strict_bdf(strict, object, "bdf", &memory->bdf) < 0 ||
        strict_mask_or_null(strict, object, "original", &memory->has_original, &memory->original) < 0 ||
        strict_mask_or_null(strict, object, "written", &memory->has_written, &memory->written) < 0 ||
        parse_evidence(strict, object, &memory->evidence) < 0) {
        return -1;
    }
    return strict_keys(strict, object, "a card", MEMORY_KEYS);
}

static int parse_memories(const struct strict *strict, struct json_object *object, struct card_memory **cards,
                          size_t *count)
{
    struct json_object *list;
    char text[BDF_TEXT_SIZE];
    if (strict_take(strict, object, "cards", json_type_array, &list) < 0) {
        return -1;
    }
    size_t length = json_object_array_length(list);
    *cards = memory_alloc(length + 1, sizeof **cards);
    while (*count < length) {
        struct card_memory *memory = &(*cards)[(*count)++];
        if (parse_memory(strict, json_object_array_get_idx(list, *count - 1), memory) < 0) {
            return -1;
        }
        if (*count > 1 && bdf_compare(memory[-1].bdf, memory->bdf) >= 0) {
            return strict_fail(strict, "card %s is not in the order of addresses", bdf_format(memory->bdf, text));
        }
    }
    return 0;
}

int cards_parse(const char *text, size_t length, const char *name, const char *boot_id, struct card_memory **cards,
                size_t *count, struct error *err)
{
    const struct strict strict = {.name = name, .err = err};
    struct json_object *object;
    const char *schema;
    struct card_memory *parsed = NULL;
    size_t parsed_count = 0;
    bool is_other = false;
    if (strict_parse(&strict, text, length, &object) < 0) {
        return -1;
    }
    int result = strict_text(&strict, object, "schema", &schema);
    if (result == 0 && strcmp(schema, CARDS_SCHEMA) != 0) {
        result = refuse_schema(&strict, schema, CARDS_FAMILY, "the memory of cards");
    }
    if (result == 0 && (strict_boot(&strict, object, "boot", boot_id, &is_other) < 0 ||
                        parse_memories(&strict, object, &parsed, &parsed_count) < 0 ||
                        strict_keys(&strict, object, "the memory of cards", CARDS_KEYS) < 0)) {
        result = -1;
    }
    json_object_put(object);
    if (result < 0 || is_other) {
        cards_free(parsed, parsed_count);
        parsed = NULL;
        parsed_count = 0;
    }
    if (result == 0) {
        *cards = parsed;
        *count = parsed_count;
    }
    return result;
}
