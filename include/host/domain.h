/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/text.h"
#include "core/bdf.h"

/* What a domain's XML says: who it is and which host PCI functions it takes. */

/* How a device is named in the XML. */
enum device_kind {
    DEVICE_HOSTDEV,     /* <hostdev mode='subsystem' type='pci'> */
    DEVICE_INTERFACE,   /* <interface type='hostdev'>, also as <actual> of a network pool */
    DEVICE_NVME,        /* <disk type='nvme'>, its backing store and mirror too */
    DEVICE_MDEV,        /* <hostdev type='mdev'>, or sysfsdev= of a mediated device */
    DEVICE_COMMANDLINE, /* vfio-pci with host= or sysfsdev= in <qemu:commandline>, or <qemu:override> */
};

struct domain_device {
    enum device_kind kind;
    struct bdf bdf;            /* the function; unless one of the next two is set */
    char mdev_uuid[UUID_SIZE]; /* "" unless the device is a mediated device */
    char *sysfs_path;          /* owned; NULL unless sysfsdev= is neither a BDF nor an mdev by its last part */
    bool unmanaged;            /* a <hostdev> that libvirt does not bind to vfio-pci itself */
};

struct domain {
    char *name;                    /* owned; "" if the XML has none */
    char uuid[UUID_SIZE];          /* canonical; "" if the XML has none */
    pid_t pid;                     /* of a status file's domain; 0 in a plain domain */
    struct domain_device *devices; /* document order, no function twice */
    size_t device_count;
    struct text_list warnings; /* a device named twice, … */
};

enum { DOMAIN_XML_LIMIT = 16 << 20 }; /* bytes; libvirt's own RPC string limit is 4 MiB */

/* Parses a domain's XML, in the plain form (<domain>) or as in libvirt's
 * status file (<domstatus>).  Looks only at /domain/name, /domain/uuid,
 * /domain/devices/… and /domain/qemu:commandline, qemu:override; never at
 * metadata or other namespaces.  Numbers are read as libvirt reads them
 * (strtoul with base 0, bounds of virPCIDeviceAddressIsValid).  Document type
 * declarations are refused, nothing outside TEXT is ever read.
 * NAME says in messages where the text is from.  Errors: STATUS_INVALID. */
MUST_CHECK int domain_parse(const char *text, size_t length, const char *name, struct domain *domain,
                            struct error *err);
void domain_free(struct domain *domain);
