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

static int plan(const char *text, bool json)
{
    const struct options options = {.argument = "-", .json = json};
    stdin_give(text);
    capture_begin();
    int status = verbs_call(verb_plan, &options);
    capture_end();
    stdin_restore();
    return status;
}

static void test_pass(void **state)
{
    (void)state;
    assert_int_equal(plan(scene_xml("a", VM_A, ""), false), STATUS_OK);
    assert_string_equal(captured_stdout(), "VM 'a' uses no PPU: nothing to do.\n");
    assert_int_equal(plan(scene_xml("a", VM_A, ""), true), STATUS_OK);
    assert_captured_json("", "{\"schema\":\"icn-hook/plan/1\",\"domain\":{\"name\":\"a\",\"uuid\":\"" VM_A
                             "\"},\"verdict\":\"pass\",\"reason\":null,\"devices\":[],\"writes\":[],\"links\":[],"
                             "\"warnings\":[]}");
}

static void test_isolate(void **state)
{
    (void)state;
    scene_running("b", VM_B, "0", 102);
    set_masks((const uint32_t[CARDS]){0x39, 0x8, 0x8, 0x10, [6] = 0x1});
    assert_int_equal(plan(scene_xml("a", VM_A, "1"), true), STATUS_OK);
    assert_captured_json("/verdict", "\"isolate\"");
    assert_captured_json("/reason", "null");
    assert_captured_json("/devices", "[{\"bdf\":\"0000:7e:00.0\",\"via\":\"hostdev\",\"ppu\":1}]");
    assert_captured_json("/writes",
                         "[{\"ppu\":1,\"bdf\":\"0000:7e:00.0\",\"from\":\"0x00000008\",\"to\":\"0x00000039\"},"
                         "{\"ppu\":2,\"bdf\":\"0000:a2:00.0\",\"from\":\"0x00000008\",\"to\":\"0x00000018\"},"
                         "{\"ppu\":3,\"bdf\":\"0000:c6:00.0\",\"from\":\"0x00000010\",\"to\":\"0x00000030\"},"
                         "{\"ppu\":7,\"bdf\":\"0001:ce:00.0\",\"from\":\"0x00000000\",\"to\":\"0x00000001\"}]");
    assert_captured_json("/links", "[{\"ppu\":1,\"link\":0,\"peer\":7,\"state\":\"cut\",\"peer_owner\":\"idle\"},"
                                   "{\"ppu\":1,\"link\":3,\"peer\":0,\"state\":\"cut\",\"peer_owner\":\"b\"},"
                                   "{\"ppu\":1,\"link\":4,\"peer\":2,\"state\":\"cut\",\"peer_owner\":\"idle\"},"
                                   "{\"ppu\":1,\"link\":5,\"peer\":3,\"state\":\"cut\",\"peer_owner\":\"idle\"}]");
    assert_captured_json("/warnings", "[]");
    assert_false(host_has(RUN));
}

/* Bit 1 of each card is external. */
static void test_isolate_external_links(void **state)
{
    (void)state;
    simulated_text(SETTINGS, "[registers]\nlinks = 0x3b\n");
    assert_int_equal(plan(scene_xml("a", VM_A, "01234567"), true), STATUS_OK);
    assert_captured_json("/writes/0",
                         "{\"ppu\":0,\"bdf\":\"0000:08:00.0\",\"from\":\"0x00000000\",\"to\":\"0x00000002\"}");
    assert_captured_json("/links/0", "{\"ppu\":0,\"link\":0,\"peer\":6,\"state\":\"open\",\"peer_owner\":\"a\"}");
    assert_captured_json("/links/1",
                         "{\"ppu\":0,\"link\":1,\"peer\":null,\"state\":\"cut\",\"peer_owner\":\"external\"}");
    simulated_text(SETTINGS, "[registers]\nlinks = 0x3b\n[policy]\nexternal = leave\n");
    assert_int_equal(plan(scene_xml("a", VM_A, "01234567"), true), STATUS_OK);
    assert_captured_json("/writes", "[]");
    assert_captured_json("/links/1/state", "\"open\"");
}

static void test_isolate_own_links(void **state)
{
    (void)state;
    set_masks((const uint32_t[CARDS]){0x19, 0x31, 0x18, 0x30, 0, 0, 0x1, 0x1});
    assert_int_equal(plan(scene_xml("a", VM_A, "01"), false), STATUS_OK);
    assert_string_equal(captured_stdout(),
                        "VM 'a' would be isolated. Register writes, in this order (bit set = link cut):\n"
                        "  none: every link is as it must be\n");
    assert_int_equal(plan(scene_xml("a", VM_A, "01"), true), STATUS_OK);
    assert_non_null(strstr(captured_stdout(), "\"peer\": 1,\n      \"state\": \"open\",\n      \"peer_owner\": \"a\""));
}

