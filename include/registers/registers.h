/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "core/plan.h"
#include "core/bdf.h"
#include "host/settings.h"
#include "host/state.h"
#include "host/sysfs.h"

/*
 * The link config registers of the cards, through one of two backends.  Masks are
 * logical and hold only links: bit i set = link i cut.  The register's polarity, its
 * other bits, its place, and whether it can be read at all, are the backend's matter:
 * nobody outside src/registers asks.
 */

enum reading_kind {
    READING_NONE, /* was not tried */
    READING_FINE,
    READING_UNVERIFIABLE, /* cannot be read now: a driver or QEMU holds the registers, the card sleeps, or the backend
                             cannot read */
    READING_GONE,         /* all ones, and configuration space says so too: the card is off the bus */
    READING_FAILED,       /* resource file missing, too short, not permitted, … */
};

struct reading {
    enum reading_kind kind;
    uint32_t mask; /* READING_FINE only */
    char why[256]; /* otherwise: what a person should know */
    bool is_kept;  /* READING_UNVERIFIABLE only: by a driver of the host, as long as it is bound to the card */
};

struct card_address {
    int ppu;
    struct bdf bdf;
    const struct pci_state *state; /* borrowed; as the session has seen it */
    uint32_t links;                /* the bits that are links: the only ones ever changed */
};

/* What is to be written, for all cards at once. */
struct writing {
    const struct plan *plan;
    const struct card_address *cards; /* by id */
    const int *owners;                /* by id, as the core knows them (core/ownership.h): who has the cards after it */
    const bool *freed;                /* by id: cards that have just lost their owner */
    int ppu_count;
    bool may_defer;    /* a near end whose registers a driver holds is left for later */
    bool keep_going;   /* a near end that cannot be cut keeps no other from being cut, and is not a failure */
    bool isolate_idle; /* [policy] idle = isolate, or a doubt: nothing may be opened for cards without owner */
};

struct registers;

struct registers_backend {
    const char *name;
    bool cuts_single_links; /* and reads; else only all links of an idle card can be cut at once, unread */

    /* Reads one card's mask.  Never fails: the reading says what happened.  MAY_TOUCH: the
     * card may be woken, and its memory decoding switched on, for it; that needs registers
     * that were opened for writing. */
    void (*read)(struct registers *registers, const struct card_address *card, bool may_touch, struct reading *reading);

    /* The same for the card's link status register: READING's mask has bit i set if the card
     * itself says that link i is up, which needs both its ends.  The other witnesses of a
     * backend that cannot read it are its own (registers/ppudbg.h). */
    void (*read_status)(struct registers *registers, const struct card_address *card, bool may_touch,
                        struct reading *reading);

    /* Makes the plan's writes in its order (core/plan.h has the rules) and says in OUTCOMES,
     * which has room for the plan's count, what became of each.  Needs registers that were
     * opened for writing; the cards are woken first, all at once.  What failed without
     * refusing anything goes to WARNINGS, one line each.  -1: a near end could not be cut;
     * the error names card, or tool, and reason.  OUTCOMES are filled in then too. */
    int (*write_plan)(struct registers *registers, const struct writing *writing, enum apply_outcome outcomes[],
                      struct text_list *warnings, struct error *err);
};

extern const struct registers_backend registers_mmio;
extern const struct registers_backend registers_ppudbg;

struct power_card;

struct registers {
    const struct registers_backend *backend;
    const struct settings *settings; /* borrowed */
    const struct state *state;       /* borrowed, for the notes of switched-on decoding; NULL or not locked: none */
    bool may_write;
    struct power_card *woken; /* owned; see registers_wake */
    size_t woken_count;
};

/* The settings' backend.  MAY_WRITE false: nothing on the host is changed, not even memory
 * decoding or a card's sleep. */
void registers_open(struct registers *registers, const struct settings *settings, const struct state *state,
                    bool may_write);

/* Lets the cards sleep again that were kept awake.  REGISTERS may be all zeros. */
void registers_close(struct registers *registers);

/* Wakes all sleeping cards among BDFS at once (10 ms each by the PCI specification:
 * together, not one after the other) and keeps them awake until registers_close.  Looks at
 * a card once: a card that did not wake shows when it is read.  Without may_write nothing
 * happens. */
void registers_wake(struct registers *registers, const struct bdf bdfs[], size_t count);

/* Switches memory decoding off again on cards that a killed hook left on. */
MUST_CHECK int registers_recover(struct registers *registers, struct error *err);
