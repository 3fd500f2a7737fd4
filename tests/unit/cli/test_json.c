/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "capture.h"

static struct json_object *object;

static int start(void **state)
{
    (void)state;
    object = json_object_new_object();
    return 0;
}

static void assert_json(const char *expected)
{
    assert_string_equal(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN), expected);
    json_object_put(object);
}

static void test_text(void **state)
{
    (void)state;
    json_put_text(object, "a", "quote \" and newline \n");
    json_put_text(object, "b", NULL);
    json_put_text(object, "c", "");
    assert_json("{\"a\":\"quote \\\" and newline \\n\",\"b\":null,\"c\":\"\"}");
}

static void test_mask(void **state)
{
    (void)state;
    json_put_mask(object, "none", 0);
    json_put_mask(object, "some", 0x19);
    json_put_mask(object, "all", UINT32_MAX);
    assert_json("{\"none\":\"0x00000000\",\"some\":\"0x00000019\",\"all\":\"0xffffffff\"}");
}

static void test_numbers(void **state)
{
    (void)state;
    json_put_number(object, "a", -1);
    json_put_number(object, "b", 7);
    json_put_known_number(object, "c", -1);
    json_put_known_number(object, "d", 0);
    json_put_known_number(object, "e", 12);
    json_put_bool(object, "f", true);
    json_put_bool(object, "g", false);
    assert_json("{\"a\":-1,\"b\":7,\"c\":null,\"d\":0,\"e\":12,\"f\":true,\"g\":false}");
}

static void test_lists(void **state)
{
    struct text_list list = {0};

    (void)state;
    json_put_list(object, "empty", &list);
    text_list_add(&list, "one");
    text_list_add(&list, "two");
    json_put_list(object, "full", &list);
    json_object_array_add(json_put_array(object, "array"), json_object_new_int(1));
    text_list_free(&list);
    assert_json("{\"empty\":[],\"full\":[\"one\",\"two\"],\"array\":[1]}");
}

static void test_print(void **state)
{
    (void)state;
    json_put_text(object, "path", "/a/b");
    json_put_number(object, "n", 1);
    capture_begin();
    json_print(object);
    capture_end();
    assert_string_equal(captured_stdout(), "{\n  \"path\": \"/a/b\",\n  \"n\": 1\n}\n");
    assert_string_equal(captured_stderr(), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_text, start),    cmocka_unit_test_setup(test_mask, start),
        cmocka_unit_test_setup(test_numbers, start), cmocka_unit_test_setup(test_lists, start),
        cmocka_unit_test_setup(test_print, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
