/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* The two files that icn-hook setup writes belong together: the topology speaks of ids, and the drop-in says which
 * card has which. */
#define SETUP_DROP_IN "50-cards.conf"

/* What stands in the drop-in's place while the topology is replaced: no engine takes it for a configuration. */
extern const char setup_files_barrier[];

struct setup_file {
    const char *path; /* under the sysroot */
    const char *text; /* its content to be */
    bool is_there;    /* now */
    bool is_changed;  /* false: what is there says the same, and stays */
};

/*
 * Writes those that are changed, as a whole or not at all.  Killed at any point, both files are as before, or both are
 * new, or the drop-in is one that refuses VMs with PPUs until setup is run again.  A failure leaves both as they were.
 * The directory of the drop-in is made if it is missing.  Nobody else may be at it: the caller has the lock of the
 * state.  STATUS_HARDWARE, with the file's name.
 */
MUST_CHECK int setup_files_write(const struct setup_file *topology, const struct setup_file *cards, struct error *err);
