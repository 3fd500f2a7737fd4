/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/record.h"

/* Completes the ledger's entry of a domain that has ended, where it cannot say
 * which masks the domain's cards had before it: because the ledger was lost while
 * the domain ran, or because QEMU held the registers when the entry was written.
 * What the domain had is told by the entry, else by the status file that libvirt
 * still keeps at `stopped`; cuts that the domain needed are taken to be ours.
 * COMPLETED: the entry was written, and SNAPSHOT is no longer up to date. */
MUST_CHECK int recovery_complete(const struct ledger *ledger, struct snapshot *snapshot, struct registers *registers,
                                 const char *uuid, const char *name, bool *completed, struct error *err);
