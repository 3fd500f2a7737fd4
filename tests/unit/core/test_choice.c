/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/choice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "vendor_topology.h"

/*
 * The choice is compared with the best of all sets of the same size, found by
 * looking at each of them.
 */
enum { RANDOM_MACHINES = 3000, HEURISTIC_MACHINES = 60 };

static struct topology topology;
static bool available[PPU_MAX];
static int numa_node[PPU_MAX];
static struct choice choice;
static int link_count[PPU_MAX];
static uint32_t random_state;

static uint32_t next_random(uint32_t below)
{
    random_state = random_state * 1664525 + 1013904223;
    return (random_state >> 8) % below;
}

static void clear(int cards)
{
    topology_clear(&topology, cards);
    memset(link_count, 0, sizeof link_count);
    for (int ppu = 0; ppu < PPU_MAX; ppu++) {
        available[ppu] = ppu < cards;
        numa_node[ppu] = 0;
    }
}

static void join(int a, int b)
{
    topology.peer[a][link_count[a]++] = (int16_t)b;
    topology.peer[b][link_count[b]++] = (int16_t)a;
}

static void mesh(int first, int cards)
{
    for (int a = first; a < first + cards; a++) {
        for (int b = a + 1; b < first + cards; b++) {
            join(a, b);
        }
    }
}

static void choose(int count, long budget)
{
    const struct choice_request request = {&topology, available, numa_node, count, budget};
    choice_make(&choice, &request);
}

struct outcome {
    uint32_t set;
    int links;
    int nodes;
    int stranded;
};

static int links_between(uint32_t a, uint32_t b)
{
    int links = 0;
    for (int ppu = 0; ppu < topology.ppu_count; ppu++) {
        for (int link = 0; (a >> ppu & 1) != 0 && link < LINK_MAX; link++) {
            int peer = topology.peer[ppu][link];
            links += peer != NO_PEER && (b >> peer & 1) != 0;
        }
    }
    return links;
}

static int count_nodes(uint32_t set)
{
    uint32_t nodes = 0;
    for (int ppu = 0; ppu < topology.ppu_count; ppu++) {
        if ((set >> ppu & 1) != 0) {
            nodes |= numa_node[ppu] < 0 ? UINT32_C(1) << 31 : UINT32_C(1) << numa_node[ppu];
        }
    }
    return __builtin_popcount(nodes);
}

static uint32_t all_available(void)
{
    uint32_t set = 0;
    for (int ppu = 0; ppu < topology.ppu_count; ppu++) {
        set |= available[ppu] ? UINT32_C(1) << ppu : 0;
    }
    return set;
}

static struct outcome judge(uint32_t set)
{
    return (struct outcome){
        .set = set,
        .links = links_between(set, set) / 2,
        .nodes = count_nodes(set),
        .stranded = links_between(set, all_available() & ~set),
    };
}

/* Of two sets, the one whose ascending list of ids comes first has the lowest id
 * that the other has not. */
static bool comes_first(uint32_t a, uint32_t b)
{
    uint32_t different = a ^ b;
    return (a & different & (~different + 1)) != 0;
}

static bool beats(struct outcome a, struct outcome b)
{
    if (a.links != b.links) {
        return a.links > b.links;
    }
    if (a.nodes != b.nodes) {
        return a.nodes < b.nodes;
    }
    if (a.stranded != b.stranded) {
        return a.stranded < b.stranded;
    }
    return comes_first(a.set, b.set);
}

static struct outcome best_of_all(int count)
{
    uint32_t all = all_available();
    struct outcome best = {.links = -1};
    for (uint32_t set = 1; set <= all; set++) {
        if ((set & ~all) == 0 && __builtin_popcount(set) == count) {
            struct outcome outcome = judge(set);
            best = beats(outcome, best) ? outcome : best;
        }
    }
    return best;
}

static uint32_t chosen_set(void)
{
    uint32_t set = 0;
    for (int ppu = 0; ppu < PPU_MAX; ppu++) {
        assert_true(!choice.chosen[ppu] || available[ppu]);
        set |= choice.chosen[ppu] ? UINT32_C(1) << ppu : 0;
    }
    return set;
}

