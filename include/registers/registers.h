/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "core/bdf.h"
#include "core/topology.h"
#include "host/ledger.h"
#include "host/settings.h"

/*
 * The link config registers of the cards, through one of two backends.
 * Masks are logical and hold only wired links: bit i set = link i cut.  The
 * register's polarity, its other bits and its place are the backend's matter.
 */

enum reading_kind {
    READING_FINE,
    READING_UNVERIFIABLE, /* cannot be read now: a driver or QEMU holds the registers, or the backend cannot read */
    READING_GONE,         /* all ones: the card is off the bus */
    READING_FAILED,       /* resource file missing, too short, not permitted, … */
};

struct reading {
    enum reading_kind kind;
    uint32_t mask;  /* READING_FINE only */
    char why[256];  /* otherwise: what a person should know */
};

/* Why a write failed, because what follows differs. */
enum write_failure {
    WRITE_FINE,
    WRITE_HELD,    /* a driver holds the registers now; may work later */
    WRITE_FAILED,  /* everything else */
};

struct card_address {
    int ppu;
    struct bdf bdf;
    uint32_t links; /* the wired links: the only bits ever changed */
};

struct registers;

struct registers_backend {
    const char *name;
    bool reads_back; /* single registers can be read and written; false: groups only */

    /* Reads one card's mask.  Never fails: the reading says what happened. */
    void (*read)(struct registers *registers, const struct card_address *card, struct reading *reading);

    /* Sets one card's wired links to MASK, keeps the other bits, reads back.
     * WRITE_FINE only if the register took it.  NULL unless reads_back. */
    enum write_failure (*write)(struct registers *registers, const struct card_address *card, uint32_t mask,
                                struct error *err);

    /* Cuts, for each group of cards, every link that leaves the group; cards in
     * no group are not touched.  GROUPS holds CARD_COUNT group numbers (below 0
     * = in no group).  NULL if reads_back. */
    enum write_failure (*isolate)(struct registers *registers, const int groups[], int card_count,
                                  struct error *err);

    /* Opens every link of every card of the machine.  NULL if reads_back. */
    enum write_failure (*reset)(struct registers *registers, struct error *err);
};

struct registers {
    const struct registers_backend *backend;
    const struct settings *settings; /* borrowed */
    const struct ledger *ledger;     /* borrowed; NULL or without lock: read only */
    bool may_write;
    struct bdf woken[PPU_MAX]; /* cards that are kept awake until registers_close */
    size_t woken_count;
};

extern const struct registers_backend registers_mmio;
extern const struct registers_backend registers_ppudbg;

/* The settings' backend.  MAY_WRITE false: nothing on the host is changed, not
 * even memory decoding or a card's sleep. */
void registers_open(struct registers *registers, const struct settings *settings, const struct ledger *ledger,
                    bool may_write);

/* Lets the cards sleep again that were woken.  REGISTERS may be all zeros. */
void registers_close(struct registers *registers);

/* Makes sure that a card is awake: READING_FINE, or why its registers say nothing
 * now.  The backends that address registers do it themselves. */
MUST_CHECK enum reading_kind registers_wake(struct registers *registers, struct bdf bdf, struct error *err);

/* Switches memory decoding off again on cards that a killed hook left on. */
MUST_CHECK int registers_recover(struct registers *registers, struct error *err);
