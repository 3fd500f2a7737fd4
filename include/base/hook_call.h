/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

#include "base/error.h"

/*
 * What the hook program tells the engine beside arguments and stdin, in the environment:
 *   ICN_HOOK_VERDICT_FD  the number of a descriptor to which the engine, as its last
 *                        deed, writes its exit status as one byte.  That it is open is
 *                        how the engine knows that the hook program called it.
 *   ICN_HOOK_DEADLINE    when the engine must have answered (CLOCK_MONOTONIC, ms);
 *                        a little later the hook kills it.
 */
#define HOOK_VERDICT_VARIABLE "ICN_HOOK_VERDICT_FD"
#define HOOK_DEADLINE_VARIABLE "ICN_HOOK_DEADLINE"

/* The verdict descriptor, or -1: the hook program did not start us. */
int hook_call_verdict_fd(void);

/* Takes the deadline from the environment; for hook mode alone. */
void hook_call_believe_deadline(void);

/* When the engine must have answered, as deadline_after_ms counts; NO_DEADLINE if it is
 * not known, and outside of hook mode.  Every wait of the engine ends by then. */
int64_t deadline_of_hook(void);

/* The name of a tombstone in PATH_STATE is this and the domain's uuid. */
#define TOMBSTONE_PREFIX "ended-"

/*
 * Notes, with neither lock nor room, that the domain UUID has ended: it creates an empty
 * file ended-UUID (mode 0600) in PATH_STATE, or, if that fails, removes the claim
 * UUID.json.  Who has the lock next obeys it.  0 also if there is no claim of it, or
 * its end is noted already.  Refuses (STATUS_INVALID) a directory that is a symlink, is
 * not ours or is writable by others; STATUS_HARDWARE if neither can be done.
 */
MUST_CHECK int ended_note(const char *uuid, struct error *err);
