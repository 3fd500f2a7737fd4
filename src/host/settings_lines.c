/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The lines of the configuration, through inih, whose only user this is.
 *
 * How inih treats doubtful lines depends on how it was built: whether it tells
 * the handler the line's number, where it cuts long lines (Debian: after 199
 * bytes, silently), which inline comments it knows (Debian: ';' and not '#'),
 * whether an indented line continues the one before, whether ':' separates.
 * Text behind a section's ']' it drops.  So each line is looked at before inih
 * sees it: read_line() hands over blank lines, "[section]" and "key = value"
 * and nothing else, which every build reads alike, and it counts the lines, so
 * that the number is exact.
 */
#include "host/settings_lines.h"

#include <ini.h>
#include <stdio.h>
#include <string.h>

/* The longest line that inih's usual buffer of 200 bytes holds. */
enum { LONGEST_LINE = 200 - sizeof "\n" };

struct source {
    const char *text;
    size_t length;
    size_t offset;
    int number; /* of the line that was read last */
    bool stopped;
    settings_line_handler *handler;
    void *user;
};

static const char byte_order_mark[] = "\xef\xbb\xbf";

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static void report(struct source *source, struct settings_line line)
{
    line.number = source->number;
    if (!source->stopped && !source->handler(source->user, &line)) {
        source->stopped = true;
    }
}

/* The next line, without its end and the blanks around it. */
static const char *next_line(struct source *source, size_t *length)
{
    const char *start = source->text + source->offset;
    size_t left = source->length - source->offset;
    const char *newline = memchr(start, '\n', left);
    size_t size = newline ? (size_t)(newline - start) : left;
    source->offset += size + (newline ? 1 : 0);
    source->number++;
    if (source->number == 1 && size >= strlen(byte_order_mark) &&
        memcmp(start, byte_order_mark, strlen(byte_order_mark)) == 0) {
        start += strlen(byte_order_mark);
        size -= strlen(byte_order_mark);
    }
    if (size > 0 && start[size - 1] == '\r') {
        size--;
    }
    while (size > 0 && is_blank(*start)) {
        start++;
        size--;
    }
    while (size > 0 && is_blank(start[size - 1])) {
        size--;
    }
    *length = size;
    return start;
}

/* The length of the line's part before a comment: one that starts the line or
 * stands behind a blank. */
static size_t without_comment(const char *start, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if ((start[i] == '#' || start[i] == ';') && (i == 0 || is_blank(start[i - 1]))) {
            length = i;
        }
    }
    while (length > 0 && is_blank(start[length - 1])) {
        length--;
    }
    return length;
}

static bool has_control_character(const char *start, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)start[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            return true;
        }
    }
    return false;
}

static const char *find_problem(const char *start, size_t length)
{
    if (length == 0) {
        return NULL;
    }
    if (start[0] == '[') {
        const char *end = memchr(start, ']', length);
        return end == start + length - 1 ? NULL : "a section's line must be [name]";
    }
    size_t key_length = 0;
    while (key_length < length && start[key_length] != '=' && start[key_length] != ':') {
        key_length++;
    }
    if (key_length == 0 || key_length == length || start[key_length] != '=') {
        return "a line must be \"key = value\", [section] or a comment";
    }
    return NULL;
}

/* inih's reader: fills TARGET like fgets. */
static char *read_line(char *target, int size, void *stream)
{
    struct source *source = stream;
    if (source->stopped || source->offset == source->length) {
        return NULL;
    }

    size_t length;
    const char *start = next_line(source, &length);
    size_t room = (size_t)size - sizeof "\n";
    size_t limit = room < LONGEST_LINE ? room : LONGEST_LINE;
    bool damaged = has_control_character(start, length);
    length = without_comment(start, length);
    const char *problem = find_problem(start, length);
    char too_long[80];
    if (length > limit) {
        snprintf(too_long, sizeof too_long, "the line is too long (at most %zu bytes)", limit);
        problem = too_long;
    }
    if (damaged) {
        problem = "the line holds a control character";
    }
    if (problem) {
        report(source, (struct settings_line){.problem = problem});
        /* What follows a broken section line belongs to no known section. */
        length = length > 0 && start[0] == '[' ? strlen("[]") : 0;
        start = "[]";
    }
    memcpy(target, start, length);
    if (length > 0 && target[0] == '[' && !problem) {
        target[length - 1] = '\0';
        report(source, (struct settings_line){.section = target + 1});
        target[length - 1] = ']';
    }
    memcpy(target + length, "\n", sizeof "\n");
    return target;
}

static int take_pair(void *user, const char *section, const char *key, const char *value)
{
    struct source *source = user;
    report(source, (struct settings_line){.section = section, .key = key, .value = value});
    return 1;
}

void settings_lines_read(const char *text, size_t length, settings_line_handler *handler, void *user)
{
    struct source source = {.text = text, .length = length, .handler = handler, .user = user};
    /* Its result only tells of broken lines, and it gets none. */
    (void)ini_parse_stream(read_line, &source, take_pair, &source);
}
