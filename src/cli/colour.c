/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/colour.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ECMA-48's select graphic rendition. */
static const char *const codes[] = {
    [COLOUR_BOLD] = "1", [COLOUR_GREEN] = "32", [COLOUR_RED] = "1;31", [COLOUR_CYAN] = "36", [COLOUR_MAGENTA] = "35",
};

static bool is_set(const char *variable)
{
    const char *value = getenv(variable);
    return value && value[0];
}

bool colour_is_wanted(enum colour_choice choice, FILE *stream)
{
    if (choice != COLOUR_AUTO) {
        return choice == COLOUR_ALWAYS;
    }
    const char *terminal = getenv("TERM");
    bool is_dumb = terminal && strcmp(terminal, "dumb") == 0;
    int fd = fileno(stream);
    return fd >= 0 && isatty(fd) && !is_set("NO_COLOR") && !is_dumb;
}

void colour_begin(FILE *stream, enum colour colour)
{
    if (colour != COLOUR_PLAIN) {
        fprintf(stream, "\033[%sm", codes[colour]);
    }
}

void colour_end(FILE *stream, enum colour colour)
{
    if (colour != COLOUR_PLAIN) {
        fputs("\033[0m", stream);
    }
}
