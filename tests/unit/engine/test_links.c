/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/links.h"

#include <setjmp.h>
#include <stdarg.h>
#include <time.h>

#include <cmocka.h>

#include "engine/record.h"
#include "links_scene.h"

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
    look_at_all();
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

static void test_far_end_of_parallel_links(void **state)
{
    static const struct {
        int64_t mask;
        enum link_end end;
    } cases[] = {{0x0, END_OPEN}, {0x1, END_OPEN}, {0x2, END_OPEN},      {0x3, END_CUT},
                 {0x4, END_OPEN}, {0x7, END_CUT},  {UNREAD, END_UNKNOWN}};
    (void)state;
    look_at_all();
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
        look_at_all();
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
    look_at_all();
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
        look_at_all();
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
        look_at_all();
        assert_int_equal(link_look(&session, 0, 3).verdict, VERDICT_GATED);
        assert_int_equal(link_look(&session, 0, 3).since, cases[i][2]);
        assert_int_equal(link_look(&session, 2, 3).since, cases[i][2]);
        stop(state);
    }
    start(state);
}

/* Which of them is at the far end is not known: one that is not shown to be cut is enough. */
static void test_parallel_links_are_worth_the_worst(void **state)
{
    static const struct {
        int64_t far;
        bool far_held;
        uint32_t far_gate; /* 0: none */
        enum verdict verdict;
        int64_t since;
    } cases[] = {
        {0x0, false, 0, VERDICT_UNVERIFIED, 0},     {0x1, false, 0, VERDICT_UNVERIFIED, 0},
        {0x2, false, 0, VERDICT_UNVERIFIED, 0},     {0x3, false, 0, VERDICT_PROVEN, 0},
        {UNREAD, true, 0x1, VERDICT_UNVERIFIED, 0}, {UNREAD, true, 0x2, VERDICT_UNVERIFIED, 0},
        {UNREAD, true, 0x3, VERDICT_GATED, 4712},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        start(state);
        if (cases[i].far_gate != 0) {
            gate(1, cases[i].far_gate, 4712, VM_B);
        }
        look_at_all();
        make_parallel_links();
        own(VM_A, "0");
        own(VM_B, "1");
        session.owners.held[1] = cases[i].far_held;
        put(0, UNREAD);
        put(1, cases[i].far);
        for (int link = 0; link < 2; link++) {
            struct link_view view = link_look(&session, 0, link);
            if (view.verdict != cases[i].verdict) {
                fail_msg("case %zu: link %d: %d", i, link, view.verdict);
            }
            assert_int_equal(view.since, cases[i].since);
        }
        stop(state);
    }
    start(state);
}

/* Both of two parallel links are cut at the other end, but only one of these cuts was there before us. */
static void test_parallel_links_that_are_partly_expected(void **state)
{
    (void)state;
    scene_memory(1, 0x1, 0x3);
    look_at_all();
    make_parallel_links();
    put(0, 0);
    put(1, 0x3);
    assert_int_equal(link_look(&session, 0, 0).verdict, VERDICT_NEEDLESS);
    assert_int_equal(link_look(&session, 0, 1).verdict, VERDICT_NEEDLESS);
    assert_int_equal(link_look(&session, 1, 0).verdict, VERDICT_CUT);
    assert_int_equal(link_look(&session, 1, 1).verdict, VERDICT_NEEDLESS);
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
        {{NULL}, {NULL}, false}, /* an idle card has no owner for whom it could count */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t mask = 77;
        int64_t at = 77;
        start(state);
        scene_evidence(0, 0x39, 4711, cases[i].uuids);
        look_at_all();
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
    look_at_all();
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
        look_at_all();
        assert_int_equal(link_look(&session, 0, 3).verdict, seconds_later[i] > 0 ? VERDICT_GATED : VERDICT_UNVERIFIED);
        assert_int_equal(links_no_gate(&session, 0), seconds_later[i] < 0);
        stop(state);
    }
    start(state);
}

/* The whole path: isolate, read back, QEMU opens the cards. */
static void test_evidence_from_the_gate(void **state)
{
    turn = (struct turn){.intent = INTENT_START, .near = {[0] = true}};
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
    look_at_all();
    assert_int_equal(link_look(&session, 0, 3).verdict, VERDICT_PROVEN); /* by card 2, which is idle */
    put(2, UNREAD);
    assert_int_equal(link_look(&session, 0, 3).verdict, VERDICT_GATED);
}

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
        EACH(test_parallel_links_are_worth_the_worst),
        EACH(test_parallel_links_that_are_partly_expected),
        EACH(test_evidence_is_void_when_owners_change),
        EACH(test_no_evidence_for_strangers),
        EACH(test_no_evidence_from_before_it_was_bound),
        EACH(test_evidence_from_the_gate),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
