/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/links.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "engine/record.h"
#include "scene.h"

/* Of the vendor's topology these tests use: 0 and 2 are joined by link 3 of both, 0 and 6 by link 0 of
 * both, 0 and 1 by link 5 of 0 and link 3 of 1. */
static struct session session;

static int start(void **state)
{
    session = (struct session){.state = STATE_CLOSED};
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
    session_look_at_all(&session);
}

static void look_again(void)
{
    session_close(&session);
    look();
}

enum { UNREAD = -1 };

/* As if the register had just been read so. */
static void put(int ppu, int64_t mask)
{
    session.cards[ppu].was_read = true;
    session.cards[ppu].reading = (struct reading){
        .kind = mask == UNREAD ? READING_UNVERIFIABLE : READING_FINE, .mask = (uint32_t)mask, .why = "nobody knows"};
}

static void own(const char *uuid, const char *ppus)
{
    const struct owner *owner = owners_find(&session.owners, uuid);
    owner = owner ? owner : owners_add(&session.owners, OWNER_KIND_VM, uuid, uuid);
    for (; *ppus != '\0'; ppus++) {
        owners_give(&session.owners, owner, *ppus - '0', true);
    }
}

/* A domain that runs and holds its cards open, with what was read back for it. */
static void running(const char *name, const char *uuid, const char *ppus, int pid)
{
    scene_running(name, uuid, ppus, pid);
    for (; *ppus != '\0'; ppus++) {
        scene_hold(*ppus - '0');
    }
}

static void gate(int ppu, uint32_t mask, int64_t at, const char *uuid)
{
    scene_evidence(ppu, mask, at, (const char *const[]){uuid, NULL});
}

static void test_words(void **state)
{
    (void)state;
    assert_string_equal(verdict_evidence_text(VERDICT_PROVEN), "proven");
    assert_string_equal(verdict_evidence_text(VERDICT_GATED), "gated");
    assert_string_equal(verdict_evidence_text(VERDICT_UNVERIFIED), "unverified");
    assert_string_equal(verdict_evidence_text(VERDICT_LEAK), "unverified");
    assert_null(verdict_evidence_text(VERDICT_OPEN));
    assert_null(verdict_evidence_text(VERDICT_CUT));
}

/* -- One link as read ------------------------------------------------------------ */

static void test_ends_and_life(void **state)
{
    enum { OPEN = 0, CUT = 1, UNKNOWN = 2 };
    static const int64_t masks[] = {[OPEN] = 0x31, [CUT] = 0x08, [UNKNOWN] = UNREAD};
    static const struct {
        int near;
        int far;
        enum link_live live;
    } cases[] = {
        {OPEN, OPEN, LIVE_YES},  {OPEN, CUT, LIVE_NO},          {CUT, OPEN, LIVE_NO},
        {CUT, CUT, LIVE_NO},     {OPEN, UNKNOWN, LIVE_UNKNOWN}, {UNKNOWN, OPEN, LIVE_UNKNOWN},
        {UNKNOWN, CUT, LIVE_NO}, {CUT, UNKNOWN, LIVE_NO},       {UNKNOWN, UNKNOWN, LIVE_UNKNOWN},
    };
    static const enum link_end ends[] = {[OPEN] = END_OPEN, [CUT] = END_CUT, [UNKNOWN] = END_UNKNOWN};
    (void)state;
    look();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        put(0, masks[cases[i].near]);
        put(2, masks[cases[i].far]);
        struct link_view view = link_look(&session, 0, 3);
        assert_int_equal(view.ppu, 0);
        assert_int_equal(view.link, 3);
        assert_int_equal(view.peer, 2);
        assert_int_equal(view.near, ends[cases[i].near]);
        assert_int_equal(view.far, ends[cases[i].far]);
        assert_int_equal(view.live, cases[i].live);
        assert_true(view.allowed);
        assert_int_equal(link_look(&session, 2, 3).live, cases[i].live);
    }
}

