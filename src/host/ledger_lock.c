/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Opening and locking the ledger.
 *
 * 1. Open the directory, without following a symlink in its place, and see
 *    that it is ours.  Only LEDGER_CHANGE creates it.
 * 2. Open the file "lock" in it, the same way, and flock() it.  The kernel
 *    drops that lock when its holder dies, however it dies.  flock() has no
 *    deadline, so it is asked again and again with short sleeps.
 * 3. Look whether the locked file is still the one named "lock" and the
 *    directory still the one at the path.  Somebody may have removed them while
 *    we waited; whoever came next then locked another file, and two would hold
 *    "the" lock.  If so, start again.
 * 4. With the exclusive lock nobody else is writing, so a temporary file in
 *    the directory is what a killed writer left: it is removed.
 *
 * Nothing in the directory may be read before 3 is done.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/paths.h"
#include "host/ledger.h"
#include "host/ledger_directory.h"

enum { BOOT_ID_LIMIT = 4096, FIRST_PAUSE_MS = 1, LAST_PAUSE_MS = 20 };

/* What an attempt came to. */
enum attempt { ATTEMPT_FAILED = -1, ATTEMPT_DONE = 0, ATTEMPT_AGAIN = 1 };

static const char lock_name[] = "lock";

/* One word, which only ever is compared.  A simulated host may have none. */
static int read_boot_id(char boot_id[UUID_SIZE], struct error *err)
{
    struct buffer content = {0};
    bool missing = false;
    CLEANUP_FREE char *path = paths_resolve(PATH_BOOT_ID);

    if (file_read(path, BOOT_ID_LIMIT, &content, &missing, err) < 0) {
        if (!missing) {
            return -1;
        }
        boot_id[0] = '\0';
        return 0;
    }
    size_t length = 0;
    while (content.data[length] > ' ' && content.data[length] < 0x7f) {
        length++;
    }
    bool valid = length < UUID_SIZE && content.length - length == strspn(content.data + length, " \n");
    if (valid) {
        memcpy(boot_id, content.data, length);
        boot_id[length] = '\0';
    }
    buffer_free(&content);
    return valid ? 0 : error_set(err, STATUS_HARDWARE, "%s does not hold a boot id", path);
}

static int create_directory(const char *path, struct error *err)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST) {
        return 0;
    }
    int number = errno;
    if (number == EACCES || number == EPERM) {
        return error_set(err, STATUS_HARDWARE, "no permission to create %s: this needs root", path);
    }
    return error_set_errno(err, STATUS_HARDWARE, number, "cannot create %s", path);
}

/* *dirfd is -1 if there is no directory and none may be created. */
static enum attempt open_directory(const char *path, enum ledger_access access, int *dirfd, struct error *err)
{
    struct stat facts;
    CLEANUP_FD int fd = open(path, O_RDONLY | O_DIRECTORY | LEDGER_OPEN_FLAGS);
    if (fd < 0 && errno == ENOENT) {
        if (access == LEDGER_LOOK) {
            *dirfd = -1;
            return ATTEMPT_DONE;
        }
        return create_directory(path, err) < 0 ? ATTEMPT_FAILED : ATTEMPT_AGAIN;
    }
    if (fd < 0) {
        ledger_open_failed(errno, path, err);
        return ATTEMPT_FAILED;
    }
    if (fstat(fd, &facts) != 0) {
        error_set_errno(err, STATUS_HARDWARE, errno, "cannot examine %s", path);
        return ATTEMPT_FAILED;
    }
    if (ledger_check_ours(&facts, S_IFDIR, path, err) < 0) {
        return ATTEMPT_FAILED;
    }
    *dirfd = fd;
    fd = -1;
    return ATTEMPT_DONE;
}

