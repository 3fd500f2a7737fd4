/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "core/bdf.h"
#include "core/ownership.h"
#include "host/boot_identity.h"
#include "host/process.h"

/*
 * What icn-hook knows and keeps for this boot, in /run/icn-hook/ (0700):
 *   claims   which domain or group was given which cards by us
 *   memory   of each card: its mask before our first write, what we wrote last,
 *            and what was read back for which owners
 *   identity which card is which PPU, and the topology, as they are in force
 * All of it is read when it is opened and lives in memory then; a writer replaces
 * whole files by rename, so a file is old or new, never torn.  /run is a tmpfs,
 * so nothing is synced.
 */

struct claim_card {
    struct bdf bdf;
    bool whole; /* not only a virtual function or mediated device of it */
};

struct claim {
    char uuid[UUID_SIZE];
    char *name;                      /* owned */
    bool is_group;                   /* made by hand; a domain otherwise */
    enum claim_phase phase;          /* CLAIM_ENDED is never stored: the file is removed */
    bool has_daemon;                 /* false: the daemon that called the hook is not known */
    struct process_identity daemon;  /* libvirt's, that started the domain */
    struct process_identity process; /* the domain's QEMU, or what a group is bound to; pid 0 = not known */
    int64_t since;                   /* seconds since the epoch, for people */
    int64_t boottime_ms;             /* CLOCK_BOOTTIME when it was made; later than now: the caller judges it */
    struct claim_card *cards;        /* owned; no card twice */
    size_t card_count;
    enum claim_verdict verdict; /* set by the engine (engine/owners.c) */
    bool is_ending;             /* set by the engine: its end has begun in this session */
    bool is_ended;              /* a tombstone says that the domain has ended */
    bool is_carried_over; /* read from an entry of version 0.1 and not written anew yet; boottime_ms is when it was read
                           */
};
void claim_free(struct claim *claim);

struct evidence {
    uint32_t mask;
    int64_t at;                /* seconds since the epoch; 0 = there is none */
    char (*owners)[UUID_SIZE]; /* owned; ascending, none twice: for whom the card was cut then */
    size_t owner_count;
};

struct card_memory {
    struct bdf bdf;
    bool has_original;
    uint32_t original; /* mask before our first write of this boot, without cuts that are ours */
    bool has_written;
    uint32_t written; /* mask that we wrote last, or, before a write, every cut that it may leave; all ones (so it comes
                         from version 0.1): every cut that is not in ORIGINAL may be ours */
    struct evidence evidence;
};

enum state_fault_kind {
    FAULT_CLAIM,   /* hides the claim of UUID */
    FAULT_CARDS,   /* hides the memory of all cards */
    FAULT_IDENTITY, /* hides what is in force in this boot */
    FAULT_FOREIGN, /* not a file of ours: hides nothing */
};

/* One file that cannot be used. */
struct state_fault {
    enum state_fault_kind kind;
    char uuid[UUID_SIZE]; /* FAULT_CLAIM; "" otherwise */
    bool is_damaged;      /* it makes no sense (STATUS_INVALID); false: it could not be read this time */
    int64_t age_ms;       /* since it was last changed, never negative */
    struct error error;   /* one line that names the file and, if it is damaged, what helps */
};

enum state_access {
    STATE_LOOK,   /* shared lock if there is a lock file; creates and changes nothing */
    STATE_CHANGE, /* creates directory and lock file; exclusive lock */
};

struct state {
    int dirfd;  /* -1: there is no directory */
    int lockfd; /* -1: not locked */
    enum state_access access;
    char boot_id[UUID_SIZE];
    struct claim *claims; /* by uuid, ascending; claims of another boot are left out */
    size_t claim_count;
    struct card_memory *cards; /* by address, ascending */
    size_t card_count;
    struct state_fault *faults;
    size_t fault_count;
    struct text_list tombstones; /* uuids whose tombstones are there, with or without a claim */
    struct bdf *enabled_notes;   /* see state_enabled_notes */
    size_t enabled_note_count;
    bool has_old_entries; /* entries of 0.1 hold memory that is not in cards.json yet */
    struct boot_identity *identity; /* owned; of this boot; NULL: none, or not readable */
    char *cards_on_disk;  /* owned; text of cards.json as it was read or written last; NULL: none, or not readable */
};

#define STATE_CLOSED ((struct state){.dirfd = -1, .lockfd = -1})

/*
 * Opens, locks, reads everything.  Refuses (STATUS_INVALID) a directory or lock file that
 * is a symlink, is not ours (owner other than the effective user) or is writable by others;
 * STATUS_BUSY when the lock is not had by DEADLINE (monotonic ms), waiting in the kernel's
 * queue; STATUS_HARDWARE for I/O errors.  A file that cannot be used is a fault, not an error.
 *
 * The wait uses SIGALRM and the process's real-time interval timer and gives both back.
 *
 * STATE_CHANGE also removes what killed writers and another boot left, and writes what was
 * read from entries of version 0.1 in today's form; if that fails, the claims stay
 * is_carried_over and are written the next time.
 */
