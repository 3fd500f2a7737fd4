/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "cli/verbs.h"

#include "../engine/scene.h"
#include "capture.h"

static int topo(struct options options)
{
    capture_begin();
    int status = verbs_call(verb_topo, &options);
    capture_end();
    return status;
}

static void test_text(void **state)
{
    (void)state;
    scene_running("a", VM_A, "01", 101);
    set_masks((const uint32_t[CARDS]){0x19, 0x31, 0x18, 0x30, 0, 0, 0x1, 0x1});
    assert_int_equal(topo((struct options){0}), STATUS_OK);
    assert_memory_equal(captured_stdout(), "PPU    0  1  2  3  4  5  6  7  ADDRESS", 38);
    assert_non_null(strstr(captured_stdout(), "\n  1    1  X  -  -  .  .  .  -  0000:7e:00.0  "));
    assert_null(strstr(captured_stdout(), "NOT ISOLATED"));
    set_masks((const uint32_t[CARDS]){0});
    assert_int_equal(topo((struct options){0}), STATUS_OK);
    assert_non_null(strstr(captured_stdout(), "\n  1    1  X  !  !  .  .  .  !  0000:7e:00.0  "));
    assert_non_null(strstr(captured_stdout(), "\nNOT ISOLATED: see icn-hook check\n"));
}

static void test_json(void **state)
{
    (void)state;
    scene_running("a", VM_A, "0", 101);
    set_masks((const uint32_t[CARDS]){0x18, 0x10, 0, 0, 0x10, 0, 0, 0});
    scene_bind(addresses[6], "vfio-pci", 1);
    simulated_remove("/sys/bus/pci/devices/0001:ce:00.0/resource0");
    assert_int_equal(topo((struct options){.json = true}), STATUS_OK);
    assert_captured_json("/schema", "\"icn-hook/topo/1\"");
    assert_captured_json("/ppus/0", "{\"ppu\":0,\"bdf\":\"0000:08:00.0\",\"present\":true,\"driver\":null,"
                                    "\"numa_node\":null,\"iommu_group\":null,\"owners\":[\"a\"]}");
    assert_captured_json("/ppus/6/owners", "[\"unknown\"]");
    assert_captured_json("/ppus/6/driver", "\"vfio-pci\"");
    assert_captured_json("/pairs/0",
                         "{\"a\":0,\"b\":1,\"links\":[{\"ppu\":0,\"link\":5},{\"ppu\":1,\"link\":3}],"
                         "\"wired\":1,\"open\":1,\"state\":\"leak\",\"allowed\":false,\"evidence\":\"unverified\"}");
    assert_captured_json("/pairs/1",
                         "{\"a\":0,\"b\":2,\"links\":[{\"ppu\":0,\"link\":3},{\"ppu\":2,\"link\":3}],"
                         "\"wired\":1,\"open\":0,\"state\":\"cut\",\"allowed\":false,\"evidence\":\"proven\"}");
    assert_captured_json("/pairs/4/state", "\"cut\"");
    assert_captured_json("/pairs/4/allowed", "true");
    assert_captured_json("/pairs/6/state", "\"unknown\"");
    assert_captured_json("/pairs/6/open", "null");
}

static void test_json_of_parallel_links(void **state)
{
    (void)state;
    simulated_text(TOPOLOGY, "==========device0==========\nppuid: 0\nlink[2]: nbrPpuid:1\nlink[3]: nbrPpuid:1\n"
                             "==========device1==========\nppuid: 1\nlink[2]: nbrPpuid:0\nlink[4]: nbrPpuid:0\n");
    simulated_text(CARDS_CONF, "[map]\n0 = 0000:08:00.0\n1 = 0000:7e:00.0\n");
    set_masks((const uint32_t[CARDS]){0x8});
    assert_int_equal(topo((struct options){.json = true}), STATUS_OK);
    assert_captured_json("/pairs", "[{\"a\":0,\"b\":1,\"links\":[{\"ppu\":0,\"link\":2},{\"ppu\":0,\"link\":3},"
                                   "{\"ppu\":1,\"link\":2},{\"ppu\":1,\"link\":4}],\"wired\":2,\"open\":1,"
                                   "\"state\":\"partly\",\"allowed\":true,\"evidence\":null}]");
    scene_unplug("1234567");
    assert_int_equal(topo((struct options){.json = true}), STATUS_OK);
    assert_captured_json("/ppus/1/present", "false");
    simulated_text(CARDS_CONF, "[map]\n1 = 0000:08:00.0\n");
    assert_int_equal(topo((struct options){.json = true}), STATUS_OK);
    assert_captured_json("/ppus/0/bdf", "null");
}

