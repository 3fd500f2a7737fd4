/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "cli/verbs.h"

#include "../engine/scene.h"
#include "capture.h"

static int status_of(bool json)
{
    const struct options options = {.json = json};
    capture_begin();
    int status = verbs_call(verb_status, &options);
    capture_end();
    return status;
}

static const uint32_t isolated[CARDS] = {0x19, 0x31, 0x18, 0x30, 0, 0, 0x1, 0x1};

/* What the gate read back for a's cards, at 09:12:03 UTC on 2026-11-27. */
enum { GATE_TIME = 1795770723 };
static void gate_of_a(void)
{
    scene_evidence(0, 0x19, GATE_TIME, (const char *const[]){VM_A, NULL});
    scene_evidence(1, 0x31, GATE_TIME, (const char *const[]){VM_A, NULL});
}

static void test_text(void **state)
{
    (void)state;
    scene_running("a", VM_A, "01", 101);
    scene_evidence(0, 0x19, 4711, (const char *const[]){VM_A, NULL});
    scene_evidence(1, 0x31, 4711, (const char *const[]){VM_A, NULL});
    set_masks(isolated);
    scene_hold(0);
    simulated_remove("/sys/bus/pci/devices/0001:09:00.0/resource0");
    assert_int_equal(status_of(false), STATUS_OK);
    assert_string_equal(
        captured_stdout(),
        "PPU  ADDRESS       DRIVER    NUMA  GROUP  MASK        OWNER  LINKS\n"
        "  0  0000:08:00.0  vfio-pci     -      -  gate 01-01  a      -6 -2 -3 ~1\n"
        "  1  0000:7e:00.0  -            -      -  0x00000031  a      -7 ~0 -2 -3\n"
        "  2  0000:a2:00.0  -            -      -  0x00000018  idle   ~4 -0 -1 3\n"
        "  3  0000:c6:00.0  -            -      -  0x00000030  idle   5 2 -0 -1\n"
        "  4  0001:09:00.0  -            -      -  unknown     idle   ~2 ~6 ~7 ~5\n"
        "  5  0001:7f:00.0  -            -      -  0x00000000  idle   3 ~4 6 7\n"
        "  6  0001:aa:00.0  -            -      -  0x00000001  idle   -0 ~4 5 7\n"
        "  7  0001:ce:00.0  -            -      -  0x00000001  idle   -1 6 ~4 5\n"
        "MASK: gate: in use; its cuts were read back at that time, before QEMU opened it\n"
        "LINKS: N open to PPU N  ~ unreadable, allowed to be open  - cut as required\n"
        "PPU 4 (0001:09:00.0): resource0 is missing: the card has no such BAR; check bar in [registers]\n"
        "nothing shows that registers, map and topology are right: run icn-hook confirm\n"
        "6 links must be cut: 6 read now, 0 read back before QEMU opened the cards, 0 unverified\n"
        "Every link that must be cut is verified.\n");
}

static void test_text_of_a_leak(void **state)
{
    (void)state;
    scene_running("a", VM_A, "01", 101);
    assert_int_equal(status_of(false), STATUS_OK);
    assert_non_null(strstr(captured_stdout(), "\nNOT ISOLATED: see above.\n"));
}

