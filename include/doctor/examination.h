/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "doctor/report.h"
#include "engine/demand.h"
#include "engine/inspection.h"
#include "host/domain_placement.h"

/*
 * What `icn-hook doctor` looks at.  Nothing on the host is created or changed.
 * Whatever cannot be opened is a finding, and the checks that need it are left
 * out: a host without libvirt, cards or topology gets its report all the same.
 */
struct examination {
    const char *config;          /* NULL: the usual file */
    const char *connect;         /* libvirt's URI; NULL: the usual one, and none on a simulated host */
    const struct demand *demand; /* borrowed; only the cards that a domain takes; NULL: all */
    struct report report;

    struct machine *machine; /* NULL: the settings cannot be used */
    bool is_surveyed;
    bool is_inspected; /* ledger, status files and registers were read */
    struct inspection inspection;
    struct error settings_error;
    struct error survey_error;
    struct error inspection_error;
};

/* Opens what can be opened. */
void examination_open(struct examination *examination, const char *config);
void examination_close(struct examination *examination);

/* All checks of the host: hook, configuration, cards, IOMMU, ppudbg, security,
 * ledger, libvirt. */
void examination_run(struct examination *examination);

/* What the cards that DEMAND names would meet in their domain: NUMA, functions left
 * behind, binding. */
void examination_check_domain(struct examination *examination, const struct domain_placement *placement);

/* The same, and who shares the cards' IOMMU groups, as warnings of a plan. */
void examination_warn(struct machine *machine, const struct inspection *inspection, const struct demand *demand,
                      const struct domain_placement *placement, struct text_list *warnings);

/*
 * Compares what libvirt says to run with what the ledger and the status files
 * know.  Adds a line to DIFFERENCES for each VM with cards of which only one side
 * knows.  COUNT: how many VMs with cards libvirt runs.
 */
MUST_CHECK int cross_check(const char *uri, struct machine *machine, const struct inspection *inspection,
                           struct text_list *differences, int *count, struct error *err);
