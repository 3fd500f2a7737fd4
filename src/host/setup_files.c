/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * No order of two renames is safe by itself: a new topology with the old map, or an old one with the new map, joins
 * cards that are not joined, and leaves links between tenants open.  So before one of them is renamed the drop-in is
 * replaced by a barrier, a file that is no configuration: with a broken configuration VMs with PPUs are refused and no
 * others.  Then the topology is renamed into its place, and last the drop-in, which lifts the barrier.  Where only one
 * of the two changes, one rename does it.
 *
 *   1  write and sync all new files under other names      killed: both old
 *   2  keep the old files under second names (links)       killed: both old
 *   3  rename the barrier to the drop-in                   killed: refused
 *   4  rename the topology                                 killed: refused
 *   5  rename the drop-in                                  killed: both new
 *   6  remove the second names
 *
 * Each directory is synced after its rename: the order holds through a loss of power.  All other names begin with a dot
 * and have no ".conf" at their end; the next call removes what a killed one left.
 */
#include "host/setup_files.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"

const char setup_files_barrier[] =
    "# icn-hook setup was interrupted while it replaced the topology and this file.  Until it\n"
    "# has been run again, VMs with PPUs are refused.\n"
    "[run icn-hook setup again]\n";

enum { FILE_MODE = 0644, DIRECTORY_MODE = 0755 };

/* A file that is replaced, while it is. */
struct target {
    const struct setup_file *file;
    int dirfd;
    char name[NAME_MAX + 1];
    char fresh[NAME_MAX + 1]; /* the names beside it */
    char barrier[NAME_MAX + 1];
    char kept[NAME_MAX + 1];
};

static int open_target(struct target *target, const struct setup_file *file, struct error *err)
{
    CLEANUP_FREE char *directory = memory_copy_text(file->path);
    CLEANUP_FREE char *copy = memory_copy_text(file->path);
    const char *name = basename(copy);
    const char *where = dirname(directory);
    target->file = file;
    if (mkdir(where, DIRECTORY_MODE) < 0 && errno != EEXIST) {
        int number = errno;
        return error_set_errno(err, STATUS_HARDWARE, number, "cannot make the directory %s", where);
    }
    target->dirfd = open(where, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (target->dirfd < 0) {
        int number = errno;
        return error_set_errno(err, STATUS_HARDWARE, number, "cannot write %s", file->path);
    }
    if (strlen(name) + sizeof "..barrier" > sizeof target->name) {
        return error_set(err, STATUS_INVALID, "cannot write %s: the name is too long", file->path);
    }
    snprintf(target->name, sizeof target->name, "%s", name);
    snprintf(target->fresh, sizeof target->fresh, ".%.200s.new", name);
    snprintf(target->barrier, sizeof target->barrier, ".%.200s.barrier", name);
    snprintf(target->kept, sizeof target->kept, ".%.200s.old", name);
    return 0;
}

static void forget_other_names(const struct target *target)
{
    if (target->dirfd >= 0) {
        unlinkat(target->dirfd, target->fresh, 0);
        unlinkat(target->dirfd, target->barrier, 0);
        unlinkat(target->dirfd, target->kept, 0);
    }
}

static int write_beside(const struct target *target, const char *name, const char *text, struct error *err)
{
    CLEANUP_FD int fd = openat(target->dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
    if (fd < 0 || fchmod(fd, FILE_MODE) < 0 || file_write_all(fd, text, strlen(text)) < 0 || fsync(fd) < 0) {
        int number = errno;
        return error_set_errno(err, STATUS_HARDWARE, number, "cannot write %s", target->file->path);
    }
    return 0;
}

static int put_in_place(const struct target *target, const char *name, struct error *err)
{
    if (renameat(target->dirfd, name, target->dirfd, target->name) < 0 || fsync(target->dirfd) < 0) {
        int number = errno;
        return error_set_errno(err, STATUS_HARDWARE, number, "cannot replace %s", target->file->path);
    }
    return 0;
}

static int keep_old(const struct target *target, struct error *err)
{
    if (target->file->is_there && linkat(target->dirfd, target->name, target->dirfd, target->kept, 0) < 0) {
        int number = errno;
        return error_set_errno(err, STATUS_HARDWARE, number, "cannot keep the old %s", target->file->path);
    }
    return 0;
}

/* The file is what it was before; false: it is not. */
static bool bring_back(const struct target *target)
{
    if (target->file->is_there) {
        return renameat(target->dirfd, target->kept, target->dirfd, target->name) == 0;
    }
    return unlinkat(target->dirfd, target->name, 0) == 0 || errno == ENOENT;
}

/* Steps 3 to 5.  What fails is undone the other way round, so that the barrier is the last to go. */
static int replace_both(const struct target *topology, const struct target *cards, struct error *err)
{
    if (put_in_place(cards, cards->barrier, err) == 0) {
        if (put_in_place(topology, topology->fresh, err) == 0 && put_in_place(cards, cards->fresh, err) == 0) {
            return 0;
        }
        if (!bring_back(topology)) {
            return error_append(err, "; the old files could not be put back: run icn-hook setup again, until then VMs "
                                     "with PPUs are refused");
        }
    }
    return bring_back(cards) ? -1
                             : error_append(err,
                                            "; %s could not be put back: run icn-hook setup again, until then VMs "
                                            "with PPUs are refused",
                                            cards->file->path);
}

static int replace_targets(const struct target *topology, const struct target *cards, struct error *err)
{
    bool both = topology->file->is_changed && cards->file->is_changed;
    if ((topology->file->is_changed && write_beside(topology, topology->fresh, topology->file->text, err) < 0) ||
        (cards->file->is_changed && write_beside(cards, cards->fresh, cards->file->text, err) < 0)) {
        return -1;
    }
    if (both) {
        return write_beside(cards, cards->barrier, setup_files_barrier, err) < 0 || keep_old(topology, err) < 0 ||
                       keep_old(cards, err) < 0
                   ? -1
                   : replace_both(topology, cards, err);
    }
    const struct target *target = topology->file->is_changed ? topology : cards;
    if (!target->file->is_changed) {
        return 0;
    }
    if (keep_old(target, err) < 0) {
        return -1;
    }
    if (put_in_place(target, target->fresh, err) < 0) {
        return bring_back(target) ? -1 : error_append(err, "; the old file could not be put back");
    }
    return 0;
}

int setup_files_write(const struct setup_file *topology, const struct setup_file *cards, struct error *err)
{
    struct target targets[2] = {{.dirfd = -1}, {.dirfd = -1}};
    int result = -1;
    if (open_target(&targets[0], topology, err) == 0 && open_target(&targets[1], cards, err) == 0) {
        forget_other_names(&targets[0]);
        forget_other_names(&targets[1]);
        result = replace_targets(&targets[0], &targets[1], err);
    }
    for (int i = 0; i < 2; i++) {
        forget_other_names(&targets[i]);
        file_close_fd(&targets[i].dirfd);
    }
    return result;
}