static void test_json(void **state)
{
    (void)state;
    scene_running("a", VM_A, "01", 101);
    scene_running("b", VM_B, "6", 102);
    gate_of_a();
    scene_evidence(6, 0x39, GATE_TIME - 5, (const char *const[]){VM_B, NULL});
    set_masks((const uint32_t[CARDS]){0x19, 0x31, 0x18, 0x30, 0x8, 0x10, 0x39, 0x9});
    scene_hold(0);
    scene_hold(6);
    simulated_text("/sys/bus/pci/devices/0000:08:00.0/numa_node", "1\n");
    simulated_link("/sys/bus/pci/devices/0000:08:00.0/iommu_group", "../../../kernel/iommu_groups/14");
    assert_int_equal(status_of(true), STATUS_OK);
    assert_captured_json("/schema", "\"icn-hook/status/2\"");
    assert_captured_json("/ok", "true");
    assert_captured_json("/leaks", "[]");
    assert_captured_json("/coverage", "{\"required\":9,\"proven\":8,\"gated\":1,\"unverified\":0}");
    assert_captured_json("/findings", "[]");
    assert_captured_json(
        "/ppus/0",
        "{\"ppu\":0,\"bdf\":\"0000:08:00.0\",\"present\":true,\"driver\":\"vfio-pci\",\"in_use\":true,"
        "\"iommu_group\":14,\"numa_node\":1,\"owners\":[{\"name\":\"a\",\"uuid\":\"" VM_A "\",\"kind\":\"vm\"}],"
        "\"mask\":null,\"expected\":\"0x00000019\",\"owed\":null,\"links\":["
        "{\"link\":0,\"peer\":6,\"near\":\"unknown\",\"far\":\"unknown\",\"live\":null,\"allowed\":false,"
        "\"evidence\":\"gated\",\"since\":\"2026-11-27T09:12:03Z\"},"
        "{\"link\":3,\"peer\":2,\"near\":\"unknown\",\"far\":\"cut\",\"live\":false,\"allowed\":false,"
        "\"evidence\":\"proven\",\"since\":null},"
        "{\"link\":4,\"peer\":3,\"near\":\"unknown\",\"far\":\"cut\",\"live\":false,\"allowed\":false,"
        "\"evidence\":\"proven\",\"since\":null},"
        "{\"link\":5,\"peer\":1,\"near\":\"unknown\",\"far\":\"open\",\"live\":null,\"allowed\":true,"
        "\"evidence\":null,\"since\":null}]}");
    assert_captured_json("/ppus/5/owners", "[]");
    assert_captured_json("/ppus/5/driver", "null");
    assert_captured_json("/ppus/5/numa_node", "null");
    assert_captured_json("/ppus/5/iommu_group", "null");
}

static void test_json_of_what_is_not_known(void **state)
{
    (void)state;
    simulated_text(CARDS_CONF, "[map]\n0 = 0000:08:00.0\n1 = 0000:7e:00.0\n2 = 0009:00:00.0\n");
    scene_unplug("234567");
    scene_hold(0);
    simulated_remove("/sys/bus/pci/devices/0000:7e:00.0/resource0");
    assert_int_equal(status_of(true), STATUS_OK);
    assert_captured_json("/ok", "false");
    assert_captured_json("/ppus/0/owners", "[{\"name\":\"unknown\",\"uuid\":null,\"kind\":\"unknown\"}]");
    assert_captured_json("/ppus/1/mask", "null");
    assert_captured_json(
        "/ppus/0/links/3",
        "{\"link\":5,\"peer\":1,\"near\":\"unknown\",\"far\":\"unknown\",\"live\":null,\"allowed\":false,"
        "\"evidence\":\"unverified\",\"since\":null}");
    assert_captured_json("/ppus/2/bdf", "\"0009:00:00.0\"");
    assert_captured_json("/ppus/2/present", "false");
    assert_captured_json("/ppus/3/bdf", "null");
    assert_captured_json("/ppus/3/present", "false");
    assert_captured_json("/ppus/3/iommu_group", "null");
}

/* Bit 1 of each card is external: of 0 open, of 1 cut, and 1 has an owner too. */
static void test_external_links(void **state)
{
    (void)state;
    simulated_text(SETTINGS, "[registers]\nlinks = 0x3b\n");
    scene_running("a", VM_A, "01", 101);
    set_masks((const uint32_t[CARDS]){0x19, 0x33, 0x18, 0x30, 0, 0, 0x1, 0x1});
    assert_int_equal(status_of(true), STATUS_OK);
    assert_captured_json("/ok", "false");
    assert_captured_json("/leaks", "[]");
    assert_captured_json("/coverage", "{\"required\":8,\"proven\":7,\"gated\":0,\"unverified\":1}");
    assert_captured_json("/findings/0", "{\"code\":\"external-leak\",\"severity\":\"error\",\"ppu\":0,\"vm\":null,"
                                        "\"text\":\"LEAK: external link 1 of PPU 0 (0000:08:00.0) is open; owner: a; "
                                        "stop the VM\"}");
    assert_captured_json("/ppus/0/expected", "\"0x0000001b\"");
    assert_captured_json("/ppus/0/links/1",
                         "{\"link\":1,\"peer\":null,\"near\":\"open\",\"far\":\"unknown\",\"live\":true,"
                         "\"allowed\":false,\"evidence\":\"unverified\",\"since\":null}");
    assert_captured_json("/ppus/1/links/1",
                         "{\"link\":1,\"peer\":null,\"near\":\"cut\",\"far\":\"unknown\",\"live\":false,"
                         "\"allowed\":false,\"evidence\":\"proven\",\"since\":null}");
    assert_captured_json("/ppus/2/links/1",
                         "{\"link\":1,\"peer\":null,\"near\":\"open\",\"far\":\"unknown\",\"live\":true,"
                         "\"allowed\":true,\"evidence\":null,\"since\":null}");
    assert_int_equal(status_of(false), STATUS_OK);
    assert_non_null(strstr(captured_stdout(), "  a      -6 !ext -2 -3 1\n"));
    assert_non_null(strstr(captured_stdout(), "  a      -7 -ext 0 -2 -3\n"));
    assert_non_null(strstr(captured_stdout(), "  idle   4 ext -0 -1 3\n"));
    assert_non_null(strstr(captured_stdout(), "\nLINKS: N open to PPU N  ext external  - cut as required\n"));
    assert_non_null(strstr(captured_stdout(), "\n8 links must be cut: 7 read now, 0 read back before QEMU opened the "
                                              "cards, 1 unverified (1 of them external and OPEN)\n"));
}

