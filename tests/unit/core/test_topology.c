/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/topology.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "vendor_topology.h"

static struct topology topology;

static void assert_fault(enum topology_fault_kind kind, int ppu, int link, int peer)
{
    struct topology_fault fault = topology_validate(&topology);
    assert_int_equal(fault.kind, kind);
    assert_int_equal(fault.ppu, ppu);
    assert_int_equal(fault.link, link);
    assert_int_equal(fault.peer, peer);
}

static void cleared(void **state)
{
    (void)state;
    memset(&topology, 0, sizeof topology);
    topology_clear(&topology, 3);
    assert_int_equal(topology.ppu_count, 3);
    for (int ppu = 0; ppu < PPU_MAX; ppu++) {
        for (int link = 0; link < LINK_MAX; link++) {
            assert_int_equal(topology.peer[ppu][link], NO_PEER);
            assert_int_equal(topology.peer_link[ppu][link], NO_PEER_LINK);
        }
    }
}

static void vendors_is_fine(void **state)
{
    (void)state;
    vendor_topology(&topology);
    assert_fault(TOPOLOGY_FINE, -1, -1, -1);
    for (int ppu = 0; ppu < 8; ppu++) {
        assert_int_equal(topology_links(&topology, ppu), 0x39);
    }
    assert_int_equal(topology_links(&topology, 8), 0);
}

static void links_at_both_ends_of_the_register(void **state)
{
    (void)state;
    topology_clear(&topology, 2);
    topology.peer[0][0] = 1;
    topology.peer[0][31] = 1;
    assert_int_equal(topology_links(&topology, 0), 0x80000001);
}

static void number_of_cards(void **state)
{
    (void)state;
    topology_clear(&topology, 0);
    assert_fault(TOPOLOGY_EMPTY, -1, -1, -1);
    topology_clear(&topology, -1);
    assert_fault(TOPOLOGY_EMPTY, -1, -1, -1);
    topology_clear(&topology, PPU_MAX + 1);
    assert_fault(TOPOLOGY_EMPTY, -1, -1, -1);
    topology_clear(&topology, PPU_MAX);
    topology.peer[0][0] = EXTERNAL_PEER;
    assert_fault(TOPOLOGY_FINE, -1, -1, -1);
    topology_clear(&topology, 1);
    assert_fault(TOPOLOGY_FINE, -1, -1, -1);
}

/* Written while the links were down: the cards would keep all their links. */
static void several_cards_without_any_link(void **state)
{
    (void)state;
    topology_clear(&topology, 2);
    assert_fault(TOPOLOGY_NO_LINKS, -1, -1, -1);
    topology_clear(&topology, 8);
    assert_fault(TOPOLOGY_NO_LINKS, -1, -1, -1);
    topology.peer[7][31] = EXTERNAL_PEER;
    assert_fault(TOPOLOGY_FINE, -1, -1, -1);
    vendor_topology(&topology);
    topology.ppu_count = 9; /* one of them has none */
    assert_fault(TOPOLOGY_FINE, -1, -1, -1);
}

static void external_links(void **state)
{
    (void)state;
    vendor_topology(&topology);
    topology.peer[3][1] = EXTERNAL_PEER;
    topology.peer[3][31] = EXTERNAL_PEER;
    assert_fault(TOPOLOGY_FINE, -1, -1, -1);
    assert_int_equal(topology_links(&topology, 3), 0x8000003b);
    assert_int_equal(topology_external(&topology, 3), 0x80000002);
    assert_int_equal(topology_external(&topology, 2), 0);
    assert_int_equal(topology_far_ends(&topology, 3, 1), 0);
    topology_clear(&topology, 1);
    topology.peer[0][0] = EXTERNAL_PEER;
    assert_fault(TOPOLOGY_FINE, -1, -1, -1);
}

/* Three links between two cards, 0 3 9 of the one and 1 30 31 of the other, and one to a third card. */
static void bundle(void)
{
    static const int links[2][3] = {{0, 3, 9}, {1, 30, 31}};
    topology_clear(&topology, 3);
    for (int i = 0; i < 3; i++) {
        topology.peer[0][links[0][i]] = 1;
        topology.peer[1][links[1][i]] = 0;
    }
    topology.peer[0][4] = 2;
    topology.peer[2][0] = 0;
}

