/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
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

struct doctor_answer {
    const struct report *report;
    const struct preview *preview; /* of the domain that it is about, or NULL */
    const struct vm_facts *facts;  /* if that runs */
    const struct machine *machine; /* with facts only */
};

enum { CARD_LINE_SIZE = 160 };

static void describe_node(const struct card_facts *card, char text[CARD_LINE_SIZE])
{
    if (card->numa_node == UNKNOWN_NUMBER) {
        snprintf(text, CARD_LINE_SIZE, "not known");
    } else {
        snprintf(text, CARD_LINE_SIZE, "node %d", card->numa_node);
    }
}

static const char *width_text(int width, char text[16])
{
    snprintf(text, 16, width == UNKNOWN_NUMBER ? "x?" : "x%d", width);
    return text;
}

static void describe_pcie(const struct card_facts *card, char text[CARD_LINE_SIZE])
{
    char now[16];
    char at_most[16];
    if (card->width == UNKNOWN_NUMBER && card->width_at_most == UNKNOWN_NUMBER && !card->speed[0] &&
        !card->speed_at_most[0]) {
        snprintf(text, CARD_LINE_SIZE, "not known");
        return;
    }
    snprintf(text, CARD_LINE_SIZE, "%s of %s, %s of %s", width_text(card->width, now),
             width_text(card->width_at_most, at_most), card->speed[0] ? card->speed : "? GT/s",
             card->speed_at_most[0] ? card->speed_at_most : "? GT/s");
}

static void describe_errors(const struct card_facts *card, char text[CARD_LINE_SIZE])
{
    static const char *const kinds[] = {"correctable", "nonfatal", "fatal"};
    size_t used = 0;
    for (int kind = 0; kind < AER_KINDS && used < CARD_LINE_SIZE; kind++) {
        const char *comma = kind > 0 ? ", " : "";
        used += (size_t)(card->errors[kind] == UNKNOWN_NUMBER
                             ? snprintf(text + used, CARD_LINE_SIZE - used, "%s%s not known", comma, kinds[kind])
                             : snprintf(text + used, CARD_LINE_SIZE - used, "%s%d %s", comma, card->errors[kind],
                                        kinds[kind]));
    }
}

/* " TITLE: PPUs 0-1 node 0; PPU 2 node 1."; cards of which the same is said are named together. */
static void put_of_cards(FILE *stream, const struct machine *machine, const struct vm_facts *facts, const char *title,
                         void (*describe)(const struct card_facts *card, char text[CARD_LINE_SIZE]))
{
    bool is_said[PPU_MAX] = {false};
    fprintf(stream, " %s:", title);
    for (size_t i = 0; i < facts->count; i++) {
        char text[CARD_LINE_SIZE];
        char ids[IDS_TEXT_SIZE];
        bool same[PPU_MAX] = {false};
        int count = 0;
        describe(&facts->cards[i], text);
        for (size_t other = i; other < facts->count && !is_said[facts->cards[i].ppu]; other++) {
            char its[CARD_LINE_SIZE];
            describe(&facts->cards[other], its);
            same[facts->cards[other].ppu] = strcmp(its, text) == 0;
            count += same[facts->cards[other].ppu];
        }
        for (int ppu = 0; ppu < PPU_MAX; ppu++) {
            is_said[ppu] |= same[ppu];
        }
        if (count > 0) {
            fprintf(stream, "%s PPU%s %s %s", i > 0 ? ";" : "", count > 1 ? "s" : "",
                    machine_ids_text(machine, same, ids), text);
        }
    }
    fputc('.', stream);
}

/* All of it in one paragraph; owned by the caller. */
static char *facts_text(const struct machine *machine, const struct vm_facts *facts)
{
    char *text = NULL;
    size_t size = 0;
    char time[TIME_TEXT_SIZE];
    char ids[IDS_TEXT_SIZE];
    bool of_vm[PPU_MAX] = {false};
    FILE *stream = open_memstream(&text, &size);
    if (!stream) {
        return memory_copy_text("");
    }
    for (size_t i = 0; i < facts->count; i++) {
        of_vm[facts->cards[i].ppu] = true;
    }
    fprintf(stream, "VM '%s' runs (pid %ld) with PPU%s %s. Links between its cards: %d of %d open", facts->name,
            (long)facts->pid, facts->count > 1 ? "s" : "", machine_ids_text(machine, of_vm, ids), facts->links_open,
            facts->links);
    if (facts->links_unknown > 0) {
        fprintf(stream, ", %d not known", facts->links_unknown);
    }
    if (facts->links_since > 0) {
        fprintf(stream, ", as read back before QEMU opened the cards, %s", text_format_time(facts->links_since, time));
    }
    fputs(". Their ends are up", stream);
    for (size_t i = 0; i < sizeof facts->witnesses / sizeof facts->witnesses[0]; i++) {
        const struct witness_facts *said = &facts->witnesses[i];
        fprintf(stream, "%s by %s: %d of %d", i > 0 ? ";" : "", said->name, said->up, 2 * facts->links);
        if (said->unknown > 0) {
            fprintf(stream, ", %d cannot be seen now", said->unknown);
        }
    }
    fputc('.', stream);
    put_of_cards(stream, machine, facts, "NUMA", describe_node);
    put_of_cards(stream, machine, facts, "PCIe now, of at most", describe_pcie);
    put_of_cards(stream, machine, facts, "AER errors", describe_errors);
    fclose(stream);
    return text;
}

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

