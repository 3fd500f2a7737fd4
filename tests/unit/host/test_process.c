/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/process.h"

#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "child.h"
#include "simulated_host.h"

/* In a child of the process that is asked about: tells who called. */
static _Noreturn void tell_caller(int answer)
{
    struct process_identity caller = process_caller();
    child_exit(write(answer, &caller, sizeof caller) == sizeof caller ? 0 : 1);
}

/* In a process of its own: lets a child tell, then waits to be killed. */
static _Noreturn void be_caller(const char *name, int answer)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NAME, name);
    if (fork() == 0) {
        tell_caller(answer);
    }
    for (;;) {
        pause();
    }
}

/* Starts a process named NAME, and gives what its child says of it. */
static struct process_identity start_caller(const char *name, pid_t *pid)
{
    int answer[2];
    struct process_identity caller;

    assert_int_equal(pipe(answer), 0);
    *pid = fork();
    assert_true(*pid >= 0);
    if (*pid == 0) {
        be_caller(name, answer[1]);
    }
    assert_int_equal(read(answer[0], &caller, sizeof caller), sizeof caller);
    close(answer[0]);
    close(answer[1]);
    return caller;
}

static void end_caller(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* In a process of its own that stands between us and its child: names CALLER, or
 * nobody if it is NULL, and lets the child tell. */
static struct process_identity caller_through_a_hook(const char *caller)
{
    int answer[2];
    struct process_identity told;

    assert_int_equal(pipe(answer), 0);
    pid_t hook = fork();
    assert_true(hook >= 0);
    if (hook == 0) {
        if (caller != NULL) {
            setenv("ICN_HOOK_CALLER", caller, 1);
        }
        pid_t engine = fork();
        if (engine == 0) {
            tell_caller(answer[1]);
        }
        waitpid(engine, NULL, 0);
        child_exit(0);
    }
    assert_int_equal(read(answer[0], &told, sizeof told), sizeof told);
    assert_int_equal(waitpid(hook, NULL, 0), hook);
    close(answer[0]);
    close(answer[1]);
    if (told.pid == hook) {
        told.pid = -1; /* the hook itself */
    }
    return told;
}

/* The hook program is asked who called it, and believed only if it is true. */
static void test_caller_that_the_hook_names(void **unused)
{
    char us[32];
    char parent[32];
    const struct {
        const char *named;
        pid_t told;
    } cases[] = {{us, getpid()}, {NULL, -1}, {parent, -1}, {"", -1}, {"1", -1}, {"0", -1}, {"-1", -1}, {"junk", -1}};

    (void)unused;
    snprintf(us, sizeof us, "%ld", (long)getpid());
    snprintf(parent, sizeof parent, "%ld", (long)getppid());
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct process_identity told = caller_through_a_hook(cases[i].named);
        assert_int_equal(told.pid, cases[i].told);
        assert_int_equal(process_is_alive(told), cases[i].told > 0);
    }
}

/* The name is in /proc/PID/stat before the fields, and anybody chooses his. */
static void test_caller_is_the_parent_whatever_its_name(void **unused)
{
    static const char *const names[] = {"libvirtd", "a b c", ") Z 1 1", "(((", ")))", "a) S 1 (b", ""};

    (void)unused;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        pid_t pid;
        struct process_identity caller = start_caller(names[i], &pid);
        assert_int_equal(caller.pid, pid);
        assert_true(process_is_alive(caller));
        end_caller(pid);
        assert_false(process_is_alive(caller));
    }
}

/* Field 22 counts clock ticks since the boot. */
static void test_start_is_in_ticks_after_boot(void **unused)
{
    pid_t pid;
    struct timespec now;

    (void)unused;
    struct process_identity caller = start_caller("caller", &pid);
    clock_gettime(CLOCK_BOOTTIME, &now);
    end_caller(pid);
    assert_in_range((long long)now.tv_sec - (long long)caller.start / sysconf(_SC_CLK_TCK), 0, 60);
}

static void test_another_start_is_another_process(void **unused)
{
    pid_t pid;

    (void)unused;
    struct process_identity caller = start_caller("caller", &pid);
    assert_true(process_is_alive(caller));
    caller.start++;
    assert_false(process_is_alive(caller));
    end_caller(pid);
    assert_false(process_is_alive((struct process_identity){0, 0}));
    assert_false(process_is_alive((struct process_identity){-1, 0}));
}

static void test_a_zombie_runs_no_more(void **unused)
{
    siginfo_t info;
    pid_t pid;

    (void)unused;
    struct process_identity caller = start_caller("caller", &pid);
    kill(pid, SIGKILL);
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    assert_false(process_is_alive(caller));
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* The first process of a pid namespace, named NAME, with a /proc of its own. */
static _Noreturn void be_first(const char *name, int answer)
{
    if (mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) != 0 || mount("proc", "/proc", "proc", 0, NULL) != 0) {
        child_exit(1);
    }
    be_caller(name, answer);
}

static struct process_identity caller_is_first(const char *name)
{
    int answer[2];
    struct process_identity caller = {-1, 0};

    assert_int_equal(pipe(answer), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (unshare(CLONE_NEWPID | CLONE_NEWNS | (geteuid() == 0 ? 0 : CLONE_NEWUSER)) != 0) {
            child_exit(1);
        }
        pid_t first = fork();
        if (first == 0) {
            be_first(name, answer[1]);
        }
        close(answer[1]);
        waitpid(first, NULL, 0);
        child_exit(1);
    }
    close(answer[1]);
    if (read(answer[0], &caller, sizeof caller) != sizeof caller) {
        print_error("no pid namespace can be made here\n");
    }
    close(answer[0]);
    end_caller(pid);
    return caller;
}

/* Orphans are given to pid 1, so it is believed only where it is the daemon. */
static void test_first_process_as_caller(void **unused)
{
    (void)unused;
    assert_int_equal(caller_is_first("libvirtd").pid, 1);
    assert_int_equal(caller_is_first("virtqemud").pid, 1);
    assert_int_equal(caller_is_first("init").pid, 0);
    assert_int_equal(caller_is_first("libvirtd2").pid, 0);
    assert_int_equal(caller_is_first("init").start, 0);
}

static void test_pid_exists_on_the_simulated_host(void **unused)
{
    (void)unused;
    simulated_directory("/proc/4242");
    simulated_directory("/proc/0");
    assert_true(process_pid_exists(4242));
    assert_false(process_pid_exists(4243));
    assert_false(process_pid_exists(getpid()));
    assert_false(process_pid_exists(0));
    assert_false(process_pid_exists(-4242));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_caller_is_the_parent_whatever_its_name),
        cmocka_unit_test(test_caller_that_the_hook_names),
        cmocka_unit_test(test_start_is_in_ticks_after_boot),
        cmocka_unit_test(test_another_start_is_another_process),
        cmocka_unit_test(test_a_zombie_runs_no_more),
        cmocka_unit_test(test_first_process_as_caller),
        cmocka_unit_test(test_pid_exists_on_the_simulated_host),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
