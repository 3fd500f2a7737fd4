/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/session.h"

/*
 * What is known about links, and from what: registers that were read in this session, and the
 * evidence that the gate left.  Every statement of status, check, explain, metrics and doctor
 * comes from here.
 */
enum link_end { END_CUT, END_OPEN, END_UNKNOWN };
enum link_live { LIVE_NO, LIVE_YES, LIVE_UNKNOWN };

enum verdict {
    VERDICT_OPEN,       /* open, and allowed to be */
    VERDICT_CUT,        /* cut, allowed to be open, and something known asks for the cut */
    VERDICT_NEEDLESS,   /* cut, allowed to be open, and nothing known asks for the cut */
    VERDICT_UNREAD,     /* cannot be read; allowed to be open */
    VERDICT_PROVEN,     /* must be cut; an end that no guest can reach is read as cut now */
    VERDICT_GATED,      /* must be cut; an end was read back as cut for exactly today's owners */
    VERDICT_UNVERIFIED, /* must be cut; nothing shows that it is */
    VERDICT_LEAK,       /* must be cut; both ends are read as open */
};
/* "proven", "gated", "unverified"; NULL for a link that may be open. */
const char *verdict_evidence_text(enum verdict verdict);

struct link_view {
    int ppu;
    int link;
    int peer;           /* or EXTERNAL_PEER */
    enum link_end near; /* as read now */
    enum link_end far;  /* of an external link always unknown: it is live if its near end is open */
    enum link_live live;
    bool allowed;
    enum verdict verdict;
    int64_t since; /* VERDICT_GATED: when it was read back, seconds since the epoch; else 0 */
};
/* Where nothing tells which of several parallel links an end belongs to, a far end is open if any of them is, and
 * cut if all are. */
struct link_view link_look(const struct session *session, int ppu, int link);

/* All links between two cards, or, with B EXTERNAL_PEER, all that lead out of one. */
struct pair {
    int wired;    /* how many there are */
    int open;     /* how many are open at most */
    bool is_read; /* … and no more could be told: of each an end is read as cut, or both are read */
    bool allowed;
    enum verdict verdict; /* the worst of theirs */
};
struct pair pair_look(const struct session *session, int a, int b);

/* Every link that must be cut, counted once; a link of which both ends are left out of the session is none here and
 * below. */
struct coverage {
    int required;
    int proven;
    int gated;
    int unverified;
    int leaks;           /* those of the unverified that are read as open at both ends */
    int external_leaks;  /* … and the external ones that are read as open */
    int64_t gated_since; /* the oldest read-back that a gated link rests on; 0: none */
    int64_t gated_until; /* the youngest */
};
struct coverage coverage_count(const struct session *session);

/* A readable card lacks cuts that it must have: those. */
uint32_t links_missing(const struct session *session, int ppu);
/* What was read back for exactly the card's owners of today before QEMU opened it: false if nothing was.  AT: when, in
 * seconds since the epoch. */
bool links_gate(const struct session *session, int ppu, uint32_t *mask, int64_t *at);
/* A running VM's card that cannot be read now, and that was never read back for it before QEMU opened it. */
bool links_no_gate(const struct session *session, int ppu);

/* Notes what is wrong or cannot be seen: leaks, missing cuts, unverified links, cards without a gate, debts,
 * absent and unreadable cards. */
void links_find(struct session *session);

/* STATUS_OK, STATUS_CHECK_FAILED or STATUS_UNVERIFIED, from all that is known (design section 10). */
enum status links_judge(const struct session *session);
