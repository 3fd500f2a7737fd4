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

static void gate(void)
{
    scene_evidence(0, 0x19, 4711, (const char *const[]){VM_A, NULL});
    scene_evidence(1, 0x31, 4711, (const char *const[]){VM_A, NULL});
}

static void test_fine(void **state)
{
    (void)state;
    scene_running("a", VM_A, "01", 101);
    gate();
    set_masks((const uint32_t[CARDS]){0x19, 0x31, 0x18, 0x30, 0, 0, 0x1, 0x1});
    assert_int_equal(check(false), STATUS_OK);
    assert_string_equal(captured_stdout(),
                        "6 links must be cut: 6 read now, 0 read back before QEMU opened the cards, 0 unverified\n"
                        "OK: every link that must be cut is verified\n");
    assert_int_equal(check(true), STATUS_OK);
    assert_captured_json("",
                         "{\"schema\":\"icn-hook/check/2\",\"ok\":true,\"leaks\":[],\"drift\":[],\"groups\":[],"
                         "\"coverage\":{\"required\":6,\"proven\":6,\"gated\":0,\"unverified\":0},\"findings\":[]}");
}

/* QEMU keeps the registers; what the gate read counts, for the owner for whom it was. */
static void test_gate(void **state)
{
    (void)state;
    scene_running("a", VM_A, "01", 101);
    scene_running("b", VM_B, "23", 102);
    gate();
    for (int ppu = 0; ppu < 4; ppu++) {
        scene_hold(ppu);
    }
    set_masks((const uint32_t[CARDS]){0, 0, 0, 0, 0x1, 0x1, 0x1, 0x1});
    assert_int_equal(check(false), STATUS_UNVERIFIED);
    assert_memory_equal(captured_stdout(),
                        "8 links must be cut: 4 read now, 4 read back at 1970-01-01 01:18:31 before QEMU opened the "
                        "cards, 0 unverified\n",
                        111);
    assert_non_null(strstr(captured_stdout(), "\nVM 'b' runs with PPU 2 "));
    assert_non_null(
        strstr(captured_stdout(), "\nCANNOT BE VERIFIED: no leak is known, but not every cut can be shown\n"));
    scene_evidence(2, 0x19, 4712, (const char *const[]){VM_B, NULL});
    scene_evidence(3, 0x31, 4713, (const char *const[]){VM_B, NULL});
    assert_int_equal(check(false), STATUS_OK);
    assert_string_equal(captured_stdout(),
                        "8 links must be cut: 4 read now, 4 read back between 1970-01-01 01:18:32 and 1970-01-01 "
                        "01:18:33 before QEMU opened the cards, 0 unverified\n"
                        "OK: every link that must be cut is verified\n");
}

/* A card that cannot be seen at all is not fine. */
static void test_nothing_seen(void **state)
{
    (void)state;
    for (int ppu = 0; ppu < CARDS; ppu++) {
        char path[128];
        snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/resource0", addresses[ppu]);
        simulated_remove(path);
    }
    assert_int_equal(check(false), STATUS_UNVERIFIED);
}

#define FINDING(code, ppu, text)                                                                                       \
    "{\"code\":\"" code "\",\"severity\":\"error\",\"ppu\":" ppu ",\"vm\":null,\"text\":\"" text "\"}"
#define LEAK_TEXT                                                                                                      \
    "LEAK: a link between PPU 0 (0000:08:00.0) and PPU 6 (0001:aa:00.0) is open on both sides; owners: a / idle; "     \
    "stop the VM"
#define DRIFT_TEXT_0 "PPU 0 (0000:08:00.0) lacks cuts: mask 0x00000018, required 0x00000019; icn-hook repair makes them"
#define DRIFT_TEXT_6 "PPU 6 (0001:aa:00.0) lacks cuts: mask 0x00000000, required 0x00000001; icn-hook repair makes them"

