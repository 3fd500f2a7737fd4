/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/paths.h"
#include "base/text.h"

/*
 * Theory of operation
 *
 * The end of the run is the end of the child, not the end of its output: a
 * process that the tool left behind may hold the pipes open for ever.  So the
 * loop waits for output and for the child's pidfd at once.  When the child has
 * ended or the deadline has passed, the whole process group is killed while the
 * leader is still a zombie, because until it is reaped its group id cannot
 * belong to another process.  Nothing that the tool started in its group can
 * touch a card after spawn_capture has returned.
 */

enum { CAPTURE_LIMIT = 16 << 20, READ_SIZE = 64 << 10, LAST_LINE_SIZE = 300 };

/* One end of a pipe, and what came out of it. */
struct stream {
    int fd; /* -1: its end was reached */
    struct buffer content;
    size_t capacity;
};

enum { STREAM_OUT, STREAM_ERR, STREAM_COUNT };

int wait_open_pidfd(pid_t pid)
{
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

int wait_poll_timeout(int64_t deadline, int pidfd)
{
    int64_t left = deadline == NO_DEADLINE ? INT_MAX : deadline_left_ms(deadline);
    if (pidfd < 0 && left > WAIT_MOMENT_MS) {
        return WAIT_MOMENT_MS;
    }
    return left < INT_MAX ? (int)left : INT_MAX;
}

bool wait_has_ended(pid_t pid)
{
    siginfo_t facts = {.si_pid = 0};
    return waitid(P_PID, (id_t)pid, &facts, WEXITED | WNOHANG | WNOWAIT) == 0 && facts.si_pid == pid;
}

bool wait_for_end(pid_t pid, int64_t deadline)
{
    CLEANUP_FD int pidfd = wait_open_pidfd(pid);
    while (!wait_has_ended(pid)) {
        struct pollfd wanted = {.fd = pidfd, .events = POLLIN};
        if (deadline != NO_DEADLINE && deadline_left_ms(deadline) == 0) {
            return false;
        }
        poll(&wanted, 1, wait_poll_timeout(deadline, pidfd));
    }
    return true;
}

/* Every signal is default in the child and none is blocked: the daemon
 * that started us may have set it otherwise. */
static void set_spawn_attributes(posix_spawnattr_t *attributes)
{
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(attributes, &none);
    posix_spawnattr_setsigdefault(attributes, &all);
    posix_spawnattr_setpgroup(attributes, 0);
    posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
}

static int set_spawn_files(posix_spawn_file_actions_t *files, const int outputs[STREAM_COUNT])
{
    int number = posix_spawn_file_actions_addopen(files, 0, "/dev/null", O_RDONLY, 0);
    if (number == 0) {
        number = posix_spawn_file_actions_adddup2(files, outputs[STREAM_OUT], 1);
    }
    if (number == 0) {
        number = posix_spawn_file_actions_adddup2(files, outputs[STREAM_ERR], 2);
    }
    if (number == 0) {
        number = posix_spawn_file_actions_addclosefrom_np(files, 3);
    }
    return number;
}

/* -1 with errno set if it cannot be started. */
static pid_t start_child(char *const argv[], const int outputs[STREAM_COUNT])
{
    CLEANUP_FREE char *sysroot = NULL;
    char *environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", NULL, NULL};
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t files;
    pid_t pid = -1;
    if (paths_simulated()) {
        sysroot = text_join("ICN_SYSROOT=", paths_sysroot());
        environment[2] = sysroot;
    }
    /* posix_spawn reports this too, but not under valgrind and other emulators
     * whose child shares no memory with its parent. */
    if (access(argv[0], X_OK) < 0) {
        return -1;
    }
    posix_spawnattr_init(&attributes);
    set_spawn_attributes(&attributes);
    posix_spawn_file_actions_init(&files);
    int number = set_spawn_files(&files, outputs);
    if (number == 0) {
        number = posix_spawn(&pid, argv[0], &files, &attributes, argv, environment);
    }
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
    if (number != 0) {
        errno = number;
        return -1;
    }
    return pid;
}

/* Keeps what fits under the limit; the rest is read and dropped, so that a
 * talkative tool never blocks on a full pipe. */
static void keep_output(struct stream *stream, const char *data, size_t length)
{
    struct buffer *content = &stream->content;
    size_t room = CAPTURE_LIMIT - content->length;
    if (length > room) {
        length = room;
    }
    while (stream->capacity < content->length + length + 1) {
        stream->capacity = stream->capacity == 0 ? READ_SIZE : stream->capacity * 2;
        content->data = memory_grow(content->data, stream->capacity, 1);
    }
    memcpy(content->data + content->length, data, length);
    content->length += length;
    content->data[content->length] = '\0';
}

/* Takes one piece of what the pipe holds, and closes it at its end.  False: it holds
 * nothing now. */
static bool read_piece_of(struct stream *stream)
{
    char piece[READ_SIZE];
    ssize_t got;
    if (stream->fd == -1) {
        return false;
    }
    do {
        got = read(stream->fd, piece, sizeof piece);
    } while (got < 0 && errno == EINTR);
    if (got > 0) {
        keep_output(stream, piece, (size_t)got);
        return true;
    }
    if (got == 0 || errno != EAGAIN) {
        file_close_fd(&stream->fd);
    }
    return false;
}

/* What the child wrote before its end is in the pipe, and no more than the pipe can
 * hold: a process outside its group may go on writing. */
static void read_rest_of(struct stream *stream)
{
    int size = fcntl(stream->fd, F_GETPIPE_SZ);
    size_t limit = stream->content.length + (size > READ_SIZE ? (size_t)size : READ_SIZE);
    while (stream->content.length < limit && stream->content.length < CAPTURE_LIMIT && read_piece_of(stream)) {
    }
}

/* True when the child has ended, false when the deadline came first. */
static bool watch_child(pid_t pid, int64_t deadline, struct stream streams[STREAM_COUNT])
{
    CLEANUP_FD int pidfd = wait_open_pidfd(pid);
    while (!wait_has_ended(pid)) {
        struct pollfd wanted[1 + STREAM_COUNT] = {{.fd = pidfd, .events = POLLIN}};
        if (deadline != NO_DEADLINE && deadline_left_ms(deadline) == 0) {
            return false;
        }
        for (int i = 0; i < STREAM_COUNT; i++) {
            wanted[1 + i] = (struct pollfd){.fd = streams[i].fd, .events = POLLIN};
        }
        if (poll(wanted, 1 + STREAM_COUNT, wait_poll_timeout(deadline, pidfd)) <= 0) {
            continue;
        }
        for (int i = 0; i < STREAM_COUNT; i++) {
            if (wanted[1 + i].revents) {
                read_piece_of(&streams[i]);
            }
        }
    }
    return true;
}

static int spawn_judge_end(const char *program, bool in_time, int wait_status,
                           const struct stream streams[STREAM_COUNT], struct error *err)
{
    char line[LAST_LINE_SIZE];
    if (!in_time) {
        return error_set(err, STATUS_BUSY, "%s did not end in time and was killed", program);
    }
    buffer_last_line(&streams[STREAM_ERR].content, line, sizeof line);
    if (!line[0]) {
        buffer_last_line(&streams[STREAM_OUT].content, line, sizeof line);
    }
    const char *colon = line[0] ? ": " : "";
    if (WIFSIGNALED(wait_status)) {
        return error_set(err, STATUS_HARDWARE, "%s was killed by signal %d%s%s", program, WTERMSIG(wait_status), colon,
                         line);
    }
    if (WEXITSTATUS(wait_status) != 0) {
        return error_set(err, STATUS_HARDWARE, "%s ended with exit status %d%s%s", program, WEXITSTATUS(wait_status),
                         colon, line);
    }
    return 0;
}

/* Follows the started child to its end. */
static int supervise(const char *program, pid_t pid, int64_t deadline, struct stream streams[STREAM_COUNT],
                     struct error *err)
{
    char warning[LAST_LINE_SIZE];
    bool in_time = watch_child(pid, deadline, streams);
    int wait_status = 0;
    kill(-pid, SIGKILL); /* what is left of the group */
    while (waitpid(pid, &wait_status, 0) < 0 && errno == EINTR) {
    }
    for (int i = 0; i < STREAM_COUNT; i++) {
        read_rest_of(&streams[i]);
        keep_output(&streams[i], "", 0);
    }
    if (spawn_judge_end(program, in_time, wait_status, streams, err) < 0) {
        return -1;
    }
    buffer_last_line(&streams[STREAM_ERR].content, warning, sizeof warning);
    if (warning[0]) {
        log_message(LOG_LEVEL_INFO, "%s: %s", program, warning);
    }
    return 0;
}

/* Fills READ_ENDS' fd and WRITE_ENDS, or nothing. */
static int open_pipes(struct stream read_ends[STREAM_COUNT], int write_ends[STREAM_COUNT])
{
    for (int i = 0; i < STREAM_COUNT; i++) {
        int ends[2];
        if (pipe2(ends, O_CLOEXEC) < 0) {
            return -1;
        }
        read_ends[i].fd = ends[0];
        write_ends[i] = ends[1];
        fcntl(ends[0], F_SETFL, O_NONBLOCK);
    }
    return 0;
}

int spawn_capture(char *const argv[], int64_t deadline, struct buffer *output, struct error *err)
{
    struct stream streams[STREAM_COUNT] = {{.fd = -1}, {.fd = -1}};
    int write_ends[STREAM_COUNT] = {-1, -1};
    pid_t pid = -1;
    int result = -1;
    if (open_pipes(streams, write_ends) < 0) {
        int number = errno;
        error_set_errno(err, STATUS_HARDWARE, number, "cannot make a pipe for %s", argv[0]);
        goto out;
    }
    pid = start_child(argv, write_ends);
    if (pid < 0) {
        int number = errno;
        error_set_errno(err, STATUS_HARDWARE, number, "cannot run %s", argv[0]);
        goto out;
    }
    for (int i = 0; i < STREAM_COUNT; i++) {
        file_close_fd(&write_ends[i]);
    }
    result = supervise(argv[0], pid, deadline, streams, err);
    if (result == 0) {
        *output = streams[STREAM_OUT].content;
        streams[STREAM_OUT].content = (struct buffer){0};
    }

out:
    for (int i = 0; i < STREAM_COUNT; i++) {
        file_close_fd(&streams[i].fd);
        file_close_fd(&write_ends[i]);
        buffer_free(&streams[i].content);
    }
    return result;
}
