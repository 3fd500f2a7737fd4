/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/strict_json.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { NESTING_LIMIT = 8, PROCESS_KEYS = 2 };

int strict_fail(const struct strict *strict, const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return error_set(strict->err, STATUS_INVALID, "%s: %s", strict->name, text);
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

static size_t count_keys(struct json_object *value)
{
    size_t count = 0;
    if (json_object_is_type(value, json_type_object)) {
        json_object_object_foreach(value, key, member)
        {
            (void)key;
            count += 1 + count_keys(member);
        }
    } else if (json_object_is_type(value, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(value); i++) {
            count += count_keys(json_object_array_get_idx(value, i));
        }
    }
    return count;
}

/* Outside of strings, which is where one follows every key and no colon is anywhere else. */
static size_t count_colons(const char *text, size_t length)
{
    size_t count = 0;
    bool is_string = false;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '"') {
            is_string = !is_string;
        } else if (is_string && text[i] == '\\') {
            i++;
        } else if (!is_string && text[i] == ':') {
            count++;
        }
    }
    return count;
}

/* A text beyond ASCII is read without json-c's strictness: version 0.18 takes every byte
 * above 0x7f in it for a control character.  What that lets pass (comments, other quotes)
 * changes no value.  Of a key that is there twice json-c keeps the last and does not say so. */
int strict_parse(const struct strict *strict, const char *text, size_t length, struct json_object **object)
{
    if (length >= INT32_MAX || memchr(text, '\0', length)) {
        return strict_fail(strict, "it holds a NUL byte");
    }
    struct json_tokener *tokener = json_tokener_new_ex(NESTING_LIMIT);
    json_tokener_set_flags(tokener, JSON_TOKENER_VALIDATE_UTF8 | (is_ascii(text, length) ? JSON_TOKENER_STRICT : 0));
    struct json_object *parsed = json_tokener_parse_ex(tokener, text, (int)length);
    enum json_tokener_error problem = json_tokener_get_error(tokener);
    size_t end = json_tokener_get_parse_end(tokener);
    json_tokener_free(tokener);

    while (end < length && strchr(" \t\r\n", text[end])) {
        end++;
    }
    if (problem != json_tokener_success || end != length) {
        json_object_put(parsed);
        return strict_fail(strict, problem == json_tokener_continue ? "it is cut short" : "it is not JSON");
    }
    if (!json_object_is_type(parsed, json_type_object)) {
        json_object_put(parsed);
        return strict_fail(strict, "it is not a JSON object");
    }
    if (count_keys(parsed) != count_colons(text, length)) {
        json_object_put(parsed);
        return strict_fail(strict, "it has a key twice");
    }
    *object = parsed;
    return 0;
}

int strict_keys(const struct strict *strict, struct json_object *object, const char *what, int expected)
{
    if (json_object_object_length(object) != expected) {
        return strict_fail(strict, "%s has keys that it must not have", what);
    }
    return 0;
}

int strict_take(const struct strict *strict, struct json_object *object, const char *key, enum json_type type,
                struct json_object **value)
{
    struct json_object *found;
    if (!json_object_object_get_ex(object, key, &found)) {
        return strict_fail(strict, "\"%s\" is missing", key);
    }
    if (!json_object_is_type(found, type)) {
        return strict_fail(strict, "\"%s\" is not a JSON %s", key, json_type_to_name(type));
    }
    *value = found;
    return 0;
}

bool strict_is_null(struct json_object *object, const char *key)
{
    struct json_object *value;
    return json_object_object_get_ex(object, key, &value) && !value;
}

int strict_text(const struct strict *strict, struct json_object *object, const char *key, const char **text)
{
    struct json_object *value;
    if (strict_take(strict, object, key, json_type_string, &value) < 0) {
        return -1;
    }
    const char *found = json_object_get_string(value);
    if (strlen(found) != (size_t)json_object_get_string_len(value)) {
        return strict_fail(strict, "\"%s\" holds a NUL character", key);
    }
    /* json-c lets overlong forms and surrogates pass. */
    for (const char *at = found; *at != '\0'; at += text_utf8_length(at)) {
        if (text_utf8_length(at) == 0) {
            return strict_fail(strict, "\"%s\" is not UTF-8", key);
        }
    }
    *text = found;
    return 0;
}

