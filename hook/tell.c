/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hook/tell.h"

#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "base/paths.h"

enum { NAME_SIZE = 1024, MESSAGE_SIZE = 2048, LINE_SIZE = NAME_SIZE + MESSAGE_SIZE + 256 };

static const char *vm_name = "";
static const char *operation_name = "";

void tell_open(const char *vm, const char *operation)
{
    vm_name = vm;
    operation_name = operation;
}

const char *tell_sysroot(void)
{
    const char *sysroot = getenv("ICN_SYSROOT");
    return sysroot && *sysroot ? sysroot : NULL;
}

/* One printable line: control characters and backslashes as \xNN. */
static void escape(char *target, size_t size, const char *source)
{
    static const char digits[] = "0123456789abcdef";
    size_t used = 0;
    for (; *source; source++) {
        unsigned char byte = (unsigned char)*source;
        bool plain = byte >= 0x20 && byte != 0x7f && byte != '\\';
        if (used + (plain ? 1 : 4) >= size) {
            break;
        }
        if (plain) {
            target[used++] = (char)byte;
            continue;
        }
        target[used++] = '\\';
        target[used++] = 'x';
        target[used++] = digits[byte >> 4];
        target[used++] = digits[byte & 15];
    }
    target[used] = '\0';
}

/* A message that cannot be written has nowhere to say so. */
static void write_line(int fd, const char *line)
{
    if (write(fd, line, strlen(line)) < 0) {
        return;
    }
}

void tell_stderr(const char *line)
{
    write_line(STDERR_FILENO, line);
}

static void log_simulated(const char *sysroot, const char *vm, const char *message)
{
    char path[PATH_MAX];
    char line[LINE_SIZE];
    if (snprintf(path, sizeof path, "%s%s", sysroot, PATH_SIMULATED_LOG) >= (int)sizeof path) {
        return;
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        return;
    }
    snprintf(line, sizeof line, "icn-hook[%ld]: vm=%s op=%s %s\n", (long)getpid(), vm, operation_name, message);
    write_line(fd, line);
    close(fd);
}

static void log_line(const char *message)
{
    const char *sysroot = tell_sysroot();
    char vm[NAME_SIZE];
    escape(vm, sizeof vm, vm_name);
    if (sysroot) {
        log_simulated(sysroot, vm, message);
        return;
    }
    openlog("icn-hook", LOG_PID, LOG_DAEMON);
    syslog(LOG_ERR, "vm=%s op=%s %s", vm, operation_name, message);
    closelog();
}

void tell_log(const char *format, ...)
{
    char message[MESSAGE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    log_line(message);
}

void tell_refusal(const char *format, ...)
{
    char message[MESSAGE_SIZE];
    char vm[NAME_SIZE];
    char line[LINE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    escape(vm, sizeof vm, vm_name);
    snprintf(line, sizeof line, "icn-hook: VM '%s' cannot start: %s\n", vm, message);
    tell_stderr(line);
    log_line(message);
}
