/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "doctor/facts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <stdlib.h>
#include <sys/stat.h>

#include "../host/simulated_host.h"

static void test_text(void **state)
{
    (void)state;
    simulated_text("/sys/a", "one\n");
    simulated_text("/sys/b", "one\ntwo");
    simulated_text("/sys/c", "");
    char *text = fact_text("/sys/%c", 'a');
    assert_string_equal(text, "one");
    free(text);
    text = fact_text("/sys/b");
    assert_string_equal(text, "one\ntwo");
    free(text);
    text = fact_text("/sys/c");
    assert_string_equal(text, "");
    free(text);
    assert_null(fact_text("/sys/d"));
    assert_true(fact_exists("/sys/a"));
    assert_false(fact_exists("/sys/d"));
}

static void test_lists(void **state)
{
    (void)state;
    assert_true(fact_list_has("0-3,8", 0));
    assert_true(fact_list_has("0-3,8", 3));
    assert_true(fact_list_has("0-3,8", 8));
    assert_false(fact_list_has("0-3,8", 4));
    assert_false(fact_list_has("0-3,8", 9));
    assert_false(fact_list_has("1-4,^3,6", 3));
    assert_true(fact_list_has("1-4,^3,6", 4));
    assert_true(fact_list_has("^3,3", 3));
    assert_false(fact_list_has("", 0));
    assert_false(fact_list_has("2x,5", 5));
}

static void test_safety(void **state)
{
    (void)state;
    simulated_text("/etc/x", "");
    assert_int_equal(chmod(simulated_path("/etc/x"), 0644), 0);
    assert_true(fact_is_safe("/etc/x"));
    assert_int_equal(chmod(simulated_path("/etc/x"), 0664), 0);
    assert_false(fact_is_safe("/etc/x"));
    assert_int_equal(chmod(simulated_path("/etc/x"), 0646), 0);
    assert_false(fact_is_safe("/etc/x"));
    assert_false(fact_is_safe("/etc/y"));
}

#define EACH(test) cmocka_unit_test_setup(test, simulated_host_clear)

int main(void)
{
    const struct CMUnitTest tests[] = {EACH(test_text), EACH(test_lists), EACH(test_safety)};
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
