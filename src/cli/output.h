/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/error.h"
#include "cli/colour.h"
#include "cli/options.h"

/* Where a verb's text goes, and how it may look there: standard output, or a file
 * (-o) that is replaced as a whole once everything is there. */
struct output {
    FILE *stream;
    bool in_colour;
    int width; /* of the terminal; 0: no terminal, lines may be of any length */

    const char *file; /* NULL: standard output */
    char *data;
    size_t length;
};

void output_open(struct output *output, const struct options *options);

/* With STATUS_OK the file gets what was printed; with any other status it stays as
 * it is.  Returns STATUS, or that of a failure, after the one line on stderr. */
int output_close(struct output *output, int status);

void output_line(const struct output *output, enum colour colour, const char *text);

/* Replaces the regular file that PATH leads to, or makes it, mode 0644. */
MUST_CHECK int output_replace_file(const char *path, const void *data, size_t length, struct error *err);
