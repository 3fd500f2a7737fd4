/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation: a claim counts while the daemon that made it lives, so "gone"
 * must be certain.  /proc may hide processes of others (mount option hidepid): there
 * /proc/PID is missing although the process runs, and only kill(2) tells.  And a process
 * whose parent ended is given to pid 1 or to a subreaper, so the ancestors of a hook
 * whose daemon crashed lead past it: then the daemon is not known.
 */
#include "host/process.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/paths.h"
#include "base/text.h"

enum { STAT_SIZE = 1024, COMM_SIZE = 64, ANCESTORS_MAX = 32 };

struct stat_fields {
    char comm[COMM_SIZE];
    char state;
    uint64_t parent;
    uint64_t threads;
    uint64_t start;
};

/* proc(5): "PID (COMM) STATE PPID ...", where COMM may hold blanks and
 * parentheses itself, so fields are counted after the last ')'. */
static bool parse_stat(char *text, struct stat_fields *fields)
{
    enum { STATE_FIELD = 3, PARENT_FIELD = 4, THREADS_FIELD = 20, START_FIELD = 22 };
    char *comm = strchr(text, '(');
    char *rest = strrchr(text, ')');
    bool is_fine = true;
    if (!comm || !rest || rest < comm || rest[1] != ' ') {
        return false;
    }
    *rest = '\0';
    snprintf(fields->comm, sizeof fields->comm, "%s", comm + 1);
    rest += 2;
    for (int field = STATE_FIELD; is_fine && field <= START_FIELD; field++) {
        const char *word = strsep(&rest, " ");
        if (!word) {
            is_fine = false;
        } else if (field == STATE_FIELD) {
            fields->state = word[0];
        } else if (field == PARENT_FIELD) {
            is_fine = text_parse_number(word, INT32_MAX, &fields->parent);
        } else if (field == THREADS_FIELD) {
            is_fine = text_parse_number(word, INT32_MAX, &fields->threads);
        } else if (field == START_FIELD) {
            is_fine = text_parse_number(word, UINT64_MAX, &fields->start);
        }
    }
    return is_fine;
}

/* On the real host, with or without a sysroot. */
static bool read_real_stat(pid_t pid, struct stat_fields *fields)
{
    char path[64];
    char text[STAT_SIZE];
    snprintf(path, sizeof path, PATH_PROC "/%ld/stat", (long)pid);
    return file_read_word_at(AT_FDCWD, path, text, sizeof text) && parse_stat(text, fields);
}

/* A zombie runs no more, unless only its first thread has ended. */
static bool is_over(const struct stat_fields *fields)
{
    return (fields->state == 'Z' || fields->state == 'X') && fields->threads <= 1;
}

/* The process exists, though /proc may hide it. */
static bool kernel_knows(pid_t pid)
{
    return kill(pid, 0) == 0 || errno != ESRCH;
}

static bool is_libvirt_daemon(const char *comm)
{
    return strcmp(comm, "libvirtd") == 0 || strcmp(comm, "virtqemud") == 0;
}

bool process_daemon_behind_call(struct process_identity *daemon)
{
    pid_t pid = getpid();
    pid_t parent_pid = getppid();
    for (int i = 0; i < ANCESTORS_MAX && parent_pid > 0; i++) {
        struct stat_fields parent = {0};
        struct stat_fields again = {0};
        if (!read_real_stat(parent_pid, &parent) || is_over(&parent)) {
            return false;
        }
        if (is_libvirt_daemon(parent.comm)) {
            /* Its pid could have been another's before it was read, but not while it is
             * still the parent. */
            if (!read_real_stat(pid, &again) || again.parent != (uint64_t)parent_pid) {
                return false;
            }
            *daemon = (struct process_identity){.pid = parent_pid, .start = parent.start};
            return true;
        }
        pid = parent_pid;
        parent_pid = (pid_t)parent.parent;
    }
    return false;
}

bool process_identify(pid_t pid, struct process_identity *identity)
{
    struct stat_fields fields = {0};
    if (!read_real_stat(pid, &fields) || is_over(&fields) || fields.start == 0) {
        return false;
    }
    *identity = (struct process_identity){.pid = pid, .start = fields.start};
    return true;
}

enum daemon_state process_daemon_state(struct process_identity daemon)
{
    struct stat_fields fields = {0};
    if (daemon.pid <= 0) {
        return DAEMON_UNKNOWN;
    }
    if (!read_real_stat(daemon.pid, &fields)) {
        return kernel_knows(daemon.pid) ? DAEMON_UNKNOWN : DAEMON_GONE;
    }
    if (is_over(&fields)) {
        return DAEMON_GONE;
    }
    if (daemon.start == 0) {
        return DAEMON_UNKNOWN;
    }
    return fields.start == daemon.start ? DAEMON_LIVES : DAEMON_GONE;
}