static void assert_reported(struct outcome outcome)
{
    assert_int_equal(choice.links, outcome.links);
    assert_int_equal(choice.numa_nodes, outcome.nodes);
    assert_int_equal(choice.stranded, outcome.stranded);
}

static void assert_best(int count, const char *what, unsigned number)
{
    struct outcome best = best_of_all(count);
    choose(count, CHOICE_BUDGET);
    if (chosen_set() != best.set) {
        fail_msg("%s %u, %d cards of 0x%x: 0x%x instead of 0x%x", what, number, count, all_available(), chosen_set(),
                 best.set);
    }
    assert_true(choice.exact);
    assert_reported(best);
}

static void vendors_machine(void **state)
{
    (void)state;
    clear(8);
    vendor_topology(&topology);
    for (unsigned nodes = 0; nodes < 4; nodes++) {
        for (unsigned set = 1; set < 256; set++) {
            for (int ppu = 0; ppu < 8; ppu++) {
                static const int patterns[4][8] = {
                    {0}, {0, 0, 0, 0, 1, 1, 1, 1}, {0, 1, 0, 1, 0, 1, 0, 1}, {-1, -1, 0, 0, 1, 1, -2, 2}};
                numa_node[ppu] = patterns[nodes][ppu];
                available[ppu] = (set >> ppu & 1) != 0;
            }
            for (int count = 1; count <= __builtin_popcount(set); count++) {
                assert_best(count, "vendor's machine, NUMA pattern", nodes);
            }
        }
    }
}

static void make_random_machine(int cards)
{
    uint32_t attempts = next_random((uint32_t)cards * 6);
    clear(cards);
    for (uint32_t i = 0; i < attempts; i++) {
        int a = (int)next_random((uint32_t)cards);
        int b = (int)next_random((uint32_t)cards);
        if (a != b && link_count[a] < LINK_MAX && link_count[b] < LINK_MAX) {
            join(a, b);
        }
    }
    uint32_t nodes = 1 + next_random(4);
    for (int ppu = 0; ppu < cards; ppu++) {
        numa_node[ppu] = (int)next_random(nodes) - 1;
        available[ppu] = next_random(10) > 0;
    }
    available[0] = true;
}

/* Meshes with equal members, as they are found in no random machine. */
static void make_meshed_machine(int cards)
{
    int size = 2 + (int)next_random(4);
    clear(cards);
    for (int first = 0; first < cards; first += size) {
        mesh(first, size < cards - first ? size : cards - first);
        if (first > 0 && next_random(2) == 0) {
            join(first, first - 1);
        }
    }
    for (int ppu = 0; ppu < cards; ppu++) {
        numa_node[ppu] = ppu * (1 + (int)next_random(2)) / cards;
        available[ppu] = ppu == 0 || next_random(8) > 0;
    }
}

static void random_machines(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= RANDOM_MACHINES; seed++) {
        random_state = seed;
        (seed % 3 == 0 ? make_meshed_machine : make_random_machine)(8);
        for (int count = 1; count <= __builtin_popcount(all_available()); count++) {
            assert_best(count, "seed", seed);
        }
    }
}

/* Where not all sets can be tried, the answer is one that is hard to better. */
static void growing_and_exchanging(void **state)
{
    int missed = 0;
    int choices = 0;
    int links_missed = 0;
    (void)state;
    for (unsigned seed = 1; seed <= HEURISTIC_MACHINES; seed++) {
        random_state = seed;
        make_random_machine(12 + (int)(seed % 3));
        for (int count = 1; count <= __builtin_popcount(all_available()); count++) {
            struct outcome best = best_of_all(count);
            choose(count, 0);
            assert_false(choice.exact);
            assert_int_equal(__builtin_popcount(chosen_set()), count);
            assert_reported(judge(chosen_set()));
            choices++;
            missed += chosen_set() != best.set;
            links_missed += best.links - choice.links;
            choose(count, CHOICE_BUDGET);
            assert_true(choice.exact);
            assert_int_equal(chosen_set(), best.set);
        }
    }
    print_message("grown and exchanged: %d of %d choices are not the best, %d links less in all\n", missed, choices,
                  links_missed);
    assert_true(missed * 30 < choices);
    assert_true(links_missed * 30 < choices);
}

