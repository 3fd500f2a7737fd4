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

/* In a child of the process that is asked about: tells which daemon called, 0 if none. */
static _Noreturn void tell_caller(int answer)
{
    struct process_identity daemon = {0};
    if (!process_daemon_behind_call(&daemon) && daemon.pid != 0) {
        child_exit(1);
    }
    child_exit(write(answer, &daemon, sizeof daemon) == sizeof daemon ? 0 : 1);
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

/* Starts a process named NAME, and gives the daemon that its child finds, 0 if none. */
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

/* The name is in /proc/PID/stat before the fields, and may be anything. */
static void test_process_of_any_name(void **unused)
{
    static const char *const names[] = {"libvirtd", "a b c", ") Z 1 1", "(((", ")))", "a) S 1 (b", ""};
    (void)unused;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        pid_t pid;
        pid_t told = start_caller(names[i], &pid).pid;
        struct process_identity daemon = {.pid = pid, .start = real_process_start(pid)};
        assert_int_equal(process_daemon_state(daemon), DAEMON_LIVES);
        end_caller(pid);
        assert_int_equal(process_daemon_state(daemon), DAEMON_GONE);
        assert_int_equal(told, i == 0 ? pid : 0);
    }
}

/* Field 22 counts clock ticks since the boot. */
static void test_start_is_in_ticks_after_boot(void **unused)
{
    pid_t pid;
    struct timespec now;
    (void)unused;
    struct process_identity daemon = start_caller("libvirtd", &pid);
    clock_gettime(CLOCK_BOOTTIME, &now);
    assert_int_equal(daemon.start, real_process_start(pid));
    end_caller(pid);
    assert_in_range((long long)now.tv_sec - (long long)daemon.start / sysconf(_SC_CLK_TCK), 0, 60);
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

/* Orphans are given to pid 1, so it is believed only where it is the daemon, as in a container. */
static void test_first_process_as_daemon(void **unused)
{
    (void)unused;
    struct process_identity found = caller_is_first("virtqemud");
    assert_int_equal(found.pid, 1);
    assert_true(found.start > 0);
    assert_int_equal(caller_is_first("libvirtd").pid, 1);
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

/* In a child: tells which daemon it finds, if need be after its PARENT has ended. */
static _Noreturn void tell_daemon(int answer, bool is_lost, pid_t parent)
{
    struct process_identity daemon = {-1, 0};
    while (is_lost && getppid() == parent) {
        usleep(1000);
    }
    if (!process_daemon_behind_call(&daemon) && daemon.pid != -1) {
        child_exit(1);
    }
    child_exit(write(answer, &daemon, sizeof daemon) == sizeof daemon ? 0 : 1);
}

/* A line of processes with these names, of which the last one's child tells.  Each ends
 * at once if the daemon is to be lost. */
static _Noreturn void descend(const char *const *names, int answer, bool is_lost)
{
    pid_t parent = getpid();
    for (; *names; names++) {
        prctl(PR_SET_NAME, *names);
        parent = getpid();
        pid_t child = fork();
        if (child != 0) {
            if (!is_lost) {
                waitpid(child, NULL, 0);
            }
            child_exit(0);
        }
    }
    tell_daemon(answer, is_lost, parent);
}

/* What the last of the line finds; *first is the pid of the first. */
static struct process_identity find_daemon(const char *const *names, bool is_lost, pid_t *first)
{
    int answer[2];
    struct process_identity found = {-2, 0};
    assert_int_equal(pipe(answer), 0);
    *first = fork();
    assert_true(*first >= 0);
    if (*first == 0) {
        descend(names, answer[1], is_lost);
    }
    close(answer[1]);
    assert_int_equal(read(answer[0], &found, sizeof found), sizeof found);
    close(answer[0]);
    while (waitpid(-1, NULL, 0) > 0) {
    }
    return found;
}

static void test_daemon_behind_any_dispatcher(void **unused)
{
    static const char *const lines[][5] = {
        {"libvirtd", NULL},
        {"virtqemud", "qemu", NULL},
        {"libvirtd", "sh", "run-parts", "qemu", NULL},
        {"virtqemud", ") R 1 (libvirt", "python3", NULL},
    };
    static const char *const strangers[][4] = {
        {"libvirt", NULL}, {"libvirtd2", "sh", NULL}, {"virtlogd", NULL}, {"virtxend", "qemu", NULL}, {"", NULL},
    };
    pid_t first;
    (void)unused;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct process_identity found = find_daemon(lines[i], false, &first);
        assert_int_equal(found.pid, first);
        assert_true(found.start > 0);
    }
    for (size_t i = 0; i < sizeof strangers / sizeof strangers[0]; i++) {
        assert_int_equal(find_daemon(strangers[i], false, &first).pid, -1);
    }
}

/* Two daemons in the line: the one that is nearer has called. */
static void test_nearest_daemon(void **unused)
{
    static const char *const line[] = {"libvirtd", "sh", "virtqemud", "qemu", NULL};
    pid_t first;
    (void)unused;
    struct process_identity found = find_daemon(line, false, &first);
    assert_true(found.pid > 0);
    assert_int_not_equal(found.pid, first);
}

static void test_ancestors_are_bounded(void **unused)
{
    const char *line[42] = {"libvirtd"};
    pid_t first;
    (void)unused;
    for (int i = 1; i < 41; i++) {
        line[i] = "sh";
    }
    assert_int_equal(find_daemon(line, false, &first).pid, -1);
    line[32] = NULL;
    struct process_identity found = find_daemon(line, false, &first);
    assert_int_equal(found.pid, first);
    line[32] = "sh";
    line[33] = NULL;
    assert_int_equal(find_daemon(line, false, &first).pid, -1);
}

/* The daemon crashed while its hook ran: whoever adopts the hook is not it. */
static void test_orphan(void **unused)
{
    static const char *const line[] = {"libvirtd", NULL};
    static const char *const dispatched[] = {"libvirtd", "sh", NULL};
    pid_t first;
    (void)unused;
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    assert_int_equal(find_daemon(line, true, &first).pid, -1);
    assert_int_equal(find_daemon(dispatched, true, &first).pid, -1);
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
}

static void test_daemon_state(void **unused)
{
    siginfo_t info;
    pid_t pid;
    (void)unused;
    struct process_identity daemon = start_caller("libvirtd", &pid);
    assert_int_equal(process_daemon_state(daemon), DAEMON_LIVES);
    assert_int_equal(process_daemon_state((struct process_identity){pid, daemon.start + 1}), DAEMON_GONE);
    assert_int_equal(process_daemon_state((struct process_identity){pid, 0}), DAEMON_UNKNOWN);
    kill(pid, SIGKILL);
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    assert_int_equal(process_daemon_state(daemon), DAEMON_GONE);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(process_daemon_state(daemon), DAEMON_GONE);
    assert_int_equal(process_daemon_state((struct process_identity){0, 0}), DAEMON_UNKNOWN);
    assert_int_equal(process_daemon_state((struct process_identity){-1, 1}), DAEMON_UNKNOWN);
}

/* In a child, in a mount namespace where /proc hides all processes. */
static _Noreturn void look_in_hidden_proc(struct process_identity lives, struct process_identity gone, int answer)
{
    enum daemon_state states[5];
    struct process_identity none = {-1, 0};
    if (unshare(CLONE_NEWNS | (geteuid() == 0 ? 0 : CLONE_NEWUSER)) != 0 ||
        mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", "/proc", "tmpfs", MS_RDONLY, NULL) != 0) {
        child_exit(1);
    }
    states[0] = process_daemon_state(lives);
    states[1] = process_daemon_state(gone);
    states[2] = process_daemon_behind_call(&none) ? DAEMON_LIVES : DAEMON_UNKNOWN;
    unsetenv("ICN_SYSROOT");
    states[3] = process_pid_exists(lives.pid) && process_lives(lives) ? DAEMON_LIVES : DAEMON_UNKNOWN;
    states[4] = process_pid_exists(gone.pid) ? DAEMON_LIVES : DAEMON_GONE;
    child_exit(write(answer, states, sizeof states) == sizeof states ? 0 : 1);
}

/* What is hidden (hidepid) is not gone. */
static void test_hidden_daemon(void **unused)
{
    int answer[2];
    pid_t gone_pid;
    pid_t lives_pid;
    enum daemon_state states[5];
    (void)unused;
    struct process_identity gone = start_caller("libvirtd", &gone_pid);
    struct process_identity lives = start_caller("libvirtd", &lives_pid);
    end_caller(gone_pid);
    assert_int_equal(pipe(answer), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        look_in_hidden_proc(lives, gone, answer[1]);
    }
    close(answer[1]);
    assert_int_equal(read(answer[0], states, sizeof states), sizeof states);
    close(answer[0]);
    assert_int_equal(waitpid(child, NULL, 0), child);
    end_caller(lives_pid);
    assert_int_equal(states[0], DAEMON_UNKNOWN);
    assert_int_equal(states[1], DAEMON_GONE);
    assert_int_equal(states[2], DAEMON_UNKNOWN);
    assert_int_equal(states[3], DAEMON_LIVES);
    assert_int_equal(states[4], DAEMON_GONE);
}

static void simulate_stat(int pid, const char *comm, const char *state, const char *threads, const char *start)
{
    char path[64];
    char text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    snprintf(text, sizeof text, "%d (%s) %s 1 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 %s 0 %s 0 0\n", pid, comm, state,
             threads, start);
    simulated_text(path, text);
}

static void test_processes_of_the_simulated_host(void **unused)
{
    struct process_identity found;
    unsigned long long start = 77;
    (void)unused;
    simulate_stat(301, "qemu-system-x86", "S", "5", "9001");
    simulate_stat(302, "qemu) Z 1 (", "Z", "1", "9002");
    simulate_stat(303, "qemu", "Z", "2", "9003"); /* its first thread has ended, and others hold its files */
    simulated_directory("/proc/304");
    assert_true(process_find(301, &found));
    assert_int_equal(found.pid, 301);
    assert_int_equal(found.start, 9001);
    assert_false(process_find(302, &found));
    assert_int_equal(found.start, 9002);
    assert_true(process_find(303, &found));
    assert_true(process_find(304, &found));
    assert_int_equal(found.start, 0);
    assert_false(process_find(305, &found));
    assert_int_equal(found.pid, 305);
    assert_false(process_find(0, &found));
    assert_false(process_find(-301, &found));

    assert_true(process_lives((struct process_identity){301, 9001}));
    assert_true(process_lives((struct process_identity){301, 0}));
    assert_false(process_lives((struct process_identity){301, 9002}));
    assert_false(process_lives((struct process_identity){302, 9002}));
    assert_true(process_lives((struct process_identity){304, 9004}));
    assert_false(process_lives((struct process_identity){305, 9005}));
    assert_false(process_lives((struct process_identity){0, 0}));

    assert_true(process_start_ticks(302, &start));
    assert_int_equal(start, 9002);
    start = 77;
    assert_false(process_start_ticks(304, &start));
    assert_int_equal(start, 77);
    simulated_text("/proc/306/stat", "306 (qemu) S 1 1\n");
    assert_false(process_start_ticks(306, &start));
    simulated_text("/proc/306/stat", "306 ) S (\n");
    assert_false(process_start_ticks(306, &start));
    simulated_text("/proc/306/stat", "306 (qemu)\n");
    assert_false(process_start_ticks(306, &start));
}

/* On a real host a hidden process still exists. */
static void test_pid_exists_on_the_real_host(void **unused)
{
    pid_t pid;
    (void)unused;
    (void)start_caller("qemu", &pid);
    const char *sysroot = strdup(getenv("ICN_SYSROOT"));
    unsetenv("ICN_SYSROOT");
    bool existed = process_pid_exists(pid) && process_pid_exists(1);
    end_caller(pid);
    bool exists = process_pid_exists(pid);
    setenv("ICN_SYSROOT", sysroot, 1);
    free((char *)sysroot);
    assert_true(existed);
    assert_false(exists);
}

static const struct bdf card = {.bus = 8};

/* "PID COMMAND" of the holder, or "nobody". */
static const char *holder(int iommu_group)
{
    static char text[128];
    char command[PROCESS_COMMAND_SIZE] = "";
    pid_t pid = 0;
    if (!process_holder_of(iommu_group, card, &pid, command)) {
        return "nobody";
    }
    snprintf(text, sizeof text, "%ld %s", (long)pid, command);
    return text;
}

static void test_holder(void **unused)
{
    (void)unused;
    assert_string_equal(holder(14), "nobody");
    simulated_link("/proc/401/fd/3", "/dev/vfio/vfio");
    simulated_link("/proc/401/fd/4", "/dev/vfio/1");
    simulated_link("/proc/401/fd/5", "/dev/vfio/140");
    simulated_link("/proc/self/fd/5", "/dev/vfio/14");
    simulated_directory("/proc/402"); /* its open files are not ours to see */
    assert_string_equal(holder(14), "nobody");
    simulated_link("/proc/403/fd/11", "/dev/vfio/14");
    assert_string_equal(holder(14), "403 unknown command");
    simulated_text("/proc/403/comm", "cloud-hyper\x1bvisor\n");
    assert_string_equal(holder(14), "403 cloud-hyper\\x1bvisor");
    assert_string_equal(holder(15), "nobody");
    assert_string_equal(holder(-1), "nobody");
}

/* Through iommufd there is no group, and the number is the kernel's. */
static void test_holder_through_iommufd(void **unused)
{
    (void)unused;
    simulated_directory("/sys/bus/pci/devices/0000:08:00.0/vfio-dev/vfio3");
    simulated_text("/proc/404/comm", "qemu-system-x86\n");
    simulated_link("/proc/404/fd/9", "/dev/vfio/devices/vfio30");
    assert_string_equal(holder(14), "nobody");
    simulated_link("/proc/404/fd/10", "/dev/vfio/devices/vfio3");
    assert_string_equal(holder(14), "404 qemu-system-x86");
    assert_string_equal(holder(-1), "404 qemu-system-x86");
    simulated_link("/proc/400/fd/8", "/dev/vfio/noiommu-14");
    assert_string_equal(holder(14), "400 unknown command");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_process_of_any_name),
        cmocka_unit_test(test_start_is_in_ticks_after_boot),
        cmocka_unit_test(test_daemon_behind_any_dispatcher),
        cmocka_unit_test(test_nearest_daemon),
        cmocka_unit_test(test_ancestors_are_bounded),
        cmocka_unit_test(test_orphan),
        cmocka_unit_test(test_daemon_state),
        cmocka_unit_test(test_hidden_daemon),
        cmocka_unit_test(test_first_process_as_daemon),
        cmocka_unit_test_setup(test_pid_exists_on_the_simulated_host, simulated_host_clear),
        cmocka_unit_test_setup(test_processes_of_the_simulated_host, simulated_host_clear),
        cmocka_unit_test(test_pid_exists_on_the_real_host),
        cmocka_unit_test_setup(test_holder, simulated_host_clear),
        cmocka_unit_test_setup(test_holder_through_iommufd, simulated_host_clear),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
