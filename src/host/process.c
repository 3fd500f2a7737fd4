/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/process.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/paths.h"
#include "base/text.h"

enum { STAT_LIMIT = 4096 };

static const struct process_identity nobody = {0, 0};

/* /proc/PID/NAME of the real host, zero-terminated. */
static bool read_proc(pid_t pid, const char *name, char *text, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, PATH_PROC "/%ld/%s", (long)pid, name);
    CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    /* The kernel gives such a short text whole at the first read. */
    ssize_t length = read(fd, text, size - 1);
    if (length <= 0) {
        return false;
    }
    text[length] = '\0';
    return true;
}

struct stat_fields {
    char state;
    uint64_t parent;
    uint64_t start;
};

/* proc(5): "PID (COMM) STATE PPID ...", where COMM may hold blanks and
 * parentheses itself, so fields are counted behind the last ')'. */
static bool parse_stat(char *text, struct stat_fields *fields)
{
    enum { STATE_FIELD = 3, PARENT_FIELD = 4, START_FIELD = 22 };
    char *rest = strrchr(text, ')');
    bool fine = true;

    if (!rest || rest[1] != ' ') {
        return false;
    }
    rest += 2;
    for (int field = STATE_FIELD; fine && field <= START_FIELD; field++) {
        const char *word = strsep(&rest, " ");
        if (!word) {
            fine = false;
        } else if (field == STATE_FIELD) {
            fields->state = word[0];
        } else if (field == PARENT_FIELD) {
            fine = text_parse_number(word, INT32_MAX, &fields->parent);
        } else if (field == START_FIELD) {
            fine = text_parse_number(word, UINT64_MAX, &fields->start);
        }
    }
    return fine;
}

static bool read_stat(pid_t pid, struct stat_fields *fields)
{
    char text[1024];
    return read_proc(pid, "stat", text, sizeof text) && parse_stat(text, fields);
}

/* The start time of a process that runs; a zombie runs no more. */
static bool read_start(pid_t pid, unsigned long long *start)
{
    struct stat_fields fields = {0};
    if (!read_stat(pid, &fields) || fields.state == 'Z' || fields.state == 'X') {
        return false;
    }
    *start = fields.start;
    return true;
}

/* A process whose parent died is given to pid 1, so pid 1 as parent mostly
 * means that the caller is gone.  In a container the daemon can be pid 1
 * itself. */
static bool may_be_caller(pid_t pid)
{
    char name[64];
    if (pid > 1) {
        return true;
    }
    return pid == 1 && read_proc(pid, "comm", name, sizeof name) &&
           (strcmp(name, "libvirtd\n") == 0 || strcmp(name, "virtqemud\n") == 0);
}

/* libvirt's process is our parent, or, when the hook program started us, the
 * hook's parent: the hook names it in ICN_HOOK_CALLER, which is believed only
 * if that is so. */
static pid_t find_caller(void)
{
    const char *named = getenv("ICN_HOOK_CALLER");
    struct stat_fields hook = {0};
    uint64_t number;
    if (named && text_parse_number(named, INT32_MAX, &number) && read_stat(getppid(), &hook) && hook.parent == number) {
        return (pid_t)number;
    }
    return getppid();
}

/* A session's service manager can adopt orphans as pid 1 does (subreaper) and
 * is then taken for the caller: the start counts as in progress for too long,
 * which keeps the cards isolated. */
struct process_identity process_caller(void)
{
    struct process_identity caller = {.pid = find_caller()};
    if (!may_be_caller(caller.pid) || !read_start(caller.pid, &caller.start)) {
        return nobody;
    }
    /* The pid could have been given to another process before its start time
     * was read, but not while it is still our parent. */
    return find_caller() == caller.pid ? caller : nobody;
}

bool process_is_alive(struct process_identity identity)
{
    unsigned long long start;
    return identity.pid > 0 && read_start(identity.pid, &start) && start == identity.start;
}

bool process_pid_exists(pid_t pid)
{
    struct stat facts;
    if (pid <= 0) {
        return false;
    }
    CLEANUP_FREE char *path = paths_resolve(PATH_PROC "/%ld", (long)pid);
    return stat(path, &facts) == 0;
}

bool process_start_ticks(pid_t pid, unsigned long long *start)
{
    CLEANUP_FREE char *path = paths_resolve(PATH_PROC "/%ld/stat", (long)pid);
    struct buffer text = {0};
    struct stat_fields fields = {0};
    struct error unused;
    if (file_read(path, STAT_LIMIT, &text, NULL, &unused) != 0) {
        return false;
    }
    bool is_fine = parse_stat(text.data, &fields);
    buffer_free(&text);
    if (is_fine) {
        *start = fields.start;
    }
    return is_fine;
}
