/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "core/bdf.h"

/* The power state of a card.  Below D0 its BARs answer nothing that means
 * anything. */
enum power {
    POWER_ON,        /* D0, or the kernel does not tell */
    POWER_SUSPENDED, /* the kernel lets the idle card sleep, and wakes it when asked */
    POWER_LOW,       /* somebody else put it there */
};
enum { POWER_STATE_SIZE = 16 };

/* STATE: the kernel's word for it, as "D3hot". */
enum power power_look(struct bdf bdf, char state[POWER_STATE_SIZE]);

/* Wakes a card that is POWER_SUSPENDED and keeps it awake until power_let_sleep.  *kept
 * is false if somebody else keeps it awake already. */
MUST_CHECK int power_wake(struct bdf bdf, bool *kept, struct error *err);
void power_let_sleep(struct bdf bdf);