static void test_leak(void **state)
{
    (void)state;
    scene_running("a", VM_A, "01", 101);
    gate();
    set_masks((const uint32_t[CARDS]){0x18, 0x31, 0x18, 0x30, 0, 0, 0, 0x1});
    assert_int_equal(check(false), STATUS_CHECK_FAILED);
    assert_string_equal(captured_stdout(),
                        "6 links must be cut: 5 read now, 0 read back before QEMU opened the cards, 1 "
                        "unverified (1 of them OPEN at both ends)\n" LEAK_TEXT "\n" DRIFT_TEXT_0 "\n" DRIFT_TEXT_6 "\n"
                        "FAILED: pairs of cards that leak: 1; cards that lack cuts: 2\n");
    assert_int_equal(check(true), STATUS_CHECK_FAILED);
    assert_captured_json("/ok", "false");
    assert_captured_json("/leaks", "[{\"a\":0,\"b\":6}]");
    assert_captured_json("/drift", "[{\"ppu\":0,\"mask\":\"0x00000018\",\"required\":\"0x00000019\"},"
                                   "{\"ppu\":6,\"mask\":\"0x00000000\",\"required\":\"0x00000001\"}]");
    assert_captured_json("/findings",
                         "[" FINDING("leak", "0", LEAK_TEXT) "," FINDING("cut-missing", "0", DRIFT_TEXT_0) "," FINDING(
                             "cut-missing", "6", DRIFT_TEXT_6) "]");
}

/* Bit 1 of each card is external; no second card leaks. */
static void test_external_leak(void **state)
{
    (void)state;
    simulated_text(SETTINGS, "[registers]\nlinks = 0x3b\n");
    scene_running("a", VM_A, "01", 101);
    set_masks((const uint32_t[CARDS]){0x19, 0x33, 0x18, 0x30, 0, 0, 0x1, 0x1});
    assert_int_equal(check(false), STATUS_CHECK_FAILED);
    assert_string_equal(captured_stdout(),
                        "8 links must be cut: 7 read now, 0 read back before QEMU opened the cards, 1 unverified (1 of "
                        "them external and OPEN)\n"
                        "LEAK: external link 1 of PPU 0 (0000:08:00.0) is open; owner: a; stop the VM\n"
                        "PPU 0 (0000:08:00.0) lacks cuts: mask 0x00000019, required 0x0000001b; icn-hook repair makes "
                        "them\n"
                        "FAILED: pairs of cards that leak: 0; external links that leak: 1; cards that lack cuts: 1\n");
    assert_int_equal(check(true), STATUS_CHECK_FAILED);
    assert_captured_json("/leaks", "[]");
    assert_captured_json("/drift", "[{\"ppu\":0,\"mask\":\"0x00000019\",\"required\":\"0x0000001b\"}]");
    set_masks((const uint32_t[CARDS]){0x1a, 0x33, 0x18, 0x30, 0, 0, 0, 0x1});
    assert_int_equal(check(false), STATUS_CHECK_FAILED);
    set_masks((const uint32_t[CARDS]){0x18, 0x31, 0x18, 0x30, 0, 0, 0, 0x1});
    assert_int_equal(check(false), STATUS_CHECK_FAILED);
    assert_non_null(strstr(captured_stdout(),
                           "8 links must be cut: 5 read now, 0 read back before QEMU opened the cards, "
                           "3 unverified (1 of them OPEN at both ends, and 2 external ones OPEN)\n"));
    simulated_text(SETTINGS, "[registers]\nlinks = 0x3b\n[policy]\nexternal = leave\n");
    set_masks((const uint32_t[CARDS]){0x19, 0x31, 0x18, 0x30, 0, 0, 0x1, 0x1});
    assert_int_equal(check(false), STATUS_OK);
    assert_memory_equal(captured_stdout(), "6 links must be cut: 6 read now", 31);
}

/* The near end alone keeps a tenant in; a far end that is open is drift. */
static void test_drift_alone(void **state)
{
    (void)state;
    scene_running("a", VM_A, "01", 101);
    gate();
    set_masks((const uint32_t[CARDS]){0x19, 0x31, 0x18, 0x30, 0, 0, 0, 0x1});
    assert_int_equal(check(false), STATUS_CHECK_FAILED);
    assert_string_equal(captured_stdout(),
                        "6 links must be cut: 6 read now, 0 read back before QEMU opened the cards, 0 "
                        "unverified\n" DRIFT_TEXT_6 "\nFAILED: pairs of cards that leak: 0; cards that lack cuts: 1\n");
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
        cmocka_unit_test_setup(test_gate, scene_start),
        cmocka_unit_test_setup(test_nothing_seen, scene_start),
        cmocka_unit_test_setup(test_leak, scene_start),
        cmocka_unit_test_setup(test_external_leak, scene_start),
        cmocka_unit_test_setup(test_drift_alone, scene_start),
        cmocka_unit_test_setup(test_unreadable_entry, scene_start),
        cmocka_unit_test_setup(test_failure, scene_start),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
