/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "registers/registers.h"

#include <stdlib.h>

#include "base/memory.h"
#include "host/sysfs.h"
#include "registers/decoding.h"
#include "registers/power.h"

void registers_open(struct registers *registers, const struct settings *settings, const struct ledger *ledger,
                    bool may_write)
{
    *registers = (struct registers){
        .backend = settings->backend == BACKEND_PPUDBG ? &registers_ppudbg : &registers_mmio,
        .settings = settings,
        .ledger = ledger,
        .may_write = may_write,
    };
}

void registers_close(struct registers *registers)
{
    for (size_t i = 0; i < registers->woken_count; i++) {
        power_let_sleep(registers->woken[i]);
    }
    registers->woken_count = 0;
}

enum reading_kind registers_wake(struct registers *registers, struct bdf bdf, struct error *err)
{
    char state[POWER_STATE_SIZE];
    bool kept = false;

    switch (power_look(bdf, state)) {
    case POWER_ON:
        return READING_FINE;
    case POWER_LOW:
        error_set(err, STATUS_HARDWARE,
                  "it is in %s, where whoever uses it has put it; without a user, load vfio-pci with disable_idle_d3=1",
                  state);
        return READING_UNVERIFIABLE;
    case POWER_SUSPENDED:
        break;
    }
    if (!registers->may_write) {
        error_set(err, STATUS_HARDWARE,
                  "it sleeps (%s) and is not woken only to look; vfio-pci with disable_idle_d3=1 keeps cards awake",
                  state);
        return READING_UNVERIFIABLE;
    }
    if (power_wake(bdf, &kept, err) < 0) {
        return READING_FAILED;
    }
    if (kept && registers->woken_count < PPU_MAX) {
        registers->woken[registers->woken_count++] = bdf;
    }
    return READING_FINE;
}

/*
 * A note says: our one may be in the card's `enable` count, because it was
 * written while no driver was bound and the count was 0.
 *   no driver, count above 0   it is ours: take it away once
 *   no driver, count 0         it was taken away, or never added
 *   a driver is bound          the kernel refuses to change the count, and the
 *                              driver's own is in it: the note waits
 *   card absent                the count went with it
 */
static int recover_one(const struct ledger *ledger, struct bdf bdf, struct error *err)
{
    struct pci_state state;

    sysfs_read_state(bdf, &state);
    if (state.driver[0] != '\0') {
        return 0;
    }
    if (state.enable > 0 && decoding_switch(bdf, false, err) != 0) {
        return -1;
    }
    return ledger_forget_enabled(ledger, bdf, err);
}

int registers_recover(struct registers *registers, struct error *err)
{
    CLEANUP_FREE struct bdf *functions = NULL;
    size_t count = 0;
    int result = 0;

    if (!registers->may_write || registers->ledger == NULL || registers->ledger->lockfd == -1) {
        return 0;
    }
    if (ledger_enabled_notes(registers->ledger, &functions, &count, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        /* One card that fails does not keep the others from being recovered. */
        if (recover_one(registers->ledger, functions[i], err) != 0) {
            result = -1;
        }
    }
    return result;
}
