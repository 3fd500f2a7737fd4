/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/verbs.h"

#include <inttypes.h>
#include <stdio.h>

#include "cli/view.h"
#include "engine/policy.h"
#include "engine/reconcile.h"

/* What was changed, then what stays to be said. */
static void repair_print_notes(const struct notes *notes, bool changes)
{
    for (size_t i = 0; i < notes->count; i++) {
        if ((notes->items[i].code == NOTE_CHANGE) == changes) {
            puts(notes->items[i].text);
        }
    }
}

static void repair_print_text(const struct session *session, const struct repair_report *report)
{
    char coverage[COVERAGE_TEXT_SIZE];
    bool looks = session->access == SESSION_LOOK;
    for (size_t i = 0; i < report->write_count; i++) {
        const struct plan_write *write = &report->writes[i];
        char card[CARD_TEXT_SIZE];
        printf("%s %s 0x%08" PRIx32 " -> 0x%08" PRIx32 "\n", machine_card_text(session->machine, write->ppu, card),
               looks ? "would be written:" : "written:", write->from, write->to);
    }
    repair_print_notes(&session->notes, true);
    if (report->write_count == 0) {
        puts(looks ? "No register would be written." : "No register had to be written.");
    }
    repair_print_notes(&session->notes, false);
    puts(coverage_text(&report->coverage, coverage));
}

int verb_repair(const struct options *options, struct error *err)
{
    struct session session;
    struct repair_report report = {0};
    int result = session_start(&session, options->config, options->dry_run ? SESSION_LOOK : SESSION_CHANGE, err);
    if (result == 0) {
        result = repair_host(&session, &report, err);
    }
    if (!options->dry_run) {
        verb_log_session(
            "repair", &session,
            (struct trail){.event = EVENT_REPAIRED, .err = result < 0 ? err : NULL, .what = "the whole host"});
    }
    session_unlock(&session);
    if (result == 0) {
        if (options->json) {
            struct json_object *object = json_object_new_object();
            json_put_text(object, "schema", "icn-hook/repair/1");
            json_put_bool(object, "dry_run", session.access == SESSION_LOOK);
            json_put_writes(object, session.machine, report.writes, report.write_count);
            struct json_object *debts = json_put_array(object, "debts");
            for (int ppu = 0; ppu < session.machine->topology.ppu_count; ppu++) {
                uint32_t owed;
                if (policy_owes(&session, ppu, &owed)) {
                    struct json_object *entry = json_object_new_object();
                    json_put_number(entry, "ppu", ppu);
                    json_put_mask(entry, "owed", owed);
                    json_object_array_add(debts, entry);
                }
            }
            json_put_coverage(object, &report.coverage);
            json_put_findings(object, &session.notes);
            json_print(object);
        } else {
            repair_print_text(&session, &report);
        }
        result = (int)links_judge(&session); /* as check would */
    }
    repair_report_free(&report);
    session_close(&session);
    return result;
}
