/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "base/error.h"

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
