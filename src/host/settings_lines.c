/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The lines of the configuration.  An INI library would be less code only if its
 * answers could be taken: inih, which version 0.1 used, cuts long lines silently,
 * drops text after a section's ']', and treats continued lines, ':' and comments
 * as it was built.  Here nothing is cut or guessed: what is not "[section]",
 * "key = value", a comment or blank is a problem with a line number.
 */
#include "host/settings_lines.h"

#include <stdio.h>
#include <string.h>

/* In bytes, without comment and blanks around.  As in version 0.1, so that no
 * version takes a file that another one refuses for it. */
enum { LINE_LIMIT = 198 };

struct line_reading {
    int number; /* of the present line */
    char section[LINE_LIMIT + 1];
    settings_line_handler *handler;
    void *user;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static void trim_blanks(const char **start, size_t *length)
{
    while (*length > 0 && is_blank(**start)) {
        (*start)++;
        (*length)--;
    }
    while (*length > 0 && is_blank((*start)[*length - 1])) {
        (*length)--;
    }
}

/* The length of the line's part before a comment, which begins at the line's start
 * or after a blank. */
static size_t length_without_comment(const char *start, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if ((start[i] == '#' || start[i] == ';') && (i == 0 || is_blank(start[i - 1]))) {
            length = i;
        }
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

/* What is wrong with a line that is neither blank nor a comment, or NULL. */
static const char *find_line_problem(const char *start, size_t length)
{
    _Static_assert(LINE_LIMIT == 198, "the text below says so");
    if (length > LINE_LIMIT) {
        return "the line is too long (at most 198 bytes)";
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

static bool report_line(const struct line_reading *reading, struct settings_line line)
{
    line.number = reading->number;
    return reading->handler(reading->user, &line);
}

static bool report_pair(const struct line_reading *reading, char *line)
{
    char *key_end = strchr(line, '=');
    const char *value = key_end + 1;
    while (is_blank(*value)) {
        value++;
    }
    while (key_end > line && is_blank(key_end[-1])) {
        key_end--;
    }
    *key_end = '\0';
    return report_line(reading, (struct settings_line){.section = reading->section, .key = line, .value = value});
}

/* One line without its end. */
static bool read_settings_line(struct line_reading *reading, const char *start, size_t length)
{
    bool damaged = has_control_character(start, length);
    const char *problem = NULL;
    char line[LINE_LIMIT + 1];
    length = length_without_comment(start, length);
    trim_blanks(&start, &length);
    if (damaged) {
        problem = "the line holds a control character";
    } else if (length > 0) {
        problem = find_line_problem(start, length);
    }
    if (problem) {
        /* What follows a broken section line belongs to no known section. */
        if (length > 0 && start[0] == '[') {
            reading->section[0] = '\0';
        }
        return report_line(reading, (struct settings_line){.problem = problem});
    }
    memcpy(line, start, length);
    line[length] = '\0';
    if (line[0] == '[') {
        line[length - 1] = '\0';
        memcpy(reading->section, line + 1, length - 1);
        return report_line(reading, (struct settings_line){.section = reading->section});
    }
    return length == 0 || report_pair(reading, line);
}

void settings_lines_read(const char *text, size_t length, settings_line_handler *handler, void *user)
{
    static const char byte_order_mark[] = {'\xef', '\xbb', '\xbf'};
    struct line_reading reading = {.handler = handler, .user = user};
    const char *end = text + length;
    if (length >= sizeof byte_order_mark && memcmp(text, byte_order_mark, sizeof byte_order_mark) == 0) {
        text += sizeof byte_order_mark;
    }
    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        size_t size = (size_t)((newline ? newline : end) - text);
        reading.number++;
        if (!read_settings_line(&reading, text, size > 0 && text[size - 1] == '\r' ? size - 1 : size)) {
            return;
        }
        text = newline ? newline + 1 : end;
    }
}
