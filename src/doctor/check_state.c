/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/paths.h"
#include "doctor/checks.h"
#include "doctor/facts.h"

#define GROUP "ledger"

static void report_closed(struct examination *examination)
{
    const struct error *err = &examination->inspection_error;
    CLEANUP_FREE char *path = paths_resolve(PATH_LEDGER);
    if (geteuid() != 0 && access(path, R_OK | X_OK) < 0) {
        report_add(&examination->report, GROUP, "readable", RESULT_WARN, NEEDS_ROOT, "%s", err->text);
    } else {
        report_add(&examination->report, GROUP, "readable", RESULT_FAIL, "until then no VM with cards can start", "%s",
                   err->text);
    }
}

static void check_damage(struct examination *examination)
{
    const struct ledger_content *ledger = &examination->inspection.snapshot->ledger;
    for (size_t i = 0; i < ledger->fault_count; i++) {
        const struct ledger_fault *fault = &ledger->faults[i];
        if (fault->uuid[0]) {
            report_add(&examination->report, GROUP, "sound", RESULT_FAIL,
                       "move it away once its VM is down, then icn-hook check", "%s", fault->error.text);
        } else {
            report_add(&examination->report, GROUP, "sound", RESULT_WARN, "move it away", "%s", fault->error.text);
        }
    }
    if (ledger->fault_count == 0) {
        report_pass(&examination->report, GROUP, "sound", "%zu entries, all sound", ledger->entry_count);
    }
}

static void check_stale(struct examination *examination)
{
    const struct snapshot *snapshot = examination->inspection.snapshot;
    int stale = 0;
    for (size_t i = 0; i < snapshot->tenant_count; i++) {
        const struct tenant *tenant = &snapshot->tenants[i];
        if (tenant->entry && !tenant->alive) {
            stale++;
            report_add(&examination->report, GROUP, "current", RESULT_WARN,
                       "the next start or stop of a VM with cards gives its cards back", "the entry of '%s' is %s",
                       tenant->name,
                       tenant->entry->other_boot             ? "of another boot"
                       : tenant->entry->phase == PHASE_ENDED ? "of a VM that ended, and its links are not all back"
                                                             : "stale: the VM is gone");
        }
    }
    if (stale == 0) {
        report_pass(&examination->report, GROUP, "current", "no entry outlived its VM");
    }
}

/* Cards that have no id here: the entry is of another configuration or host. */
static void check_foreign(struct examination *examination)
{
    const struct ledger_content *ledger = &examination->inspection.snapshot->ledger;
    int foreign = 0;
    for (size_t i = 0; i < ledger->entry_count; i++) {
        const struct ledger_entry *entry = &ledger->entries[i];
        for (size_t card = 0; card < entry->card_count; card++) {
            char bdf[BDF_TEXT_SIZE];
            if (machine_ppu_at(examination->machine, entry->cards[card].bdf) < 0) {
                foreign++;
                report_add(&examination->report, GROUP, "own", RESULT_WARN,
                           "give the card its id back in [map], or end that VM",
                           "the entry of '%s' names %s, which has no id", entry->name,
                           bdf_format(entry->cards[card].bdf, bdf));
            }
        }
    }
    if (foreign == 0) {
        report_pass(&examination->report, GROUP, "own", "every card in it is one of this host");
    }
}

static void check_holders(struct examination *examination)
{
    struct card_findings findings = {0};
    for (int ppu = 0; ppu < examination->machine->topology.ppu_count; ppu++) {
        if (examination->inspection.snapshot->cards[ppu].unknown_holder) {
            card_findings_add(&findings, ppu, RESULT_WARN, "fuser -v /dev/vfio/* names the process",
                              "held open through vfio by somebody whom libvirt does not know");
        }
    }
    card_findings_report(&findings, examination, GROUP, "holders", "no card is held by somebody unknown");
}

/* A killed hook leaves a note of the card whose decoding it had switched on. */
static void check_notes(struct examination *examination)
{
    CLEANUP_FREE struct bdf *functions = NULL;
    size_t count = 0;
    struct error err;
    if (ledger_enabled_notes(&examination->inspection.ledger, &functions, &count, &err) < 0) {
        report_add(&examination->report, GROUP, "notes", RESULT_WARN, NULL, "%s", err.text);
    }
    for (size_t i = 0; i < count; i++) {
        char bdf[BDF_TEXT_SIZE];
        report_add(&examination->report, GROUP, "notes", RESULT_WARN,
                   "the next start or stop of a VM with cards switches it off", "a killed hook left %s enabled",
                   bdf_format(functions[i], bdf));
    }
}

/* What snapshot_take could not make sense of among libvirt's status files. */
static void check_status_files(struct examination *examination)
{
    const struct text_list *warnings = &examination->inspection.snapshot->running.warnings;
    for (size_t i = 0; i < warnings->count; i++) {
        report_add(&examination->report, GROUP, "status", RESULT_WARN,
                   geteuid() == 0 ? "restart that VM, or libvirtd" : NEEDS_ROOT, "%s", warnings->items[i]);
    }
}

void check_ledger(struct examination *examination)
{
    if (!examination->is_surveyed) {
        return;
    }
    if (!examination->is_inspected) {
        report_closed(examination);
        return;
    }
    check_damage(examination);
    check_stale(examination);
    check_foreign(examination);
    check_holders(examination);
    check_notes(examination);
    check_status_files(examination);
}
