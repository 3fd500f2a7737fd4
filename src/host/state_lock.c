/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Opening and locking the state's directory.
 *
 * 1. Open the directory, without following a symlink in its place, and see that it is
 *    ours.  Only STATE_CHANGE creates it.
 * 2. Open the file "lock" in it, the same way, and flock() it.  The kernel drops that lock
 *    when its holder dies, however it dies.
 * 3. Look whether the locked file is still the one named "lock" and the directory still the
 *    one at the path.  Somebody may have removed them while we waited; the next to come then
 *    locked another file, and two would hold "the" lock.  If so, start again.
 *
 * Nothing in the directory may be read before 3 is done.
 *
 * flock() has no deadline.  Asking again and again with LOCK_NB has one, but a call that
 * comes at the right moment overtakes all that sleep, so some wait ten times as long as others.  A
 * blocking flock() waits in the kernel's queue: each waiter is woken after the one before it
 * (fs/locks.c, __locks_insert_block).  A signal takes it out of that queue, so the timer does
 * not tick while there is time left; from the deadline on it repeats, because an alarm that
 * comes just before flock() is entered would otherwise be the last.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/paths.h"
#include "host/state.h"
#include "host/state_files.h"

enum { BOOT_ID_LIMIT = 4096, REPEAT_MS = 10 };

/* What an attempt came to. */
enum attempt { ATTEMPT_FAILED = -1, ATTEMPT_DONE = 0, ATTEMPT_AGAIN = 1 };

/* What the wait takes from the process, and gives back. */
struct alarm {
    struct sigaction action;
    sigset_t mask;
    struct itimerval timer;
    int64_t begin; /* monotonic ms */
};

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

int state_check_ours(const struct stat *facts, mode_t type, const char *path, struct error *err)
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

int state_open_failed(int number, const char *path, struct error *err)
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

/* 1: there is none. */
static int open_directory_of_state(const char *path, int *dirfd, struct error *err)
{
    CLEANUP_FD int fd = open(path, O_RDONLY | O_DIRECTORY | STATE_OPEN_FLAGS);
    struct stat facts;
    if (fd < 0) {
        int number = errno;
        return number == ENOENT ? 1 : state_open_failed(number, path, err);
    }
    if (fstat(fd, &facts) < 0) {
        return error_set_errno(err, STATUS_HARDWARE, errno, "cannot examine %s", path);
    }
    if (state_check_ours(&facts, S_IFDIR, path, err) < 0) {
        return -1;
    }
    *dirfd = fd;
    fd = -1;
    return 0;
}

static enum attempt create_state_directory(const char *path, struct error *err)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST) {
        return ATTEMPT_AGAIN;
    }
    int number = errno;
    if (number == EACCES || number == EPERM) {
        error_set(err, STATUS_HARDWARE, "no permission to create %s: this needs root", path);
    } else {
        error_set_errno(err, STATUS_HARDWARE, number, "cannot create %s", path);
    }
    return ATTEMPT_FAILED;
}

