/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/vm_events.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "hook_calls.h"

/* -- While it runs -------------------------------------------------------------------- */

static void test_leak_in_a_running_vm(void **state)
{
    static const struct {
        const char *settings;
        const char *operation;
        enum status status;
    } cases[] = {
        {"", "started", STATUS_OK},
        {"[policy]\non_leak = kill\n", "started", STATUS_CHECK_FAILED},
        {"[policy]\non_leak = kill\n", "reconnect", STATUS_OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err;
        hook_calls_start(state);
        simulated_text(SETTINGS, cases[i].settings);
        scene_running("a", VM_A, "01", 101);
        assert_int_equal(call(cases[i].operation, vm("01"), &err), cases[i].status);
        assert_string_equal(err.text,
                            "LEAK: link 0 of PPU 0 (0000:08:00.0) to PPU 6 (idle) was open on both sides while "
                            "the VM ran");
        assert_logged(err.text);
        assert_int_equal(simulated_register(addresses[0], LINK_CONFIG_OFFSET), 0x19);
        assert_claim(VM_A, "running 01");
    }
}

/* A link that leads out of the host is one too, and the whole host in one VM is no excuse. */
static void test_external_leak_in_a_running_vm(void **state)
{
    struct error err;
    hook_calls_start(state);
    simulated_text(SETTINGS, "[registers]\nlinks = 0x3b\n[policy]\non_leak = kill\n");
    scene_running("a", VM_A, "01234567", 101);
    assert_int_equal(call("started", vm("01234567"), &err), STATUS_CHECK_FAILED);
    assert_string_equal(err.text, "LEAK: external link 1 of PPU 0 (0000:08:00.0) was open while the VM ran");
    assert_logged(err.text);
    assert_masks((const uint32_t[CARDS]){0x2, 0x2, 0x2, 0x2, 0x2, 0x2, 0x2, 0x2});
    simulated_text(SETTINGS, "[registers]\nlinks = 0x3b\n[policy]\non_leak = kill\nexternal = leave\n");
    set_masks((const uint32_t[CARDS]){0});
    assert_fine("started", vm("01234567"));
    assert_masks((const uint32_t[CARDS]){0});
}

/* Its links are cut where they must be, and never opened while it runs; started leaves the neighbours alone. */
static void test_running_vm_is_not_opened(void **state)
{
    static const struct {
        const char *operation;
        uint32_t masks[CARDS];
    } cases[] = {
        {"started", {0x39, 0x39}},
        {"reconnect", {0x39, 0x39, 0x18, 0x30, 0, 0, 0x1, 0x1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hook_calls_start(state);
        scene_running("a", VM_A, "01", 101);
        set_masks((const uint32_t[CARDS]){0x39, 0x39});
        assert_fine(cases[i].operation, vm("01"));
        assert_masks(cases[i].masks);
    }
}

/* The daemon is back, and the state is lost: the claim comes from the status file, hot-plugged cards included. */
static void test_reconnect_without_state(void **state)
{
    (void)state;
    qemu_starts("014");
    assert_fine("reconnect", vm("01"));
    assert_claim(VM_A, "running 014");
}

/* Only what a status file shows has been seen to run. */
static void test_started_without_a_status_file(void **state)
{
    (void)state;
    assert_fine("prepare", vm("01"));
    assert_fine("started", vm("01"));
    assert_claim(VM_A, "starting 01");
}

/* -- The end -------------------------------------------------------------------------- */

/* Undo is keyed by owner, never by the XML. */
static void test_stop_of_a_refused_domain(void **state)
{
    (void)state;
    assert_fine("prepare", vm("01"));
    assert_fine("stopped", scene_xml("b", VM_B, "1"));
    assert_fine("release", scene_xml("b", VM_B, "1"));
    assert_masks(isolated);
    assert_claim(VM_A, "starting 01");
}

/* … so it gives back all that it had, whatever the XML lists by then. */
static void test_stop_with_other_cards_in_the_xml(void **state)
{
    (void)state;
    assert_fine("prepare", vm("01"));
    assert_fine("stopped", vm("6"));
    assert_masks(nothing_cut);
    assert_claim(VM_A, "none");
    assert_fine("prepare", vm("01"));
    assert_fine("release", vm(""));
    assert_masks(nothing_cut);
}

/* The claim is lost, but libvirt still keeps the status file at `stopped`. */
static void test_stop_without_a_claim(void **state)
{
    (void)state;
    set_masks(isolated);
    scene_left_over("a", VM_A, "01");
    assert_fine("stopped", vm("01"));
    assert_masks(nothing_cut);
}

/* … or does not: then nothing says that these cards were its own. */
static void test_stop_without_anything(void **state)
{
    (void)state;
    set_masks(isolated);
    assert_fine("stopped", vm("01"));
    assert_masks(isolated);
}

/* libvirt goes on although QEMU survived its kill. */
static void test_stop_of_a_vm_that_lives(void **state)
{
    (void)state;
    assert_fine("prepare", vm("01"));
    assert_fine("start", vm("01"));
    qemu_starts("01");
    assert_fine("stopped", vm("01"));
    assert_masks(isolated);
    assert_claim(VM_A, "running 01");
    assert_logged("VM 'a' was stopped but its process 101 lives; its cards stay isolated until that ends");
}

/* A card that somebody still holds at `stopped` is given back by whatever comes next. */
static void test_stop_with_a_held_card(void **state)
{
    (void)state;
    assert_fine("prepare", vm("01"));
    scene_hold(0);
    assert_fine("stopped", vm("01"));
    assert_claim(VM_A, "none");
    assert_masks((const uint32_t[CARDS]){0x19, 0x08, 0x08, 0x10, 0, 0, 0x1, 0});
    scene_let_go(0);
    assert_fine("release", vm("01"));
    assert_masks(nothing_cut);
    assert_false(host_has(CARDS_JSON));
}

/* … and so is one whose registers cannot be written then: `release` tries again, and leaves a debt at the most. */
static void test_stop_that_release_finishes(void **state)
{
    static const bool can_be_written[] = {true, false};
    for (size_t i = 0; i < 2; i++) {
        hook_calls_start(state);
        assert_fine("prepare", vm("01"));
        scene_bind(addresses[0], "ppu", 1);
        assert_fine("stopped", vm("01"));
        assert_true(host_has(CLAIM_OF_A));
        assert_true(host_has(TOMBSTONE_OF(VM_A)));
        assert_masks((const uint32_t[CARDS]){0x19});
        if (can_be_written[i]) {
            scene_let_go(0);
        }
        assert_fine("release", vm("01"));
        assert_false(host_has(CLAIM_OF_A));
        assert_false(host_has(TOMBSTONE_OF(VM_A)));
        assert_masks((const uint32_t[CARDS]){can_be_written[i] ? 0 : 0x19});
        assert_int_equal(host_has(CARDS_JSON), !can_be_written[i]);
    }
}

/* What is broken refuses starts, but an end is never lost: it is noted, and carried out by whoever comes next. */
static void test_stop_with_broken_settings(void **state)
{
    (void)state;
    assert_fine("prepare", vm("01"));
    simulated_text(SETTINGS, "[policy]\nidle = perhaps\n");
    assert_fine("stopped", vm("01"));
    assert_logged("; its end is noted, and the next hook or `icn-hook repair` carries it out");
    assert_masks(isolated);
    assert_true(host_has(TOMBSTONE_OF(VM_A)));
    simulated_remove(SETTINGS);
    assert_fine("prepare", scene_xml("b", VM_B, "5"));
    assert_claim(VM_A, "none");
    assert_false(host_has(TOMBSTONE_OF(VM_A)));
    assert_masks((const uint32_t[CARDS]){0, 0, 0, 0x01, 0x20, 0x39, 0x10, 0x20});
}

static void test_stop_without_the_lock(void **state)
{
    struct session other;
    (void)state;
    simulated_text(SETTINGS, "[policy]\nlock_timeout = 0\n");
    assert_fine("prepare", vm("01"));
    scene_session(&other, SESSION_CHANGE);
    assert_fine("stopped", vm("01"));
    assert_true(host_has(TOMBSTONE_OF(VM_A)));
    session_close(&other);
    assert_masks(isolated);
    assert_fine("release", vm("01"));
    assert_masks(nothing_cut);
    assert_false(host_has(CLAIM_OF_A));
}

/* A damaged claim is the domain's own: its end removes it, and a new start may replace it. */
static void test_damaged_claim_of_its_own(void **state)
{
    (void)state;
    assert_fine("prepare", vm("01"));
    simulated_text(CLAIM_OF_A, "{");
    assert_fine("prepare", vm("01"));
    assert_claim(VM_A, "starting 01");
    simulated_text(CLAIM_OF_A, "{");
    assert_fine("stopped", vm("01"));
    assert_claim(VM_A, "none");
}

/* -- Besides -------------------------------------------------------------------------- */

static void test_notes_are_logged(void **state)
{
    (void)state;
    assert_fine("prepare", vm("0"));
    simulated_remove("/sys/bus/pci/devices/0001:aa:00.0/resource0");
    simulated_text(RUN "/stranger", "");
    assert_fine("start", vm("0"));
    assert_logged(RUN "/stranger");
    assert_logged(
        "PPU 6 (0001:aa:00.0): resource0 is missing: the card has no such BAR; check bar in [registers]; its own "
        "ends of the links stay as they are");
}

static void test_vendor_tool(void **state)
{
    (void)state;
    simulated_text(SETTINGS, "[registers]\nbackend = ppudbg\n[ppudbg]\npath = " TESTS_DIR "/lib/ppudbg\n");
    assert_fine("prepare", vm("01"));
    assert_masks((const uint32_t[CARDS]){0x19, 0x31});
    assert_fine("start", vm("01"));
    assert_fine("stopped", vm("01"));
    assert_fine("release", vm("01"));
    assert_masks(nothing_cut);
    simulated_text("/etc/ppudbg.fault", "exit");
    assert_start_refused("prepare", vm("01"), STATUS_HARDWARE, "the firmware refused");
    assert_true(host_has(CLAIM_OF_A));
    assert_fine("stopped", vm("01"));
    assert_true(host_has(CLAIM_OF_A));
    assert_fine("release", vm("01"));
    assert_false(host_has(CLAIM_OF_A));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_leak_in_a_running_vm),
        cmocka_unit_test(test_external_leak_in_a_running_vm),
        cmocka_unit_test(test_running_vm_is_not_opened),
        cmocka_unit_test_setup(test_reconnect_without_state, hook_calls_start),
        cmocka_unit_test_setup(test_started_without_a_status_file, hook_calls_start),
        cmocka_unit_test_setup(test_stop_of_a_refused_domain, hook_calls_start),
        cmocka_unit_test_setup(test_stop_with_other_cards_in_the_xml, hook_calls_start),
        cmocka_unit_test_setup(test_stop_without_a_claim, hook_calls_start),
        cmocka_unit_test_setup(test_stop_without_anything, hook_calls_start),
        cmocka_unit_test_setup(test_stop_of_a_vm_that_lives, hook_calls_start),
        cmocka_unit_test_setup(test_stop_with_a_held_card, hook_calls_start),
        cmocka_unit_test(test_stop_that_release_finishes),
        cmocka_unit_test_setup(test_stop_with_broken_settings, hook_calls_start),
        cmocka_unit_test_setup(test_stop_without_the_lock, hook_calls_start),
        cmocka_unit_test_setup(test_damaged_claim_of_its_own, hook_calls_start),
        cmocka_unit_test_setup(test_notes_are_logged, hook_calls_start),
        cmocka_unit_test_setup(test_vendor_tool, hook_calls_start),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
