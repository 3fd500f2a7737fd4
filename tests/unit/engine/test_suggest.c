/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/suggest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "scene.h"

static struct session session;
static struct suggestion suggestion;
static struct error err;

/* Looks at the host as it is, and asks. */
static int suggest(uint64_t wanted, int numa_node)
{
    scene_session(&session, SESSION_LOOK);
    return suggest_make(&suggestion, &session, wanted, numa_node, &err);
}

/* What was noted, but for who holds what. */
static void assert_advice(const char *expected)
{
    struct text_list advice = {0};
    for (size_t i = 0; i < session.notes.count; i++) {
        if (session.notes.items[i].code == NOTE_ADVICE) {
            assert_int_equal(session.notes.items[i].severity, NOTE_WARNING);
            text_list_add_copy(&advice, session.notes.items[i].text);
        }
    }
    assert_lines(&advice, expected);
    text_list_free(&advice);
}

static void assert_suggested(uint64_t wanted, int numa_node, const char *ids, const char *advice)
{
    char text[IDS_TEXT_SIZE];
    assert_done(suggest(wanted, numa_node), &err);
    assert_string_equal(machine_ids_text(session.machine, suggestion.choice.chosen, text), ids);
    assert_advice(advice);
    session_close(&session);
}

static void assert_none(uint64_t wanted, int numa_node, enum status status, const char *message)
{
    assert_int_equal(suggest(wanted, numa_node), -1);
    assert_error(&err, status, message, "");
    session_close(&session);
}

static void set_node(int ppu, int node)
{
    char path[96];
    char text[16];
    snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/numa_node", addresses[ppu]);
    snprintf(text, sizeof text, "%d\n", node);
    simulated_text(path, text);
}

static void test_idle_host(void **state)
{
    (void)state;
    assert_suggested(4, ANY_NODE, "0-3", "");
    assert_int_equal(suggestion.choice.links, 6);
    assert_int_equal(suggestion.choice.stranded, 4);
    assert_true(suggestion.choice.exact);
    assert_true(suggestion.connected);
    assert_suggested(8, ANY_NODE, "0-7", "");
    assert_none(9, ANY_NODE, STATUS_INVALID, "this host has 8 PPUs, not 9");
    assert_none(UINT64_MAX, ANY_NODE, STATUS_INVALID, "this host has 8 PPUs, not 18446744073709551615");
}

static void test_owners(void **state)
{
    (void)state;
    scene_running("a", VM_A, "03", 101);
    scene_running("b", VM_B, "5", 102);
    scene_bind(addresses[6], "vfio-pci", 1);
    assert_suggested(2, ANY_NODE, "1,2", "");
    assert_suggested(3, ANY_NODE, "1,2,4", "");
    assert_none(5, ANY_NODE, STATUS_CONFLICT,
                "4 of the 8 PPUs of this host are idle, not 5; PPU 0,3 owned by a; PPU 5 owned by b; PPU 6 held open "
                "by an unknown process");
}

static void test_not_joined(void **state)
{
    (void)state;
    scene_running("a", VM_A, "123567", 101);
    set_node(0, 0);
    set_node(4, 1);
    assert_suggested(2, ANY_NODE, "0,4",
                     "no link joins these PPUs of the VM with each other: 0 | 4\n"
                     "the VM's PPUs are on different NUMA nodes: 0 on node 0, 4 on node 1");
    assert_false(suggestion.connected);
    assert_int_equal(suggestion.node_count, 2);
}

static void test_virtual_functions(void **state)
{
    (void)state;
    scene_virtual_function(0, 0, "0000:08:00.1");
    scene_running("a", VM_A, "4", 101);
    scene_virtual_function(4, 0, "0001:09:00.1");
    assert_suggested(2, ANY_NODE, "1,2",
                     "PPU 0 (0000:08:00.0) is idle but split into virtual functions, so it cannot be passed whole; "
                     "write 0 into its sriov_numvfs to have it offered");
    assert_none(7, ANY_NODE, STATUS_CONFLICT,
                "6 of the 8 PPUs of this host are idle, not 7; PPU 0 split into virtual functions; PPU 4 owned by a");
}

