/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"

/*
 * What libvirt itself says, for manual verbs only: a hook that asked libvirt would
 * wait for the very daemon that waits for it.  Read-only connections, but to change a VM; a daemon
 * that does not answer is given up after a few seconds.  All failures are
 * STATUS_HARDWARE or STATUS_BUSY with one line that names the URI.
 */
#define LIBVIRT_USUAL_URI "qemu:///system"

struct libvirt_domain {
    char *name; /* owned, as is XML */
    char uuid[UUID_SIZE];
    char *xml;
};

struct libvirt_domains {
    struct libvirt_domain *items;
    size_t count;
};
void libvirt_domains_free(struct libvirt_domains *domains);

/* The XML of the domain NAME as it is configured, whether it runs or not. */
MUST_CHECK int libvirt_domain_xml(const char *uri, const char *name, struct buffer *xml, struct error *err);

/* All domains that run, with their live XML. */
MUST_CHECK int libvirt_running(const char *uri, struct libvirt_domains *domains, struct error *err);

/* The uuid of the domain NAME, which runs.  STATUS_INVALID: there is none, or it is shut off. */
MUST_CHECK int libvirt_find_running(const char *uri, const char *name, char uuid[UUID_SIZE], struct error *err);

/* Attaches DEVICE, its XML, to the domain that runs, or detaches it; what the guest does about a detach comes
 * later.  ERR says why not; DEADLINE: monotonic milliseconds. */
enum libvirt_outcome {
    LIBVIRT_DONE,
    LIBVIRT_REFUSED, /* nothing was changed */
    LIBVIRT_UNKNOWN, /* no answer came, or the daemon ended: it may be done, or be done yet */
};
enum libvirt_outcome libvirt_change_device(const char *uri, const char *uuid, const char *device, bool attach,
                                           int64_t deadline, struct error *err);

/* Has libvirt take the card at BDF ("0000:08:00.0") from the host's driver and bind it to vfio-pci, as
 * `virsh nodedev-detach` does, or (TAKE false) give it back.  A card that was taken stays on vfio-pci when a VM has let
 * it go (libvirt 9.0). */
MUST_CHECK int libvirt_move_device(const char *uri, const char *bdf, bool take, int64_t deadline,
                                   struct error *err);
