/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/topology_make.h"

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
static struct topology_made made;
static struct error err;

static int start(void **state)
{
    scene_start(state);
    simulated_text(SETTINGS, "[ppudbg]\npath = " TESTS_DIR "/lib/ppudbg\n");
    return 0;
}

static int make(void)
{
    err = (struct error){0};
    return topology_make(NULL, &made, &err);
}

static void test_made(void **state)
{
    (void)state;
    assert_done(make(), &err);
    assert_string_equal(made.text.data, simulated_read(TOPOLOGY));
    assert_int_equal(made.topology.ppu_count, CARDS);
    assert_lines(&made.warnings, "");
    topology_made_free(&made);
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

static void test_refused_for_a_group(void **state)
{
    (void)state;
    scene_claim(
        &(struct scene_claim){.name = "red", .uuid = VM_A, .is_group = true, .phase = CLAIM_RUNNING, .ppus = "6"});
    assert_refused("the group 'red' has the card 0001:aa:00.0; release it first: ppudbg sees no links that are cut");
}

static void test_refused_for_a_stranger(void **state)
{
    (void)state;
    scene_hold(2);
    assert_refused(
        "the card 0000:a2:00.0 is held open by a process that is not a known VM; end it first: ppudbg sees no "
        "links that are cut");
}

static void test_refused_for_an_unreadable_claim(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .ppus = "0"});
    simulated_text(CLAIM_OF(VM_A), "broken");
    assert_int_equal(make(), -1);
    assert_int_equal(err.status, STATUS_CONFLICT);
    assert_non_null(strstr(err.text, CLAIM_OF(VM_A)));
    assert_non_null(strstr(err.text, "; it may hide a VM that has a card: ppudbg sees no links that are cut"));
}

static void test_refused_when_idle_cards_are_isolated(void **state)
{
    (void)state;
    simulated_text(SETTINGS, "[policy]\nidle = isolate\n[ppudbg]\npath = " TESTS_DIR "/lib/ppudbg\n");
    assert_int_equal(make(), -1);
    assert_error(&err, STATUS_INVALID,
                 "with idle = isolate links are cut, and ppudbg sees no links that are cut; set idle = restore in "
                 "[policy], run icn-hook reset, and then this",
                 "");
}

static void test_settings_that_are_broken(void **state)
{
    (void)state;
    simulated_text(SETTINGS, "[policy]\nidle = perhaps\n");
    assert_int_equal(make(), -1);
    assert_int_equal(err.status, STATUS_INVALID);
}

static void test_leftovers(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .phase = CLAIM_RUNNING, .ppus = "0"});
    assert_done(make(), &err);
    assert_lines(&made.warnings, "links of 'a', which is gone, may still be cut and missing in this topology; run "
                                 "icn-hook reset and generate it again");
    topology_made_free(&made);
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
    assert_done(make(), &err);
    snprintf(expected, sizeof expected,
             "ppudbg reports 2 cards, but 8 match :6001\n"
             "ppudbg did not see PPU 0 link 3 -> PPU 1, which %s had: was it cut?\n"
             "ppudbg did not see PPU 1 link 4 -> PPU 0, which %s had: was it cut?",
             simulated_path(TOPOLOGY), simulated_path(TOPOLOGY));
    assert_lines(&made.warnings, expected);
    topology_made_free(&made);
}

static void test_no_present_topology(void **state)
{
    (void)state;
    char *content = strdup(simulated_read(TOPOLOGY));
    simulated_remove(TOPOLOGY);
    give(content);
    free(content);
    assert_done(make(), &err);
    assert_lines(&made.warnings, "");
    topology_made_free(&made);
    simulated_text(TOPOLOGY, "broken");
    assert_done(make(), &err);
    assert_lines(&made.warnings, "");
    topology_made_free(&made);
}

/* Who comes while the tool looks has links cut that it does not see. */
static void test_vm_that_starts_meanwhile(void **state)
{
    char script[1024];
    (void)state;
    simulated_text("/topology", simulated_read(TOPOLOGY));
    simulated_directory("/proc/101");
    snprintf(script, sizeof script, "<domstatus pid='101'>%s</domstatus>", scene_xml("a", VM_A, "1"));
    simulated_text("/a.xml", script);
    snprintf(script, sizeof script, "#!/bin/sh\ncp %s %s\nexec cat %s\n", simulated_path("/a.xml"),
             simulated_path("/run/libvirt/qemu/a.xml"), simulated_path("/topology"));
    simulated_text("/tool", script);
    assert_int_equal(chmod(simulated_path("/tool"), 0755), 0);
    simulated_text(SETTINGS, "[ppudbg]\npath = /tool\n");
    assert_refused("while ppudbg looked at the links this changed, so its answer is not used: VM 'a' has the card "
                   "0000:7e:00.0; stop it first: ppudbg sees no links that are cut");
}

/* Nobody waits for the tool. */
static void test_lock_is_free_meanwhile(void **state)
{
    char script[1024];
    (void)state;
    simulated_text("/topology", simulated_read(TOPOLOGY));
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .phase = CLAIM_RUNNING, .ppus = ""});
    snprintf(script, sizeof script, "#!/bin/sh\nflock -n -x %s true || exit 7\nexec cat %s\n",
             simulated_path(RUN "/lock"), simulated_path("/topology"));
    simulated_text("/tool", script);
    assert_int_equal(chmod(simulated_path("/tool"), 0755), 0);
    simulated_text(SETTINGS, "[ppudbg]\npath = /tool\n");
    assert_done(make(), &err);
    topology_made_free(&made);
}

/* Several cards without a link: all are cut, or could not be seen. */
static void test_no_link_at_all(void **state)
{
    (void)state;
    give("==========device0==========\nppuid: 0\n==========device1==========\nppuid: 1\n");
    assert_int_equal(make(), -1);
    assert_error(&err, STATUS_INVALID,
                 "output of ppudbg --topo_read: 2 devices and no link: all links were cut or down when it was written; "
                 "write it again while they are up",
                 "");
    give("==========device0==========\nppuid: 0\n");
    assert_done(make(), &err);
    assert_int_equal(made.topology.ppu_count, 1);
    topology_made_free(&made);
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
        cmocka_unit_test_setup(test_refused_for_a_group, start),
        cmocka_unit_test_setup(test_refused_for_a_stranger, start),
        cmocka_unit_test_setup(test_refused_for_an_unreadable_claim, start),
        cmocka_unit_test_setup(test_refused_when_idle_cards_are_isolated, start),
        cmocka_unit_test_setup(test_settings_that_are_broken, start),
        cmocka_unit_test_setup(test_leftovers, start),
        cmocka_unit_test_setup(test_fewer_links_than_before, start),
        cmocka_unit_test_setup(test_no_present_topology, start),
        cmocka_unit_test_setup(test_vm_that_starts_meanwhile, start),
        cmocka_unit_test_setup(test_lock_is_free_meanwhile, start),
        cmocka_unit_test_setup(test_no_link_at_all, start),
        cmocka_unit_test_setup(test_output_that_is_no_topology, start),
        cmocka_unit_test_setup(test_tool_that_fails, start),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
