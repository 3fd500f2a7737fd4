/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hypervisor/client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *answer;
static size_t length;

static int ask(const char *uri, const char *name)
{
    const struct question question = {.uri = uri, .name = name};
    FILE *stream = open_memstream(&answer, &length);
    assert_non_null(stream);
    int result = client_ask(&question, stream);
    assert_int_equal(fclose(stream), 0);
    return result;
}

static int stop(void **state)
{
    (void)state;
    free(answer);
    answer = NULL;
    return 0;
}

#ifdef HAVE_LIBVIRT

#define UUID_OF_TEST "6695eb01-f6a4-8304-79aa-97f2502e193f"

/* The domain that every test:///default runs. */
static void assert_test_domain(void)
{
    assert_true(length > 50);
    assert_string_equal(answer, "test");
    assert_string_equal(answer + sizeof "test", UUID_OF_TEST);
    assert_int_equal(strncmp(answer + sizeof "test" + sizeof UUID_OF_TEST, "<domain type='test'", 19), 0);
    assert_int_equal(answer[length - 1], '\0');
}

static void test_one(void **state)
{
    (void)state;
    assert_int_equal(ask("test:///default", "test"), 0);
    assert_test_domain();
}

static void test_all(void **state)
{
    (void)state;
    assert_int_equal(ask("test:///default", NULL), 0);
    assert_test_domain();
}

static void test_unknown(void **state)
{
    (void)state;
    assert_int_equal(ask("test:///default", "x"), -1);
    assert_string_equal(answer, "libvirt (test:///default): Domain not found");
}

static void test_unreachable(void **state)
{
    (void)state;
    assert_int_equal(ask("test:///no/such/file", NULL), -1);
    assert_int_equal(strncmp(answer, "libvirt (test:///no/such/file): ", 32), 0);
}

#define EACH(test) cmocka_unit_test_teardown(test, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {EACH(test_one), EACH(test_all), EACH(test_unknown), EACH(test_unreachable)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

static void test_without(void **state)
{
    (void)state;
    assert_int_equal(ask("test:///default", NULL), -1);
    assert_string_equal(answer, "this icn-hook was built without libvirt");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(test_without, stop)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
