/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "session_scene.h"

static struct error err;

/* The cards that were woken, as ids; they are all awake here. */
static char woken[CARDS + 1] = "nobody";

void __wrap_registers_wake(struct registers *registers, const struct bdf bdfs[], size_t count);
void __wrap_registers_wake(struct registers *registers, const struct bdf bdfs[], size_t count)
{
    assert_ptr_equal(registers, &session.registers);
    for (size_t i = 0; i < count; i++) {
        woken[i] = (char)('0' + machine_ppu_at(session.machine, bdfs[i]));
    }
    woken[count] = '\0';
}

/* -- Admission ----------------------------------------------------------------- */

static int admit(int ppu, bool by_hand)
{
    const struct applicant applicant = {.uuid = VM_A, .by_hand = by_hand};
    err = (struct error){0};
    return policy_admit(&session, &applicant, ppu, true, &err);
}

static void assert_refused(int ppu, bool by_hand, enum status status, const char *text)
{
    assert_int_equal(admit(ppu, by_hand), -1);
    assert_error(&err, status, text, "");
}

static void test_admit_idle_cards(void **state)
{
    (void)state;
    open_to_look();
    assert_done(admit(0, false), &err);
    assert_done(admit(0, true), &err);
}

static void test_admit_own_cards(void **state)
{
    (void)state;
    running("a", VM_A, "01", 101);
    open_to_look();
    assert_done(admit(0, false), &err);
}

static void test_refuse_absent_card(void **state)
{
    (void)state;
    scene_unplug("1");
    open_to_look();
    assert_refused(1, false, STATUS_HARDWARE,
                   "PPU 1 (0000:7e:00.0) is not on the PCI bus; see dmesg, rescan the bus or give the VM another card");
    assert_refused(1, true, STATUS_HARDWARE,
                   "PPU 1 (0000:7e:00.0) is not on the PCI bus; see dmesg, rescan the bus or choose another card");
}

static void test_refuse_cards_of_others(void **state)
{
    (void)state;
    scene_running("b", VM_B, "1", 102);
    scene_claim(&(struct scene_claim){.name = "c", .uuid = VM_C, .ppus = "0"});
    open_to_look();
    assert_refused(1, false, STATUS_CONFLICT,
                   "PPU 1 (0000:7e:00.0) is owned by VM 'b' (" VM_B "), which runs; stop that VM or give this one "
                   "another card");
    assert_refused(0, false, STATUS_CONFLICT,
                   "PPU 0 (0000:08:00.0) is owned by VM 'c' (" VM_C "), which is being started or stopped; stop that "
                   "VM or give this one another card");
    assert_refused(1, true, STATUS_CONFLICT,
                   "PPU 1 (0000:7e:00.0) is owned by VM 'b' (" VM_B "), which runs; stop that VM or choose another "
                   "card");
}

static void test_refuse_cards_of_groups(void **state)
{
    (void)state;
    scene_claim(
        &(struct scene_claim){.name = "red", .uuid = VM_C, .is_group = true, .phase = CLAIM_RUNNING, .ppus = "2"});
    open_to_look();
    assert_refused(2, false, STATUS_CONFLICT,
                   "PPU 2 (0000:a2:00.0) is in the group 'red', which was isolated by hand; end that with `icn-hook "
                   "release red`, or give the VM another card");
    assert_refused(2, true, STATUS_CONFLICT,
                   "PPU 2 (0000:a2:00.0) is in the group 'red', which was isolated by hand; end that with `icn-hook "
                   "release red`, or choose another card");
}

/* Who uses a group is for its maker to know. */
static void test_admit_a_group_that_is_used(void **state)
{
    (void)state;
    scene_claim(
        &(struct scene_claim){.name = "red", .uuid = VM_A, .is_group = true, .phase = CLAIM_RUNNING, .ppus = "01"});
    scene_hold(0);
    open_to_look();
    assert_done(admit(0, true), &err);
}

