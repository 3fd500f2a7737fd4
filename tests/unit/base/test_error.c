/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/error.h"

static void test_set_formats_and_returns_minus_one(void **state)
{
    struct error err;
    (void)state;

    assert_int_equal(error_set(&err, STATUS_CONFLICT, "card %d: %s", 3, "taken"), -1);
    assert_int_equal(err.status, STATUS_CONFLICT);
    assert_string_equal(err.text, "card 3: taken");
}

static void test_set_escapes_control_characters(void **state)
{
    struct error err;
    (void)state;

    error_set(&err, STATUS_INVALID, "a\nb\tc\x7f d\\e %s", "\x1b[1m");
    assert_string_equal(err.text, "a\\x0ab\\x09c\\x7f d\\e \\x1b[1m");
}

static void test_set_may_use_its_own_text(void **state)
{
    struct error err;
    (void)state;

    error_set(&err, STATUS_INVALID, "line\n1");
    error_set(&err, STATUS_HARDWARE, "outer (%s)", err.text);
    assert_string_equal(err.text, "outer (line\\x0a1)");
    assert_int_equal(err.status, STATUS_HARDWARE);
}

static void test_set_cuts_what_does_not_fit(void **state)
{
    struct error err;
    char source[5000];
    (void)state;

    memset(source, '\n', sizeof(source));
    source[sizeof(source) - 1] = '\0';
    error_set(&err, STATUS_INVALID, "%s", source);
    assert_int_equal(strlen(err.text), 2044);
    assert_string_equal(err.text + 2040, "\\x0a");
}

static void test_set_errno_appends_the_reason(void **state)
{
    struct error err;
    (void)state;

    assert_int_equal(error_set_errno(&err, STATUS_HARDWARE, ENOENT, "cannot open %s", "/a\nb"), -1);
    assert_string_equal(err.text, "cannot open /a\\x0ab: No such file or directory");
    assert_int_equal(err.status, STATUS_HARDWARE);
}

static void test_wrap_keeps_the_status(void **state)
{
    struct error err;
    (void)state;

    error_set(&err, STATUS_BUSY, "locked");
    assert_int_equal(error_wrap(&err, "VM %s\n", "vm1"), -1);
    assert_string_equal(err.text, "VM vm1\\x0a: locked");
    assert_int_equal(err.status, STATUS_BUSY);
}

static void test_wrap_does_not_escape_twice(void **state)
{
    struct error err;
    (void)state;

    error_set(&err, STATUS_INVALID, "a\nb");
    error_wrap(&err, "one");
    error_wrap(&err, "two");
    assert_string_equal(err.text, "two: one: a\\x0ab");
}

static void test_append_keeps_the_status(void **state)
{
    struct error err;
    (void)state;

    error_set(&err, STATUS_UNVERIFIED, "a\nb");
    assert_int_equal(error_append(&err, "; %s\t%d", err.text, 7), -1);
    assert_string_equal(err.text, "a\\x0ab; a\\x0ab\\x097");
    assert_int_equal(err.status, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_formats_and_returns_minus_one), cmocka_unit_test(test_set_escapes_control_characters),
        cmocka_unit_test(test_set_may_use_its_own_text),          cmocka_unit_test(test_set_cuts_what_does_not_fit),
        cmocka_unit_test(test_set_errno_appends_the_reason),      cmocka_unit_test(test_wrap_keeps_the_status),
        cmocka_unit_test(test_wrap_does_not_escape_twice),        cmocka_unit_test(test_append_keeps_the_status),
    };
    return cmocka_run_group_tests_name("base/error", tests, NULL, NULL);
}
