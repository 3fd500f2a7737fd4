/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "scene.h"

static struct machine *machine;
static struct session session;
static struct error err;

static int start(void **state)
{
    scene_start(state);
    machine = scene_machine();
    session = SESSION_CLOSED;
    return 0;
}

static int stop(void **state)
{
    (void)state;
    session_close(&session);
    machine_close(machine);
    return 0;
}

static void assert_fine(int result)
{
    if (result < 0) {
        fail_msg("%s", err.text);
    }
}

static void test_look(void **state)
{
    (void)state;
    assert_fine(session_open(&session, machine, LEDGER_LOOK, &err));
    assert_non_null(session.snapshot);
    assert_false(session.registers.may_write);
    assert_null(session.registers.ledger);
    assert_false(host_has(LEDGER));
}

static void test_a_domain_from_start_to_end(void **state)
{
    static const uint32_t isolated[CARDS] = {0x19, 0x31, 0x18, 0x30, 0, 0, 0x1, 0x1};
    static const uint32_t nothing_cut[CARDS] = {0};
    struct demand demand = scene_demand(machine, "01");
    (void)state;
    assert_fine(session_open(&session, machine, LEDGER_CHANGE, &err));
    session_decide(&session, INTENT_START, VM_A, "a", &demand);
    demand_free(&demand);
    assert_fine(session_record(&session, PHASE_PREPARED, false, &err));
    assert_masks(nothing_cut);
    assert_fine(session_execute(&session, false, &err));
    assert_masks(isolated);
    assert_fine(session_clean(&session, VM_A, &err));
    assert_int_equal(session.snapshot->tenant_count, 0);
    assert_fine(session_look_again(&session, &err));
    assert_int_equal(session.snapshot->tenant_count, 1);
    session_decide(&session, INTENT_STOP, VM_A, "a", NULL);
    assert_fine(session_execute(&session, true, &err));
    assert_masks(nothing_cut);
    assert_fine(session_clean(&session, NULL, &err));
    assert_false(host_has(LEDGER "/" VM_A ".json"));
}

static void test_ledger_that_cannot_be_used(void **state)
{
    (void)state;
    simulated_text(LEDGER, "");
    assert_int_equal(session_open(&session, machine, LEDGER_CHANGE, &err), -1);
    assert_int_equal(err.status, STATUS_INVALID);
    assert_null(session.snapshot);
}

/* The old look stays until there is a newer one. */
static void test_look_again_that_fails(void **state)
{
    (void)state;
    assert_fine(session_open(&session, machine, LEDGER_CHANGE, &err));
    const struct snapshot *before = session.snapshot;
    simulated_remove("/run/libvirt/qemu");
    simulated_text("/run/libvirt/qemu", "");
    assert_int_equal(session_look_again(&session, &err), -1);
    assert_int_equal(err.status, STATUS_HARDWARE);
    assert_ptr_equal(session.snapshot, before);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_look),
        EACH(test_a_domain_from_start_to_end),
        EACH(test_ledger_that_cannot_be_used),
        EACH(test_look_again_that_fails),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
