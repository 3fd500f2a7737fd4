/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/paths.h"
#include "base/text.h"

/*
 * Theory of operation
 *
 * The end of the run is the end of the child, not the end of its output: a
 * process that the tool left behind may hold the pipe open for ever.  So the
 * loop waits for output only for a moment at a time, and asks in between
 * whether the child is gone.  (A pidfd could be waited for, but valgrind does
 * not know it.)  When the child is gone or the deadline has passed, the whole
 * process group is killed while the leader is still a zombie, because until it
 * is reaped its group id cannot belong to anybody else.  Nothing that the tool
 * started in its group can touch a card after spawn_capture has returned.
 */

enum { CAPTURE_LIMIT = 16 << 20, READ_SIZE = 64 << 10, LAST_LINE_SIZE = 300 };

/* Between two looks at the child; a closed pipe means that it is about to end. */
enum { MOMENT_MS = 20, SHORT_MOMENT_MS = 1 };

struct capture {
    struct buffer output;
    size_t capacity;
};

/* Every signal is default in the child and none is blocked, whatever the
 * daemon that started us has set. */
static void set_attributes(posix_spawnattr_t *attributes)
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

static int set_files(posix_spawn_file_actions_t *files, int output)
{
    int number = posix_spawn_file_actions_addopen(files, 0, "/dev/null", O_RDONLY, 0);
    if (number == 0) {
        number = posix_spawn_file_actions_adddup2(files, output, 1);
    }
    if (number == 0) {
        number = posix_spawn_file_actions_adddup2(files, output, 2);
    }
    if (number == 0) {
        number = posix_spawn_file_actions_addclosefrom_np(files, 3);
    }
    return number;
}

/* -1 with errno set if it cannot be started. */
static pid_t start_child(char *const argv[], int output)
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
    /* posix_spawn tells of this too, but not under valgrind and other emulators
     * whose child shares no memory with its parent. */
    if (access(argv[0], X_OK) < 0) {
        return -1;
    }
    posix_spawnattr_init(&attributes);
    set_attributes(&attributes);
    posix_spawn_file_actions_init(&files);
    int number = set_files(&files, output);
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
static void keep(struct capture *capture, const char *data, size_t length)
{
    struct buffer *output = &capture->output;
    size_t room = CAPTURE_LIMIT - output->length;
    if (length > room) {
        length = room;
    }
    while (capture->capacity < output->length + length + 1) {
        capture->capacity = capture->capacity == 0 ? READ_SIZE : capture->capacity * 2;
        output->data = memory_grow(output->data, capture->capacity, 1);
    }
    memcpy(output->data + output->length, data, length);
    output->length += length;
    output->data[output->length] = '\0';
}

/* Takes what the pipe holds.  Closes it at its end. */
static void drain(int *pipe_end, struct capture *capture)
{
    char chunk[READ_SIZE];
    while (*pipe_end != -1) {
        ssize_t got = read(*pipe_end, chunk, sizeof chunk);
        if (got > 0) {
            keep(capture, chunk, (size_t)got);
            return;
        }
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0 && errno == EAGAIN) {
            return;
        }
        file_close_fd(pipe_end);
    }
}

/* The child stays a zombie. */
static bool has_ended(pid_t pid)
{
    siginfo_t facts = {.si_pid = 0};
    return waitid(P_PID, (id_t)pid, &facts, WEXITED | WNOHANG | WNOWAIT) == 0 && facts.si_pid == pid;
}

static bool has_passed(int64_t deadline)
{
    return deadline != NO_DEADLINE && deadline_left_ms(deadline) == 0;
}

/* True when the child has ended, false when the deadline came first. */
static bool watch_child(pid_t pid, int *pipe_end, int64_t deadline, struct capture *capture)
{
    while (!has_passed(deadline)) {
        struct pollfd wanted = {.fd = *pipe_end, .events = POLLIN};
        /* What was written before the end is read after it. */
        bool ended = has_ended(pid);
        if (poll(&wanted, 1, ended ? 0 : *pipe_end == -1 ? SHORT_MOMENT_MS : MOMENT_MS) > 0) {
            drain(pipe_end, capture);
        } else if (ended) {
            return true;
        }
    }
    return false;
}

/* Ends what is left of the group and reaps the leader; returns its wait status. */
static int finish_child(pid_t pid)
{
    int status = 0;
    kill(-pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
}

/* ": <last line that is not empty>", or nothing. */
static void describe_last_line(const struct buffer *output, char text[LAST_LINE_SIZE])
{
    size_t end = output->length;
    while (end > 0 && strchr(" \t\r\n", output->data[end - 1])) {
        end--;
    }
    size_t begin = end;
    while (begin > 0 && output->data[begin - 1] != '\n') {
        begin--;
    }
    size_t length = end - begin;
    if (length == 0) {
        text[0] = '\0';
        return;
    }
    snprintf(text, LAST_LINE_SIZE, ": %.*s", (int)(length < LAST_LINE_SIZE ? length : LAST_LINE_SIZE),
             output->data + begin);
}

static int judge(const char *program, int wait_status, const struct buffer *output, struct error *err)
{
    char last_line[LAST_LINE_SIZE];
    if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0) {
        return 0;
    }
    describe_last_line(output, last_line);
    if (WIFSIGNALED(wait_status)) {
        return error_set(err, STATUS_HARDWARE, "%s was killed by signal %d%s", program, WTERMSIG(wait_status),
                         last_line);
    }
    return error_set(err, STATUS_HARDWARE, "%s ended with exit status %d%s", program, WEXITSTATUS(wait_status),
                     last_line);
}

/* Follows the started child to its end. */
static int supervise(const char *program, pid_t pid, int *pipe_end, int64_t deadline, struct capture *capture,
                     struct error *err)
{
    keep(capture, "", 0);
    bool ended = watch_child(pid, pipe_end, deadline, capture);
    int wait_status = finish_child(pid);
    if (!ended) {
        return error_set(err, STATUS_BUSY, "%s did not end in time and was killed", program);
    }
    return judge(program, wait_status, &capture->output, err);
}

int spawn_capture(char *const argv[], int64_t deadline, struct buffer *output, struct error *err)
{
    int ends[2];
    struct capture capture = {0};
    if (pipe2(ends, O_CLOEXEC) < 0) {
        int number = errno;
        return error_set_errno(err, STATUS_HARDWARE, number, "cannot make a pipe for %s", argv[0]);
    }
    CLEANUP_FD int read_end = ends[0];
    CLEANUP_FD int write_end = ends[1];
    fcntl(read_end, F_SETFL, O_NONBLOCK);

    pid_t pid = start_child(argv, write_end);
    if (pid < 0) {
        int number = errno;
        return error_set_errno(err, STATUS_HARDWARE, number, "cannot run %s", argv[0]);
    }
    file_close_fd(&write_end);

    if (supervise(argv[0], pid, &read_end, deadline, &capture, err) < 0) {
        buffer_free(&capture.output);
        return -1;
    }
    *output = capture.output;
    return 0;
}
