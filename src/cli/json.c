/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

void json_put_text(struct json_object *object, const char *key, const char *text_or_null)
{
    json_object_object_add(object, key, text_or_null ? json_object_new_string(text_or_null) : NULL);
}

void json_put_mask(struct json_object *object, const char *key, uint32_t mask)
{
    char text[sizeof "0x00000000"];
    snprintf(text, sizeof text, "0x%08" PRIx32, mask);
    json_put_text(object, key, text);
}

void json_put_number(struct json_object *object, const char *key, int number)
{
    json_object_object_add(object, key, json_object_new_int(number));
}

void json_put_known_number(struct json_object *object, const char *key, int number)
{
    json_object_object_add(object, key, number < 0 ? NULL : json_object_new_int(number));
}

void json_put_moment(struct json_object *object, const char *key, int64_t seconds)
{
    json_object_object_add(object, key, seconds == 0 ? NULL : json_object_new_int64(seconds));
}

void json_put_time(struct json_object *object, const char *key, int64_t seconds)
{
    time_t moment = (time_t)seconds;
    char text[sizeof "-2147483648-12-31T23:59:59Z"];
    struct tm utc;
    bool is_known =
        seconds != 0 && gmtime_r(&moment, &utc) && strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc) > 0;
    json_put_text(object, key, is_known ? text : NULL);
}

void json_put_end(struct json_object *object, const char *key, enum link_end end)
{
    static const char *const texts[] = {[END_CUT] = "cut", [END_OPEN] = "open", [END_UNKNOWN] = "unknown"};
    json_put_text(object, key, texts[end]);
}

void json_put_live(struct json_object *object, const char *key, enum link_live live)
{
    json_object_object_add(object, key, live == LIVE_UNKNOWN ? NULL : json_object_new_boolean(live == LIVE_YES));
}

void json_put_bool(struct json_object *object, const char *key, bool value)
{
    json_object_object_add(object, key, json_object_new_boolean(value));
}

void json_put_list(struct json_object *object, const char *key, const struct text_list *list)
{
    struct json_object *array = json_put_array(object, key);
    for (size_t i = 0; i < list->count; i++) {
        json_object_array_add(array, json_object_new_string(list->items[i]));
    }
}

struct json_object *json_put_array(struct json_object *object, const char *key)
{
    struct json_object *array = json_object_new_array();
    json_object_object_add(object, key, array);
    return array;
}

void json_put_writes(struct json_object *object, const struct machine *machine, const struct plan_write writes[],
                     size_t count)
{
    struct json_object *array = json_put_array(object, "writes");
    for (size_t i = 0; i < count; i++) {
        struct json_object *entry = json_object_new_object();
        char bdf[BDF_TEXT_SIZE];
        json_put_number(entry, "ppu", writes[i].ppu);
        json_put_text(entry, "bdf", bdf_format(machine->card[writes[i].ppu], bdf));
        json_put_mask(entry, "from", writes[i].from);
        json_put_mask(entry, "to", writes[i].to);
        json_object_array_add(array, entry);
    }
}

void json_put_coverage(struct json_object *object, const struct coverage *coverage)
{
    struct json_object *entry = json_object_new_object();
    json_put_number(entry, "required", coverage->required);
    json_put_number(entry, "proven", coverage->proven);
    json_put_number(entry, "gated", coverage->gated);
    json_put_number(entry, "unverified", coverage->unverified);
    json_object_object_add(object, "coverage", entry);
}

void json_put_findings(struct json_object *object, const struct notes *notes)
{
    struct json_object *array = json_put_array(object, "findings");
    for (size_t i = 0; i < notes->count; i++) {
        const struct note *note = &notes->items[i];
        struct json_object *entry = json_object_new_object();
        json_put_text(entry, "code", note_code_text(note->code));
        json_put_text(entry, "severity", severity_text(note->severity));
        json_put_known_number(entry, "ppu", note->ppu);
        json_put_text(entry, "vm", note->vm);
        json_put_text(entry, "text", note->text);
        json_object_array_add(array, entry);
    }
}

void json_put_warnings(struct json_object *object, const struct notes *notes, const struct notes *more)
{
    struct json_object *array = json_put_array(object, "warnings");
    const struct notes *lists[] = {notes, more};
    for (size_t list = 0; list < sizeof lists / sizeof lists[0]; list++) {
        for (size_t i = 0; lists[list] && i < lists[list]->count; i++) {
            json_object_array_add(array, json_object_new_string(lists[list]->items[i].text));
        }
    }
}

const char *json_status_text(enum status status)
{
    static const char *const codes[] = {
        [STATUS_CHECK_FAILED] = "check-failed", [STATUS_USAGE] = "usage",       [STATUS_INVALID] = "invalid",
        [STATUS_CONFLICT] = "conflict",         [STATUS_HARDWARE] = "hardware", [STATUS_BUSY] = "busy",
        [STATUS_UNVERIFIED] = "unverified",
    };
    return codes[status];
}

struct json_object *json_error(const struct error *err)
{
    struct json_object *object = json_object_new_object();
    json_put_text(object, "schema", "icn-hook/error/1");
    json_put_number(object, "status", (int)err->status);
    json_put_text(object, "code", json_status_text(err->status));
    json_put_text(object, "text", err->text);
    return object;
}

void json_write(FILE *stream, struct json_object *object)
{
    fprintf(stream, "%s\n",
            json_object_to_json_string_ext(object, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
                                                       JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(object);
}

void json_print(struct json_object *object)
{
    json_write(stdout, object);
}
