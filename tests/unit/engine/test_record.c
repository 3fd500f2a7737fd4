/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "scene.h"

static struct machine *machine;
static struct ledger ledger;
static struct snapshot *snapshot;
static struct registers registers;
static struct demand demand;
static struct decision decision;
static struct execution execution;

static int start(void **state)
{
    scene_start(state);
    machine = NULL;
    snapshot = NULL;
    demand = (struct demand){0};
    execution = (struct execution){0};
    ledger = (struct ledger){.dirfd = -1, .lockfd = -1};
    return 0;
}

static int stop(void **state)
{
    execution_free(&execution);
    demand_free(&demand);
    snapshot_free(snapshot);
    ledger_close(&ledger);
    machine_close(machine);
    return start(state);
}

static void decide(enum intent intent, const char *ppus)
{
    machine = scene_machine();
    snapshot = scene_snapshot(machine);
    ledger = scene_ledger(LEDGER_CHANGE);
    registers_open(&registers, &machine->settings, &ledger, true);
    demand = scene_demand(machine, ppus);
    decision_make(&decision, snapshot, &registers, intent, VM_A, "a", intent == INTENT_STOP ? NULL : &demand);
}

static void write_all(void)
{
    struct error err = {0};
    if (execution_run(&execution, &decision, snapshot, &registers, false, &err) < 0) {
        fail_msg("%s", err.text);
    }
}

static void record(enum ledger_phase phase, bool late)
{
    struct error err = {0};
    if (record_domain(&ledger, snapshot, &decision, &registers, phase, late, &err) < 0) {
        fail_msg("%s", err.text);
    }
}

/* All entries, each as NAME:PHASE and its cards "PPU[o][w]=ORIGINAL". */
static const char *entries(void)
{
    static const char *const phases[] = {"prepared", "running", "ended"};
    static char text[2048];
    struct ledger_content content;
    struct error err = {0};
    size_t used = 0;

    assert_int_equal(ledger_read(&ledger, &content, &err), 0);
    text[0] = '\0';
    for (size_t i = 0; i < content.entry_count; i++) {
        const struct ledger_entry *entry = &content.entries[i];
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s:%s", i > 0 ? "; " : "", entry->name,
                                 phases[entry->phase]);
        for (size_t k = 0; k < entry->card_count; k++) {
            const struct ledger_card *card = &entry->cards[k];
            used += (size_t)snprintf(text + used, sizeof text - used, " %d%s%s", card->ppu, card->owned ? "o" : "",
                                     card->whole ? "w" : "");
            used += (size_t)(card->has_original ? snprintf(text + used, sizeof text - used, "=%x", card->original)
                                                : snprintf(text + used, sizeof text - used, "=?"));
        }
    }
    ledger_content_free(&content);
    return text;
}

static struct ledger_entry first_entry(void)
{
    struct ledger_content content;
    struct error err = {0};
    assert_int_equal(ledger_read(&ledger, &content, &err), 0);
    assert_true(content.entry_count > 0);
    struct ledger_entry entry = content.entries[0];
    entry.name = NULL;
    entry.cards = NULL;
    ledger_content_free(&content);
    return entry;
}

static void clean(const char *keep_uuid)
{
    struct error err = {0};
    if (record_clean(&ledger, snapshot, &decision, &execution, &registers, keep_uuid, &err) < 0) {
        fail_msg("%s", err.text);
    }
}

static void test_first_entry(void **state)
{
    (void)state;
    set_masks((const uint32_t[CARDS]){[0] = 0xff000008, [2] = 0x20});
    int64_t before = time(NULL);
    decide(INTENT_START, "01");
    record(PHASE_PREPARED, false);
    assert_string_equal(entries(), "a:prepared 0ow=8 1ow=0 2=20 3=0 6=0 7=0");
    struct ledger_entry entry = first_entry();
    assert_string_equal(entry.uuid, VM_A);
    assert_in_range(entry.since - before, 0, 60);
    assert_int_equal(entry.caller.pid, process_caller().pid);
}

/* The oldest value is kept, whatever the register holds by then, and so are the
 * cards of an older start and its time. */
static void test_second_entry(void **state)
{
    (void)state;
    scene_record(&(struct scene_entry){"a", VM_A, PHASE_PREPARED, true, "0", "5", 0x10});
    set_masks((const uint32_t[CARDS]){0x39, 0x31});
    decide(INTENT_START, "01");
    record(PHASE_RUNNING, false);
    assert_string_equal(entries(), "a:running 0ow=10 1ow=31 2=0 3=0 5=10 6=0 7=0");
    assert_int_equal(first_entry().since, 4711);
}

static void test_entry_after_an_ended_one_begins_anew(void **state)
{
    (void)state;
    scene_record(&(struct scene_entry){"a", VM_A, PHASE_ENDED, true, "0", "", 0x10});
    decide(INTENT_START, "0");
    record(PHASE_PREPARED, false);
    assert_int_not_equal(first_entry().since, 4711);
}

