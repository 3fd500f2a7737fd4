/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/line.h"
#include "base/memory.h"

static bool is_control(char character)
{
    unsigned char byte = (unsigned char)character;
    return byte < 0x20 || byte == 0x7f;
}

/* The bytes of the UTF-8 character that begins at TEXT, or 1. */
static size_t character_length(const char *text)
{
    size_t length = 1;

    if ((unsigned char)text[0] >= 0xc0) {
        while (length < 4 && ((unsigned char)text[length] & 0xc0) == 0x80) {
            length++;
        }
    }
    return length;
}

static void copy_escaped(char *target, size_t size, const char *source, bool escape_backslash)
{
    size_t used = 0;

    if (size == 0) {
        return;
    }
    while (*source != '\0') {
        bool escape = is_control(*source) || (escape_backslash && *source == '\\');
        size_t taken = character_length(source);
        size_t needed = escape ? 4 : taken;

        if (needed >= size - used) {
            break;
        }
        if (escape) {
            snprintf(target + used, 5, "\\x%02x", (unsigned char)*source);
        } else {
            memcpy(target + used, source, taken);
        }
        used += needed;
        source += taken;
    }
    target[used] = '\0';
}

void text_escape(char *target, size_t size, const char *source)
{
    copy_escaped(target, size, source, true);
}

void line_copy(char *target, size_t size, const char *source)
{
    copy_escaped(target, size, source, false);
}

char *line_format(const char *format, va_list arguments)
{
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, again);
    va_end(again);

    size_t size = length < 0 ? 1 : (size_t)length + 1;
    char *text = memory_alloc(size, 1);
    vsnprintf(text, size, format, arguments);
    return text;
}

char *line_join(const char *first, const char *second)
{
    size_t first_length = strlen(first);
    size_t second_size = strlen(second) + 1;
    char *text = memory_alloc(first_length + second_size, 1);

    memcpy(text, first, first_length);
    memcpy(text + first_length, second, second_size);
    return text;
}

/* 16 and above: not a digit. */
static unsigned int digit_value(char character)
{
    if (character >= '0' && character <= '9') {
        return (unsigned int)(character - '0');
    }
    if (character >= 'a' && character <= 'f') {
        return (unsigned int)(character - 'a') + 10;
    }
    if (character >= 'A' && character <= 'F') {
        return (unsigned int)(character - 'A') + 10;
    }
    return 16;
}

bool text_parse_number(const char *text, uint64_t max, uint64_t *value)
{
    unsigned int base = 10;
    uint64_t number = 0;

    if (text[0] == '0' && text[1] == 'x') {
        base = 16;
        text += 2;
    }
    if (*text == '\0') {
        return false;
    }
    for (; *text != '\0'; text++) {
        unsigned int digit = digit_value(*text);

        if (digit >= base || digit > max || number > (max - digit) / base) {
            return false;
        }
        number = number * base + digit;
    }
    *value = number;
    return true;
}

void text_list_add(struct text_list *list, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    CLEANUP_FREE char *raw = line_format(format, arguments);
    va_end(arguments);

    size_t size = strlen(raw) * 4 + 1;
    char *line = memory_alloc(size, 1);
    line_copy(line, size, raw);

    list->items = memory_grow(list->items, list->count + 1, sizeof(*list->items));
    list->items[list->count] = line;
    list->count++;
}

void text_list_free(struct text_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i]);
    }
    free(list->items);
    list->items = NULL;
    list->count = 0;
}

static const char *skip_blanks(const char *text)
{
    return text + strspn(text, " \t\n\v\f\r");
}

/* libvirt's virUUIDParse takes '-' and ' ' between pairs of digits, none within
 * a pair or behind the last one. */
bool text_parse_uuid(const char *text, char uuid[UUID_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    char result[UUID_SIZE];
    size_t used = 0;

    text = skip_blanks(text);
    for (int pair = 0; pair < 16; pair++) {
        text += strspn(text, "- ");
        unsigned int high = digit_value(text[0]);
        unsigned int low = high < 16 ? digit_value(text[1]) : 16;
        if (low >= 16) {
            return false;
        }
        if (pair == 4 || pair == 6 || pair == 8 || pair == 10) {
            result[used++] = '-';
        }
        result[used++] = digits[high];
        result[used++] = digits[low];
        text += 2;
    }
    if (*skip_blanks(text) != '\0') {
        return false;
    }
    result[used] = '\0';
    memcpy(uuid, result, sizeof(result));
    return true;
}

int text_make_uuid(char uuid[UUID_SIZE], struct error *err)
{
    unsigned char bytes[16];
    char digits[2 * sizeof(bytes) + 1];

    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes)) {
        return error_set_errno(err, STATUS_HARDWARE, errno, "cannot make a uuid");
    }
    bytes[6] = (unsigned char)(0x40 | (bytes[6] & 0x0f));
    bytes[8] = (unsigned char)(0x80 | (bytes[8] & 0x3f));
    for (size_t i = 0; i < sizeof(bytes); i++) {
        snprintf(digits + 2 * i, 3, "%02x", bytes[i]);
    }
    return text_parse_uuid(digits, uuid) ? 0 : error_set(err, STATUS_HARDWARE, "cannot make a uuid");
}
