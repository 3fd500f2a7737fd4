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

static const struct finding *find(enum check check)
{
    for (size_t i = 0; i < examination.report.count; i++) {
        const struct finding *finding = &examination.report.findings[i];
        if (finding->check == check) {
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
    assert_string_equal(find(CHECK_CARDS_DRIVER)->text, "drivers: none 7, vfio-pci 1");
    assert_string_equal(find(CHECK_CARDS_REGISTERS)->text, "8 registers can be read");
    assert_string_equal(find(CHECK_HOOK_INSTALLED)->text, "not installed in /etc/libvirt/hooks");
    assert_null(find(CHECK_LIBVIRT_REACHABLE));
}

static void test_without_settings(void **state)
{
    (void)state;
    examine("/no/such/file");
    assert_null(examination.machine);
    assert_int_equal(find(CHECK_CONFIGURATION_SETTINGS)->result, RESULT_FAIL);
    assert_null(find(CHECK_CARDS_PRESENT));
    assert_null(find(CHECK_STATE_READABLE));
}

static void test_state_that_cannot_be_opened(void **state)
{
    (void)state;
    simulated_text("/run/icn-hook", "");
    examine(NULL);
    assert_true(examination.is_surveyed);
    assert_false(examination.is_looked_at);
    assert_int_equal(find(CHECK_STATE_READABLE)->result, RESULT_FAIL);
    assert_null(find(CHECK_STATE_SOUND));
    assert_null(find(CHECK_CARDS_PRESENT));
}

static void test_claim_that_is_over(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .phase = CLAIM_RUNNING, .ppus = "2"});
    examine(NULL);
    assert_string_equal(
        find(CHECK_STATE_CURRENT)->text,
        "VM 'a' has ended, or its start failed, without a call that said so; the next hook or `icn-hook "
        "repair` gives its cards back");
    assert_string_equal(find(CHECK_STATE_CURRENT)->remedy, "icn-hook repair");
}

static void test_claim_that_counts(void **state)
{
    (void)state;
    set_masks((const uint32_t[CARDS]){0x18, 0x31, 0x19, 0x30, 0x08, 0, 0x01, 0});
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .phase = CLAIM_STARTING, .ppus = "2"});
    examine(NULL);
    assert_int_equal(find(CHECK_STATE_CURRENT)->result, RESULT_PASS);
    assert_int_equal(find(CHECK_STATE_DEBTS)->result, RESULT_PASS);
}

/* A cut that we made and that nothing asks for, on one card whose register shows it. */
static void test_debt(void **state)
{
    (void)state;
    set_masks((const uint32_t[CARDS]){[4] = 0x8, [5] = 0x1});
    scene_memory(4, 0x1, 0x9);
    scene_memory(5, 0x1, 0x9);
    examine(NULL);
    assert_string_equal(find(CHECK_STATE_DEBTS)->text, "PPU 4 (0001:09:00.0): cuts by icn-hook that nothing needs any "
                                                      "more; owed mask 0x00000001");
    assert_int_equal(find(CHECK_STATE_DEBTS)->result, RESULT_WARN);
}

/* Looking gives the lock back: somebody else can have it while the report is made. */
static void test_unlocked(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .phase = CLAIM_STARTING, .ppus = "2"});
    examination_open(&examination, NULL);
    assert_true(examination.is_looked_at);
    assert_int_equal(examination.session.state.lockfd, -1);
    scene_claim(&(struct scene_claim){.name = "b", .uuid = VM_B, .phase = CLAIM_STARTING, .ppus = "3"});
    examination_run(&examination);
    assert_string_equal(find(CHECK_STATE_SOUND)->text, "every file can be used; claims: 1");
}

static void test_warnings_of_a_plan(void **state)
{
    struct notes notes = {0};
    struct domain_placement placement = {0};
    (void)state;
    scene_virtual_function(3, 0, "0000:c6:02.0");
    scene_virtual_function(4, 0, "0001:09:02.0");
    examination_open(&examination, NULL);
    struct vm_cards cards = scene_cards(examination.machine, "3");
    examination_warn(&examination.session, &cards, &placement, &notes);
    assert_int_equal(notes.count, 1);
    assert_int_equal(notes.items[0].code, NOTE_ADVICE);
    assert_string_equal(notes.items[0].text, "PPU 3 (0000:c6:00.0): 1 virtual functions are enabled; echo 0 into its "
                                             "sriov_numvfs before it is passed as a whole");
    notes_free(&notes);
    vm_cards_free(&cards);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, scene_start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {EACH(test_cards),
                                       EACH(test_without_settings),
                                       EACH(test_state_that_cannot_be_opened),
                                       EACH(test_claim_that_is_over),
                                       EACH(test_claim_that_counts),
                                       EACH(test_debt),
                                       EACH(test_unlocked),
                                       EACH(test_warnings_of_a_plan)};
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
