/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/ownership.h"
#include "registers/registers.h"
#include "../core/vendor_topology.h"
#include "../host/simulated_host.h"

/* Whole plans, on the vendor's topology. */

#define HELD ": resource0 cannot be mapped now: a driver or QEMU holds the card's registers (EINVAL)"
#define MISSING ": resource0 is missing: the card has no such BAR; check bar in [registers]"

enum { CARDS = 8, LINKS = 0x39 };

static const char *const addresses[CARDS] = {
    "0000:08:00.0", "0000:7e:00.0", "0000:a2:00.0", "0000:c6:00.0",
    "0001:09:00.0", "0001:7f:00.0", "0001:aa:00.0", "0001:ce:00.0",
};
static const uint32_t golden[CARDS] = {0x19, 0x31, 0x18, 0x30, [6] = 0x01, [7] = 0x01};

static struct settings settings;
static struct registers registers;
static struct topology topology;
static struct card_address cards[CARDS];
static struct pci_state states[CARDS];
static int owners[CARDS];
static struct plan_goal goals[CARDS];
static struct plan plan;
static struct writing writing;
static enum apply_outcome outcomes[2 * CARDS];
static struct text_list warnings;

static int set_up(void **state)
{
    simulated_host_clear(state);
    settings_default(&settings);
    registers_open(&registers, &settings, NULL, true);
    vendor_topology(&topology);
    memset(owners, 0, sizeof owners);
    memset(goals, 0, sizeof goals);
    for (int i = 0; i < CARDS; i++) {
        simulated_card(addresses[i]);
        cards[i] = (struct card_address){.ppu = i, .state = &states[i], .links = LINKS};
        assert_true(bdf_parse(addresses[i], &cards[i].bdf));
    }
    writing = (struct writing){.plan = &plan, .cards = cards, .owners = owners, .ppu_count = CARDS};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    registers_close(&registers);
    text_list_free(&warnings);
    return 0;
}

/* A domain owns cards 0 and 1: from what the registers hold to what they must. */
static void plan_first_two(void)
{
    owners[0] = owners[1] = 1;
    for (int ppu = 0; ppu < CARDS; ppu++) {
        goals[ppu] = (struct plan_goal){
            .role = ppu < 2 ? ROLE_NEAR : ROLE_FAR,
            .now = simulated_register(addresses[ppu], LINK_CONFIG_OFFSET),
            .want = mask_required(&topology, owners, ppu),
        };
    }
    plan_build(&plan, goals, CARDS);
}

static int write_plan(struct error *err)
{
    memset(outcomes, 0xaa, sizeof outcomes);
    for (int i = 0; i < CARDS; i++) {
        sysfs_read_state(cards[i].bdf, &states[i]);
    }
    return registers.backend->write_plan(&registers, &writing, outcomes, &warnings, err);
}

static void check_registers(const uint32_t expected[CARDS])
{
    for (int i = 0; i < CARDS; i++) {
        assert_int_equal(simulated_register(addresses[i], LINK_CONFIG_OFFSET), expected[i]);
    }
}

/* Outcomes as letters: done, held (deferred), failed, - not tried. */
static void check_outcomes(const char *expected)
{
    static const char letters[] = {
        [APPLY_NOT_TRIED] = '-', [APPLY_DONE] = 'd', [APPLY_DEFERRED] = 'h', [APPLY_FAILED] = 'f'};
    char seen[2 * CARDS + 1] = "";
    for (size_t i = 0; i < plan.count; i++) {
        assert_true(outcomes[i] < sizeof letters);
        seen[i] = letters[outcomes[i]];
    }
    assert_string_equal(seen, expected);
}

static void check_let_through(const char *expected, size_t warning_count)
{
    struct error err;
    assert_int_equal(write_plan(&err), 0);
    check_outcomes(expected);
    assert_int_equal(warnings.count, warning_count);
}

static void check_refused(const char *expected, const char *text)
{
    struct error err = {0};
    assert_int_equal(write_plan(&err), -1);
    assert_string_equal(err.text, text);
    assert_int_equal(err.status, STATUS_HARDWARE);
    check_outcomes(expected);
    assert_int_equal(warnings.count, 0);
}

static const char *card_file(int ppu, const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/%s", addresses[ppu], name);
    return path;
}

static void hold(int ppu)
{
    simulated_link(card_file(ppu, "driver"), "../../../bus/pci/drivers/alixpu");
}

static void let_go(int ppu)
{
    simulated_remove(card_file(ppu, "driver"));
}

static void test_golden(void **state)
{
    (void)state;
    plan_first_two();
    check_let_through("dddddd", 0);
    check_registers(golden);
}