/* Two domains may have parts of one card; a whole card is one domain's. */
static void test_parts_and_wholes(void **state)
{
    static const struct {
        bool held_whole;
        bool wants_whole;
        bool admitted;
    } cases[] = {{false, false, true}, {false, true, false}, {true, false, false}, {true, true, false}};
    const struct applicant applicant = {.uuid = VM_A};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        scene_running("b", VM_B, "1", 102);
        open_to_look();
        session.owners.holdings[0].whole = cases[i].held_whole;
        assert_int_equal(policy_admit(&session, &applicant, 1, cases[i].wants_whole, &err) == 0, cases[i].admitted);
        restart(state);
    }
}

#define STRANGER "PPU 0 (0000:08:00.0) is held open through vfio by a process that is not a known VM; end it or "

static void test_refuse_cards_of_strangers(void **state)
{
    scene_hold(0);
    open_to_look();
    assert_refused(0, false, STATUS_CONFLICT, STRANGER "give the VM another card");
    assert_refused(0, true, STATUS_CONFLICT, STRANGER "choose another card");
    restart(state);
    /* Its own claim, from a start that ended badly, is no excuse. */
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .ppus = "0"});
    scene_hold(0);
    open_to_look();
    assert_owners(&session, "1.......");
    assert_refused(0, false, STATUS_CONFLICT, STRANGER "give the VM another card");
}

static void test_refuse_a_stranger_by_name(void **state)
{
    (void)state;
    scene_hold(0);
    simulated_link("/sys/bus/pci/devices/0000:08:00.0/iommu_group", "../../../kernel/iommu_groups/14");
    simulated_text("/proc/55/comm", "cloud-hyperv\n");
    simulated_link("/proc/55/fd/7", "/dev/vfio/14");
    open_to_look();
    assert_refused(0, false, STATUS_CONFLICT,
                   "PPU 0 (0000:08:00.0) is held open through vfio by process 55 (cloud-hyperv), which is not a known "
                   "VM; end it or give the VM another card");
}

static void test_refuse_in_doubt(void **state)
{
    const struct applicant a = {.uuid = VM_A};
    const struct applicant b = {.uuid = VM_B};
    (void)state;
    scene_claim(&(struct scene_claim){.name = "b", .uuid = VM_B, .ppus = "2"});
    simulated_text(CLAIM_OF(VM_B), "{");
    open_to_look();
    assert_done(admit(0, false), &err); /* the card is not the matter */
    assert_int_equal(policy_admit_doubt(&session, &a, &err), -1);
    assert_string_equal(err.text, session.state.faults[0].error.text);
    assert_int_equal(err.status, STATUS_INVALID);
    assert_done(policy_admit_doubt(&session, &b, &err), &err);
}

/* -- Which cards an operation may touch ---------------------------------------- */

/* A character for each card: 'C' change, 'L' look, '.' leave alone. */
static void assert_reach(const char *expected)
{
    char text[CARDS + 1] = "";
    for (int ppu = 0; ppu < CARDS; ppu++) {
        text[ppu] = ".LC"[session.cards[ppu].reach];
    }
    assert_string_equal(text, expected);
}

/*
 * The subject has 0 and 1, whose neighbours are 2, 3, 6 and 7.  2 is a running VM's, of 3 a VM
 * has a part, 4 is owed something, 5 has nothing to do with it, and 6 fell off the bus.
 */
static void make_neighbours(const char *settings)
{
    simulated_text(SETTINGS, settings);
    running("b", VM_B, "2", 102);
    scene_claim(&(struct scene_claim){.name = "c", .uuid = VM_C, .ppus = "3"});
    scene_memory(4, 0, 0x39);
    scene_unplug("6");
    open_to_look();
    for (size_t i = 0; i < session.owners.holding_count; i++) {
        session.owners.holdings[i].whole = session.owners.holdings[i].ppu != 3;
    }
}

