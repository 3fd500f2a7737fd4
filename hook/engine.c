/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hook/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "hook/tell.h"

/*
 * Theory of operation: why the engine is a child and not an exec.
 *
 * exec can succeed and the engine still never reach main(): the dynamic loader
 * ends it with 127 for a missing library or symbol, with 1 for a library of
 * the wrong version.  Passed on to libvirt, that would stop VMs that have no
 * card, and in `reconnect` and `started` it would kill running ones.  So the
 * hook stays, waits, and tells an answer from an accident:
 *   - died by a signal, 126, 127: an accident;
 *   - exit status 1: an answer only with the same verdict on the verdict
 *     descriptor, because loaders and libraries (libpci) exit with 1 as well;
 *   - 0 and 2 to 6: an answer, because nothing but the engine ends with these.
 *
 * The engine's stderr is kept in memory until it ended, so that a refusal is
 * one line also when the loader wrote its own.  Its stdout is the hook's.
 *
 * The hook waits as long as the engine runs and never kills it: the engine
 * bounds its own waits (lock, vendor tool), and a kill between two register
 * writes helps nobody.  When the hook itself is killed, the engine finishes
 * under its lock; libvirt goes on to `stopped` only when it has, because it
 * waits for the end of the stdout that the engine holds.
 */

enum { VERDICT_FD = 3 };

struct channels {
    int text;
    int stderr_copy;
    int verdict[2];
};

const char *engine_path(void)
{
    const char *path = getenv("ICN_ENGINE");
    return tell_sysroot() && path && *path ? path : ENGINE_PATH;
}

/* So that no descriptor of ours becomes somebody's stdout or stderr. */
static void open_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0) {
            return;
        }
    }
}

static bool write_whole(int fd, const char *data, size_t length)
{
    while (length > 0) {
        ssize_t count = write(fd, data, length);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count <= 0) {
            return false;
        }
        data += count;
        length -= (size_t)count;
    }
    return true;
}

static bool open_channels(struct channels *channels, const char *text, size_t length)
{
    channels->text = memfd_create("icn-hook-domain", MFD_CLOEXEC);
    if (channels->text < 0 || !write_whole(channels->text, text, length) || lseek(channels->text, 0, SEEK_SET) < 0) {
        return false;
    }
    channels->stderr_copy = memfd_create("icn-hook-stderr", MFD_CLOEXEC);
    return channels->stderr_copy >= 0 && pipe2(channels->verdict, O_CLOEXEC | O_NONBLOCK) == 0;
}

static void map_text(char **text, size_t length, int fd)
{
    if (length == 0) {
        return;
    }
    void *mapping = mmap(NULL, length, PROT_READ, MAP_PRIVATE, fd, 0);
    if (mapping != MAP_FAILED) {
        free(*text);
        *text = mapping;
    }
}

static bool is_ours(const char *variable)
{
    return strncmp(variable, ENGINE_CALLER_VARIABLE "=", sizeof ENGINE_CALLER_VARIABLE "=" - 1) == 0 ||
           strncmp(variable, ENGINE_VERDICT_VARIABLE "=", sizeof ENGINE_VERDICT_VARIABLE "=" - 1) == 0;
}

/* The environment as is, with our two variables; NULL without memory. */
static char **engine_environment(void)
{
    static char caller[sizeof ENGINE_CALLER_VARIABLE + 24];
    static char verdict[sizeof ENGINE_VERDICT_VARIABLE + 24];
    size_t count = 0;
    size_t used = 0;
    while (environ[count]) {
        count++;
    }
    char **environment = calloc(count + 3, sizeof environment[0]);
    if (!environment) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        if (!is_ours(environ[i])) {
            environment[used++] = environ[i];
        }
    }
    snprintf(caller, sizeof caller, "%s=%ld", ENGINE_CALLER_VARIABLE, (long)getppid());
    snprintf(verdict, sizeof verdict, "%s=%d", ENGINE_VERDICT_VARIABLE, VERDICT_FD);
    environment[used++] = caller;
    environment[used] = verdict;
    return environment;
}

/* 0 or an errno.  The descriptors are all above stderr, and the first two are in
 * place before VERDICT_FD may replace one. */
