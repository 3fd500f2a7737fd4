/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/hook_call.h"
#include "host/state.h"

/* What the parts of host/state share.  A path is for messages, where it is not opened. */

#define LOCK_FILE "lock"
#define CARDS_FILE "cards.json"
#define IDENTITY_FILE "identity"
#define DAMAGED_CARDS_FILE ".cards.json.damaged"
#define CLAIM_ENDING ".json"
#define ENABLED_PREFIX "enabled-"

enum {
    CLAIM_FILE_SIZE = UUID_SIZE + sizeof CLAIM_ENDING - 1,
    TOMBSTONE_SIZE = UUID_SIZE + sizeof TOMBSTONE_PREFIX - 1,
    ENABLED_SIZE = BDF_TEXT_SIZE + sizeof ENABLED_PREFIX - 1,
    CLAIM_LIMIT = 1 << 20,
    CARDS_LIMIT = 1 << 24,
    IDENTITY_LIMIT = 1 << 22, /* PPU_MAX lines of [map] and PPU_MAX * LINK_MAX links are less */
};

/* Every open in the directory: no symlink, no waiting for a FIFO's other end, and no time
 * stamp changed by looking. */
#define STATE_OPEN_FLAGS (O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_NOATIME | O_CLOEXEC)

/* A file or directory (TYPE as in st_mode) that only we can have written; otherwise
 * STATUS_INVALID. */
MUST_CHECK int state_check_ours(const struct stat *facts, mode_t type, const char *path, struct error *err);

/* STATUS_INVALID or STATUS_HARDWARE for an open that failed with NUMBER. */
int state_open_failed(int number, const char *path, struct error *err);

/* Sets boot_id, access, dirfd and lockfd; the last two stay -1 where STATE_LOOK finds neither. */
MUST_CHECK int state_lock(struct state *state, const char *path, enum state_access access, int64_t deadline,
                          struct error *err);

/* Whether UUID is as text_parse_uuid gives it; a file's name is made of no other. */
bool state_is_canonical(const char *uuid);

/* Writes one claim's file, and nothing else (state_write_claim does more). */
MUST_CHECK int state_replace_claim(struct state *state, const struct claim *claim, struct error *err);

/* From the list in memory. */
void state_drop_tombstone(struct state *state, const char *uuid);
