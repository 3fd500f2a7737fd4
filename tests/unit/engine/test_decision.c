/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/decision.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "scene.h"

static struct machine *machine;
static struct snapshot *snapshot;
static struct demand demand;
static struct registers registers;
static struct decision decision;

static int start(void **state)
{
    scene_start(state);
    machine = NULL;
    snapshot = NULL;
    demand = (struct demand){0};
    return 0;
}

static int stop(void **state)
{
    (void)state;
    demand_free(&demand);
    snapshot_free(snapshot);
    machine_close(machine);
    return start(state);
}

/* The host as it is, and a domain that wants PPUS. */
static void look(const char *ppus)
{
    machine = scene_machine();
    snapshot = scene_snapshot(machine);
    demand = scene_demand(machine, ppus);
    registers_open(&registers, &machine->settings, NULL, false);
}

static int admit(struct error *err)
{
    return decision_admit(snapshot, &demand, VM_A, err);
}

static void assert_refused(enum status status, const char *text)
{
    struct error err = {0};
    assert_int_equal(admit(&err), -1);
    assert_error(&err, status, text, "");
}

static void assert_admitted(void)
{
    struct error err = {0};
    if (admit(&err) < 0) {
        fail_msg("%s", err.text);
    }
}

/* Writes as "PPU:FROM>TO", in order. */
static void assert_plan(const char *expected)
{
    char text[1024] = "";
    size_t used = 0;
    for (size_t i = 0; i < decision.plan.count; i++) {
        const struct plan_write *write = &decision.plan.writes[i];
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%d:%x>%x", i > 0 ? " " : "", write->ppu,
                                 write->from, write->to);
    }
    assert_string_equal(text, expected);
}

static void make(enum intent intent)
{
    decision_make(&decision, snapshot, &registers, intent, VM_A, "a", intent == INTENT_STOP ? NULL : &demand);
}

static void test_admit_idle_cards(void **state)
{
    (void)state;
    look("01");
    assert_admitted();
}

static void test_admit_own_cards(void **state)
{
    (void)state;
    scene_running("a", VM_A, "01", 101);
    scene_bind(addresses[0], "vfio-pci", 1);
    look("01");
    assert_admitted();
}

static void test_refuse_absent_card(void **state)
{
    (void)state;
    simulated_text(SETTINGS, "[map]\n0 = 0000:08:00.0\n1 = 0000:7e:00.0\n");
    simulated_remove("/sys/bus/pci/devices/0000:7e:00.0");
    look("01");
    assert_refused(STATUS_HARDWARE, "PPU 1 (0000:7e:00.0) is not on the PCI bus; see dmesg, rescan the bus or give "
                                    "the VM another card");
}

static void test_refuse_cards_of_others(void **state)
{
    (void)state;
    scene_running("b", VM_B, "1", 102);
    look("01");
    assert_refused(STATUS_CONFLICT, "PPU 1 (0000:7e:00.0) is owned by VM 'b' (" VM_B "), which runs; stop that VM or "
                                    "give this one another card");
    stop(state);
    scene_record(&(struct scene_entry){"c", VM_C, PHASE_PREPARED, true, "0", "", 0});
    look("0");
    assert_refused(STATUS_CONFLICT, "PPU 0 (0000:08:00.0) is owned by VM 'c' (" VM_C "), which is being started or "
                                    "stopped; stop that VM or give this one another card");
}

static void test_refuse_cards_of_groups(void **state)
{
    (void)state;
    scene_record_group(&(struct scene_entry){"red", VM_C, PHASE_PREPARED, false, "0", "", 0});
    look("0");
    assert_refused(STATUS_CONFLICT, "PPU 0 (0000:08:00.0) is in the group 'red', which was isolated by hand; end that "
                                    "with `icn-hook release red`, or give the VM another card");
}

/* What a group that is isolated by hand is told. */
static void test_refuse_a_group(void **state)
{
    scene_running("b", VM_B, "1", 102);
    look("1");
    demand.by_hand = true;
    assert_refused(STATUS_CONFLICT, "PPU 1 (0000:7e:00.0) is owned by VM 'b' (" VM_B "), which runs; stop that VM or "
                                    "choose another card");
    stop(state);
    scene_record_group(&(struct scene_entry){"red", VM_C, PHASE_PREPARED, false, "2", "", 0});
    look("2");
    demand.by_hand = true;
    assert_refused(STATUS_CONFLICT, "PPU 2 (0000:a2:00.0) is in the group 'red', which was isolated by hand; end that "
                                    "with `icn-hook release red`, or choose another card");
}

/* Who uses a group is whoever it was made for. */
static void test_admit_a_group_that_is_used(void **state)
{
    (void)state;
    scene_record_group(&(struct scene_entry){"red", VM_A, PHASE_PREPARED, false, "01", "", 0});
    scene_bind(addresses[0], "vfio-pci", 1);
    look("01");
    demand.by_hand = true;
    assert_admitted();
}

