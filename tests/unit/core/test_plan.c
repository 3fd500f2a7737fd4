/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct plan plan;

static void assert_write(size_t i, int ppu, enum plan_role role, uint32_t from, uint32_t to)
{
    assert_true(i < plan.count);
    assert_int_equal(plan.writes[i].ppu, ppu);
    assert_int_equal(plan.writes[i].role, role);
    assert_int_equal(plan.writes[i].from, from);
    assert_int_equal(plan.writes[i].to, to);
}

static void nothing_to_do(void **state)
{
    const struct plan_goal goals[] = {
        {ROLE_NEAR, 0x19, 0x19},
        {ROLE_FAR, 0, 0},
        {ROLE_NONE, 0x01, 0x30},
    };
    (void)state;
    plan_build(&plan, goals, 3);
    assert_int_equal(plan.count, 0);
    plan_build(&plan, goals, 0);
    assert_int_equal(plan.count, 0);
}

/* The golden values of a domain that takes cards 0 and 1. */
static void only_cuts(void **state)
{
    const struct plan_goal goals[] = {
        {ROLE_NEAR, 0, 0x19}, {ROLE_NEAR, 0, 0x31}, {ROLE_FAR, 0, 0x18}, {ROLE_FAR, 0, 0x30},
        {ROLE_NONE, 0, 0},    {ROLE_NONE, 0, 0},    {ROLE_FAR, 0, 0x01}, {ROLE_FAR, 0, 0x01},
    };
    (void)state;
    plan_build(&plan, goals, 8);
    assert_int_equal(plan.count, 6);
    assert_write(0, 0, ROLE_NEAR, 0, 0x19);
    assert_write(1, 1, ROLE_NEAR, 0, 0x31);
    assert_write(2, 2, ROLE_FAR, 0, 0x18);
    assert_write(3, 3, ROLE_FAR, 0, 0x30);
    assert_write(4, 6, ROLE_FAR, 0, 0x01);
    assert_write(5, 7, ROLE_FAR, 0, 0x01);
}

static void only_openings(void **state)
{
    const struct plan_goal goals[] = {
        {ROLE_FAR, 0x39, 0x20},
        {ROLE_NEAR, 0x39, 0},
    };
    (void)state;
    plan_build(&plan, goals, 2);
    assert_int_equal(plan.count, 2);
    assert_write(0, 0, ROLE_FAR, 0x39, 0x20);
    assert_write(1, 1, ROLE_NEAR, 0x39, 0);
}

static void cuts_before_openings_and_near_before_far(void **state)
{
    const struct plan_goal goals[] = {
        {ROLE_FAR, 0x06, 0x03},
        {ROLE_NEAR, 0x80000000, 0x00000001},
        {ROLE_FAR, 0x01, 0x10},
        {ROLE_NEAR, 0, 0x08},
    };
    (void)state;
    plan_build(&plan, goals, 4);
    assert_int_equal(plan.count, 7);
    assert_write(0, 1, ROLE_NEAR, 0x80000000, 0x80000001);
    assert_write(1, 3, ROLE_NEAR, 0, 0x08);
    assert_write(2, 0, ROLE_FAR, 0x06, 0x07);
    assert_write(3, 2, ROLE_FAR, 0x01, 0x11);
    assert_write(4, 0, ROLE_FAR, 0x07, 0x03);
    assert_write(5, 1, ROLE_NEAR, 0x80000001, 0x00000001);
    assert_write(6, 2, ROLE_FAR, 0x11, 0x10);
}

static void largest(void **state)
{
    static struct plan_goal goals[PPU_MAX];
    (void)state;
    for (int ppu = 0; ppu < PPU_MAX; ppu++) {
        goals[ppu] = (struct plan_goal){ppu % 2 ? ROLE_NEAR : ROLE_FAR, 0x0f, 0xf0};
    }
    plan_build(&plan, goals, PPU_MAX);
    assert_int_equal(plan.count, 2 * PPU_MAX);
    assert_write(0, 1, ROLE_NEAR, 0x0f, 0xff);
    assert_write(PPU_MAX / 2, 0, ROLE_FAR, 0x0f, 0xff);
    assert_write(2 * PPU_MAX - 1, PPU_MAX - 1, ROLE_NEAR, 0xff, 0xf0);
}

static bool cuts(uint32_t from, uint32_t to)
{
    const struct plan_write write = {.ppu = 0, .role = ROLE_NEAR, .from = from, .to = to};
    return plan_write_cuts(&write);
}

static void which_writes_cut(void **state)
{
    (void)state;
    assert_true(cuts(0, 1));
    assert_true(cuts(0x80000000, 0x80000001));
    assert_false(cuts(1, 0));
    assert_false(cuts(1, 1));
    assert_false(cuts(1, 2));
    assert_false(cuts(3, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_to_do), cmocka_unit_test(only_cuts),
        cmocka_unit_test(only_openings), cmocka_unit_test(cuts_before_openings_and_near_before_far),
        cmocka_unit_test(largest),       cmocka_unit_test(which_writes_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
