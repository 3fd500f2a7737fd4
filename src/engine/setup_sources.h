/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/machine.h"
#include "engine/setup.h"

/* Reads what the request names, or asks the vendor's tools, which may take their time: nobody holds the lock.  MACHINE
 * has its cards in the order of their addresses.  SOURCES is to be freed, also on failure. */
MUST_CHECK int setup_gather(const struct setup_request *request, const struct machine *machine,
                            struct wiring_sources *sources, struct error *err);
