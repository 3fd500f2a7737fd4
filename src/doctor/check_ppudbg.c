/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/paths.h"
#include "core/ownership.h"
#include "doctor/checks.h"
#include "doctor/facts.h"
#include "registers/ppudbg.h"

#define GROUP "ppudbg"

static bool any_owner(const struct examination *examination)
{
    for (int ppu = 0; examination->is_looked_at && ppu < examination->machine->topology.ppu_count; ppu++) {
        if (examination->session.owners.of[ppu] != OWNER_IDLE) {
            return true;
        }
    }
    return false;
}

/* The tool talks to the cards, so it is asked only while no VM has one. */
static void check_answer(struct examination *examination)
{
    struct report *report = &examination->report;
    struct buffer output = {0};
    struct error err;
    if (geteuid() != 0 && !paths_simulated()) {
        report_add(report, GROUP, "answers", RESULT_WARN, NEEDS_ROOT, "whether it answers");
    } else if (any_owner(examination)) {
        report_pass(report, GROUP, "answers", "not asked while a VM has cards");
    } else if (ppudbg_read_topology(&examination->machine->settings, &output, &err) == 0) {
        report_pass(report, GROUP, "answers", "ppudbg --topo_read answers");
        buffer_free(&output);
    } else {
        report_add(report, GROUP, "answers", RESULT_FAIL, "ppudbg --topo_read needs the vendor's driver", "%s",
                   err.text);
    }
}

/* Of interest if it is what writes the registers, or lies there ready for that. */
void check_ppudbg(struct examination *examination)
{
    struct report *report = &examination->report;
    if (!examination->machine) {
        return;
    }
    const char *name = examination->machine->settings.ppudbg_path;
    bool is_backend = examination->machine->settings.backend == BACKEND_PPUDBG;
    CLEANUP_FREE char *path = ppudbg_path(&examination->machine->settings);
    if (access(path, F_OK) < 0) {
        if (is_backend) {
            report_add(report, GROUP, "installed", RESULT_FAIL, "install it, or set path in [ppudbg]",
                       "%s, which is to write the registers, is not there", name);
        }
        return;
    }
    if (access(path, X_OK) < 0) {
        report_add(report, GROUP, "installed", is_backend ? RESULT_FAIL : RESULT_WARN, "chmod 0755 it",
                   "%s cannot be executed", name);
        return;
    }
    report_pass(report, GROUP, "installed", "%s can be executed", name);
    if (fact_is_safe(path)) {
        report_pass(report, GROUP, "protected", "only root can change it");
    } else {
        report_add(report, GROUP, "protected", RESULT_FAIL, "chown root: it, and chmod 0755",
                   "users other than root can change what root runs");
    }
    if (is_backend) {
        check_answer(examination);
    }
}
