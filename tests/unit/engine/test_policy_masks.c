/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "session_scene.h"

/* -- What must be cut ---------------------------------------------------------- */

static void assert_required(const uint32_t expected[CARDS])
{
    for (int ppu = 0; ppu < CARDS; ppu++) {
        assert_int_equal(policy_required(&session, ppu), expected[ppu]);
    }
}

/* The golden values of the vendor's topology (design section 3). */
static void test_golden_masks(void **state)
{
    static const struct {
        const char *domains[4];
        uint32_t required[CARDS];
    } cases[] = {
        {{""}, {0}},
        {{"01"}, {0x19, 0x31, 0x18, 0x30, 0, 0, 0x01, 0x01}},
        {{"6"}, {0x01, 0, 0, 0, 0x08, 0x10, 0x39, 0x08}},
        {{"01", "23", "457", "6"}, {0x19, 0x31, 0x19, 0x31, 0x09, 0x11, 0x39, 0x09}},
        {{"01234567"}, {0}},
    };
    static const char *const uuids[] = {VM_A, VM_B, VM_C, "11111111-1d52-d8f3-2516-782e98a23fa2"};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        open_to_look();
        for (size_t k = 0; k < 4 && cases[i].domains[k]; k++) {
            take(uuids[k], cases[i].domains[k]);
        }
        assert_required(cases[i].required);
        restart(state);
    }
}