static void assert_all_chosen(int first, int count)
{
    for (int ppu = first; ppu < first + count; ppu++) {
        assert_true(choice.chosen[ppu]);
    }
}

/* 128 cards: octets of two meshed quads, each joined to the next octet. */
static void large_machine(void **state)
{
    (void)state;
    clear(128);
    for (int first = 0; first < 128; first += 8) {
        mesh(first, 4);
        mesh(first + 4, 4);
        for (int card = 0; card < 4; card++) {
            join(first + card, first + 4 + card);
        }
    }
    for (int first = 0; first < 128; first += 8) {
        join(first + 7, (first + 8) % 128);
    }
    for (int ppu = 0; ppu < 128; ppu++) {
        numa_node[ppu] = (ppu + 4) / 64;
    }
    choose(8, CHOICE_BUDGET);
    assert_all_chosen(0, 8);
    assert_int_equal(choice.links, 16);
    assert_int_equal(choice.stranded, 2);
    assert_int_equal(choice.numa_nodes, 1);
    for (int ppu = 0; ppu < 56; ppu++) {
        available[ppu] = ppu % 8 != 3;
    }
    choose(8, CHOICE_BUDGET);
    assert_all_chosen(64, 8);
    assert_int_equal(choice.numa_nodes, 1);
    for (int ppu = 0; ppu < 56; ppu++) {
        available[ppu] = true;
    }
    assert_false(choice.exact);
    available[1] = false;
    choose(4, CHOICE_BUDGET);
    assert_all_chosen(4, 4);
    assert_int_equal(choice.stranded, 4);
    assert_true(choice.exact);
    for (int count = 20; count < 127; count += 20) {
        struct choice first;
        choose(count, CHOICE_BUDGET);
        assert_false(choice.exact);
        first = choice;
        choose(count, CHOICE_BUDGET);
        assert_memory_equal(&choice, &first, sizeof choice);
    }
}

/* External links are neither inner links nor stranded ones, whether all sets are tried or not. */
static void external_links_change_nothing(void **state)
{
    static const long budgets[] = {CHOICE_BUDGET, 0};
    (void)state;
    for (unsigned seed = 1; seed <= 20; seed++) {
        for (size_t i = 0; i < sizeof budgets / sizeof budgets[0]; i++) {
            random_state = seed;
            make_random_machine(8);
            choose(2, budgets[i]);
            struct choice before = choice;
            for (int ppu = 0; ppu < (int)seed % 8 + 1; ppu++) {
                for (int link = 0; link < LINK_MAX; link++) {
                    if (topology.peer[ppu][link] == NO_PEER) {
                        topology.peer[ppu][link] = EXTERNAL_PEER;
                    }
                }
            }
            choose(2, budgets[i]);
            assert_int_equal(choice.links, before.links);
            assert_int_equal(choice.stranded, before.stranded);
            assert_memory_equal(choice.chosen, before.chosen, sizeof choice.chosen);
        }
    }
}

/* All pairs of so many cards that a set of them does not fit into a machine word. */
static void pairs_of_many_cards(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 40; seed++) {
        const int cards = seed % 2 == 0 ? 128 : 65;
        int best[5] = {-1, 0, 0, 0, 0};
        random_state = seed;
        make_random_machine(cards);
        for (int a = 0; a < cards; a++) {
            for (int b = a + 1; b < cards && available[a]; b++) {
                int ends = 0;
                int links = 0;
                for (int link = 0; link < LINK_MAX; link++) {
                    int from_a = topology.peer[a][link];
                    int from_b = topology.peer[b][link];
                    links += from_a == b;
                    ends += (from_a != NO_PEER && available[from_a]) + (from_b != NO_PEER && available[from_b]);
                }
                const int pair[5] = {links, numa_node[a] == numa_node[b] ? -1 : -2, 2 * links - ends, a, b};
                /* Ascending ids: of equal pairs the first one is the best. */
                int i = 0;
                while (i < 2 && pair[i] == best[i]) {
                    i++;
                }
                if (available[b] && pair[i] > best[i]) {
                    memcpy(best, pair, sizeof best);
                }
            }
        }
        choose(2, CHOICE_BUDGET);
        assert_true(choice.exact);
        assert_true(choice.chosen[best[3]] && choice.chosen[best[4]]);
        assert_int_equal(choice.links, best[0]);
        assert_int_equal(choice.numa_nodes, -best[1]);
        assert_int_equal(choice.stranded, -best[2]);
    }
}

