/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <time.h>

#include "base/file.h"

static void test_left_counts_down(void **state)
{
    (void)state;

    int64_t deadline = deadline_after_ms(10000);
    int64_t left = deadline_left_ms(deadline);
    assert_in_range(left, 5000, 10000);

    struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};
    while (nanosleep(&pause, &pause) != 0 && errno == EINTR) {
    }
    assert_in_range(deadline_left_ms(deadline), 0, left - 15);
}

static void test_left_is_never_negative(void **state)
{
    (void)state;
    assert_int_equal(deadline_left_ms(deadline_after_ms(0)), 0);
    assert_int_equal(deadline_left_ms(deadline_after_ms(-5000)), 0);
    assert_int_equal(deadline_left_ms(0), 0);
}

static void test_clock_is_the_monotonic_one(void **state)
{
    struct timespec now;
    (void)state;

    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t expected = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    assert_in_range(deadline_after_ms(0), expected, expected + 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_left_counts_down),
        cmocka_unit_test(test_left_is_never_negative),
        cmocka_unit_test(test_clock_is_the_monotonic_one),
    };
    return cmocka_run_group_tests_name("base/deadline", tests, NULL, NULL);
}
