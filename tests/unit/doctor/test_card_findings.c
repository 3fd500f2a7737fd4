/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "doctor/checks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../engine/scene.h"

static struct examination examination;

static int start(void **state)
{
    scene_start(state);
    examination_open(&examination, NULL);
    assert_true(examination.is_looked_at);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    examination_close(&examination);
    return 0;
}

static void test_nothing(void **state)
{
    struct card_findings findings = {0};
    (void)state;
    assert_int_equal(card_count(&examination), CARDS);
    card_findings_report(&findings, &examination, CHECK_CARDS_GROUP, "%d fine", 8);
    assert_int_equal(examination.report.count, 1);
    assert_string_equal(examination.report.findings[0].text, "8 fine");
    assert_int_equal(examination.report.findings[0].result, RESULT_PASS);
}

static void test_merged(void **state)
{
    static const char remedy[] = "do this";
    struct card_findings findings = {0};
    (void)state;
    for (int ppu = 0; ppu < CARDS; ppu++) {
        if (ppu == 4) {
            card_findings_add(&findings, ppu, RESULT_FAIL, remedy, "bad");
        } else {
            card_findings_add(&findings, ppu, RESULT_WARN, remedy, "%s", "odd");
        }
    }
    card_findings_add(&findings, 4, RESULT_WARN, NULL, "odd");
    card_findings_report(&findings, &examination, CHECK_CARDS_GROUP, "fine");
    assert_int_equal(findings.count, 0);
    assert_int_equal(examination.report.count, 3);
    assert_string_equal(examination.report.findings[0].text, "PPUs 0-3,5-7: odd");
    assert_string_equal(examination.report.findings[0].remedy, remedy);
    assert_string_equal(examination.report.findings[1].text, "PPU 4 (0001:09:00.0): bad");
    assert_int_equal(examination.report.findings[1].result, RESULT_FAIL);
    assert_string_equal(examination.report.findings[2].text, "PPU 4 (0001:09:00.0): odd");
    assert_null(examination.report.findings[2].remedy);
}

static void test_concerned(void **state)
{
    struct vm_cards cards = scene_cards(examination.machine, "36");
    (void)state;
    examination.cards = &cards;
    assert_int_equal(card_count(&examination), 2);
    assert_true(card_concerns(&examination, 3));
    assert_false(card_concerns(&examination, 4));
    assert_false(card_concerns(&examination, CARDS));
    vm_cards_free(&cards);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {EACH(test_nothing), EACH(test_merged), EACH(test_concerned)};
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
