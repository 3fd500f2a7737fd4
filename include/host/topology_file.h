/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

#include "base/error.h"
#include "core/topology.h"

/* The vendor's icn_topo.cfg:
 *   ==========device0==========
 *   ppuid: 0
 *   link[3]: nbrPpuid:2
 * A link to an id that has no device here is external.
 * Blank lines, lines that start with '#', blanks at a line's ends, CRLF and a byte
 * order mark are accepted; anything else is STATUS_INVALID with "NAME:LINE: …", and
 * so is a topology that topology_validate refuses. */
MUST_CHECK int topology_file_parse(const char *text, size_t length, const char *name, struct topology *topology,
                                   struct error *err);

/* Reads PATH (already under the sysroot), at most 4 MiB. */
MUST_CHECK int topology_file_load(const char *path, struct topology *topology, struct error *err);
