/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/hook_call.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/paths.h"
#include "base/text.h"

static int64_t hook_deadline = NO_DEADLINE;

int hook_call_verdict_fd(void)
{
    enum { LARGEST_FD = 1023 };
    const char *named = getenv(HOOK_VERDICT_VARIABLE);
    uint64_t number;
    if (!named || !text_parse_number(named, LARGEST_FD, &number) || number <= STDERR_FILENO ||
        fcntl((int)number, F_GETFD) < 0) {
        return -1;
    }
    return (int)number;
}

void hook_call_believe_deadline(void)
{
    const char *named = getenv(HOOK_DEADLINE_VARIABLE);
    uint64_t number;
    hook_deadline = named && text_parse_number(named, INT64_MAX, &number) ? (int64_t)number : NO_DEADLINE;
}

int64_t deadline_of_hook(void)
{
    return hook_deadline;
}

/* -- Tombstones --------------------------------------------------------------------- */

/*
 * Theory of operation.  The end of a domain must never be lost: its claim would hold the
 * cards against everybody else.  The engine writes it under the lock; when the engine has
 * not answered, or did not get the lock, or the file system is full, what is left is a
 * single directory operation that cannot be half done.  Creating a file needs an inode,
 * removing one needs nothing.  The tombstone comes first because the claim knows which
 * cards are to be given back; without it the memory of the cards has to do.
 *
 * libvirt calls the hooks of one domain one after the other, so no start of the same
 * domain can be meant by this end.
 */

/* 1: open; 0: there is no directory, so no claim. */
static int open_state_directory(int *dirfd, struct error *err)
{
    struct stat facts;
    CLEANUP_FREE char *path = paths_resolve(PATH_STATE);
    CLEANUP_FD int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        int number = errno;
        return number == ENOENT ? 0 : error_set_errno(err, STATUS_HARDWARE, number, "cannot open %s", path);
    }
    if (fstat(fd, &facts) < 0) {
        int number = errno;
        return error_set_errno(err, STATUS_HARDWARE, number, "cannot examine %s", path);
    }
    if (facts.st_uid != geteuid() || (facts.st_mode & (S_IWGRP | S_IWOTH))) {
        return error_set(err, STATUS_INVALID, "%s is not ours alone: chown root and chmod 0700", path);
    }
    *dirfd = fd;
    fd = -1;
    return 1;
}

int ended_note(const char *uuid, struct error *err)
{
    char claim[UUID_SIZE + sizeof ".json"];
    char tombstone[UUID_SIZE + sizeof TOMBSTONE_PREFIX];
    struct stat facts;
    CLEANUP_FD int dirfd = -1;
    int opened = open_state_directory(&dirfd, err);
    if (opened <= 0) {
        return opened;
    }
    snprintf(claim, sizeof claim, "%s.json", uuid);
    snprintf(tombstone, sizeof tombstone, TOMBSTONE_PREFIX "%s", uuid);
    if (fstatat(dirfd, claim, &facts, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT) {
        return 0;
    }
    CLEANUP_FD int fd = openat(dirfd, tombstone, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd >= 0 || errno == EEXIST) {
        return 0;
    }
    int number = errno;
    if (unlinkat(dirfd, claim, 0) == 0 || errno == ENOENT) {
        return 0;
    }
    return error_set_errno(err, STATUS_HARDWARE, number, "cannot note the end of domain %s in " PATH_STATE, uuid);
}
