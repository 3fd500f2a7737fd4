/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/notes.h"
#include "engine/session.h"
#include "host/confirmed.h"

/*
 * What only the hardware can tell: whether the settings of the registers, the map and the topology are right.  On cards
 * without owner one end of each link is cut, both ends are looked at, and the link is opened again.
 */
struct confirm_link {
    struct confirmed_link result;
    struct text_list witnesses; /* what each of them said: "status: PPU 0 down, PPU 6 down" */
    char why[512];              /* unless confirmed: one line */
};

struct confirm_report {
    struct confirm_link *links; /* by ppu and link, ascending; each once, at the lower id of its two ends */
    size_t count;
    struct text_list strangers; /* links that are up and that the topology does not know */
    struct text_list suspects;  /* single wrong settings, each of which explains all that was seen */
    struct text_list warnings;
    bool is_unsaved; /* the result could not be saved; a warning says why */
};

struct confirm_options {
    const char *config; /* NULL: the usual file */
    const char *list;   /* cards, as groups; NULL: all.  Links with an end on one of them are tried */
    int64_t wait_ms;    /* how long a link may take to settle */
    void (*progress)(void *context, size_t done, size_t total); /* or NULL; called without the lock */
    void *context;
};

/* Takes the lock anew for each link.  What was found out is saved, together with what is known from before of links
 * that could not be looked at now.  REPORT is to be freed in each case. */
MUST_CHECK int confirm_host(const struct confirm_options *options, struct confirm_report *report, struct error *err);
void confirm_report_free(struct confirm_report *report);

/* STATUS_OK: all links are confirmed; STATUS_CHECK_FAILED: something is contradicted; STATUS_UNVERIFIED: some have no
 * witness; STATUS_HARDWARE: nothing worse is known than that the result could not be saved. */
enum status confirm_judge(const struct confirm_report *report);

/* What a result is for: settings of the registers, map and topology, in lines.  To be freed. */
void confirm_made_for(const struct machine *machine, struct text_list *lines);

/* What is known from earlier of the host as it is configured now. */
enum confirmation {
    CONFIRMATION_NONE,     /* confirm has not run */
    CONFIRMATION_UNUSABLE, /* its file */
    CONFIRMATION_OTHER,    /* something has changed since */
    CONFIRMATION_FAILED,   /* a link is contradicted */
    CONFIRMATION_PARTIAL,  /* some link has no witness and is not known to be down */
    CONFIRMATION_FINE,
};
/* "none", "unusable", "changed", "contradicted", "partial", "confirmed" */
const char *confirmation_text(enum confirmation confirmation);
/* WHY is one line, in each case.  CONFIRMED, with which it may be asked on, is to be freed; it is empty but for the
 * last three. */
enum confirmation confirmation_look(const struct machine *machine, struct confirmed *confirmed, char why[512]);

/* [policy] require_confirmed: 0 if every link of the cards in NEAR is confirmed, or seen to be down, and no link of the
 * host is contradicted. */
MUST_CHECK int confirmation_admit(const struct machine *machine, const bool near[], struct error *err);
