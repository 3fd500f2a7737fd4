/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/snapshot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/mask.h"
#include "scene.h"

#define STALE(name) "the ledger's entry of VM " name " is stale: neither VM nor its start is there any more"
#define HELD(card) card " is held open through vfio by a process that is no libvirt VM; fuser /dev/vfio/* names it"

static struct machine *machine;
static struct snapshot *snapshot;

static int start(void **state)
{
    scene_start(state);
    machine = NULL;
    snapshot = NULL;
    return 0;
}

static int stop(void **state)
{
    (void)state;
    snapshot_free(snapshot);
    machine_close(machine);
    return 0;
}

static void take(void)
{
    machine = scene_machine();
    snapshot = scene_snapshot(machine);
}

static void hold(int ppu)
{
    scene_bind(addresses[ppu], "vfio-pci", 1);
}

/* Who owns what, as a text of one character for each card. */
static void assert_owners(const char *expected)
{
    int owners[PPU_MAX];
    char text[CARDS + 1] = "";

    snapshot_owners(snapshot, owners);
    for (int ppu = 0; ppu < CARDS; ppu++) {
        text[ppu] = owners[ppu] == OWNER_IDLE      ? '.'
                    : owners[ppu] == OWNER_SHARED  ? 'S'
                    : owners[ppu] == OWNER_UNKNOWN ? '?'
                                                   : (char)('0' + owners[ppu]);
    }
    assert_string_equal(text, expected);
}

static void assert_tenant(const char *uuid, const char *name, bool running, bool alive, bool has_entry)
{
    const struct tenant *tenant = snapshot_tenant(snapshot, uuid);
    assert_non_null(tenant);
    assert_string_equal(tenant->name, name);
    assert_int_equal(tenant->running, running);
    assert_int_equal(tenant->alive, alive);
    assert_int_equal(tenant->entry != NULL, has_entry);
}

static void test_nobody(void **state)
{
    (void)state;
    take();
    assert_int_equal(snapshot->tenant_count, 0);
    assert_null(snapshot_tenant(snapshot, VM_A));
    assert_null(snapshot_doubt(snapshot, VM_A));
    assert_owners("........");
    assert_lines(&snapshot->findings, "");
    assert_true(snapshot->cards[7].state.present);
}

/* Started before we were installed: only libvirt knows it. */
static void test_running_without_an_entry(void **state)
{
    (void)state;
    scene_running("a", VM_A, "01", 101);
    hold(0);
    take();
    assert_tenant(VM_A, "a", true, true, false);
    assert_owners("11......");
    assert_lines(&snapshot->findings, "");
}

static void test_running_with_an_entry_and_a_hot_plugged_card(void **state)
{
    (void)state;
    scene_running("a", VM_A, "014", 101);
    scene_record(&(struct scene_entry){"a", VM_A, PHASE_RUNNING, false, "01", "23", 0x20});
    take();
    assert_int_equal(snapshot->tenant_count, 1);
    assert_tenant(VM_A, "a", true, true, true);
    assert_owners("11..1...");
    assert_int_equal(snapshot->claim_count, 3);
    assert_true(snapshot->cards[2].has_original);
    assert_int_equal(snapshot->cards[2].original, 0x20);
    assert_false(snapshot->cards[4].has_original);
}

/* Running domains without a card, or without a UUID, are no tenants. */
static void test_running_without_cards(void **state)
{
    (void)state;
    scene_running("a", VM_A, "", 101);
    scene_running("b", " ", "1", 102);
    scene_running("c", VM_C, "2", 103);
    simulated_remove("/proc/103");
    take();
    assert_int_equal(snapshot->tenant_count, 0);
    assert_owners("........");
}