/* Cuts that another domain's card demands are not the register's own. */
static void test_original_is_without_the_cuts_of_others(void **state)
{
    (void)state;
    scene_running("b", VM_B, "2", 102);
    set_masks((const uint32_t[CARDS]){0x9, 0x11, 0x39, 0x8, 0x1});
    decide(INTENT_START, "01");
    record(PHASE_PREPARED, false);
    assert_string_equal(entries(), "a:prepared 0ow=1 1ow=1 3=0 6=0 7=0");
}

/* Isolated already by an entry that is lost: its own cuts are taken for ours. */
static void test_late_entry(void **state)
{
    (void)state;
    set_masks((const uint32_t[CARDS]){0x19, 0x31, 0x18, 0x30, 0, 0, 0x21, 0x1});
    decide(INTENT_KEEP, "01");
    record(PHASE_RUNNING, true);
    assert_string_equal(entries(), "a:running 0ow=0 1ow=0 2=0 3=0 6=20 7=0");
}

static void test_unreadable_register_has_no_original(void **state)
{
    (void)state;
    simulated_remove("/sys/bus/pci/devices/0000:08:00.0/resource0");
    decide(INTENT_START, "0");
    record(PHASE_PREPARED, false);
    assert_memory_equal(entries(), "a:prepared 0ow=? 1=0", 20);
}

static void test_tool_that_reads_nothing(void **state)
{
    (void)state;
    simulated_text(SETTINGS, "[registers]\nbackend = ppudbg\n");
    decide(INTENT_START, "01");
    record(PHASE_PREPARED, false);
    assert_string_equal(entries(), "a:prepared 0ow=0 1ow=0");
}

static void test_cards_without_id_are_left_out(void **state)
{
    (void)state;
    simulated_text(SETTINGS, "[map]\n0 = 0000:08:00.0\n");
    decide(INTENT_START, "0");
    record(PHASE_PREPARED, false);
    assert_string_equal(entries(), "a:prepared 0ow=0");
}

static void test_end(void **state)
{
    struct error err = {0};

    (void)state;
    scene_record(&(struct scene_entry){"a", VM_A, PHASE_RUNNING, true, "0", "2", 0x1});
    decide(INTENT_STOP, "");
    assert_int_equal(record_end(&ledger, snapshot_tenant(snapshot, VM_A)->entry, &err), 0);
    assert_string_equal(entries(), "a:ended 0ow=1 2=1");
}

/* Nothing can be written without the lock. */
static void test_ledger_that_cannot_be_written(void **state)
{
    struct error err = {0};

    (void)state;
    scene_record(&(struct scene_entry){"a", VM_A, PHASE_ENDED, true, "0", "", 0});
    decide(INTENT_STOP, "");
    write_all();
    struct ledger look_only = ledger;
    look_only.lockfd = -1;
    assert_int_equal(record_domain(&look_only, snapshot, &decision, &registers, PHASE_PREPARED, false, &err), -1);
    assert_error(&err, STATUS_HARDWARE, "the ledger is not locked for a change", "");
    assert_int_equal(record_clean(&look_only, snapshot, &decision, &execution, &registers, NULL, &err), -1);
    assert_error(&err, STATUS_HARDWARE, "the ledger is not locked for a change", "");
    assert_string_equal(entries(), "a:ended 0ow=0");
}

static void test_clean_after_a_stop(void **state)
{
    (void)state;
    scene_record(&(struct scene_entry){"a", VM_A, PHASE_ENDED, false, "01", "2367", 0x8});
    set_masks((const uint32_t[CARDS]){0x19, 0x31, 0x18, 0x30, 0, 0, 0x1, 0x1});
    decide(INTENT_STOP, "");
    write_all();
    assert_masks((const uint32_t[CARDS]){0x8, 0x8, 0x8, 0x8, 0, 0, 0x8, 0x8});
    clean(VM_A);
    assert_int_not_equal(entries()[0], '\0');
    clean(NULL);
    assert_string_equal(entries(), "");
}

/* What is not back keeps the entry. */
static void test_clean_keeps_what_is_not_back(void **state)
{
    static const struct {
        const char *what;
        bool held;     /* card 0 is still open */
        bool unwritten; /* its register did not take the write */
        bool gone;     /* it is off the bus */
        bool kept;
    } cases[] = {
        {"back", false, false, false, false},
        {"held", true, false, false, true},
        {"unwritten", false, true, false, true},
        {"gone", false, false, true, false},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        scene_record(&(struct scene_entry){"a", VM_A, PHASE_ENDED, false, "0", "", 0});
        set_masks((const uint32_t[CARDS]){cases[i].gone ? UINT32_MAX : 0x39});
        scene_bind(addresses[0], "vfio-pci", cases[i].held ? 1 : 0);
        decide(INTENT_STOP, "");
        write_all();
        if (cases[i].unwritten) {
            execution.outcomes[0] = APPLY_FAILED;
        }
        clean(NULL);
        if ((entries()[0] != '\0') != cases[i].kept) {
            fail_msg("%s: %s", cases[i].what, entries());
        }
        stop(state);
    }
}

