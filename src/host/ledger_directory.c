/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/ledger_directory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/paths.h"

int ledger_check_ours(const struct stat *facts, mode_t type, const char *path, struct error *err)
{
    if ((facts->st_mode & S_IFMT) != type) {
        return error_set(err, STATUS_INVALID, "%s is not a %s", path, type == S_IFDIR ? "directory" : "regular file");
    }
    if (facts->st_uid != geteuid()) {
        return error_set(err, STATUS_INVALID, "%s belongs to user %u, not to user %u", path, facts->st_uid, geteuid());
    }
    if ((facts->st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        return error_set(err, STATUS_INVALID, "%s is writable by others (mode %04o)", path, facts->st_mode & 07777);
    }
    /* A second name may lie where somebody else can reach it. */
    if (type == S_IFREG && facts->st_nlink > 1) {
        return error_set(err, STATUS_INVALID, "%s has %lu names (hard links)", path, (unsigned long)facts->st_nlink);
    }
    return 0;
}

int ledger_open_failed(int number, const char *path, struct error *err)
{
    switch (number) {
    case ELOOP:
        return error_set(err, STATUS_INVALID, "%s is a symbolic link", path);
    case ENOTDIR: /* what a symbolic link is, too, when a directory is asked for */
        return error_set(err, STATUS_INVALID, "%s is not a directory", path);
    case EISDIR:
    case ENXIO: /* a socket */
        return error_set(err, STATUS_INVALID, "%s is not a regular file", path);
    case EPERM: /* O_NOATIME is for a file's owner */
        return error_set(err, STATUS_INVALID, "%s belongs to another user", path);
    case EACCES:
        return error_set(err, STATUS_HARDWARE, "no permission to open %s: this needs root", path);
    default:
        return error_set_errno(err, STATUS_HARDWARE, number, "cannot open %s", path);
    }
}

static int list_failed(int number, struct error *err)
{
    CLEANUP_FREE char *path = paths_resolve(PATH_LEDGER);
    return error_set_errno(err, STATUS_HARDWARE, number, "cannot list %s", path);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int ledger_list(int dirfd, struct ledger_names *names, struct error *err)
{
    struct ledger_names found = {0};
    /* An open of its own has a read position of its own. */
    int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | LEDGER_OPEN_FLAGS);
    if (fd < 0) {
        return list_failed(errno, err);
    }
    DIR *directory = fdopendir(fd);
    if (!directory) {
        int number = errno;
        close(fd);
        return list_failed(number, err);
    }
    errno = 0;
    for (struct dirent *item = readdir(directory); item; item = readdir(directory)) {
        if (strcmp(item->d_name, ".") != 0 && strcmp(item->d_name, "..") != 0) {
            found.items = memory_grow(found.items, found.count + 1, sizeof *found.items);
            found.items[found.count++] = memory_copy_text(item->d_name);
        }
        errno = 0;
    }
    int number = errno;
    closedir(directory);
    if (number != 0) {
        ledger_names_free(&found);
        return list_failed(number, err);
    }
    if (found.count > 0) {
        qsort(found.items, found.count, sizeof *found.items, compare_names);
    }
    *names = found;
    return 0;
}

void ledger_names_free(struct ledger_names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        free(names->items[i]);
    }
    free(names->items);
    names->items = NULL;
    names->count = 0;
}