/* 0 and 1 joined by the parallel links 0 and 1 of each: which end belongs to which is not known. */
static void make_parallel_links(void)
{
    struct topology *topology = &session.machine->topology;
    topology_clear(topology, CARDS);
    for (int link = 0; link < 2; link++) {
        topology->peer[0][link] = 1;
        topology->peer[1][link] = 0;
    }
}

static void test_far_end_of_parallel_links(void **state)
{
    static const struct {
        int64_t mask;
        enum link_end end;
    } cases[] = {{0x0, END_OPEN}, {0x1, END_OPEN}, {0x2, END_OPEN},      {0x3, END_CUT},
                 {0x4, END_OPEN}, {0x7, END_CUT},  {UNREAD, END_UNKNOWN}};
    (void)state;
    look();
    make_parallel_links();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        put(1, cases[i].mask);
        assert_int_equal(link_look(&session, 0, 0).far, cases[i].end);
        assert_int_equal(link_look(&session, 0, 1).far, cases[i].end);
    }
}

/* -- Verdicts -------------------------------------------------------------------- */

/* A link that may be open. */
static void test_allowed(void **state)
{
    static const struct {
        int64_t near;
        int64_t far;
        enum verdict verdict;
    } cases[] = {
        {0, 0, VERDICT_OPEN},
        {0x08, 0, VERDICT_NEEDLESS},
        {0, 0x08, VERDICT_NEEDLESS},
        {UNREAD, 0, VERDICT_UNREAD},
        {UNREAD, UNREAD, VERDICT_UNREAD},
        {UNREAD, 0x08, VERDICT_NEEDLESS},
        {0x08, UNREAD, VERDICT_NEEDLESS},
    };
    for (int owned = 0; owned < 2; owned++) {
        look();
        own(VM_A, owned == 1 ? "02" : "");
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            put(0, cases[i].near);
            put(2, cases[i].far);
            assert_int_equal(link_look(&session, 0, 3).verdict, cases[i].verdict);
            assert_int_equal(link_look(&session, 2, 3).verdict, cases[i].verdict);
            assert_int_equal(link_look(&session, 0, 3).since, 0);
        }
        stop(state);
        start(state);
    }
}

/* A cut between idle cards that the policy or the time before us wants. */
static void test_expected_cuts(void **state)
{
    (void)state;
    scene_memory(0, 0x08, 0x08);
    scene_memory(4, 0x01, 0x39);
    look();
    put(0, 0x08);
    put(2, 0);
    assert_int_equal(link_look(&session, 0, 3).verdict, VERDICT_CUT);
    assert_int_equal(link_look(&session, 2, 3).verdict, VERDICT_CUT);
    put(0, 0);
    put(2, 0x08);
    assert_int_equal(link_look(&session, 0, 3).verdict, VERDICT_NEEDLESS); /* the other end's */
    assert_int_equal(link_look(&session, 2, 3).verdict, VERDICT_NEEDLESS);
    put(4, 0x38);
    assert_int_equal(link_look(&session, 4, 3).verdict, VERDICT_NEEDLESS); /* another link's */
    session.machine->settings.idle = IDLE_ISOLATE;
    assert_int_equal(link_look(&session, 2, 3).verdict, VERDICT_CUT);
    own(VM_A, "02");
    assert_int_equal(link_look(&session, 2, 3).verdict, VERDICT_NEEDLESS);
}

/*
 * A link that must be cut, between card 0 of VM a and card 2.  What is read as cut proves it while no guest holds
 * that card; held, it is worth a read-back.
 */
