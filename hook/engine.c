/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hook/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/hook_call.h"
#include "base/memory.h"
#include "base/paths.h"
#include "base/spawn.h"
#include "base/text.h"

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
 * one line also when the loader wrote its own.  Its stdout is /dev/null: the
 * engine has nothing of libvirt's, which waits for the end of the hook's outputs
 * without a limit of its own.
 *
 * The engine bounds its own waits (lock, vendor tool) by the deadline that it is
 * told.  One that hangs for all that, in a system call or by a fault of its own,
 * is killed a little later; that is safe between any two of its steps.  One that
 * does not even die (a card that stopped answering) is left alone, so that the
 * domain's job in libvirt comes to its end.  When the hook itself is killed, the
 * engine dies with it (cli/hook_mode.c): libvirt goes on to `stopped` at once.
 */

enum { VERDICT_FD = 3, TAIL_SIZE = 4096, LINE_SIZE = 512, CHILD_STACK = 64 << 10, EXEC_FAILED = 127 };

enum {
    WAIT_MS = 120000, /* for the engine */
    MARGIN_PART = 12, /* of it are for the engine to say what it waited for in vain */
    DYING_MS = 2000,  /* for the engine to die when it is killed */
};

struct channels {
    int text;
    int stderr_copy;
    int verdict[2];
};

const char *engine_path(void)
{
    const char *path = getenv("ICN_ENGINE");
    return paths_simulated() && path && *path ? path : ENGINE_PATH;
}

static int open_channels(struct channels *channels, const struct buffer *text)
{
    channels->text = memfd_create("icn-hook-domain", MFD_CLOEXEC);
    if (channels->text < 0 || file_write_all(channels->text, text->data, text->length) < 0 ||
        lseek(channels->text, 0, SEEK_SET) < 0) {
        return -1;
    }
    channels->stderr_copy = memfd_create("icn-hook-stderr", MFD_CLOEXEC);
    return channels->stderr_copy < 0 ? -1 : pipe2(channels->verdict, O_CLOEXEC | O_NONBLOCK);
}

static void map_text(struct buffer *text, int fd)
{
    if (text->length == 0) {
        return;
    }
    void *mapping = mmap(NULL, text->length, PROT_READ, MAP_PRIVATE, fd, 0);
    if (mapping != MAP_FAILED) {
        free(text->data);
        text->data = mapping;
    }
}

static bool is_variable(const char *assignment, const char *name)
{
    size_t length = strlen(name);
    return strncmp(assignment, name, length) == 0 && assignment[length] == '=';
}

/* How long the engine may take; a simulated host may want less. */
static int64_t wait_ms(void)
{
    const char *given = getenv("ICN_HOOK_WAIT_MS");
    uint64_t number;
    return paths_simulated() && given && text_parse_number(given, WAIT_MS, &number) ? (int64_t)number : WAIT_MS;
}

/* The environment as it is, with our variables. */
static char **engine_environment(int64_t answer_deadline)
{
    static char verdict[sizeof HOOK_VERDICT_VARIABLE + 24];
    static char deadline[sizeof HOOK_DEADLINE_VARIABLE + 24];
    char *const ours[] = {verdict, deadline};
    size_t count = 0;
    size_t used = 0;
    while (environ[count]) {
        count++;
    }
    char **environment = memory_alloc(count + sizeof ours / sizeof ours[0] + 1, sizeof environment[0]);
    for (size_t i = 0; i < count; i++) {
        if (!is_variable(environ[i], HOOK_VERDICT_VARIABLE) && !is_variable(environ[i], HOOK_DEADLINE_VARIABLE)) {
            environment[used++] = environ[i];
        }
    }
    snprintf(verdict, sizeof verdict, "%s=%d", HOOK_VERDICT_VARIABLE, VERDICT_FD);
    snprintf(deadline, sizeof deadline, "%s=%lld", HOOK_DEADLINE_VARIABLE, (long long)answer_deadline);
    memcpy(environment + used, ours, sizeof ours);
    return environment;
}

/* What the child needs, and leaves for its parent. */
struct start {
    const char *path;
    char *const *arguments;
    char *const *environment;
    const struct channels *channels;
    int number; /* 0, or errno of what kept it from becoming the engine */
};

/* The child, in our memory until it has become the engine.  Returns its exit status if it has not: clone(2). */
static int become_engine(void *context)
{
    struct start *start = context;
    const struct channels *channels = start->channels;
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    /* The descriptors are all above stderr, and the first ones are in place before VERDICT_FD may replace one. */
    if (null >= 0 && dup3(channels->text, STDIN_FILENO, 0) >= 0 && dup3(null, STDOUT_FILENO, 0) >= 0 &&
        dup3(channels->stderr_copy, STDERR_FILENO, 0) >= 0 && dup3(channels->verdict[1], VERDICT_FD, 0) >= 0) {
        /* A build for coverage has an execve() that counts and writes in our parent's memory. */
        syscall(SYS_execve, start->path, start->arguments, start->environment);
    }
    start->number = errno;
    return EXEC_FAILED;
}

