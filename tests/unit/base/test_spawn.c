/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alarms.h"
#include "base/log.h"
#include "base/spawn.h"
#include "child.h"

enum { SHORT_MS = 200, LONG_MS = 20000 };

static int run_shell(const char *script, int64_t milliseconds, struct buffer *output, struct error *err)
{
    char *const argv[] = {"/bin/sh", "-c", (char *)script, NULL};

    return spawn_capture(argv, deadline_after_ms(milliseconds), output, err);
}

static void check_output(const char *script, const char *expected)
{
    struct buffer output = {0};
    struct error err;

    assert_int_equal(run_shell(script, LONG_MS, &output, &err), 0);
    assert_string_equal(output.data, expected);
    assert_int_equal(output.length, strlen(expected));
    buffer_free(&output);
}

static void check_failure(const char *script, enum status status, const char *expected)
{
    struct buffer output = {0};
    struct error err;

    assert_int_equal(run_shell(script, LONG_MS, &output, &err), -1);
    assert_string_equal(err.text, expected);
    assert_int_equal(err.status, status);
    assert_null(output.data);
}

/* A warning of the tool is not part of what it was asked for. */
static void test_output_is_stdout_alone(void **state)
{
    (void)state;
    check_output("echo one; echo two >&2; echo three", "one\nthree\n");
    check_output("echo warning >&2", "");
    check_output("exec 2>&-; echo one", "one\n");
    check_output(":", "");
}

static void complain_and_succeed(void)
{
    struct buffer output = {0};
    struct error err;
    log_open_verbose();
    if (run_shell("echo one; echo 'a warning' >&2; printf 'the\\tlast \n' >&2", LONG_MS, &output, &err) < 0) {
        exit(1);
    }
    buffer_free(&output);
}

static void test_last_warning_is_logged(void **state)
{
    char said[200];
    (void)state;

    assert_int_equal(child_run(complain_and_succeed, said, sizeof said), 99);
    assert_string_equal(said, "icn-hook: /bin/sh: the\\x09last\n");
}

static void test_environment_is_clean(void **state)
{
    (void)state;

    setenv("LD_BIND_NOT", "1", 1);
    unsetenv("ICN_SYSROOT");
    char *const argv[] = {"/usr/bin/env", NULL};
    struct buffer output = {0};
    struct error err;
    assert_int_equal(spawn_capture(argv, NO_DEADLINE, &output, &err), 0);
    assert_string_equal(output.data, "PATH=/usr/sbin:/usr/bin:/sbin:/bin\nLC_ALL=C\n");
    buffer_free(&output);

    setenv("ICN_SYSROOT", "/srv/host", 1);
    assert_int_equal(spawn_capture(argv, NO_DEADLINE, &output, &err), 0);
    assert_string_equal(output.data, "PATH=/usr/sbin:/usr/bin:/sbin:/bin\nLC_ALL=C\nICN_SYSROOT=/srv/host\n");
    buffer_free(&output);
    unsetenv("ICN_SYSROOT");
    unsetenv("LD_BIND_NOT");
}

static void test_child_gets_no_other_descriptor(void **state)
{
    (void)state;

    int leaking = dup(STDERR_FILENO);
    assert_true(leaking > 2);
    check_output("for fd in /proc/self/fd/*; do [ -e \"$fd\" ] && echo \"${fd##*/}\"; done; true", "0\n1\n2\n");
    check_output("readlink /proc/self/fd/0", "/dev/null\n");
    close(leaking);
}

/* 32 and 33 belong to libc; no program can set them back. */
static const unsigned long long LIBC_SIGNALS = 3ULL << 31;

static unsigned long long signal_set(const char *status, const char *field)
{
    const char *line = strstr(status, field);

    assert_non_null(line);
    return strtoull(line + strlen(field), NULL, 16);
}

