/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/file.h"
#include "registers/registers.h"
#include "../host/simulated_host.h"

#define CARD "0000:08:00.0"
#define DIRECTORY "/sys/bus/pci/devices/" CARD "/"

static const struct card_address card = {.ppu = 0, .bdf = {.bus = 0x08}, .links = 0x39};

static struct settings settings;
static struct ledger ledger;
static struct registers registers;
static bool kernel_wakes;
static int waits;

/* The kernel at work while the program waits. */
int __wrap_nanosleep(const struct timespec *request, struct timespec *left);
int __wrap_nanosleep(const struct timespec *request, struct timespec *left)
{
    (void)request;
    (void)left;
    if (++waits >= 3 && kernel_wakes && strcmp(simulated_read(DIRECTORY "power/control"), "on") == 0) {
        simulated_text(DIRECTORY "power_state", "D0\n");
        simulated_text(DIRECTORY "power/runtime_status", "active\n");
    }
    return 0;
}

static void set_power(const char *state, const char *runtime, const char *control)
{
    if (state) {
        simulated_text(DIRECTORY "power_state", state);
    }
    simulated_text(DIRECTORY "power/runtime_status", runtime);
    simulated_text(DIRECTORY "power/control", control);
}

static void open_registers(bool may_write)
{
    registers_open(&registers, &settings, &ledger, may_write);
}

static int set_up(void **state)
{
    struct error err;

    simulated_host_clear(state);
    simulated_card(CARD);
    simulated_directory("/run");
    settings_default(&settings);
    assert_int_equal(ledger_open(&ledger, LEDGER_CHANGE, deadline_after_ms(1000), &err), 0);
    open_registers(true);
    kernel_wakes = true;
    waits = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    ledger_close(&ledger);
    return 0;
}

static void assert_wake(enum reading_kind kind, const char *why)
{
    struct error err = {0};

    assert_int_equal(registers_wake(&registers, card.bdf, &err), kind);
    assert_string_equal(err.text, why);
}

static void assert_control(const char *value)
{
    assert_string_equal(simulated_read(DIRECTORY "power/control"), value);
}

static void test_awake_cards_are_left_alone(void **state)
{
    (void)state;
    assert_wake(READING_FINE, "");
    set_power("D0\n", "active\n", "auto\n");
    assert_wake(READING_FINE, "");
    set_power("unknown\n", "active\n", "auto\n");
    assert_wake(READING_FINE, "");
    simulated_remove(DIRECTORY "power_state");
    set_power(NULL, "unsupported\n", "auto\n");
    assert_wake(READING_FINE, "");
    assert_int_equal(registers.woken_count, 0);
    registers_close(&registers);
    assert_control("auto\n");
    assert_int_equal(waits, 0);
}

static void test_a_sleeping_card_is_woken_until_all_is_done(void **state)
{
    (void)state;
    set_power("D3hot\n", "suspended\n", "auto\n");
    assert_wake(READING_FINE, "");
    assert_int_equal(waits, 3);
    assert_control("on");
    assert_wake(READING_FINE, "");
    assert_int_equal(registers.woken_count, 1);
    registers_close(&registers);
    assert_control("auto");
    assert_int_equal(registers.woken_count, 0);
}

static void test_a_kernel_without_power_state(void **state)
{
    (void)state;
    set_power(NULL, "suspended\n", "auto\n");
    assert_wake(READING_FINE, "");
    assert_control("on");
}

static void test_a_card_that_somebody_else_wakes(void **state)
{
    (void)state;
    set_power("D3hot\n", "resuming\n", "on");
    assert_wake(READING_FINE, "");
    registers_close(&registers);
    assert_control("on");
}

static void test_looking_wakes_nobody(void **state)
{
    (void)state;
    open_registers(false);
    set_power("D3hot\n", "suspended\n", "auto\n");
    assert_wake(READING_UNVERIFIABLE, "it sleeps (D3hot) and is not woken only to look; vfio-pci with "
                                      "disable_idle_d3=1 keeps cards awake");
    assert_control("auto\n");
}

static void test_a_card_that_its_user_put_to_sleep(void **state)
{
    (void)state;
    set_power("D3hot\n", "active\n", "auto\n");
    assert_wake(READING_UNVERIFIABLE, "it is in D3hot, where whoever uses it has put it; without a user, load vfio-pci "
                                      "with disable_idle_d3=1");
    assert_control("auto\n");
}

static void test_a_card_that_does_not_wake(void **state)
{
    (void)state;
    kernel_wakes = false;
    set_power("D3cold\n", "suspended\n", "auto\n");
    assert_wake(READING_FAILED, "it does not wake from D3cold");
    assert_control("auto");
    assert_int_equal(registers.woken_count, 0);
    simulated_remove(DIRECTORY "power/control");
    simulated_directory(DIRECTORY "power/control");
    assert_wake(READING_FAILED, "it does not wake from D3cold");
}

static void test_registers_of_a_sleeping_card(void **state)
{
    struct reading reading;
    struct error err;

    (void)state;
    set_power("D3hot\n", "suspended\n", "auto\n");
    simulated_set_register(CARD, LINK_CONFIG_OFFSET, 0x40);
    open_registers(false);
    registers.backend->read(&registers, &card, &reading);
    assert_int_equal(reading.kind, READING_UNVERIFIABLE);
    assert_string_equal(reading.why, "it sleeps (D3hot) and is not woken only to look; vfio-pci with "
                                     "disable_idle_d3=1 keeps cards awake");
    kernel_wakes = false;
    open_registers(true);
    assert_int_equal(registers.backend->write(&registers, &card, 0x19, &err), WRITE_FAILED);
    assert_string_equal(err.text, "PPU 0 (" CARD "): it does not wake from D3hot");
    assert_int_equal(simulated_register(CARD, LINK_CONFIG_OFFSET), 0x40);
    kernel_wakes = true;
    assert_int_equal(registers.backend->write(&registers, &card, 0x19, &err), WRITE_FINE);
    assert_int_equal(simulated_register(CARD, LINK_CONFIG_OFFSET), 0x59);
    registers.backend->read(&registers, &card, &reading);
    assert_int_equal(reading.kind, READING_FINE);
    assert_int_equal(reading.mask, 0x19);
    registers_close(&registers);
    assert_control("auto");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_awake_cards_are_left_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_sleeping_card_is_woken_until_all_is_done, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_kernel_without_power_state, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_card_that_somebody_else_wakes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_looking_wakes_nobody, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_card_that_its_user_put_to_sleep, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_card_that_does_not_wake, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_registers_of_a_sleeping_card, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
