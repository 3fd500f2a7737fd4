/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/inspection.h"

/*
 * Compares what libvirt says to run with what the ledger and the status files
 * know.  Adds a line to DIFFERENCES for each VM with cards of which only one side
 * knows.  COUNT: how many VMs with cards libvirt runs.
 */
MUST_CHECK int cross_check(const char *uri, struct machine *machine, const struct inspection *inspection,
                           struct text_list *differences, int *count, struct error *err);
