/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "core/bdf.h"
#include "core/topology.h"

/* Our events, as the journal has them (icn-hook(8), LOG). */

struct journal_card {
    int ppu; /* -1: it had no id */
    struct bdf bdf;
};

/* One end of a link. */
struct journal_end {
    int ppu;
    int link;
    int peer; /* or EXTERNAL_PEER */
};

enum journal_ends { ENDS_CUT, ENDS_OPENED, ENDS_FAILED, ENDS_COUNT };

enum { BOOT_TEXT_SIZE = 33 }; /* 32 hexadecimal digits */

struct journal_event {
    int64_t at; /* microseconds since the epoch */
    char boot[BOOT_TEXT_SIZE];
    enum log_event kind;
    char *operation; /* all texts are owned; NULL: the event has none */
    char *uuid;
    char *name;
    char *text;
    bool is_group;
    bool has_cards;
    struct journal_card *cards; /* owned */
    size_t card_count;
    struct journal_end *ends[ENDS_COUNT]; /* owned */
    size_t end_counts[ENDS_COUNT];
    int64_t caller;       /* uid; -1: not a verb's */
    int64_t caller_login; /* uid; -1: nobody had logged in */
    int64_t status;       /* the exit status of what failed; -1: nothing did */
    int64_t duration;     /* microseconds until then; -1: an earlier version's */
};

struct journal_events {
    struct journal_event *items; /* in the order of the journal */
    size_t count;
    size_t first;              /* of those since SINCE; COUNT: none */
    char boot[BOOT_TEXT_SIZE]; /* the boot of now; "": not known */
    size_t unusable;           /* events of ours whose fields are not as we write them; left out */
};

/* "given", "refused", …: the word for an event's kind (contract). */
const char *journal_kind_text(enum log_event kind);

/* Asks journalctl for the events that root logged, up to UNTIL; SINCE and UNTIL are times in journalctl's own forms, or
 * NULL.  What was before SINCE is there too: who has cards then is known from before.  STATUS_INVALID: a time that
 * journalctl does not know; STATUS_HARDWARE: no journal, no journalctl, or an answer that is not its; STATUS_BUSY: it
 * hangs, or answers more than can be held.  EVENTS is to be freed on success. */
MUST_CHECK int journal_events_read(const char *since, const char *until, struct journal_events *events,
                                   struct error *err);
/* What journalctl printed, for the tests; NAME is for messages.  The events are added, with CURSOR's (NULL: none) as
 * the first. */
MUST_CHECK int journal_events_parse(const char *text, size_t length, const char *cursor, struct journal_events *events,
                                    struct error *err);
void journal_events_free(struct journal_events *events);

/* The events of KIND (EVENT_COUNT: of every kind) that root logged since the host was booted, or only the newest of
 * them.  Fails as journal_events_read does. */
MUST_CHECK int journal_events_read_boot(enum log_event kind, bool only_newest, struct journal_events *events,
                                        struct error *err);
