/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/bdf.h"
#include "registers/registers.h"

/* One 32-bit register of a card, in one of its BARs, as it is mapped through sysfs. */

struct window_place {
    struct bdf bdf;
    int bar;
    uint64_t offset;  /* bytes; a multiple of 4 */
    bool switched_on; /* one of the card's `enable` is ours */
};

struct window {
    int bar;
    void *page; /* NULL: not open */
    size_t size;
    volatile uint32_t *word;
};

/* READING_FINE, or the error says what is in the way.  Owned by the caller: window_close. */
MUST_CHECK enum reading_kind window_open(struct window *window, const struct window_place *place, bool for_write,
                                         struct error *err);
/* WINDOW may be all zeros. */
void window_close(struct window *window);
#define CLEANUP_WINDOW __attribute__((cleanup(window_close)))

/* READING_FAILED: the card has gone meanwhile. */
MUST_CHECK enum reading_kind window_load(const struct window *window, uint32_t *value, struct error *err);
/* Writes, then reads: that pushes a posted write out to the card. */
MUST_CHECK enum reading_kind window_store(const struct window *window, uint32_t value, struct error *err);

/* Takes back the process's handler of SIGBUS, which the first access installs. */
void window_unguard(void);

/* What the kernel of a real host would answer to window_open for a card of a simulated one that is in
 * STATE: READING_FINE, or as window_open. */
MUST_CHECK enum reading_kind window_simulate(const struct window_place *place, const struct pci_state *state,
                                             struct error *err);

/* A driver of the host is bound to the card, not one of vfio: it has the BARs as long as it is. */
bool window_has_host_driver(struct bdf bdf);
