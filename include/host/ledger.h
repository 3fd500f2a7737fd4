/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "core/bdf.h"
#include "host/process.h"

/*
 * What we know of the domains whose cards we isolated: /run/icn-hook/, 0700,
 * one file per domain, "UUID.json".  An entry is replaced as a whole by
 * rename, so it is old or new, never torn; /run is a tmpfs, so nothing is
 * synced.
 *
 * Order of events that keeps a crash harmless:
 *   an entry is written before the first register of its domain changes
 *   (intent first), with the value each register had before we first touched
 *   it, and it is removed after the last register is back.
 *
 * One lock file, "lock", is held exclusively by whoever changes registers or
 * entries, shared by whoever only looks.
 */
enum ledger_phase {
    PHASE_PREPARED, /* prepare or start let it through; QEMU may not exist yet */
    PHASE_RUNNING,  /* started or reconnect saw it run */
    PHASE_ENDED,    /* stopped saw QEMU dead; what is left is to restore registers */
};

struct ledger_card {
    struct bdf bdf;
    int ppu;    /* id when the entry was written; for people */
    bool owned; /* the domain takes the card; false: only the far end of its links was touched */
    bool whole; /* owned as a whole, not through a virtual function or mediated device */
    bool has_original;  /* ORIGINAL is known (the register could be read) */
    uint32_t original;  /* mask before we first touched the card */
};

struct ledger_entry {
    char uuid[UUID_SIZE];
    char *name; /* owned */
    enum ledger_phase phase;
    struct process_identity caller; /* who called prepare: the start is in progress while it lives */
    int64_t since;                  /* seconds since the epoch, when prepare let it through */
    bool manual;     /* a group that was isolated by hand: it lives until it is released, whoever uses its cards */
    bool other_boot; /* written before this boot: its domain cannot run; set by ledger_read */
    struct ledger_card *cards;
    size_t card_count;
};
void ledger_entry_free(struct ledger_entry *entry);

/* Text form of an entry, both ways (JSON, schema "icn-hook/ledger/1"; "manual" is
 * there only if it is true).
 * BOOT_ID is the present one.  A text that is not exactly such an entry, or of
 * another version: STATUS_INVALID. */
MUST_CHECK int ledger_entry_parse(const char *text, size_t length, const char *name, const char *boot_id,
                                  struct ledger_entry *entry, struct error *err);
char *ledger_entry_format(const struct ledger_entry *entry, const char *boot_id);

/* Whether an entry can keep NAME as it is: UTF-8 without control characters. */
bool ledger_name_is_printable(const char *name);

struct ledger {
    int dirfd;      /* -1: there is no directory, so no entry */
    int lockfd;     /* -1: not locked */
    char boot_id[UUID_SIZE];
};

enum ledger_access {
    LEDGER_LOOK,   /* shared lock if there is a lock file; creates and changes nothing */
    LEDGER_CHANGE, /* creates directory and lock file, exclusive lock */
};

/* Opens and locks the ledger.  Refuses (STATUS_INVALID) a directory or lock
 * file that is a symlink, is not ours (owner other than the effective user) or
 * is writable by others; STATUS_BUSY when the lock is not had by DEADLINE;
 * STATUS_HARDWARE for I/O errors (LEDGER_CHANGE without permission says that
 * it needs root). */
MUST_CHECK int ledger_open(struct ledger *ledger, enum ledger_access access, int64_t deadline, struct error *err);
void ledger_close(struct ledger *ledger);

/* One file that is not a readable entry: of a known domain (its name is
 * UUID.json), or not. */
struct ledger_fault {
    char uuid[UUID_SIZE]; /* "" = the file's name is not an entry's */
    struct error error;   /* names the file */
};

struct ledger_content {
    struct ledger_entry *entries;
    size_t entry_count;
    struct ledger_fault *faults;
    size_t fault_count;
};
MUST_CHECK int ledger_read(const struct ledger *ledger, struct ledger_content *content, struct error *err);
void ledger_content_free(struct ledger_content *content);

/* Writes or replaces the entry of its domain; needs LEDGER_CHANGE. */
MUST_CHECK int ledger_write(const struct ledger *ledger, const struct ledger_entry *entry, struct error *err);

/* Removes the domain's entry, readable or not; none is fine. */
MUST_CHECK int ledger_remove(const struct ledger *ledger, const char *uuid, struct error *err);

/* Before a card's memory decoding is switched on a note is left in the ledger,
 * and taken away after it is off again, so that a killed hook leaves no card
 * enabled for ever (it would look held open by somebody). */
MUST_CHECK int ledger_note_enabled(const struct ledger *ledger, struct bdf bdf, struct error *err);
MUST_CHECK int ledger_forget_enabled(const struct ledger *ledger, struct bdf bdf, struct error *err);
/* The notes that a killed hook left; owned by the caller. */
MUST_CHECK int ledger_enabled_notes(const struct ledger *ledger, struct bdf **functions, size_t *count,
                                    struct error *err);