static int connect_channels(posix_spawn_file_actions_t *actions, const struct channels *channels)
{
    const struct {
        int from;
        int to;
    } moves[] = {
        {channels->text, STDIN_FILENO}, {channels->stderr_copy, STDERR_FILENO}, {channels->verdict[1], VERDICT_FD}};
    int number = 0;

    for (size_t i = 0; i < sizeof moves / sizeof moves[0] && number == 0; i++) {
        number = posix_spawn_file_actions_adddup2(actions, moves[i].from, moves[i].to);
    }
    return number;
}

/* 0, or why the engine could not be started. */
static int start(pid_t *child, char *const arguments[], const struct channels *channels)
{
    const char *path = engine_path();
    char *engine_arguments[] = {(char *)path, arguments[1], arguments[2], arguments[3], arguments[4], NULL};
    char **environment = engine_environment();
    posix_spawn_file_actions_t actions;
    if (!environment) {
        return ENOMEM;
    }
    int number = posix_spawn_file_actions_init(&actions);
    if (number != 0) {
        free(environment);
        return number;
    }
    number = connect_channels(&actions, channels);
    if (number == 0) {
        number = posix_spawn(child, path, &actions, NULL, engine_arguments, environment);
    }
    posix_spawn_file_actions_destroy(&actions);
    free(environment);
    return number;
}

static void pass_stderr_on(int fd)
{
    char piece[4096];
    ssize_t count;
    if (lseek(fd, 0, SEEK_SET) < 0) {
        return;
    }
    while ((count = read(fd, piece, sizeof piece)) > 0) {
        if (!write_whole(STDERR_FILENO, piece, (size_t)count)) {
            return;
        }
    }
}

/* The last line of what FD holds, control characters as '?'; "" if none. */
static void last_line(int fd, char line[], size_t size)
{
    off_t end = lseek(fd, 0, SEEK_END);
    off_t start = end > (off_t)size - 1 ? end - ((off_t)size - 1) : 0;
    ssize_t count = end > 0 ? pread(fd, line, size - 1, start) : 0;
    while (count > 0 && (line[count - 1] == '\n' || line[count - 1] == ' ')) {
        count--;
    }
    line[count > 0 ? count : 0] = '\0';
    char *newline = strrchr(line, '\n');
    if (newline) {
        memmove(line, newline + 1, strlen(newline));
    }
    for (char *at = line; *at; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7f) {
            *at = '?';
        }
    }
}

static void describe_accident(struct engine_answer *answer, int wait_status, int stderr_copy)
{
    char line[512];
    last_line(stderr_copy, line, sizeof line);
    if (WIFSIGNALED(wait_status)) {
        snprintf(answer->trouble, sizeof answer->trouble, "was killed by signal %d (%s)%s%s", WTERMSIG(wait_status),
                 strsignal(WTERMSIG(wait_status)), *line ? ": " : "", line);
        return;
    }
    snprintf(answer->trouble, sizeof answer->trouble, "cannot be run: exit status %d%s%s", WEXITSTATUS(wait_status),
             *line ? ": " : "", line);
}

static void judge(struct engine_answer *answer, int wait_status, const struct channels *channels)
{
    unsigned char verdict = 0;
    bool has_verdict = read(channels->verdict[0], &verdict, 1) == 1;
    if (WIFEXITED(wait_status)) {
        answer->status = WEXITSTATUS(wait_status);
        answer->given = answer->status <= STATUS_BUSY &&
                        (answer->status != STATUS_CHECK_FAILED || (has_verdict && verdict == STATUS_CHECK_FAILED));
    }
    if (answer->given) {
        pass_stderr_on(channels->stderr_copy);
        return;
    }
    describe_accident(answer, wait_status, channels->stderr_copy);
}

void engine_run(char *const arguments[], char **text, size_t length, struct engine_answer *answer)
{
    struct channels channels;
    pid_t child;
    int wait_status;
    *answer = (struct engine_answer){.given = false};
    open_standard_descriptors();
    int number = open_channels(&channels, *text, length) ? 0 : errno;
    if (number == 0) {
        map_text(text, length, channels.text);
        signal(SIGCHLD, SIG_DFL); /* ignored by our caller, it would take the exit status from us */
        number = start(&child, arguments, &channels);
    }
    while (number == 0 && waitpid(child, &wait_status, 0) < 0) {
        number = errno == EINTR ? 0 : errno;
    }
    if (number != 0) {
        snprintf(answer->trouble, sizeof answer->trouble, "cannot be run: %s", strerror(number));
        return;
    }
    judge(answer, wait_status, &channels);
}