/*
 * 0, or why the engine could not be started.  posix_spawn() would first reset the handlers of all signals, two
 * system calls for each in Debian 12: a hook has no handler that could run in the child.
 */
static int start_engine(pid_t *child, char *const arguments[], const struct channels *channels, int64_t answer_deadline)
{
    static _Alignas(max_align_t) char stack[CHILD_STACK];
    const char *path = engine_path();
    char *engine_arguments[] = {(char *)path, arguments[1], arguments[2], arguments[3], arguments[4], NULL};
    CLEANUP_FREE char **environment = engine_environment(answer_deadline);
    struct start start = {
        .path = path, .arguments = engine_arguments, .environment = environment, .channels = channels};
    *child = clone(become_engine, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, &start);
    if (*child < 0) {
        return errno;
    }
    if (start.number != 0) {
        waitpid(*child, NULL, 0);
    }
    return start.number;
}

static void pass_stderr_on(int fd)
{
    char piece[TAIL_SIZE];
    ssize_t count;
    if (lseek(fd, 0, SEEK_SET) < 0) {
        return;
    }
    while ((count = read(fd, piece, sizeof piece)) > 0) {
        if (file_write_all(STDERR_FILENO, piece, (size_t)count) < 0) {
            return;
        }
    }
}

static int describe_accident(int wait_status, int stderr_copy, struct error *err)
{
    char tail[TAIL_SIZE];
    char line[LINE_SIZE];
    off_t end = lseek(stderr_copy, 0, SEEK_END);
    ssize_t count = pread(stderr_copy, tail, sizeof tail, end > TAIL_SIZE ? end - TAIL_SIZE : 0);
    const struct buffer content = {.data = tail, .length = count > 0 ? (size_t)count : 0};
    buffer_last_line(&content, line, sizeof line);
    const char *colon = *line ? ": " : "";
    if (WIFSIGNALED(wait_status)) {
        return error_set(err, STATUS_HARDWARE, "%s was killed by signal %d (%s)%s%s", engine_path(),
                         WTERMSIG(wait_status), strsignal(WTERMSIG(wait_status)), colon, line);
    }
    return error_set(err, STATUS_HARDWARE, "%s cannot be run: exit status %d%s%s", engine_path(),
                     WEXITSTATUS(wait_status), colon, line);
}

static int judge_answer(int wait_status, const struct channels *channels, int *status, struct error *err)
{
    unsigned char verdict = STATUS_OK;
    bool has_verdict = read(channels->verdict[0], &verdict, 1) == 1;
    int exit_status = WEXITSTATUS(wait_status);
    bool is_answer = WIFEXITED(wait_status) && exit_status <= STATUS_BUSY &&
                     (exit_status != STATUS_CHECK_FAILED || (has_verdict && verdict == STATUS_CHECK_FAILED));
    if (!is_answer) {
        return describe_accident(wait_status, channels->stderr_copy, err);
    }
    pass_stderr_on(channels->stderr_copy);
    *status = exit_status;
    return 0;
}

int engine_run(char *const arguments[], struct buffer *text, int *status, struct error *err)
{
    int64_t milliseconds = wait_ms();
    int64_t deadline = deadline_after_ms(milliseconds);
    struct channels channels;
    pid_t child;
    int wait_status;
    int number = open_channels(&channels, text) < 0 ? errno : 0;
    if (number == 0) {
        map_text(text, channels.text);
        signal(SIGCHLD, SIG_DFL); /* ignored by our caller, it would take the exit status from us */
        number = start_engine(&child, arguments, &channels, deadline - milliseconds / MARGIN_PART);
    }
    if (number != 0) {
        return error_set_errno(err, STATUS_HARDWARE, number, "%s cannot be run", engine_path());
    }
    if (!wait_for_end(child, deadline)) {
        kill(child, SIGKILL);
        bool is_dead = wait_for_end(child, deadline_after_ms(DYING_MS));
        return error_set(err, STATUS_BUSY, "%s did not answer within %lld s and %s", engine_path(),
                         (long long)milliseconds / 1000, is_dead ? "was killed" : "does not die");
    }
    if (waitpid(child, &wait_status, 0) < 0) {
        number = errno;
        return error_set_errno(err, STATUS_HARDWARE, number, "%s cannot be waited for", engine_path());
    }
    return judge_answer(wait_status, &channels, status, err);
}
