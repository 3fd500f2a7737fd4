/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* Answers in turn as told, and keeps what it was asked to write. */
struct script {
    const char *answers;
    int calls;
    int ppus[8];
    uint32_t values[8];
};

/* Cut of near 0, cut of far 1, opening of 0, opening of 1, opening of near 2. */
static const struct plan five_writes = {
    .count = 5,
    .writes =
        {
            {0, ROLE_NEAR, 0x01, 0x03},
            {1, ROLE_FAR, 0x04, 0x0c},
            {0, ROLE_NEAR, 0x03, 0x02},
            {1, ROLE_FAR, 0x0c, 0x08},
            {2, ROLE_NEAR, 0x30, 0x10},
        },
};

/* Outcomes as letters: done, held (deferred), failed, not tried. */
static enum apply_outcome outcome_of(char letter)
{
    static const char letters[] = {
        [APPLY_NOT_TRIED] = '-', [APPLY_DONE] = 'd', [APPLY_DEFERRED] = 'h', [APPLY_FAILED] = 'f'};
    return (enum apply_outcome)((const char *)memchr(letters, letter, sizeof letters) - letters);
}

static enum apply_outcome play(void *context, const struct plan_write *write)
{
    struct script *script = context;
    script->ppus[script->calls] = write->ppu;
    script->values[script->calls] = write->to;
    return outcome_of(script->answers[script->calls++]);
}

static bool run(bool may_defer, const char *answers, const char *expected)
{
    struct script script = {.answers = answers};
    enum apply_outcome outcomes[5];
    bool isolated = apply(&five_writes, may_defer, play, &script, outcomes);
    assert_int_equal(script.calls, strlen(answers));
    for (int i = 0; i < 5; i++) {
        assert_int_equal(outcomes[i], outcome_of(expected[i]));
    }
    return isolated;
}

static void all_done(void **state)
{
    static const int ppus[] = {0, 1, 0, 1, 2};
    static const uint32_t values[] = {0x03, 0x0c, 0x02, 0x08, 0x10};
    struct script script = {.answers = "ddddd"};
    enum apply_outcome outcomes[5];
    (void)state;
    assert_true(apply(&five_writes, false, play, &script, outcomes));
    assert_int_equal(script.calls, 5);
    assert_memory_equal(script.ppus, ppus, sizeof ppus);
    assert_memory_equal(script.values, values, sizeof values);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(outcomes[i], APPLY_DONE);
    }
}

static void empty_plan(void **state)
{
    static const struct plan nothing;
    (void)state;
    assert_true(apply(&nothing, false, play, NULL, NULL));
}

static void nothing_is_tried_after_a_failed_near_cut(void **state)
{
    (void)state;
    assert_false(run(false, "f", "f----"));
    assert_false(run(true, "f", "f----"));
}

static void a_near_cut_is_deferred_only_when_allowed(void **state)
{
    (void)state;
    assert_true(run(true, "hddh", "hd-dh"));
    assert_false(run(false, "h", "f----"));
}

static void a_far_cut_may_fail_and_is_never_deferred(void **state)
{
    (void)state;
    assert_true(run(false, "dfdd", "dfd-d"));
    assert_true(run(true, "dhdd", "dfd-d"));
}

static void an_opening_may_fail(void **state)
{
    (void)state;
    assert_true(run(false, "ddffh", "ddfff"));
}

static void an_answer_that_is_none_counts_as_failed(void **state)
{
    (void)state;
    assert_false(run(true, "-", "f----"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_done),
        cmocka_unit_test(empty_plan),
        cmocka_unit_test(nothing_is_tried_after_a_failed_near_cut),
        cmocka_unit_test(a_near_cut_is_deferred_only_when_allowed),
        cmocka_unit_test(a_far_cut_may_fail_and_is_never_deferred),
        cmocka_unit_test(an_opening_may_fail),
        cmocka_unit_test(an_answer_that_is_none_counts_as_failed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
