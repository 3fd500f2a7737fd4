/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdio.h>

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
