/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/execution.h"

#include "base/log.h"
#include "base/memory.h"

struct writing {
    const struct snapshot *snapshot;
    struct registers *registers;
    struct execution *execution;
    bool may_defer;
    bool goes_on; /* a near end that cannot be cut keeps no other from being cut */
    struct error near_failure;
};

static enum apply_outcome write_register(void *context, const struct plan_write *write)
{
    struct writing *writing = context;
    struct card_address address = snapshot_address(writing->snapshot, write->ppu);
    struct error err;
    enum write_failure failure = writing->registers->backend->write(writing->registers, &address, write->to, &err);
    if (failure == WRITE_FINE) {
        return APPLY_DONE;
    }
    bool near_cut = write->role == ROLE_NEAR && plan_write_cuts(write);
    if (failure == WRITE_HELD && near_cut && writing->may_defer) {
        return APPLY_DEFERRED;
    }
    if (near_cut && !writing->goes_on) {
        writing->near_failure = err;
        return APPLY_FAILED;
    }
    text_list_add(&writing->execution->warnings, "%s", err.text);
    return near_cut ? APPLY_DEFERRED : APPLY_FAILED;
}

/* The vendor's tool is not told which cards sleep.  One that does not wake is its
 * own to complain of. */
static void wake_groups(const struct snapshot *snapshot, struct registers *registers, const int groups[], int count)
{
    for (int ppu = 0; ppu < count; ppu++) {
        struct error err;
        if (groups[ppu] >= 0 && registers_wake(registers, snapshot->machine->card[ppu], &err) != READING_FINE) {
            log_message(LOG_LEVEL_INFO, "PPU %d: %s", ppu, err.text);
        }
    }
}

/* The vendor's tool knows no single registers: a start isolates the domain's
 * cards as one group; at a stop each freed card is isolated alone as long as
 * any domain has a card, and only then everything is reset, which reaches the
 * whole machine (design section 7). */
static int run_groups(const struct decision *decision, const struct snapshot *snapshot, struct registers *registers,
                      struct error *err)
{
    int groups[PPU_MAX];
    int count = snapshot->machine->topology.ppu_count;
    int next = 1;
    bool any_owner = false;
    bool any_group = false;
    bool any_freed = false;
    for (int ppu = 0; ppu < count; ppu++) {
        bool freed = decision->owners[ppu] == OWNER_IDLE && snapshot->cards[ppu].has_original;
        any_owner |= decision->owners[ppu] != OWNER_IDLE;
        any_freed |= freed;
        groups[ppu] = decision->near[ppu] ? 0 : freed ? next++ : -1;
        any_group |= groups[ppu] >= 0;
    }
    wake_groups(snapshot, registers, groups, count);
    bool isolate_idle = snapshot->machine->settings.idle == IDLE_ISOLATE;
    enum write_failure failure = WRITE_FINE;
    if (any_freed && !any_owner && !isolate_idle && !snapshot_doubt(snapshot, decision->uuid)) {
        failure = registers->backend->reset(registers, err);
    } else if (any_group) {
        failure = registers->backend->isolate(registers, groups, count, err);
    }
    return failure == WRITE_FINE ? 0 : -1;
}

int execution_run(struct execution *execution, const struct decision *decision, const struct snapshot *snapshot,
                  struct registers *registers, bool may_defer, struct error *err)
{
    *execution = (struct execution){0};
    if (!registers->backend->reads_back) {
        if (decision->intent == INTENT_KEEP) {
            return 0; /* nothing is known to be missing, and a running VM's card is left in peace */
        }
        return run_groups(decision, snapshot, registers, err);
    }
    struct writing writing = {
        .snapshot = snapshot,
        .registers = registers,
        .execution = execution,
        .may_defer = may_defer,
        .goes_on = decision->intent == INTENT_KEEP,
    };
    if (!apply(&decision->plan, may_defer, write_register, &writing, execution->outcomes)) {
        *err = writing.near_failure;
        return -1;
    }
    return 0;
}

void execution_free(struct execution *execution)
{
    text_list_free(&execution->warnings);
}
