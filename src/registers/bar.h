/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "core/bdf.h"

/* What the kernel says of a BAR of a card, before and beside its mapping. */

enum { BAR_CLAIMER_SIZE = 64 };

/* STATUS_HARDWARE: it is an I/O BAR, or has no address, so that a mapping would be of other memory than the
 * card's.  0 also if the kernel says nothing of it. */
MUST_CHECK int bar_check(struct bdf bdf, int bar, struct error *err);

/* Who has claimed the BAR's first page, which is what the kernel looks at before it lets the BAR be mapped
 * (iomem_is_exclusive in pci_mmap_resource), as /proc/iomem names them: a driver, "BOOTFB", "Reserved".  False,
 * with CLAIMER untouched: nobody, or it cannot be read (which takes root). */
MUST_CHECK bool bar_claimer(struct bdf bdf, int bar, char claimer[BAR_CLAIMER_SIZE]);
