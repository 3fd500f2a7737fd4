/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/advice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "scene.h"

static struct machine *machine;
static struct snapshot *snapshot;

static void set_of(const char *ppus, bool set[PPU_MAX])
{
    memset(set, 0, PPU_MAX * sizeof set[0]);
    for (; *ppus != '\0'; ppus++) {
        set[*ppus - '0'] = true;
    }
}

static void test_ids(void **state)
{
    static const char *const cases[][2] = {
        {"", ""},          {"5", "5"},          {"01", "0,1"},
        {"012", "0-2"},    {"0246", "0,2,4,6"}, {"12467", "1,2,4,6,7"},
        {"0567", "0,5-7"}, {"01234567", "0-7"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bool set[PPU_MAX];
        char text[IDS_TEXT_SIZE];
        set_of(cases[i][0], set);
        assert_string_equal(advice_ids_text(machine, set, text), cases[i][1]);
    }
}

static void test_longest_ids(void **state)
{
    bool set[PPU_MAX] = {false};
    char text[IDS_TEXT_SIZE];

    (void)state;
    machine->topology.ppu_count = PPU_MAX;
    for (int ppu = 0; ppu < PPU_MAX; ppu += 2) {
        set[ppu] = true;
    }
    advice_ids_text(machine, set, text);
    machine->topology.ppu_count = CARDS;
    assert_string_equal(text + strlen(text) - 10, ",1020,1022");
}

static void assert_parts(const char *ppus, enum hint hint, const char *expected)
{
    struct text_list warnings = {0};
    bool set[PPU_MAX];

    set_of(ppus, set);
    advice_on_parts(machine, set, hint, &warnings);
    assert_lines(&warnings, expected);
    text_list_free(&warnings);
}

static void test_parts(void **state)
{
    (void)state;
    assert_parts("", WITH_HINT, "");
    assert_parts("3", WITH_HINT, "");
    assert_parts("06", WITH_HINT, "");
    assert_parts("01234567", WITH_HINT, "");
    assert_parts("04", WITHOUT_HINT, "no link joins these PPUs of the VM with each other: 0 | 4");
    assert_parts("0145", WITH_HINT,
                 "no link joins these PPUs of the VM with each other: 0,1 | 4,5; icn-hook suggest 4 shows the idle "
                 "PPUs that are joined best");
}

static void set_nodes(const int nodes[CARDS])
{
    for (int ppu = 0; ppu < CARDS; ppu++) {
        snapshot->cards[ppu].state.numa_node = nodes[ppu];
    }
}

static void assert_nodes(const char *ppus, const char *expected)
{
    struct text_list warnings = {0};
    bool set[PPU_MAX];

    set_of(ppus, set);
    advice_on_nodes(machine, snapshot, set, &warnings);
    assert_lines(&warnings, expected);
    text_list_free(&warnings);
}

static void test_nodes(void **state)
{
    (void)state;
    set_nodes((const int[CARDS]){7, 7, 7, 0, -1, -1, 0, 3});
    assert_nodes("", "");
    assert_nodes("012", "");
    assert_nodes("01245", "");
    assert_nodes("36", "");
    assert_nodes("0136", "the VM's PPUs are on different NUMA nodes: 3,6 on node 0, 0,1 on node 7");
    assert_nodes("01234567", "the VM's PPUs are on different NUMA nodes: 3,6 on node 0, 7 on node 3, 0-2 on node 7");
}

static void test_list_of_nodes(void **state)
{
    bool set[PPU_MAX];
    int nodes[PPU_MAX];

    (void)state;
    set_nodes((const int[CARDS]){7, 7, 7, 0, -1, -1, 0, 3});
    set_of("45", set);
    assert_int_equal(advice_nodes(machine, snapshot, set, nodes), 0);
    set_of("01234567", set);
    assert_int_equal(advice_nodes(machine, snapshot, set, nodes), 3);
    assert_memory_equal(nodes, ((const int[]){0, 3, 7}), 3 * sizeof nodes[0]);
}

static int start(void **state)
{
    scene_start(state);
    machine = scene_machine();
    snapshot = scene_snapshot(machine);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    snapshot_free(snapshot);
    machine_close(machine);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_ids, start, stop),
        cmocka_unit_test_setup_teardown(test_longest_ids, start, stop),
        cmocka_unit_test_setup_teardown(test_parts, start, stop),
        cmocka_unit_test_setup_teardown(test_nodes, start, stop),
        cmocka_unit_test_setup_teardown(test_list_of_nodes, start, stop),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
