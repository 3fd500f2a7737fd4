/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/suggestion.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/advice.h"

#include "scene.h"

static struct machine *machine;
static struct inspection inspection;
static struct suggestion suggestion;
static struct error err;

/* Looks at the host as it is, and asks. */
static int suggest(uint64_t wanted, int numa_node)
{
    machine = scene_machine();
    if (inspection_open(&inspection, machine, &err) < 0) {
        fail_msg("%s", err.text);
    }
    return suggestion_make(&suggestion, &inspection, wanted, numa_node, &err);
}

static void done(void)
{
    inspection_close(&inspection);
    machine_close(machine);
}

static void assert_suggested(uint64_t wanted, int numa_node, const char *ids, const char *warnings)
{
    char text[IDS_TEXT_SIZE];

    assert_int_equal(suggest(wanted, numa_node), 0);
    assert_string_equal(advice_ids_text(machine, suggestion.choice.chosen, text), ids);
    assert_lines(&suggestion.warnings, warnings);
    suggestion_free(&suggestion);
    done();
}

static void assert_none(uint64_t wanted, int numa_node, enum status status, const char *message)
{
    assert_int_equal(suggest(wanted, numa_node), -1);
    assert_error(&err, status, message, "");
    done();
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
    static const char map[] = "[map]\n0 = 0000:08:00.0\n1 = 0000:7e:00.0\n2 = 0000:a2:00.0\n3 = 0000:c6:00.0\n"
                              "4 = 0001:09:00.0\n5 = 0001:7f:00.0\n6 = 0001:aa:00.0\n";

    (void)state;
    simulated_text(SETTINGS, map);
    simulated_remove("/sys/bus/pci/devices/0000:08:00.0");
    assert_suggested(2, ANY_NODE, "1,2", "");
    assert_none(7, ANY_NODE, STATUS_INVALID, "this host has 6 PPUs, not 7");
}

static void test_doubt(void **state)
{
    (void)state;
    simulated_directory(LEDGER);
    simulated_text(LEDGER "/" VM_A ".json", "junk");
    assert_int_equal(suggest(1, ANY_NODE), -1);
    assert_memory_equal(err.text, "not every owner is known, so no card can be offered: ", 53);
    done();
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
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
