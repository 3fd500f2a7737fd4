/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/execution.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/mask.h"
#include "scene.h"

/* What the backend was told, and how it is to answer. */
static char told[1024];
static enum write_failure answers[CARDS];
static enum write_failure group_answer;

static struct machine machine;
static struct snapshot snapshot;
static struct decision decision;
static struct execution execution;
static struct registers registers;

static enum write_failure fake_write(struct registers *of, const struct card_address *card, uint32_t mask,
                                     struct error *err)
{
    size_t used = strlen(told);
    assert_ptr_equal(of, &registers);
    snprintf(told + used, sizeof told - used, "%d:%x ", card->ppu, mask);
    error_set(err, STATUS_HARDWARE, "PPU %d says no", card->ppu);
    return answers[card->ppu];
}

static enum write_failure fake_isolate(struct registers *of, const int groups[], int card_count, struct error *err)
{
    size_t used = strlen(told);
    assert_ptr_equal(of, &registers);
    assert_int_equal(card_count, CARDS);
    for (int ppu = 0; ppu < CARDS; ppu++) {
        told[used++] = groups[ppu] < 0 ? '.' : (char)('0' + groups[ppu]);
    }
    told[used] = '\0';
    error_set(err, STATUS_BUSY, "the tool hangs");
    return group_answer;
}

static enum write_failure fake_reset(struct registers *of, struct error *err)
{
    assert_ptr_equal(of, &registers);
    snprintf(told, sizeof told, "reset");
    error_set(err, STATUS_BUSY, "the tool hangs");
    return group_answer;
}

static const struct registers_backend single = {.reads_back = true, .write = fake_write};
static const struct registers_backend grouped = {.reads_back = false, .isolate = fake_isolate, .reset = fake_reset};

static int start(void **state)
{
    (void)state;
    memset(told, 0, sizeof told);
    memset(answers, 0, sizeof answers);
    group_answer = WRITE_FINE;
    memset(&machine, 0, sizeof machine);
    memset(&snapshot, 0, sizeof snapshot);
    memset(&decision, 0, sizeof decision);
    topology_clear(&machine.topology, CARDS);
    snapshot.machine = &machine;
    decision.uuid = VM_A;
    registers = (struct registers){.backend = &single};
    return 0;
}

/* A near end with a cut, a far end with a cut and an opening. */
static void make_plan(void)
{
    decision.goals[0] = (struct plan_goal){ROLE_NEAR, 0x0, 0x3};
    decision.goals[1] = (struct plan_goal){ROLE_NEAR, 0x1, 0x2};
    decision.goals[2] = (struct plan_goal){ROLE_FAR, 0x1, 0x2};
    plan_build(&decision.plan, decision.goals, CARDS);
}

static int run(bool may_defer, struct error *err)
{
    return execution_run(&execution, &decision, &snapshot, &registers, may_defer, err);
}

static void assert_outcomes(const enum apply_outcome expected[])
{
    for (size_t i = 0; i < decision.plan.count; i++) {
        assert_int_equal(execution.outcomes[i], expected[i]);
    }
}

static int outcomes(enum apply_outcome wanted)
{
    int count = 0;
    for (size_t i = 0; i < decision.plan.count; i++) {
        count += execution.outcomes[i] == wanted;
    }
    return count;
}

static void test_all_is_written(void **state)
{
    struct error err;

    (void)state;
    make_plan();
    assert_int_equal(run(false, &err), 0);
    assert_string_equal(told, "0:3 1:3 2:3 1:2 2:2 ");
    assert_int_equal(outcomes(APPLY_DONE), 5);
    assert_int_equal(outcomes(APPLY_DEFERRED), 0);
    assert_lines(&execution.warnings, "");
    execution_free(&execution);
}

static void test_near_end_fails(void **state)
{
    struct error err = {0};

    (void)state;
    make_plan();
    answers[1] = WRITE_FAILED;
    assert_int_equal(run(true, &err), -1);
    assert_error(&err, STATUS_HARDWARE, "PPU 1 says no", "");
    assert_string_equal(told, "0:3 1:3 ");
    assert_outcomes(
        (const enum apply_outcome[]){APPLY_DONE, APPLY_FAILED, APPLY_NOT_TRIED, APPLY_NOT_TRIED, APPLY_NOT_TRIED});
    execution_free(&execution);
}

