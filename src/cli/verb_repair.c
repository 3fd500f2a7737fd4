/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/verbs.h"

#include <inttypes.h>
#include <stdio.h>

#include "cli/json.h"
#include "engine/reconcile.h"

static void repair_put_writes(const struct session *session, const struct repair_report *report,
                              struct json_object *object)
{
    struct json_object *writes = json_put_array(object, "writes");
    for (size_t i = 0; i < report->write_count; i++) {
        const struct plan_write *write = &report->writes[i];
        struct json_object *entry = json_object_new_object();
        char bdf[BDF_TEXT_SIZE];
        json_put_number(entry, "ppu", write->ppu);
        json_put_text(entry, "bdf", bdf_format(session->machine->card[write->ppu], bdf));
        json_put_mask(entry, "from", write->from);
        json_put_mask(entry, "to", write->to);
        json_object_array_add(writes, entry);
    }
}

static void repair_put_debts(const struct session *session, struct json_object *object)
{
    struct json_object *debts = json_put_array(object, "debts");
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        uint32_t owed;
        if (policy_owes(session, ppu, &owed)) {
            struct json_object *entry = json_object_new_object();
            json_put_number(entry, "ppu", ppu);
            json_put_mask(entry, "owed", owed);
            json_object_array_add(debts, entry);
        }
    }
}

static void repair_put_coverage(const struct coverage *coverage, struct json_object *object)
{
    struct json_object *entry = json_object_new_object();
    json_put_number(entry, "required", coverage->required);
    json_put_number(entry, "proven", coverage->proven);
    json_put_number(entry, "gated", coverage->gated);
    json_put_number(entry, "unverified", coverage->unverified);
    json_object_object_add(object, "coverage", entry);
}

static void repair_put_findings(const struct notes *notes, struct json_object *object)
{
    struct json_object *findings = json_put_array(object, "findings");
    for (size_t i = 0; i < notes->count; i++) {
        const struct note *note = &notes->items[i];
        struct json_object *entry = json_object_new_object();
        json_put_text(entry, "code", note_code_text(note->code));
        json_put_text(entry, "severity", severity_text(note->severity));
        json_put_known_number(entry, "ppu", note->ppu);
        json_put_text(entry, "vm", note->vm);
        json_put_text(entry, "text", note->text);
        json_object_array_add(findings, entry);
    }
}

static void repair_print_json(const struct session *session, const struct repair_report *report)
{
    struct json_object *object = json_object_new_object();
    json_put_text(object, "schema", "icn-hook/repair/1");
    json_put_bool(object, "dry_run", session->access == SESSION_LOOK);
    repair_put_writes(session, report, object);
    repair_put_debts(session, object);
    repair_put_coverage(&report->coverage, object);
    repair_put_findings(&session->notes, object);
    json_print(object);
}

static void repair_print_text(const struct session *session, const struct repair_report *report)
{
    for (size_t i = 0; i < report->write_count; i++) {
        const struct plan_write *write = &report->writes[i];
        char card[CARD_TEXT_SIZE];
        printf("%s: 0x%08" PRIx32 " -> 0x%08" PRIx32 "\n", machine_card_text(session->machine, write->ppu, card),
               write->from, write->to);
    }
    for (size_t i = 0; i < session->notes.count; i++) {
        puts(session->notes.items[i].text);
    }
    if (report->write_count == 0) {
        puts(session->access == SESSION_LOOK ? "Nothing would be written." : "Nothing had to be written.");
    }
}

int verb_repair(const struct options *options, struct error *err)
{
    struct session session;
    struct repair_report report = {0};
    int result = session_start(&session, options->config, options->dry_run ? SESSION_LOOK : SESSION_CHANGE, err);
    if (result == 0) {
        result = repair_host(&session, &report, err);
        session_unlock(&session);
    }
    if (result == 0) {
        (options->json ? repair_print_json : repair_print_text)(&session, &report);
    }
    repair_report_free(&report);
    session_close(&session);
    return result;
}
