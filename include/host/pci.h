/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "core/bdf.h"

/* Which PCI functions are PPUs: libpci's filter over the ids in the (re-rooted) sysfs.
 * The only user of libpci. */
struct pci;

/* MATCH is an lspci -d filter ([vendor]:[device][:class[:prog-if]]). */
MUST_CHECK int pci_open(const char *match, struct pci **pci, struct error *err);
void pci_close(struct pci *pci);

/* True if libpci understands MATCH; otherwise *reason (static text) is set. */
MUST_CHECK bool pci_match_is_valid(const char *match, const char **reason);

/* All functions that match, sorted by address.  Scans the whole host, which is
 * slow on large ones: ask only when ids are not pinned. */
MUST_CHECK int pci_list_matching(struct pci *pci, struct bdf **functions, size_t *count, struct error *err);

/* One function, without a scan.  *present is false if the host has none at BDF (and
 * *matches then too); one that cannot be looked at is an error. */
MUST_CHECK int pci_look_up(struct pci *pci, struct bdf bdf, bool *present, bool *matches, struct error *err);