MUST_CHECK int state_open(struct state *state, enum state_access access, int64_t deadline, struct error *err);
/* Gives the lock back; what was read stays, and nothing can be written any more. */
void state_unlock(struct state *state);
void state_close(struct state *state);

/* NULL: none. */
struct claim *state_claim(const struct state *state, const char *uuid);
/* The claim of UUID is there, and could only not be read this time: what it says is not known, and counts the next
 * time.  The fault of it; NULL: no such claim. */
const struct state_fault *state_unread_claim(const struct state *state, const char *uuid);
struct card_memory *state_card(const struct state *state, struct bdf bdf);

/* The memory of a card, made empty if there is none yet.  Pointers got before are void then. */
struct card_memory *state_remember(struct state *state, struct bdf bdf);
void evidence_clear(struct evidence *evidence);

/* A new claim, in STATE now; one of the same uuid is forgotten (its file and tombstone stay
 * until the new one is written).  Its fields are to be filled in, then it is to be written.
 * Pointers got before are void. */
struct claim *state_claim_add(struct state *state, const char *uuid, const char *name);
void claim_add_card(struct claim *claim, struct bdf bdf, bool whole);
void claim_clear_cards(struct claim *claim);
/* CLOCK_BOOTTIME now, in milliseconds. */
int64_t state_boottime_ms(void);

/* Writes or replaces the file of CLAIM, which is in STATE, then removes the tombstone that
 * was there when the state was opened: one that was made since stays, for the next opener.
 * Needs STATE_CHANGE, as all of the following.  What could not be read back is not written
 * (STATUS_INVALID). */
MUST_CHECK int state_write_claim(struct state *state, struct claim *claim, struct error *err);
/* Removes claim, then tombstone from disk, and both and a fault of UUID from STATE (what
 * comes after them moves up: do not go through the lists meanwhile); none is fine. */
MUST_CHECK int state_remove_claim(struct state *state, const char *uuid, struct error *err);
/* The first step of an end that is carried out: a tombstone is made, so that the next call that has the lock
 * finishes it if the rest fails.  state_remove_claim is the last step. */
MUST_CHECK int state_end_claim(struct state *state, const char *uuid, struct error *err);
/* Writes the memory of all cards, if it differs from what is on disk.  A card about which
 * nothing is remembered is left out; nothing about none: there is no file.  With a FAULT_CARDS it fails with the
 * fault's error: what cannot be read is not overwritten. */
MUST_CHECK int state_write_cards(struct state *state, struct error *err);
/* Writes what is in force from now on, and drops a FAULT_IDENTITY; STATE has a copy of it then. */
MUST_CHECK int state_write_identity(struct state *state, const struct boot_identity *identity, struct error *err);
/* For repair and reset: moves a cards.json that is a fault out of the way
 * (.cards.json.damaged, which is kept for a person) and drops the fault, as above.  None is fine. */
MUST_CHECK int state_forget_cards_fault(struct state *state, struct error *err);

/* Notes without lock and without room that the domain has ended: a tombstone, or if
 * none can be made, its claim is unlinked.  0 also if no claim of it is there. */
MUST_CHECK int state_mark_ended(const char *uuid, struct error *err);
/* Whether a claim's file of the domain is there; looked at without the lock. */
bool state_knows(const char *uuid);

/* Whether a claim can keep NAME as it is: UTF-8 without control characters. */
bool state_name_is_printable(const char *name);

/* Before a card's memory decoding is switched on a note is left, and taken away after it
 * is off again, so that a killed hook leaves no card enabled for ever (it would look as if
 * it were held open). */
MUST_CHECK int state_note_enabled(const struct state *state, struct bdf bdf, struct error *err);
MUST_CHECK int state_forget_enabled(const struct state *state, struct bdf bdf, struct error *err);
/* The notes that a killed hook left, found when the state was opened; STATE's, ascending. */
const struct bdf *state_enabled_notes(const struct state *state, size_t *count);

/*
 * Text forms, both ways (JSON, schemas icn-hook/claim/2 and icn-hook/cards/1); public for
 * tests and fuzzing.  NAME is for messages.  What is not exactly such a text, or of another
 * version: STATUS_INVALID.
 *
 * claim_parse() also takes an entry of version 0.1 (icn-hook/ledger/1): is_carried_over, with
 * boottime_ms 0, and the memory of the cards that it holds in *carried.  Only such a claim can
 * be CLAIM_ENDED: then it is not one, and only its memory counts.
 */
MUST_CHECK int claim_parse(const char *text, size_t length, const char *name, const char *boot_id, struct claim *claim,
                           bool *other_boot, struct card_memory **carried, size_t *carried_count, struct error *err);
char *claim_format(const struct claim *claim, const char *boot_id);
/* A text of another boot has no cards. */
MUST_CHECK int cards_parse(const char *text, size_t length, const char *name, const char *boot_id,
                           struct card_memory **cards, size_t *count, struct error *err);
char *cards_format(const struct card_memory *cards, size_t count, const char *boot_id);
void cards_free(struct card_memory *cards, size_t count);