/* 26 cards with as many links as they can have are looked through for every number; of
 * 27 all halves are too many. */
static void as_many_as_are_tried(void **state)
{
    (void)state;
    for (int cards = 26; cards <= 27; cards++) {
        clear(cards);
        mesh(0, cards);
        for (int ppu = 0; ppu + 1 < cards; ppu += 2) {
            join(ppu, ppu + 1);
            numa_node[ppu] = numa_node[ppu + 1] = ppu % 4;
        }
        choose(13, CHOICE_BUDGET);
        assert_int_equal(choice.exact, cards == 26);
        assert_int_equal(choice.links, 78 + 6);
        assert_int_equal(choice.numa_nodes, 1);
        choose(4, CHOICE_BUDGET);
        assert_true(choice.exact);
        assert_int_equal(choice.links, 6 + 2);
    }
    clear(129);
    choose(1, CHOICE_BUDGET);
    assert_false(choice.exact);
    clear(128);
    choose(1, CHOICE_BUDGET);
    assert_true(choice.exact);
    assert_all_chosen(0, 1);
}

/* The largest machine, each card joined to 32 others. */
static void largest_machine(void **state)
{
    static const int counts[] = {1, 2, 33, 512, PPU_MAX};
    (void)state;
    clear(PPU_MAX);
    for (int ppu = 0; ppu < PPU_MAX; ppu++) {
        for (int link = 0; link < LINK_MAX; link++) {
            topology.peer[ppu][link] = (int16_t)(ppu ^ (37 * (link + 1) % 1024));
        }
        numa_node[ppu] = ppu;
    }
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        int chosen = 0;
        choose(counts[i], CHOICE_BUDGET);
        for (int ppu = 0; ppu < PPU_MAX; ppu++) {
            chosen += choice.chosen[ppu];
        }
        assert_int_equal(chosen, counts[i]);
        assert_int_equal(choice.numa_nodes, counts[i]);
        assert_int_equal(2 * choice.links + choice.stranded, LINK_MAX * counts[i]);
    }
    assert_int_equal(choice.links, PPU_MAX * LINK_MAX / 2);
}

/* More exchanges would help than there is time for. */
static void exchanges_end(void **state)
{
    int chosen = 0;
    (void)state;
    random_state = 1;
    make_random_machine(PPU_MAX);
    for (int ppu = 0; ppu < PPU_MAX; ppu++) {
        numa_node[ppu] = (int)next_random(256);
        available[ppu] = true;
    }
    choose(512, CHOICE_BUDGET);
    for (int ppu = 0; ppu < PPU_MAX; ppu++) {
        chosen += choice.chosen[ppu];
    }
    assert_int_equal(chosen, 512);
    assert_false(choice.exact);
    assert_true(choice.links > choice.stranded);
}

/* Cards that are equal in all but their ids. */
static void equal_cards(void **state)
{
    (void)state;
    clear(99);
    for (int first = 0; first < 99; first += 33) {
        mesh(first, 33);
    }
    for (int count = 1; count <= 33; count++) {
        choose(count, CHOICE_BUDGET);
        assert_all_chosen(0, count);
        assert_int_equal(choice.exact, count <= 4);
        assert_int_equal(choice.links, count * (count - 1) / 2);
    }
    available[0] = false;
    choose(33, CHOICE_BUDGET);
    assert_all_chosen(33, 33);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vendors_machine),        cmocka_unit_test(random_machines),
        cmocka_unit_test(growing_and_exchanging), cmocka_unit_test(large_machine),
        cmocka_unit_test(largest_machine),        cmocka_unit_test(equal_cards),
        cmocka_unit_test(exchanges_end),          cmocka_unit_test(external_links_change_nothing),
        cmocka_unit_test(pairs_of_many_cards),    cmocka_unit_test(as_many_as_are_tried),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
