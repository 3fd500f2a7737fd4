/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The text of a ledger entry.  What is read must be exactly what is written:
 * no key more, none less, each of its type and within its range.  Whatever
 * else is found was not written by this program, and then guessing which cards
 * it meant is worse than saying so.
 */
#include <json.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "core/topology.h"
#include "host/ledger.h"
#include "host/ledger_text.h"

enum { NESTING_LIMIT = 8, ENTRY_KEYS = 8, CALLER_KEYS = 2, CARD_KEYS = 5 };

void ledger_entry_free(struct ledger_entry *entry)
{
    free(entry->name);
    free(entry->cards);
    entry->name = NULL;
    entry->cards = NULL;
    entry->card_count = 0;
}

/* A parse in progress: NAME and ERR, and nothing that ends with it. */
struct parse {
    const char *name;
    struct error *err;
};

static PRINTF_LIKE(2, 3) int fail(const struct parse *parse, const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return error_set(parse->err, STATUS_INVALID, "%s: %s", parse->name, text);
}

/* The member KEY of OBJECT, of TYPE. */
static int take(const struct parse *parse, struct json_object *object, const char *key, enum json_type type,
                struct json_object **value)
{
    struct json_object *found;
    if (!json_object_object_get_ex(object, key, &found)) {
        return fail(parse, "\"%s\" is missing", key);
    }
    if (!json_object_is_type(found, type)) {
        return fail(parse, "\"%s\" is not a JSON %s", key, json_type_to_name(type));
    }
    *value = found;
    return 0;
}

/* Zero-terminated text without a NUL of its own. */
static int take_text(const struct parse *parse, struct json_object *object, const char *key, const char **text)
{
    struct json_object *value;
    if (take(parse, object, key, json_type_string, &value) < 0) {
        return -1;
    }
    const char *found = json_object_get_string(value);
    if (strlen(found) != (size_t)json_object_get_string_len(value)) {
        return fail(parse, "\"%s\" holds a NUL character", key);
    }
    /* json-c lets overlong forms and surrogates pass. */
    for (const char *at = found; *at != '\0'; at += ledger_utf8_length(at)) {
        if (ledger_utf8_length(at) == 0) {
            return fail(parse, "\"%s\" is not UTF-8", key);
        }
    }
    *text = found;
    return 0;
}

static int take_number(const struct parse *parse, struct json_object *object, const char *key, uint64_t max,
                       uint64_t *number)
{
    struct json_object *value;
    if (take(parse, object, key, json_type_int, &value) < 0) {
        return -1;
    }
    /* Numbers that do not fit are clamped by json-c; negative ones are 0 when
     * they are asked for unsigned. */
    uint64_t found = json_object_get_uint64(value);
    if (json_object_get_int64(value) < 0 || found > max) {
        return fail(parse, "\"%s\" is out of range", key);
    }
    *number = found;
    return 0;
}

static int take_boolean(const struct parse *parse, struct json_object *object, const char *key, bool *flag)
{
    struct json_object *value;
    if (take(parse, object, key, json_type_boolean, &value) < 0) {
        return -1;
    }
    *flag = json_object_get_boolean(value);
    return 0;
}

/* An entry of a VM has no such key. */
static int parse_manual(const struct parse *parse, struct json_object *object, bool *manual)
{
    bool found = false;
    if (json_object_object_get_ex(object, "manual", NULL)) {
        if (take_boolean(parse, object, "manual", &found) < 0) {
            return -1;
        }
        if (!found) {
            return fail(parse, "\"manual\" is there and false");
        }
    }
    *manual = found;
    return 0;
}

static int check_keys(const struct parse *parse, struct json_object *object, const char *what, int expected)
{
    if (json_object_object_length(object) != expected) {
        return fail(parse, "%s has keys that it must not have", what);
    }
    return 0;
}

