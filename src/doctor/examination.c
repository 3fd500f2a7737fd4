/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "doctor/examination.h"

#include "doctor/checks.h"

/* Inside the lock is only what is fast, or must not happen while a VM is started. */
static void examination_look(struct examination *examination)
{
    struct session *session = &examination->session;
    examination->is_looked_at =
        session_open(session, examination->machine, SESSION_LOOK, &examination->session_error) == 0;
    if (examination->is_looked_at) {
        session_look_at_all(session);
        iommu_groups_ask(examination);
    }
    session_unlock(session);
}

void examination_open(struct examination *examination, const char *config)
{
    *examination = (struct examination){.config = config, .session = {.state = STATE_CLOSED}};
    if (machine_open(config, &examination->machine, &examination->settings_error) < 0) {
        return;
    }
    examination->is_surveyed = machine_survey(examination->machine, &examination->survey_error) == 0;
    if (examination->is_surveyed) {
        examination_look(examination);
    }
}

void examination_close(struct examination *examination)
{
    if (!examination->session.machine) {
        machine_close(examination->machine);
    }
    session_close(&examination->session);
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
    check_state(examination);
    check_libvirt(examination);
}

void examination_warn(struct session *session, const struct vm_cards *cards, const struct domain_placement *placement,
                      struct notes *notes)
{
    struct examination examination = {
        .machine = session->machine, .cards = cards, .is_surveyed = true, .is_looked_at = true, .session = *session};
    check_virtual_functions(&examination);
    check_group_members(&examination);
    examination_check_domain(&examination, placement);
    for (size_t i = 0; i < examination.report.count; i++) {
        const struct finding *finding = &examination.report.findings[i];
        if (finding->result != RESULT_PASS) {
            notes_add(notes, NOTE_WARNING, NOTE_ADVICE, -1, NULL, "%s; %s", finding->text, finding->remedy);
        }
    }
    report_free(&examination.report);
}
