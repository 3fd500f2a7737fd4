/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "scene.h"

static struct session session;
static struct turn turn;
static struct error err;

/* The cards that were woken, as ids; they are all awake here. */
static char woken[CARDS + 1];

void __wrap_registers_wake(struct registers *registers, const struct bdf bdfs[], size_t count);
void __wrap_registers_wake(struct registers *registers, const struct bdf bdfs[], size_t count)
{
    assert_ptr_equal(registers, &session.registers);
    for (size_t i = 0; i < count; i++) {
        woken[i] = (char)('0' + machine_ppu_at(session.machine, bdfs[i]));
    }
    woken[count] = '\0';
}

static int start(void **state)
{
    snprintf(woken, sizeof woken, "nobody");
    session = (struct session){.state = STATE_CLOSED};
    turn = (struct turn){.intent = INTENT_LOOK};
    err = (struct error){0};
    return scene_start(state);
}

static int stop(void **state)
{
    (void)state;
    session_close(&session);
    return 0;
}

static void look(void)
{
    scene_session(&session, SESSION_LOOK);
}

/* The domain owns PPUS, which are the turn's. */
static void take(const char *uuid, const char *ppus)
{
    const struct owner *owner = owners_find(&session.owners, uuid);
    owner = owner ? owner : owners_add(&session.owners, OWNER_KIND_VM, uuid, "x");
    for (; *ppus != '\0'; ppus++) {
        owners_give(&session.owners, owner, *ppus - '0', true);
        turn.near[*ppus - '0'] = true;
    }
}

/* The domain loses all its cards. */
static void give_back(const char *uuid)
{
    const struct owner *owner = owners_find(&session.owners, uuid);
    for (int ppu = 0; ppu < CARDS; ppu++) {
        turn.given_back[ppu] |= owners_has(&session.owners, owner, ppu);
    }
    owners_take_back(&session.owners, owner);
}

static void decide(enum intent intent)
{
    turn.intent = intent;
    policy_decide(&session, &turn);
}

static void restart(void **state)
{
    stop(state);
    start(state);
}

/* A domain that runs and holds its cards open. */
static void running(const char *name, const char *uuid, const char *ppus, int pid)
{
    scene_running(name, uuid, ppus, pid);
    for (; *ppus != '\0'; ppus++) {
        scene_hold(*ppus - '0');
    }
}

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
        look();
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
        look();
        take(VM_A, "01");
        assert_required(cases[i].required);
        restart(state);
    }
}

/* Nobody's link may lead to a card that somebody unknown, or more than one domain, has. */
static void test_required_beside_odd_owners(void **state)
{
    (void)state;
    scene_hold(6);
    look();
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
    look();
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
        look();
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
    look();
    assert_done(admit(0, false), &err);
    assert_done(admit(0, true), &err);
}

static void test_admit_own_cards(void **state)
{
    (void)state;
    running("a", VM_A, "01", 101);
    look();
    assert_done(admit(0, false), &err);
}

static void test_refuse_absent_card(void **state)
{
    (void)state;
    simulated_text(SETTINGS, "[map]\n0 = 0000:08:00.0\n1 = 0000:7e:00.0\n");
    simulated_remove("/sys/bus/pci/devices/0000:7e:00.0");
    look();
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
    look();
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
    look();
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
    look();
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
        look();
        session.owners.holdings[0].whole = cases[i].held_whole;
        assert_int_equal(policy_admit(&session, &applicant, 1, cases[i].wants_whole, &err) == 0, cases[i].admitted);
        restart(state);
    }
}

#define STRANGER "PPU 0 (0000:08:00.0) is held open through vfio by a process that is not a known VM; end it or "

static void test_refuse_cards_of_strangers(void **state)
{
    scene_hold(0);
    look();
    assert_refused(0, false, STATUS_CONFLICT, STRANGER "give the VM another card");
    assert_refused(0, true, STATUS_CONFLICT, STRANGER "choose another card");
    restart(state);
    /* Its own claim, from a start that ended badly, is no excuse. */
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .ppus = "0"});
    scene_hold(0);
    look();
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
    look();
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
    look();
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
static const char map[] = "[map]\n0 = 0000:08:00.0\n1 = 0000:7e:00.0\n2 = 0000:a2:00.0\n3 = 0000:c6:00.0\n"
                          "4 = 0001:09:00.0\n5 = 0001:7f:00.0\n6 = 0001:aa:00.0\n7 = 0001:ce:00.0\n";

