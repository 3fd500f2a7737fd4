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

/* icn-hook(8) lists them. */
static const char *const codes[CHECK_COUNT] = {
    [CHECK_HOOK_INSTALLED] = "HOOK-INSTALLED",
    [CHECK_HOOK_ONCE] = "HOOK-ONCE",
    [CHECK_HOOK_EXECUTABLE] = "HOOK-EXECUTABLE",
    [CHECK_HOOK_PROTECTED] = "HOOK-PROTECTED",
    [CHECK_HOOK_ENGINE] = "HOOK-ENGINE",
    [CHECK_HOOK_KNOWN] = "HOOK-KNOWN",
    [CHECK_HOOK_WRITES] = "HOOK-WRITES",
    [CHECK_CONFIGURATION_SETTINGS] = "CONFIGURATION-SETTINGS",
    [CHECK_CONFIGURATION_PROTECTED] = "CONFIGURATION-PROTECTED",
    [CHECK_CONFIGURATION_TOPOLOGY] = "CONFIGURATION-TOPOLOGY",
    [CHECK_CONFIGURATION_IDS] = "CONFIGURATION-IDS",
    [CHECK_CONFIGURATION_PINS] = "CONFIGURATION-PINS",
    [CHECK_CONFIGURATION_CONFIRMED] = "CONFIGURATION-CONFIRMED",
    [CHECK_CARDS_PRESENT] = "CARDS-PRESENT",
    [CHECK_CARDS_DRIVER] = "CARDS-DRIVER",
    [CHECK_CARDS_REGISTERS] = "CARDS-REGISTERS",
    [CHECK_CARDS_LINKS] = "CARDS-LINKS",
    [CHECK_CARDS_SRIOV] = "CARDS-SRIOV",
    [CHECK_CARDS_GROUP] = "CARDS-GROUP",
    [CHECK_CARDS_ALONE] = "CARDS-ALONE",
    [CHECK_CARDS_VIABLE] = "CARDS-VIABLE",
    [CHECK_IOMMU_ON] = "IOMMU-ON",
    [CHECK_IOMMU_VFIO] = "IOMMU-VFIO",
    [CHECK_IOMMU_SAFE] = "IOMMU-SAFE",
    [CHECK_PPUDBG_INSTALLED] = "PPUDBG-INSTALLED",
    [CHECK_PPUDBG_PROTECTED] = "PPUDBG-PROTECTED",
    [CHECK_PPUDBG_ANSWERS] = "PPUDBG-ANSWERS",
    [CHECK_SECURITY_LOCKDOWN] = "SECURITY-LOCKDOWN",
    [CHECK_SECURITY_DEVMEM] = "SECURITY-DEVMEM",
    [CHECK_SECURITY_APPARMOR] = "SECURITY-APPARMOR",
    [CHECK_SECURITY_SELINUX] = "SECURITY-SELINUX",
    [CHECK_STATE_READABLE] = "STATE-READABLE",
    [CHECK_STATE_SOUND] = "STATE-SOUND",
    [CHECK_STATE_IDENTITY] = "STATE-IDENTITY",
    [CHECK_STATE_CURRENT] = "STATE-CURRENT",
    [CHECK_STATE_OWN] = "STATE-OWN",
    [CHECK_STATE_DEBTS] = "STATE-DEBTS",
    [CHECK_STATE_HOLDERS] = "STATE-HOLDERS",
    [CHECK_STATE_NOTES] = "STATE-NOTES",
    [CHECK_STATE_STATUS] = "STATE-STATUS",
    [CHECK_LIBVIRT_REACHABLE] = "LIBVIRT-REACHABLE",
    [CHECK_LIBVIRT_AGREES] = "LIBVIRT-AGREES",
    [CHECK_DOMAIN_NUMA] = "DOMAIN-NUMA",
    [CHECK_DOMAIN_VCPUS] = "DOMAIN-VCPUS",
    [CHECK_DOMAIN_MEMORY] = "DOMAIN-MEMORY",
    [CHECK_DOMAIN_FUNCTIONS] = "DOMAIN-FUNCTIONS",
    [CHECK_DOMAIN_MANAGED] = "DOMAIN-MANAGED",
    [CHECK_DOMAIN_PLAN] = "DOMAIN-PLAN",
    [CHECK_PROBE_CUT] = "PROBE-CUT",
    [CHECK_PROBE_RESET] = "PROBE-RESET",
    [CHECK_PROBE_BACK] = "PROBE-BACK",
};

const char *check_code(enum check check)
{
    return codes[check];
}

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

void report_pass(struct report *report, enum check check, const char *format, ...)
{
    const struct finding finding = {.check = check, .result = RESULT_PASS};
    va_list arguments;
    va_start(arguments, format);
    report_append(report, &finding, NULL, format, arguments);
    va_end(arguments);
}

void report_add(struct report *report, enum check check, enum finding_result result, const char *remedy,
                const char *format, ...)
{
    const struct finding finding = {.check = check, .result = result};
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

void card_findings_report(struct card_findings *findings, struct examination *examination, enum check check,
                          const char *format, ...)
{
    for (size_t i = 0; i < findings->count; i++) {
        const struct card_finding *item = &findings->items[i];
        char name[IDS_SIZE];
        if (!was_reported(findings, i)) {
            name_cards(examination, findings, i, name);
            report_add(&examination->report, check, item->result, item->remedy, "%s: %s", name, item->text);
        }
    }
    if (findings->count == 0) {
        va_list arguments;
        va_start(arguments, format);
        CLEANUP_FREE char *text = text_format(format, arguments);
        va_end(arguments);
        report_pass(&examination->report, check, "%s", text);
    }
    for (size_t i = 0; i < findings->count; i++) {
        free(findings->items[i].text);
    }
    free(findings->items);
    *findings = (struct card_findings){0};
}
