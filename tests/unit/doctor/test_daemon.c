/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "doctor/facts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <unistd.h>

#include "../host/simulated_host.h"

/* A process that started 50 seconds after the boot. */
static void run_process(int pid, const char *comm)
{
    char path[64];
    char text[256];
    snprintf(path, sizeof path, "/proc/%d/comm", pid);
    snprintf(text, sizeof text, "%s\n", comm);
    simulated_text(path, text);
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    snprintf(text, sizeof text, "%d (%s) S 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 %ld 0 0\n", pid, comm,
             50 * sysconf(_SC_CLK_TCK));
    simulated_text(path, text);
}

static int start(void **state)
{
    simulated_host_clear(state);
    simulated_text("/proc/stat", "cpu 1\nbtime 1000\nprocesses 1\n");
    return 0;
}

static void test_none(void **state)
{
    struct daemon daemons[DAEMON_MAX];
    (void)state;
    run_process(7, "qemu-system-x86");
    assert_int_equal(daemon_find(daemons), 0);
}

static void test_both(void **state)
{
    struct daemon daemons[DAEMON_MAX];
    (void)state;
    run_process(7, "virtqemud");
    run_process(8, "libvirtd");
    assert_int_equal(daemon_find(daemons), 2);
    assert_string_equal(daemons[0].name, "libvirtd");
    assert_int_equal(daemons[0].pid, 8);
    assert_int_equal(daemons[0].started, 1050);
    assert_int_equal(daemons[0].ticks, 50 * sysconf(_SC_CLK_TCK));
    assert_string_equal(daemons[1].name, "virtqemud");
    assert_int_equal(daemons[1].pid, 7);
}

/* Another libvirtd may run in a container; a pid file may be left over. */
static void test_pid_file(void **state)
{
    struct daemon daemons[DAEMON_MAX];
    (void)state;
    run_process(7, "libvirtd");
    run_process(8, "libvirtd");
    run_process(9, "bash");
    for (int pid = 7; pid <= 8; pid++) {
        char text[16];
        snprintf(text, sizeof text, "%d\n", pid);
        simulated_text("/run/libvirtd.pid", text);
        assert_int_equal(daemon_find(daemons), 1);
        assert_int_equal(daemons[0].pid, pid);
    }
    simulated_text("/run/libvirtd.pid", "9\n");
    assert_int_equal(daemon_find(daemons), 1);
    assert_int_not_equal(daemons[0].pid, 9);
}

static void test_unknown_start(void **state)
{
    struct daemon daemons[DAEMON_MAX];
    (void)state;
    run_process(7, "libvirtd");
    simulated_text("/proc/stat", "cpu 1\n");
    assert_int_equal(daemon_find(daemons), 1);
    assert_int_equal(daemons[0].started, -1);
    start(state);
    run_process(7, "libvirtd");
    simulated_text("/proc/7/stat", "7 (libvirtd) S");
    assert_int_equal(daemon_find(daemons), 1);
    assert_int_equal(daemons[0].started, -1);
}

#define EACH(test) cmocka_unit_test_setup(test, start)

int main(void)
{
    const struct CMUnitTest tests[] = {EACH(test_none), EACH(test_both), EACH(test_pid_file), EACH(test_unknown_start)};
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
