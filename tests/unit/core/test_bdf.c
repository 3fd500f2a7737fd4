/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/bdf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void assert_parsed(const char *text, const char *expected)
{
    char formatted[BDF_TEXT_SIZE];
    struct bdf bdf;
    assert_true(bdf_parse(text, &bdf));
    assert_string_equal(bdf_format(bdf, formatted), expected);
}

static void parse_fields(void **state)
{
    struct bdf bdf;
    (void)state;
    assert_true(bdf_parse("fedcba98:a5:1f.7", &bdf));
    assert_int_equal(bdf.domain, 0xfedcba98);
    assert_int_equal(bdf.bus, 0xa5);
    assert_int_equal(bdf.slot, 0x1f);
    assert_int_equal(bdf.function, 7);
}

static void parse_and_format(void **state)
{
    (void)state;
    assert_parsed("0000:08:00.0", "0000:08:00.0");
    assert_parsed("08:00.0", "0000:08:00.0");
    assert_parsed("8:0.0", "0000:08:00.0");
    assert_parsed("10000:AF:1D.3", "10000:af:1d.3");
    assert_parsed("ffffffff:ff:1f.7", "ffffffff:ff:1f.7");
    assert_parsed("000000000:008:000.00", "0000:08:00.0");
}

static void parse_refuses(void **state)
{
    static const char *const texts[] = {
        "",
        "0000",
        "08:00",
        "0000:08:00",
        "08:00.",
        "08:.0",
        ":00.0",
        "08:00.8",
        "08:20.0",
        "100:00.0",
        "0000:08:20.0",
        "100000000:08:00.0",
        "08:00.0 ",
        " 08:00.0",
        "08:00.0x",
        "0000:08:00.0:",
        "g8:00.0",
        "08:0g.0",
        "0000;08:00.0",
        "0000:08;00.0",
        "0000:08:00;0",
        "0x0:08:00.0",
        "-1:08:00.0",
        "0000:08:00.0\n",
        "08:00.@",
        "08:00.`",
        "08:00.G",
        "08:00./",
        "0:0:0:0.0",
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct bdf bdf = {.domain = 1, .bus = 2, .slot = 3, .function = 4};
        if (bdf_parse(texts[i], &bdf)) {
            fail_msg("\"%s\" was accepted", texts[i]);
        }
        assert_int_equal(bdf.domain, 1);
        assert_int_equal(bdf.bus, 2);
        assert_int_equal(bdf.slot, 3);
        assert_int_equal(bdf.function, 4);
    }
}

/* Values that no bus has still fit into the text. */
static void format_never_overflows(void **state)
{
    char text[BDF_TEXT_SIZE];
    (void)state;
    bdf_format((struct bdf){.domain = UINT32_MAX, .bus = 255, .slot = 255, .function = 255}, text);
    assert_string_equal(text, "ffffffff:ff:1f.7");
}

static void compare(void **state)
{
    static const struct bdf ascending[] = {
        {0, 0, 0, 0}, {0, 0, 0, 7}, {0, 0, 31, 0}, {0, 1, 0, 0}, {0, 255, 0, 0}, {1, 0, 0, 0}, {0xffffffff, 0, 0, 0},
    };
    enum { COUNT = sizeof ascending / sizeof ascending[0] };
    (void)state;
    for (int a = 0; a < COUNT; a++) {
        for (int b = 0; b < COUNT; b++) {
            int order = bdf_compare(ascending[a], ascending[b]);
            assert_int_equal((order > 0) - (order < 0), (a > b) - (a < b));
            assert_int_equal(bdf_order(&ascending[a], &ascending[b]), order);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parse_fields),           cmocka_unit_test(parse_and_format), cmocka_unit_test(parse_refuses),
        cmocka_unit_test(format_never_overflows), cmocka_unit_test(compare),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