static void test_other_bits_and_openings(void **state)
{
    (void)state;
    simulated_set_register(addresses[0], LINK_CONFIG_OFFSET, 0xa5000020);
    simulated_set_register(addresses[4], LINK_CONFIG_OFFSET, 0x08);
    goals[0] = (struct plan_goal){ROLE_NEAR, 0x20, 0x19};
    goals[4] = (struct plan_goal){ROLE_FAR, 0x08, 0};
    plan_build(&plan, goals, CARDS);
    check_let_through("ddd", 0);
    check_registers((const uint32_t[CARDS]){0xa5000019});
}

static void test_nothing_to_do(void **state)
{
    (void)state;
    plan_build(&plan, goals, CARDS);
    check_let_through("", 0);
}

static void test_near_end_is_held(void **state)
{
    (void)state;
    hold(1);
    plan_first_two();
    check_refused("df----", "PPU 1 (0000:7e:00.0)" HELD);
    writing.may_defer = true;
    plan_first_two();
    check_let_through("hdddd", 0);
    let_go(1);
    plan_first_two();
    check_let_through("d", 0);
    check_registers(golden);
}

/* What is not a driver's doing is not put off. */
static void test_near_end_fails(void **state)
{
    (void)state;
    writing.may_defer = true;
    plan_first_two();
    simulated_remove(card_file(1, "resource0"));
    check_refused("df----", "PPU 1 (0000:7e:00.0)" MISSING);
}

static void test_far_ends_fail(void **state)
{
    (void)state;
    writing.may_defer = true;
    plan_first_two();
    hold(2);
    simulated_remove(card_file(6, "resource0"));
    check_let_through("ddhdfd", 2);
    assert_string_equal(warnings.items[0], "PPU 2 (0000:a2:00.0)" HELD);
    assert_string_equal(warnings.items[1], "PPU 6 (0001:aa:00.0)" MISSING);
}

static void test_opening_of_a_near_end_fails(void **state)
{
    (void)state;
    goals[0] = (struct plan_goal){ROLE_NEAR, LINKS, 0x19};
    plan_build(&plan, goals, CARDS);
    hold(0);
    check_let_through("h", 1);
    assert_string_equal(warnings.items[0], "PPU 0 (0000:08:00.0)" HELD);
}

/* A VM that runs: what can be cut is cut. */
static void test_keeps_going(void **state)
{
    (void)state;
    writing.keep_going = true;
    plan_first_two();
    simulated_remove(card_file(0, "resource0"));
    hold(1);
    check_let_through("ffdddd", 2);
    assert_string_equal(warnings.items[0], "PPU 0 (0000:08:00.0)" MISSING);
    assert_string_equal(warnings.items[1], "PPU 1 (0000:7e:00.0)" HELD);
}

static void test_keeps_going_and_defers(void **state)
{
    (void)state;
    writing.keep_going = true;
    writing.may_defer = true;
    plan_first_two();
    simulated_remove(card_file(0, "resource0"));
    hold(1);
    check_let_through("fhdddd", 1);
    assert_string_equal(warnings.items[0], "PPU 0 (0000:08:00.0)" MISSING);
}

/* A register that did not take its cut is not opened either. */
static void test_keeps_going_past_a_card_with_both(void **state)
{
    (void)state;
    writing.keep_going = true;
    goals[0] = (struct plan_goal){ROLE_NEAR, 0x20, 0x19};
    goals[1] = (struct plan_goal){ROLE_NEAR, 0, 0x31};
    plan_build(&plan, goals, CARDS);
    hold(0);
    check_let_through("fd-", 1);
}

/* All cards of the plan, and no other. */
static void test_cards_are_woken(void **state)
{
    (void)state;
    for (int i = 0; i < CARDS; i++) {
        simulated_text(card_file(i, "power/control"), "auto\n");
    }
    plan_first_two();
    simulated_remove(card_file(0, "resource0")); /* the first write fails, and nothing after it is tried */
    check_refused("f-----", "PPU 0 (0000:08:00.0)" MISSING);
    for (int i = 0; i < CARDS; i++) {
        assert_string_equal(simulated_read(card_file(i, "power/control")), i == 4 || i == 5 ? "auto\n" : "on");
    }
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_golden),
        TEST(test_other_bits_and_openings),
        TEST(test_nothing_to_do),
        TEST(test_near_end_is_held),
        TEST(test_near_end_fails),
        TEST(test_far_ends_fail),
        TEST(test_opening_of_a_near_end_fails),
        TEST(test_keeps_going),
        TEST(test_keeps_going_and_defers),
        TEST(test_keeps_going_past_a_card_with_both),
        TEST(test_cards_are_woken),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