static void test_json_of_external_links(void **state)
{
    (void)state;
    simulated_text(TOPOLOGY, "==device0==\nppuid: 0\nlink[2]: nbrPpuid:7\nlink[3]: nbrPpuid:7\n==device1==\nppuid: 1\n"
                             "link[2]: nbrPpuid:8\n");
    simulated_text(CARDS_CONF, "[map]\n0 = 0000:08:00.0\n1 = 0000:7e:00.0\n");
    scene_running("a", VM_A, "1", 101);
    set_masks((const uint32_t[CARDS]){0x8, 0});
    assert_int_equal(topo((struct options){.json = true}), STATUS_OK);
    assert_captured_json("/pairs", "[]");
    assert_captured_json("/external",
                         "[{\"ppu\":0,\"links\":[{\"ppu\":0,\"link\":2},{\"ppu\":0,\"link\":3}],\"wired\":2,\"open\":1,"
                         "\"state\":\"partly\",\"allowed\":true,\"evidence\":null},"
                         "{\"ppu\":1,\"links\":[{\"ppu\":1,\"link\":2}],\"wired\":1,\"open\":1,\"state\":\"leak\","
                         "\"allowed\":false,\"evidence\":\"unverified\"}]");
}

static void test_dot_into_a_file(void **state)
{
    (void)state;
    char path[4096];
    snprintf(path, sizeof path, "%s", simulated_path("/cards.dot"));
    assert_int_equal(topo((struct options){.dot = true, .output = path}), STATUS_OK);
    assert_string_equal(captured_stdout(), "");
    assert_memory_equal(simulated_read("/cards.dot"), "graph icn {\n", 12);
}

static void test_usage(void **state)
{
    (void)state;
    assert_int_equal(topo((struct options){.dot = true, .json = true}), STATUS_USAGE);
    assert_int_equal(topo((struct options){.dot = true, .generate = true}), STATUS_USAGE);
    assert_int_equal(topo((struct options){.dot = true, .validate = "x"}), STATUS_USAGE);
    assert_int_equal(topo((struct options){.generate = true, .validate = "x"}), STATUS_USAGE);
    assert_string_equal(captured_stderr(),
                        "icn-hook: topo takes one of --generate, --validate and --dot; see icn-hook --help\n");
    assert_int_equal(topo((struct options){.output = simulated_path("/json")}), STATUS_USAGE);
    assert_string_equal(captured_stderr(),
                        "icn-hook: topo takes --output only with --generate, --json or --dot; see icn-hook --help\n");
    assert_int_equal(topo((struct options){.validate = "x", .output = simulated_path("/json")}), STATUS_USAGE);
    assert_int_equal(access(simulated_path("/json"), F_OK), -1);
}

static void test_failure(void **state)
{
    (void)state;
    simulated_text(SETTINGS, "broken");
    assert_int_equal(topo((struct options){0}), STATUS_INVALID);
    assert_string_equal(captured_stdout(), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_text, scene_start),
        cmocka_unit_test_setup(test_json, scene_start),
        cmocka_unit_test_setup(test_json_of_parallel_links, scene_start),
        cmocka_unit_test_setup(test_json_of_external_links, scene_start),
        cmocka_unit_test_setup(test_dot_into_a_file, scene_start),
        cmocka_unit_test_setup(test_usage, scene_start),
        cmocka_unit_test_setup(test_failure, scene_start),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
