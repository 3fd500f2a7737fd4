/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "core/bdf.h"
#include "core/topology.h"

/* /etc/icn-hook/icn-hook.conf (contract: design section 9). */

enum register_backend_kind { BACKEND_MMIO, BACKEND_PPUDBG };
enum idle_policy { IDLE_RESTORE, IDLE_ISOLATE };
enum far_end_policy { FAR_END_CUT, FAR_END_LEAVE };
enum leak_policy { LEAK_ALERT, LEAK_KILL };

enum { MATCH_SIZE = 64 };

struct settings {
    char match[MATCH_SIZE];  /* an lspci -d filter */
    char topology[PATH_MAX]; /* as written, before the sysroot */

    int map_count; /* [map]: pinned ids; 0 = ids by the cards' order */
    struct settings_pin {
        int ppu;
        struct bdf bdf;
    } map[PPU_MAX];

    enum register_backend_kind backend;
    int bar;              /* 0..5 */
    uint32_t link_config; /* register numbers */
    uint32_t link_status;
    uint32_t stride; /* bytes per register number; offsets come out 4-byte aligned */
    int cut_bit;     /* the value of a link's bit that cuts it: 1 or 0 */

    char ppudbg_path[PATH_MAX]; /* as written */
    int ppudbg_timeout;         /* seconds, 1..3600 */

    enum idle_policy idle;
    enum far_end_policy far_end;
    enum leak_policy on_leak;
    int lock_timeout;  /* seconds, 0..3600 */
    int start_timeout; /* seconds, 0..86400 */
};

void settings_default(struct settings *settings);

/* Reads PATH (already under the sysroot).  A missing file means the defaults.
 * Anything it does not understand is STATUS_INVALID with "PATH:LINE: …". */
MUST_CHECK int settings_load(const char *path, struct settings *settings, struct error *err);

/* From memory; NAME is used in messages.  Public for its tests. */
MUST_CHECK int settings_parse(const char *text, size_t length, const char *name, struct settings *settings,
                              struct error *err);

/* Which cards count as PPUs, told even from a file that settings_load refuses,
 * so that a broken configuration refuses only VMs with PPUs: fills MATCH and
 * returns true if a valid match line was found, or if the file says nothing
 * else that could have meant one.  False: nobody can tell. */
MUST_CHECK bool settings_salvage_match(const char *path, char match[MATCH_SIZE]);
