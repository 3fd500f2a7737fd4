/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

static void check_escape(const char *source, const char *expected)
{
    char target[100];

    text_escape(target, sizeof(target), source);
    assert_string_equal(target, expected);
}

static void test_escape(void **state)
{
    (void)state;
    check_escape("", "");
    check_escape("plain text", "plain text");
    check_escape("a\nb", "a\\x0ab");
    check_escape("\x01\x1f\x7f", "\\x01\\x1f\\x7f");
    check_escape("a\\b", "a\\x5cb");
    check_escape("caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80");
    check_escape("\xff\xc3", "\xff\xc3");
}

static void check_cut(size_t size, const char *source, const char *expected)
{
    char target[100];

    memset(target, 'X', sizeof(target));
    text_escape(target, size, source);
    assert_string_equal(target, expected);
    assert_int_equal(target[size], 'X');
}

static void test_escape_cuts_between_characters(void **state)
{
    char untouched = 'X';
    (void)state;

    text_escape(&untouched, 0, "abc");
    assert_int_equal(untouched, 'X');
    check_cut(1, "abc", "");
    check_cut(3, "abc", "ab");
    check_cut(4, "abc", "abc");
    check_cut(5, "a\nb", "a");
    check_cut(6, "a\nb", "a\\x0a");
    check_cut(3, "a\xc3\xa9", "a");
    check_cut(4, "a\xc3\xa9", "a\xc3\xa9");
}

static void test_copied_line_keeps_backslashes(void **state)
{
    char target[100];
    (void)state;

    text_copy_line(target, sizeof target, "a\\x0a\nb");
    assert_string_equal(target, "a\\x0a\\x0ab");
}

static void check_formatted(const char *expected, const char *format, ...) PRINTF_LIKE(2, 3);
static void check_formatted(const char *expected, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    char *text = text_format(format, arguments);
    va_end(arguments);
    assert_string_equal(text, expected);
    free(text);
}

static void test_format_and_join(void **state)
{
    (void)state;
    check_formatted("", "%s", "");
    check_formatted("a 7\n", "%s %d\n", "a", 7);
    char *joined = text_join("one", "two");
    assert_string_equal(joined, "onetwo");
    free(joined);
}

static void test_utf8_length(void **state)
{
    static const struct {
        const char *text;
        size_t length;
    } cases[] = {
        {"", 1},
        {"a", 1},
        {"\x7f", 1},
        {"\x80", 0},
        {"\xbf", 0},
        {"\xc1\x80", 0},
        {"\xc2", 0},
        {"\xc2\x80z", 2},
        {"\xdf\xbf", 2},
        {"\xdf\xc0", 0},
        {"\xe0\x9f\xbf", 0},
        {"\xe0\xa0\x80", 3},
        {"\xe2\x82", 0},
        {"\xed\x9f\xbf", 3},
        {"\xed\xa0\x80", 0},
        {"\xef\xbf\xbf", 3},
        {"\xf0\x8f\xbf\xbf", 0},
        {"\xf0\x90\x80\x80", 4},
        {"\xf0\x90\x80", 0},
        {"\xf4\x8f\xbf\xbf", 4},
        {"\xf4\x90\x80\x80", 0},
        {"\xf5\x80\x80\x80", 0},
        {"\xff", 0},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(text_utf8_length(cases[i].text), cases[i].length);
    }
}

static void test_hex_digit(void **state)
{
    (void)state;
    for (int character = -128; character < 128; character++) {
        const char *digits = "0123456789abcdef";
        const char *upper = "0123456789ABCDEF";
        const char *found = character > 0 ? strchr(digits, character) : NULL;
        const char *found_upper = character > 0 ? strchr(upper, character) : NULL;
        int expected = found ? (int)(found - digits) : found_upper ? (int)(found_upper - upper) : -1;

        assert_int_equal(text_hex_digit((char)character), expected);
    }
}

static void check_number(const char *text, uint64_t max, uint64_t expected)
{
    uint64_t value = 77;

    assert_true(text_parse_number(text, max, &value));
    assert_int_equal(value, expected);
}

static void check_no_number(const char *text, uint64_t max)
{
    uint64_t value = 77;

    assert_false(text_parse_number(text, max, &value));
    assert_int_equal(value, 77);
}

static void test_numbers(void **state)
{
    (void)state;
    check_number("0", 0, 0);
    check_number("31", 31, 31);
    check_number("010", 31, 10);
    check_number("0xbe382", UINT32_MAX, 0xbe382);
    check_number("0xAf", 255, 0xaf);
    check_number("18446744073709551615", UINT64_MAX, UINT64_MAX);
    check_number("0xffffffffffffffff", UINT64_MAX, UINT64_MAX);
}

static void test_not_numbers(void **state)
{
    static const char *const texts[] = {"",   " 1", "1 ", "+1",  "-1",  "0x",  "0x 1", "0X1",
                                        "x1", "1a", "a",  "0xg", "1.0", "1\n", "0x-1", "\xb2"};
    (void)state;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        check_no_number(texts[i], UINT64_MAX);
    }
}

static void test_numbers_out_of_range(void **state)
{
    (void)state;
    check_no_number("1", 0);
    check_no_number("32", 31);
    check_no_number("9", 8);
    check_no_number("0x20", 31);
    check_no_number("18446744073709551616", UINT64_MAX);
    check_no_number("0x10000000000000000", UINT64_MAX);
    check_no_number("99999999999999999999999999", UINT64_MAX);
}

