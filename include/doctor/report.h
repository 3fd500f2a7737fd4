/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* What doctor found: one finding a line, in the order of the checks. */
enum finding_result { RESULT_PASS, RESULT_WARN, RESULT_FAIL };

/* What was looked at.  Each has a code, GROUP-CHECK, that a script may rely on: it never changes. */
enum check {
    CHECK_HOOK_INSTALLED,
    CHECK_HOOK_ONCE,
    CHECK_HOOK_EXECUTABLE,
    CHECK_HOOK_PROTECTED,
    CHECK_HOOK_ENGINE,
    CHECK_HOOK_KNOWN,
    CHECK_HOOK_WRITES,
    CHECK_CONFIGURATION_SETTINGS,
    CHECK_CONFIGURATION_PROTECTED,
    CHECK_CONFIGURATION_TOPOLOGY,
    CHECK_CONFIGURATION_IDS,
    CHECK_CONFIGURATION_PINS,
    CHECK_CONFIGURATION_CONFIRMED,
    CHECK_CARDS_PRESENT,
    CHECK_CARDS_DRIVER,
    CHECK_CARDS_REGISTERS,
    CHECK_CARDS_LINKS,
    CHECK_CARDS_SRIOV,
    CHECK_CARDS_GROUP,
    CHECK_CARDS_ALONE,
    CHECK_CARDS_VIABLE,
    CHECK_IOMMU_ON,
    CHECK_IOMMU_VFIO,
    CHECK_IOMMU_SAFE,
    CHECK_PPUDBG_INSTALLED,
    CHECK_PPUDBG_PROTECTED,
    CHECK_PPUDBG_ANSWERS,
    CHECK_SECURITY_LOCKDOWN,
    CHECK_SECURITY_DEVMEM,
    CHECK_SECURITY_APPARMOR,
    CHECK_SECURITY_SELINUX,
    CHECK_STATE_READABLE,
    CHECK_STATE_SOUND,
    CHECK_STATE_IDENTITY,
    CHECK_STATE_CURRENT,
    CHECK_STATE_OWN,
    CHECK_STATE_DEBTS,
    CHECK_STATE_HOLDERS,
    CHECK_STATE_NOTES,
    CHECK_STATE_STATUS,
    CHECK_LIBVIRT_REACHABLE,
    CHECK_LIBVIRT_AGREES,
    CHECK_DOMAIN_NUMA,
    CHECK_DOMAIN_VCPUS,
    CHECK_DOMAIN_MEMORY,
    CHECK_DOMAIN_FUNCTIONS,
    CHECK_DOMAIN_MANAGED,
    CHECK_DOMAIN_PLAN,
    CHECK_PROBE_CUT,
    CHECK_PROBE_RESET,
    CHECK_PROBE_BACK,
    CHECK_COUNT
};

/* "HOOK-EXECUTABLE". */
const char *check_code(enum check check);

struct finding {
    enum check check;
    enum finding_result result;
    char *text;   /* owned; one line */
    char *remedy; /* owned; NULL if there is nothing to do */
};

struct report {
    struct finding *findings;
    size_t count;
};

void report_pass(struct report *report, enum check check, const char *format, ...)
    PRINTF_LIKE(3, 4);

/* REMEDY is copied; NULL: there is nothing to do. */
void report_add(struct report *report, enum check check, enum finding_result result,
                const char *remedy, const char *format, ...) PRINTF_LIKE(5, 6);

bool report_failed(const struct report *report);
void report_free(struct report *report);

/* "pass", "warn", "fail". */
const char *result_text(enum finding_result result);
