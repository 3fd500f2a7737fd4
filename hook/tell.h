/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

#include "base/error.h"

/* Who speaks: set once, before the first message. */
void tell_open(const char *vm, const char *operation);

/* ICN_SYSROOT re-roots this process: its directory, or NULL on a real host. */
const char *tell_sysroot(void);

/* A line in syslog ("icn-hook[pid]: vm=NAME op=OPERATION message"), or in
 * /var/log/icn-hook.log under the sysroot of a simulated host. */
void tell_log(const char *format, ...) PRINTF_LIKE(1, 2);

/* LINE, which ends with a newline, on stderr. */
void tell_stderr(const char *line);

/* The one line on stderr with which the VM's start is refused, and the same to
 * the log. */
void tell_refusal(const char *format, ...) PRINTF_LIKE(1, 2);
