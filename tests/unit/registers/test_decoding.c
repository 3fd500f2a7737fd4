/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "scene.h"

#define STAYS_OFF "the register reads all ones: memory decoding does not come on; reset the card or replace it"

enum { MEMORY_OFF = 0x0004 };

static void set_enable(const char *text)
{
    simulated_text(DIRECTORY "/enable", text);
}

static void check_enable(const char *text)
{
    assert_string_equal(simulated_read(DIRECTORY "/enable"), text);
}

/* Nothing was touched: a BAR that is not decoded answers nothing that means anything. */
static void check_untouched(enum reading_kind kind, enum apply_outcome outcome, const char *reason)
{
    set_register(0x20);
    check_reading(kind, 0, reason);
    check_refused(outcome, reason);
    assert_int_equal(scene.mappings, 0);
    assert_int_equal(simulated_register(BDF, LINK_CONFIG_OFFSET), 0x20);
    assert_int_equal(count_notes(), 0);
}

static int set_up(void **state)
{
    scene_set_up(state);
    simulated_config(BDF, 0x1ee0, MEMORY_OFF);
    return 0;
}

static void test_looking_changes_nothing(void **state)
{
    (void)state;
    lock_state();
    check_look(READING_UNVERIFIABLE, 0, "memory decoding is off");
    registers.may_write = false;
    check_reading(READING_UNVERIFIABLE, 0, "memory decoding is off");
    assert_int_equal(scene.mappings, 0);
    check_enable("0\n");
}

static void test_needs_the_state(void **state)
{
    (void)state;
    check_untouched(READING_FAILED, APPLY_FAILED, "memory decoding is off");
    registers.state = NULL;
    check_untouched(READING_FAILED, APPLY_FAILED, "memory decoding is off");
    check_enable("0\n");
}

static void test_is_switched(void **state)
{
    (void)state;
    lock_state();
    check_written(0x19, 0x19);
    assert_string_equal(scene.enable, "1\n");
    assert_int_equal(scene.notes, 1);
    check_enable("0\n");
    assert_int_equal(count_notes(), 0);
    check_reading(READING_FINE, 0x19, "");
    assert_string_equal(scene.enable, "1\n");
    check_enable("0\n");
    assert_int_equal(count_notes(), 0);
}

/* The command register of a simulated host stays as it is. */
static void test_does_not_come_on(void **state)
{
    (void)state;
    lock_state();
    set_register(0xffffffff);
    check_reading(READING_FAILED, 0, STAYS_OFF);
    check_refused(APPLY_FAILED, STAYS_OFF);
    check_enable("0\n");
    assert_int_equal(count_notes(), 0);
}

static void test_is_on(void **state)
{
    (void)state;
    lock_state();
    simulated_config(BDF, 0x1ee0, 0x0006);
    check_written(0x19, 0x19);
    assert_string_equal(scene.enable, "0\n");
    scene_reopen();
    simulated_text(DIRECTORY "/config", "\xe0\x1e\x01\x60"); /* too short to say */
    check_written(0x31, 0x31);
    assert_string_equal(scene.enable, "0\n");
    scene_reopen();
    simulated_remove(DIRECTORY "/config");
    check_written(0x19, 0x19);
    assert_string_equal(scene.enable, "0\n");
}

/* The kernel refuses to change `enable` then. */
static void test_with_driver(void **state)
{
    (void)state;
    lock_state();
    simulated_link(DIRECTORY "/driver", "../../../bus/pci/drivers/vfio-pci");
    check_untouched(READING_UNVERIFIABLE, APPLY_DEFERRED,
                    "memory decoding is off and cannot be switched on while driver vfio-pci is bound");
    check_enable("0\n");
}

static void test_although_enabled(void **state)
{
    (void)state;
    lock_state();
    set_enable("2\n");
    check_untouched(READING_FAILED, APPLY_FAILED, "memory decoding is off although the card is enabled (enable is 2)");
    check_enable("2\n");
}

static void test_cannot_be_switched_on(void **state)
{
    (void)state;
    lock_state();
    simulated_remove(DIRECTORY "/enable");
    check_untouched(READING_FAILED, APPLY_FAILED,
                    "memory decoding is off and cannot be switched on: cannot write 1 to enable of " BDF
                    ": No such file or directory");
    simulated_directory(DIRECTORY "/enable");
    check_untouched(READING_FAILED, APPLY_FAILED,
                    "memory decoding is off and cannot be switched on: cannot write 1 to enable of " BDF
                    ": Is a directory");
}

/* Without a note nothing is switched on. */
static void test_without_note(void **state)
{
    const char *words = "memory decoding is off and is not switched on without a note of it: ";
    struct reading reading;
    (void)state;
    lock_state();
    simulated_directory("/run/icn-hook/enabled-" BDF);
    registers.backend->read(&registers, &card, true, &reading);
    assert_int_equal(reading.kind, READING_FAILED);
    assert_memory_equal(reading.why, words, strlen(words));
    assert_int_equal(scene.mappings, 0);
    check_enable("0\n");
}

/* The note stays for registers_recover. */
static void test_cannot_be_switched_off(void **state)
{
    (void)state;
    lock_state();
    scene.stuck_enable = true;
    check_reading(READING_FINE, 0, "");
    assert_int_equal(count_notes(), 1);
}

/* It was on when the register was read: only a register that reads all ones is a reason to look again. */
static void test_goes_off_before_the_write(void **state)
{
    (void)state;
    lock_state();
    simulated_config(BDF, 0x1ee0, 0x0006);
    check_reading(READING_FINE, 0, "");
    simulated_remove(DIRECTORY "/config");
    check_written(0x19, 0x19);
    simulated_config(BDF, 0x1ee0, MEMORY_OFF);
    set_register(UINT32_MAX);
    check_refused(APPLY_FAILED, STAYS_OFF);
    check_enable("0\n");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, scene_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_looking_changes_nothing),
        TEST(test_needs_the_state),
        TEST(test_is_switched),
        TEST(test_does_not_come_on),
        TEST(test_is_on),
        TEST(test_goes_off_before_the_write),
        TEST(test_with_driver),
        TEST(test_although_enabled),
        TEST(test_cannot_be_switched_on),
        TEST(test_without_note),
        TEST(test_cannot_be_switched_off),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
