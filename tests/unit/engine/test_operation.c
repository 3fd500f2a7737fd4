/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/operation.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "scene.h"

#define REFUSED "icn-hook: VM 'a' is not started: "

static const uint32_t nothing_cut[CARDS] = {0};
static const uint32_t isolated[CARDS] = {0x19, 0x31, 0x18, 0x30, 0, 0, 0x1, 0x1};
static const char entry_of_a[] = LEDGER "/" VM_A ".json";

static int start(void **state)
{
    scene_start(state);
    log_open_hook("a", "test");
    return 0;
}

static enum status call(const char *operation, const char *text, struct error *err)
{
    *err = (struct error){0};
    return operation_run("a", operation, text, strlen(text), err);
}

static void assert_fine(const char *operation, const char *text)
{
    struct error err;
    enum status status = call(operation, text, &err);
    if (status != STATUS_OK) {
        fail_msg("%s: %d %s", operation, status, err.text);
    }
}

static void assert_refused(const char *operation, const char *text, enum status status, const char *reason)
{
    struct error err;
    assert_int_equal(call(operation, text, &err), status);
    assert_memory_equal(err.text, REFUSED, strlen(REFUSED));
    if (strstr(err.text, reason) == NULL) {
        fail_msg("%s", err.text);
    }
}

static void assert_logged(const char *words)
{
    const char *log = simulated_read(HOOK_LOG);
    if (strstr(log, words) == NULL) {
        fail_msg("not logged: %s\n%s", words, log);
    }
}

static const char *vm(const char *ppus)
{
    return scene_xml("a", VM_A, ppus);
}

static void test_may_refuse(void **state)
{
    static const char *const others[] = {"started", "stopped", "release", "reconnect", "migrate", "", "prepare "};

    (void)state;
    assert_true(operation_may_refuse("prepare"));
    assert_true(operation_may_refuse("start"));
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_false(operation_may_refuse(others[i]));
    }
}

static void test_a_whole_life(void **state)
{
    (void)state;
    assert_fine("prepare", vm("01"));
    assert_masks(isolated);
    assert_true(host_has(entry_of_a));
    assert_logged("vm=a op=test isolated; cut: 0:0x00000000>0x00000019 1:0x00000000>0x00000031 2:");
    assert_fine("start", vm("01"));
    assert_logged("isolation verified; cut: nothing; restored: nothing; ");
    scene_running("a", VM_A, "01", 101);
    assert_fine("started", vm("01"));
    assert_logged("running; cut: nothing; restored: nothing; ");
    assert_masks(isolated);
    simulated_remove("/proc/101");
    assert_fine("stopped", vm("01"));
    assert_masks(nothing_cut);
    assert_true(host_has(entry_of_a));
    assert_logged("stopped; cut:");
    assert_fine("release", vm("01"));
    assert_false(host_has(entry_of_a));
    assert_logged("released; cut: nothing; restored: nothing; ");
}

static void test_operations_that_do_nothing(void **state)
{
    static const char *const operations[] = {"migrate", "restore", "attach", "", "PREPARE"};

    (void)state;
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++) {
        assert_fine(operations[i], "junk");
    }
    assert_false(host_has(HOOK_LOG));
}

static void test_domain_without_devices(void **state)
{
    static const char *const operations[] = {"prepare", "start", "started", "stopped", "release", "reconnect"};

    (void)state;
    simulated_text(SETTINGS, "broken");
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++) {
        assert_fine(operations[i], vm(""));
    }
    assert_false(host_has(LEDGER));
    assert_false(host_has(HOOK_LOG));
}

static void test_text_that_is_no_domain(void **state)
{
    (void)state;
    assert_refused("prepare", "junk", STATUS_INVALID, "the domain's XML: ");
    assert_fine("stopped", "junk");
    assert_fine("reconnect", "junk");
    assert_logged("correct the VM with virsh edit");
}

