/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "cli/commands.h"
#include "cli/json.h"
#include "cli/verbs.h"
#include "doctor/examination.h"
#include "doctor/probe.h"

enum { RESULT_COLUMN = 66 };

static const char *const words[] = {[RESULT_PASS] = "PASS", [RESULT_WARN] = "WARN", [RESULT_FAIL] = "FAIL"};

static void print_finding(const struct finding *finding)
{
    int used = printf("  %s: %s", finding->group, finding->text);
    printf("%*s : %s\n", used < RESULT_COLUMN ? RESULT_COLUMN - used : 0, "", words[finding->result]);
    if (finding->remedy) {
        printf("      (%s)\n", finding->remedy);
    }
}

static void print_text(const struct report *report, const struct options *options)
{
    for (size_t i = 0; i < report->count; i++) {
        if (!options->quiet || report->findings[i].result != RESULT_PASS) {
            print_finding(&report->findings[i]);
        }
    }
}

static void print_json(const struct report *report, const struct options *options)
{
    struct json_object *object = json_object_new_object();
    json_put_text(object, "schema", "icn-hook/doctor/1");
    json_put_bool(object, "ok", !report_failed(report));
    struct json_object *checks = json_put_array(object, "checks");
    for (size_t i = 0; i < report->count; i++) {
        const struct finding *finding = &report->findings[i];
        if (options->quiet && finding->result == RESULT_PASS) {
            continue;
        }
        struct json_object *entry = json_object_new_object();
        json_put_text(entry, "group", finding->group);
        json_put_text(entry, "check", finding->check);
        json_put_text(entry, "result", result_text(finding->result));
        json_put_text(entry, "text", finding->text);
        json_put_text(entry, "remedy", finding->remedy);
        json_object_array_add(checks, entry);
    }
    json_print(object);
}

/* Prints, frees the report, and says how it went. */
static int finish(struct report *report, const struct options *options)
{
    (options->json ? print_json : print_text)(report, options);
    bool has_failed = report_failed(report);
    report_free(report);
    return has_failed ? STATUS_CHECK_FAILED : STATUS_OK;
}

static int probe(const struct options *options)
{
    struct report report = {0};
    struct error err;
    if (options->argument || options->domain) {
        return command_usage_error("--probe is of one card, not with", options->argument ? options->argument : "domain");
    }
    if (probe_card(options->config, options->probe, &report, &err) < 0) {
        fprintf(stderr, "icn-hook: %s\n", err.text);
        report_free(&report);
        return (int)err.status;
    }
    return finish(&report, options);
}

int verb_doctor(const struct options *options)
{
    struct examination examination;
    if (options->probe) {
        return probe(options);
    }
    examination_open(&examination, options->config);
    examination_run(&examination);
    int status = finish(&examination.report, options);
    examination_close(&examination);
    return status;
}
