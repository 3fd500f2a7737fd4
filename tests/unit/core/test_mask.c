/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/ownership.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "vendor_topology.h"

static struct topology topology;

static void assert_masks(const int owners[8], const uint32_t expected[8])
{
    vendor_topology(&topology);
    for (int ppu = 0; ppu < 8; ppu++) {
        assert_int_equal(mask_required(&topology, owners, ppu), expected[ppu]);
    }
}

static void rule(void **state)
{
    static const int owners[] = {OWNER_IDLE, 1, 2, OWNER_SHARED, OWNER_UNKNOWN};
    static const bool open[5][5] = {
        {true, false, false, false, false},
        {false, true, false, false, false},
        {false, false, true, false, false},
    };
    (void)state;
    for (int a = 0; a < 5; a++) {
        for (int b = 0; b < 5; b++) {
            assert_int_equal(link_may_be_open(owners[a], owners[b]), open[a][b]);
        }
    }
}

static void one_domain_of_two_cards(void **state)
{
    (void)state;
    assert_masks((const int[]){1, 1, 0, 0, 0, 0, 0, 0}, (const uint32_t[]){0x19, 0x31, 0x18, 0x30, 0, 0, 0x01, 0x01});
}

static void four_domains(void **state)
{
    (void)state;
    assert_masks((const int[]){1, 1, 2, 2, 3, 3, 4, 3},
                 (const uint32_t[]){0x19, 0x31, 0x19, 0x31, 0x09, 0x11, 0x39, 0x09});
}

static void one_domain_of_one_card(void **state)
{
    (void)state;
    assert_masks((const int[]){0, 0, 0, 0, 0, 0, 1, 0}, (const uint32_t[]){0x01, 0, 0, 0, 0x08, 0x10, 0x39, 0x08});
}

static void all_together(void **state)
{
    (void)state;
    assert_masks((const int[]){0, 0, 0, 0, 0, 0, 0, 0}, (const uint32_t[]){0, 0, 0, 0, 0, 0, 0, 0});
    assert_masks((const int[]){7, 7, 7, 7, 7, 7, 7, 7}, (const uint32_t[]){0, 0, 0, 0, 0, 0, 0, 0});
}

static void shared_and_unknown_cards_stand_alone(void **state)
{
    (void)state;
    assert_masks((const int[]){-1, -1, -1, -1, -2, -2, -2, -2},
                 (const uint32_t[]){0x39, 0x39, 0x39, 0x39, 0x39, 0x39, 0x39, 0x39});
}

/* Cut for whoever has the card, alone or not: the other end is nobody's who is known here. */
static void external_links(void **state)
{
    static const int owners[] = {OWNER_IDLE, 1, 2, OWNER_SHARED, OWNER_UNKNOWN};
    (void)state;
    for (size_t i = 0; i < sizeof owners / sizeof owners[0]; i++) {
        assert_int_equal(external_may_be_open(owners[i]), i == 0);
    }
    vendor_topology(&topology);
    topology.peer[0][1] = EXTERNAL_PEER;
    topology.peer[3][31] = EXTERNAL_PEER;
    assert_int_equal(mask_required(&topology, (const int[]){0, 0, 0, 0, 0, 0, 0, 0}, 0), 0);
    assert_int_equal(mask_required(&topology, (const int[]){1, 1, 1, 1, 1, 1, 1, 1}, 0), 0x02);
    assert_int_equal(mask_required(&topology, (const int[]){1, 1, 1, 1, 1, 1, 1, 1}, 3), 0x80000000);
    assert_int_equal(mask_required(&topology, (const int[]){1, 1, 1, 1, 1, 1, 1, 1}, 1), 0);
    assert_int_equal(mask_required(&topology, (const int[]){1, 0, 0, 0, 0, 0, 0, 0}, 0), 0x3b);
    assert_int_equal(mask_required(&topology, (const int[]){1, 0, 0, 0, 0, 0, 0, 0}, 3), 0x10);
    assert_int_equal(mask_required(&topology, (const int[]){-1, 0, 0, 0, 0, 0, 0, 0}, 0), 0x3b);
    assert_int_equal(mask_required(&topology, (const int[]){-2, 0, 0, 0, 0, 0, 0, 0}, 0), 0x3b);
}

static void last_link(void **state)
{
    (void)state;
    topology_clear(&topology, 2);
    topology.peer[0][31] = 1;
    topology.peer[1][0] = 0;
    assert_int_equal(mask_required(&topology, (const int[]){1, 0}, 0), 0x80000000);
    assert_int_equal(mask_required(&topology, (const int[]){1, 0}, 1), 0x00000001);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rule),           cmocka_unit_test(one_domain_of_two_cards),
        cmocka_unit_test(four_domains),   cmocka_unit_test(one_domain_of_one_card),
        cmocka_unit_test(all_together),   cmocka_unit_test(shared_and_unknown_cards_stand_alone),
        cmocka_unit_test(external_links), cmocka_unit_test(last_link),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
