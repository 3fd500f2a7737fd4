/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "engine/machine.h"
#include "engine/notes.h"
#include "host/domain.h"

/* Which PCI functions of this host a domain takes, and which of them are our cards. */

/* How the device is named in the domain's XML (contract: "via" in JSON). */
enum via { VIA_HOSTDEV, VIA_INTERFACE, VIA_NVME, VIA_MDEV, VIA_VIRTUAL_FUNCTION, VIA_COMMANDLINE };
const char *via_text(enum via via);

struct vm_card {
    enum via via;
    struct bdf function; /* as named; of a mediated device, the function that carries it */
    struct bdf card;     /* the PPU that FUNCTION belongs to; FUNCTION itself if it is not a PPU */
    bool is_ppu;
    bool whole; /* the card as a whole, not a virtual function or mediated device of it */
    bool present;
    bool unmanaged; /* as in struct domain_device */
    int ppu;        /* the card's id; -1: it is not a PPU, or has no id */
};

struct vm_cards {
    struct vm_card *items; /* document order, without repetition */
    size_t count;
    bool has_ppu;
};

/* Resolves the devices of DOMAIN.  What is not on this host (libvirt or QEMU will refuse it)
 * is noted. */
MUST_CHECK int vm_cards_resolve(struct machine *machine, const struct domain *domain, struct vm_cards *cards,
                                struct notes *notes, struct error *err);

/* Gives the PPUs their ids; needs machine_survey.  A pinned card that is absent counts as a PPU.
 * STATUS_INVALID if a PPU has no id: the first one; all others have theirs then. */
MUST_CHECK int vm_cards_number(const struct machine *machine, const char *vm, struct vm_cards *cards,
                               struct error *err);

/*
 * The first question about every domain: does it take PPUs of this host?  Asked in an order
 * that keeps our own troubles away from VMs that do not: a domain without host PCI devices is
 * answered before the settings are read, one without PPUs before the topology is.
 *
 * 1: it does, and *machine is surveyed; 0: it does not; -1: it does, or nobody can tell, and
 * the error refuses it.  *machine (NULL if it was not needed) and CARDS are the caller's in
 * each case.
 */
MUST_CHECK int vm_cards_find(const char *config, const struct domain *domain, struct machine **machine,
                             struct vm_cards *cards, struct notes *notes, struct error *err);
void vm_cards_free(struct vm_cards *cards);

/* Notes what is not a fault, but seldom meant: SET (by id) are not all joined by links among
 * themselves (HINT: with what to do about it). */
enum hint { WITHOUT_HINT, WITH_HINT };
void vm_cards_advise_links(const struct machine *machine, const bool set[], enum hint hint, struct notes *notes);
