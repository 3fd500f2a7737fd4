/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "base/error.h"

/*
 * syslog, facility daemon: "icn-hook[pid]: vm=NAME op=OPERATION message".
 * libvirt drops a successful hook's stderr, so whatever a hook has to tell
 * goes here.  On a simulated host the same lines are appended to
 * /var/log/icn-hook.log under the sysroot, where its directory exists, and
 * the real syslog is left alone.  Names are escaped to one line.
 * Manual verbs never open the log; with -v they copy the lines to stderr.
 */
enum log_level {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARNING,
    LOG_LEVEL_NOTICE,
    LOG_LEVEL_INFO, /* what was found on the way: for -v only, a hook does not log it */
};

void log_open_hook(const char *vm, const char *operation);
void log_open_verbose(void); /* -v: to stderr */
void log_message(enum log_level level, const char *format, ...) PRINTF_LIKE(2, 3);