static void test_child_has_default_signals(void **state)
{
    /* No shell: dash unblocks all signals by itself. */
    char *const argv[] = {"/bin/grep", "^Sig", "/proc/self/status", NULL};
    struct buffer output = {0};
    struct error err;
    sigset_t blocked;
    sigset_t old;
    (void)state;

    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigprocmask(SIG_BLOCK, &blocked, &old);
    assert_int_equal(spawn_capture(argv, NO_DEADLINE, &output, &err), 0);
    sigprocmask(SIG_SETMASK, &old, NULL);
    signal(SIGPIPE, SIG_DFL);
    assert_int_equal(signal_set(output.data, "SigBlk:"), 0);
    assert_int_equal(signal_set(output.data, "SigIgn:") & ~LIBC_SIGNALS, 0);
    buffer_free(&output);
}

static void test_child_leads_its_own_group(void **state)
{
    (void)state;
    check_output("set -- $(cut -d' ' -f5 /proc/$$/stat); [ \"$1\" = $$ ] && echo leader", "leader\n");
}

static void test_exit_status(void **state)
{
    (void)state;
    check_failure("exit 3", STATUS_HARDWARE, "/bin/sh ended with exit status 3");
    check_failure("echo first; echo 'second  '; echo; exit 1", STATUS_HARDWARE,
                  "/bin/sh ended with exit status 1: second");
    check_failure("echo why >&2; echo what; exit 1", STATUS_HARDWARE, "/bin/sh ended with exit status 1: why");
    check_failure("printf 'no\\033newline'; exit 1", STATUS_HARDWARE,
                  "/bin/sh ended with exit status 1: no\\x1bnewline");
}

static void test_death_by_signal(void **state)
{
    (void)state;
    check_failure("echo going; kill -TERM $$", STATUS_HARDWARE, "/bin/sh was killed by signal 15: going");
}

static void test_long_last_line_is_cut(void **state)
{
    char expected[400];
    struct buffer output = {0};
    struct error err;
    (void)state;

    assert_int_equal(run_shell("head -c 1000 /dev/zero | tr '\\0' x; exit 1", LONG_MS, &output, &err), -1);
    memset(expected, 'x', sizeof(expected));
    memcpy(expected, "/bin/sh ended with exit status 1: ", 34);
    expected[34 + 299] = '\0';
    assert_string_equal(err.text, expected);
}

static void check_cannot_run(const char *program, const char *expected)
{
    char *const argv[] = {(char *)program, NULL};
    struct buffer output = {0};
    struct error err;

    assert_int_equal(spawn_capture(argv, NO_DEADLINE, &output, &err), -1);
    assert_int_equal(err.status, STATUS_HARDWARE);
    assert_string_equal(err.text, expected);
}

static void test_program_that_cannot_run(void **state)
{
    (void)state;
    check_cannot_run("/nonexistent/tool", "cannot run /nonexistent/tool: No such file or directory");
    check_cannot_run("/etc/passwd", "cannot run /etc/passwd: Permission denied");
}

static void test_no_pipe(void **state)
{
    char *const argv[] = {"/bin/true", NULL};
    struct buffer output = {0};
    struct error err;
    struct rlimit old;
    (void)state;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    int next = dup(STDERR_FILENO);
    close(next);
    for (rlim_t room = 0; room < 4; room++) {
        struct rlimit few = {.rlim_cur = (rlim_t)next + room, .rlim_max = old.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
        int result = spawn_capture(argv, NO_DEADLINE, &output, &err);
        int again = dup(STDERR_FILENO);
        close(again);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
        assert_int_equal(result, -1);
        assert_string_equal(err.text, "cannot make a pipe for /bin/true: Too many open files");
        assert_int_equal(err.status, STATUS_HARDWARE);
        assert_int_equal(again, room == 0 ? -1 : next);
    }
}

static void test_the_end_is_seen_at_once(void **state)
{
    struct buffer output = {0};
    struct error err;
    (void)state;

    int64_t begin = deadline_after_ms(0);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(run_shell("exec >/dev/null 2>&1; exec sleep 0.01", LONG_MS, &output, &err), 0);
        buffer_free(&output);
    }
    int64_t taken = deadline_after_ms(0) - begin;
    assert_in_range(taken, 200, LONG_MS);
}

