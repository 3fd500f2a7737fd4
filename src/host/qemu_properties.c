/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Facts: QEMU's util/qemu-option.c (get_opt_name_value), qobject/json-lexer.c
 * and json-parser.c. */
#include "host/qemu_properties.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"

static void add_property(struct qemu_properties *properties, char *name, char *value)
{
    properties->items = memory_grow(properties->items, properties->count + 1, sizeof *properties->items);
    properties->items[properties->count++] = (struct qemu_property){.name = name, .value = value};
}

/* The value that begins at *TEXT; *TEXT is then after it and its comma. */
static char *take_value(const char **text)
{
    const char *end = *text; /* a single comma or the end of the text */
    while (*end != '\0' && (end[0] != ',' || end[1] == ',')) {
        end += end[0] == ',' ? 2 : 1;
    }
    char *value = memory_alloc((size_t)(end - *text) + 1, 1);
    size_t used = 0;
    for (const char *at = *text; at < end; at++) {
        if (*at == ',') {
            at++;
        }
        value[used++] = *at;
    }
    *text = *end == ',' ? end + 1 : end;
    return value;
}

void qemu_properties_split(const char *text, struct qemu_properties *properties)
{
    bool first = true;
    while (*text != '\0') {
        size_t name_length = strcspn(text, "=,");
        if (text[name_length] == '=') {
            char *name = memcpy(memory_alloc(name_length + 1, 1), text, name_length);
            text += name_length + 1;
            add_property(properties, name, take_value(&text));
        } else if (first) {
            add_property(properties, memory_copy_text("driver"), take_value(&text));
        } else {
            add_property(properties, take_value(&text), memory_copy_text("on"));
        }
        first = false;
    }
}

/* The character of \uXXXX, and *TEXT after it.  Nothing that is looked for has
 * characters beyond ASCII, so one character stands for all of those. */
static char decode_unicode(const char **text)
{
    int value = 0;
    for (int i = 0; i < 4; i++, (*text)++) {
        int digit = text_hex_digit(**text);
        if (digit < 0) {
            return '?';
        }
        value = value * 16 + digit;
    }
    return value > 0 && value < 0x80 ? (char)value : '?';
}

/* The character of the escape whose letter *TEXT is at, and *TEXT after it. */
static char decode_escape(const char **text)
{
    static const char letters[] = "bfnrt";
    static const char characters[] = "\b\f\n\r\t";
    char letter = *(*text)++;
    const char *at = strchr(letters, letter);
    if (letter == 'u') {
        return decode_unicode(text);
    }
    return at ? characters[at - letters] : letter;
}

/* The string that begins at *TEXT, a quote; *TEXT is then after it.  NULL if
 * it has no end. */
static char *take_json_string(const char **text)
{
    const char quote = **text;
    const char *at = *text + 1;
    const char *end = at;
    size_t used = 0;
    while (*end != '\0' && *end != quote) {
        end += end[0] == '\\' && end[1] != '\0' ? 2 : 1;
    }
    if (*end == '\0') {
        return NULL;
    }
    char *value = memory_alloc((size_t)(end - at) + 1, 1);
    while (at < end) {
        char character = *at++;
        value[used++] = character == '\\' ? decode_escape(&at) : character;
    }
    *text = end + 1;
    return value;
}

static const char *skip_json_blanks(const char *text)
{
    return text + strspn(text, " \t\r\n");
}

bool qemu_properties_from_json(const char *text, struct qemu_properties *properties)
{
    for (text += strcspn(text, "\"'"); *text != '\0'; text += strcspn(text, "\"'")) {
        CLEANUP_FREE char *name = take_json_string(&text);
        if (!name) {
            return false;
        }
        text = skip_json_blanks(text);
        if (*text != ':') {
            continue;
        }
        text = skip_json_blanks(text + 1);
        if (*text != '"' && *text != '\'') {
            continue;
        }
        char *value = take_json_string(&text);
        if (!value) {
            return false;
        }
        add_property(properties, memory_copy_text(name), value);
    }
    return true;
}

void qemu_properties_free(struct qemu_properties *properties)
{
    for (size_t i = 0; i < properties->count; i++) {
        free(properties->items[i].name);
        free(properties->items[i].value);
    }
    free(properties->items);
    *properties = (struct qemu_properties){0};
}
