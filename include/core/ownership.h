/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/topology.h"

/*
 * Who owns a card, as one number:
 *   OWNER_IDLE     nobody; the card belongs to the host
 *   above 0        exactly one domain, by a number the caller gives it
 *   OWNER_SHARED   several domains, through virtual functions or mediated devices
 *   OWNER_UNKNOWN  somebody holds it open whom neither libvirt nor we know
 */
enum { OWNER_IDLE = 0, OWNER_SHARED = -1, OWNER_UNKNOWN = -2 };

/* The rule this program exists for: a link may be open if and only if both
 * cards are idle, or both have exactly one owner and it is the same. */
bool link_may_be_open(int owner_a, int owner_b);

/* An external link may be open only while its card is idle: who is at the other end is not known. */
bool external_may_be_open(int owner);

/* Bit i set: link i of PPU is wired and must be cut, external or not.  OWNERS has
 * ppu_count entries. */
uint32_t mask_required(const struct topology *topology, const int owners[], int ppu);

/*
 * How long a claim makes its domain the owner of the cards that it lists.
 *
 * A claim is what the state says of one domain, or of one group that somebody
 * made by hand.  It is evidence, not truth: the call that would end it may never
 * come, and the daemon or the domain may be killed.  So nothing here asks what was
 * last heard alone; it asks what still supports the claim.  Pure: the engine
 * gathers the facts, and the model in tests/model walks through all of them.
 */

enum claim_phase {
    CLAIM_STARTING, /* let through; not yet seen running */
    CLAIM_RUNNING,  /* seen running; a group is in this phase from the first moment */
    CLAIM_ENDED,    /* final */
};

/* What happens to a claim. */
enum claim_event {
    CLAIM_ADMITTED, /* prepare, or start without a claim, let the domain through: a new start, a new claim */
    CLAIM_SEEN,     /* started, reconnect or its status file show that it runs */
    CLAIM_STOPPED,  /* stopped, release, or a tombstone */
};

/* The phase after EVENT.  Forward only: CLAIM_SEEN does not bring back what has ended;
 * only a new start does, with a claim of its own. */
enum claim_phase claim_next(enum claim_phase phase, enum claim_event event);

/* The libvirt daemon that called the hook which made the claim. */
enum daemon_state {
    DAEMON_UNKNOWN, /* no ancestor of the caller was one, or it cannot be looked at */
    DAEMON_LIVES,
    DAEMON_GONE,
};

struct claim_facts {
    enum claim_phase phase;
    bool is_group;
    bool names_process;       /* a group that lasts as long as a process (run, apply --pid); domains: not looked at */
    bool has_status_file;     /* a readable status file of a living process; groups: not looked at */
    enum daemon_state daemon; /* looked at in CLAIM_STARTING only */
    int64_t age_ms;           /* since the claim was made; below 0 (made in the future) counts as 0 */
    int64_t start_timeout_ms; /* 0 or more */
    bool holds_unexplained;   /* a card of it is held open by a process of no domain with a status file */
    bool process_lives;       /* the process that the claim names lives; false if it names none */
};

enum claim_verdict {
    CLAIM_COUNTS,     /* its domain owns the claim's cards */
    CLAIM_SUPERSEDED, /* its domain lives, and the status file alone says what it owns */
    CLAIM_VOID,       /* nothing supports it any more: it may be removed */
};

/*
 * What a claim is worth now:
 *   ended                      void, even if its process lives or a card of it is held
 *   a group                    counts; one that names a process only while that lives or a card of it is held
 *   its domain has a status file   superseded
 *   starting                   counts while a card of it is held, or, until start_timeout, unless its daemon is gone
 *   running                    counts while a card of it is held or its process lives
 * A card that is held although its claim is void belongs to an unknown holder, so a void
 * claim opens no link of a card that is in use.
 */
enum claim_verdict claim_judge(const struct claim_facts *facts);
