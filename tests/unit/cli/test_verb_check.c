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

static int check(bool json)
{
    const struct options options = {.json = json};
    capture_begin();
    int status = verbs_call(verb_check, &options);
    capture_end();
    return status;
}

static void test_fine(void **state)
{
    (void)state;
    scene_running("a", VM_A, "01", 101);
    set_masks((const uint32_t[CARDS]){0x19, 0x31, 0x18, 0x30, 0, 0, 0x1, 0x1});
    assert_int_equal(check(false), STATUS_OK);
    assert_string_equal(captured_stdout(), "OK: no leak is known, and no readable card lacks a cut\n");
    assert_int_equal(check(true), STATUS_OK);
    assert_captured_json(
        "", "{\"schema\":\"icn-hook/check/1\",\"ok\":true,\"leaks\":[],\"drift\":[],\"groups\":[],\"findings\":[]}");
}

#define LEAK_TEXT                                                                                                      \
    "LEAK: a link between PPU 0 (0000:08:00.0) and PPU 6 (0001:aa:00.0) is open on both sides; owners: a / idle; "     \
    "stop the VM"
#define DRIFT_TEXT_0 "PPU 0 (0000:08:00.0) lacks cuts: mask 0x00000018, required 0x00000019"
#define DRIFT_TEXT_6 "PPU 6 (0001:aa:00.0) lacks cuts: mask 0x00000000, required 0x00000001"

static void test_leak(void **state)
{
    (void)state;
    scene_running("a", VM_A, "01", 101);
    set_masks((const uint32_t[CARDS]){0x18, 0x31, 0x18, 0x30, 0, 0, 0, 0x1});
    assert_int_equal(check(false), STATUS_CHECK_FAILED);
    assert_string_equal(captured_stdout(), LEAK_TEXT "\n" DRIFT_TEXT_0 "\n" DRIFT_TEXT_6 "\n"
                                                     "FAILED: pairs of cards that leak: 1; cards that lack cuts: 2\n");
    assert_int_equal(check(true), STATUS_CHECK_FAILED);
    assert_captured_json("/ok", "false");
    assert_captured_json("/leaks", "[{\"a\":0,\"b\":6}]");
    assert_captured_json("/drift", "[{\"ppu\":0,\"mask\":\"0x00000018\",\"required\":\"0x00000019\"},"
                                   "{\"ppu\":6,\"mask\":\"0x00000000\",\"required\":\"0x00000001\"}]");
    assert_captured_json("/findings", "[\"" LEAK_TEXT "\",\"" DRIFT_TEXT_0 "\",\"" DRIFT_TEXT_6 "\"]");
}

/* The near end alone keeps a tenant in; a far end that is open is drift. */
static void test_drift_alone(void **state)
{
    (void)state;
    scene_running("a", VM_A, "01", 101);
    set_masks((const uint32_t[CARDS]){0x19, 0x31, 0x18, 0x30, 0, 0, 0, 0x1});
    assert_int_equal(check(false), STATUS_CHECK_FAILED);
    assert_string_equal(captured_stdout(),
                        DRIFT_TEXT_6 "\nFAILED: pairs of cards that leak: 0; cards that lack cuts: 1\n");
}

/* Who can say what must be cut, when an owner may be hidden? */
static void test_unreadable_entry(void **state)
{
    (void)state;
    simulated_text("/run/icn-hook/" VM_B ".json", "{");
    assert_int_equal(check(false), STATUS_CHECK_FAILED);
    assert_non_null(
        strstr(captured_stdout(),
               "\nFAILED: pairs of cards that leak: 0; cards that lack cuts: 0; not every owner is known\n"));
    assert_int_equal(check(true), STATUS_CHECK_FAILED);
    assert_captured_json("/ok", "false");
}

static void test_failure(void **state)
{
    (void)state;
    simulated_text(SETTINGS, "broken");
    assert_int_equal(check(true), STATUS_INVALID);
    assert_captured_json("/schema", "\"icn-hook/error/1\"");
    assert_int_equal(check(false), STATUS_INVALID);
    assert_string_equal(captured_stdout(), "");
    assert_memory_equal(captured_stderr(), "icn-hook: ", 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_fine, scene_start),
        cmocka_unit_test_setup(test_leak, scene_start),
        cmocka_unit_test_setup(test_drift_alone, scene_start),
        cmocka_unit_test_setup(test_unreadable_entry, scene_start),
        cmocka_unit_test_setup(test_failure, scene_start),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
