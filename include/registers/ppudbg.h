/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "base/error.h"
#include "base/file.h"
#include "host/settings.h"

/* Where the vendor's tool lies: on a simulated host also where a real one has it.
 * Owned by the caller. */
char *ppudbg_path(const struct settings *settings);

/* What the vendor's tool is asked beside the registers: `ppudbg --topo_read`, whose
 * output is a topology file.  It sees only links that are not cut. */
MUST_CHECK int ppudbg_read_topology(const struct settings *settings, struct buffer *output, struct error *err);
