/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

#include "base/error.h"

/*
 * syslog, facility daemon: "icn-hook[pid]: vm=NAME op=OPERATION message".
 * libvirt drops a successful hook's stderr, so what a hook has to say
 * goes here.  On a simulated host the same lines are appended to
 * /var/log/icn-hook.log under the sysroot, where its directory exists, and
 * the real syslog is left alone.  Names are escaped to one line.
 * A manual verb that changed something adds one line, "icn-hook[pid]: verb=VERB message";
 * with -v it shows that line, and all others, on stderr.
 *
 * What changed something is an event: the journal gets it with fields (log_event), syslog where
 * there is no journal.  Nothing here waits for a log that takes nothing: what it does not take is lost.
 */
enum log_level {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARNING,
    LOG_LEVEL_NOTICE,
    LOG_LEVEL_INFO, /* what was found on the way: for -v only, a hook does not log it */
};

/* The kinds of events, each with a MESSAGE_ID that never changes and an entry in packaging/icn-hook.catalog. */
enum log_event {
    EVENT_CARDS_GIVEN, /* a VM or group has just these cards from now on */
    EVENT_VERIFIED,    /* … and its cuts were read back before QEMU started */
    EVENT_RUNNING,     /* … and it was seen to run */
    EVENT_ENDED,       /* a VM or group has no card any more */
    EVENT_REFUSED,     /* a VM was not started */
    EVENT_LEAK,        /* a link of a running VM was open */
    EVENT_REPAIRED,
    EVENT_RESET,
    EVENT_SETUP,
    EVENT_TOPOLOGY,
    EVENT_CONFIRMED,
    EVENT_PROBED,
    EVENT_FAILED, /* an operation that changes something ended with an error */
    EVENT_COUNT,
};
/* 32 hexadecimal digits. */
const char *log_event_id(enum log_event event);

/* A field of the journal, whose value may have any bytes; NULL: it is left out. */
struct log_field {
    const char *name;
    const char *value;
};

void log_open_hook(const char *vm, const char *operation);
void log_open_verb(const char *verb);
void log_open_verbose(void); /* -v: to stderr too */
void log_message(enum log_level level, const char *format, ...) PRINTF_LIKE(2, 3);

/* The line TEXT, and with it, for the journal: MESSAGE_ID, ICN_OPERATION, ICN_DURATION_USEC (since the log was
 * opened), of a verb ICN_CALLER_UID and ICN_CALLER_LOGINUID, and FIELDS. */
void log_event(enum log_event event, enum log_level level, const struct log_field fields[], size_t count,
               const char *text);
