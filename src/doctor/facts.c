/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "doctor/facts.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/paths.h"
#include "base/text.h"
#include "host/process.h"

enum { FACT_LIMIT = 1 << 20 };

static char *resolve(const char *format, va_list arguments) PRINTF_LIKE(1, 0);
static char *resolve(const char *format, va_list arguments)
{
    CLEANUP_FREE char *path = text_format(format, arguments);
    return paths_resolve("%s", path);
}

char *fact_text(const char *format, ...)
{
    struct buffer text = {0};
    struct error unused;
    va_list arguments;
    va_start(arguments, format);
    CLEANUP_FREE char *path = resolve(format, arguments);
    va_end(arguments);
    if (file_read(path, FACT_LIMIT, &text, NULL, &unused) < 0) {
        return NULL;
    }
    if (text.length > 0 && text.data[text.length - 1] == '\n') {
        text.data[text.length - 1] = '\0';
    }
    return text.data;
}

bool fact_exists(const char *format, ...)
{
    struct stat facts;
    va_list arguments;
    va_start(arguments, format);
    CLEANUP_FREE char *path = resolve(format, arguments);
    va_end(arguments);
    return stat(path, &facts) == 0;
}

char *fact_target(const char *path)
{
    CLEANUP_FREE char *resolved = paths_resolve("%s", path);
    CLEANUP_FREE char *target = realpath(resolved, NULL);
    CLEANUP_FREE char *root = realpath(paths_simulated() ? paths_sysroot() : "/", NULL);
    size_t length = root ? strlen(root) : 0;
    bool is_below = target && length > 1 && strncmp(target, root, length) == 0 && target[length] == '/';
    return target ? memory_copy_text(is_below ? target + length : target) : NULL;
}

bool fact_list_has(const char *list, long item)
{
    bool has = false;
    while (*list) {
        bool is_excluded = *list == '^';
        char *end;
        long first = strtol(list + is_excluded, &end, 10);
        long last = *end == '-' ? strtol(end + 1, &end, 10) : first;
        if (first <= item && item <= last) {
            has = !is_excluded;
        }
        if (*end != ',') {
            break;
        }
        list = end + 1;
    }
    return has;
}

bool fact_is_safe(const char *path)
{
    struct stat facts;
    CLEANUP_FREE char *resolved = paths_resolve("%s", path);
    if (stat(resolved, &facts) < 0 || (facts.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        return false;
    }
    return facts.st_uid == 0 || paths_simulated();
}

static bool is_named(pid_t pid, const char *name)
{
    CLEANUP_FREE char *comm = fact_text(PATH_PROC "/%ld/comm", (long)pid);
    return comm && strcmp(comm, name) == 0;
}

static pid_t parse_pid(const char *text)
{
    uint64_t number;
    return text && text_parse_number(text, INT32_MAX, &number) ? (pid_t)number : 0;
}

/* Containers may run daemons of their own, so the host's pid file goes first
 * (util/virpidfile.c: /run/NAME.pid). */
static pid_t find_pid(const char *name)
{
    CLEANUP_FREE char *written = fact_text("/run/%s.pid", name);
    CLEANUP_FREE char *path = paths_resolve(PATH_PROC);
    pid_t found = parse_pid(written);
    if (found > 0 && is_named(found, name)) {
        return found;
    }
    DIR *directory = opendir(path);
    const struct dirent *entry;
    found = 0;
    while (directory && found == 0 && (entry = readdir(directory))) {
        pid_t pid = parse_pid(entry->d_name);
        found = pid > 0 && is_named(pid, name) ? pid : 0;
    }
    if (directory) {
        closedir(directory);
    }
    return found;
}

/* proc(5): "btime SECONDS" in /proc/stat is when the host was booted. */
static int64_t boot_time(void)
{
    CLEANUP_FREE char *text = fact_text(PATH_PROC "/stat");
    char *line = text ? strstr(text, "\nbtime ") : NULL;
    uint64_t seconds;
    if (!line) {
        return -1;
    }
    line += strlen("\nbtime ");
    line[strcspn(line, "\n")] = '\0';
    return text_parse_number(line, INT64_MAX / 2, &seconds) ? (int64_t)seconds : -1;
}

int daemon_find(struct daemon daemons[DAEMON_MAX])
{
    static const char *const names[DAEMON_MAX] = {"libvirtd", "virtqemud"};
    int64_t boot = boot_time();
    int count = 0;
    for (int i = 0; i < DAEMON_MAX; i++) {
        struct daemon daemon = {.name = names[i], .pid = find_pid(names[i]), .started = -1};
        if (daemon.pid == 0) {
            continue;
        }
        if (process_start_ticks(daemon.pid, &daemon.ticks) && boot >= 0) {
            daemon.started = boot + (int64_t)(daemon.ticks / (unsigned long long)sysconf(_SC_CLK_TCK));
        }
        daemons[count++] = daemon;
    }
    return count;
}
