/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/paths.h"
#include "base/text.h"
#include "doctor/checks.h"
#include "doctor/cross_check.h"
#include "hypervisor/libvirt.h"

#define GROUP "libvirt"

/* A simulated host has no libvirt of its own: it must be named. */
void check_libvirt(struct examination *examination)
{
    struct report *report = &examination->report;
    struct text_list differences = {0};
    struct error err;
    int count = 0;
    const char *uri = examination->connect ? examination->connect : paths_simulated() ? NULL : LIBVIRT_USUAL_URI;
    if (!uri || !examination->is_inspected) {
        return;
    }
    if (cross_check(uri, examination->machine, &examination->inspection, &differences, &count, &err) < 0) {
        report_add(report, GROUP, "reachable", RESULT_WARN, "nothing was compared with libvirt", "%s", err.text);
        return;
    }
    report_pass(report, GROUP, "reachable", "%s answers; VMs with cards that run: %d", uri, count);
    for (size_t i = 0; i < differences.count; i++) {
        report_add(report, GROUP, "agrees", RESULT_WARN, "icn-hook status shows what is known; restart that VM", "%s",
                   differences.items[i]);
    }
    if (differences.count == 0) {
        report_pass(report, GROUP, "agrees", "libvirt and the ledger agree");
    }
    text_list_free(&differences);
}