static void test_json_of_a_leak(void **state)
{
    (void)state;
    scene_running("a", VM_A, "0", 101);
    scene_running("b", VM_B, "6", 102);
    set_masks((const uint32_t[CARDS]){0x38, 0x8, 0x8, 0x10, 0x8, 0x10, 0x38, 0x8});
    assert_int_equal(status_of(true), STATUS_OK);
    assert_captured_json("/ok", "false");
    assert_captured_json("/leaks", "[{\"a\":0,\"b\":6}]");
}

static void test_prometheus_into_a_file(void **state)
{
    (void)state;
    char path[4096];
    snprintf(path, sizeof path, "%s", simulated_path("/icn-hook.prom"));
    const struct options options = {.prometheus = true, .output = path};
    const struct options both = {.prometheus = true, .json = true};
    capture_begin();
    int status = verbs_call(verb_status, &options);
    capture_end();
    assert_int_equal(status, STATUS_OK);
    assert_string_equal(captured_stdout(), "");
    assert_memory_equal(simulated_read("/icn-hook.prom"), "# HELP icn_hook_up ", 19);
    simulated_text("/icn-hook.prom", "old");
    simulated_text(SETTINGS, "broken");
    capture_begin();
    status = verbs_call(verb_status, &options);
    capture_end();
    assert_int_equal(status, STATUS_INVALID);
    assert_string_equal(simulated_read("/icn-hook.prom"),
                        "# HELP icn_hook_up The host could be looked at: 0 if nothing is known about its links.\n"
                        "# TYPE icn_hook_up gauge\nicn_hook_up 0\n");
    capture_begin();
    status = verbs_call(verb_status, &both);
    capture_end();
    assert_int_equal(status, STATUS_USAGE);
}

/* -o is for programs: what people write as in other tools makes no file. */
static void test_text_goes_to_no_file(void **state)
{
    (void)state;
    char path[4096];
    snprintf(path, sizeof path, "%s", simulated_path("/json"));
    const struct options options = {.output = path};
    capture_begin();
    int status = verbs_call(verb_status, &options);
    capture_end();
    assert_int_equal(status, STATUS_USAGE);
    assert_string_equal(captured_stdout(), "");
    assert_string_equal(captured_stderr(), "icn-hook: status takes --output only with --json or --prometheus; see "
                                           "icn-hook --help\n");
    assert_int_equal(access(path, F_OK), -1);
}

static void test_failure(void **state)
{
    (void)state;
    simulated_text(SETTINGS, "broken");
    assert_int_equal(status_of(false), STATUS_INVALID);
    assert_string_equal(captured_stdout(), "");
    assert_memory_equal(captured_stderr(), "icn-hook: ", 10);
    assert_int_equal(status_of(true), STATUS_INVALID);
    assert_captured_json("/schema", "\"icn-hook/error/1\"");
    assert_captured_json("/status", "3");
    assert_captured_json("/code", "\"invalid\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_text, scene_start),
        cmocka_unit_test_setup(test_text_of_a_leak, scene_start),
        cmocka_unit_test_setup(test_json, scene_start),
        cmocka_unit_test_setup(test_json_of_what_is_not_known, scene_start),
        cmocka_unit_test_setup(test_external_links, scene_start),
        cmocka_unit_test_setup(test_json_of_a_leak, scene_start),
        cmocka_unit_test_setup(test_prometheus_into_a_file, scene_start),
        cmocka_unit_test_setup(test_text_goes_to_no_file, scene_start),
        cmocka_unit_test_setup(test_failure, scene_start),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