/* The near end's opening waits too: what is not cut is not opened. */
static void test_near_end_is_held(void **state)
{
    struct error err = {0};

    (void)state;
    make_plan();
    answers[1] = WRITE_HELD;
    assert_int_equal(run(true, &err), 0);
    assert_string_equal(told, "0:3 1:3 2:3 2:2 ");
    assert_int_equal(outcomes(APPLY_DEFERRED), 1);
    assert_int_equal(outcomes(APPLY_DONE), 3);
    execution_free(&execution);
    memset(told, 0, sizeof told);
    assert_int_equal(run(false, &err), -1);
    assert_error(&err, STATUS_HARDWARE, "PPU 1 says no", "");
    assert_string_equal(told, "0:3 1:3 ");
    execution_free(&execution);
}

static void test_far_end_fails(void **state)
{
    struct error err;

    (void)state;
    make_plan();
    answers[2] = WRITE_HELD;
    assert_int_equal(run(true, &err), 0);
    assert_string_equal(told, "0:3 1:3 2:3 1:2 ");
    assert_int_equal(outcomes(APPLY_DEFERRED), 0);
    assert_lines(&execution.warnings, "PPU 2 says no");
    execution_free(&execution);
}

/* A running VM gets every cut that can be made. */
static void test_running_domain_goes_on(void **state)
{
    struct error err;

    (void)state;
    make_plan();
    decision.intent = INTENT_KEEP;
    answers[0] = WRITE_FAILED;
    assert_int_equal(run(true, &err), 0);
    assert_string_equal(told, "0:3 1:3 2:3 1:2 2:2 ");
    assert_lines(&execution.warnings, "PPU 0 says no");
    assert_int_equal(execution.outcomes[0], APPLY_DEFERRED);
    execution_free(&execution);
}

struct group_case {
    enum intent intent;
    const char *near;
    const char *freed; /* idle afterwards, with an entry that mentions it */
    const char *owned; /* by somebody, afterwards */
    enum idle_policy idle;
    bool doubt;
    const char *told;
};

static void set_up_groups(const struct group_case *wanted)
{
    static struct ledger_fault fault = {.uuid = VM_B};
    start(NULL);
    registers.backend = &grouped;
    decision.intent = wanted->intent;
    machine.settings.idle = wanted->idle;
    for (const char *at = wanted->near; *at != '\0'; at++) {
        decision.near[*at - '0'] = true;
        decision.owners[*at - '0'] = 1;
    }
    for (const char *at = wanted->freed; *at != '\0'; at++) {
        snapshot.cards[*at - '0'].has_original = true;
    }
    for (const char *at = wanted->owned; *at != '\0'; at++) {
        decision.owners[*at - '0'] = 2;
    }
    snapshot.ledger.faults = &fault;
    snapshot.ledger.fault_count = wanted->doubt ? 1 : 0;
}

static const struct group_case group_cases[] = {
    {INTENT_START, "01", "", "", IDLE_RESTORE, false, "00......"},
    {INTENT_START, "01", "", "45", IDLE_RESTORE, false, "00......"},
    {INTENT_START, "01", "3", "", IDLE_RESTORE, false, "00.1...."},
    {INTENT_KEEP, "01", "3", "", IDLE_RESTORE, false, ""},
    {INTENT_STOP, "", "01", "", IDLE_RESTORE, false, "reset"},
    {INTENT_STOP, "", "01", "", IDLE_ISOLATE, false, "12......"},
    {INTENT_STOP, "", "01", "", IDLE_RESTORE, true, "12......"},
    {INTENT_STOP, "", "016", "6", IDLE_RESTORE, false, "12......"},
    {INTENT_STOP, "", "", "6", IDLE_RESTORE, false, ""},
    {INTENT_STOP, "", "", "", IDLE_RESTORE, false, ""},
};

static void test_groups(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof group_cases / sizeof group_cases[0]; i++) {
        struct error err;
        set_up_groups(&group_cases[i]);
        assert_int_equal(run(true, &err), 0);
        assert_string_equal(told, group_cases[i].told);
    }
}

static void test_groups_fail(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof group_cases / sizeof group_cases[0]; i++) {
        struct error err = {0};
        set_up_groups(&group_cases[i]);
        group_answer = WRITE_FAILED;
        if (group_cases[i].told[0] == '\0') {
            continue;
        }
        assert_int_equal(run(true, &err), -1);
        assert_error(&err, STATUS_BUSY, "the tool hangs", "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_all_is_written, start),
        cmocka_unit_test_setup(test_near_end_fails, start),
        cmocka_unit_test_setup(test_near_end_is_held, start),
        cmocka_unit_test_setup(test_far_end_fails, start),
        cmocka_unit_test_setup(test_running_domain_goes_on, start),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_groups_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
