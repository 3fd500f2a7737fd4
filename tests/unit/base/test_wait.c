/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "alarms.h"
#include "base/file.h"
#include "base/spawn.h"

enum { SHORT_MS = 200, LONG_MS = 20000 };

static pid_t start_child(useconds_t lifetime)
{
    pid_t pid = fork();
    if (pid == 0) {
        usleep(lifetime);
        _exit(7);
    }
    assert_true(pid > 0);
    return pid;
}

static void test_a_child_that_ends(void **state)
{
    siginfo_t facts = {.si_pid = 0};
    (void)state;

    pid_t pid = start_child(50000);
    assert_false(wait_has_ended(pid));
    assert_true(wait_for_end(pid, NO_DEADLINE));
    assert_true(wait_has_ended(pid));
    assert_true(wait_for_end(pid, deadline_after_ms(0)));
    assert_int_equal(waitid(P_PID, (id_t)pid, &facts, WEXITED), 0);
    assert_int_equal(facts.si_status, 7);
}

static void test_a_child_that_does_not_end(void **state)
{
    (void)state;

    pid_t pid = start_child(1000000000);
    int64_t begin = deadline_after_ms(0);
    alarms_begin();
    assert_false(wait_for_end(pid, deadline_after_ms(SHORT_MS)));
    alarms_end();
    assert_in_range(deadline_after_ms(0) - begin, SHORT_MS, LONG_MS);
    kill(pid, SIGKILL);
    assert_true(wait_for_end(pid, deadline_after_ms(LONG_MS)));
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* As where there is no pidfd. */
static void test_timeout_of_poll(void **state)
{
    enum { A_PIDFD = 5 };
    (void)state;

    assert_int_equal(wait_poll_timeout(NO_DEADLINE, A_PIDFD), INT_MAX);
    assert_int_equal(wait_poll_timeout(INT64_MAX, A_PIDFD), INT_MAX);
    assert_in_range(wait_poll_timeout(deadline_after_ms(LONG_MS), A_PIDFD), LONG_MS / 2, LONG_MS);
    assert_int_equal(wait_poll_timeout(deadline_after_ms(-1), A_PIDFD), 0);
    assert_int_equal(wait_poll_timeout(NO_DEADLINE, -1), WAIT_MOMENT_MS);
    assert_int_equal(wait_poll_timeout(deadline_after_ms(LONG_MS), -1), WAIT_MOMENT_MS);
    assert_in_range(wait_poll_timeout(deadline_after_ms(5), -1), 0, 5);
}

static void test_no_pidfd(void **state)
{
    (void)state;
    assert_int_equal(wait_open_pidfd(-1), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_child_that_ends),
        cmocka_unit_test(test_a_child_that_does_not_end),
        cmocka_unit_test(test_timeout_of_poll),
        cmocka_unit_test(test_no_pidfd),
    };
    return cmocka_run_group_tests_name("base/wait", tests, NULL, NULL);
}