static void join(int a, int link_a, int b, int link_b)
{
    topology.peer_link[a][link_a] = (int16_t)link_b;
    topology.peer_link[b][link_b] = (int16_t)link_a;
}

static void far_ends(void **state)
{
    (void)state;
    bundle();
    assert_int_equal(topology_far_ends(&topology, 0, 0), 0xc0000002);
    assert_int_equal(topology_far_ends(&topology, 1, 31), 0x00000209);
    assert_int_equal(topology_far_ends(&topology, 0, 4), 0x00000001); /* the only one */
    assert_int_equal(topology_far_ends(&topology, 0, 5), 0);
    join(0, 3, 1, 31);
    assert_fault(TOPOLOGY_FINE, -1, -1, -1);
    assert_int_equal(topology_far_ends(&topology, 0, 3), 0x80000000);
    assert_int_equal(topology_far_ends(&topology, 1, 31), 0x00000008);
    assert_int_equal(topology_far_ends(&topology, 0, 0), 0x40000002); /* one of the rest */
    assert_int_equal(topology_far_ends(&topology, 1, 1), 0x00000201);
    join(0, 9, 1, 1);
    assert_int_equal(topology_far_ends(&topology, 0, 0), 0x40000000);
    assert_int_equal(topology_far_ends(&topology, 1, 30), 0x00000001);
}

static void mispaired(void **state)
{
    (void)state;
    bundle();
    topology.peer_link[0][3] = 1; /* the other end does not say so */
    assert_fault(TOPOLOGY_MISPAIRED, 0, 3, 1);
    topology.peer_link[1][1] = 9; /* or names another one */
    assert_fault(TOPOLOGY_MISPAIRED, 0, 3, 1);
    bundle();
    join(0, 3, 1, 2); /* a link that leads nowhere */
    assert_fault(TOPOLOGY_MISPAIRED, 0, 3, 1);
    bundle();
    join(0, 3, 2, 0); /* to another card */
    assert_fault(TOPOLOGY_MISPAIRED, 0, 3, 1);
    static const int16_t beyond[] = {-2, LINK_MAX, INT16_MAX};
    for (size_t i = 0; i < sizeof beyond / sizeof beyond[0]; i++) {
        bundle();
        topology.peer_link[0][3] = beyond[i];
        assert_fault(TOPOLOGY_MISPAIRED, 0, 3, 1);
    }
    bundle();
    topology.peer_link[0][3] = LINK_MAX; /* in memory, what is after the last link is the next card's first */
    topology.peer_link[2][0] = 3;
    assert_fault(TOPOLOGY_MISPAIRED, 0, 3, 1);
    bundle();
    topology.peer_link[2][7] = 0; /* not wired */
    assert_fault(TOPOLOGY_MISPAIRED, 2, 7, NO_PEER);
    topology.peer[2][7] = EXTERNAL_PEER;
    assert_fault(TOPOLOGY_MISPAIRED, 2, 7, EXTERNAL_PEER);
}

static void self_link(void **state)
{
    (void)state;
    vendor_topology(&topology);
    topology.peer[5][2] = 5;
    assert_fault(TOPOLOGY_SELF_LINK, 5, 2, 5);
}

static void unknown_neighbour(void **state)
{
    (void)state;
    vendor_topology(&topology);
    topology.peer[7][31] = 8;
    assert_fault(TOPOLOGY_UNKNOWN_NEIGHBOUR, 7, 31, 8);
    topology.peer[7][31] = -3;
    assert_fault(TOPOLOGY_UNKNOWN_NEIGHBOUR, 7, 31, -3);
}

static void one_sided(void **state)
{
    (void)state;
    vendor_topology(&topology);
    topology.peer[6][1] = 2;
    assert_fault(TOPOLOGY_ONE_SIDED, 6, 1, 2);
    topology.peer[2][1] = 6;
    assert_fault(TOPOLOGY_FINE, -1, -1, -1);
}

