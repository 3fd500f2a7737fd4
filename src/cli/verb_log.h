/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "core/plan.h"
#include "engine/machine.h"

/* The line in the log of a verb that changed something, or tried to. */

/* The formatted text, or, if it failed, ERR's. */
void verb_log_result(const char *verb, const struct error *err, const char *format, ...) PRINTF_LIKE(3, 4);

/* WHAT, or ERR's text, and the registers that were written: "red; cut: 0:0x00000000>0x00000019; restored: nothing". */
void verb_log_writes(const char *verb, const struct error *err, const char *what, const struct plan_write writes[],
                     size_t count);
