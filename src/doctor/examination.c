/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "doctor/examination.h"

#include "doctor/checks.h"

static void inspect(struct examination *examination)
{
    struct inspection *inspection = &examination->inspection;
    if (inspection_open(inspection, examination->machine, &examination->inspection_error) < 0) {
        return;
    }
    examination->is_inspected = true;
    snapshot_read_all(inspection->snapshot, &inspection->registers);
}

void examination_open(struct examination *examination, const char *config)
{
    *examination = (struct examination){.config = config, .inspection = INSPECTION_CLOSED};
    if (machine_open(config, &examination->machine, &examination->settings_error) < 0) {
        return;
    }
    examination->is_surveyed = machine_survey(examination->machine, &examination->survey_error) == 0;
    if (examination->is_surveyed) {
        inspect(examination);
    }
}

void examination_close(struct examination *examination)
{
    inspection_close(&examination->inspection);
    machine_close(examination->machine);
    report_free(&examination->report);
}

void examination_run(struct examination *examination)
{
    check_hook(examination);
    check_settings(examination);
    check_cards(examination);
    check_iommu_groups(examination);
    check_iommu(examination);
    check_ppudbg(examination);
    check_security(examination);
    check_ledger(examination);
    check_libvirt(examination);
}

void examination_warn(struct machine *machine, const struct inspection *inspection, const struct demand *demand,
                      const struct domain_placement *placement, struct text_list *warnings)
{
    struct examination examination = {
        .machine = machine, .demand = demand, .is_surveyed = true, .is_inspected = true, .inspection = *inspection};
    check_virtual_functions(&examination);
    check_group_members(&examination);
    examination_check_domain(&examination, placement);
    for (size_t i = 0; i < examination.report.count; i++) {
        const struct finding *finding = &examination.report.findings[i];
        if (finding->result != RESULT_PASS) {
            text_list_add(warnings, "%s; %s", finding->text, finding->remedy);
        }
    }
    report_free(&examination.report);
}
