/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The hook program's two judgements without a parser against the parser: a
 * domain in which the engine finds a host PCI device is never answered as one
 * that cannot hold any, and never passes the closer look.  What QEMU's command
 * line names counts only in a -device of vfio-pci, which needs the word; -set
 * and -global need a device that is there already.
 */
#include <stdint.h>
#include <stdlib.h>

#include "hook/plain.h"
#include "hook/scan.h"
#include "host/domain.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool takes_host_device(const char *text, size_t length)
{
    struct domain domain;
    struct error err;
    bool found = false;

    if (domain_parse(text, length, "vm.xml", &domain, &err) != 0) {
        return false;
    }
    for (size_t i = 0; i < domain.device_count; i++) {
        found = found || domain.devices[i].kind != DEVICE_COMMANDLINE;
    }
    domain_free(&domain);
    return found;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    bool cannot_hold = plain_cannot_hold(text, size);
    bool looks_free = !scan_holds_host_device(text, size);

    if ((cannot_hold || looks_free) && takes_host_device(text, size)) {
        abort();
    }
    return 0;
}
