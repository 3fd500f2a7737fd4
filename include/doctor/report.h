/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* What doctor found: one finding a line, in the order of the checks. */
enum finding_result { RESULT_PASS, RESULT_WARN, RESULT_FAIL };

struct finding {
    const char *group; /* static text, as is CHECK */
    const char *check;
    enum finding_result result;
    char *text;   /* owned; one line */
    char *remedy; /* owned; NULL if there is nothing to do */
};

struct report {
    struct finding *findings;
    size_t count;
};

void report_pass(struct report *report, const char *group, const char *check, const char *format, ...)
    PRINTF_LIKE(4, 5);

/* REMEDY is copied; NULL: there is nothing to do. */
void report_add(struct report *report, const char *group, const char *check, enum finding_result result,
                const char *remedy, const char *format, ...) PRINTF_LIKE(6, 7);

bool report_failed(const struct report *report);
void report_free(struct report *report);

/* "pass", "warn", "fail". */
const char *result_text(enum finding_result result);
