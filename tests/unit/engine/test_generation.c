/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/generation.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "scene.h"

/* The stand-in for ppudbg prints the topology file of the simulated host. */
static struct generation generation;
static struct error err;

static int start(void **state)
{
    scene_start(state);
    simulated_text(SETTINGS, "[ppudbg]\npath = " TESTS_DIR "/lib/ppudbg\n");
    return 0;
}

static int make(void)
{
    struct machine *machine;
    assert_int_equal(machine_open(NULL, &machine, &err), 0);
    int result = generation_make(machine, &generation, &err);
    machine_close(machine);
    return result;
}

static void test_made(void **state)
{
    (void)state;
    assert_int_equal(make(), 0);
    assert_string_equal(generation.text.data, simulated_read(TOPOLOGY));
    assert_int_equal(generation.topology.ppu_count, CARDS);
    assert_lines(&generation.warnings, "");
    generation_free(&generation);
}

static void assert_refused(const char *text)
{
    assert_int_equal(make(), -1);
    assert_error(&err, STATUS_CONFLICT, text, "");
}

static void test_refused_for_a_vm(void **state)
{
    (void)state;
    scene_running("a", VM_A, "1", 101);
    assert_refused("VM 'a' has the card 0000:7e:00.0; stop it first: ppudbg sees no links that are cut");
}

static void test_refused_for_a_stranger(void **state)
{
    (void)state;
    scene_bind(addresses[2], "vfio-pci", 1);
    assert_refused("the card 0000:a2:00.0 is held open by a process that is no libvirt VM; end it first: ppudbg sees no "
                   "links that are cut");
}

static void test_refused_for_an_unreadable_entry(void **state)
{
    (void)state;
    scene_record(&(struct scene_entry){.name = "a", .uuid = VM_A, .owned = "0", .touched = ""});
    simulated_text(LEDGER "/" VM_A ".json", "broken");
    assert_int_equal(make(), -1);
    assert_int_equal(err.status, STATUS_CONFLICT);
    assert_non_null(strstr(err.text, VM_A ".json"));
    assert_non_null(strstr(err.text, "; it may hide a VM whose links are cut, which ppudbg would not see"));
}

static void test_leftovers(void **state)
{
    (void)state;
    scene_record(&(struct scene_entry){
        .name = "a", .uuid = VM_A, .phase = PHASE_ENDED, .owned = "0", .touched = "1"});
    assert_int_equal(make(), 0);
    assert_lines(&generation.warnings, "links of 'a', which is gone, may still be cut and missing in this topology; run "
                                       "icn-hook reset and generate it again");
    generation_free(&generation);
}

/* A tool that prints the file CONTENT. */
static void give(const char *content)
{
    char settings[512];
    simulated_text("/topology", content);
    snprintf(settings, sizeof settings, "[ppudbg]\npath = /tool\n");
    simulated_text(SETTINGS, settings);
    snprintf(settings, sizeof settings, "#!/bin/sh\nexec cat %s\n", simulated_path("/topology"));
    simulated_text("/tool", settings);
    assert_int_equal(chmod(simulated_path("/tool"), 0755), 0);
}

static void test_fewer_links_than_before(void **state)
{
    (void)state;
    char expected[4096];
    simulated_text(TOPOLOGY, "==========device0==========\nppuid: 0\nlink[2]: nbrPpuid:1\nlink[3]: nbrPpuid:1\n"
                             "==========device1==========\nppuid: 1\nlink[2]: nbrPpuid:0\nlink[4]: nbrPpuid:0\n");
    give("==========device0==========\nppuid: 0\nlink[2]: nbrPpuid:1\n"
         "==========device1==========\nppuid: 1\nlink[2]: nbrPpuid:0\n");
    assert_int_equal(make(), 0);
    snprintf(expected, sizeof expected,
             "ppudbg tells of 2 cards, but 8 match :6001\n"
             "ppudbg did not see PPU 0 link 3 -> PPU 1, which %s had: was it cut?\n"
             "ppudbg did not see PPU 1 link 4 -> PPU 0, which %s had: was it cut?",
             simulated_path(TOPOLOGY), simulated_path(TOPOLOGY));
    assert_lines(&generation.warnings, expected);
    generation_free(&generation);
}

static void test_no_present_topology(void **state)
{
    (void)state;
    char *content = strdup(simulated_read(TOPOLOGY));
    simulated_remove(TOPOLOGY);
    give(content);
    free(content);
    assert_int_equal(make(), 0);
    assert_lines(&generation.warnings, "");
    generation_free(&generation);
    simulated_text(TOPOLOGY, "broken");
    assert_int_equal(make(), 0);
    assert_lines(&generation.warnings, "");
    generation_free(&generation);
}

static void test_output_that_is_no_topology(void **state)
{
    (void)state;
    give("hello\n");
    assert_int_equal(make(), -1);
    assert_int_equal(err.status, STATUS_INVALID);
    assert_memory_equal(err.text, "output of ppudbg --topo_read:1: ", 32);
}

static void test_tool_that_fails(void **state)
{
    (void)state;
    simulated_text("/etc/ppudbg.fault", "exit");
    assert_int_equal(make(), -1);
    assert_error(&err, STATUS_HARDWARE,
                 "ppudbg --topo_read: " TESTS_DIR "/lib/ppudbg ended with exit status 1: ppudbg: error: the firmware "
                 "refused",
                 "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_made, start),
        cmocka_unit_test_setup(test_refused_for_a_vm, start),
        cmocka_unit_test_setup(test_refused_for_a_stranger, start),
        cmocka_unit_test_setup(test_refused_for_an_unreadable_entry, start),
        cmocka_unit_test_setup(test_leftovers, start),
        cmocka_unit_test_setup(test_fewer_links_than_before, start),
        cmocka_unit_test_setup(test_no_present_topology, start),
        cmocka_unit_test_setup(test_output_that_is_no_topology, start),
        cmocka_unit_test_setup(test_tool_that_fails, start),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
