/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/demand.h"
#include "engine/machine.h"
#include "host/ledger.h"
#include "host/running_domains.h"
#include "host/sysfs.h"
#include "registers/registers.h"

/*
 * Who owns which card at one moment: the union of our ledger, libvirt's status
 * files and the vfio users that sysfs shows (design section 5).
 */

/* A domain, or a group isolated by hand, that has to do with PPUs. */
struct tenant {
    char uuid[UUID_SIZE];
    const char *name;                 /* borrowed from the ledger or the status file */
    const struct ledger_entry *entry; /* borrowed; NULL if the ledger does not know it */
    bool running;                     /* libvirt's status file names a living process */
    bool manual;                      /* no domain but a group that was isolated by hand */
    bool alive; /* it owns its cards; false: its entry is stale or ended, only restoring is left */
};

/* One tenant's hold on one card. */
struct claim {
    size_t tenant;
    int ppu;
    bool whole;
};

struct card {
    struct pci_state state;
    bool held;           /* it, or one of its virtual functions, is open through vfio */
    bool unknown_holder; /* … by somebody who is no tenant */
    bool has_original;   /* some ledger entry says what its mask was before we touched it */
    uint32_t original;
    struct reading reading; /* after snapshot_read */
    bool was_read;
};

struct snapshot {
    struct machine *machine; /* borrowed */
    struct ledger_content ledger;
    struct running_domains running;
    struct tenant *tenants;
    size_t tenant_count;
    struct claim *claims; /* of tenants that are alive; one per tenant and card */
    size_t claim_count;
    struct card cards[PPU_MAX];
    struct text_list findings;
};

/* LEDGER must be open (and locked, if registers are to change after it). */
MUST_CHECK int snapshot_take(struct machine *machine, const struct ledger *ledger, struct snapshot **snapshot,
                             struct error *err);
void snapshot_free(struct snapshot *snapshot);

/* The owner of each card as the core knows it (OWNER_IDLE, tenant index + 1,
 * OWNER_SHARED, OWNER_UNKNOWN). */
void snapshot_owners(const struct snapshot *snapshot, int owners[]);

/* The tenant with this UUID, or NULL. */
const struct tenant *snapshot_tenant(const struct snapshot *snapshot, const char *uuid);

/* An unreadable ledger entry that may hide an owner or a mask to restore, unless
 * libvirt's status file shows what its domain has.  The entry of the domain
 * UUID counts only if it may be sound and could not be read this time; a damaged
 * one is replaced.  NULL: every owner is known.  While there is a doubt, nothing
 * may be opened. */
const struct error *snapshot_doubt(const struct snapshot *snapshot, const char *uuid);

/* The names of a card's owners, joined by ", "; "idle" or "unknown". */
enum { OWNER_TEXT_SIZE = 600 };
const char *snapshot_owner_text(const struct snapshot *snapshot, int ppu, char text[OWNER_TEXT_SIZE]);

/* Reads the register of card PPU, once. */
void snapshot_read(struct snapshot *snapshot, struct registers *registers, int ppu);
void snapshot_read_all(struct snapshot *snapshot, struct registers *registers);

/* The card as the register backends address it. */
struct card_address snapshot_address(const struct snapshot *snapshot, int ppu);
