/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/demand.h"
#include "engine/machine.h"

/*
 * The first question about every domain: does it take PPUs of this host?  Asked
 * in an order that keeps our own troubles away from VMs that do not: a domain
 * without host PCI devices is answered before the settings are read, one
 * without PPUs before the topology is.
 */
struct inquiry {
    struct machine *machine; /* owned; NULL if the domain has no host PCI device */
    struct demand demand;
    struct text_list warnings;
};

/* 1: it takes PPUs, and the machine is surveyed; 0: it does not; -1: it does, or
 * nobody can tell, and the error refuses it.  INQUIRY is filled in each case. */
MUST_CHECK int inquiry_make(struct inquiry *inquiry, const char *config, const struct domain *domain,
                            struct error *err);
void inquiry_free(struct inquiry *inquiry);
