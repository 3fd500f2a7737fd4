/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct table table;

static void add_row(const char *first, const char *second, const char *third)
{
    table_add(&table, COLOUR_PLAIN, "%s", first);
    table_add(&table, COLOUR_RED, "%s", second);
    table_add(&table, COLOUR_PLAIN, "%s", third);
}

static void assert_printed(int width, bool in_colour, const char *expected)
{
    struct output output = {.in_colour = in_colour, .width = width};
    output.stream = open_memstream(&output.data, &output.length);
    table_print(&table, &output);
    fclose(output.stream);
    assert_string_equal(output.data, expected);
    free(output.data);
}

static int start(void **state)
{
    (void)state;
    table_open(&table, 3);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    table_free(&table);
    return 0;
}

static void test_columns(void **state)
{
    (void)state;
    table.right[1] = true;
    add_row("A", "BB", "C");
    add_row("a-long-one", "1", "");
    add_row("", "", "x");
    add_row("", "", "");
    assert_printed(0, false,
                   "A           BB  C\n"
                   "a-long-one   1\n"
                   "                x\n"
                   "\n");
}

static void test_chinese(void **state)
{
    (void)state;
    add_row("租户甲", "1", "x");
    add_row("abc", "租", "x");
    assert_printed(0, false,
                   "租户甲  1   x\n"
                   "abc     租  x\n");
    assert_int_equal(table_text_width("租户甲"), 6);
    assert_int_equal(table_text_width("e\xcc\x81t\xc3\xa9"), 3); /* a combining accent, and a letter with one */
    assert_int_equal(table_text_width("\xff\xe7\xa7"), 3);
}

static void test_control_characters(void **state)
{
    (void)state;
    add_row("a\nb\033[1m", "\\", "x");
    assert_printed(0, false, "a\\x0ab\\x1b[1m  \\x5c  x\n");
}

static void test_colour(void **state)
{
    (void)state;
    add_row("a", "b", "c");
    table_append(&table, COLOUR_PLAIN, "d");
    table_append(&table, COLOUR_GREEN, "e");
    table_append(&table, COLOUR_CYAN, "f");
    assert_printed(0, true, "a  \033[1;31mb\033[0m  cd\033[32me\033[0m\033[36mf\033[0m\n");
    assert_printed(0, false, "a  b  cdef\n");
}

/* The last column is cut, in the middle of its pieces. */
static void test_last_column(void **state)
{
    (void)state;
    add_row("a", "b", "0123");
    table_append(&table, COLOUR_GREEN, "456789");
    assert_printed(16, false, "a  b  0123456789\n");
    assert_printed(15, false, "a  b  012345...\n");
    assert_printed(12, true, "a  \033[1;31mb\033[0m  012...\n");
    assert_printed(10, false, "a  b  0...\n");
    assert_printed(9, false, "a  b  012\n");
    assert_printed(8, false, "a  b  01\n");
    assert_printed(6, false, "a  b\n");
    assert_printed(1, false, "a  b\n");
}

static void test_last_column_in_chinese(void **state)
{
    (void)state;
    add_row("a", "b", "租户甲");
    assert_printed(12, false, "a  b  租户甲\n");
    assert_printed(11, false, "a  b  租...\n");
    assert_printed(10, false, "a  b  ...\n");
}

/* A name gives way before the last column is cut, and keeps a part of itself. */
static void test_shrinking(void **state)
{
    (void)state;
    table.shrinking = 1;
    add_row("a", "0123456789abcdef", "xyz");
    add_row("a", "租户甲租户甲租户甲", "xyz");
    add_row("a", "b", "xyz");
    assert_printed(24, false,
                   "a  0123456789abcdef  xyz\n"
                   "a  租户甲租户甲...   xyz\n"
                   "a  b                 xyz\n");
    assert_printed(19, false,
                   "a  012345678...  xy\n"
                   "a  租户甲租...   xy\n"
                   "a  b             xy\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_columns, start, stop),
        cmocka_unit_test_setup_teardown(test_chinese, start, stop),
        cmocka_unit_test_setup_teardown(test_control_characters, start, stop),
        cmocka_unit_test_setup_teardown(test_colour, start, stop),
        cmocka_unit_test_setup_teardown(test_last_column, start, stop),
        cmocka_unit_test_setup_teardown(test_last_column_in_chinese, start, stop),
        cmocka_unit_test_setup_teardown(test_shrinking, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
