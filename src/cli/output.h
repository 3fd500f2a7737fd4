/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/error.h"
#include "cli/options.h"

/* Colours that can be read on dark and on light backgrounds.  None ever says
 * anything alone: a word or a character of its own says the same. */
enum colour {
    COLOUR_PLAIN,
    COLOUR_BOLD,
    COLOUR_GREEN,
    COLOUR_RED, /* bold too */
    COLOUR_CYAN,
    COLOUR_MAGENTA,
};

/* Whether to colour what goes to STREAM: as asked for, else on a terminal that is
 * not dumb, unless NO_COLOR is set to anything. */
bool colour_is_wanted(enum colour_choice choice, FILE *stream);

void colour_begin(FILE *stream, enum colour colour);
void colour_end(FILE *stream, enum colour colour);

/* Where a verb's text goes, and how it may look there: standard output, or a file
 * (-o) that is replaced as a whole once everything is there. */
struct output {
    FILE *stream;
    bool in_colour;
    int width; /* of the terminal; 0: no terminal, lines may be of any length */
    bool no_header;

    const char *file; /* NULL: standard output */
    char *data;
    size_t length;
};

void output_open(struct output *output, const struct options *options);

/* The file, if there is one, gets what was printed. */
MUST_CHECK int output_close(struct output *output, struct error *err);

void output_line(const struct output *output, enum colour colour, const char *text);

/* Replaces the regular file that PATH leads to, or makes it, mode 0644. */
MUST_CHECK int output_replace_file(const char *path, const void *data, size_t length, struct error *err);

/* How status and topo show the state of links: one character and colour each. */
struct sign {
    char character;
    enum colour colour;
    const char *meaning;
};
extern const struct sign signs[];

/* Which signs a text used: bit VERDICT_…. */
typedef unsigned int signs_used;

/* "  - cut as it must be   ! LEAK: …", only what was used and says not its own name. */
void sign_print_legend(const struct output *output, const char *before, signs_used used);
