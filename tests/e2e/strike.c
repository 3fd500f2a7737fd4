/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* strike NOTE NAME USE kill|ERRNO PROGRAM [ARGUMENT]...
 *
 * Becomes PROGRAM.  At the start of its USE-th call NAME, counted from its execve, it is killed, or the
 * call fails with ERRNO, a number; and the file NOTE is made.  strace does the same in twice the time: it
 * stops at every call when it sends a signal (6.1 forgets the signal with --seccomp-bpf), and it takes each
 * call apart.
 *
 * As with `strace -D`, the tracer is a grandchild: PROGRAM keeps its parent and its process id.  The tracer
 * stays until the last process ends that has the filter: without one, the call NAME would not exist. */
#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define FAILED 125 /* no program of ours exits with it */

struct strike {
    const char *note;
    pid_t program;
    long use;
    int error; /* 0: kill */
    bool is_armed;
    long uses;
};

static void give_up(const char *what)
{
    fprintf(stderr, "strike: %s: %s\n", what, strerror(errno));
    _exit(FAILED);
}

static void fail_call(pid_t pid, int error)
{
#ifdef __x86_64__
    struct user_regs_struct registers;
    if (ptrace(PTRACE_GETREGS, pid, NULL, &registers) != 0) {
        give_up("PTRACE_GETREGS");
    }
    registers.orig_rax = (unsigned long long)-1; /* no call at all */
    registers.rax = (unsigned long long)-error;
    if (ptrace(PTRACE_SETREGS, pid, NULL, &registers) != 0) {
        give_up("PTRACE_SETREGS");
    }
#else
#error "which registers hold a call's number and result here?"
#endif
}

static void at_call(struct strike *strike, pid_t pid)
{
    if (pid != strike->program || !strike->is_armed || ++strike->uses != strike->use) {
        return;
    }
    int note = open(strike->note, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (note < 0) {
        give_up(strike->note);
    }
    close(note);
    if (strike->error == 0) {
        kill(pid, SIGKILL);
    } else {
        fail_call(pid, strike->error);
    }
}

static void trace(struct strike *strike)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, __WALL)) > 0) {
        if (!WIFSTOPPED(status)) {
            continue;
        }
        int event = status >> 16, deliver = 0;
        if (event == PTRACE_EVENT_SECCOMP) {
            at_call(strike, pid);
        } else if (event == PTRACE_EVENT_EXEC) {
            strike->is_armed = true;
        } else if (event == 0) {
            deliver = WSTOPSIG(status);
        }
        ptrace(PTRACE_CONT, pid, NULL, (void *)(long)deliver);
    }
}

/* In a grandchild.  Tells through READY, by closing it, that it traces the program. */
static void become_tracer(struct strike *strike, int ready)
{
    for (int stream = STDIN_FILENO; stream <= STDOUT_FILENO; stream++) {
        close(stream);
    }
    long options =
        PTRACE_O_TRACESECCOMP | PTRACE_O_TRACEEXEC | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE;
    if (ptrace(PTRACE_SEIZE, strike->program, NULL, (void *)options) != 0) {
        give_up("PTRACE_SEIZE");
    }
    if (write(ready, "", 1) != 1) {
        give_up("write");
    }
    close(ready);
    close(STDERR_FILENO);
    trace(strike);
    _exit(0);
}

static void start_tracer(struct strike *strike)
{
    int ready[2];
    char byte;
    if (pipe(ready) != 0) {
        give_up("pipe");
    }
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
    pid_t child = fork();
    if (child == 0) {
        if (fork() == 0) {
            close(ready[0]);
            become_tracer(strike, ready[1]);
        }
        _exit(0);
    }
    close(ready[1]);
    if (child < 0 || waitpid(child, NULL, 0) != child || read(ready[0], &byte, 1) != 1) {
        give_up("no tracer");
    }
    close(ready[0]);
}

int main(int argc, char **argv)
{
    if (argc < 6) {
        fprintf(stderr, "usage: strike NOTE NAME USE kill|ERRNO PROGRAM [ARGUMENT]...\n");
        return FAILED;
    }
    int call = seccomp_syscall_resolve_name(argv[2]);
    struct strike strike = {
        .note = argv[1],
        .program = getpid(),
        .use = strtol(argv[3], NULL, 10),
        .error = strcmp(argv[4], "kill") == 0 ? 0 : (int)strtol(argv[4], NULL, 10),
    };
    start_tracer(&strike);
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    int error = filter ? seccomp_rule_add(filter, SCMP_ACT_TRACE(0), call, 0) : -ENOMEM;
    error = error ? error : seccomp_load(filter);
    if (error != 0) {
        errno = -error;
        give_up(argv[2]);
    }
    execv(argv[5], argv + 5);
    give_up(argv[5]);
}
