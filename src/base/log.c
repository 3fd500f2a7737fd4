/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/log.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/paths.h"
#include "base/text.h"

/*
 * The log_open_* functions choose where messages go; before that they
 * go nowhere.  syslog(3) connects at the first message (no LOG_NDELAY), so a
 * hook that has nothing to say pays nothing.  The simulated log is opened for
 * each line: one O_APPEND write is one whole line, also with many hooks at once.
 */
enum log_target { LOG_TO_NOBODY, LOG_TO_SYSLOG, LOG_TO_FILE };
static enum log_target log_target = LOG_TO_NOBODY;
static bool log_is_verbose;

enum { CONTEXT_SIZE = 1536, MESSAGE_SIZE = 4096 };
static char context[CONTEXT_SIZE];

static void log_open_target(void)
{
    log_target = paths_simulated() ? LOG_TO_FILE : LOG_TO_SYSLOG;
    if (log_target == LOG_TO_SYSLOG) {
        openlog("icn-hook", LOG_PID, LOG_DAEMON);
    }
}

void log_open_hook(const char *vm, const char *operation)
{
    char safe_vm[1024];
    char safe_operation[256];
    text_escape(safe_vm, sizeof safe_vm, vm);
    text_escape(safe_operation, sizeof safe_operation, operation);
    snprintf(context, sizeof context, "vm=%s op=%s ", safe_vm, safe_operation);
    log_open_target();
}

void log_open_verb(const char *verb)
{
    snprintf(context, sizeof context, "verb=%s ", verb);
    log_open_target();
}

void log_open_verbose(void)
{
    log_is_verbose = true;
}

/* A log that cannot be written has nowhere to say so. */
static void append_simulated(const char *message)
{
    char line[CONTEXT_SIZE + MESSAGE_SIZE + 64];
    CLEANUP_FREE char *path = paths_resolve("%s", PATH_SIMULATED_LOG);
    CLEANUP_FD int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        return;
    }
    int length = snprintf(line, sizeof line, "icn-hook[%ld]: %s%s\n", (long)getpid(), context, message);
    if (length > 0 && write(fd, line, (size_t)length) < 0) {
        return;
    }
}

void log_message(enum log_level level, const char *format, ...)
{
    char raw[MESSAGE_SIZE];
    char message[MESSAGE_SIZE];
    va_list arguments;
    bool is_logged = log_target != LOG_TO_NOBODY && level != LOG_LEVEL_INFO;
    if (!is_logged && !log_is_verbose) {
        return;
    }
    va_start(arguments, format);
    vsnprintf(raw, sizeof raw, format, arguments);
    va_end(arguments);
    text_copy_line(message, sizeof message, raw);

    if (log_is_verbose) {
        fprintf(stderr, "icn-hook: %s\n", message);
    }
    if (is_logged && log_target == LOG_TO_SYSLOG) {
        int priority = level == LOG_LEVEL_ERROR ? LOG_ERR : level == LOG_LEVEL_WARNING ? LOG_WARNING : LOG_NOTICE;
        syslog(priority, "%s%s", context, message);
    } else if (is_logged) {
        append_simulated(message);
    }
}