/* Two domains may have parts of one card; a whole card is one domain's. */
static void test_parts_and_wholes(void **state)
{
    static const struct {
        bool held_whole;
        bool wants_whole;
        bool admitted;
    } cases[] = {{false, false, true}, {false, true, false}, {true, false, false}, {true, true, false}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err;
        scene_running("b", VM_B, "1", 102);
        look("1");
        snapshot->claims[0].whole = cases[i].held_whole;
        demand.devices[0].whole = cases[i].wants_whole;
        assert_int_equal(admit(&err) == 0, cases[i].admitted);
        stop(state);
    }
}

#define STRANGER                                                                                                       \
    "PPU 0 (0000:08:00.0) is held open through vfio by a process that is no running VM; end it (fuser /dev/vfio/* "    \
    "names it) or give the VM another card"

static void test_refuse_cards_of_strangers(void **state)
{
    (void)state;
    scene_bind(addresses[0], "vfio-pci", 1);
    look("0");
    assert_refused(STATUS_CONFLICT, STRANGER);
    stop(state);
    /* Its own entry, from a start that ended badly, is no excuse. */
    scene_record(&(struct scene_entry){"a", VM_A, PHASE_PREPARED, true, "0", "", 0});
    scene_bind(addresses[0], "vfio-pci", 1);
    look("0");
    assert_refused(STATUS_CONFLICT, STRANGER);
}

static void test_refuse_in_doubt(void **state)
{
    struct error err = {0};

    (void)state;
    scene_record(&(struct scene_entry){"b", VM_B, PHASE_PREPARED, true, "2", "", 0});
    simulated_text(LEDGER "/" VM_B ".json", "{");
    look("0");
    assert_int_equal(admit(&err), -1);
    assert_string_equal(err.text, snapshot->ledger.faults[0].error.text);
    assert_int_equal(err.status, STATUS_INVALID);
}

static void test_other_devices_are_not_our_matter(void **state)
{
    (void)state;
    look("0");
    demand.devices[0].ppu = -1;
    snapshot->cards[0].unknown_holder = true;
    assert_admitted();
    make(INTENT_START);
    assert_plan("");
}

static void test_start(void **state)
{
    (void)state;
    look("01");
    make(INTENT_START);
    assert_plan("0:0>19 1:0>31 2:0>18 3:0>30 6:0>1 7:0>1");
    assert_int_equal(decision.owners[0], decision_own_number(snapshot));
    assert_int_equal(decision.owners[2], OWNER_IDLE);
    assert_true(decision.near[0] && decision.whole[0] && !decision.near[2]);
}

/* What stands open between its own cards stays, what is cut there is opened. */
static void test_start_opens_its_own_links(void **state)
{
    (void)state;
    set_masks((const uint32_t[CARDS]){0x39, 0x39, 0x19, 0x30, 0, 0, 0x1, 0x1});
    look("01");
    make(INTENT_START);
    assert_plan("0:39>19 1:39>31");
}

static void test_start_without_far_ends(void **state)
{
    (void)state;
    simulated_text(SETTINGS, "[policy]\nfar_end = leave\n");
    look("6");
    make(INTENT_START);
    assert_plan("6:0>39");
}

static void test_start_with_isolated_idle_cards(void **state)
{
    (void)state;
    simulated_text(SETTINGS, "[policy]\nidle = isolate\n");
    set_masks((const uint32_t[CARDS]){0x39, 0x39, 0x39, 0x39, 0x39, 0, 0x39, 0x39});
    look("6");
    make(INTENT_START);
    assert_plan("5:0>39");
}

/* While a driver holds them, near registers count as wide open. */
static void test_start_with_unreadable_near_end(void **state)
{
    (void)state;
    set_masks((const uint32_t[CARDS]){[6] = 0x39});
    look("6");
    snapshot->cards[6].was_read = true;
    snapshot->cards[6].reading = (struct reading){.kind = READING_UNVERIFIABLE};
    make(INTENT_START);
    assert_plan("6:0>39 0:0>1 4:0>8 5:0>10 7:0>8");
}

static void test_far_ends_that_are_out_of_reach(void **state)
{
    (void)state;
    simulated_remove("/sys/bus/pci/devices/0000:08:00.0/resource0");
    scene_bind(addresses[4], "vfio-pci", 1);
    scene_running("b", VM_B, "5", 102);
    look("6");
    make(INTENT_START);
    assert_plan("6:0>39 7:0>8");
    assert_int_equal(decision.owners[4], OWNER_UNKNOWN);
    assert_int_equal(decision.owners[5], 1);
}

/* A card of the domain's own that is still held is nobody's to open towards. */
static void test_card_it_no_longer_takes(void **state)
{
    (void)state;
    scene_running("a", VM_A, "01", 101);
    scene_bind(addresses[1], "vfio-pci", 1);
    look("0");
    make(INTENT_START);
    assert_int_equal(decision.owners[1], OWNER_UNKNOWN);
    assert_int_equal(decision.goals[1].role, ROLE_NONE);
    assert_plan("0:0>39 2:0>8 3:0>10 6:0>1");
}