/* Two links between the same cards count as two. */
static void parallel_links(void **state)
{
    (void)state;
    topology_clear(&topology, 2);
    topology.peer[0][3] = 1;
    topology.peer[0][9] = 1;
    topology.peer[1][0] = 0;
    assert_fault(TOPOLOGY_ONE_SIDED, 0, 3, 1);
    topology.peer[1][30] = 0;
    assert_fault(TOPOLOGY_FINE, -1, -1, -1);
}

static void first_fault_wins(void **state)
{
    (void)state;
    vendor_topology(&topology);
    topology.peer[4][8] = 4;
    topology.peer[4][7] = 100;
    topology.peer[3][1] = 0;
    assert_fault(TOPOLOGY_ONE_SIDED, 0, 4, 3);
}

static void largest(void **state)
{
    (void)state;
    topology_clear(&topology, PPU_MAX);
    for (int ppu = 0; ppu < PPU_MAX; ppu++) {
        for (int link = 0; link < LINK_MAX; link++) {
            topology.peer[ppu][link] = (int16_t)(ppu ^ (link + 1));
        }
    }
    assert_fault(TOPOLOGY_FINE, -1, -1, -1);
    assert_int_equal(topology_links(&topology, PPU_MAX - 1), 0xffffffff);
    topology.peer[PPU_MAX - 1][31] = 0;
    assert_fault(TOPOLOGY_ONE_SIDED, 991, 31, 1023);
}

static void assert_parts(const bool set[], int count, const int16_t expected[])
{
    int16_t part[PPU_MAX];
    assert_int_equal(topology_parts(&topology, set, part), count);
    assert_memory_equal(part, expected, 8 * sizeof part[0]);
}

static void parts(void **state)
{
    (void)state;
    vendor_topology(&topology);
    assert_parts((const bool[8]){false}, 0, (const int16_t[]){-1, -1, -1, -1, -1, -1, -1, -1});
    assert_parts((const bool[8]){[5] = true}, 1, (const int16_t[]){-1, -1, -1, -1, -1, 0, -1, -1});
    assert_parts((const bool[8]){true, [4] = true}, 2, (const int16_t[]){0, -1, -1, -1, 1, -1, -1, -1});
    assert_parts((const bool[8]){true, [4] = true, [6] = true}, 1, (const int16_t[]){0, -1, -1, -1, 0, -1, 0, -1});
    assert_parts((const bool[8]){[1] = true, [2] = true, [5] = true, [6] = true}, 2,
                 (const int16_t[]){-1, 0, 0, -1, -1, 1, 1, -1});
    assert_parts((const bool[8]){true, true, true, true, true, true, true, true}, 1, (const int16_t[8]){0});
}

/* A chain whose links lead down and up again. */
static void one_long_part(void **state)
{
    static const bool all[PPU_MAX] = {true, true, true, true, true, true, true, true};
    (void)state;
    topology_clear(&topology, 8);
    static const int16_t chain[] = {7, 0, 5, 2, 6, 1, 4, 3};
    for (int i = 0; i < 7; i++) {
        topology.peer[chain[i]][1] = chain[i + 1];
        topology.peer[chain[i + 1]][0] = chain[i];
    }
    assert_parts(all, 1, (const int16_t[8]){0});
    topology.peer[2][1] = EXTERNAL_PEER; /* joins nothing */
    topology.peer[6][0] = EXTERNAL_PEER;
    assert_parts(all, 2, (const int16_t[]){0, 1, 0, 1, 1, 0, 1, 0});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cleared),
        cmocka_unit_test(vendors_is_fine),
        cmocka_unit_test(links_at_both_ends_of_the_register),
        cmocka_unit_test(number_of_cards),
        cmocka_unit_test(several_cards_without_any_link),
        cmocka_unit_test(external_links),
        cmocka_unit_test(far_ends),
        cmocka_unit_test(mispaired),
        cmocka_unit_test(self_link),
        cmocka_unit_test(unknown_neighbour),
        cmocka_unit_test(one_sided),
        cmocka_unit_test(parallel_links),
        cmocka_unit_test(first_fault_wins),
        cmocka_unit_test(largest),
        cmocka_unit_test(parts),
        cmocka_unit_test(one_long_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
