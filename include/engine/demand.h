/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"
#include "engine/machine.h"
#include "host/domain.h"

/* What a domain takes from this host: its devices, resolved to PCI functions
 * and PPUs. */

/* How the device is named in the domain's XML (contract: "via" in JSON). */
enum via { VIA_HOSTDEV, VIA_INTERFACE, VIA_NVME, VIA_MDEV, VIA_VIRTUAL_FUNCTION, VIA_COMMANDLINE };
const char *via_text(enum via via);

struct demand_device {
    enum via via;
    struct bdf function; /* as named; of a mediated device, the function that carries it */
    struct bdf card;     /* the PPU behind it; FUNCTION itself if it is no PPU */
    bool is_ppu;
    bool whole; /* the card as a whole, not a virtual function or mediated device of it */
    bool present;
    bool unmanaged; /* as in struct domain_device */
    int ppu; /* the card's id; -1 before demand_number, and if it is no PPU */
};

struct demand {
    struct demand_device *devices; /* document order, without repetition */
    size_t count;
    bool has_ppu;
    bool by_hand; /* the taker is no domain but a group that is isolated by hand */
};

/* Resolves all devices of DOMAIN.  What cannot be found on the host (libvirt
 * or QEMU will refuse it) is noted in WARNINGS. */
MUST_CHECK int demand_resolve(struct machine *machine, const struct domain *domain, struct demand *demand,
                              struct text_list *warnings, struct error *err);

/* Gives the PPUs among the devices their ids; needs machine_survey.  A pinned
 * card that is absent counts as a PPU here.  A PPU without id:
 * STATUS_INVALID. */
MUST_CHECK int demand_number(const struct machine *machine, struct demand *demand, struct error *err);

void demand_free(struct demand *demand);
