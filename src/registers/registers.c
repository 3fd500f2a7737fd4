/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "registers/registers.h"

#include <stdlib.h>

#include "base/memory.h"
#include "host/sysfs.h"
#include "registers/backend.h"
#include "registers/decoding.h"
#include "registers/power.h"
#include "registers/window.h"

void registers_open(struct registers *registers, const struct settings *settings, const struct state *state,
                    bool may_write)
{
    *registers = (struct registers){
        .backend = settings->backend == BACKEND_PPUDBG ? &registers_ppudbg : &registers_mmio,
        .settings = settings,
        .state = state,
        .may_write = may_write,
    };
}

void registers_close(struct registers *registers)
{
    for (size_t i = 0; i < registers->woken_count; i++) {
        if (registers->woken[i].is_kept) {
            power_let_sleep(registers->woken[i].bdf);
        }
    }
    window_unguard();
    free(registers->woken);
    registers->woken = NULL;
    registers->woken_count = 0;
}

/* NULL: not looked at yet. */
static struct power_card *find_woken(const struct registers *registers, struct bdf bdf)
{
    for (size_t i = 0; i < registers->woken_count; i++) {
        if (bdf_compare(registers->woken[i].bdf, bdf) == 0) {
            return &registers->woken[i];
        }
    }
    return NULL;
}

void registers_wake(struct registers *registers, const struct bdf bdfs[], size_t count)
{
    size_t before = registers->woken_count;
    if (!registers->may_write || count == 0) {
        return;
    }
    registers->woken = memory_grow(registers->woken, before + count, sizeof *registers->woken);
    for (size_t i = 0; i < count; i++) {
        if (!find_woken(registers, bdfs[i])) {
            registers->woken[registers->woken_count++] = (struct power_card){.bdf = bdfs[i]};
        }
    }
    power_wake(registers->woken + before, registers->woken_count - before);
}

bool *registers_answers(const struct registers *registers, struct bdf bdf)
{
    struct power_card *card = find_woken(registers, bdf);
    return card ? &card->answers : NULL;
}

enum reading_kind registers_awake(struct registers *registers, struct bdf bdf, bool may_touch, struct error *err)
{
    if (!may_touch || !registers->may_write) {
        return power_check(bdf, err);
    }
    if (!find_woken(registers, bdf)) {
        registers_wake(registers, &bdf, 1);
    }
    const struct power_card *card = find_woken(registers, bdf);
    if (card->kind != READING_FINE) {
        error_set(err, STATUS_HARDWARE, "%s", card->why);
    }
    return card->kind;
}

/*
 * A note says: our one may be in the card's `enable` count, because it was written while no
 * driver was bound and the count was 0.
 *   no driver, count above 0   it is ours: take it away once
 *   no driver, count 0         it was taken away, or never added
 *   a driver is bound          the kernel refuses to change the count, and the driver's own
 *                              is in it: the note waits
 *   card absent                the count went with it
 */
static int recover_one(const struct state *state, struct bdf bdf, struct error *err)
{
    struct pci_state card;
    sysfs_read_state(bdf, &card);
    if (card.driver[0] != '\0') {
        return 0;
    }
    if (card.enable > 0 && decoding_switch(bdf, false, err) < 0) {
        return -1;
    }
    return state_forget_enabled(state, bdf, err);
}

int registers_recover(struct registers *registers, struct error *err)
{
    size_t count = 0;
    int result = 0;
    if (!registers->may_write || !registers->state || registers->state->lockfd == -1) {
        return 0;
    }
    const struct bdf *notes = state_enabled_notes(registers->state, &count);
    for (size_t i = 0; i < count; i++) {
        /* One card that fails does not keep the others from being recovered. */
        if (recover_one(registers->state, notes[i], err) < 0) {
            result = -1;
        }
    }
    return result;
}
