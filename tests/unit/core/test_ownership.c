/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/ownership.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/*
 * Every combination of facts is judged, and compared with a table whose rows must be
 * disjoint, complete and all needed: exactly one row fits each combination.
 */
enum { TIMEOUT_MS = 3600000 };

static const int64_t ages_ms[] = {INT64_MIN, -1, 0, TIMEOUT_MS - 1, TIMEOUT_MS, TIMEOUT_MS + 1, INT64_MAX};
enum { AGES = sizeof ages_ms / sizeof ages_ms[0] };

/* Sets of values, a bit for each. */
enum { STARTING = 1 << CLAIM_STARTING, RUNNING = 1 << CLAIM_RUNNING, ENDED = 1 << CLAIM_ENDED };
enum { UNKNOWN = 1 << DAEMON_UNKNOWN, LIVES = 1 << DAEMON_LIVES, GONE = 1 << DAEMON_GONE };
enum { NO = 1 << false, YES = 1 << true, EITHER = NO | YES };
enum { YOUNG = 0x0f, OLD = 0x70 };
enum { LIVE = STARTING | RUNNING, ANY_DAEMON = UNKNOWN | LIVES | GONE, ANY_AGE = YOUNG | OLD };

static const struct row {
    unsigned phase, group, names, file, daemon, age, held, process;
    enum claim_verdict verdict;
} rows[] = {
    {ENDED, EITHER, EITHER, EITHER, ANY_DAEMON, ANY_AGE, EITHER, EITHER, CLAIM_VOID},
    /* groups */
    {LIVE, YES, NO, EITHER, ANY_DAEMON, ANY_AGE, EITHER, EITHER, CLAIM_COUNTS},
    {LIVE, YES, YES, EITHER, ANY_DAEMON, ANY_AGE, YES, EITHER, CLAIM_COUNTS},
    {LIVE, YES, YES, EITHER, ANY_DAEMON, ANY_AGE, NO, YES, CLAIM_COUNTS},
    {LIVE, YES, YES, EITHER, ANY_DAEMON, ANY_AGE, NO, NO, CLAIM_VOID},
    /* domains with a status file */
    {LIVE, NO, EITHER, YES, ANY_DAEMON, ANY_AGE, EITHER, EITHER, CLAIM_SUPERSEDED},
    /* domains that are being started */
    {STARTING, NO, EITHER, NO, ANY_DAEMON, ANY_AGE, YES, EITHER, CLAIM_COUNTS},
    {STARTING, NO, EITHER, NO, UNKNOWN | LIVES, YOUNG, NO, EITHER, CLAIM_COUNTS},
    {STARTING, NO, EITHER, NO, UNKNOWN | LIVES, OLD, NO, EITHER, CLAIM_VOID},
    {STARTING, NO, EITHER, NO, GONE, ANY_AGE, NO, EITHER, CLAIM_VOID},
    /* domains that were seen running */
    {RUNNING, NO, EITHER, NO, ANY_DAEMON, ANY_AGE, YES, EITHER, CLAIM_COUNTS},
    {RUNNING, NO, EITHER, NO, ANY_DAEMON, ANY_AGE, NO, YES, CLAIM_COUNTS},
    {RUNNING, NO, EITHER, NO, ANY_DAEMON, ANY_AGE, NO, NO, CLAIM_VOID},
};
enum { ROWS = sizeof rows / sizeof rows[0] };

static bool has(unsigned set, unsigned value)
{
    return (set >> value & 1) != 0;
}

static bool fits(const struct row *row, const struct claim_facts *facts, unsigned age)
{
    return has(row->phase, facts->phase) && has(row->group, facts->is_group) && has(row->names, facts->names_process) &&
           has(row->file, facts->has_status_file) && has(row->daemon, facts->daemon) && has(row->age, age) &&
           has(row->held, facts->holds_unexplained) && has(row->process, facts->process_lives);
}

/* The combination with this number. */
static struct claim_facts facts_number(unsigned number, unsigned *age)
{
    struct claim_facts facts = {.start_timeout_ms = TIMEOUT_MS};
    facts.is_group = (number & 1) != 0;
    facts.names_process = (number & 2) != 0;
    facts.has_status_file = (number & 4) != 0;
    facts.holds_unexplained = (number & 8) != 0;
    facts.process_lives = (number & 16) != 0;
    number /= 32;
    facts.phase = (enum claim_phase)(number % 3);
    facts.daemon = (enum daemon_state)(number / 3 % 3);
    *age = number / 9;
    facts.age_ms = ages_ms[*age];
    return facts;
}
enum { COMBINATIONS = 32 * 3 * 3 * AGES };

static void all_facts(void **state)
{
    unsigned uses[ROWS] = {0};
    (void)state;
    for (unsigned number = 0; number < COMBINATIONS; number++) {
        unsigned age;
        const struct claim_facts facts = facts_number(number, &age);
        const struct row *found = NULL;
        for (size_t i = 0; i < ROWS; i++) {
            if (fits(&rows[i], &facts, age)) {
                assert_null(found);
                found = &rows[i];
                uses[i]++;
            }
        }
        assert_non_null(found);
        if (claim_judge(&facts) != found->verdict) {
            fail_msg("combination %u, row %d: %d instead of %d", number, (int)(found - rows), claim_judge(&facts),
                     found->verdict);
        }
    }
    for (size_t i = 0; i < ROWS; i++) {
        assert_true(uses[i] > 0);
    }
}

/* Without a time to start in, only what is held supports a start. */
static void no_time_to_start(void **state)
{
    struct claim_facts facts = {.phase = CLAIM_STARTING, .daemon = DAEMON_LIVES};
    (void)state;
    assert_int_equal(claim_judge(&facts), CLAIM_VOID);
    facts.age_ms = -1;
    assert_int_equal(claim_judge(&facts), CLAIM_VOID);
    facts.holds_unexplained = true;
    assert_int_equal(claim_judge(&facts), CLAIM_COUNTS);
}

static void phases(void **state)
{
    static const enum claim_phase after[3][3] = {
        [CLAIM_STARTING] = {CLAIM_STARTING, CLAIM_RUNNING, CLAIM_ENDED},
        [CLAIM_RUNNING] = {CLAIM_STARTING, CLAIM_RUNNING, CLAIM_ENDED},
        [CLAIM_ENDED] = {CLAIM_STARTING, CLAIM_ENDED, CLAIM_ENDED},
    };
    static const enum claim_event events[] = {CLAIM_ADMITTED, CLAIM_SEEN, CLAIM_STOPPED};
    (void)state;
    for (int phase = CLAIM_STARTING; phase <= CLAIM_ENDED; phase++) {
        for (int i = 0; i < 3; i++) {
            assert_int_equal(claim_next((enum claim_phase)phase, events[i]), after[phase][i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_facts),
        cmocka_unit_test(no_time_to_start),
        cmocka_unit_test(phases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
