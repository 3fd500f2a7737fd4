/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/policy.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "session_scene.h"

/* -- A start ------------------------------------------------------------------- */

static void test_start(void **state)
{
    (void)state;
    open_to_look();
    take(VM_A, "01");
    decide(INTENT_START);
    assert_plan(&session, "0:0>19 1:0>31 2:0>18 3:0>30 6:0>1 7:0>1");
    assert_int_equal(session.goals[0].role, ROLE_NEAR);
    assert_int_equal(session.goals[2].role, ROLE_FAR);
    assert_int_equal(session.goals[4].role, ROLE_NONE);
}

static void test_start_of_one_card(void **state)
{
    (void)state;
    open_to_look();
    take(VM_A, "6");
    decide(INTENT_START);
    assert_plan(&session, "6:0>39 0:0>1 4:0>8 5:0>10 7:0>8");
}

/* What is cut among its own cards is opened; of another card nothing is but debts. */
static void test_start_opens_its_own_links(void **state)
{
    (void)state;
    set_masks((const uint32_t[CARDS]){0x39, 0x39, 0x19, 0x30, 0, 0, 0x1, 0x1});
    open_to_look();
    take(VM_A, "01");
    decide(INTENT_START);
    assert_plan(&session, "0:39>19 1:39>31");
}

static void test_start_without_far_ends(void **state)
{
    (void)state;
    simulated_text(SETTINGS, "[policy]\nfar_end = leave\n");
    open_to_look();
    take(VM_A, "6");
    decide(INTENT_START);
    assert_plan(&session, "6:0>39");
}

static void test_start_with_isolated_idle_cards(void **state)
{
    (void)state;
    simulated_text(SETTINGS, "[policy]\nidle = isolate\n");
    set_masks((const uint32_t[CARDS]){0x39, 0x39, 0x39, 0x39, 0x39, 0, 0x39, 0x39});
    open_to_look();
    take(VM_A, "6");
    decide(INTENT_START);
    assert_plan(&session, "5:0>39");
}

/* While a driver holds them, near registers count as wide open, whatever we wrote last. */
static void test_start_with_unreadable_near_end(void **state)
{
    (void)state;
    scene_memory(6, 0, 0x39);
    scene_bind(addresses[6], "ppu", 1);
    open_to_look();
    take(VM_A, "6");
    decide(INTENT_START);
    assert_plan(&session, "6:0>39 0:0>1 4:0>8 5:0>10 7:0>8");
}

static void test_far_ends_that_are_out_of_reach(void **state)
{
    (void)state;
    simulated_remove("/sys/bus/pci/devices/0000:08:00.0/resource0");
    scene_hold(4);
    running("b", VM_B, "5", 102);
    open_to_look();
    take(VM_A, "6");
    decide(INTENT_START);
    assert_plan(&session, "6:0>39 7:0>38");
}

/* An idle far end that a driver holds is tried from what we wrote last, if we did. */
static void test_far_end_that_cannot_be_read(void **state)
{
    (void)state;
    scene_bind(addresses[0], "ppu", 1);
    scene_bind(addresses[7], "ppu", 1);
    scene_memory(7, 0x20, 0x20);
    open_to_look();
    take(VM_A, "6");
    decide(INTENT_START);
    assert_plan(&session, "6:0>39 4:0>8 5:0>10 7:20>28");
}

/* A start pays what the cards that it reads are owed. */
static void test_start_pays_debts(void **state)
{
    (void)state;
    scene_memory(4, 0x8, 0x39);
    scene_memory(7, 0, 0x39);
    set_masks((const uint32_t[CARDS]){[4] = 0x39, [7] = 0x39});
    open_to_look();
    take(VM_A, "01");
    decide(INTENT_START);
    assert_plan(&session, "0:0>19 1:0>31 2:0>18 3:0>30 6:0>1 4:39>8 7:39>1");
}

/* A card that is not the subject's any more but still held is nobody's to open towards. */
static void test_card_it_no_longer_takes(void **state)
{
    (void)state;
    running("a", VM_A, "01", 101);
    scene_let_go(0);
    open_to_look();
    give_back(VM_A);
    take(VM_A, "0");
    turn.given_back[0] = false;
    decide(INTENT_START);
    assert_int_equal(session.goals[1].role, ROLE_NONE);
    assert_plan(&session, "0:0>39 2:0>18 3:0>30 6:0>1");
}

static void test_shared_card(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "b", .uuid = VM_B, .ppus = "0"});
    open_to_look();
    take(VM_A, "01");
    decide(INTENT_START);
    assert_int_equal(session.goals[0].want, 0x39);
    assert_int_equal(session.goals[1].want, 0x39);
}

/* -- A running VM -------------------------------------------------------------- */

/* Its own links are never opened, only what is missing is cut; neighbours only when it is adopted. */
static void test_running(void **state)
{
    static const struct {
        enum intent intent;
        const char *plan;
    } cases[] = {{INTENT_WATCH, "1:11>31"}, {INTENT_ADOPT, "1:11>31 3:10>30"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        scene_running("a", VM_A, "01", 101);
        set_masks((const uint32_t[CARDS]){0x39, 0x11, 0x39, 0x10, 0, 0, 0x1, 0x1});
        open_to_look();
        take(VM_A, "01");
        decide(cases[i].intent);
        assert_plan(&session, cases[i].plan);
        restart(state);
    }
}

/* A near end that QEMU holds: as we wrote it last, and only what is missing then is tried. */
static void test_running_and_held(void **state)
{
    (void)state;
    running("a", VM_A, "01", 101);
    scene_memory(0, 0, 0x19);
    set_masks((const uint32_t[CARDS]){0, 0, 0x18, 0x30, 0, 0, 0x1, 0x1});
    open_to_look();
    take(VM_A, "01");
    decide(INTENT_ADOPT);
    assert_plan(&session, "1:0>31");
}

/* -- An end -------------------------------------------------------------------- */

static void remember(const char *ppus, uint32_t original)
{
    for (; *ppus != '\0'; ppus++) {
        scene_memory(*ppus - '0', original, 0x39);
    }
}

/* Cards get back what they had, cuts too. */
static void test_end(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .ppus = "01"});
    remember("012367", 0x8);
    set_masks((const uint32_t[CARDS]){0x19, 0x31, 0x18, 0x30, 0, 0, 0x1, 0x1});
    open_to_look();
    give_back(VM_A);
    decide(INTENT_END);
    assert_plan(&session, "1:31>39 3:30>38 6:1>9 7:1>9 0:19>8 1:39>8 2:18>8 3:38>8 6:9>8 7:9>8");
}