static void test_domain_without_uuid(void **state)
{
    (void)state;
    const char *text = scene_xml("a", "", "01");
    char without[2048];
    snprintf(without, sizeof without, "%.*s%s", (int)(strstr(text, "<uuid>") - text), text,
             strstr(text, "</uuid>") + strlen("</uuid>"));
    assert_refused("prepare", without, STATUS_INVALID, "the domain's XML has no uuid");
    assert_fine("started", without);
    assert_fine("stopped", without);
    assert_logged("the domain's XML has no uuid");
    assert_false(host_has(LEDGER));
}

static void test_card_of_another_domain(void **state)
{
    (void)state;
    scene_running("b", VM_B, "1", 102);
    assert_refused("prepare", vm("01"), STATUS_CONFLICT, "PPU 1 (0000:7e:00.0) is owned by VM 'b'");
    assert_false(host_has(entry_of_a));
    assert_masks(nothing_cut);
}

static void test_ledger_that_cannot_be_used(void **state)
{
    (void)state;
    simulated_text(LEDGER, "");
    assert_refused("prepare", vm("0"), STATUS_INVALID, simulated_path(LEDGER));
    assert_fine("started", vm("0"));
    assert_fine("stopped", vm("0"));
    assert_masks(nothing_cut);
}

static void test_near_end_that_is_off_the_bus(void **state)
{
    (void)state;
    set_masks((const uint32_t[CARDS]){UINT32_MAX});
    assert_refused("prepare", vm("01"), STATUS_HARDWARE, "PPU 0 (0000:08:00.0): the register reads all ones");
    assert_false(host_has(entry_of_a));
}

/* Cards that the network pool gives show up at start only. */
static void test_card_that_appears_at_start(void **state)
{
    (void)state;
    assert_fine("prepare", vm(""));
    assert_fine("start", vm("01"));
    assert_masks(isolated);
    assert_true(host_has(entry_of_a));
}

static void test_leak_in_a_running_vm(void **state)
{
    static const struct {
        const char *settings;
        const char *operation;
        enum status status;
    } cases[] = {
        {"", "started", STATUS_OK},
        {"[policy]\non_leak = kill\n", "started", STATUS_CHECK_FAILED},
        {"[policy]\non_leak = kill\n", "reconnect", STATUS_OK},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err;
        start(state);
        simulated_text(SETTINGS, cases[i].settings);
        scene_running("a", VM_A, "01", 101);
        assert_int_equal(call(cases[i].operation, vm("01"), &err), cases[i].status);
        assert_string_equal(err.text, "LEAK: link 0 of PPU 0 (0000:08:00.0) to PPU 6 (idle) is open on both sides; "
                                      "stop the VM");
        assert_logged(err.text);
        assert_masks(isolated);
        assert_true(host_has(entry_of_a));
    }
}

/* Its links are cut where they must be, and never opened while it runs. */
static void test_running_vm_is_not_opened(void **state)
{
    static const char *const operations[] = {"started", "reconnect"};

    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++) {
        start(state);
        scene_running("a", VM_A, "01", 101);
        set_masks((const uint32_t[CARDS]){0x39, 0x39});
        assert_fine(operations[i], vm("01"));
        assert_masks((const uint32_t[CARDS]){0x39, 0x39, 0x18, 0x30, 0, 0, 0x1, 0x1});
    }
}

/* What is broken refuses starts, but never keeps a stop from giving up the cards. */
static void test_stop_with_broken_settings(void **state)
{
    (void)state;
    assert_fine("prepare", vm("01"));
    simulated_text(SETTINGS, "[policy]\nidle = perhaps\n");
    assert_fine("stopped", vm("01"));
    assert_logged("the cuts of the VM's cards stay until that is corrected");
    assert_masks(isolated);
    assert_non_null(strstr(simulated_read(entry_of_a), "\"ended\""));
    simulated_remove(SETTINGS);
    assert_fine("release", vm("01"));
    assert_masks(nothing_cut);
    assert_false(host_has(entry_of_a));
}