static void doctor_print_text(const struct doctor_answer *answer, const struct options *options)
{
    enum { WORD = 4, GAP = 2 };
    const struct report *report = answer->report;
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
    if (answer->facts && !options->quiet) {
        CLEANUP_FREE char *text = facts_text(answer->machine, answer->facts);
        printf("%s\n", text);
    }
    if (answer->preview && !options->quiet) {
        preview_print(answer->preview);
    }
}

/* The code, and, as before there were codes, its two halves in small letters. */
static void doctor_put_code(struct json_object *entry, const char *code)
{
    char small[64];
    size_t length = 0;
    while (length < sizeof small - 1 && code[length]) {
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

static void doctor_put_facts(struct json_object *object, const struct doctor_answer *answer)
{
    const struct vm_facts *facts = answer->facts;
    CLEANUP_FREE char *text = facts_text(answer->machine, facts);
    struct json_object *running = json_object_new_object();
    json_put_text(running, "text", text);
    struct json_object *links = json_object_new_object();
    json_put_number(links, "count", facts->links);
    json_put_number(links, "open", facts->links_open);
    json_put_number(links, "unknown", facts->links_unknown);
    json_put_time(links, "since", facts->links_since);
    json_object_object_add(running, "inner_links", links);
    struct json_object *witnesses = json_put_array(running, "witnesses");
    for (size_t i = 0; i < sizeof facts->witnesses / sizeof facts->witnesses[0]; i++) {
        struct json_object *said = json_object_new_object();
        json_put_text(said, "name", facts->witnesses[i].name);
        json_put_number(said, "up", facts->witnesses[i].up);
        json_put_number(said, "down", facts->witnesses[i].down);
        json_put_number(said, "unknown", facts->witnesses[i].unknown);
        json_object_array_add(witnesses, said);
    }
    struct json_object *cards = json_put_array(running, "cards");
    for (size_t i = 0; i < facts->count; i++) {
        const struct card_facts *card = &facts->cards[i];
        struct json_object *entry = json_object_new_object();
        json_put_number(entry, "ppu", card->ppu);
        json_put_known_number(entry, "numa_node", card->numa_node);
        json_put_known_number(entry, "width", card->width);
        json_put_known_number(entry, "width_at_most", card->width_at_most);
        json_put_text(entry, "speed", card->speed[0] ? card->speed : NULL);
        json_put_text(entry, "speed_at_most", card->speed_at_most[0] ? card->speed_at_most : NULL);
        json_put_known_number(entry, "aer_correctable", card->errors[AER_CORRECTABLE]);
        json_put_known_number(entry, "aer_nonfatal", card->errors[AER_NONFATAL]);
        json_put_known_number(entry, "aer_fatal", card->errors[AER_FATAL]);
        json_object_array_add(cards, entry);
    }
    json_object_object_add(object, "running", running);
}

static void doctor_print_json(const struct doctor_answer *answer, const struct options *options)
{
    const struct report *report = answer->report;
    const struct preview *preview = answer->preview;
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
    if (answer->facts) {
        doctor_put_facts(object, answer);
    }
    if (preview) {
        struct json_object *plan = json_object_new_object();
        preview_put_domain(preview, object);
        preview_put_plan(preview, plan);
        json_object_object_add(object, "plan", plan);
    }
    json_print(object);
}

static int doctor_finish(const struct doctor_answer *answer, const struct options *options)
{
    (options->json ? doctor_print_json : doctor_print_text)(answer, options);
    return report_failed(answer->report) ? STATUS_CHECK_FAILED : STATUS_OK;
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
        status = doctor_finish(&(struct doctor_answer){.report = &report}, options);
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
    struct vm_facts facts;
    bool runs = is_of_domain && examination_vm_facts(&examination, preview.domain.uuid, &facts);
    const struct doctor_answer answer = {.report = report,
                                         .preview = is_of_domain ? &preview : NULL,
                                         .facts = runs ? &facts : NULL,
                                         .machine = examination.machine};
    int status = doctor_finish(&answer, options);
    if (runs) {
        vm_facts_free(&facts);
    }
    examination_close(&examination);
    if (is_of_domain) {
        preview_close(&preview);
    }
    return status;
}
