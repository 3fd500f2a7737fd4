/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/foresight.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "scene.h"

static struct machine *machine;
static struct snapshot *snapshot;
static struct registers registers;
static struct decision decision;

static int start(void **state)
{
    scene_start(state);
    set_masks((const uint32_t[CARDS]){0x8, 0, 0, 0, 0, 0, 0, 0x20});
    machine = scene_machine();
    snapshot = scene_snapshot(machine);
    registers_open(&registers, &machine->settings, NULL, false);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    snapshot_free(snapshot);
    machine_close(machine);
    return 0;
}

static void assume(const char *uuid, const char *name, const char *ppus)
{
    struct demand demand = scene_demand(machine, ppus);
    demand.by_hand = true;
    decision_make(&decision, snapshot, &registers, INTENT_START, uuid, name, &demand);
    demand_free(&demand);
    foresight_assume(snapshot, &decision);
}

static void test_owners_and_registers(void **state)
{
    char text[OWNER_TEXT_SIZE];
    (void)state;
    assume(VM_A, "red", "01");
    const struct tenant *red = snapshot_tenant(snapshot, VM_A);
    assert_non_null(red);
    assert_true(red->manual && red->alive && !red->running && !red->entry);
    assert_string_equal(snapshot_owner_text(snapshot, 1, text), "red");
    assert_string_equal(snapshot_owner_text(snapshot, 2, text), "idle");
    assert_int_equal(snapshot->cards[0].reading.mask, 0x19);
    assert_int_equal(snapshot->cards[7].reading.mask, 0x21);
    assert_true(snapshot->cards[7].has_original);
    assert_int_equal(snapshot->cards[7].original, 0x20);
    assert_false(snapshot->cards[4].has_original);
}

/* What the next group's plan starts from. */
static void test_next_decision(void **state)
{
    (void)state;
    assume(VM_A, "red", "01");
    assume(VM_B, "blue", "7");
    assert_int_equal(snapshot->tenant_count, 2);
    assert_int_equal(snapshot->claim_count, 3);
    assert_int_equal(decision.goals[7].now, 0x21);
    assert_int_equal(decision.goals[7].want, 0x39);
    assert_int_equal(snapshot->cards[7].original, 0x20);
    assert_int_equal(snapshot->cards[6].reading.mask, 0x21);
}

/* Once more for the same group: nobody owns a card twice. */
static void test_known_tenant(void **state)
{
    (void)state;
    assume(VM_A, "red", "01");
    assume(VM_A, "red", "01");
    assert_int_equal(snapshot->tenant_count, 1);
    assert_int_equal(snapshot->claim_count, 2);
    assert_int_equal(decision.plan.count, 0);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_owners_and_registers),
        EACH(test_next_decision),
        EACH(test_known_tenant),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
