/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/links.h"

#include <setjmp.h>
#include <stdarg.h>
#include <time.h>

#include <cmocka.h>

#include "links_scene.h"

/* Links that lead out of the host, and parallel ones of which it is known which end belongs to which. */

#define PPU_0 "PPU 0 (0000:08:00.0)"
#define PPU_3 "PPU 3 (0000:c6:00.0)"

/* Links 1 and 2 of 0 and link 31 of 3 are external. */
static void look_out(void)
{
    look_at_all();
    session.machine->topology.peer[0][1] = EXTERNAL_PEER;
    session.machine->topology.peer[0][2] = EXTERNAL_PEER;
    session.machine->topology.peer[3][31] = EXTERNAL_PEER;
}

/* -- One external link ------------------------------------------------------------- */

static void test_without_owner(void **state)
{
    static const struct {
        int64_t mask;
        enum link_end near;
        enum link_live live;
        enum verdict verdict;
    } cases[] = {
        {0, END_OPEN, LIVE_YES, VERDICT_OPEN},
        {0x04, END_OPEN, LIVE_YES, VERDICT_OPEN}, /* the other one */
        {0x02, END_CUT, LIVE_NO, VERDICT_NEEDLESS},
        {UNREAD, END_UNKNOWN, LIVE_UNKNOWN, VERDICT_UNREAD},
    };
    (void)state;
    look_out();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        put(0, cases[i].mask);
        struct link_view view = link_look(&session, 0, 1);
        assert_int_equal(view.peer, EXTERNAL_PEER);
        assert_int_equal(view.near, cases[i].near);
        assert_int_equal(view.far, END_UNKNOWN);
        assert_int_equal(view.live, cases[i].live);
        assert_true(view.allowed);
        assert_int_equal(view.verdict, cases[i].verdict);
    }
    put(0, 0x02);
    session.machine->settings.idle = IDLE_ISOLATE;
    assert_int_equal(link_look(&session, 0, 1).verdict, VERDICT_CUT);
}

/* Its one end alone proves or does not; nothing about a far end makes up for it. */
static const struct owned_case {
    int64_t mask;
    bool held;
    uint32_t gate; /* 0: none */
    enum verdict verdict;
} owned_cases[] = {
    {0x38, false, 0, VERDICT_LEAK},        {0x3f, false, 0, VERDICT_PROVEN},
    {0x3f, true, 0, VERDICT_GATED},                                                  /* its guest may write it */
    {UNREAD, true, 0x3f, VERDICT_GATED},   {UNREAD, true, 0x3d, VERDICT_UNVERIFIED}, /* read back, but open */
    {UNREAD, true, 0, VERDICT_UNVERIFIED}, {UNREAD, false, 0, VERDICT_UNVERIFIED},
    {0x3c, false, 0x3f, VERDICT_LEAK}, /* what is read now counts */
};

static void test_with_owner(void **state)
{
    for (size_t i = 0; i < sizeof owned_cases / sizeof owned_cases[0]; i++) {
        const struct owned_case *wanted = &owned_cases[i];
        start(state);
        if (wanted->gate != 0) {
            gate(0, wanted->gate, 4711, VM_A);
        }
        look_out();
        own(VM_A, "0");
        session.owners.held[0] = wanted->held;
        put(0, wanted->mask);
        struct link_view view = link_look(&session, 0, 1);
        if (view.verdict != wanted->verdict) {
            fail_msg("case %zu: %d", i, view.verdict);
        }
        assert_false(view.allowed);
        assert_int_equal(view.since != 0, wanted->verdict == VERDICT_GATED);
        if (wanted->mask == UNREAD && wanted->verdict == VERDICT_GATED) {
            assert_int_equal(view.since, 4711);
        }
        stop(state);
    }
    start(state);
}

/* Two cards of one domain: nobody knows where the link leads, so it is cut all the same. */
static void test_one_owner_of_all_cards(void **state)
{
    (void)state;
    look_out();
    own(VM_A, "01234567");
    put(0, 0);
    assert_int_equal(link_look(&session, 0, 1).verdict, VERDICT_LEAK);
    assert_int_equal(link_look(&session, 0, 3).verdict, VERDICT_OPEN);
}

static void test_left_by_the_policy(void **state)
{
    (void)state;
    scene_memory(0, 0x02, 0x39);
    look_out();
    own(VM_A, "0");
    session.machine->settings.external = EXTERNAL_LEAVE;
    put(0, 0x39);
    assert_true(link_look(&session, 0, 1).allowed);
    assert_int_equal(link_look(&session, 0, 1).verdict, VERDICT_OPEN);
    put(0, 0x3f);
    assert_int_equal(link_look(&session, 0, 1).verdict, VERDICT_CUT); /* it was before us */
    assert_int_equal(link_look(&session, 0, 2).verdict, VERDICT_NEEDLESS);
    put(0, UNREAD);
    assert_int_equal(link_look(&session, 0, 1).verdict, VERDICT_UNREAD);
}

/* -- All of a card, and of the host ------------------------------------------------- */

static void assert_external(int ppu, int wired, int open, bool is_read, enum verdict verdict)
{
    struct pair pair = pair_look(&session, ppu, EXTERNAL_PEER);
    assert_int_equal(pair.wired, wired);
    assert_int_equal(pair.open, open);
    assert_int_equal(pair.is_read, is_read);
    assert_int_equal(pair.verdict, verdict);
}