static void test_warnings(void **state)
{
    (void)state;
    simulated_remove("/sys/bus/pci/devices/0001:aa:00.0/resource0");
    simulated_text("/run/icn-hook/stranger", "");
    assert_int_equal(plan(scene_xml("a", VM_A, "0"), false), STATUS_OK);
    assert_non_null(strstr(captured_stdout(), "/run/icn-hook/stranger does not belong to icn-hook"));
    assert_non_null(strstr(captured_stdout(),
                           "warning: PPU 6 (0001:aa:00.0): resource0 is missing: the card has no "
                           "such BAR; check bar in [registers]; its own ends of the links stay as they are\n"));
}

static void test_refuse(void **state)
{
    static const char reason[] = "icn-hook: VM 'a' would not be started: PPU 1 (0000:7e:00.0) is owned by VM 'b' (" VM_B
                                 "), which runs; stop that VM or give this one another card";
    char line[512];

    (void)state;
    scene_running("b", VM_B, "1", 102);
    snprintf(line, sizeof line, "%s\n", reason);
    assert_int_equal(plan(scene_xml("a", VM_A, "1"), false), STATUS_CONFLICT);
    assert_string_equal(captured_stdout(), "");
    assert_string_equal(captured_stderr(), line);
    assert_int_equal(plan(scene_xml("a", VM_A, "1"), true), STATUS_CONFLICT);
    assert_string_equal(captured_stderr(), line);
    snprintf(line, sizeof line, "\"%s\"", reason);
    assert_captured_json("/verdict", "\"refuse\"");
    assert_captured_json("/reason", line);
    assert_captured_json("/devices", "[{\"bdf\":\"0000:7e:00.0\",\"via\":\"hostdev\",\"ppu\":1}]");
    assert_captured_json("/writes", "[]");
    assert_captured_json("/links", "[]");
}

static void test_refuse_card_off_the_bus(void **state)
{
    (void)state;
    static const unsigned char ones[64] = {[0 ... 63] = 0xff};
    set_masks((const uint32_t[CARDS]){UINT32_MAX});
    simulated_file("/sys/bus/pci/devices/0000:08:00.0/config", ones, sizeof ones);
    assert_int_equal(plan(scene_xml("a", VM_A, "0"), true), STATUS_HARDWARE);
    assert_captured_json("/verdict", "\"refuse\"");
    assert_captured_json("/writes", "[]");
    assert_non_null(strstr(captured_stderr(), "its links cannot be cut"));
}

static void test_refuse_state_that_cannot_be_opened(void **state)
{
    (void)state;
    simulated_text(RUN, "");
    assert_int_equal(plan(scene_xml("a", VM_A, "0"), true), STATUS_INVALID);
    assert_captured_json("/verdict", "\"refuse\"");
}

static void test_text_that_is_no_domain(void **state)
{
    (void)state;
    assert_int_equal(plan("junk", true), STATUS_INVALID);
    assert_memory_equal(captured_stderr(), "icn-hook: no VM would be started with this XML: standard input: ", 64);
    assert_captured_json("/domain", "{\"name\":\"\",\"uuid\":null}");
    assert_captured_json("/verdict", "\"refuse\"");
}

static void test_file_that_cannot_be_read(void **state)
{
    const char *path = simulated_path("/a.xml");
    const struct options options = {.argument = path, .json = true};
    char line[512];

    (void)state;
    capture_begin();
    int status = verbs_call(verb_plan, &options);
    capture_end();
    assert_int_equal(status, STATUS_INVALID);
    snprintf(line, sizeof line, "icn-hook: cannot open %s: No such file or directory\n", path);
    assert_string_equal(captured_stderr(), line);
    assert_captured_json("/schema", "\"icn-hook/error/1\"");
    assert_captured_json("/status", "3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_pass, scene_start),
        cmocka_unit_test_setup(test_isolate, scene_start),
        cmocka_unit_test_setup(test_isolate_external_links, scene_start),
        cmocka_unit_test_setup(test_isolate_own_links, scene_start),
        cmocka_unit_test_setup(test_warnings, scene_start),
        cmocka_unit_test_setup(test_refuse, scene_start),
        cmocka_unit_test_setup(test_refuse_card_off_the_bus, scene_start),
        cmocka_unit_test_setup(test_refuse_state_that_cannot_be_opened, scene_start),
        cmocka_unit_test_setup(test_text_that_is_no_domain, scene_start),
        cmocka_unit_test_setup(test_file_that_cannot_be_read, scene_start),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
