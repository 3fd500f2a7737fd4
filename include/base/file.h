/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/text.h"

/* A whole file or stream in memory; DATA is owned, zero-terminated behind
 * LENGTH bytes, and may hold zeros itself. */
struct buffer {
    char *data;
    size_t length;
};
void buffer_free(struct buffer *buffer);

/* The last line that is not blank, without the blanks at its end, as one printable line
 * (text_copy_line), cut to SIZE; "" if there is none. */
void buffer_last_line(const struct buffer *buffer, char *line, size_t size);

/* A point in time on CLOCK_MONOTONIC, in milliseconds. */
int64_t deadline_after_ms(int64_t milliseconds);
/* Milliseconds left, never negative. */
int64_t deadline_left_ms(int64_t deadline);

enum { NO_DEADLINE = -1 };

/* Reads FD to its end.  More than LIMIT bytes: STATUS_INVALID; DEADLINE
 * (monotonic milliseconds, or NO_DEADLINE) passed: STATUS_BUSY; a read error:
 * STATUS_HARDWARE.  NAME is used in messages. */
MUST_CHECK int file_read_fd(int fd, const char *name, size_t limit, int64_t deadline, struct buffer *buffer,
                            struct error *err);

/* Reads a regular file.  Missing: STATUS_INVALID and *missing true; in every other
 * case *missing is false (MISSING may be NULL). */
MUST_CHECK int file_read(const char *path, size_t limit, struct buffer *buffer, bool *missing, struct error *err);

/* The names in a directory, sorted by strcmp, without "." and "..", as they are: not
 * escaped.  NAMES is owned by the caller and may have been anything before.  Missing:
 * STATUS_INVALID and *missing true; in every other case *missing is false (MISSING may be
 * NULL), and a failure is STATUS_HARDWARE. */
MUST_CHECK int file_list(const char *path, struct text_list *names, bool *missing, struct error *err);
/* The same for the directory DIRFD, which is open for reading; NAME_IN_MESSAGES is its. */
MUST_CHECK int file_list_at(int dirfd, const char *name_in_messages, struct text_list *names, struct error *err);
/* Calls VISIT for each of these names, as they come from DIRFD's read position on.  0 or a negative errno. */
MUST_CHECK int file_visit_names(int dirfd, void (*visit)(void *context, const char *name), void *context);

/* One short text as sysfs and procfs give it, without the newline at its end, in WORD
 * (SIZE bytes, terminated).  False, with WORD untouched, if it is unreadable, empty or
 * too long.  PATH is below DIRFD, which may be AT_FDCWD. */
MUST_CHECK bool file_read_word_at(int dirfd, const char *path, char *word, size_t size);
/* Writes WORD as the whole content of a file that exists, with one write, as sysfs wants
 * it.  0 or a negative errno. */
MUST_CHECK int file_write_word_at(int dirfd, const char *path, const char *word);

/* Atomically replaces NAME in the directory DIRFD: temporary file (O_EXCL,
 * O_NOFOLLOW, mode MODE), write, rename.  A failure leaves the old content
 * and no temporary; a killed program may leave one, whose name begins with a
 * dot. */
MUST_CHECK int file_replace_at(int dirfd, const char *name, const void *data, size_t length, mode_t mode,
                               struct error *err);

/* All of DATA, in as many writes as it takes.  -1 with errno set. */
int file_write_all(int fd, const void *data, size_t length);

/* Gives stdin, stdout and stderr to /dev/null where they are closed, so that no file that
 * is opened later becomes one of them. */
void file_occupy_standard_descriptors(void);

/* For __attribute__((cleanup)): closes *fd unless it is -1. */
void file_close_fd(int *fd);
#define CLEANUP_FD __attribute__((cleanup(file_close_fd)))