static const struct required_case {
    int64_t near;
    bool near_held;
    uint32_t near_gate; /* 0: none */
    int64_t far;
    bool far_held;
    uint32_t far_gate;
    enum verdict verdict;
} required_cases[] = {
    {0, false, 0, 0, false, 0, VERDICT_LEAK},
    {0x08, false, 0, 0, false, 0, VERDICT_PROVEN},
    {0, false, 0, 0x08, false, 0, VERDICT_PROVEN},
    {0x08, false, 0, UNREAD, true, 0, VERDICT_PROVEN},
    {UNREAD, true, 0, 0x08, false, 0, VERDICT_PROVEN},
    {UNREAD, true, 0x39, 0x08, false, 0, VERDICT_PROVEN},
    {0x08, true, 0, 0, false, 0, VERDICT_GATED},
    {UNREAD, true, 0x39, 0, false, 0, VERDICT_GATED},
    {UNREAD, true, 0x08, UNREAD, true, 0, VERDICT_GATED},
    {UNREAD, true, 0, UNREAD, true, 0x08, VERDICT_GATED},
    {UNREAD, true, 0x08, UNREAD, true, 0x08, VERDICT_GATED},
    {UNREAD, true, 0x31, 0, false, 0, VERDICT_UNVERIFIED}, /* of other links */
    {UNREAD, true, 0, 0, false, 0, VERDICT_UNVERIFIED},
    {UNREAD, true, 0, UNREAD, true, 0, VERDICT_UNVERIFIED},
    {UNREAD, false, 0, UNREAD, false, 0, VERDICT_UNVERIFIED},
    {0, false, 0x39, 0, false, 0, VERDICT_LEAK}, /* what is read now counts, not what was */
    {0, false, 0x39, UNREAD, true, 0, VERDICT_UNVERIFIED},
};

static void test_required(void **state)
{
    for (size_t i = 0; i < sizeof required_cases / sizeof required_cases[0]; i++) {
        const struct required_case *wanted = &required_cases[i];
        start(state);
        if (wanted->near_gate != 0) {
            gate(0, wanted->near_gate, 4711, VM_A);
        }
        if (wanted->far_gate != 0) {
            gate(2, wanted->far_gate, 4712, VM_B);
        }
        look();
        own(VM_A, "0");
        own(VM_B, "2");
        session.owners.held[0] = wanted->near_held;
        session.owners.held[2] = wanted->far_held;
        put(0, wanted->near);
        put(2, wanted->far);
        struct link_view near = link_look(&session, 0, 3);
        struct link_view far = link_look(&session, 2, 3);
        if (near.verdict != wanted->verdict || far.verdict != wanted->verdict) {
            fail_msg("case %zu: %d, and %d from the other end", i, near.verdict, far.verdict);
        }
        assert_false(near.allowed);
        assert_int_equal(near.since, far.since);
        assert_int_equal(near.since != 0, wanted->verdict == VERDICT_GATED);
        stop(state);
    }
    start(state);
}

/* When it was read back: of both ends the younger. */
static void test_since(void **state)
{
    static const int64_t cases[][3] = {{4711, 0, 4711}, {0, 4712, 4712}, {4711, 4712, 4712}, {4713, 4712, 4713}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        start(state);
        if (cases[i][0] != 0) {
            gate(0, 0x39, cases[i][0], VM_A);
        }
        if (cases[i][1] != 0) {
            gate(2, 0x39, cases[i][1], VM_B);
        }
        running("a", VM_A, "0", 101);
        running("b", VM_B, "2", 102);
        look();
        assert_int_equal(link_look(&session, 0, 3).verdict, VERDICT_GATED);
        assert_int_equal(link_look(&session, 0, 3).since, cases[i][2]);
        assert_int_equal(link_look(&session, 2, 3).since, cases[i][2]);
        stop(state);
    }
    start(state);
}