static void test_nodes(void **state)
{
    (void)state;
    for (int ppu = 0; ppu < CARDS; ppu++) {
        set_node(ppu, ppu % 2);
    }
    assert_suggested(2, 1, "1,3", "");
    assert_suggested(2, 0, "0,2", "");
    assert_none(5, 1, STATUS_INVALID, "NUMA node 1 has 4 PPUs, not 5");
    assert_none(1, 2, STATUS_INVALID, "no PPU is on NUMA node 2; nodes with PPUs: 0, 1");
    scene_running("a", VM_A, "13", 101);
    assert_none(3, 1, STATUS_CONFLICT, "2 of the 4 PPUs of NUMA node 1 are idle, not 3; PPU 1,3 owned by a");
}

static void test_no_node_known(void **state)
{
    (void)state;
    for (int ppu = 0; ppu < CARDS; ppu++) {
        set_node(ppu, -1);
    }
    assert_none(1, 0, STATUS_INVALID, "no PPU is on NUMA node 0; nodes with PPUs: none is known");
    assert_suggested(8, ANY_NODE, "0-7", "");
    assert_int_equal(suggestion.node_count, 0);
}

static void test_card_off_the_bus(void **state)
{
    (void)state;
    scene_unplug("07");
    assert_suggested(2, ANY_NODE, "1,2", "");
    assert_none(7, ANY_NODE, STATUS_INVALID, "this host has 6 PPUs, not 7");
}

static void test_doubt(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .ppus = "0"});
    simulated_text(CLAIM_OF(VM_A), "junk");
    assert_int_equal(suggest(1, ANY_NODE), -1);
    assert_int_equal(err.status, STATUS_INVALID);
    assert_memory_equal(err.text, "not every owner is known, so no card can be offered: ", 53);
    session_close(&session);
}

/* -- NUMA nodes --------------------------------------------------------------------- */

static void set_of(const char *ppus, bool set[PPU_MAX])
{
    memset(set, 0, PPU_MAX * sizeof set[0]);
    for (; *ppus != '\0'; ppus++) {
        set[*ppus - '0'] = true;
    }
}

static void assert_nodes(const char *ppus, const char *expected)
{
    struct notes notes = {0};
    bool set[PPU_MAX];
    set_of(ppus, set);
    suggest_advise_nodes(&session, set, &notes);
    assert_notes(&notes, expected);
    notes_free(&notes);
}

static void test_advice_on_nodes(void **state)
{
    static const int nodes[CARDS] = {7, 7, 7, 0, -1, -1, 0, 3};
    bool set[PPU_MAX];
    int found[PPU_MAX];
    (void)state;
    scene_session(&session, SESSION_LOOK);
    for (int ppu = 0; ppu < CARDS; ppu++) {
        session.cards[ppu].state.numa_node = nodes[ppu];
    }
    assert_nodes("", "");
    assert_nodes("012", "");
    assert_nodes("01245", "");
    assert_nodes("36", "");
    assert_nodes("0136", "warning advice: the VM's PPUs are on different NUMA nodes: 3,6 on node 0, 0,1 on node 7");
    assert_nodes("01234567", "warning advice: the VM's PPUs are on different NUMA nodes: 3,6 on node 0, 7 on node 3, "
                             "0-2 on node 7");
    set_of("45", set);
    assert_int_equal(suggest_nodes(&session, set, found), 0);
    set_of("01234567", set);
    assert_int_equal(suggest_nodes(&session, set, found), 3);
    assert_memory_equal(found, ((const int[]){0, 3, 7}), 3 * sizeof found[0]);
    session_close(&session);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_idle_host, scene_start),
        cmocka_unit_test_setup(test_owners, scene_start),
        cmocka_unit_test_setup(test_not_joined, scene_start),
        cmocka_unit_test_setup(test_virtual_functions, scene_start),
        cmocka_unit_test_setup(test_nodes, scene_start),
        cmocka_unit_test_setup(test_no_node_known, scene_start),
        cmocka_unit_test_setup(test_card_off_the_bus, scene_start),
        cmocka_unit_test_setup(test_doubt, scene_start),
        cmocka_unit_test_setup(test_advice_on_nodes, scene_start),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
