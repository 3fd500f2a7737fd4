/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "core/bdf.h"
#include "core/topology.h"

/* /etc/icn-hook/icn-hook.conf and its drop-ins (contract: design section 9). */

enum register_backend_kind { BACKEND_MMIO, BACKEND_PPUDBG };
enum idle_policy { IDLE_RESTORE, IDLE_ISOLATE };
enum far_end_policy { FAR_END_CUT, FAR_END_LEAVE };
enum external_policy { EXTERNAL_CUT, EXTERNAL_LEAVE };
enum leak_policy { LEAK_ALERT, LEAK_KILL };

enum {
    MATCH_SIZE = 64,
    PIN_PATH_SIZE = 160,
    PIN_SERIAL_SIZE = sizeof "00-00-00-00-00-00-00-00",
    WORDS_SIZE = 200,
    LINKS_OF_TOPOLOGY = 0, /* the topology alone says which bits are links */
    DROP_IN_MAX = 256,
};

/* A line of [map]: which card has the id. */
struct settings_pin {
    int ppu;
    struct bdf bdf;
    char path[PIN_PATH_SIZE];     /* see pci_card_path; "": not given */
    char serial[PIN_SERIAL_SIZE]; /* in lower case; "": not given */
};

/* A line of [links]: link LINK of PPU is joined to link PEER_LINK of PEER. */
struct settings_join {
    int ppu;
    int link; /* 0..LINK_MAX-1 */
    int peer;
    int peer_link;
};

struct settings {
    char match[MATCH_SIZE];  /* an lspci -d filter */
    char topology[PATH_MAX]; /* as written, before the sysroot */

    struct settings_pin *map; /* owned */
    int map_count;
    struct settings_join *joins; /* owned; tell links between the same two cards apart */
    int join_count;

    enum register_backend_kind backend;
    int bar;              /* 0..5 */
    uint32_t link_config; /* register numbers */
    uint32_t link_status;
    uint32_t stride; /* bytes per register number; offsets come out 4-byte aligned */
    int cut_bit;     /* the value of a link's bit that cuts it: 1 or 0 */
    uint32_t links;  /* the register's bits that are links, or LINKS_OF_TOPOLOGY */

    char ppudbg_path[PATH_MAX];      /* as written */
    char ppudbg_isolate[WORDS_SIZE]; /* the words before TOPOLOGY LIST, with single blanks between them */
    int ppudbg_timeout;              /* seconds, 1..3600 */
    char ppu_smi_path[PATH_MAX];     /* as written */
    int ppu_smi_timeout;             /* seconds, 1..3600 */

    enum idle_policy idle;
    enum external_policy external; /* external links of a card that has an owner */
    enum far_end_policy far_end;
    enum leak_policy on_leak;
    int require_confirmed; /* 1: no VM gets a card before icn-hook confirm */
    int lock_timeout;      /* seconds, 0..3600 */
    int start_timeout;     /* seconds, 0..86400 */
};

/* SETTINGS may have been anything before; to be freed. */
void settings_default(struct settings *settings);
void settings_free(struct settings *settings);

/* Reads PATH (already under the sysroot), then PATH.d / *.conf in the order of their names, of which at most
 * DROP_IN_MAX may be there: a later key wins, the lines of [map] and [links] add up and may not contradict.  A missing
 * file means the defaults.  Anything it does not understand is STATUS_INVALID with "FILE:LINE: …".  SETTINGS is to be
 * freed. */
MUST_CHECK int settings_load(const char *path, struct settings *settings, struct error *err);

/* The same as if the drop-in NAME held TEXT, or, with NULL, were not there: for the one who is about to write it. */
MUST_CHECK int settings_load_with(const char *path, const char *name, const char *text, struct settings *settings,
                                  struct error *err);

/* A file of lines as in [map], with or without that section's own line. */
struct settings_map_file {
    struct settings_pin *map; /* owned; no id and no address twice */
    int *lines;               /* owned; of each pin */
    int count;
    int last_line;
};
/* STATUS_INVALID with "PATH:LINE: …" if it holds anything else, or nothing. */
MUST_CHECK int settings_load_map(const char *path, struct settings_map_file *file, struct error *err);
void settings_map_file_free(struct settings_map_file *file);

/* One file from memory; NAME is used in messages.  Public for its tests. */
MUST_CHECK int settings_parse(const char *text, size_t length, const char *name, struct settings *settings,
                              struct error *err);

/* Which cards count as PPUs, told even from files that settings_load refuses, so that a broken configuration
 * refuses only VMs with PPUs: fills MATCH and returns true if a valid match line was found, or if the files say
 * nothing else that could have meant one.  False: nobody can tell. */
MUST_CHECK bool settings_salvage_match(const char *path, char match[MATCH_SIZE]);