/* What was read back for others, or for fewer, or for more, says nothing of today's owners. */
static void test_evidence_is_void_when_owners_change(void **state)
{
    static const struct {
        const char *uuids[3]; /* ascending */
        const char *owners[2];
        bool counts;
    } cases[] = {
        {{VM_A}, {VM_A}, true},
        {{VM_B}, {VM_A}, false},
        {{VM_B, VM_A}, {VM_A}, false},
        {{VM_A}, {VM_A, VM_B}, false},
        {{VM_B, VM_A}, {VM_A, VM_B}, true},
        {{VM_A}, {NULL}, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t mask = 77;
        int64_t at = 77;
        start(state);
        scene_evidence(0, 0x39, 4711, cases[i].uuids);
        look();
        for (size_t k = 0; k < 2 && cases[i].owners[k]; k++) {
            own(cases[i].owners[k], "0");
        }
        own(VM_C, "2");
        put(0, UNREAD);
        put(2, 0);
        if ((link_look(&session, 0, 3).verdict == VERDICT_GATED) != cases[i].counts) {
            fail_msg("case %zu", i);
        }
        assert_int_equal(links_gate(&session, 0, &mask, &at), cases[i].counts);
        assert_int_equal(mask, cases[i].counts ? 0x39 : 77);
        assert_int_equal(at, cases[i].counts ? 4711 : 77);
        stop(state);
    }
    start(state);
}

/* An unknown holder may be anybody: nothing can have been read back for it. */
static void test_no_evidence_for_strangers(void **state)
{
    uint32_t mask;
    int64_t at;
    (void)state;
    scene_hold(0);
    scene_evidence(0, 0x39, 4711, (const char *const[]){NULL});
    look();
    assert_owners(&session, "?.......");
    assert_false(links_gate(&session, 0, &mask, &at));
    assert_int_equal(link_look(&session, 0, 3).verdict, VERDICT_UNVERIFIED);
}

/* … nor for a card that was given to vfio anew since: it was unplugged, and may have been reset. */
static void test_no_evidence_from_before_it_was_bound(void **state)
{
    static const int64_t seconds_later[] = {-100, 100};
    for (size_t i = 0; i < 2; i++) {
        start(state);
        running("a", VM_A, "0", 101);
        running("b", VM_B, "2", 102);
        simulated_link("/sys/bus/pci/devices/0000:08:00.0/iommu_group", "../../../kernel/iommu_groups/14");
        simulated_text("/dev/vfio/14", "");
        gate(0, 0x39, time(NULL) + seconds_later[i], VM_A);
        look();
        assert_int_equal(link_look(&session, 0, 3).verdict, seconds_later[i] > 0 ? VERDICT_GATED : VERDICT_UNVERIFIED);
        assert_int_equal(links_no_gate(&session, 0), seconds_later[i] < 0);
        stop(state);
    }
    start(state);
}

/* The whole path: isolate, read back, QEMU opens the cards. */
static void test_evidence_from_the_gate(void **state)
{
    struct turn turn = {.intent = INTENT_START, .near = {[0] = true}};
    struct error err = {0};
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .daemon = DAEMON_HERE, .ppus = "0"});
    scene_session(&session, SESSION_CHANGE);
    policy_decide(&session, &turn);
    assert_done(record_intent(&session, &turn, &err), &err);
    assert_done(session_write(&session, turn.given_back, false, false, &err), &err);
    assert_done(record_result(&session, &turn, true, &err), &err);
    session_close(&session);
    running("a", VM_A, "0", 101);
    look();
    assert_int_equal(link_look(&session, 0, 3).verdict, VERDICT_PROVEN); /* by card 2, which is idle */
    put(2, UNREAD);
    assert_int_equal(link_look(&session, 0, 3).verdict, VERDICT_GATED);
}

/* -- Pairs ----------------------------------------------------------------------- */

static void assert_pair(int wired, int open, bool is_read, bool allowed, enum verdict verdict)
{
    for (int a = 0; a < 2; a++) {
        struct pair pair = pair_look(&session, a, 1 - a);
        assert_int_equal(pair.wired, wired);
        assert_int_equal(pair.open, open);
        assert_int_equal(pair.is_read, is_read);
        assert_int_equal(pair.allowed, allowed);
        assert_int_equal(pair.verdict, verdict);
    }
}

