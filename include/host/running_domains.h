/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "host/domain.h"

/*
 * The domains that run on this host, from libvirt's status files
 * (/run/libvirt/qemu/NAME.xml, which name the QEMU process and every device,
 * hot-plugged ones too).  A status file whose process is gone is left over
 * from a daemon that died with it: its domain does not run.
 * The files are read only; libvirt replaces them atomically.
 */
struct running_domains {
    struct domain *domains;
    size_t count;
    struct text_list warnings; /* files that could not be read or parsed, by name */
};

/* A missing directory means no domain.  Fails only if the directory is there
 * and cannot be read (STATUS_HARDWARE). */
MUST_CHECK int running_domains_load(struct running_domains *running, struct error *err);

/* The domain with this UUID by its status file, whether its process lives or not:
 * at `stopped` libvirt still keeps the file.  1: DOMAIN is filled, owned by the
 * caller; 0: there is none. */
MUST_CHECK int running_domains_find(const char *uuid, struct domain *domain, struct error *err);

void running_domains_free(struct running_domains *running);