/* What keeps an entry alive, and what does not. */
static void test_entries(void **state)
{
    static const struct {
        enum ledger_phase phase;
        bool living;
        bool held;
        bool other_boot;
        bool alive;
        const char *owners;
        const char *findings;
    } cases[] = {
        {PHASE_PREPARED, true, false, false, true, "11......", ""},
        {PHASE_PREPARED, false, true, false, true, "11......", ""},
        {PHASE_PREPARED, false, false, false, false, "........", STALE("a")},
        {PHASE_RUNNING, false, false, false, false, "........", STALE("a")},
        {PHASE_RUNNING, false, true, false, true, "11......", ""},
        {PHASE_ENDED, true, false, false, false, "........", ""},
        {PHASE_ENDED, true, true, false, true, "1.......", ""},
        {PHASE_RUNNING, true, false, true, false, "........", STALE("a")},
        {PHASE_RUNNING, true, true, true, false, "?.......", STALE("a") "\n" HELD("PPU 0 (0000:08:00.0)")},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        start(state);
        scene_record(&(struct scene_entry){"a", VM_A, cases[i].phase, cases[i].living, "01", "2", 0x1});
        if (cases[i].held) {
            hold(0);
        }
        if (cases[i].other_boot) {
            simulated_text("/proc/sys/kernel/random/boot_id", "11111111-7b0d-4d0e-9c35-2f6c6d8b1a77\n");
        }
        take();
        assert_tenant(VM_A, "a", false, cases[i].alive, true);
        assert_owners(cases[i].owners);
        assert_lines(&snapshot->findings, cases[i].findings);
        stop(state);
    }
    start(state);
}

#define STALE_GROUP "the ledger's entry of the group a is stale: it was isolated before the host booted"

/* A group isolated by hand needs nobody to be alive, and nobody keeps it alive. */
static void test_manual_entries(void **state)
{
    static const struct {
        enum ledger_phase phase;
        bool held;
        bool other_boot;
        bool alive;
        const char *owners;
        const char *findings;
    } cases[] = {
        {PHASE_PREPARED, false, false, true, "11......", ""},
        {PHASE_PREPARED, true, false, true, "11......", ""},
        {PHASE_PREPARED, false, true, false, "........", STALE_GROUP},
        {PHASE_ENDED, false, false, false, "........", ""},
        {PHASE_ENDED, true, false, false, "?.......", HELD("PPU 0 (0000:08:00.0)")},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        start(state);
        scene_record_group(&(struct scene_entry){"a", VM_A, cases[i].phase, false, "01", "2", 0x1});
        if (cases[i].held) {
            hold(0);
        }
        if (cases[i].other_boot) {
            simulated_text("/proc/sys/kernel/random/boot_id", "11111111-7b0d-4d0e-9c35-2f6c6d8b1a77\n");
        }
        take();
        assert_tenant(VM_A, "a", false, cases[i].alive, true);
        assert_true(snapshot_tenant(snapshot, VM_A)->manual);
        assert_owners(cases[i].owners);
        assert_lines(&snapshot->findings, cases[i].findings);
        stop(state);
    }
    start(state);
}

/* Who holds the far end of a stale domain's link does not keep its entry alive. */
static void test_stale_entry_with_a_held_far_end(void **state)
{
    (void)state;
    scene_record(&(struct scene_entry){"a", VM_A, PHASE_PREPARED, false, "01", "2", 0});
    hold(2);
    take();
    assert_owners("..?.....");
    assert_lines(&snapshot->findings, STALE("a") "\n" HELD("PPU 2 (0000:a2:00.0)"));
}

/* A domain with a part of a card and the card itself has it as a whole. */
static void test_whole_beside_a_part(void **state)
{
    (void)state;
    scene_virtual_function(0, 0, "0000:08:00.1");
    simulated_text("/run/libvirt/qemu/a.xml",
                   "<domstatus pid='101'><domain><name>a</name><uuid>" VM_A "</uuid><devices>"
                   "<hostdev mode='subsystem' type='pci'><source><address bus='8' function='1'/></source></hostdev>"
                   "<hostdev mode='subsystem' type='pci'><source><address bus='8'/></source></hostdev>"
                   "</devices></domain></domstatus>");
    simulated_directory("/proc/101");
    take();
    assert_int_equal(snapshot->claim_count, 1);
    assert_true(snapshot->claims[0].whole);
    assert_owners("1.......");
}

/* The far end of a link does not become its toucher's. */
static void test_held_far_end_has_an_unknown_holder(void **state)
{
    (void)state;
    scene_record(&(struct scene_entry){"a", VM_A, PHASE_PREPARED, true, "01", "2", 0});
    hold(2);
    take();
    assert_owners("11?.....");
    assert_true(snapshot->cards[2].unknown_holder);
    assert_lines(&snapshot->findings, HELD("PPU 2 (0000:a2:00.0)"));
}

