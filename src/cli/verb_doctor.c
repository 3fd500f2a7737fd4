/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "cli/output.h"
#include "cli/commands.h"
#include "cli/json.h"
#include "cli/verb_plan.h"
#include "cli/verbs.h"
#include "doctor/examination.h"
#include "doctor/probe.h"

static const char *const words[] = {[RESULT_PASS] = "PASS", [RESULT_WARN] = "WARN", [RESULT_FAIL] = "FAIL"};

static const enum colour colours[] = {
    [RESULT_PASS] = COLOUR_GREEN, [RESULT_WARN] = COLOUR_MAGENTA, [RESULT_FAIL] = COLOUR_RED};

/* The longest of all codes, so that a report's columns are where every other one has them. */
static int code_width(void)
{
    size_t width = 0;
    for (int check = 0; check < CHECK_COUNT; check++) {
        size_t length = strlen(check_code((enum check)check));
        width = length > width ? length : width;
    }
    return (int)width;
}

static void doctor_print_text(const struct report *report, const struct options *options, const struct preview *preview)
{
    enum { WORD = 4, GAP = 2 };
    bool in_colour = colour_is_wanted(options->colour, stdout);
    int width = code_width();
    for (size_t i = 0; i < report->count; i++) {
        const struct finding *finding = &report->findings[i];
        if (options->quiet && finding->result == RESULT_PASS) {
            continue;
        }
        enum colour colour = in_colour ? colours[finding->result] : COLOUR_PLAIN;
        colour_begin(stdout, colour);
        fputs(words[finding->result], stdout);
        colour_end(stdout, colour);
        printf("%*s%-*s%*s%s\n", GAP, "", width, check_code(finding->check), GAP, "", finding->text);
        if (finding->remedy) {
            printf("%*s(%s)\n", WORD + GAP + width + GAP, "", finding->remedy);
        }
    }
    if (preview && !options->quiet) {
        preview_print(preview);
    }
}

/* The code, and, as before there were codes, its two halves in small letters. */
static void doctor_put_code(struct json_object *entry, const char *code)
{
    char small[64];
    size_t length = 0;
    while (code[length] && length < sizeof small - 1) {
        small[length] = (char)tolower((unsigned char)code[length]);
        length++;
    }
    small[length] = '\0';
    char *half = strchr(small, '-');
    *half = '\0';
    json_put_text(entry, "code", code);
    json_put_text(entry, "group", small);
    json_put_text(entry, "check", half + 1);
}

/* PREVIEW: of the domain that it was about, or NULL. */
static void doctor_print_json(const struct report *report, const struct options *options, const struct preview *preview)
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
        doctor_put_code(entry, check_code(finding->check));
        json_put_text(entry, "result", result_text(finding->result));
        json_put_text(entry, "text", finding->text);
        json_put_text(entry, "remedy", finding->remedy);
        json_object_array_add(checks, entry);
    }
    if (preview) {
        struct json_object *plan = json_object_new_object();
        preview_put_domain(preview, object);
        preview_put_plan(preview, plan);
        json_object_object_add(object, "plan", plan);
    }
    json_print(object);
}

static int doctor_finish(const struct report *report, const struct options *options, const struct preview *preview)
{
    (options->json ? doctor_print_json : doctor_print_text)(report, options, preview);
    return report_failed(report) ? STATUS_CHECK_FAILED : STATUS_OK;
}

static int doctor_probe(const struct options *options, struct error *err)
{
    struct report report = {0};
    if (options->argument || options->domain) {
        return command_usage_error(err, "--probe takes one card and cannot be combined with '%s'",
                                   options->argument ? options->argument : "--domain");
    }
    log_open_verb("doctor");
    int status = probe_card(options->config, options->probe, &report, err);
    verb_log_result("doctor", EVENT_PROBED, NULL, status < 0 ? err : NULL, "card %s was probed: %s", options->probe,
                    report_failed(&report) ? "it failed" : "it passed");
    if (status == 0) {
        status = doctor_finish(&report, options, NULL);
    }
    report_free(&report);
    return status;
}

int verb_doctor(const struct options *options, struct error *err)
{
    if (options->probe) {
        return doctor_probe(options, err);
    }
    bool is_of_domain = options->argument || options->domain;
    struct preview preview;
    struct examination examination;
    if (is_of_domain && preview_open(&preview, options, err) < 0) {
        preview_close(&preview);
        return -1;
    }
    examination_open(&examination, options->config);
    struct report *report = &examination.report;
    examination.connect = options->connect;
    examination.cards = is_of_domain ? &preview.plan.cards : NULL;
    examination_run(&examination);
    if (is_of_domain) {
        examination_check_domain(&examination, &preview.placement);
        if (preview.is_refused) {
            report_add(report, CHECK_DOMAIN_PLAN, RESULT_FAIL, NULL, "%s", preview.reason.text);
        } else {
            report_pass(report, CHECK_DOMAIN_PLAN,
                        preview.plan.isolates ? "VM '%s' would be isolated" : "VM '%s' uses no PPU",
                        preview.domain.name);
        }
    }
    int status = doctor_finish(report, options, is_of_domain ? &preview : NULL);
    examination_close(&examination);
    if (is_of_domain) {
        preview_close(&preview);
    }
    return status;
}
