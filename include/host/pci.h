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

/* All functions that match, sorted by address, without virtual ones: a card's can carry its device id.  Scans the whole
 * host, which is slow on large ones: asked only where a pinned card is absent. */
MUST_CHECK int pci_list_matching(struct pci *pci, struct bdf **functions, size_t *count, struct error *err);

/* One function, without a scan; asked again, the answer is the same.  *present is false if the host has none at BDF
 * (and *matches then too); one that cannot be looked at is an error. */
MUST_CHECK int pci_look_up(struct pci *pci, struct bdf bdf, bool *present, bool *matches, struct error *err);

/* The physical function of a virtual function that was looked up; false if it is none.  Asked again, the answer is
 * the same. */
bool pci_physical_function(struct pci *pci, struct bdf bdf, struct bdf *physical);

/* What tells one card from another although its address has changed.  0: found; 1: there is none;
 * -1: it could not be read, which says nothing.  The text is untouched unless it is found. */

enum { PCI_PATH_SIZE = 128, PCI_SERIAL_SIZE = sizeof "00-00-00-00-00-00-00-01" };

/* The card's place, which a new numbering of the buses does not change: the host bridge's name in
 * /sys/devices, then the device and function of each bridge, then of the card itself, as in
 * "pci0000:00/01.0/00.0".  1 also where sysfs shows the card outside of a host bridge (a plain directory of a
 * simulated host), or deeper than a text of PCI_PATH_SIZE can say. */
MUST_CHECK int pci_card_path(struct bdf bdf, char path[PCI_PATH_SIZE]);

/* The Device Serial Number capability, as lspci prints it: "00-00-00-00-00-00-00-01".  It wakes no card that
 * sleeps in D3hot.  -1 also if the card does not answer, or if the kernel shows the extended configuration
 * space to root only. */
MUST_CHECK int pci_card_serial(struct bdf bdf, char serial[PCI_SERIAL_SIZE]);