static void test_reach(void **state)
{
    static const struct {
        const char *settings;
        enum intent intent;
        const char *reach;
    } cases[] = {
        {"", INTENT_START, "CC.CC..C"},
        {"", INTENT_WATCH, "CC.L...L"},
        {"", INTENT_ADOPT, "CC.CC..C"},
        {"", INTENT_END, "CC.CC..C"},
        {"", INTENT_REPAIR, "CCCCCC.C"},
        {"", INTENT_RESET, "CCCCCC.C"},
        {"", INTENT_LOOK, "LLLLLL.L"},
        {"[policy]\nfar_end = leave\n", INTENT_START, "CC..C..."},
        {"[policy]\nfar_end = leave\n", INTENT_WATCH, "CC.L...L"},
        {"[policy]\nfar_end = leave\n", INTENT_END, "CC..C..."},
        {"[policy]\nidle = isolate\n", INTENT_START, "CC.CCC.C"},
        {"[policy]\nidle = isolate\n", INTENT_END, "CC.CCC.C"},
        {"[policy]\nidle = isolate\n", INTENT_WATCH, "CC.L...L"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        make_neighbours(cases[i].settings);
        take(VM_A, "01");
        if (cases[i].intent == INTENT_END) {
            give_back(VM_A);
            memset(turn.near, 0, sizeof turn.near);
        }
        decide(cases[i].intent);
        assert_reach(cases[i].reach);
        restart(state);
    }
}

/* All cards that are to be changed at once, and no other. */
static void test_woken_cards(void **state)
{
    (void)state;
    make_neighbours("");
    take(VM_A, "01");
    decide(INTENT_START);
    assert_string_equal(woken, "nobody");
    session_close(&session);
    scene_session(&session, SESSION_CHANGE);
    take(VM_A, "01");
    decide(INTENT_ADOPT);
    assert_reach("CC..C..C"); /* 3 is wholly another's now */
    assert_string_equal(woken, "0147");
    decide(INTENT_WATCH);
    assert_string_equal(woken, "01");
}

/* Cards without id are nobody's. */
static void test_reach_of_cards_without_id(void **state)
{
    (void)state;
    simulated_text(CARDS_CONF, "[map]\n1 = 0000:7e:00.0\n");
    open_to_look();
    decide(INTENT_REPAIR);
    assert_reach(".C......");
}

static void test_nothing_is_planned_when_looking(void **state)
{
    (void)state;
    running("a", VM_A, "01", 101);
    open_to_look();
    decide(INTENT_LOOK);
    assert_plan(&session, "");
    assert_true(session_is_read(&session, 7));
}

/* -- Near ends that cannot be used ----------------------------------------------- */

static void test_check_near(void **state)
{
    static const struct {
        enum reading_kind kind;
        bool fine;
    } cases[] = {{READING_FINE, true}, {READING_UNVERIFIABLE, true}, {READING_GONE, false}, {READING_FAILED, false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        open_to_look();
        take(VM_A, "3");
        decide(INTENT_START);
        session.cards[2].reading = (struct reading){.kind = READING_FAILED, .why = "far"};
        session.cards[3].reading = (struct reading){.kind = cases[i].kind, .why = "it smokes"};
        for (int by_hand = 0; by_hand < 2; by_hand++) {
            assert_int_equal(policy_check_near(&session, &turn, by_hand == 1, &err) == 0, cases[i].fine);
            if (!cases[i].fine) {
                assert_error(&err, STATUS_HARDWARE,
                             by_hand == 1 ? "PPU 3 (0000:c6:00.0): it smokes; its links cannot be cut, so correct that "
                                            "or choose another card"
                                          : "PPU 3 (0000:c6:00.0): it smokes; its links cannot be cut, so correct that "
                                            "or give the VM another card",
                             "");
            }
        }
        restart(state);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_admit_idle_cards),
        EACH(test_admit_own_cards),
        EACH(test_refuse_absent_card),
        EACH(test_refuse_cards_of_others),
        EACH(test_refuse_cards_of_groups),
        EACH(test_admit_a_group_that_is_used),
        EACH(test_parts_and_wholes),
        EACH(test_refuse_cards_of_strangers),
        EACH(test_refuse_a_stranger_by_name),
        EACH(test_refuse_in_doubt),
        EACH(test_reach),
        EACH(test_woken_cards),
        EACH(test_reach_of_cards_without_id),
        EACH(test_nothing_is_planned_when_looking),
        EACH(test_check_near),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
