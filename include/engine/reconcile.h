/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/groups.h"
#include "engine/links.h"

/*
 * `icn-hook repair`: makes the whole host what it has to be.  Cuts first; opens nothing but debts; gives
 * running VMs without a claim one, drops claims that nothing supports and damaged files that hide nothing.
 * In a session that looks: what it would do.  Afterwards the session's notes say what was changed and what stays
 * unverified or owed.
 */
struct repair_report {
    struct plan_write *writes; /* in their order; those that the registers took, or, when looking, all */
    size_t write_count;
    struct coverage coverage; /* afterwards */
};
/* -1: the state could not be written, or a cut that is missing could not be made (STATUS_HARDWARE); the report is
 * filled as far as it came. */
MUST_CHECK int repair_host(struct session *session, struct repair_report *report, struct error *err);
void repair_report_free(struct repair_report *report);