/* Whether FD is still what NAME in DIRFD leads to. */
static bool is_still(int fd, int dirfd, const char *name)
{
    struct stat opened;
    struct stat named;
    return fstat(fd, &opened) == 0 && fstatat(dirfd, name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

/* Only there so that a system call ends with EINTR. */
static void on_alarm(int number)
{
    (void)number;
}

static struct timeval to_timeval(int64_t milliseconds)
{
    return (struct timeval){.tv_sec = milliseconds / 1000, .tv_usec = milliseconds % 1000 * 1000};
}

static void alarm_begin(struct alarm *alarm, int64_t left)
{
    const struct sigaction wake = {.sa_handler = on_alarm}; /* without SA_RESTART */
    const struct itimerval timer = {.it_value = to_timeval(left), .it_interval = to_timeval(REPEAT_MS)};
    sigset_t only;
    sigemptyset(&only);
    sigaddset(&only, SIGALRM);
    alarm->begin = deadline_after_ms(0);
    sigaction(SIGALRM, &wake, &alarm->action);
    sigprocmask(SIG_UNBLOCK, &only, &alarm->mask);
    setitimer(ITIMER_REAL, &timer, &alarm->timer);
}

/* A timer that somebody else had set goes off when it would have, or at once if that was
 * while we waited. */
static void alarm_end(const struct alarm *alarm)
{
    const struct itimerval off = {0};
    struct itimerval timer = alarm->timer;
    struct timeval waited = to_timeval(deadline_after_ms(0) - alarm->begin);
    setitimer(ITIMER_REAL, &off, NULL);
    sigprocmask(SIG_SETMASK, &alarm->mask, NULL);
    sigaction(SIGALRM, &alarm->action, NULL);
    if (timerisset(&timer.it_value)) {
        bool is_later = timer.it_value.tv_sec != waited.tv_sec ? timer.it_value.tv_sec > waited.tv_sec
                                                               : timer.it_value.tv_usec > waited.tv_usec;
        if (is_later) {
            timersub(&timer.it_value, &waited, &timer.it_value);
        } else {
            timer.it_value = (struct timeval){.tv_usec = 1};
        }
        setitimer(ITIMER_REAL, &timer, NULL);
    }
}

/* 0, or why not: EWOULDBLOCK at the deadline. */
static int lock_until(int fd, int operation, int64_t deadline)
{
    struct alarm alarm;
    int number = flock(fd, operation | LOCK_NB) < 0 ? errno : 0;
    int64_t left = deadline_left_ms(deadline);
    if ((number != EWOULDBLOCK && number != EINTR) || left == 0) {
        return number;
    }
    alarm_begin(&alarm, left);
    do {
        number = flock(fd, operation) < 0 ? errno : 0;
    } while (number == EINTR && deadline_left_ms(deadline) > 0);
    alarm_end(&alarm);
    return number == EINTR ? EWOULDBLOCK : number;
}

/* lockfd stays -1 if there is no lock file and none may be created. */
static enum attempt lock_opened(struct state *state, const char *directory, int64_t deadline, struct error *err)
{
    struct stat facts;
    bool looks = state->access == STATE_LOOK;
    CLEANUP_FREE char *path = paths_resolve("%s/" LOCK_FILE, directory);
    CLEANUP_FD int fd = openat(state->dirfd, LOCK_FILE, (looks ? O_RDONLY : O_RDWR | O_CREAT) | STATE_OPEN_FLAGS, 0600);
    if (fd < 0) {
        int number = errno;
        if (number == ENOENT) {
            /* A directory that was removed takes no file: O_CREAT fails like this. */
            return looks ? ATTEMPT_DONE : ATTEMPT_AGAIN;
        }
        state_open_failed(number, path, err);
        return ATTEMPT_FAILED;
    }
    if (fstat(fd, &facts) < 0) {
        error_set_errno(err, STATUS_HARDWARE, errno, "cannot examine %s", path);
        return ATTEMPT_FAILED;
    }
    if (state_check_ours(&facts, S_IFREG, path, err) < 0) {
        return ATTEMPT_FAILED;
    }
    int number = lock_until(fd, looks ? LOCK_SH : LOCK_EX, deadline);
    if (number == EWOULDBLOCK) {
        error_set(err, STATUS_BUSY,
                  "another icn-hook holds %s and did not end in time; try again, or find it with lslocks", path);
        return ATTEMPT_FAILED;
    }
    if (number != 0) {
        error_set_errno(err, STATUS_HARDWARE, number, "cannot lock %s", path);
        return ATTEMPT_FAILED;
    }
    if (!is_still(fd, state->dirfd, LOCK_FILE) || !is_still(state->dirfd, AT_FDCWD, directory)) {
        return ATTEMPT_AGAIN;
    }
    state->lockfd = fd;
    fd = -1;
    return ATTEMPT_DONE;
}

int state_lock(struct state *state, const char *path, enum state_access access, int64_t deadline, struct error *err)
{
    enum attempt attempt = ATTEMPT_AGAIN;
    if (read_boot_id(state->boot_id, err) < 0) {
        return -1;
    }
    state->access = access;
    /* The first attempt may have to create the directory. */
    for (int attempts = 0; attempt == ATTEMPT_AGAIN; attempts++) {
        if (attempts > 1 && deadline_left_ms(deadline) == 0) {
            return error_set(err, STATUS_BUSY, "%s was removed again and again; find out what does it, then try again",
                             path);
        }
        file_close_fd(&state->dirfd);
        int result = open_directory_of_state(path, &state->dirfd, err);
        if (result == 1) {
            attempt = access == STATE_LOOK ? ATTEMPT_DONE : create_state_directory(path, err);
        } else {
            attempt = result < 0 ? ATTEMPT_FAILED : lock_opened(state, path, deadline, err);
        }
    }
    if (attempt == ATTEMPT_FAILED) {
        file_close_fd(&state->dirfd);
        return -1;
    }
    return 0;
}

void state_unlock(struct state *state)
{
    if (state->lockfd != -1) {
        /* Also if a child of ours still has the open file. */
        flock(state->lockfd, LOCK_UN);
        file_close_fd(&state->lockfd);
    }
}