/* What another VM relies on stays, and what it lacks is made. */
static void test_end_beside_another_vm(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .ppus = "01"});
    remember("012367", 0);
    running("b", VM_B, "2", 102);
    set_masks((const uint32_t[CARDS]){0x19, 0x31, 0x39, 0x30, 0, 0, 0x1, 0x1});
    open_to_look();
    give_back(VM_A);
    decide(INTENT_END);
    assert_plan(&session, "3:30>38 0:19>8 1:31>10 3:38>8 6:1>0 7:1>0");
}

/* With far_end = leave no cut of an idle card is asked for, but those that face an owner protect it. */
static void test_end_that_leaves_far_ends(void **state)
{
    (void)state;
    simulated_text(SETTINGS, "[policy]\nfar_end = leave\n");
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .ppus = "01"});
    remember("01", 0);
    running("b", VM_B, "2", 102);
    set_masks((const uint32_t[CARDS]){0x39, 0x39, 0x39});
    open_to_look();
    give_back(VM_A);
    decide(INTENT_END);
    assert_plan(&session, "0:39>8 1:39>10");
}

/* A card that somebody holds still is not given back yet. */
static void test_end_with_a_held_card(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .ppus = "01"});
    remember("01", 0);
    set_masks((const uint32_t[CARDS]){0x19, 0x31});
    scene_hold(0);
    open_to_look();
    give_back(VM_A);
    decide(INTENT_END);
    assert_owners(&session, "?.......");
    assert_int_equal(session.goals[0].role, ROLE_NONE);
    assert_int_equal(session.goals[1].want, 0x08);
}

static void test_end_in_doubt_opens_nothing(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .ppus = "01"});
    remember("01", 0);
    simulated_text(CLAIM_OF(VM_B), "{");
    set_masks((const uint32_t[CARDS]){0x19, 0x31});
    open_to_look();
    give_back(VM_A);
    decide(INTENT_END);
    assert_plan(&session, "");
}

/* Nobody knows what the cards had before: nothing is opened. */
static void test_end_without_memory(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .ppus = "01"});
    scene_memory(0, NOTHING, 0x39);
    scene_memory(1, NOTHING, 0x39);
    set_masks((const uint32_t[CARDS]){0x19, 0x31});
    open_to_look();
    give_back(VM_A);
    decide(INTENT_END);
    assert_plan(&session, "");
}

/* -- Repair and reset ----------------------------------------------------------- */

static void test_repair(void **state)
{
    (void)state;
    running("a", VM_A, "01", 101);
    scene_memory(4, 0x8, 0x39);
    set_masks((const uint32_t[CARDS]){0, 0, 0x18, 0x10, 0x39, 0x39, 0x1, 0x3});
    open_to_look();
    decide(INTENT_REPAIR);
    /* 5 is cut, but nobody knows why: it stays.  Bits that are no links are not ours. */
    assert_plan(&session, "3:10>30 4:39>8");
}

static void test_reset(void **state)
{
    (void)state;
    scene_memory(0, 0x8, 0x39);
    scene_bind(addresses[4], "ppu", 1);
    scene_bind(addresses[5], "ppu", 1);
    scene_memory(5, 0, 0x10);
    set_masks((const uint32_t[CARDS]){0x39, 0x39, [7] = 0x1});
    open_to_look();
    decide(INTENT_RESET);
    assert_plan(&session, "0:39>8 1:39>0 4:39>0 5:10>0 7:1>0");
}

static void test_reset_that_isolates(void **state)
{
    (void)state;
    simulated_text(SETTINGS, "[policy]\nidle = isolate\n");
    set_masks((const uint32_t[CARDS]){0x39, 0x39, 0x39, 0x39, 0x39, 0, 0x39, 0x39});
    scene_bind(addresses[4], "ppu", 1);
    open_to_look();
    decide(INTENT_RESET);
    assert_plan(&session, "4:0>39 5:0>39");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_start),
        EACH(test_start_of_one_card),
        EACH(test_start_opens_its_own_links),
        EACH(test_start_without_far_ends),
        EACH(test_start_with_isolated_idle_cards),
        EACH(test_start_with_unreadable_near_end),
        EACH(test_far_ends_that_are_out_of_reach),
        EACH(test_far_end_that_cannot_be_read),
        EACH(test_start_pays_debts),
        EACH(test_card_it_no_longer_takes),
        EACH(test_shared_card),
        EACH(test_running),
        EACH(test_running_and_held),
        EACH(test_end),
        EACH(test_end_beside_another_vm),
        EACH(test_end_that_leaves_far_ends),
        EACH(test_end_with_a_held_card),
        EACH(test_end_in_doubt_opens_nothing),
        EACH(test_end_without_memory),
        EACH(test_repair),
        EACH(test_reset),
        EACH(test_reset_that_isolates),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