/* Says whether FD is still what NAME in DIRFD leads to. */
static bool is_still(int fd, int dirfd, const char *name)
{
    struct stat opened;
    struct stat named;
    return fstat(fd, &opened) == 0 && fstatat(dirfd, name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

static int wait_for_lock(int fd, int operation, int64_t deadline, const char *path, struct error *err)
{
    int64_t pause = FIRST_PAUSE_MS;

    while (flock(fd, operation | LOCK_NB) != 0) {
        int number = errno;
        if (number != EWOULDBLOCK && number != EINTR) {
            return error_set_errno(err, STATUS_HARDWARE, number, "cannot lock %s", path);
        }
        int64_t left = deadline_left_ms(deadline);
        if (left == 0) {
            return error_set(err, STATUS_BUSY,
                             "another icn-hook holds %s and did not end in time; try again, or find it with lslocks",
                             path);
        }
        pause = pause < left ? pause : left;
        nanosleep(&(struct timespec){.tv_nsec = pause * 1000000}, NULL);
        pause = 2 * pause < LAST_PAUSE_MS ? 2 * pause : LAST_PAUSE_MS;
    }
    return 0;
}

/* *lockfd is -1 if there is no lock file and none may be created. */
static enum attempt lock_directory(int dirfd, const char *directory, enum ledger_access access, int64_t deadline,
                                   int *lockfd, struct error *err)
{
    struct stat facts;
    CLEANUP_FREE char *path = paths_resolve("%s/%s", directory, lock_name);
    int flags = (access == LEDGER_LOOK ? O_RDONLY : O_RDWR | O_CREAT) | LEDGER_OPEN_FLAGS;
    CLEANUP_FD int fd = openat(dirfd, lock_name, flags, 0600);

    if (fd < 0 && errno == ENOENT) {
        *lockfd = -1;
        /* A directory that was removed takes no file: O_CREAT fails like this. */
        return access == LEDGER_LOOK ? ATTEMPT_DONE : ATTEMPT_AGAIN;
    }
    if (fd < 0) {
        ledger_open_failed(errno, path, err);
        return ATTEMPT_FAILED;
    }
    if (fstat(fd, &facts) != 0) {
        error_set_errno(err, STATUS_HARDWARE, errno, "cannot examine %s", path);
        return ATTEMPT_FAILED;
    }
    if (ledger_check_ours(&facts, S_IFREG, path, err) < 0 ||
        wait_for_lock(fd, access == LEDGER_LOOK ? LOCK_SH : LOCK_EX, deadline, path, err) < 0) {
        return ATTEMPT_FAILED;
    }
    if (!is_still(fd, dirfd, lock_name) || !is_still(dirfd, AT_FDCWD, directory)) {
        return ATTEMPT_AGAIN;
    }
    *lockfd = fd;
    fd = -1;
    return ATTEMPT_DONE;
}

/* file_replace_at() names its temporaries ".NAME.PID.tmp".  What cannot be
 * removed does no harm: nobody reads it. */
static int remove_temporaries(int dirfd, struct error *err)
{
    struct ledger_names names = {0};
    if (ledger_list(dirfd, &names, err) < 0) {
        return -1;
    }
    for (size_t i = 0; i < names.count; i++) {
        const char *name = names.items[i];
        const char *ending = strrchr(name, '.');
        if (name[0] == '.' && strcmp(ending, ".tmp") == 0) {
            unlinkat(dirfd, name, 0);
        }
    }
    ledger_names_free(&names);
    return 0;
}

static enum attempt try_open(struct ledger *ledger, const char *path, enum ledger_access access, int64_t deadline,
                             struct error *err)
{
    CLEANUP_FD int dirfd = -1;
    CLEANUP_FD int lockfd = -1;
    enum attempt result = open_directory(path, access, &dirfd, err);

    if (result == ATTEMPT_DONE && dirfd != -1) {
        result = lock_directory(dirfd, path, access, deadline, &lockfd, err);
    }
    if (result != ATTEMPT_DONE) {
        return result;
    }
    if (access == LEDGER_CHANGE && remove_temporaries(dirfd, err) < 0) {
        return ATTEMPT_FAILED;
    }
    ledger->dirfd = dirfd;
    ledger->lockfd = lockfd;
    dirfd = -1;
    lockfd = -1;
    return ATTEMPT_DONE;
}

int ledger_open(struct ledger *ledger, enum ledger_access access, int64_t deadline, struct error *err)
{
    struct ledger opened = {.dirfd = -1, .lockfd = -1};
    CLEANUP_FREE char *path = paths_resolve(PATH_LEDGER);
    enum attempt result = ATTEMPT_AGAIN;

    if (read_boot_id(opened.boot_id, err) < 0) {
        return -1;
    }
    /* A first attempt may have to create the directory. */
    for (int attempts = 0; result == ATTEMPT_AGAIN; attempts++) {
        if (attempts > 1 && deadline_left_ms(deadline) == 0) {
            return error_set(err, STATUS_BUSY, "%s was removed again and again; see who does it, then try again", path);
        }
        result = try_open(&opened, path, access, deadline, err);
    }
    if (result == ATTEMPT_FAILED) {
        return -1;
    }
    *ledger = opened;
    return 0;
}

void ledger_close(struct ledger *ledger)
{
    file_close_fd(&ledger->lockfd);
    file_close_fd(&ledger->dirfd);
}
