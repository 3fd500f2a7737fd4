/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/output.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "cli/table.h"
#include "engine/links.h"

/* ECMA-48's select graphic rendition. */
static const char *const codes[] = {
    [COLOUR_BOLD] = "1", [COLOUR_GREEN] = "32", [COLOUR_RED] = "1;31", [COLOUR_CYAN] = "36", [COLOUR_MAGENTA] = "35",
};

bool colour_is_wanted(enum colour_choice choice, FILE *stream)
{
    if (choice != COLOUR_AUTO) {
        return choice == COLOUR_ALWAYS;
    }
    const char *terminal = getenv("TERM");
    const char *no_colour = getenv("NO_COLOR");
    bool is_dumb = terminal && strcmp(terminal, "dumb") == 0;
    int fd = fileno(stream);
    return fd >= 0 && isatty(fd) && !(no_colour && no_colour[0]) && !is_dumb;
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

enum { FILE_MODE = 0644 };

static int terminal_width(void)
{
    const char *columns = getenv("COLUMNS");
    uint64_t asked;
    struct winsize size;
    if (!isatty(STDOUT_FILENO)) {
        return 0;
    }
    if (columns && text_parse_number(columns, INT_MAX, &asked) && asked > 0) {
        return (int)asked;
    }
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

void output_open(struct output *output, const struct options *options)
{
    *output = (struct output){.stream = stdout, .no_header = options->no_header};
    if (options->output && strcmp(options->output, "-") != 0) {
        output->file = options->output;
        output->stream = open_memstream(&output->data, &output->length);
        if (!output->stream) {
            memory_alloc(SIZE_MAX / 2, 1); /* says that memory is short, and ends the program */
        }
    } else {
        output->width = terminal_width();
    }
    output->in_colour = colour_is_wanted(options->colour, output->stream);
}

/* What a symbolic link leads to is replaced, not the link, and only if it is a regular
 * file: /dev/null would be one afterwards. */
static char *find_target(const char *path, struct error *err)
{
    struct stat facts;
    if (lstat(path, &facts) < 0) {
        return memory_copy_text(path);
    }
    if (stat(path, &facts) < 0 || !S_ISREG(facts.st_mode)) {
        error_set(err, STATUS_INVALID, "%s is not a regular file", path);
        return NULL;
    }
    return realpath(path, NULL);
}

int output_replace_file(const char *path, const void *data, size_t length, struct error *err)
{
    CLEANUP_FREE char *target = find_target(path, err);
    if (!target) {
        return -1;
    }
    CLEANUP_FREE char *directory = memory_copy_text(target);
    CLEANUP_FREE char *name = memory_copy_text(target);
    CLEANUP_FD int fd = open(dirname(directory), O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        int number = errno;
        return error_set_errno(err, STATUS_INVALID, number, "cannot write %s", path);
    }
    if (file_replace_at(fd, basename(name), data, length, FILE_MODE, err) < 0) {
        return error_wrap(err, "%s", path);
    }
    return 0;
}

int output_close(struct output *output, struct error *err)
{
    if (!output->file) {
        return 0;
    }
    fclose(output->stream);
    int result = output_replace_file(output->file, output->data, output->length, err);
    free(output->data);
    return result;
}

void output_line(const struct output *output, enum colour colour, const char *text)
{
    enum colour shown = output->in_colour ? colour : COLOUR_PLAIN;
    colour_begin(output->stream, shown);
    fputs(text, output->stream);
    colour_end(output->stream, shown);
    fputc('\n', output->stream);
}

const struct sign signs[] = {
    [VERDICT_OPEN] = {' ', COLOUR_GREEN, NULL},
    [VERDICT_CUT] = {':', COLOUR_CYAN, "cut by idle = isolate, or before any VM"},
    [VERDICT_NEEDLESS] = {'/', COLOUR_MAGENTA, "cut, but not required"},
    [VERDICT_UNREAD] = {'~', COLOUR_GREEN, "unreadable, allowed to be open"},
    [VERDICT_PROVEN] = {'-', COLOUR_CYAN, "cut as required"},
    [VERDICT_GATED] = {'=', COLOUR_CYAN, "cut when read back at the start"},
    [VERDICT_UNVERIFIED] = {'?', COLOUR_MAGENTA, "must be cut, NOT VERIFIED"},
    [VERDICT_LEAK] = {'!', COLOUR_RED, "LEAK: open, must be cut"},
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