/* "0x" and eight digits, or null. */
static int parse_original(const struct parse *parse, struct json_object *object, struct ledger_card *card)
{
    struct json_object *value;
    const char *text;
    uint64_t number;

    if (json_object_object_get_ex(object, "original", &value) && !value) {
        return 0;
    }
    if (take_text(parse, object, "original", &text) < 0) {
        return -1;
    }
    if (strlen(text) != strlen("0x00000000") || text[1] != 'x' || !text_parse_number(text, UINT32_MAX, &number)) {
        return fail(parse, "\"original\" is not of the form \"0x00000000\"");
    }
    card->has_original = true;
    card->original = (uint32_t)number;
    return 0;
}

static int parse_card(const struct parse *parse, struct json_object *object, struct ledger_card *card)
{
    const char *bdf;
    uint64_t ppu;
    char text[BDF_TEXT_SIZE];

    if (!json_object_is_type(object, json_type_object)) {
        return fail(parse, "a card is not a JSON object");
    }
    if (take_text(parse, object, "bdf", &bdf) < 0 || take_number(parse, object, "ppu", PPU_MAX - 1, &ppu) < 0 ||
        take_boolean(parse, object, "owned", &card->owned) < 0 ||
        take_boolean(parse, object, "whole", &card->whole) < 0 || parse_original(parse, object, card) < 0 ||
        check_keys(parse, object, "a card", CARD_KEYS) < 0) {
        return -1;
    }
    if (!bdf_parse(bdf, &card->bdf) || strcmp(bdf, bdf_format(card->bdf, text)) != 0) {
        return fail(parse, "\"bdf\" is not a PCI address");
    }
    card->ppu = (int)ppu;
    return 0;
}

static int parse_cards(const struct parse *parse, struct json_object *object, struct ledger_entry *entry)
{
    struct json_object *cards;
    char text[BDF_TEXT_SIZE];

    if (take(parse, object, "cards", json_type_array, &cards) < 0) {
        return -1;
    }
    size_t count = json_object_array_length(cards);
    if (count > PPU_MAX) {
        return fail(parse, "more than %d cards", PPU_MAX);
    }
    entry->cards = memory_alloc(count + 1, sizeof *entry->cards);
    for (entry->card_count = 0; entry->card_count < count; entry->card_count++) {
        struct ledger_card *card = &entry->cards[entry->card_count];
        if (parse_card(parse, json_object_array_get_idx(cards, entry->card_count), card) < 0) {
            return -1;
        }
        for (size_t i = 0; i < entry->card_count; i++) {
            if (bdf_compare(entry->cards[i].bdf, card->bdf) == 0) {
                return fail(parse, "card %s is listed twice", bdf_format(card->bdf, text));
            }
        }
    }
    return 0;
}

static int parse_caller(const struct parse *parse, struct json_object *object, struct process_identity *identity)
{
    struct json_object *caller;
    uint64_t pid;
    uint64_t start;

    if (take(parse, object, "caller", json_type_object, &caller) < 0 ||
        take_number(parse, caller, "pid", INT32_MAX, &pid) < 0 ||
        take_number(parse, caller, "start", INT64_MAX, &start) < 0 ||
        check_keys(parse, caller, "\"caller\"", CALLER_KEYS) < 0) {
        return -1;
    }
    *identity = (struct process_identity){.pid = (pid_t)pid, .start = start};
    return 0;
}

static int parse_phase(const struct parse *parse, struct json_object *object, enum ledger_phase *phase)
{
    const char *word;
    if (take_text(parse, object, "phase", &word) < 0) {
        return -1;
    }
    for (int i = 0; i < LEDGER_PHASE_COUNT; i++) {
        if (strcmp(word, ledger_phase_words[i]) == 0) {
            *phase = (enum ledger_phase)i;
            return 0;
        }
    }
    return fail(parse, "\"phase\" is none of prepared, running, ended");
}