static void test_virtual_function_that_is_held(void **state)
{
    (void)state;
    scene_virtual_function(3, 0, "0000:c6:00.1");
    scene_bind("0000:c6:00.1", "vfio-pci", 2);
    take();
    assert_true(snapshot->cards[3].held);
    assert_owners("...?....");
}

/* The oldest value that is known is the one before any of us. */
static void test_original_of_the_first_entry_counts(void **state)
{
    (void)state;
    scene_record(&(struct scene_entry){"b", VM_B, PHASE_PREPARED, true, "2", "", 0xffffffff});
    scene_record(&(struct scene_entry){"c", VM_C, PHASE_PREPARED, true, "3", "2", 0x1});
    take();
    assert_int_equal(snapshot->cards[2].original, 0x39);
    assert_int_equal(snapshot->cards[3].original, 0x1);
    assert_owners("..12....");
}

static void test_owner_text(void **state)
{
    char text[OWNER_TEXT_SIZE];
    char status[1024];

    (void)state;
    scene_running("a", VM_A, "01", 101);
    snprintf(status, sizeof status, "<domstatus pid='101'>%s</domstatus>", scene_xml("", VM_B, "1"));
    simulated_text("/run/libvirt/qemu/nameless.xml", status);
    hold(5);
    take();
    assert_owners("1S...?..");
    assert_string_equal(snapshot_owner_text(snapshot, 0, text), "a");
    assert_string_equal(snapshot_owner_text(snapshot, 4, text), "idle");
    assert_string_equal(snapshot_owner_text(snapshot, 5, text), "unknown");
    assert_string_equal(snapshot_owner_text(snapshot, 1, text), "a, " VM_B);
}

static void test_owner_text_that_does_not_fit(void **state)
{
    char text[OWNER_TEXT_SIZE];
    char name[201];

    (void)state;
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    for (int i = 0; i < 4; i++) {
        char uuid[UUID_SIZE] = VM_A;
        name[0] = (char)('a' + i);
        uuid[0] = (char)('0' + i);
        scene_running(name, uuid, "0", 101 + i);
    }
    take();
    assert_int_equal(snapshot->claim_count, 4);
    snapshot_owner_text(snapshot, 0, text);
    assert_int_equal(strlen(text), OWNER_TEXT_SIZE - 1);
}

/* An unreadable entry may hide an owner, unless libvirt shows what it has. */
static void test_doubt(void **state)
{
    (void)state;
    scene_record(&(struct scene_entry){"b", VM_B, PHASE_PREPARED, true, "2", "", 0});
    simulated_text(LEDGER "/" VM_A ".json", "{");
    simulated_text(LEDGER "/stranger", "");
    take();
    const struct error *doubt = snapshot_doubt(snapshot, VM_B);
    assert_non_null(doubt);
    assert_non_null(strstr(doubt->text, VM_A ".json"));
    assert_null(snapshot_doubt(snapshot, VM_A));
    assert_int_equal(snapshot->findings.count, 2);
    assert_owners("..1.....");
    stop(state);
    scene_running("a", VM_A, "0", 101);
    take();
    assert_null(snapshot_doubt(snapshot, VM_B));
    assert_owners("2.1.....");
}

/* What could not be read this time may be sound: its old masks must not be lost. */
static void test_doubt_of_the_own_entry(void **state)
{
    (void)state;
    simulated_text(LEDGER "/" VM_A ".json", "{");
    take();
    assert_null(snapshot_doubt(snapshot, VM_A));
    assert_int_equal(snapshot->ledger.fault_count, 1);
    snapshot->ledger.faults[0].error.status = STATUS_HARDWARE;
    assert_ptr_equal(snapshot_doubt(snapshot, VM_A), &snapshot->ledger.faults[0].error);
}

