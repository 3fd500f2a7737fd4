/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <json.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "host/ledger.h"
#include "host/ledger_text.h"

const char *const ledger_phase_words[LEDGER_PHASE_COUNT] = {
    [PHASE_PREPARED] = "prepared",
    [PHASE_RUNNING] = "running",
    [PHASE_ENDED] = "ended",
};

/* Unicode, table 3-7: well-formed UTF-8 byte sequences. */
size_t ledger_utf8_length(const char *characters)
{
    const unsigned char *text = (const unsigned char *)characters;
    unsigned char low = 0x80;
    unsigned char high = 0xbf;
    size_t length;

    if (text[0] < 0x80) {
        return 1;
    }
    if (text[0] >= 0xc2 && text[0] <= 0xdf) {
        length = 2;
    } else if (text[0] >= 0xe0 && text[0] <= 0xef) {
        length = 3;
        low = text[0] == 0xe0 ? 0xa0 : low;
        high = text[0] == 0xed ? 0x9f : high;
    } else if (text[0] >= 0xf0 && text[0] <= 0xf4) {
        length = 4;
        low = text[0] == 0xf0 ? 0x90 : low;
        high = text[0] == 0xf4 ? 0x8f : high;
    } else {
        return 0;
    }
    if (text[1] < low || text[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return length;
}

bool ledger_name_is_printable(const char *name)
{
    for (size_t length = 1; *name != '\0' && length > 0; name += length) {
        length = (unsigned char)*name < 0x20 || *name == 0x7f ? 0 : ledger_utf8_length(name);
    }
    return *name == '\0';
}

/* NAME as UTF-8: every byte that belongs to no character becomes \xNN.  The
 * name is for people only, and JSON has no other way to hold such bytes. */
static char *valid_utf8(const char *name)
{
    enum { ESCAPE_SIZE = sizeof "\\xNN" };
    char *copy = memory_alloc(strlen(name) + 1, ESCAPE_SIZE);
    char *to = copy;

    while (*name != '\0') {
        size_t length = ledger_utf8_length(name);
        if (length == 0) {
            to += snprintf(to, ESCAPE_SIZE, "\\x%02x", (unsigned char)*name);
            name++;
            continue;
        }
        memcpy(to, name, length);
        to += length;
        name += length;
    }
    return copy;
}

static void add_text(struct json_object *object, const char *key, const char *text)
{
    json_object_object_add(object, key, json_object_new_string(text));
}

static struct json_object *format_card(const struct ledger_card *card)
{
    struct json_object *object = json_object_new_object();
    char text[BDF_TEXT_SIZE];
    char original[sizeof "0x00000000"];

    snprintf(original, sizeof original, "0x%08" PRIx32, card->original);
    add_text(object, "bdf", bdf_format(card->bdf, text));
    json_object_object_add(object, "ppu", json_object_new_int(card->ppu));
    json_object_object_add(object, "owned", json_object_new_boolean(card->owned));
    json_object_object_add(object, "whole", json_object_new_boolean(card->whole));
    json_object_object_add(object, "original", card->has_original ? json_object_new_string(original) : NULL);
    return object;
}

char *ledger_entry_format(const struct ledger_entry *entry, const char *boot_id)
{
    struct json_object *object = json_object_new_object();
    struct json_object *caller = json_object_new_object();
    struct json_object *cards = json_object_new_array();
    CLEANUP_FREE char *name = valid_utf8(entry->name);

    json_object_object_add(caller, "pid", json_object_new_int(entry->caller.pid));
    json_object_object_add(caller, "start", json_object_new_uint64(entry->caller.start));
    for (size_t i = 0; i < entry->card_count; i++) {
        json_object_array_add(cards, format_card(&entry->cards[i]));
    }
    add_text(object, "schema", LEDGER_SCHEMA);
    add_text(object, "boot_id", boot_id);
    add_text(object, "uuid", entry->uuid);
    add_text(object, "name", name);
    add_text(object, "phase", ledger_phase_words[entry->phase]);
    json_object_object_add(object, "caller", caller);
    json_object_object_add(object, "since", json_object_new_int64(entry->since));
    json_object_object_add(object, "cards", cards);
    if (entry->manual) {
        json_object_object_add(object, "manual", json_object_new_boolean(true));
    }

    const int style = JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE;
    char *text = memory_copy_text(json_object_to_json_string_ext(object, style));
    json_object_put(object);
    return text;
}
