/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/sign.h"

const struct sign signs[] = {
    [VERDICT_OPEN] = {' ', COLOUR_GREEN, NULL},
    [VERDICT_CUT] = {'-', COLOUR_CYAN, "cut, as it has to be"},
    [VERDICT_NEEDLESS] = {'/', COLOUR_MAGENTA, "cut, though it may be open"},
    [VERDICT_LEAK] = {'!', COLOUR_RED, "LEAK: open, must be cut"},
    [VERDICT_UNSEEN] = {'~', COLOUR_GREEN, "cannot be read, may be open"},
    [VERDICT_UNSURE] = {'?', COLOUR_MAGENTA, "cannot be read, must be cut"},
};

void sign_print_legend(const struct output *output, const char *before, signs_used used)
{
    int column = fprintf(output->stream, "%s", before);
    int limit = output->width > 0 ? output->width : 80;
    for (size_t i = 0; i < sizeof signs / sizeof signs[0]; i++) {
        if (!signs[i].meaning || (used >> i & 1) == 0) {
            continue;
        }
        int width = (int)sizeof "   -" + table_text_width(signs[i].meaning);
        if (column + width > limit) {
            fputs("\n ", output->stream);
            column = 1;
        }
        enum colour colour = output->in_colour ? signs[i].colour : COLOUR_PLAIN;
        fputs("  ", output->stream);
        colour_begin(output->stream, colour);
        fputc(signs[i].character, output->stream);
        colour_end(output->stream, colour);
        fprintf(output->stream, " %s", signs[i].meaning);
        column += width;
    }
    fputc('\n', output->stream);
}