static void test_required_of_every_policy(void **state)
{
    static const struct {
        const char *settings;
        uint32_t required[CARDS];
    } cases[] = {
        {"", {0x19, 0x31, 0x18, 0x30, 0, 0, 0x1, 0x1}},
        {"[policy]\nfar_end = leave\n", {0x19, 0x31}},
        {"[registers]\nbackend = ppudbg\n", {0x19, 0x31, 0x18, 0x30, 0, 0, 0x1, 0x1}},
        {"[policy]\nidle = isolate\n", {0x19, 0x31, 0x39, 0x39, 0x39, 0x39, 0x39, 0x39}},
        {"[policy]\nidle = isolate\nfar_end = leave\n", {0x19, 0x31, 0x39, 0x39, 0x39, 0x39, 0x39, 0x39}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        simulated_text(SETTINGS, cases[i].settings);
        open_to_look();
        take(VM_A, "01");
        assert_required(cases[i].required);
        restart(state);
    }
}

/* Bits 1 and 2 of each card are external. */
static void test_required_of_external_links(void **state)
{
    static const struct {
        const char *policy;
        uint32_t required[CARDS];
    } cases[] = {
        {"", {0x1f, 0x37, 0x18, 0x30, 0, 0, 0x1, 0x1}},
        {"far_end = leave\n", {0x1f, 0x37}},
        {"external = cut\nidle = isolate\n", {0x1f, 0x37, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f}},
        {"external = leave\n", {0x19, 0x31, 0x18, 0x30, 0, 0, 0x1, 0x1}},
        {"external = leave\nidle = isolate\n", {0x19, 0x31, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char settings[128];
        snprintf(settings, sizeof settings, "[registers]\nlinks = 0x3f\n[policy]\n%s", cases[i].policy);
        simulated_text(SETTINGS, settings);
        open_to_look();
        take(VM_A, "01");
        assert_required(cases[i].required);
        restart(state);
    }
}

/* From the register to the register and back: link 1 was cut before us, link 2 was open.  What is left is left as
 * it was, for the owner as for the host. */
static void test_external_links_from_start_to_end(void **state)
{
    static const struct {
        const char *policy;
        uint32_t isolated;
    } cases[] = {{"", 0x3f}, {"external = leave\n", 0x3b}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char settings[128];
        snprintf(settings, sizeof settings, "[registers]\nlinks = 0x3f\n[policy]\n%s", cases[i].policy);
        simulated_text(SETTINGS, settings);
        set_masks((const uint32_t[CARDS]){0x02});
        open_to_change();
        take(VM_A, "0");
        decide(INTENT_START);
        write_plan();
        assert_masks((const uint32_t[CARDS]){cases[i].isolated, 0x08, 0x08, 0x10, 0, 0, 0x01, 0});
        assert_int_equal(policy_expected(&session, 0), cases[i].isolated);
        assert_memory(&session, 0, "2/2/-");
        state_remember(&session.state, session.machine->card[0])->written = cases[i].isolated;
        memset(turn.near, 0, sizeof turn.near);
        give_back(VM_A);
        session_forget_readings(&session);
        decide(INTENT_END);
        write_plan();
        assert_int_equal(session_memory(&session, 0)->original, 0x02);
        session_look_at_all(&session);
        assert_int_equal(policy_expected(&session, 0), 0x02);
        assert_masks((const uint32_t[CARDS]){0x02, 0x08, 0x08, 0x10, 0, 0, 0x01, 0});
        restart(state);
    }
}

/* With the record lost, a cut of an external link is ours only if we make such cuts. */
static void test_originals_of_external_links(void **state)
{
    for (int leave = 0; leave < 2; leave++) {
        simulated_text(SETTINGS, leave ? "[registers]\nlinks = 0x3b\n[policy]\nexternal = leave\n"
                                       : "[registers]\nlinks = 0x3b\n");
        set_masks((const uint32_t[CARDS]){0x3b});
        open_to_look();
        take(VM_A, "0");
        turn.late = true;
        decide(INTENT_START);
        assert_memory(&session, 0, leave ? "2/3b/-" : "0/3b/-");
        restart(state);
    }
}

/* Nobody's link may lead to a card that somebody unknown, or more than one domain, has. */
static void test_required_beside_odd_owners(void **state)
{
    (void)state;
    scene_hold(6);
    open_to_look();
    assert_required((const uint32_t[CARDS]){0x01, 0, 0, 0, 0x08, 0x10, 0x39, 0x08});
    take(VM_A, "0");
    take(VM_B, "01");
    assert_int_equal(policy_required(&session, 0), 0x39);
    assert_int_equal(policy_required(&session, 1), 0x39);
}

/* An idle card is expected to have its own cuts too, one of a domain is not. */
static void test_expected(void **state)
{
    (void)state;
    scene_memory(0, 0x20, 0x39);
    scene_memory(2, 0xffffff20, 0x39);
    open_to_look();
    take(VM_A, "01");
    assert_int_equal(policy_expected(&session, 0), 0x19);
    assert_int_equal(policy_expected(&session, 2), 0x38);
    assert_int_equal(policy_expected(&session, 3), 0x30);
    assert_int_equal(policy_expected(&session, 4), 0);
}

/* -- Debts --------------------------------------------------------------------- */

static void test_debts(void **state)
{
    static const struct {
        uint64_t original;
        uint64_t written;
        int64_t mask;      /* as read; -1: not read */
        const char *owned; /* by a domain */
        bool owes;
        uint32_t owed;
    } cases[] = {
        {0, 0x39, -1, "", true, 0},        {0x8, 0x39, -1, "", true, 0x8},
        {0, 0x39, 0x1, "", true, 0},       {0, 0x39, 0x0, "", false, 0}, /* it was paid, by whatever means */
        {0, 0x1, 0x38, "", false, 0},                                    /* cuts of somebody else */
        {0x39, 0x39, -1, "", false, 0},                                  /* they were there before */
        {NOTHING, 0x39, -1, "", false, 0},                               /* nobody knows what it had */
        {0, NOTHING, -1, "", false, 0},                                  /* nothing was written */
        {0, 0x39, -1, "0", false, 0},                                    /* it has an owner */
        {0, 0x1, -1, "6", false, 0},                                     /* the cut is required */
        {0, 0x39, -1, "6", true, 0x1},                                   /* … but the others are not */
        {0, UINT32_MAX, -1, "", true, 0},                                /* what 0.1 wrote is not known */
        {0, 0xffffffc6, -1, "", false, 0},                               /* bits that are no links */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t owed = 77;
        scene_memory(0, cases[i].original, cases[i].written);
        open_to_look();
        take(VM_A, cases[i].owned);
        if (cases[i].mask >= 0) {
            session.cards[0].was_read = true;
            session.cards[0].reading = (struct reading){.kind = READING_FINE, .mask = (uint32_t)cases[i].mask};
        }
        if (policy_owes(&session, 0, &owed) != cases[i].owes) {
            fail_msg("case %zu", i);
        }
        assert_int_equal(owed, cases[i].owes ? cases[i].owed : 77);
        assert_false(policy_owes(&session, 1, &owed));
        restart(state);
    }
}

/* -- What is learnt of a card before it is written ------------------------------- */

/* An original is what was there, without what its owners of before needed. */
static void test_originals_of_a_start(void **state)
{
    (void)state;
    set_masks((const uint32_t[CARDS]){0xff000008, 0, 0x20});
    open_to_look();
    take(VM_A, "01");
    decide(INTENT_START);
    assert_memory(&session, 0, "8/8/-");
    assert_memory(&session, 1, "0/0/-");
    assert_memory(&session, 2, "20/20/-");
    assert_memory(&session, 3, "0/0/-");
    assert_memory(&session, 4, "-/-/-");
}

static void test_originals_are_kept(void **state)
{
    (void)state;
    scene_memory(0, 0x10, 0x39);
    scene_memory(1, NOTHING, 0x39);
    scene_memory(2, 0x8, NOTHING);
    set_masks((const uint32_t[CARDS]){0x1, 0x1, 0x1});
    open_to_look();
    take(VM_A, "01");
    decide(INTENT_START);
    assert_memory(&session, 0, "10/39/-");
    assert_memory(&session, 1, "-/39/-");
    assert_memory(&session, 2, "8/-/-");
}

/* Cuts that another domain's card demands are not the register's own. */
static void test_originals_are_without_the_cuts_of_others(void **state)
{
    (void)state;
    running("b", VM_B, "2", 102);
    set_masks((const uint32_t[CARDS]){0x9, 0x11, 0x39, 0x8, 0x1});
    open_to_look();
    take(VM_A, "01");
    decide(INTENT_START);
    assert_memory(&session, 0, "1/9/-");
    assert_memory(&session, 1, "1/11/-");
    assert_memory(&session, 2, "-/-/-");
    assert_memory(&session, 3, "0/8/-");
    assert_memory(&session, 4, "-/-/-");
}

/* Isolated already, and the record is lost: its own cuts are taken to be ours. */
static void test_originals_of_a_late_record(void **state)
{
    static const char *const learnt[][2] = {
        /* at once, late */
        {"19/19/-", "0/19/-"}, {"31/31/-", "0/31/-"}, {"18/18/-", "0/18/-"},  {"30/30/-", "0/30/-"},
        {"-/-/-", "-/-/-"},    {"-/-/-", "-/-/-"},    {"21/21/-", "20/21/-"}, {"1/1/-", "0/1/-"},
    };
    for (int late = 0; late < 2; late++) {
        set_masks((const uint32_t[CARDS]){0x19, 0x31, 0x18, 0x30, 0, 0, 0x21, 0x1});
        open_to_look();
        take(VM_A, "01");
        turn.late = late == 1;
        decide(INTENT_START);
        for (int ppu = 0; ppu < CARDS; ppu++) {
            assert_memory(&session, ppu, learnt[ppu][late]);
        }
        restart(state);
    }
}

static void test_no_original_of_a_card_that_is_not_read(void **state)
{
    (void)state;
    scene_bind(addresses[0], "ppu", 1);
    open_to_look();
    take(VM_A, "0");
    decide(INTENT_START);
    assert_memory(&session, 0, "-/-/-");
    assert_memory(&session, 1, "0/0/-");
}

/* Cards that are only looked at are not going to be written. */
static void test_no_original_of_a_card_that_is_only_looked_at(void **state)
{
    (void)state;
    open_to_look();
    take(VM_A, "01");
    decide(INTENT_WATCH);
    assert_memory(&session, 0, "0/0/-");
    assert_memory(&session, 2, "-/-/-");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_golden_masks),
        EACH(test_required_of_every_policy),
        EACH(test_required_of_external_links),
        EACH(test_external_links_from_start_to_end),
        EACH(test_originals_of_external_links),
        EACH(test_required_beside_odd_owners),
        EACH(test_expected),
        EACH(test_debts),
        EACH(test_originals_of_a_start),
        EACH(test_originals_are_kept),
        EACH(test_originals_are_without_the_cuts_of_others),
        EACH(test_originals_of_a_late_record),
        EACH(test_no_original_of_a_card_that_is_not_read),
        EACH(test_no_original_of_a_card_that_is_only_looked_at),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
