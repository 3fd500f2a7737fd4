/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "base/error.h"
#include "base/file.h"
#include "core/bdf.h"
#include "host/settings.h"

/* What the vendor's tool is asked beside the registers: `ppudbg --topo_read`, whose
 * output is a topology file.  It sees only links that are not cut. */
MUST_CHECK int ppudbg_read_topology(const struct settings *settings, struct buffer *output, struct error *err);

enum ppudbg_link {
    PPUDBG_LINK_UNKNOWN, /* the tool ended well and did not say it, or said it twice */
    PPUDBG_LINK_UP,
    PPUDBG_LINK_DOWN,
};

/* What the tool says of one link of a card: `ppudbg --device BDF --micnop stat LINK`, from
 * the line "Link Status: WORD" of its stdout.  It needs the vendor's driver on the card.
 * LINK is 0..31.  Errors are those of spawn_capture, with [ppudbg] timeout as deadline. */
MUST_CHECK int ppudbg_read_link(const struct settings *settings, struct bdf card, int link, enum ppudbg_link *status,
                                struct error *err);
