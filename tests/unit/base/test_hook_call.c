/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hook_call.h"

static void test_deadline_is_believed_when_told_to(void **state)
{
    static const char *const junk[] = {"", "-1", "soon", "1.5", "9223372036854775808"};
    (void)state;

    setenv(HOOK_DEADLINE_VARIABLE, "123456789", 1);
    assert_int_equal(deadline_of_hook(), NO_DEADLINE);
    hook_call_believe_deadline();
    assert_int_equal(deadline_of_hook(), 123456789);
    for (size_t i = 0; i < sizeof junk / sizeof junk[0]; i++) {
        setenv(HOOK_DEADLINE_VARIABLE, junk[i], 1);
        hook_call_believe_deadline();
        assert_int_equal(deadline_of_hook(), NO_DEADLINE);
    }
    unsetenv(HOOK_DEADLINE_VARIABLE);
    hook_call_believe_deadline();
    assert_int_equal(deadline_of_hook(), NO_DEADLINE);
}

static void test_verdict_descriptor_is_open(void **state)
{
    static const char *const wrong[] = {"", "junk", "0", "1", "2", "-1", "1024", "4294967299"};
    char number[20];
    (void)state;

    unsetenv(HOOK_VERDICT_VARIABLE);
    assert_int_equal(hook_call_verdict_fd(), -1);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        setenv(HOOK_VERDICT_VARIABLE, wrong[i], 1);
        assert_int_equal(hook_call_verdict_fd(), -1);
    }
    int fd = dup(STDERR_FILENO);
    snprintf(number, sizeof number, "%d", fd);
    setenv(HOOK_VERDICT_VARIABLE, number, 1);
    assert_int_equal(hook_call_verdict_fd(), fd);
    close(fd);
    assert_int_equal(hook_call_verdict_fd(), -1);
    unsetenv(HOOK_VERDICT_VARIABLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deadline_is_believed_when_told_to),
        cmocka_unit_test(test_verdict_descriptor_is_open),
    };
    return cmocka_run_group_tests_name("base/hook_call", tests, NULL, NULL);
}
