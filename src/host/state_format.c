/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <json.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "host/state.h"

/* NAME as UTF-8: every byte that belongs to no character becomes \xNN.  The name is for
 * people only, and JSON has no other way to hold such bytes. */
static char *valid_utf8(const char *name)
{
    enum { ESCAPE_SIZE = sizeof "\\xNN" };
    char *copy = memory_alloc(strlen(name) + 1, ESCAPE_SIZE);
    char *to = copy;

    while (*name != '\0') {
        size_t length = text_utf8_length(name);
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

static void add_bdf(struct json_object *object, struct bdf bdf)
{
    char text[BDF_TEXT_SIZE];
    add_text(object, "bdf", bdf_format(bdf, text));
}

static void add_mask(struct json_object *object, const char *key, bool has, uint32_t mask)
{
    char text[sizeof "0x00000000"];
    snprintf(text, sizeof text, "0x%08" PRIx32, mask);
    json_object_object_add(object, key, has ? json_object_new_string(text) : NULL);
}

static void add_process(struct json_object *object, const char *key, bool has, struct process_identity identity)
{
    struct json_object *process = NULL;
    if (has) {
        process = json_object_new_object();
        json_object_object_add(process, "pid", json_object_new_int(identity.pid));
        json_object_object_add(process, "start", json_object_new_uint64(identity.start));
    }
    json_object_object_add(object, key, process);
}

static char *to_text(struct json_object *object)
{
    const int style = JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE;
    char *text = memory_copy_text(json_object_to_json_string_ext(object, style));
    json_object_put(object);
    return text;
}

char *claim_format(const struct claim *claim, const char *boot_id)
{
    struct json_object *object = json_object_new_object();
    struct json_object *cards = json_object_new_array();
    CLEANUP_FREE char *name = valid_utf8(claim->name);
    for (size_t i = 0; i < claim->card_count; i++) {
        struct json_object *card = json_object_new_object();
        add_bdf(card, claim->cards[i].bdf);
        json_object_object_add(card, "whole", json_object_new_boolean(claim->cards[i].whole));
        json_object_array_add(cards, card);
    }
    add_text(object, "schema", "icn-hook/claim/2");
    add_text(object, "boot", boot_id);
    add_text(object, "uuid", claim->uuid);
    add_text(object, "name", name);
    add_text(object, "kind", claim->is_group ? "group" : "vm");
    add_text(object, "phase",
             claim->phase == CLAIM_STARTING  ? "starting"
             : claim->phase == CLAIM_RUNNING ? "running"
                                             : "ended");
    add_process(object, "daemon", claim->has_daemon, claim->daemon);
    add_process(object, "process", claim->process.pid != 0, claim->process);
    json_object_object_add(object, "since", json_object_new_int64(claim->since));
    json_object_object_add(object, "boottime_ms", json_object_new_int64(claim->boottime_ms));
    json_object_object_add(object, "cards", cards);
    return to_text(object);
}

static struct json_object *format_evidence(const struct evidence *evidence)
{
    if (evidence->at == 0) {
        return NULL;
    }
    struct json_object *object = json_object_new_object();
    struct json_object *owners = json_object_new_array();
    for (size_t i = 0; i < evidence->owner_count; i++) {
        json_object_array_add(owners, json_object_new_string(evidence->owners[i]));
    }
    add_mask(object, "mask", true, evidence->mask);
    json_object_object_add(object, "at", json_object_new_int64(evidence->at));
    json_object_object_add(object, "owners", owners);
    return object;
}

char *cards_format(const struct card_memory *cards, size_t count, const char *boot_id)
{
    struct json_object *object = json_object_new_object();
    struct json_object *list = json_object_new_array();
    for (size_t i = 0; i < count; i++) {
        const struct card_memory *memory = &cards[i];
        if (!memory->has_original && !memory->has_written && memory->evidence.at == 0) {
            continue;
        }
        struct json_object *card = json_object_new_object();
        add_bdf(card, memory->bdf);
        add_mask(card, "original", memory->has_original, memory->original);
        add_mask(card, "written", memory->has_written, memory->written);
        json_object_object_add(card, "evidence", format_evidence(&memory->evidence));
        json_object_array_add(list, card);
    }
    add_text(object, "schema", "icn-hook/cards/1");
    add_text(object, "boot", boot_id);
    json_object_object_add(object, "cards", list);
    return to_text(object);
}