static void test_pairs(void **state)
{
    (void)state;
    look();
    make_parallel_links();
    put(0, 0);
    put(1, 0);
    assert_pair(2, 2, true, true, VERDICT_OPEN);
    put(0, 0x1);
    assert_pair(2, 1, true, true, VERDICT_NEEDLESS);
    put(1, 0x2);
    assert_pair(2, 1, true, true, VERDICT_NEEDLESS);
    put(1, 0x3);
    assert_pair(2, 0, true, true, VERDICT_NEEDLESS);
    put(0, 0x1);
    put(1, UNREAD);
    assert_pair(2, 1, false, true, VERDICT_UNREAD);
    put(0, 0x3);
    assert_pair(2, 0, true, true, VERDICT_NEEDLESS);
    own(VM_A, "0");
    own(VM_B, "1");
    assert_pair(2, 0, true, false, VERDICT_PROVEN);
    put(0, 0x1);
    assert_pair(2, 1, false, false, VERDICT_UNVERIFIED);
    put(0, 0);
    put(1, 0x3);
    assert_pair(2, 0, true, false, VERDICT_PROVEN);
    put(1, 0x1);
    assert_pair(2, 1, true, false, VERDICT_LEAK);
    put(0, 0x2);
    put(1, 0x2);
    assert_pair(2, 1, true, false, VERDICT_LEAK);
    session.owners.held[0] = true;
    put(0, 0x3);
    put(1, UNREAD);
    assert_pair(2, 0, true, false, VERDICT_GATED);
}

/* One of two links was cut before we came: the other one is open, and all is well. */
static void test_pair_that_is_partly_expected(void **state)
{
    (void)state;
    scene_memory(0, 0x1, 0x1);
    scene_memory(1, 0x1, 0x1);
    look();
    make_parallel_links();
    put(0, 0x1);
    put(1, 0x1);
    assert_pair(2, 1, true, true, VERDICT_OPEN);
}

static void test_pair_without_a_link(void **state)
{
    (void)state;
    look();
    struct pair pair = pair_look(&session, 0, 7);
    assert_int_equal(pair.wired, 0);
    assert_int_equal(pair.open, 0);
    assert_true(pair.is_read);
}

/* -- Coverage -------------------------------------------------------------------- */

static void assert_coverage(int required, int proven, int gated, int unverified, int leaks)
{
    struct coverage coverage = coverage_count(&session);
    assert_int_equal(coverage.required, required);
    assert_int_equal(coverage.proven, proven);
    assert_int_equal(coverage.gated, gated);
    assert_int_equal(coverage.unverified, unverified);
    assert_int_equal(coverage.leaks, leaks);
    assert_int_equal(coverage.required, coverage.proven + coverage.gated + coverage.unverified);
}

static void test_coverage_of_an_idle_host(void **state)
{
    (void)state;
    look();
    assert_coverage(0, 0, 0, 0, 0);
    assert_int_equal(coverage_count(&session).gated_since, 0);
}

/* Each link once, though it has two ends; a leak is one of the unverified. */
static void test_coverage(void **state)
{
    (void)state;
    set_masks((const uint32_t[CARDS]){[2] = 0x18, [6] = 0x01});
    gate(0, 0x10, 4711, VM_A); /* link 4, to 3 */
    gate(1, 0x20, 4722, VM_A); /* link 5, to 3 */
    running("a", VM_A, "01", 101);
    look();
    put(7, UNREAD);
    /* 0-6, 0-2, 1-2 proven; 0-3, 1-3 gated; 1-7 nothing */
    assert_coverage(6, 3, 2, 1, 0);
    struct coverage coverage = coverage_count(&session);
    assert_int_equal(coverage.gated_since, 4711);
    assert_int_equal(coverage.gated_until, 4722);
    session.owners.held[0] = session.owners.held[1] = false;
    put(0, 0);
    put(1, 0x20);
    put(2, 0x08);
    /* 0-3 and 1-2 leak, 1-7 is open at one end */
    assert_coverage(6, 3, 0, 3, 2);
}

static void test_missing(void **state)
{
    (void)state;
    running("a", VM_A, "01", 101);
    set_masks((const uint32_t[CARDS]){0, 0, 0x18, 0x20, 0x01, 0, 0x38, 0x01});
    look();
    assert_int_equal(links_missing(&session, 0), 0); /* held: not read */
    assert_int_equal(links_missing(&session, 2), 0);
    assert_int_equal(links_missing(&session, 3), 0x10);
    assert_int_equal(links_missing(&session, 4), 0);
    assert_int_equal(links_missing(&session, 6), 0x01);
    session.machine->settings.far_end = FAR_END_LEAVE;
    assert_int_equal(links_missing(&session, 3), 0);
}

