/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/inspection.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/mask.h"
#include "scene.h"

static struct machine *machine;
static struct inspection inspection;

static int start(void **state)
{
    scene_start(state);
    machine = NULL;
    memset(&inspection, 0, sizeof inspection);
    return 0;
}

static int stop(void **state)
{
    inspection_close(&inspection);
    machine_close(machine);
    return start(state);
}

static void inspect(void)
{
    struct error err = {0};
    machine = scene_machine();
    if (inspection_open(&inspection, machine, &err) < 0) {
        fail_msg("%s", err.text);
    }
    snapshot_read_all(inspection.snapshot, &inspection.registers);
}

static void assert_required(const uint32_t expected[CARDS])
{
    for (int ppu = 0; ppu < CARDS; ppu++) {
        assert_int_equal(inspection_required(&inspection, ppu), expected[ppu]);
    }
}

static void test_looking_creates_nothing(void **state)
{
    (void)state;
    simulated_config(addresses[0], 0x1ee0, 0);
    inspect();
    assert_false(host_has(LEDGER));
    assert_string_equal(simulated_read("/sys/bus/pci/devices/0000:08:00.0/enable"), "0\n");
    assert_int_equal(inspection.snapshot->cards[0].reading.kind, READING_FINE);
    assert_required((const uint32_t[CARDS]){0});
}

static void test_required_of_every_policy(void **state)
{
    static const struct {
        const char *settings;
        uint32_t required[CARDS];
    } cases[] = {
        {"", {0x19, 0x31, 0x18, 0x30, 0, 0, 0x1, 0x1}},
        {"[policy]\nfar_end = leave\n", {0x19, 0x31}},
        {"[registers]\nbackend = ppudbg\n", {0x19, 0x31}},
        {"[policy]\nidle = isolate\n", {0x19, 0x31, 0x39, 0x39, 0x39, 0x39, 0x39, 0x39}},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        simulated_text(SETTINGS, cases[i].settings);
        scene_running("a", VM_A, "01", 101);
        inspect();
        assert_int_equal(inspection.owners[0], 1);
        assert_int_equal(inspection.owners[2], OWNER_IDLE);
        assert_required(cases[i].required);
        stop(state);
    }
}

/* An idle card is expected to hold its own cuts too, one of a domain is not. */
static void test_expected(void **state)
{
    (void)state;
    scene_record(&(struct scene_entry){"a", VM_A, PHASE_PREPARED, true, "01", "2", 0x20});
    inspect();
    assert_int_equal(inspection_expected(&inspection, 0), 0x19);
    assert_int_equal(inspection_expected(&inspection, 2), 0x38);
    assert_int_equal(inspection_expected(&inspection, 3), 0x30);
    assert_int_equal(inspection_expected(&inspection, 4), 0);
}

static void test_drift(void **state)
{
    (void)state;
    scene_running("a", VM_A, "01", 101);
    set_masks((const uint32_t[CARDS]){0x39, 0x21, 0x18, 0x30, 0, 0, 0x0, 0x1});
    simulated_remove("/sys/bus/pci/devices/0001:ce:00.0/resource0");
    inspect();
    static const bool drifts[CARDS] = {[1] = true, [6] = true};
    for (int ppu = 0; ppu < CARDS; ppu++) {
        assert_int_equal(inspection_drifts(&inspection, ppu), drifts[ppu]);
    }
}

static void test_absent_cards_are_not_read(void **state)
{
    (void)state;
    simulated_text(SETTINGS, "[map]\n0 = 0000:08:00.0\n1 = 0009:00:00.0\n");
    inspect();
    assert_true(inspection.snapshot->cards[0].was_read);
    assert_false(inspection.snapshot->cards[1].was_read);
    assert_false(inspection.snapshot->cards[2].was_read);
    assert_false(inspection_drifts(&inspection, 1));
}

static void test_ledger_that_cannot_be_opened(void **state)
{
    struct error err = {0};

    (void)state;
    simulated_text(LEDGER, "");
    machine = scene_machine();
    assert_int_equal(inspection_open(&inspection, machine, &err), -1);
    assert_int_equal(err.status, STATUS_INVALID);
    assert_non_null(strstr(err.text, simulated_path(LEDGER)));
    assert_null(inspection.snapshot);
}

static void test_lock_that_is_held(void **state)
{
    struct error err = {0};

    (void)state;
    simulated_text(SETTINGS, "[policy]\nlock_timeout = 0\n");
    machine = scene_machine();
    struct ledger ledger = scene_ledger(LEDGER_CHANGE);
    assert_int_equal(inspection_open(&inspection, machine, &err), -1);
    assert_int_equal(err.status, STATUS_BUSY);
    ledger_close(&ledger);
}

static void test_status_directory_that_cannot_be_read(void **state)
{
    struct error err = {0};

    (void)state;
    simulated_remove("/run/libvirt");
    simulated_text("/run/libvirt/qemu", "");
    machine = scene_machine();
    assert_int_equal(inspection_open(&inspection, machine, &err), -1);
    assert_error(&err, STATUS_HARDWARE, "cannot open libvirt's directory %s: Not a directory", "/run/libvirt/qemu");
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_looking_creates_nothing),
        EACH(test_required_of_every_policy),
        EACH(test_expected),
        EACH(test_drift),
        EACH(test_absent_cards_are_not_read),
        EACH(test_ledger_that_cannot_be_opened),
        EACH(test_lock_that_is_held),
        EACH(test_status_directory_that_cannot_be_read),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