static void test_shared_card(void **state)
{
    (void)state;
    scene_running("b", VM_B, "0", 102);
    look("01");
    make(INTENT_START);
    assert_int_equal(decision.owners[0], OWNER_SHARED);
    assert_int_equal(decision.goals[0].want, 0x39);
    assert_int_equal(decision.goals[1].want, 0x39);
}

/* A running VM's links are never opened. */
static void test_keep(void **state)
{
    (void)state;
    scene_record(&(struct scene_entry){"a", VM_A, PHASE_PREPARED, true, "01", "2", 0});
    set_masks((const uint32_t[CARDS]){0x39, 0x11, 0x39, 0x10, 0, 0, 0x1, 0x1});
    look("01");
    make(INTENT_KEEP);
    assert_plan("1:11>31 3:10>30");
}

static void test_stop(void **state)
{
    (void)state;
    scene_record(&(struct scene_entry){"a", VM_A, PHASE_ENDED, false, "01", "2367", 0x8});
    set_masks((const uint32_t[CARDS]){0x19, 0x31, 0x18, 0x30, 0, 0, 0x1, 0x1});
    look("");
    make(INTENT_STOP);
    assert_plan("1:31>39 3:30>38 6:1>9 7:1>9 0:19>8 1:39>8 2:18>8 3:38>8 6:9>8 7:9>8");
}

static void test_stop_beside_another_vm(void **state)
{
    (void)state;
    scene_record(&(struct scene_entry){"a", VM_A, PHASE_ENDED, false, "01", "2367", 0});
    scene_running("b", VM_B, "2", 102);
    set_masks((const uint32_t[CARDS]){0x19, 0x31, 0x39, 0x30, 0, 0, 0x1, 0x1});
    look("");
    make(INTENT_STOP);
    assert_plan("3:30>38 0:19>8 1:31>10 3:38>8 6:1>0 7:1>0");
}

/* A card that somebody holds still is not restored yet. */
static void test_stop_with_a_held_card(void **state)
{
    (void)state;
    scene_record(&(struct scene_entry){"a", VM_A, PHASE_ENDED, false, "01", "", 0});
    set_masks((const uint32_t[CARDS]){0x19, 0x31});
    scene_bind(addresses[0], "vfio-pci", 1);
    look("");
    make(INTENT_STOP);
    assert_plan("1:31>39 1:39>8");
    assert_int_equal(decision.owners[0], 1);
}

static void test_stop_in_doubt_opens_nothing(void **state)
{
    (void)state;
    scene_record(&(struct scene_entry){"a", VM_A, PHASE_ENDED, false, "01", "", 0});
    simulated_text(LEDGER "/" VM_B ".json", "{");
    set_masks((const uint32_t[CARDS]){0x19, 0x31});
    look("");
    make(INTENT_STOP);
    assert_plan("");
}

static void test_check_near(void **state)
{
    static const struct {
        enum reading_kind kind;
        bool fine;
    } cases[] = {
        {READING_FINE, true}, {READING_UNVERIFIABLE, true}, {READING_GONE, false}, {READING_FAILED, false}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err = {0};
        look("3");
        make(INTENT_START);
        snapshot->cards[2].reading = (struct reading){.kind = READING_FAILED, .why = "far"};
        snapshot->cards[3].reading = (struct reading){.kind = cases[i].kind, .why = "it smokes"};
        assert_int_equal(decision_check_near(&decision, snapshot, &err) == 0, cases[i].fine);
        if (!cases[i].fine) {
            assert_error(&err, STATUS_HARDWARE,
                         "PPU 3 (0000:c6:00.0): it smokes; its links cannot be cut, so correct that or give the VM "
                         "another card",
                         "");
        }
        stop(state);
    }
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_admit_idle_cards),
        EACH(test_admit_own_cards),
        EACH(test_refuse_absent_card),
        EACH(test_refuse_cards_of_others),
        EACH(test_refuse_cards_of_groups),
        EACH(test_refuse_a_group),
        EACH(test_admit_a_group_that_is_used),
        EACH(test_parts_and_wholes),
        EACH(test_refuse_cards_of_strangers),
        EACH(test_refuse_in_doubt),
        EACH(test_other_devices_are_not_our_matter),
        EACH(test_start),
        EACH(test_start_opens_its_own_links),
        EACH(test_start_without_far_ends),
        EACH(test_start_with_isolated_idle_cards),
        EACH(test_start_with_unreadable_near_end),
        EACH(test_far_ends_that_are_out_of_reach),
        EACH(test_card_it_no_longer_takes),
        EACH(test_shared_card),
        EACH(test_keep),
        EACH(test_stop),
        EACH(test_stop_beside_another_vm),
        EACH(test_stop_with_a_held_card),
        EACH(test_stop_in_doubt_opens_nothing),
        EACH(test_check_near),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