/* A cut that faces a running VM is not the card's own: somebody must still bring
 * its own mask back. */
static void test_clean_keeps_cards_that_face_a_vm(void **state)
{
    (void)state;
    scene_running("b", VM_B, "2", 102);
    scene_record(&(struct scene_entry){"a", VM_A, PHASE_ENDED, false, "0", "", 0});
    set_masks((const uint32_t[CARDS]){0x39, 0, 0x39});
    decide(INTENT_STOP, "");
    write_all();
    assert_masks((const uint32_t[CARDS]){0x8, 0, 0x39});
    clean(NULL);
    assert_string_equal(entries(), "a:ended 0ow=0");
}

/* Neither a living domain that does not know the card will bring it back, nor
 * one that is gone. */
static void test_clean_relies_on_nobody_else(void **state)
{
    (void)state;
    scene_record(&(struct scene_entry){"a", VM_A, PHASE_ENDED, false, "0", "", 0});
    scene_record(&(struct scene_entry){"b", VM_B, PHASE_PREPARED, true, "5", "", 0});
    scene_record(&(struct scene_entry){"c", VM_C, PHASE_RUNNING, false, "0", "", 0});
    set_masks((const uint32_t[CARDS]){0x39});
    decide(INTENT_STOP, "");
    write_all();
    execution.outcomes[0] = APPLY_FAILED;
    clean(NULL);
    assert_non_null(strstr(entries(), "a:ended 0ow=0"));
    assert_non_null(strstr(entries(), "b:prepared 5ow=0"));
    assert_non_null(strstr(entries(), "c:running 0ow=0"));
}

/* The domain that is stopped looked alive when the snapshot was taken. */
static void test_clean_of_a_domain_that_has_just_ended(void **state)
{
    (void)state;
    scene_record(&(struct scene_entry){"a", VM_A, PHASE_PREPARED, true, "0", "", 0});
    set_masks((const uint32_t[CARDS]){0x39});
    decide(INTENT_STOP, "");
    write_all();
    clean(NULL);
    assert_string_equal(entries(), "");
}

/* Another living domain's entry mentions the card: it will bring it back. */
static void test_clean_leaves_cards_to_others(void **state)
{
    (void)state;
    scene_record(&(struct scene_entry){"a", VM_A, PHASE_ENDED, false, "0", "2", 0});
    scene_record(&(struct scene_entry){"b", VM_B, PHASE_PREPARED, true, "2", "0", 0});
    set_masks((const uint32_t[CARDS]){0x39, 0, 0x39});
    decide(INTENT_STOP, "");
    write_all();
    assert_masks((const uint32_t[CARDS]){0x8, 0, 0x39});
    clean(NULL);
    assert_string_equal(entries(), "b:prepared 2ow=0 0=0");
}

/* A start takes over what a domain that is gone left behind. */
static void test_start_cleans_after_a_stale_domain(void **state)
{
    (void)state;
    scene_record(&(struct scene_entry){"c", VM_C, PHASE_RUNNING, false, "0", "6", 0});
    scene_record(&(struct scene_entry){"b", VM_B, PHASE_RUNNING, false, "5", "", 0});
    set_masks((const uint32_t[CARDS]){0x39, 0, 0, 0, 0, 0x39, 0x1});
    decide(INTENT_START, "01");
    record(PHASE_PREPARED, false);
    write_all();
    assert_masks((const uint32_t[CARDS]){0x19, 0x31, 0x18, 0x30, 0, 0, 0x1, 0x1});
    clean(VM_A);
    assert_memory_equal(entries(), "a:prepared 0ow=0 1ow=0", 22);
    assert_null(strstr(entries(), "b:"));
    assert_null(strstr(entries(), "c:"));
}

static void test_clean_forgets_cards_that_are_no_ppus(void **state)
{
    (void)state;
    scene_record(&(struct scene_entry){"a", VM_A, PHASE_ENDED, false, "7", "", 0});
    simulated_text(SETTINGS, "[map]\n0 = 0000:08:00.0\n");
    decide(INTENT_STOP, "");
    write_all();
    clean(NULL);
    assert_string_equal(entries(), "");
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_first_entry),
        EACH(test_second_entry),
        EACH(test_entry_after_an_ended_one_begins_anew),
        EACH(test_original_is_without_the_cuts_of_others),
        EACH(test_late_entry),
        EACH(test_unreadable_register_has_no_original),
        EACH(test_tool_that_reads_nothing),
        EACH(test_cards_without_id_are_left_out),
        EACH(test_end),
        EACH(test_ledger_that_cannot_be_written),
        EACH(test_clean_after_a_stop),
        EACH(test_clean_keeps_what_is_not_back),
        EACH(test_clean_keeps_cards_that_face_a_vm),
        EACH(test_clean_relies_on_nobody_else),
        EACH(test_clean_of_a_domain_that_has_just_ended),
        EACH(test_clean_leaves_cards_to_others),
        EACH(test_start_cleans_after_a_stale_domain),
        EACH(test_clean_forgets_cards_that_are_no_ppus),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
