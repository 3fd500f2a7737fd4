/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "core/bdf.h"
#include "registers/registers.h"

/* Below D0 the BARs of a card answer nothing that means anything. */

/* False also while the kernel is putting a card to sleep that is in D0 yet. */
bool power_is_steady(struct bdf bdf);

/* READING_FINE if the card is awake, else the error says why its registers mean nothing now. */
MUST_CHECK enum reading_kind power_check(struct bdf bdf, struct error *err);

/* What power_wake has done for one card. */
struct power_card {
    struct bdf bdf;
    enum reading_kind kind; /* READING_FINE: awake; else why not */
    bool is_kept;           /* it stays awake until power_let_sleep; false: somebody else's matter */
    bool answers;           /* nothing was in the way of the last access (mmio.c) */
    char why[256];
};

/* Wakes all CARDS, whose bdf is filled in, at once, and keeps those awake that the kernel
 * would let sleep. */
void power_wake(struct power_card cards[], size_t count);
void power_let_sleep(struct bdf bdf);
