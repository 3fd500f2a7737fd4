/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/verdict.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/mask.h"

/* Cards 0 and 1 are joined by the parallel links 0 and 1, and 0 and 2 by 5 and 7. */
enum { UNREAD = -1 };
static struct machine machine;
static struct snapshot snapshot;
static struct inspection inspection;

static int start(void **state)
{
    (void)state;
    memset(&snapshot, 0, sizeof snapshot);
    memset(&machine, 0, sizeof machine);
    settings_default(&machine.settings);
    snapshot.machine = &machine;
    inspection = (struct inspection){.machine = &machine, .snapshot = &snapshot};
    topology_clear(&machine.topology, 3);
    for (int link = 0; link < 2; link++) {
        machine.topology.peer[0][link] = 1;
        machine.topology.peer[1][link] = 0;
    }
    machine.topology.peer[0][5] = 2;
    machine.topology.peer[2][7] = 0;
    return 0;
}

static void put(int ppu, int mask)
{
    snapshot.cards[ppu].was_read = mask != UNREAD;
    snapshot.cards[ppu].reading = (struct reading){.kind = READING_FINE, .mask = (uint32_t)mask};
}

static void own(int owner_0, int owner_1, int owner_2)
{
    inspection.owners[0] = owner_0;
    inspection.owners[1] = owner_1;
    inspection.owners[2] = owner_2;
}

static void test_link(void **state)
{
    static const struct {
        int owner;
        int near;
        int far;
        enum verdict verdict;
    } cases[] = {
        {OWNER_IDLE, 0, 0, VERDICT_OPEN},          {1, 0, 0, VERDICT_LEAK},
        {OWNER_IDLE, 0x20, 0, VERDICT_NEEDLESS},   {1, 0x20, 0, VERDICT_CUT},
        {OWNER_IDLE, 0, 0x80, VERDICT_NEEDLESS},   {1, 0, 0x80, VERDICT_CUT},
        {OWNER_IDLE, UNREAD, 0, VERDICT_UNSEEN},   {1, UNREAD, 0, VERDICT_UNSURE},
        {OWNER_IDLE, UNREAD, UNREAD, VERDICT_UNSEEN}, {OWNER_UNKNOWN, UNREAD, UNREAD, VERDICT_UNSURE},
        {OWNER_IDLE, UNREAD, 0x80, VERDICT_NEEDLESS}, {1, UNREAD, 0x80, VERDICT_CUT},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        start(state);
        own(cases[i].owner, OWNER_IDLE, OWNER_IDLE);
        put(0, cases[i].near);
        put(2, cases[i].far);
        assert_int_equal(link_verdict(&inspection, 0, 5), cases[i].verdict);
        assert_int_equal(link_verdict(&inspection, 2, 7), cases[i].verdict);
        assert_int_equal(link_is_allowed(&inspection, 0, 5), cases[i].owner == OWNER_IDLE);
    }
}

/* A cut between idle cards that the policy or the time before us wants. */
static void test_expected_cuts(void **state)
{
    (void)state;
    put(0, 0x20);
    put(2, 0);
    assert_int_equal(link_verdict(&inspection, 0, 5), VERDICT_NEEDLESS);
    snapshot.cards[0].has_original = true;
    snapshot.cards[0].original = 0x20;
    assert_int_equal(link_verdict(&inspection, 0, 5), VERDICT_CUT);
    assert_int_equal(link_verdict(&inspection, 2, 7), VERDICT_CUT);
    snapshot.cards[0].original = 0x1;
    assert_int_equal(link_verdict(&inspection, 0, 5), VERDICT_NEEDLESS);
    machine.settings.idle = IDLE_ISOLATE;
    assert_int_equal(link_verdict(&inspection, 0, 5), VERDICT_CUT);
    assert_int_equal(link_verdict(&inspection, 2, 7), VERDICT_CUT);
    own(1, 1, 1);
    assert_int_equal(link_verdict(&inspection, 0, 5), VERDICT_NEEDLESS);
}

static void assert_pair(int wired, int open, bool allowed, enum verdict verdict)
{
    for (int a = 0; a < 2; a++) {
        struct pair pair = pair_look(&inspection, a, 1 - a);
        assert_int_equal(pair.wired, wired);
        assert_int_equal(pair.open, open);
        assert_int_equal(pair.allowed, allowed);
        assert_int_equal(pair.verdict, verdict);
    }
}

static void test_parallel_links(void **state)
{
    (void)state;
    put(0, 0);
    put(1, 0);
    assert_pair(2, 2, true, VERDICT_OPEN);
    put(0, 0x1);
    assert_pair(2, 1, true, VERDICT_NEEDLESS);
    put(1, 0x2);
    assert_pair(2, 1, true, VERDICT_NEEDLESS);
    put(1, 0x3);
    assert_pair(2, 0, true, VERDICT_NEEDLESS);
    own(1, 2, OWNER_IDLE);
    assert_pair(2, 0, false, VERDICT_CUT);
    put(1, 0x1);
    assert_pair(2, 1, false, VERDICT_LEAK);
    put(0, 0x2);
    put(1, 0x2);
    assert_pair(2, 1, false, VERDICT_LEAK);
    put(0, 0x1);
    put(1, UNREAD);
    assert_pair(2, 1, false, VERDICT_UNSURE);
    own(1, 1, OWNER_IDLE);
    assert_pair(2, 1, true, VERDICT_UNSEEN);
    put(0, 0x3);
    assert_pair(2, 0, true, VERDICT_NEEDLESS);
}

/* One of two links was cut before we came: the other one is open, and all is well. */
static void test_partly_expected(void **state)
{
    (void)state;
    put(0, 0x1);
    put(1, 0x1);
    snapshot.cards[0].has_original = snapshot.cards[1].has_original = true;
    snapshot.cards[0].original = snapshot.cards[1].original = 0x1;
    assert_pair(2, 1, true, VERDICT_OPEN);
}

static void test_no_link(void **state)
{
    (void)state;
    struct pair pair = pair_look(&inspection, 1, 2);
    assert_int_equal(pair.wired, 0);
    assert_int_equal(pair.open, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_link, start),
        cmocka_unit_test_setup(test_expected_cuts, start),
        cmocka_unit_test_setup(test_parallel_links, start),
        cmocka_unit_test_setup(test_partly_expected, start),
        cmocka_unit_test_setup(test_no_link, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