static int parse_schema(const struct parse *parse, struct json_object *object)
{
    const char *schema;
    if (!json_object_is_type(object, json_type_object)) {
        return fail(parse, "it is not a JSON object");
    }
    if (take_text(parse, object, "schema", &schema) < 0) {
        return -1;
    }
    if (strcmp(schema, LEDGER_SCHEMA) == 0) {
        return 0;
    }
    if (strncmp(schema, LEDGER_SCHEMA_FAMILY, strlen(LEDGER_SCHEMA_FAMILY)) == 0) {
        return fail(parse, "it was written by another version of icn-hook (%.60s)", schema);
    }
    return fail(parse, "it is not a ledger entry of icn-hook");
}

static int parse_entry(const struct parse *parse, struct json_object *object, const char *boot_id,
                       struct ledger_entry *entry)
{
    const char *boot;
    const char *uuid;
    const char *name;
    uint64_t since;

    if (parse_schema(parse, object) < 0 || take_text(parse, object, "boot_id", &boot) < 0 ||
        take_text(parse, object, "uuid", &uuid) < 0 || take_text(parse, object, "name", &name) < 0 ||
        parse_phase(parse, object, &entry->phase) < 0 || parse_caller(parse, object, &entry->caller) < 0 ||
        take_number(parse, object, "since", INT64_MAX, &since) < 0 || parse_cards(parse, object, entry) < 0 ||
        parse_manual(parse, object, &entry->manual) < 0 ||
        check_keys(parse, object, "the entry", ENTRY_KEYS + entry->manual) < 0) {
        return -1;
    }
    if (!text_parse_uuid(uuid, entry->uuid) || strcmp(uuid, entry->uuid) != 0) {
        return fail(parse, "\"uuid\" is not a canonical UUID");
    }
    if (strlen(boot) >= UUID_SIZE) {
        return fail(parse, "\"boot_id\" is too long");
    }
    entry->name = memory_copy_text(name);
    entry->since = (int64_t)since;
    entry->other_boot = strcmp(boot, boot_id) != 0;
    return 0;
}

static bool is_ascii(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)text[i] > 0x7f) {
            return false;
        }
    }
    return true;
}

/* Strict JSON, nothing behind it but white space.  A text with a name beyond
 * ASCII is read without json-c's strictness: version 0.18 takes every byte above
 * 0x7f in it for a control character.  What that lets pass (comments, other
 * quotes) changes no value. */
static int parse_json(const struct parse *parse, const char *text, size_t length, struct json_object **object)
{
    struct json_tokener *tokener = json_tokener_new_ex(NESTING_LIMIT);
    json_tokener_set_flags(tokener, JSON_TOKENER_VALIDATE_UTF8 | (is_ascii(text, length) ? JSON_TOKENER_STRICT : 0));
    struct json_object *parsed = json_tokener_parse_ex(tokener, text, (int)length);
    enum json_tokener_error problem = json_tokener_get_error(tokener);
    size_t end = json_tokener_get_parse_end(tokener);
    json_tokener_free(tokener);

    while (end < length && strchr(" \t\r\n", text[end])) {
        end++;
    }
    if (problem == json_tokener_success && end == length) {
        *object = parsed;
        return 0;
    }
    json_object_put(parsed);
    return fail(parse, problem == json_tokener_continue ? "it is cut short" : "it is not JSON");
}

int ledger_entry_parse(const char *text, size_t length, const char *name, const char *boot_id,
                       struct ledger_entry *entry, struct error *err)
{
    const struct parse parse = {.name = name, .err = err};
    struct json_object *object = NULL;
    struct ledger_entry parsed = {0};

    if (length >= INT32_MAX || memchr(text, '\0', length)) {
        return fail(&parse, "it holds a NUL byte");
    }
    if (parse_json(&parse, text, length, &object) < 0) {
        return -1;
    }
    int result = parse_entry(&parse, object, boot_id, &parsed);
    json_object_put(object);
    if (result < 0) {
        ledger_entry_free(&parsed);
        return -1;
    }
    *entry = parsed;
    return 0;
}