static void test_no_gate(void **state)
{
    (void)state;
    running("a", VM_A, "01", 101);
    scene_claim(&(struct scene_claim){.name = "b", .uuid = VM_B, .ppus = "5"});
    gate(1, 0x08, 4711, VM_A); /* whatever was read back then */
    look();
    assert_true(links_no_gate(&session, 0));
    assert_false(links_no_gate(&session, 1));
    assert_false(links_no_gate(&session, 2));
    assert_false(links_no_gate(&session, 5)); /* it does not run yet */
    put(0, 0x19);
    assert_false(links_no_gate(&session, 0)); /* it can be read, so nothing is hidden */
}

/* -- What is noted, and the judgement --------------------------------------------- */

static void test_nothing_is_wrong(void **state)
{
    (void)state;
    look();
    links_find(&session);
    assert_notes(&session.notes, "");
    assert_int_equal(links_judge(&session), STATUS_OK);
}

static void test_isolated_and_gated(void **state)
{
    (void)state;
    running("a", VM_A, "01", 101);
    gate(0, 0x19, 4711, VM_A);
    gate(1, 0x31, 4711, VM_A);
    set_masks((const uint32_t[CARDS]){0, 0, 0x18, 0x30, 0, 0, 0x1, 0x1});
    look();
    links_find(&session);
    assert_notes(&session.notes, "");
    assert_int_equal(links_judge(&session), STATUS_OK);
}

#define UNVERIFIED(a, b)                                                                                               \
    "warning unverified: the link between " a " and " b " must be cut (owners: a / b), and nothing shows that it is"
#define PPU_0 "PPU 0 (0000:08:00.0)"
#define PPU_2 "PPU 2 (0000:a2:00.0)"
#define HELD ": resource0 cannot be mapped now: a driver or QEMU holds the card's registers (EINVAL)"
#define NO_GATE(vm, card)                                                                                              \
    "warning no-gate: VM '" vm "' runs with " card ", which was not read back for it before QEMU opened it: plugged "  \
    "in while it ran, started without the hook, or by an older icn-hook; restart the VM to have its cuts verified"

static void test_unverified(void **state)
{
    (void)state;
    running("a", VM_A, "0", 101);
    running("b", VM_B, "2", 102);
    gate(2, 0x31, 4711, VM_B);
    set_masks((const uint32_t[CARDS]){0, 0x18, 0, 0x18, 0x01, 0, 0x01, 0});
    look();
    links_find(&session);
    assert_notes(&session.notes, UNVERIFIED(PPU_0, PPU_2) "\ninfo card: " PPU_0 HELD "\n" NO_GATE("a", PPU_0));
    assert_int_equal(session.notes.items[0].ppu, 0);
    assert_string_equal(session.notes.items[2].vm, "a");
    assert_int_equal(links_judge(&session), STATUS_UNVERIFIED);
}

/* All links are cut, but one card was never read back: what its guest could do before is not known. */
static void test_judgement_without_a_gate(void **state)
{
    (void)state;
    running("a", VM_A, "0", 101);
    set_masks((const uint32_t[CARDS]){0, 0x08, 0x08, 0x10, 0, 0, 0x01, 0});
    look();
    assert_coverage(4, 4, 0, 0, 0);
    assert_int_equal(links_judge(&session), STATUS_UNVERIFIED);
}

static void test_leak(void **state)
{
    (void)state;
    scene_running("a", VM_A, "0", 101);
    set_masks((const uint32_t[CARDS]){0x31, 0x08, 0, 0x10, 0, 0, 0x01, 0});
    look();
    links_find(&session);
    assert_notes(&session.notes,
                 "error leak: LEAK: a link between " PPU_0 " and " PPU_2 " is open on both sides; owners: a / idle; "
                 "stop the VM\n"
                 "error cut-missing: " PPU_0 " lacks cuts: mask 0x00000031, required 0x00000039; icn-hook repair makes "
                 "them\n"
                 "error cut-missing: " PPU_2 " lacks cuts: mask 0x00000000, required 0x00000008; icn-hook repair makes "
                 "them");
    assert_int_equal(links_judge(&session), STATUS_CHECK_FAILED);
}

