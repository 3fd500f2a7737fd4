/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "host/journal_events.h"

/*
 * Who had which cards, and which links were open between whom, when: what the events say, and no more.  Times are
 * microseconds since the epoch.
 */

enum tenure_end {
    TENURE_LASTS, /* the last event says that it has its cards */
    TENURE_ENDED,
    TENURE_CHANGED,   /* it has other cards from then on */
    TENURE_RESTARTED, /* the host was restarted at UNTIL at the latest; 0: since the last event */
};
const char *tenure_end_text(enum tenure_end end); /* NULL: it lasts (contract) */

/* The time in which a VM or group had just these cards. */
struct tenure {
    const char *uuid; /* borrowed from the events, as all texts here */
    const char *name; /* NULL: not known */
    bool is_group;
    const struct journal_card *cards;
    size_t card_count;
    int64_t from;
    bool is_begin_known; /* false: it had them at FROM, and nothing tells since when */
    int64_t until;       /* 0: see END */
    enum tenure_end end;
    size_t last_event; /* that found it lasting; SIZE_MAX: it lasts */
};

enum period_state { PERIOD_UNKNOWN, PERIOD_CUT, PERIOD_OPEN };
const char *period_state_text(enum period_state state); /* "unknown", "cut", "open" (contract) */

/* The time in which the links between two cards, or all external ones of a card, were in one state and the cards had
 * the same owners. */
struct period {
    int a;
    int b; /* above A; EXTERNAL_PEER: external links */
    enum period_state state;
    char *owners[2]; /* owned; names, joined by ", "; "": nobody */
    bool is_exposed; /* open, and not within one VM or among idle cards */
    int64_t from;
    int64_t until;     /* 0: it lasts, or the host was restarted */
    bool is_restarted; /* … after the last event */
    size_t last_event; /* that found it lasting; SIZE_MAX: it lasts */
};

struct history {
    struct tenure *tenures; /* by the time they began */
    size_t tenure_count;
    struct period *periods; /* likewise; none before the first event about the pair */
    size_t period_count;
    size_t rewired; /* link ends of events that say of them what a later event says otherwise: left out */
};

void history_make(const struct journal_events *events, struct history *history);
void history_free(struct history *history);