/* On the (possibly simulated) host. */
static bool read_stat(pid_t pid, struct stat_fields *fields)
{
    char text[STAT_SIZE];
    CLEANUP_FREE char *path = paths_resolve(PATH_PROC "/%ld/stat", (long)pid);
    return file_read_word_at(AT_FDCWD, path, text, sizeof text) && parse_stat(text, fields);
}

bool process_pid_exists(pid_t pid)
{
    struct stat facts;
    if (pid <= 0) {
        return false;
    }
    CLEANUP_FREE char *path = paths_resolve(PATH_PROC "/%ld", (long)pid);
    if (stat(path, &facts) == 0 || errno != ENOENT) {
        return true; /* what cannot be looked at is not gone */
    }
    return !paths_simulated() && kernel_knows(pid);
}

bool process_find(pid_t pid, struct process_identity *identity)
{
    struct stat_fields fields = {0};
    bool is_readable = pid > 0 && read_stat(pid, &fields);
    *identity = (struct process_identity){.pid = pid, .start = is_readable ? fields.start : 0};
    return is_readable ? !is_over(&fields) : process_pid_exists(pid);
}

bool process_lives(struct process_identity identity)
{
    struct process_identity found;
    return process_find(identity.pid, &found) &&
           (identity.start == 0 || found.start == 0 || identity.start == found.start);
}

bool process_start_ticks(pid_t pid, unsigned long long *start)
{
    struct stat_fields fields = {0};
    if (!read_stat(pid, &fields)) {
        return false;
    }
    *start = fields.start;
    return true;
}

/* The device files through which a function can be held. */
static void list_vfio_files(int iommu_group, struct bdf bdf, struct text_list *files)
{
    char text[BDF_TEXT_SIZE];
    struct text_list names = {0};
    struct error unused;
    CLEANUP_FREE char *directory = paths_resolve(PATH_PCI_DEVICES "/%s/vfio-dev", bdf_format(bdf, text));
    if (iommu_group >= 0) {
        text_list_add(files, "/dev/vfio/%d", iommu_group);
        text_list_add(files, "/dev/vfio/noiommu-%d", iommu_group);
    }
    if (file_list(directory, &names, NULL, &unused) < 0) {
        return;
    }
    for (size_t i = 0; i < names.count; i++) {
        text_list_add(files, "/dev/vfio/devices/%s", names.items[i]);
    }
    text_list_free(&names);
}

static bool has_open(const char *process, const struct text_list *files)
{
    CLEANUP_FREE char *path = paths_resolve(PATH_PROC "/%s/fd", process);
    CLEANUP_FD int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct text_list descriptors = {0};
    struct error unused;
    bool is_open = false;
    if (directory < 0 || file_list_at(directory, path, &descriptors, &unused) < 0) {
        return false; /* it has ended, or we may not look */
    }
    for (size_t i = 0; i < descriptors.count && !is_open; i++) {
        char target[256];
        ssize_t length = readlinkat(directory, descriptors.items[i], target, sizeof target - 1);
        if (length > 0) {
            target[length] = '\0';
            is_open = text_list_has(files, target);
        }
    }
    text_list_free(&descriptors);
    return is_open;
}

bool process_holder_of(int iommu_group, struct bdf bdf, pid_t *pid, char command[PROCESS_COMMAND_SIZE])
{
    CLEANUP_FREE char *path = paths_resolve(PATH_PROC);
    struct text_list files = {0};
    struct text_list processes = {0};
    struct error unused;
    bool is_found = false;
    list_vfio_files(iommu_group, bdf, &files);
    if (files.count > 0 && file_list(path, &processes, NULL, &unused) == 0) {
        for (size_t i = 0; i < processes.count && !is_found; i++) {
            const char *process = processes.items[i];
            is_found = isdigit((unsigned char)process[0]) && has_open(process, &files);
            if (is_found) {
                char comm[COMM_SIZE];
                CLEANUP_FREE char *comm_path = paths_resolve(PATH_PROC "/%s/comm", process);
                bool is_known = file_read_word_at(AT_FDCWD, comm_path, comm, sizeof comm);
                *pid = (pid_t)strtol(process, NULL, 10);
                text_escape(command, PROCESS_COMMAND_SIZE, is_known ? comm : "unknown command");
            }
        }
    }
    text_list_free(&processes);
    text_list_free(&files);
    return is_found;
}