static void test_stop_with_broken_settings_and_ledger(void **state)
{
    (void)state;
    assert_fine("prepare", vm("01"));
    simulated_text(SETTINGS, "[policy]\nidle = perhaps\n");
    simulated_remove(LEDGER "/lock");
    simulated_link(LEDGER "/lock", "nowhere");
    assert_fine("stopped", vm("01"));
    assert_logged("lock is a symbolic link");
    assert_logged("the cuts of the VM's cards stay until that is corrected");
}

/* Undo is keyed by the ledger, never by the XML. */
static void test_stop_of_a_refused_domain(void **state)
{
    (void)state;
    assert_fine("prepare", vm("01"));
    assert_fine("stopped", scene_xml("b", VM_B, "1"));
    assert_fine("release", scene_xml("b", VM_B, "1"));
    assert_masks(isolated);
    assert_true(host_has(entry_of_a));
}

static void test_release_removes_an_unreadable_entry(void **state)
{
    (void)state;
    assert_fine("prepare", vm("01"));
    simulated_text(entry_of_a, "{");
    assert_fine("stopped", vm("01"));
    assert_true(host_has(entry_of_a));
    assert_fine("release", vm("01"));
    assert_false(host_has(entry_of_a));
}

static void test_warnings_are_logged(void **state)
{
    (void)state;
    assert_fine("prepare", vm("0"));
    simulated_remove("/sys/bus/pci/devices/0001:aa:00.0/resource0");
    simulated_text(LEDGER "/stranger", "");
    assert_fine("start", vm("0"));
    assert_logged("stranger is no file of icn-hook; remove it");
}

/* Memory decoding that a killed hook left on is switched off first. */
static void test_recovery(void **state)
{
    (void)state;
    assert_fine("prepare", vm("0"));
    simulated_text(LEDGER "/enabled-0001:ce:00.0", "");
    simulated_text("/sys/bus/pci/devices/0001:ce:00.0/enable", "1\n");
    assert_fine("start", vm("0"));
    assert_string_equal(simulated_read("/sys/bus/pci/devices/0001:ce:00.0/enable"), "0\n");
}

static void test_vendor_tool(void **state)
{
    (void)state;
    simulated_text(SETTINGS, "[registers]\nbackend = ppudbg\n[ppudbg]\npath = " TESTS_DIR "/lib/ppudbg\n");
    assert_fine("prepare", vm("01"));
    assert_masks((const uint32_t[CARDS]){0x19, 0x31});
    assert_fine("start", vm("01"));
    assert_fine("stopped", vm("01"));
    assert_fine("release", vm("01"));
    assert_masks(nothing_cut);
    simulated_text("/etc/ppudbg.fault", "exit");
    assert_refused("prepare", vm("01"), STATUS_HARDWARE, "the firmware refused");
    assert_true(host_has(entry_of_a));
    assert_fine("stopped", vm("01"));
    assert_logged("ppudbg --direct --micnop iso reset");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_may_refuse),
        cmocka_unit_test_setup(test_a_whole_life, start),
        cmocka_unit_test_setup(test_operations_that_do_nothing, start),
        cmocka_unit_test_setup(test_domain_without_devices, start),
        cmocka_unit_test_setup(test_text_that_is_no_domain, start),
        cmocka_unit_test_setup(test_domain_without_uuid, start),
        cmocka_unit_test_setup(test_card_of_another_domain, start),
        cmocka_unit_test_setup(test_ledger_that_cannot_be_used, start),
        cmocka_unit_test_setup(test_near_end_that_is_off_the_bus, start),
        cmocka_unit_test_setup(test_card_that_appears_at_start, start),
        cmocka_unit_test(test_leak_in_a_running_vm),
        cmocka_unit_test(test_running_vm_is_not_opened),
        cmocka_unit_test_setup(test_stop_with_broken_settings, start),
        cmocka_unit_test_setup(test_stop_with_broken_settings_and_ledger, start),
        cmocka_unit_test_setup(test_stop_of_a_refused_domain, start),
        cmocka_unit_test_setup(test_release_removes_an_unreadable_entry, start),
        cmocka_unit_test_setup(test_warnings_are_logged, start),
        cmocka_unit_test_setup(test_recovery, start),
        cmocka_unit_test_setup(test_vendor_tool, start),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