static void test_list(void **state)
{
    struct text_list list = {0};
    (void)state;

    text_list_add(&list, "first %d", 1);
    text_list_add(&list, "second\n%s", "\x7f");
    assert_int_equal(list.count, 2);
    assert_string_equal(list.items[0], "first 1");
    assert_string_equal(list.items[1], "second\\x0a\\x7f");
    text_list_free(&list);
    assert_int_equal(list.count, 0);
    assert_null(list.items);
    text_list_free(&list);
}

static void test_list_has(void **state)
{
    struct text_list list = {0};
    (void)state;

    assert_false(text_list_has(&list, "card 1"));
    text_list_add(&list, "card %d", 1);
    text_list_add(&list, "card %d", 2);
    text_list_add(&list, "a\nb");
    assert_int_equal(list.count, 3);
    assert_true(text_list_has(&list, "card 1"));
    assert_true(text_list_has(&list, "card 2"));
    assert_true(text_list_has(&list, "a\\x0ab"));
    assert_false(text_list_has(&list, "card"));
    text_list_free(&list);
}

static void test_list_copies_as_it_is(void **state)
{
    struct text_list list = {0};
    char name[] = "a\n%s";
    (void)state;

    text_list_add_copy(&list, name);
    name[0] = 'b';
    assert_int_equal(list.count, 1);
    assert_string_equal(list.items[0], "a\n%s");
    text_list_free(&list);
}

static void check_uuid(const char *text, const char *expected)
{
    char uuid[UUID_SIZE];

    assert_true(text_parse_uuid(text, uuid));
    assert_string_equal(uuid, expected);
}

static void test_uuid(void **state)
{
    static const char canonical[] = "c7a5fdbd-edaf-9455-926a-d65c16db1809";
    (void)state;

    check_uuid(canonical, canonical);
    check_uuid("C7A5FDBDEDAF9455926AD65C16DB1809", canonical);
    check_uuid("\n\t c7a5fdbd-edaf-9455-926a-d65c16db1809 \r\n", canonical);
    check_uuid("-c7-a5--fd bd-edaf9455926ad65c16db-18-09", canonical);
}

static void test_not_uuid(void **state)
{
    static const char *const texts[] = {
        "",
        " ",
        "c7a5fdbd-edaf-9455-926a-d65c16db180",
        "c7a5fdbd-edaf-9455-926a-d65c16db18099",
        "c7a5fdbd-edaf-9455-926a-d65c16db1809-",
        "c-7a5fdbd-edaf-9455-926a-d65c16db1809",
        "g7a5fdbd-edaf-9455-926a-d65c16db1809",
        "cga5fdbd-edaf-9455-926a-d65c16db1809",
        "c7a5fdbd_edaf-9455-926a-d65c16db1809",
    };
    char uuid[UUID_SIZE] = "untouched";
    (void)state;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_false(text_parse_uuid(texts[i], uuid));
        assert_string_equal(uuid, "untouched");
    }
}

static void test_made_uuid(void **state)
{
    char uuid[UUID_SIZE];
    char again[UUID_SIZE];
    char normal[UUID_SIZE];
    (void)state;

    assert_true(text_make_uuid(uuid));
    assert_true(text_parse_uuid(uuid, normal));
    assert_string_equal(uuid, normal);
    assert_int_equal(uuid[14], '4');
    assert_non_null(strchr("89ab", uuid[19]));
    assert_true(text_make_uuid(again));
    assert_string_not_equal(uuid, again);
}

static void test_nearest(void **state)
{
    static const struct {
        const char *word;
        const char *name; /* of these below, or NULL */
    } cases[] = {
        {"stauts", "status"}, /* swapped */
        {"staus", "status"},  {"sttatus", "status"}, {"statis", "status"}, {"sxatxs", "status"}, {"sxaxxs", NULL},
        {"rset", "reset"},    {"rest", "reset"},     {"re", NULL},         {"", NULL},           {"red", "red"},
        {"rex", "red"},       {"xex", NULL},         {"wxd", NULL},
    };
    static const char *const names[] = {"status", "reset", "red", "release"};
    char longest[80];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct nearest nearest = {.word = cases[i].word};
        for (size_t name = 0; name < sizeof names / sizeof names[0]; name++) {
            nearest_try(&nearest, names[name]);
        }
        assert_string_equal(nearest.name ? nearest.name : "", cases[i].name ? cases[i].name : "");
    }
    /* What is longer than any name is near none. */
    memset(longest, 'a', sizeof longest);
    for (size_t length = 64; length <= 65; length++) {
        longest[length] = '\0';
        struct nearest nearest = {.word = longest};
        nearest_try(&nearest, longest);
        assert_ptr_equal(nearest.name, length == 64 ? longest : NULL);
        longest[length] = 'a';
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_escape),
        cmocka_unit_test(test_escape_cuts_between_characters),
        cmocka_unit_test(test_copied_line_keeps_backslashes),
        cmocka_unit_test(test_format_and_join),
        cmocka_unit_test(test_utf8_length),
        cmocka_unit_test(test_hex_digit),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_not_numbers),
        cmocka_unit_test(test_numbers_out_of_range),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_list_has),
        cmocka_unit_test(test_list_copies_as_it_is),
        cmocka_unit_test(test_uuid),
        cmocka_unit_test(test_not_uuid),
        cmocka_unit_test(test_made_uuid),
        cmocka_unit_test(test_nearest),
    };
    return cmocka_run_group_tests_name("base/text", tests, NULL, NULL);
}