static void make_neighbours(const char *settings)
{
    char text[512];
    snprintf(text, sizeof text, "%s%s", map, settings);
    simulated_text(SETTINGS, text);
    running("b", VM_B, "2", 102);
    scene_claim(&(struct scene_claim){.name = "c", .uuid = VM_C, .ppus = "3"});
    scene_memory(4, 0, 0x39);
    simulated_remove("/sys/bus/pci/devices/0001:aa:00.0");
    look();
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
    simulated_text(SETTINGS, "[map]\n1 = 0000:7e:00.0\n");
    look();
    decide(INTENT_REPAIR);
    assert_reach(".C......");
}

static void test_nothing_is_planned_when_looking(void **state)
{
    (void)state;
    running("a", VM_A, "01", 101);
    look();
    decide(INTENT_LOOK);
    assert_plan(&session, "");
    assert_true(session_is_read(&session, 7));
}

/* -- A start ------------------------------------------------------------------- */

static void test_start(void **state)
{
    (void)state;
    look();
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
    look();
    take(VM_A, "6");
    decide(INTENT_START);
    assert_plan(&session, "6:0>39 0:0>1 4:0>8 5:0>10 7:0>8");
}

/* What is cut among its own cards is opened; of another card nothing is but debts. */
static void test_start_opens_its_own_links(void **state)
{
    (void)state;
    set_masks((const uint32_t[CARDS]){0x39, 0x39, 0x19, 0x30, 0, 0, 0x1, 0x1});
    look();
    take(VM_A, "01");
    decide(INTENT_START);
    assert_plan(&session, "0:39>19 1:39>31");
}

static void test_start_without_far_ends(void **state)
{
    (void)state;
    simulated_text(SETTINGS, "[policy]\nfar_end = leave\n");
    look();
    take(VM_A, "6");
    decide(INTENT_START);
    assert_plan(&session, "6:0>39");
}

static void test_start_with_isolated_idle_cards(void **state)
{
    (void)state;
    simulated_text(SETTINGS, "[policy]\nidle = isolate\n");
    set_masks((const uint32_t[CARDS]){0x39, 0x39, 0x39, 0x39, 0x39, 0, 0x39, 0x39});
    look();
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
    look();
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
    look();
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
    look();
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
    look();
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
    look();
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
    look();
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
        look();
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
    look();
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
    look();
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
    look();
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
    look();
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
    look();
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
    look();
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
    look();
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
    look();
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
    look();
    decide(INTENT_RESET);
    assert_plan(&session, "0:39>8 1:39>0 4:39>0 5:10>0 7:1>0");
}

static void test_reset_that_isolates(void **state)
{
    (void)state;
    simulated_text(SETTINGS, "[policy]\nidle = isolate\n");
    set_masks((const uint32_t[CARDS]){0x39, 0x39, 0x39, 0x39, 0x39, 0, 0x39, 0x39});
    scene_bind(addresses[4], "ppu", 1);
    look();
    decide(INTENT_RESET);
    assert_plan(&session, "4:0>39 5:0>39");
}

/* -- What is learnt of a card before it is written ------------------------------- */

/* An original is what was there, without what its owners of before needed. */
static void test_originals_of_a_start(void **state)
{
    (void)state;
    set_masks((const uint32_t[CARDS]){0xff000008, 0, 0x20});
    look();
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
    look();
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
    look();
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
        look();
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
    look();
    take(VM_A, "0");
    decide(INTENT_START);
    assert_memory(&session, 0, "-/-/-");
    assert_memory(&session, 1, "0/0/-");
}

/* Cards that are only looked at are not going to be written. */
static void test_no_original_of_a_card_that_is_only_looked_at(void **state)
{
    (void)state;
    look();
    take(VM_A, "01");
    decide(INTENT_WATCH);
    assert_memory(&session, 0, "0/0/-");
    assert_memory(&session, 2, "-/-/-");
}

/* -- Near ends that cannot be used ----------------------------------------------- */

static void test_check_near(void **state)
{
    static const struct {
        enum reading_kind kind;
        bool fine;
    } cases[] = {{READING_FINE, true}, {READING_UNVERIFIABLE, true}, {READING_GONE, false}, {READING_FAILED, false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        look();
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

#define EACH(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_golden_masks),
        EACH(test_required_of_every_policy),
        EACH(test_required_beside_odd_owners),
        EACH(test_expected),
        EACH(test_debts),
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
        EACH(test_originals_of_a_start),
        EACH(test_originals_are_kept),
        EACH(test_originals_are_without_the_cuts_of_others),
        EACH(test_originals_of_a_late_record),
        EACH(test_no_original_of_a_card_that_is_not_read),
        EACH(test_no_original_of_a_card_that_is_only_looked_at),
        EACH(test_check_near),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
