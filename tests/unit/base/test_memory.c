/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/memory.h"
#include "child.h"

/* Under ASan an impossible size must give NULL too, as it does with libc. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static const char complaint[] = "icn-hook: out of memory; free some and try again\n";

/* The sanitizer's own warning may stand in front of the line. */
static void assert_complains(const char *output)
{
    size_t length = strlen(output);

    assert_true(length >= strlen(complaint));
    assert_string_equal(output + length - strlen(complaint), complaint);
}

static void test_alloc_zeroes(void **state)
{
    static const char zeros[600];
    (void)state;

    char *block = memory_alloc(6, 100);
    assert_memory_equal(block, zeros, 600);
    free(block);
}

static void test_nothing_is_a_block_too(void **state)
{
    (void)state;

    CLEANUP_FREE void *none = memory_alloc(0, 8);
    CLEANUP_FREE void *empty = memory_alloc(8, 0);
    assert_non_null(none);
    assert_non_null(empty);
    none = memory_grow(none, 0, 8);
    empty = memory_grow(empty, 8, 0);
    assert_non_null(none);
    assert_non_null(empty);
}

static void test_grow_keeps_the_content(void **state)
{
    (void)state;

    char *block = memory_grow(NULL, 3, 1);
    memcpy(block, "ab", 3);
    block = memory_grow(block, 100000, 1);
    assert_string_equal(block, "ab");
    free(block);
}

static void test_copy_text(void **state)
{
    const char source[] = "some text";
    (void)state;

    char *copy = memory_copy_text(source);
    assert_string_equal(copy, source);
    assert_ptr_not_equal(copy, source);
    free(copy);
}

/* volatile: the compiler must not see an impossible size. */
static volatile size_t half_of_everything = SIZE_MAX / 2 + 1;

static void alloc_too_much(void)
{
    free(memory_alloc(half_of_everything, 2));
}

static void grow_too_much(void)
{
    memory_set_failure_status(STATUS_OK);
    free(memory_grow(NULL, half_of_everything, 2));
}

static void alloc_too_much_unheard(void)
{
    close(STDERR_FILENO);
    alloc_too_much();
}

static void test_out_of_memory_ends_the_program(void **state)
{
    char output[4096];
    (void)state;

    assert_int_equal(child_run(alloc_too_much, output, sizeof(output)), STATUS_HARDWARE);
    assert_complains(output);
}

static void test_out_of_memory_in_an_operation_that_must_not_fail(void **state)
{
    char output[4096];
    (void)state;

    assert_int_equal(child_run(grow_too_much, output, sizeof(output)), STATUS_OK);
    assert_complains(output);
}

static void test_out_of_memory_without_stderr(void **state)
{
    char output[4096];
    (void)state;

    assert_int_equal(child_run(alloc_too_much_unheard, output, sizeof(output)), STATUS_HARDWARE);
    assert_string_equal(output, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alloc_zeroes),
        cmocka_unit_test(test_nothing_is_a_block_too),
        cmocka_unit_test(test_grow_keeps_the_content),
        cmocka_unit_test(test_copy_text),
        cmocka_unit_test(test_out_of_memory_ends_the_program),
        cmocka_unit_test(test_out_of_memory_in_an_operation_that_must_not_fail),
        cmocka_unit_test(test_out_of_memory_without_stderr),
    };
    return cmocka_run_group_tests_name("base/memory", tests, NULL, NULL);
}
