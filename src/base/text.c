/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/text.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"

size_t text_utf8_length(const char *text)
{
    const unsigned char *bytes = (const unsigned char *)text;
    unsigned char low = 0x80;
    unsigned char high = 0xbf;
    size_t length;
    if (bytes[0] < 0x80) {
        return 1;
    }
    if (bytes[0] >= 0xc2 && bytes[0] <= 0xdf) {
        length = 2;
    } else if (bytes[0] >= 0xe0 && bytes[0] <= 0xef) {
        length = 3;
        low = bytes[0] == 0xe0 ? 0xa0 : low;
        high = bytes[0] == 0xed ? 0x9f : high;
    } else if (bytes[0] >= 0xf0 && bytes[0] <= 0xf4) {
        length = 4;
        low = bytes[0] == 0xf0 ? 0x90 : low;
        high = bytes[0] == 0xf4 ? 0x8f : high;
    } else {
        return 0;
    }
    if (bytes[1] < low || bytes[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < length; i++) {
        if ((bytes[i] & 0xc0) != 0x80) {
            return 0;
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
        unsigned char byte = (unsigned char)*source;
        bool escape = byte < 0x20 || byte == 0x7f || (escape_backslash && *source == '\\');
        size_t length = text_utf8_length(source);
        size_t taken = length == 0 ? 1 : length;
        size_t needed = escape ? 4 : taken;
        if (needed >= size - used) {
            break;
        }
        if (escape) {
            snprintf(target + used, 5, "\\x%02x", byte);
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

void text_copy_line(char *target, size_t size, const char *source)
{
    copy_escaped(target, size, source, false);
}

char *text_format(const char *format, va_list arguments)
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

char *text_join(const char *first, const char *second)
{
    size_t first_length = strlen(first);
    size_t second_size = strlen(second) + 1;
    char *text = memory_alloc(first_length + second_size, 1);
    memcpy(text, first, first_length);
    memcpy(text + first_length, second, second_size);
    return text;
}

int text_hex_digit(char character)
{
    if (character >= '0' && character <= '9') {
        return character - '0';
    }
    if (character >= 'a' && character <= 'f') {
        return character - 'a' + 10;
    }
    if (character >= 'A' && character <= 'F') {
        return character - 'A' + 10;
    }
    return -1;
}

bool text_parse_number(const char *text, uint64_t max, uint64_t *value)
{
    uint64_t base = 10;
    uint64_t number = 0;
    if (text[0] == '0' && text[1] == 'x') {
        base = 16;
        text += 2;
    }
    if (*text == '\0') {
        return false;
    }
    for (; *text != '\0'; text++) {
        int value_of_digit = text_hex_digit(*text);
        uint64_t digit = (uint64_t)value_of_digit;
        if (value_of_digit < 0 || digit >= base || digit > max || number > (max - digit) / base) {
            return false;
        }
        number = number * base + digit;
    }
    *value = number;
    return true;
}

/* Takes TEXT over. */
static void text_list_take(struct text_list *list, char *text)
{
    list->items = memory_grow(list->items, list->count + 1, sizeof *list->items);
    list->items[list->count++] = text;
}

const char *text_format_time(int64_t seconds, char text[TIME_TEXT_SIZE])
{
    time_t moment = (time_t)seconds;
    struct tm local;
    if (!localtime_r(&moment, &local) || strftime(text, TIME_TEXT_SIZE, "%Y-%m-%d %H:%M:%S", &local) == 0) {
        snprintf(text, TIME_TEXT_SIZE, "an unknown time");
    }
    return text;
}

void text_list_add(struct text_list *list, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    CLEANUP_FREE char *raw = text_format(format, arguments);
    va_end(arguments);
    size_t size = strlen(raw) * 4 + 1;
    char *line = memory_alloc(size, 1);
    text_copy_line(line, size, raw);
    text_list_take(list, line);
}

void text_list_add_copy(struct text_list *list, const char *text)
{
    text_list_take(list, memory_copy_text(text));
}

bool text_list_has(const struct text_list *list, const char *text)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->items[i], text) == 0) {
            return true;
        }
    }
    return false;
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

static const char *after_blanks(const char *text)
{
    return text + strspn(text, " \t\n\v\f\r");
}

/* libvirt's virUUIDParse takes '-' and ' ' between pairs of digits, none within
 * a pair or behind the last one. */
/* How many characters must be put in, left out, replaced or swapped with their neighbour
 * to make B of A (optimal string alignment); neither is longer than NEAR_MAX. */
enum { NEAR_MAX = 64, NEAR_MIN = 3, SLIPS_MAX = 2 };
static int slips_between(const char *a, const char *b)
{
    int slips[NEAR_MAX + 1][NEAR_MAX + 1];
    int rows = (int)strlen(a);
    int columns = (int)strlen(b);
    for (int i = 0; i <= rows; i++) {
        for (int j = 0; j <= columns; j++) {
            if (i == 0 || j == 0) {
                slips[i][j] = i + j;
                continue;
            }
            int least = slips[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            least = slips[i - 1][j] + 1 < least ? slips[i - 1][j] + 1 : least;
            least = slips[i][j - 1] + 1 < least ? slips[i][j - 1] + 1 : least;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && slips[i - 2][j - 2] + 1 < least) {
                least = slips[i - 2][j - 2] + 1;
            }
            slips[i][j] = least;
        }
    }
    return slips[rows][columns];
}

void nearest_try(struct nearest *nearest, const char *name)
{
    size_t length = strlen(nearest->word);
    if (length < NEAR_MIN || length > NEAR_MAX || strlen(name) > NEAR_MAX) {
        return;
    }
    int slips = slips_between(nearest->word, name);
    bool is_near = slips <= SLIPS_MAX && (slips < SLIPS_MAX || length > NEAR_MIN);
    if (is_near && (!nearest->name || slips < nearest->slips)) {
        nearest->name = name;
        nearest->slips = slips;
    }
}

bool text_parse_uuid(const char *text, char uuid[UUID_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    char result[UUID_SIZE];
    size_t used = 0;
    text = after_blanks(text);
    for (int pair = 0; pair < 16; pair++) {
        text += strspn(text, "- ");
        int high = text_hex_digit(text[0]);
        int low = high < 0 ? -1 : text_hex_digit(text[1]);
        if (low < 0) {
            return false;
        }
        if (pair == 4 || pair == 6 || pair == 8 || pair == 10) {
            result[used++] = '-';
        }
        result[used++] = digits[high];
        result[used++] = digits[low];
        text += 2;
    }
    if (*after_blanks(text) != '\0') {
        return false;
    }
    result[used] = '\0';
    memcpy(uuid, result, sizeof result);
    return true;
}

/* From the kernel of this host, also on a simulated one. */
bool text_make_uuid(char uuid[UUID_SIZE])
{
    char text[UUID_SIZE];
    int fd = open("/proc/sys/kernel/random/uuid", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    if (length != (ssize_t)sizeof text - 1) {
        return false;
    }
    text[length] = '\0';
    return text_parse_uuid(text, uuid);
}
