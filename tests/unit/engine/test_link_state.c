/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/link_state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/mask.h"

/* Cards 0 and 1 are joined by the parallel links 0 and 1, and 0 and 2 by 5 and 7. */
static struct machine machine;
static struct snapshot snapshot;

static int start(void **state)
{
    (void)state;
    memset(&snapshot, 0, sizeof snapshot);
    snapshot.machine = &machine;
    topology_clear(&machine.topology, 3);
    for (int link = 0; link < 2; link++) {
        machine.topology.peer[0][link] = 1;
        machine.topology.peer[1][link] = 0;
    }
    machine.topology.peer[0][5] = 2;
    machine.topology.peer[2][7] = 0;
    return 0;
}

static void put(int ppu, uint32_t mask)
{
    snapshot.cards[ppu].was_read = true;
    snapshot.cards[ppu].reading = (struct reading){.kind = READING_FINE, .mask = mask};
}

static void test_near_end(void **state)
{
    (void)state;
    assert_int_equal(link_near_end(&snapshot, 0, 5), END_UNKNOWN);
    put(0, 0x20);
    assert_int_equal(link_near_end(&snapshot, 0, 5), END_CUT);
    assert_int_equal(link_near_end(&snapshot, 0, 1), END_OPEN);
    snapshot.cards[0].reading.kind = READING_UNVERIFIABLE;
    assert_int_equal(link_near_end(&snapshot, 0, 5), END_UNKNOWN);
}

static void test_far_end_of_parallel_links(void **state)
{
    static const struct {
        uint32_t mask;
        enum link_end end;
    } cases[] = {{0x0, END_OPEN}, {0x1, END_OPEN}, {0x2, END_OPEN}, {0x3, END_CUT}, {0x4, END_OPEN}, {0x7, END_CUT}};

    (void)state;
    assert_int_equal(link_far_end(&snapshot, 0, 1), END_UNKNOWN);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        put(1, cases[i].mask);
        assert_int_equal(link_far_end(&snapshot, 0, 0), cases[i].end);
        assert_int_equal(link_far_end(&snapshot, 0, 1), cases[i].end);
    }
}

static void test_live(void **state)
{
    enum { OPEN = 0, CUT = 1, UNKNOWN = 2 };
    static const struct {
        int near;
        int far;
        enum link_live live;
    } cases[] = {
        {OPEN, OPEN, LIVE_YES},      {OPEN, CUT, LIVE_NO},        {CUT, OPEN, LIVE_NO},
        {CUT, CUT, LIVE_NO},         {OPEN, UNKNOWN, LIVE_UNKNOWN}, {UNKNOWN, OPEN, LIVE_UNKNOWN},
        {UNKNOWN, CUT, LIVE_NO},     {CUT, UNKNOWN, LIVE_NO},     {UNKNOWN, UNKNOWN, LIVE_UNKNOWN},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        start(state);
        if (cases[i].near != UNKNOWN) {
            put(0, cases[i].near == CUT ? 0x20 : 0);
        }
        if (cases[i].far != UNKNOWN) {
            put(2, cases[i].far == CUT ? 0x80 : 0);
        }
        assert_int_equal(link_live(&snapshot, 0, 5), cases[i].live);
        assert_int_equal(link_live(&snapshot, 2, 7), cases[i].live);
    }
}

static void test_leaks(void **state)
{
    static const int one_domain[] = {1, 2, 1};
    static const int two_domains[] = {1, 1, 2};

    (void)state;
    assert_false(link_leaks(&snapshot, two_domains, 0, 5));
    put(0, 0);
    put(2, 0);
    assert_true(link_leaks(&snapshot, two_domains, 0, 5));
    assert_true(link_leaks(&snapshot, two_domains, 2, 7));
    assert_false(link_leaks(&snapshot, one_domain, 0, 5));
    assert_false(link_leaks(&snapshot, two_domains, 0, 4));
    put(2, 0x80);
    assert_false(link_leaks(&snapshot, two_domains, 0, 5));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_near_end, start),
        cmocka_unit_test_setup(test_far_end_of_parallel_links, start),
        cmocka_unit_test_setup(test_live, start),
        cmocka_unit_test_setup(test_leaks, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
