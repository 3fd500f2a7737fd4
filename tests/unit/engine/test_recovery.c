/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/recovery.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "scene.h"

enum { GONE = 4194304 }; /* above the largest pid, so no process */

static struct machine *machine;
static struct ledger ledger;
static struct snapshot *snapshot;
static struct registers registers;

static int stop(void **state)
{
    snapshot_free(snapshot);
    ledger_close(&ledger);
    machine_close(machine);
    return scene_start(state);
}

static int complete(bool *completed, struct error *err)
{
    machine = scene_machine();
    snapshot = scene_snapshot(machine);
    ledger = scene_ledger(LEDGER_CHANGE);
    registers_open(&registers, &machine->settings, &ledger, true);
    return recovery_complete(&ledger, snapshot, &registers, VM_A, "a", completed, err);
}

static bool is_completed(void)
{
    bool completed = false;
    struct error err = {0};
    if (complete(&completed, &err) < 0) {
        fail_msg("%s", err.text);
    }
    return completed;
}

/* The only entry's cards, each as "PPU[o]=ORIGINAL". */
static const char *cards(void)
{
    static char text[512];
    struct ledger_content content;
    struct error err = {0};
    size_t used = 0;

    assert_int_equal(ledger_read(&ledger, &content, &err), 0);
    assert_int_equal(content.entry_count, 1);
    assert_string_equal(content.entries[0].uuid, VM_A);
    assert_int_equal(content.entries[0].phase, PHASE_ENDED);
    text[0] = '\0';
    for (size_t i = 0; i < content.entries[0].card_count; i++) {
        const struct ledger_card *card = &content.entries[0].cards[i];
        assert_true(card->has_original);
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%d%s=0x%x", i > 0 ? " " : "", card->ppu,
                                 card->owned ? "o" : "", card->original);
    }
    ledger_content_free(&content);
    return text;
}

static void test_entry_that_knows_all(void **state)
{
    (void)state;
    scene_record(&(struct scene_entry){"a", VM_A, PHASE_RUNNING, true, "01", "2", 0x8});
    assert_false(is_completed());
}

/* A domain that was refused: its XML names cards, but nothing says that it had them. */
static void test_nothing_is_known(void **state)
{
    (void)state;
    assert_false(is_completed());
    assert_false(host_has(LEDGER "/" VM_A ".json"));
}

/* Cuts that the domain did not need were there before it. */
static void test_lost_entry(void **state)
{
    (void)state;
    scene_running("a", VM_A, "01", GONE);
    simulated_remove("/proc/4194304");
    set_masks((const uint32_t[CARDS]){0x19, 0x39, 0x19, 0x30, 0, 0, 0x1, 0x1});
    assert_true(is_completed());
    assert_string_equal(cards(), "0o=0x0 1o=0x8 2=0x1 3=0x0 6=0x0 7=0x0");
}

static void test_entry_without_masks(void **state)
{
    (void)state;
    set_masks((const uint32_t[CARDS]){0x19, 0x31, 0x18, 0x30, 0, 0, 0x1, 0x1});
    scene_record(&(struct scene_entry){"a", VM_A, PHASE_RUNNING, true, "01", "", NO_ORIGINAL});
    assert_true(is_completed());
    assert_string_equal(cards(), "0o=0x0 1o=0x0 2=0x0 3=0x0 6=0x0 7=0x0");
}

/* A card that no line of [map] names any more. */
static void test_card_without_id(void **state)
{
    bool completed = false;
    struct error err = {0};
    (void)state;
    simulated_text(SETTINGS, "[map]\n1 = 0000:7e:00.0\n");
    scene_running("a", VM_A, "0", GONE);
    simulated_remove("/proc/4194304");
    assert_int_equal(complete(&completed, &err), -1);
    assert_false(completed);
    assert_error(&err, STATUS_INVALID,
                 "0000:08:00.0 is a PPU but no [map] line says which; add one to the configuration, or give the VM "
                 "another card",
                 NULL);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, scene_start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_entry_that_knows_all), EACH(test_nothing_is_known), EACH(test_lost_entry),
        EACH(test_entry_without_masks),  EACH(test_card_without_id),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