int strict_number(const struct strict *strict, struct json_object *object, const char *key, int64_t min, int64_t max,
                  int64_t *number)
{
    struct json_object *value;
    if (strict_take(strict, object, key, json_type_int, &value) < 0) {
        return -1;
    }
    /* Numbers that do not fit are clamped by json-c. */
    int64_t found = json_object_get_int64(value);
    if (found < min || found > max || (found == INT64_MAX && json_object_get_uint64(value) != INT64_MAX)) {
        return strict_fail(strict, "\"%s\" is out of range", key);
    }
    *number = found;
    return 0;
}

int strict_boolean(const struct strict *strict, struct json_object *object, const char *key, bool *flag)
{
    struct json_object *value;
    if (strict_take(strict, object, key, json_type_boolean, &value) < 0) {
        return -1;
    }
    *flag = json_object_get_boolean(value);
    return 0;
}

int strict_word(const struct strict *strict, struct json_object *object, const char *key, const char *const words[],
                int *word)
{
    const char *text;
    char list[128] = "";
    if (strict_text(strict, object, key, &text) < 0) {
        return -1;
    }
    for (int i = 0; words[i]; i++) {
        if (strcmp(text, words[i]) == 0) {
            *word = i;
            return 0;
        }
        size_t length = strlen(list);
        snprintf(list + length, sizeof list - length, "%s%s", i == 0 ? "" : ", ", words[i]);
    }
    return strict_fail(strict, "\"%s\" is none of %s", key, list);
}

int strict_uuid(const struct strict *strict, struct json_object *object, const char *key, char uuid[UUID_SIZE])
{
    const char *text;
    char canonical[UUID_SIZE];
    if (strict_text(strict, object, key, &text) < 0) {
        return -1;
    }
    if (!text_parse_uuid(text, canonical) || strcmp(text, canonical) != 0) {
        return strict_fail(strict, "\"%s\" is not a canonical UUID", key);
    }
    memcpy(uuid, canonical, sizeof canonical);
    return 0;
}

int strict_bdf(const struct strict *strict, struct json_object *object, const char *key, struct bdf *bdf)
{
    const char *text;
    char canonical[BDF_TEXT_SIZE];
    struct bdf found;
    if (strict_text(strict, object, key, &text) < 0) {
        return -1;
    }
    if (!bdf_parse(text, &found) || strcmp(text, bdf_format(found, canonical)) != 0) {
        return strict_fail(strict, "\"%s\" is not a PCI address", key);
    }
    *bdf = found;
    return 0;
}

int strict_mask(const struct strict *strict, struct json_object *object, const char *key, uint32_t *mask)
{
    const char *text;
    uint64_t number;
    if (strict_text(strict, object, key, &text) < 0) {
        return -1;
    }
    if (strlen(text) != strlen("0x00000000") || text[1] != 'x' || !text_parse_number(text, UINT32_MAX, &number)) {
        return strict_fail(strict, "\"%s\" is not of the form \"0x00000000\"", key);
    }
    *mask = (uint32_t)number;
    return 0;
}

int strict_mask_or_null(const struct strict *strict, struct json_object *object, const char *key, bool *has,
                        uint32_t *mask)
{
    bool found = !strict_is_null(object, key);
    if (found && strict_mask(strict, object, key, mask) < 0) {
        return -1;
    }
    *has = found;
    return 0;
}

int strict_process(const struct strict *strict, struct json_object *object, const char *key, pid_t min_pid,
                   struct process_identity *identity)
{
    struct json_object *value;
    int64_t pid;
    int64_t start;
    if (strict_take(strict, object, key, json_type_object, &value) < 0 ||
        strict_number(strict, value, "pid", min_pid, INT32_MAX, &pid) < 0 ||
        strict_number(strict, value, "start", 0, INT64_MAX, &start) < 0) {
        return -1;
    }
    if (json_object_object_length(value) != PROCESS_KEYS) {
        return strict_fail(strict, "\"%s\" has keys that it must not have", key);
    }
    *identity = (struct process_identity){.pid = (pid_t)pid, .start = (unsigned long long)start};
    return 0;
}
