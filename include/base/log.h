/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "base/error.h"

/*
 * syslog, facility daemon: "icn-hook[pid]: vm=NAME op=OPERATION message".
 * libvirt drops a successful hook's stderr, so what a hook has to say
 * goes here.  On a simulated host the same lines are appended to
 * /var/log/icn-hook.log under the sysroot, where its directory exists, and
 * the real syslog is left alone.  Names are escaped to one line.
 * A manual verb that changed something adds one line, "icn-hook[pid]: verb=VERB message";
 * with -v it shows that line, and all others, on stderr.
 */
enum log_level {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARNING,
    LOG_LEVEL_NOTICE,
    LOG_LEVEL_INFO, /* what was found on the way: for -v only, a hook does not log it */
};

void log_open_hook(const char *vm, const char *operation);
void log_open_verb(const char *verb);
void log_open_verbose(void); /* -v: to stderr too */
void log_message(enum log_level level, const char *format, ...) PRINTF_LIKE(2, 3);
