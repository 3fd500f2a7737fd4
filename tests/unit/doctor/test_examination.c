/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "doctor/examination.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../engine/scene.h"

static struct examination examination;

static int stop(void **state)
{
    (void)state;
    examination_close(&examination);
    return 0;
}

static const struct finding *find(const char *group, const char *check)
{
    for (size_t i = 0; i < examination.report.count; i++) {
        const struct finding *finding = &examination.report.findings[i];
        if (strcmp(finding->group, group) == 0 && strcmp(finding->check, check) == 0) {
            return finding;
        }
    }
    return NULL;
}

static void examine(const char *config)
{
    examination_open(&examination, config);
    examination_run(&examination);
}

static void test_cards(void **state)
{
    (void)state;
    scene_bind(addresses[2], "vfio-pci", 0);
    examine(NULL);
    assert_string_equal(find("cards", "driver")->text, "drivers: none 7, vfio-pci 1");
    assert_string_equal(find("cards", "registers")->text, "8 registers answer");
    assert_string_equal(find("hook", "installed")->text, "not installed at /etc/libvirt/hooks/qemu");
    assert_null(find("libvirt", "reachable"));
}

static void test_without_settings(void **state)
{
    (void)state;
    examine("/no/such/file");
    assert_null(examination.machine);
    assert_int_equal(find("configuration", "settings")->result, RESULT_FAIL);
    assert_null(find("cards", "present"));
    assert_null(find("ledger", "readable"));
}

static void test_ledger_that_cannot_be_opened(void **state)
{
    (void)state;
    simulated_text("/run/icn-hook", "");
    examine(NULL);
    assert_true(examination.is_surveyed);
    assert_false(examination.is_inspected);
    assert_int_equal(find("ledger", "readable")->result, RESULT_FAIL);
    assert_null(find("ledger", "sound"));
    assert_null(find("cards", "present"));
}

static void test_ended_entry(void **state)
{
    (void)state;
    scene_record(&(struct scene_entry){.name = "a", .uuid = VM_A, .phase = PHASE_ENDED, .touched = "2"});
    examine(NULL);
    assert_string_equal(find("ledger", "current")->text,
                        "the entry of 'a' is of a VM that ended, and its links are not all back");
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, scene_start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {EACH(test_cards), EACH(test_without_settings),
                                       EACH(test_ledger_that_cannot_be_opened), EACH(test_ended_entry)};
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
