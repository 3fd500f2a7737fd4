/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "doctor/report.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_findings(void **state)
{
    struct report report = {0};
    (void)state;
    report_pass(&report, CHECK_HOOK_INSTALLED, "installed at %s", "/etc\n");
    assert_false(report_failed(&report));
    report_add(&report, CHECK_CARDS_SRIOV, RESULT_WARN, NULL, "%d", 7);
    assert_false(report_failed(&report));
    report_add(&report, CHECK_CARDS_GROUP, RESULT_FAIL, "do\tthis", "in no group");
    assert_true(report_failed(&report));
    assert_int_equal(report.count, 3);
    assert_string_equal(check_code(report.findings[0].check), "HOOK-INSTALLED");
    assert_string_equal(check_code(report.findings[2].check), "CARDS-GROUP");
    assert_string_equal(report.findings[0].text, "installed at /etc\\x0a");
    assert_int_equal(report.findings[0].result, RESULT_PASS);
    assert_null(report.findings[0].remedy);
    assert_null(report.findings[1].remedy);
    assert_string_equal(report.findings[1].text, "7");
    assert_string_equal(report.findings[2].remedy, "do\\x09this");
    report_free(&report);
    assert_int_equal(report.count, 0);
    assert_null(report.findings);
}

static void test_words(void **state)
{
    (void)state;
    assert_string_equal(result_text(RESULT_PASS), "pass");
    assert_string_equal(result_text(RESULT_WARN), "warn");
    assert_string_equal(result_text(RESULT_FAIL), "fail");
}

/* GROUP-CHECK in capitals, each once. */
static void test_codes(void **state)
{
    (void)state;
    for (int check = 0; check < CHECK_COUNT; check++) {
        const char *code = check_code((enum check)check);
        size_t group = strspn(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
        assert_non_null(code);
        assert_true(group > 0 && code[group] == '-');
        assert_true(code[group + 1] != '\0');
        assert_int_equal(strspn(code + group + 1, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"), strlen(code + group + 1));
        for (int other = 0; other < check; other++) {
            assert_string_not_equal(code, check_code((enum check)other));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_findings), cmocka_unit_test(test_words),
                                       cmocka_unit_test(test_codes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