static void test_domains_that_cannot_be_resolved(void **state)
{
    (void)state;
    scene_running("a", VM_A, "0", 101);
    scene_running("b", VM_B, "1", 102);
    simulated_text(SETTINGS, "[map]\n1 = 0000:7e:00.0\n");
    take();
    assert_owners(".1......");
    assert_lines(&snapshot->findings,
                 "VM a: 0000:08:00.0 is a PPU but no [map] line says which; add one to the configuration, or give the "
                 "VM another card");
    stop(state);
    simulated_remove("/sys/bus/pci/devices/0000:08:00.0/vendor");
    take();
    assert_owners(".1......");
    assert_int_equal(snapshot->findings.count, 1);
    assert_memory_equal(snapshot->findings.items[0], "VM a: PCI function 0000:08:00.0: ", 33);
}

/* Neither an entry's card nor an id without one takes part. */
static void test_cards_that_are_not_mapped(void **state)
{
    (void)state;
    scene_record(&(struct scene_entry){"a", VM_A, PHASE_PREPARED, true, "01", "", 0});
    simulated_text(SETTINGS, "[map]\n1 = 0000:7e:00.0\n");
    take();
    assert_owners(".1......");
    assert_false(snapshot->cards[0].has_original);
    assert_false(snapshot->cards[0].state.present);
}

static void test_unusable_directories(void **state)
{
    struct snapshot *taken = (struct snapshot *)&machine;
    struct error err = {0};

    (void)state;
    simulated_remove("/run/libvirt");
    simulated_text("/run/libvirt/qemu", "");
    machine = scene_machine();
    struct ledger ledger = scene_ledger(LEDGER_CHANGE);
    assert_int_equal(snapshot_take(machine, &ledger, &taken, &err), -1);
    assert_ptr_equal(taken, &machine);
    assert_error(&err, STATUS_HARDWARE, "cannot open libvirt's directory %s: Not a directory", "/run/libvirt/qemu");
    ledger_close(&ledger);
}

static int reads;
static void count_read(struct registers *registers, const struct card_address *card, struct reading *reading)
{
    (void)registers;
    assert_int_equal(card->ppu, 6);
    assert_int_equal(bdf_compare(card->bdf, address_of(6)), 0);
    assert_int_equal(card->links, 0x39);
    *reading = (struct reading){.kind = READING_FINE, .mask = 0x8};
    reads++;
}

static void test_each_register_is_read_once(void **state)
{
    const struct registers_backend backend = {.read = count_read};
    struct registers registers = {.backend = &backend};

    (void)state;
    take();
    reads = 0;
    for (int i = 0; i < 2; i++) {
        snapshot_read(snapshot, &registers, 6);
    }
    assert_int_equal(reads, 1);
    assert_true(snapshot->cards[6].was_read);
    assert_int_equal(snapshot->cards[6].reading.mask, 0x8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nobody, start, stop),
        cmocka_unit_test_setup_teardown(test_running_without_an_entry, start, stop),
        cmocka_unit_test_setup_teardown(test_running_with_an_entry_and_a_hot_plugged_card, start, stop),
        cmocka_unit_test_setup_teardown(test_running_without_cards, start, stop),
        cmocka_unit_test_setup_teardown(test_entries, start, stop),
        cmocka_unit_test_setup_teardown(test_manual_entries, start, stop),
        cmocka_unit_test_setup_teardown(test_held_far_end_has_an_unknown_holder, start, stop),
        cmocka_unit_test_setup_teardown(test_stale_entry_with_a_held_far_end, start, stop),
        cmocka_unit_test_setup_teardown(test_whole_beside_a_part, start, stop),
        cmocka_unit_test_setup_teardown(test_virtual_function_that_is_held, start, stop),
        cmocka_unit_test_setup_teardown(test_original_of_the_first_entry_counts, start, stop),
        cmocka_unit_test_setup_teardown(test_owner_text, start, stop),
        cmocka_unit_test_setup_teardown(test_owner_text_that_does_not_fit, start, stop),
        cmocka_unit_test_setup_teardown(test_doubt, start, stop),
        cmocka_unit_test_setup_teardown(test_doubt_of_the_own_entry, start, stop),
        cmocka_unit_test_setup_teardown(test_domains_that_cannot_be_resolved, start, stop),
        cmocka_unit_test_setup_teardown(test_cards_that_are_not_mapped, start, stop),
        cmocka_unit_test_setup_teardown(test_unusable_directories, start, stop),
        cmocka_unit_test_setup_teardown(test_each_register_is_read_once, start, stop),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