/* One end is cut, but a guest may be able to open it again. */
static void test_cut_that_is_missing(void **state)
{
    (void)state;
    scene_running("a", VM_A, "0", 101);
    set_masks((const uint32_t[CARDS]){0x39, 0x08, 0, 0x10, 0, 0, 0x01, 0});
    look();
    links_find(&session);
    assert_notes(&session.notes, "error cut-missing: " PPU_2 " lacks cuts: mask 0x00000000, required 0x00000008; "
                                 "icn-hook repair makes them");
    assert_int_equal(links_judge(&session), STATUS_CHECK_FAILED);
}

static void test_debt(void **state)
{
    (void)state;
    scene_memory(4, 0x8, 0x39);
    set_masks((const uint32_t[CARDS]){[4] = 0x39});
    look();
    links_find(&session);
    assert_notes(&session.notes, "warning owed: PPU 4 (0001:09:00.0) is owed the mask 0x00000008, which could not be "
                                 "given back yet; icn-hook repair does it as soon as its registers can be written");
    assert_int_equal(links_judge(&session), STATUS_OK);
}

static void test_cards_that_are_not_there(void **state)
{
    (void)state;
    simulated_text(SETTINGS, "[map]\n0 = 0000:08:00.0\n1 = 0009:00:00.0\n2 = 0000:a2:00.0\n3 = 0000:c6:00.0\n"
                             "4 = 0001:09:00.0\n5 = 0001:7f:00.0\n6 = 0001:aa:00.0\n");
    scene_bind(addresses[3], "ppu", 1);
    look();
    links_find(&session);
    assert_notes(&session.notes, "warning card: PPU 1 (0009:00:00.0) is not on the PCI bus\n"
                                 "info card: PPU 3 (0000:c6:00.0)" HELD "\n"
                                 "warning card: PPU 7 has no card: no line of [map] names it");
    assert_int_equal(links_judge(&session), STATUS_OK);
}

/* Nothing at all could be seen: that is not "fine". */
static void test_judgement_of_nothing(void **state)
{
    (void)state;
    for (int ppu = 0; ppu < CARDS; ppu++) {
        scene_bind(addresses[ppu], "ppu", 1);
    }
    look();
    assert_int_equal(links_judge(&session), STATUS_UNVERIFIED);
}

static void test_judgement_in_doubt(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .ppus = "0"});
    simulated_text(CLAIM_OF(VM_A), "{");
    look();
    assert_int_equal(links_judge(&session), STATUS_CHECK_FAILED);
    simulated_remove(CLAIM_OF(VM_A));
    look_again();
    assert_int_equal(links_judge(&session), STATUS_OK);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_words),
        EACH(test_ends_and_life),
        EACH(test_far_end_of_parallel_links),
        EACH(test_allowed),
        EACH(test_expected_cuts),
        EACH(test_required),
        EACH(test_since),
        EACH(test_evidence_is_void_when_owners_change),
        EACH(test_no_evidence_for_strangers),
        EACH(test_no_evidence_from_before_it_was_bound),
        EACH(test_evidence_from_the_gate),
        EACH(test_pairs),
        EACH(test_pair_that_is_partly_expected),
        EACH(test_pair_without_a_link),
        EACH(test_coverage_of_an_idle_host),
        EACH(test_coverage),
        EACH(test_missing),
        EACH(test_no_gate),
        EACH(test_nothing_is_wrong),
        EACH(test_isolated_and_gated),
        EACH(test_unverified),
        EACH(test_judgement_without_a_gate),
        EACH(test_leak),
        EACH(test_cut_that_is_missing),
        EACH(test_debt),
        EACH(test_cards_that_are_not_there),
        EACH(test_judgement_of_nothing),
        EACH(test_judgement_in_doubt),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
