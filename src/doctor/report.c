/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "doctor/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "doctor/checks.h"

enum { TEXT_SIZE = 1024 };

static char *one_line(const char *text)
{
    char line[TEXT_SIZE];
    text_copy_line(line, sizeof line, text);
    return memory_copy_text(line);
}

static void report_append(struct report *report, const struct finding *finding, const char *remedy, const char *format,
                          va_list arguments) PRINTF_LIKE(4, 0);
static void report_append(struct report *report, const struct finding *finding, const char *remedy, const char *format,
                          va_list arguments)
{
    CLEANUP_FREE char *text = text_format(format, arguments);
    report->findings = memory_grow(report->findings, report->count + 1, sizeof *report->findings);
    struct finding *added = &report->findings[report->count++];
    *added = *finding;
    added->text = one_line(text);
    added->remedy = remedy ? one_line(remedy) : NULL;
}

void report_pass(struct report *report, const char *group, const char *check, const char *format, ...)
{
    const struct finding finding = {.group = group, .check = check, .result = RESULT_PASS};
    va_list arguments;
    va_start(arguments, format);
    report_append(report, &finding, NULL, format, arguments);
    va_end(arguments);
}

void report_add(struct report *report, const char *group, const char *check, enum finding_result result,
                const char *remedy, const char *format, ...)
{
    const struct finding finding = {.group = group, .check = check, .result = result};
    va_list arguments;
    va_start(arguments, format);
    report_append(report, &finding, remedy, format, arguments);
    va_end(arguments);
}

bool report_failed(const struct report *report)
{
    for (size_t i = 0; i < report->count; i++) {
        if (report->findings[i].result == RESULT_FAIL) {
            return true;
        }
    }
    return false;
}

void report_free(struct report *report)
{
    for (size_t i = 0; i < report->count; i++) {
        free(report->findings[i].text);
        free(report->findings[i].remedy);
    }
    free(report->findings);
    *report = (struct report){0};
}

const char *result_text(enum finding_result result)
{
    static const char *const texts[] = {[RESULT_PASS] = "pass", [RESULT_WARN] = "warn", [RESULT_FAIL] = "fail"};
    return texts[result];
}

enum { IDS_SIZE = 512 };

bool card_concerns(const struct examination *examination, int ppu)
{
    const struct vm_cards *cards = examination->cards;
    if (ppu >= examination->machine->topology.ppu_count || !examination->machine->mapped[ppu]) {
        return false;
    }
    for (size_t i = 0; cards && i < cards->count; i++) {
        if (cards->items[i].ppu == ppu) {
            return true;
        }
    }
    return !cards;
}

const struct card *card_at(const struct examination *examination, int ppu)
{
    return &examination->session.cards[ppu];
}

bool card_is_looked_at(const struct examination *examination, int ppu)
{
    return card_concerns(examination, ppu) && card_at(examination, ppu)->state.present;
}

bool card_function_is_taken(const struct examination *examination, struct bdf function)
{
    const struct vm_cards *cards = examination->cards;
    for (size_t i = 0; cards && i < cards->count; i++) {
        if (bdf_compare(cards->items[i].function, function) == 0) {
            return true;
        }
    }
    return false;
}

int card_count(const struct examination *examination)
{
    int count = 0;
    for (int ppu = 0; ppu < examination->machine->topology.ppu_count; ppu++) {
        count += card_concerns(examination, ppu);
    }
    return count;
}

void card_findings_add(struct card_findings *findings, int ppu, enum finding_result result, const char *remedy,
                       const char *format, ...)
{
    va_list arguments;
    findings->items = memory_grow(findings->items, findings->count + 1, sizeof *findings->items);
    va_start(arguments, format);
    findings->items[findings->count++] =
        (struct card_finding){.ppu = ppu, .result = result, .text = text_format(format, arguments), .remedy = remedy};
    va_end(arguments);
}

static bool are_same(const struct card_finding *a, const struct card_finding *b)
{
    return a->result == b->result && a->remedy == b->remedy && strcmp(a->text, b->text) == 0;
}

static bool was_reported(const struct card_findings *findings, size_t index)
{
    for (size_t i = 0; i < index; i++) {
        if (are_same(&findings->items[i], &findings->items[index])) {
            return true;
        }
    }
    return false;
}

static void append_range(char ids[IDS_SIZE], int first, int last)
{
    size_t used = strlen(ids);
    if (first == last) {
        snprintf(ids + used, IDS_SIZE - used, "%s%d", used > 0 ? "," : "", first);
    } else {
        snprintf(ids + used, IDS_SIZE - used, "%s%d-%d", used > 0 ? "," : "", first, last);
    }
}

/* "PPU 3 (0000:c6:00.0)", or "PPUs 0-3,6" of all with the same finding. */
static void name_cards(const struct examination *examination, const struct card_findings *findings, size_t index,
                       char name[IDS_SIZE])
{
    char ids[IDS_SIZE] = "";
    char card[CARD_TEXT_SIZE];
    int first = findings->items[index].ppu;
    int last = first;
    int count = 1;
    for (size_t i = index + 1; i < findings->count; i++) {
        if (!are_same(&findings->items[i], &findings->items[index])) {
            continue;
        }
        if (findings->items[i].ppu != last + 1) {
            append_range(ids, first, last);
            first = findings->items[i].ppu;
        }
        last = findings->items[i].ppu;
        count++;
    }
    append_range(ids, first, last);
    if (count == 1) {
        snprintf(name, IDS_SIZE, "%s", machine_card_text(examination->machine, first, card));
    } else {
        snprintf(name, IDS_SIZE, "PPUs %.*s", IDS_SIZE - 8, ids);
    }
}

void card_findings_report(struct card_findings *findings, struct examination *examination, const char *group,
                          const char *check, const char *format, ...)
{
    for (size_t i = 0; i < findings->count; i++) {
        const struct card_finding *item = &findings->items[i];
        char name[IDS_SIZE];
        if (!was_reported(findings, i)) {
            name_cards(examination, findings, i, name);
            report_add(&examination->report, group, check, item->result, item->remedy, "%s: %s", name, item->text);
        }
    }
    if (findings->count == 0) {
        va_list arguments;
        va_start(arguments, format);
        CLEANUP_FREE char *text = text_format(format, arguments);
        va_end(arguments);
        report_pass(&examination->report, group, check, "%s", text);
    }
    for (size_t i = 0; i < findings->count; i++) {
        free(findings->items[i].text);
    }
    free(findings->items);
    *findings = (struct card_findings){0};
}
