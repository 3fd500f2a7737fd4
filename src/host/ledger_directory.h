/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <sys/stat.h>

#include "base/error.h"

/* The ledger's directory seen as files that somebody else may have planted. */

/* Every open in the directory: no symlink, no waiting for a FIFO's other end,
 * and no time stamp changed by looking. */
#define LEDGER_OPEN_FLAGS (O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_NOATIME | O_CLOEXEC)

/* A file or directory (TYPE as in st_mode) that only we can have written;
 * otherwise STATUS_INVALID.  PATH is for the message. */
MUST_CHECK int ledger_check_ours(const struct stat *facts, mode_t type, const char *path, struct error *err);

/* STATUS_INVALID or STATUS_HARDWARE for an open that failed with NUMBER. */
int ledger_open_failed(int number, const char *path, struct error *err);

/* The names in the directory but . and .., sorted bytewise. */
struct ledger_names {
    char **items;
    size_t count;
};
MUST_CHECK int ledger_list(int dirfd, struct ledger_names *names, struct error *err);
void ledger_names_free(struct ledger_names *names);