static void test_of_a_card(void **state)
{
    (void)state;
    look_out();
    put(0, 0);
    assert_external(0, 2, 2, true, VERDICT_OPEN);
    put(0, 0x02);
    assert_external(0, 2, 1, true, VERDICT_NEEDLESS);
    put(0, UNREAD);
    assert_external(0, 2, 2, false, VERDICT_UNREAD);
    assert_external(1, 0, 0, true, VERDICT_CUT);
    own(VM_A, "0");
    put(0, 0x3d);
    assert_external(0, 2, 1, true, VERDICT_LEAK);
    put(0, 0x3f);
    assert_external(0, 2, 0, true, VERDICT_PROVEN);
    assert_int_equal(pair_look(&session, 0, 6).wired, 1); /* not among them */
}

static void test_coverage_and_findings(void **state)
{
    (void)state;
    scene_running("a", VM_A, "03", 101);
    gate(0, 0x2f, 4711, VM_A);
    gate(3, 0x29, 4711, VM_A);
    set_masks((const uint32_t[CARDS]){0x2f, 0x28, 0x28, 0x29, 0, 0x01, 0x01, 0});
    look_out();
    put(0, 0x2f);
    put(3, 0x29);
    links_find(&session);
    struct coverage coverage = coverage_count(&session);
    /* 0: two out, and to 6, 2, 1; 3: one out, and to 5, 2, 1 */
    assert_int_equal(coverage.required, 9);
    assert_int_equal(coverage.proven, 8);
    assert_int_equal(coverage.unverified, 1);
    assert_int_equal(coverage.leaks, 0);
    assert_int_equal(coverage.external_leaks, 1);
    assert_noted(&session.notes,
                 "error external-leak: LEAK: external link 31 of " PPU_3 " is open; owner: a; stop the VM");
    assert_noted(&session.notes, "error cut-missing: " PPU_3 " lacks cuts: mask 0x00000029, required 0x80000029; "
                                 "icn-hook repair makes them");
    assert_false(notes_have(&session.notes, NOTE_LEAK));
    assert_int_equal(links_judge(&session), STATUS_CHECK_FAILED);
    put(3, 0x80000029);
    assert_int_equal(links_judge(&session), STATUS_OK);
    put(3, UNREAD);
    assert_int_equal(coverage_count(&session).unverified, 1);
    assert_int_equal(links_judge(&session), STATUS_UNVERIFIED);
    notes_free(&session.notes);
    links_find(&session);
    assert_noted(&session.notes, "warning unverified: external link 31 of " PPU_3
                                 " must be cut (owner: a), and nothing shows that it is");
}

/* -- Parallel links ----------------------------------------------------------------- */

/* Links 0 and 1 of both cards, crossed: 0.0 to 1.1 and 0.1 to 1.0. */
static void look_crossed(int known)
{
    look_at_all();
    make_parallel_links();
    for (int link = 0; link < known; link++) {
        session.machine->topology.peer_link[0][link] = (int16_t)(1 - link);
        session.machine->topology.peer_link[1][1 - link] = (int16_t)link;
    }
}

/* One known pair of two is as good as both. */
static void test_parallel_links_told_apart(void **state)
{
    (void)state;
    for (int known = 1; known <= 2; known++) {
        look_crossed(known);
        put(0, 0x1);
        put(1, 0x1);
        assert_int_equal(link_look(&session, 0, 0).far, END_OPEN);
        assert_int_equal(link_look(&session, 0, 1).far, END_CUT);
        assert_int_equal(link_look(&session, 1, 1).far, END_CUT);
        own(VM_A, "0");
        own(VM_B, "1");
        assert_int_equal(link_look(&session, 0, 0).verdict, VERDICT_PROVEN);
        assert_int_equal(link_look(&session, 0, 1).verdict, VERDICT_PROVEN);
        put(1, 0x2);
        assert_int_equal(link_look(&session, 0, 0).verdict, VERDICT_PROVEN);
        assert_int_equal(link_look(&session, 0, 1).verdict, VERDICT_LEAK);
    }
    look_crossed(0);
    own(VM_A, "0");
    own(VM_B, "1");
    put(0, 0x1);
    put(1, 0x1);
    assert_int_equal(link_look(&session, 0, 1).verdict, VERDICT_LEAK); /* the worst of both */
}

/* How many are open: at most as many as the ends that go together. */
static void test_pairs_of_links_told_apart(void **state)
{
    static const struct {
        int known;
        int64_t mask_0;
        int64_t mask_1;
        int open;
    } cases[] = {
        {0, 0x1, 0x1, 1}, {2, 0x1, 0x1, 0}, {1, 0x1, 0x1, 0},    {2, 0x1, 0x2, 1},
        {2, 0x0, 0x0, 2}, {2, 0x0, 0x1, 1}, {2, 0x0, UNREAD, 2}, {2, 0x2, UNREAD, 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        look_crossed(cases[i].known);
        put(0, cases[i].mask_0);
        put(1, cases[i].mask_1);
        assert_int_equal(pair_look(&session, 0, 1).wired, 2);
        if (pair_look(&session, 0, 1).open != cases[i].open || pair_look(&session, 1, 0).open != cases[i].open) {
            fail_msg("case %zu: %d", i, pair_look(&session, 0, 1).open);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_without_owner),
        EACH(test_with_owner),
        EACH(test_one_owner_of_all_cards),
        EACH(test_left_by_the_policy),
        EACH(test_of_a_card),
        EACH(test_coverage_and_findings),
        EACH(test_parallel_links_told_apart),
        EACH(test_pairs_of_links_told_apart),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
