/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* One line of the configuration that is neither blank nor a comment. */
struct settings_line {
    int number;          /* from 1 */
    const char *problem; /* why the line is not understood, or NULL */
    const char *section; /* "" before the first one; NULL with a problem */
    const char *key;     /* NULL in a section's own line */
    const char *value;   /* "" if there is none */
};

/* Called for each line; false ends the reading. */
typedef bool settings_line_handler(void *user, const struct settings_line *line);

/* Cuts TEXT into lines, sections, keys and values. */
void settings_lines_read(const char *text, size_t length, settings_line_handler *handler, void *user);
