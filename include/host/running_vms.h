/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/text.h"
#include "host/domain.h"
#include "host/process.h"

/*
 * The VMs that libvirt has status files of (/run/libvirt/qemu/NAME.xml, which name
 * the QEMU process and every device, hot-plugged ones too).  Most VMs have no host
 * device: their files are looked through and not parsed, and their domain is only
 * name, uuid and pid.  The files are read only; libvirt replaces them atomically.
 */
struct running_vm {
    struct domain domain;
    /* False: the file is left over from a daemon that ended with its VMs, or the VM
     * has just stopped and libvirt still keeps the file. */
    bool lives;
    /* domain.pid, and when it started; start 0 if that is not known: of a VM without
     * host device that nobody asked for it is not looked up. */
    struct process_identity process;
};

struct running_vms {
    struct running_vm *vms; /* in the order of their files' names */
    size_t count;
    /* Files that cannot be used, one line each: their VMs, and the cards that these
     * have, are not known. */
    struct text_list warnings;
};

/* WANTED: uuids of VMs whose files are parsed in any case; may be NULL.  A missing
 * directory means no VM.  Fails only if the directory is there and cannot be read
 * (STATUS_HARDWARE). */
MUST_CHECK int running_vms_load(struct running_vms *running, const struct text_list *wanted, struct error *err);
void running_vms_free(struct running_vms *running);

/* NULL: none has this uuid.  One that lives is preferred. */
const struct running_vm *running_vms_find(const struct running_vms *running, const char *uuid);

/* Fills DOMAIN (name, uuid, pid) from a status file that certainly gives its VM no
 * host device; false, with DOMAIN untouched, if it may, or if the file is not exactly
 * as libvirt writes it: then it is to be parsed.  Public for its tests. */
MUST_CHECK bool status_file_scan(const char *text, size_t length, struct domain *domain);
