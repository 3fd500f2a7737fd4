/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "doctor/probe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"

#include "../engine/scene.h"

static struct report report;
static struct error err;

static int stop(void **state)
{
    (void)state;
    report_free(&report);
    return 0;
}

static void test_cut_and_back(void **state)
{
    (void)state;
    set_masks((const uint32_t[CARDS]){0, 0, 0, 0, 0, 0x1, 0, 0});
    assert_int_equal(probe_card(NULL, "5", &report, &err), 0);
    assert_int_equal(report.count, 3);
    assert_string_equal(report.findings[0].text, "PPU 5 (0001:7f:00.0) takes a cut and gives it back");
    assert_string_equal(report.findings[1].text, "PPU 5 (0001:7f:00.0) has no reset method: not tried");
    assert_int_equal(report.findings[1].result, RESULT_WARN);
    assert_string_equal(report.findings[2].text, "PPU 5 (0001:7f:00.0) has its mask 0x00000001 again");
    assert_masks((const uint32_t[CARDS]){0, 0, 0, 0, 0, 0x1, 0, 0});
    assert_false(host_has(CARDS_JSON));
}

/* What was remembered of the card before stays as it was. */
static void test_memory_stays(void **state)
{
    (void)state;
    set_masks((const uint32_t[CARDS]){0, 0, 0, 0, 0, 0x9, 0, 0});
    scene_memory(5, 0x1, 0x9);
    char *before = memory_copy_text(simulated_read(CARDS_JSON));
    assert_int_equal(probe_card(NULL, "5", &report, &err), 0);
    assert_string_equal(simulated_read(CARDS_JSON), before);
    free(before);
}

/* A plain file as : nothing happens to the register. */
static void test_reset(void **state)
{
    (void)state;
    simulated_text("/sys/bus/pci/devices/0001:7f:00.0/reset", "");
    simulated_text("/sys/bus/pci/devices/0001:7f:00.0/reset_method", "flr\n");
    assert_int_equal(probe_card(NULL, "0001:7f:00.0", &report, &err), 0);
    assert_string_equal(report.findings[1].text, "PPU 5 (0001:7f:00.0) keeps its cuts over a reset (flr)");
    assert_string_equal(simulated_read("/sys/bus/pci/devices/0001:7f:00.0/reset"), "1\n");
    assert_masks((const uint32_t[CARDS]){0});
}

static void test_a_reset_that_is_refused(void **state)
{
    (void)state;
    simulated_directory("/sys/bus/pci/devices/0001:7f:00.0/reset");
    assert_int_equal(probe_card(NULL, "5", &report, &err), 0);
    assert_int_equal(report.findings[1].result, RESULT_WARN);
    assert_non_null(strstr(report.findings[1].text, "was not reset: cannot write to "));
    assert_masks((const uint32_t[CARDS]){0});
}

static void test_refusals(void **state)
{
    (void)state;
    assert_int_equal(probe_card(NULL, "-1", &report, &err), -1);
    assert_int_equal(err.status, STATUS_USAGE);
    assert_int_equal(probe_card(NULL, "9", &report, &err), -1);
    assert_int_equal(err.status, STATUS_INVALID);
    scene_running("a", VM_A, "5", 101);
    assert_int_equal(probe_card(NULL, "5", &report, &err), -1);
    assert_int_equal(err.status, STATUS_CONFLICT);
    assert_string_equal(err.text, "PPU 5 (0001:7f:00.0) is in use by a; only an idle card can be tried");
    assert_int_equal(report.count, 0);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, scene_start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {EACH(test_cut_and_back), EACH(test_memory_stays), EACH(test_reset),
                                       EACH(test_a_reset_that_is_refused), EACH(test_refusals)};
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