/* A process outside the group writes on for ever. */
static void test_a_flood_from_outside_ends_with_the_child(void **state)
{
    struct buffer output = {0};
    struct error err;
    (void)state;

    assert_int_equal(run_shell("setsid yes & sleep 0.2", LONG_MS, &output, &err), 0);
    assert_true(output.length > 0);
    buffer_free(&output);
}

static void check_large_output(const char *script, size_t expected)
{
    struct buffer output = {0};
    struct error err;

    assert_int_equal(run_shell(script, LONG_MS, &output, &err), 0);
    assert_int_equal(output.length, expected);
    assert_int_equal(output.data[0], 'y');
    assert_int_equal(output.data[expected - 1], '\n');
    assert_int_equal(output.data[expected], '\0');
    buffer_free(&output);
}

static void test_large_output(void **state)
{
    (void)state;
    check_large_output("yes | head -c 1048576", 1 << 20);
    check_large_output("yes | head -c 20000000", 16 << 20);
}

/* True when nobody has the pipe's other end open any more. */
static bool everybody_is_gone(int read_end)
{
    char byte;

    return read(read_end, &byte, 1) == 0;
}

/* The script's processes hold a FIFO open, so that its end tells of their
 * death, whatever became of their ids. */
static void check_group_is_killed(const char *form, int64_t milliseconds, int expected_result, struct error *err)
{
    char directory[] = "/tmp/icn-hook-spawn.XXXXXX";
    char fifo[100];
    char script[400];
    struct buffer output = {0};

    assert_non_null(mkdtemp(directory));
    snprintf(fifo, sizeof(fifo), "%s/fifo", directory);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    int read_end = open(fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(read_end >= 0);
    snprintf(script, sizeof(script), "exec 9>%s; %s", fifo, form);

    assert_int_equal(run_shell(script, milliseconds, &output, err), expected_result);
    fcntl(read_end, F_SETFL, 0);
    assert_true(everybody_is_gone(read_end));
    close(read_end);
    unlink(fifo);
    rmdir(directory);
    buffer_free(&output);
}

static void test_deadline_kills_the_group(void **state)
{
    struct error err;
    (void)state;

    check_group_is_killed("sleep 1000 & trap '' TERM; echo busy; sleep 1000", SHORT_MS, -1, &err);
    assert_string_equal(err.text, "/bin/sh did not end in time and was killed");
    assert_int_equal(err.status, STATUS_BUSY);

    check_group_is_killed("exec >/dev/null 2>&1; sleep 1000", SHORT_MS, -1, &err);
    assert_int_equal(err.status, STATUS_BUSY);

    check_group_is_killed("yes", SHORT_MS, -1, &err);
    assert_int_equal(err.status, STATUS_BUSY);
}

static void test_what_the_tool_leaves_behind_is_killed(void **state)
{
    struct error err;
    (void)state;
    check_group_is_killed("sleep 1000 & echo done", LONG_MS, 0, &err);
}

static void test_goes_on_after_signals(void **state)
{
    (void)state;

    alarms_begin();
    check_output("echo one; sleep 0.1; echo two; sleep 0.1", "one\ntwo\n");
    alarms_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_output_is_stdout_alone),
        cmocka_unit_test(test_last_warning_is_logged),
        cmocka_unit_test(test_environment_is_clean),
        cmocka_unit_test(test_child_gets_no_other_descriptor),
        cmocka_unit_test(test_child_has_default_signals),
        cmocka_unit_test(test_child_leads_its_own_group),
        cmocka_unit_test(test_exit_status),
        cmocka_unit_test(test_death_by_signal),
        cmocka_unit_test(test_long_last_line_is_cut),
        cmocka_unit_test(test_program_that_cannot_run),
        cmocka_unit_test(test_no_pipe),
        cmocka_unit_test(test_the_end_is_seen_at_once),
        cmocka_unit_test(test_a_flood_from_outside_ends_with_the_child),
        cmocka_unit_test(test_large_output),
        cmocka_unit_test(test_deadline_kills_the_group),
        cmocka_unit_test(test_what_the_tool_leaves_behind_is_killed),
        cmocka_unit_test(test_goes_on_after_signals),
    };
    return cmocka_run_group_tests_name("base/spawn", tests, NULL, NULL);
}
