/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "core/plan.h"
#include "engine/card_groups.h"

/*
 * Isolation by hand, for VMMs that libvirt does not start: a group of cards gets an
 * entry in the ledger as a VM does, and owns its cards until it is released.
 */

/* A group, a VM, or an unknown holder, and the cards that it is about. */
struct manual_party {
    char *name;           /* owned */
    char uuid[UUID_SIZE]; /* "": it has none */
    int *ppus;            /* owned; ascending */
    size_t ppu_count;
};

struct manual_parties {
    struct manual_party *items;
    size_t count;
};

/* What was done, or, in a dry run, would be; filled as far as it came on failure too. */
struct manual_report {
    struct manual_parties groups;  /* applied, released, or ended */
    struct manual_parties exposed; /* by a reset: whose cards' links may open while they are in use */
    struct plan_write *writes;     /* in their order; only those that the registers took, unless in a dry run */
    size_t write_count;
    struct text_list warnings;
};
void manual_report_free(struct manual_report *report);

/* Isolates all groups or none.  NAMES: of the first groups; the others are called
 * "manual-" and the lowest id.  A group that is there already, with the same cards
 * and no other name, is cut again where it must be.  MACHINE is surveyed. */
MUST_CHECK int manual_apply(struct machine *machine, const struct card_groups *groups, const char *const names[],
                            size_t name_count, bool dry_run, struct manual_report *report, struct error *err);

/* Ends the group NAME and gives its cards back. */
MUST_CHECK int manual_release(struct machine *machine, const char *name, bool dry_run, struct manual_report *report,
                              struct error *err);

/* Ends all groups and gives all cards back.  FORCE: although somebody uses cards;
 * VMs keep theirs in the ledger. */
MUST_CHECK int manual_reset(struct machine *machine, bool force, bool dry_run, struct manual_report *report,
                            struct error *err);
