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
    *output = (struct output){.stream = stdout};
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

/* What a link leads to is replaced, not the link.  Whatever is no regular file
 * must not be: /dev/null would be one afterwards. */
static char *find_target(const char *path, struct error *err)
{
    struct stat facts;
    if (lstat(path, &facts) != 0) {
        return memory_copy_text(path);
    }
    if (stat(path, &facts) != 0 || !S_ISREG(facts.st_mode)) {
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

int output_close(struct output *output, int status)
{
    struct error err;
    if (!output->file) {
        return status;
    }
    fclose(output->stream);
    if (status == STATUS_OK && output_replace_file(output->file, output->data, output->length, &err) < 0) {
        fprintf(stderr, "icn-hook: %s\n", err.text);
        status = (int)err.status;
    }
    free(output->data);
    return status;
}

void output_line(const struct output *output, enum colour colour, const char *text)
{
    enum colour shown = output->in_colour ? colour : COLOUR_PLAIN;
    colour_begin(output->stream, shown);
    fputs(text, output->stream);
    colour_end(output->stream, shown);
    fputc('\n', output->stream);
}
