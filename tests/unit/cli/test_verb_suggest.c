/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "cli/verbs.h"

#include "../engine/scene.h"
#include "capture.h"

static int suggest(struct options options)
{
    capture_begin();
    int status = verbs_call(verb_suggest, &options);
    capture_end();
    return status;
}

static void set_node(int ppu, const char *text)
{
    char path[96];

    snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/numa_node", addresses[ppu]);
    simulated_text(path, text);
}

static void test_text(void **state)
{
    (void)state;
    assert_int_equal(suggest((struct options){.argument = "2"}), STATUS_OK);
    assert_string_equal(captured_stdout(), "PPU 0 (0000:08:00.0), PPU 1 (0000:7e:00.0)\n"
                                           "links among them: 1\n"
                                           "links to other idle cards that would be lost: 6\n"
                                           "NUMA nodes: unknown\n"
                                           "compared all choices: this is the best\n");
}

static void test_json(void **state)
{
    (void)state;
    scene_running("a", VM_A, "123567", 101);
    set_node(0, "0\n");
    assert_int_equal(suggest((struct options){.argument = "2", .json = true}), STATUS_OK);
    assert_captured_json("", "{\"schema\":\"icn-hook/suggest/1\",\"ppus\":[{\"ppu\":0,\"bdf\":\"0000:08:00.0\"},"
                             "{\"ppu\":4,\"bdf\":\"0001:09:00.0\"}],\"links\":0,\"stranded\":0,\"numa_nodes\":[0],"
                             "\"exact\":true,\"connected\":false,\"warnings\":[\"no link joins these PPUs of the VM "
                             "with each other: 0 | 4\"]}");
}

static void test_xml(void **state)
{
    (void)state;
    scene_running("a", VM_A, "12367", 101);
    set_node(0, "0\n");
    set_node(4, "0\n");
    set_node(5, "0\n");
    assert_int_equal(suggest((struct options){.argument = "3", .xml = true, .numa = "0"}), STATUS_OK);
    assert_string_equal(captured_stdout(),
                        "<hostdev mode='subsystem' type='pci' managed='yes'><source><address domain='0x0000' "
                        "bus='0x08' slot='0x00' function='0x0'/></source></hostdev>\n"
                        "<hostdev mode='subsystem' type='pci' managed='yes'><source><address domain='0x0001' "
                        "bus='0x09' slot='0x00' function='0x0'/></source></hostdev>\n"
                        "<hostdev mode='subsystem' type='pci' managed='yes'><source><address domain='0x0001' "
                        "bus='0x7f' slot='0x00' function='0x0'/></source></hostdev>\n");
    assert_string_equal(captured_stderr(),
                        "icn-hook: warning: no link joins these PPUs of the VM with each other: 0 | 4,5\n");
}

static void assert_usage(struct options options, const char *message)
{
    assert_int_equal(suggest(options), STATUS_USAGE);
    if (options.json) {
        assert_captured_json("/code", "\"usage\"");
    } else {
        assert_string_equal(captured_stdout(), "");
    }
    assert_string_equal(captured_stderr(), message);
}

static void test_usage(void **state)
{
    (void)state;
    assert_usage((struct options){.argument = "0"},
                 "icn-hook: the number of cards must be 1 or more, not '0'; see icn-hook --help\n");
    assert_usage((struct options){.argument = "0x1"},
                 "icn-hook: the number of cards must be 1 or more, not '0x1'; see icn-hook --help\n");
    assert_usage((struct options){.argument = "1", .numa = "-1"},
                 "icn-hook: --numa takes the number of a node, not '-1'; see icn-hook --help\n");
    assert_usage((struct options){.argument = "1", .json = true, .xml = true},
                 "icn-hook: suggest takes --json or --xml, not both; see icn-hook --help\n");
}

static void test_refused(void **state)
{
    (void)state;
    scene_running("a", VM_A, "01", 101);
    assert_int_equal(suggest((struct options){.argument = "7", .json = true}), STATUS_CONFLICT);
    assert_captured_json("/code", "\"conflict\"");
    assert_string_equal(captured_stderr(),
                        "icn-hook: 6 of the 8 PPUs of this host are idle, not 7; PPU 0,1 owned by a\n");
    simulated_remove(TOPOLOGY);
    assert_int_equal(suggest((struct options){.argument = "1"}), STATUS_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_text, scene_start),    cmocka_unit_test_setup(test_json, scene_start),
        cmocka_unit_test_setup(test_xml, scene_start),     cmocka_unit_test_setup(test_usage, scene_start),
        cmocka_unit_test_setup(test_refused, scene_start),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
