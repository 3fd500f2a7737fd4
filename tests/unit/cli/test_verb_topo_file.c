/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/verbs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"

#include "../engine/scene.h"
#include "capture.h"

#define VENDOR TESTS_DIR "/fixtures/topology/vendor.cfg"
#define BROKEN TESTS_DIR "/fixtures/topology/self_link.cfg"

static int run(struct options options)
{
    capture_begin();
    int status = verbs_call(verb_topo, &options);
    capture_end();
    return status;
}

static int start(void **state)
{
    scene_start(state);
    simulated_text(SETTINGS, "[ppudbg]\npath = " TESTS_DIR "/lib/ppudbg\n");
    return 0;
}

static void test_valid(void **state)
{
    (void)state;
    assert_int_equal(run((struct options){.validate = VENDOR}), STATUS_OK);
    assert_string_equal(captured_stdout(), VENDOR ": valid, 8 cards, 16 links\n");
    assert_string_equal(captured_stderr(), "");
    assert_int_equal(run((struct options){.validate = VENDOR, .json = true}), STATUS_OK);
    assert_captured_json(
        "", "{\"schema\":\"icn-hook/validate/1\",\"ok\":true,\"cards\":8,\"links\":16,\"external\":0,\"error\":null,"
            "\"warnings\":[]}");
}

static void test_invalid(void **state)
{
    (void)state;
    char line[4096];
    assert_int_equal(run((struct options){.validate = BROKEN}), STATUS_INVALID);
    assert_string_equal(captured_stdout(), "");
    assert_memory_equal(captured_stderr(), "icn-hook: " BROKEN ":", sizeof "icn-hook: " BROKEN);
    snprintf(line, sizeof line, "\"%s\"", captured_stderr() + strlen("icn-hook: "));
    line[strlen(line) - 2] = '"';
    line[strlen(line) - 1] = '\0';
    assert_int_equal(run((struct options){.validate = BROKEN, .json = true}), STATUS_INVALID);
    assert_captured_json("/error", line);
    assert_captured_json("/ok", "false");
    assert_captured_json("/cards", "null");
    assert_captured_json("/links", "null");
}

static void test_external_links(void **state)
{
    (void)state;
    simulated_text("/scale-out.cfg", "==device0==\nppuid: 0\nlink[0]: nbrPpuid:1\nlink[1]: nbrPpuid:16\n"
                                     "==device1==\nppuid: 1\nlink[0]: nbrPpuid:0\n==device2==\nppuid: 2\n");
    const char *path = simulated_path("/scale-out.cfg");
    char expected[512];
    assert_int_equal(run((struct options){.validate = path}), STATUS_OK);
    snprintf(expected, sizeof expected, "%s: valid, 3 cards, 1 links, 1 external link\n", path);
    assert_string_equal(captured_stdout(), expected);
    assert_string_equal(captured_stderr(),
                        "icn-hook: warning: PPU 2 has no link; if it has links in truth, they will not be cut\n"
                        "icn-hook: warning: the topology has 3 cards, but 8 match :6001 on this host\n");
    assert_int_equal(run((struct options){.validate = path, .json = true}), STATUS_OK);
    assert_captured_json("/links", "1");
    assert_captured_json("/external", "1");
    simulated_text("/scale-out.cfg", "==device0==\nppuid: 0\nlink[1]: nbrPpuid:16\nlink[2]: nbrPpuid:16\n");
    assert_int_equal(run((struct options){.validate = path}), STATUS_OK);
    snprintf(expected, sizeof expected, "%s: valid, 1 cards, 0 links, 2 external links\n", path);
    assert_string_equal(captured_stdout(), expected);
}

static void test_another_number_of_cards(void **state)
{
    (void)state;
    simulated_remove("/sys/bus/pci/devices/0001:ce:00.0");
    assert_int_equal(run((struct options){.validate = VENDOR, .json = true}), STATUS_OK);
    assert_captured_json("/warnings", "[\"the topology has 8 cards, but 7 match :6001 on this host\"]");
    assert_string_equal(captured_stderr(),
                        "icn-hook: warning: the topology has 8 cards, but 7 match :6001 on this host\n");
    simulated_text(SETTINGS, "broken");
    assert_int_equal(run((struct options){.validate = VENDOR}), STATUS_OK);
    assert_string_equal(captured_stderr(), "");
}

static void test_standard_input(void **state)
{
    (void)state;
    char *text = strdup(simulated_read(TOPOLOGY));
    stdin_give(text);
    assert_int_equal(run((struct options){.validate = "-"}), STATUS_OK);
    stdin_restore();
    assert_string_equal(captured_stdout(), "standard input: valid, 8 cards, 16 links\n");
    stdin_give("junk");
    assert_int_equal(run((struct options){.validate = "-"}), STATUS_INVALID);
    stdin_restore();
    assert_memory_equal(captured_stderr(), "icn-hook: standard input:1: ", 28);
    free(text);
}

static void test_generate(void **state)
{
    (void)state;
    char path[4096];
    char expected[8192];
    char *topology = strdup(simulated_read(TOPOLOGY));
    snprintf(path, sizeof path, "%s", simulated_path("/made.cfg"));
    assert_int_equal(run((struct options){.generate = true, .output = path}), STATUS_OK);
    snprintf(expected, sizeof expected, "%s: written, 8 cards, 16 links\n", path);
    assert_string_equal(captured_stdout(), expected);
    assert_string_equal(simulated_read("/made.cfg"), topology);
    assert_int_equal(run((struct options){.generate = true, .json = true}), STATUS_OK);
    snprintf(
        expected, sizeof expected,
        "{\"schema\":\"icn-hook/generate/1\",\"file\":\"%s\",\"cards\":8,\"links\":16,\"external\":0,\"warnings\":[]}",
        simulated_path(TOPOLOGY));
    assert_captured_json("", expected);
    assert_string_equal(simulated_read(TOPOLOGY), topology);
    free(topology);
}

static void test_generate_fails(void **state)
{
    (void)state;
    char path[4096];
    char expected[8192];
    snprintf(path, sizeof path, "%s", simulated_path("/directory"));
    simulated_directory("/directory");
    assert_int_equal(run((struct options){.generate = true, .output = path}), STATUS_INVALID);
    assert_string_equal(captured_stdout(), "");
    snprintf(expected, sizeof expected, "icn-hook: %s is not a regular file\n", path);
    assert_string_equal(captured_stderr(), expected);
    simulated_text("/etc/ppudbg.fault", "exit");
    assert_int_equal(run((struct options){.generate = true}), STATUS_HARDWARE);
    assert_memory_equal(captured_stderr(), "icn-hook: ppudbg --topo_read: ", 30);
    simulated_text(SETTINGS, "broken");
    assert_int_equal(run((struct options){.generate = true}), STATUS_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_valid, start),          cmocka_unit_test_setup(test_invalid, start),
        cmocka_unit_test_setup(test_external_links, start), cmocka_unit_test_setup(test_another_number_of_cards, start),
        cmocka_unit_test_setup(test_standard_input, start), cmocka_unit_test_setup(test_generate, start),
        cmocka_unit_test_setup(test_generate_fails, start),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
