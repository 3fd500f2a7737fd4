/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "doctor/report.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/line.h"
#include "base/memory.h"

enum { TEXT_SIZE = 1024 };

static char *one_line(const char *text)
{
    char line[TEXT_SIZE];
    line_copy(line, sizeof line, text);
    return memory_copy_text(line);
}

static void report_append(struct report *report, const struct finding *finding, const char *remedy, const char *format,
                          va_list arguments) PRINTF_LIKE(4, 0);
static void report_append(struct report *report, const struct finding *finding, const char *remedy, const char *format,
                          va_list arguments)
{
    CLEANUP_FREE char *text = line_format(format, arguments);
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
