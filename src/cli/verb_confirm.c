/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/commands.h"
#include "cli/json.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "engine/confirm.h"

enum { WAIT_DEFAULT_MS = 5000, WAIT_MAX_S = 600, SECOND_MS = 1000 };

/* "SECONDS", with up to three decimals. */
int verb_read_wait(const char *text, int64_t *wait_ms, struct error *err)
{
    size_t whole = strspn(text, "0123456789");
    size_t decimals = text[whole] == '.' ? strspn(text + whole + 1, "0123456789") : 0;
    bool is_number = whole > 0 && whole <= 3 && text[whole + (text[whole] == '.') + decimals] == '\0';
    int64_t value = 0;
    if (!is_number || (text[whole] == '.' && (decimals == 0 || decimals > 3))) {
        return command_usage_error(err, "--wait takes seconds, 0 to %d, not '%s'", WAIT_MAX_S, text);
    }
    for (size_t i = 0; i < whole; i++) {
        value = value * 10 + (text[i] - '0');
    }
    for (size_t i = 0; i < 3; i++) {
        value = value * 10 + (i < decimals ? text[whole + 1 + i] - '0' : 0);
    }
    if (value > (int64_t)WAIT_MAX_S * SECOND_MS) {
        return command_usage_error(err, "--wait takes seconds, 0 to %d, not '%s'", WAIT_MAX_S, text);
    }
    *wait_ms = value;
    return 0;
}

/* On one line of the terminal, which is empty again at the end. */
static void show_progress(void *context, size_t done, size_t total)
{
    (void)context;
    fprintf(stderr, done < total ? "\r\033[Kconfirm: %zu of %zu" : "\r\033[K", done + 1, total);
    fflush(stderr);
}

static void confirm_print_text(const struct confirm_report *report, const struct options *options)
{
    static const enum colour colours[] = {
        [CONFIRM_CONFIRMED] = COLOUR_GREEN, [CONFIRM_CONTRADICTED] = COLOUR_RED, [CONFIRM_NO_WITNESS] = COLOUR_MAGENTA};
    bool in_colour = colour_is_wanted(options->colour, stdout);
    size_t counts[CONFIRM_NO_WITNESS + 1] = {0};
    for (size_t i = 0; i < report->count; i++) {
        const struct confirm_link *link = &report->links[i];
        enum colour colour = in_colour ? colours[link->result.verdict] : COLOUR_PLAIN;
        char peer[32] = "external";
        counts[link->result.verdict]++;
        if (link->result.peer != EXTERNAL_END) {
            snprintf(peer, sizeof peer, "PPU %d", link->result.peer);
        }
        printf("PPU %d link %d to %s: ", link->result.ppu, link->result.link, peer);
        colour_begin(stdout, colour);
        fputs(confirm_verdict_text(link->result.verdict), stdout);
        colour_end(stdout, colour);
        printf("%s%s", link->why[0] ? ": " : "", link->why);
        for (size_t j = 0; j < link->witnesses.count; j++) {
            printf("%s%s", j == 0 ? " (" : "; ", link->witnesses.items[j]);
        }
        puts(link->witnesses.count > 0 ? ")" : "");
    }
    for (size_t i = 0; i < report->strangers.count; i++) {
        puts(report->strangers.items[i]);
    }
    for (size_t i = 0; i < report->warnings.count; i++) {
        printf("warning: %s\n", report->warnings.items[i]);
    }
    printf("%zu links: %zu confirmed, %zu contradicted, %zu without a witness\n", report->count,
           counts[CONFIRM_CONFIRMED], counts[CONFIRM_CONTRADICTED], counts[CONFIRM_NO_WITNESS]);
    if (report->suspects.count > 0) {
        puts("One of these alone would explain all that was seen:");
    } else if (confirm_judge(report) == STATUS_CHECK_FAILED) {
        puts("No single setting that is wrong would explain all that was seen.");
    }
    for (size_t i = 0; i < report->suspects.count; i++) {
        printf("  %s\n", report->suspects.items[i]);
    }
}

static void confirm_print_json(const struct confirm_report *report)
{
    struct json_object *object = json_object_new_object();
    json_put_text(object, "schema", "icn-hook/confirm/1");
    struct json_object *links = json_put_array(object, "links");
    for (size_t i = 0; i < report->count; i++) {
        const struct confirm_link *link = &report->links[i];
        struct json_object *entry = json_object_new_object();
        json_put_number(entry, "ppu", link->result.ppu);
        json_put_number(entry, "link", link->result.link);
        json_put_known_number(entry, "peer", link->result.peer);
        json_put_text(entry, "verdict", confirm_verdict_text(link->result.verdict));
        json_put_list(entry, "witnesses", &link->witnesses);
        json_put_text(entry, "reason", link->why[0] ? link->why : NULL);
        json_object_array_add(links, entry);
    }
    json_put_list(object, "suspects", &report->suspects);
    json_put_list(object, "unknown_links", &report->strangers);
    json_put_list(object, "warnings", &report->warnings);
    json_print(object);
}

int verb_confirm(const struct options *options, struct error *err)
{
    struct confirm_report report;
    struct confirm_options confirm = {.config = options->config,
                                      .list = options->argument,
                                      .wait_ms = WAIT_DEFAULT_MS,
                                      .progress = isatty(STDERR_FILENO) ? show_progress : NULL};
    if (options->wait && verb_read_wait(options->wait, &confirm.wait_ms, err) < 0) {
        return -1;
    }
    log_open_verb("confirm");
    int result = confirm_host(&confirm, &report, err);
    if (result == 0) {
        (options->json ? confirm_print_json(&report) : confirm_print_text(&report, options));
        result = (int)confirm_judge(&report);
    }
    verb_log_result("confirm", EVENT_CONFIRMED, NULL, result < 0 ? err : NULL, "%zu links: %s", report.count,
                    result == STATUS_OK             ? "all are confirmed"
                    : result == STATUS_CHECK_FAILED ? "something is contradicted"
                                                    : "not all have a witness");
    confirm_report_free(&report);
    return result;
}
