/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/links.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "links_scene.h"

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
    look_at_all();
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
    look_at_all();
    make_parallel_links();
    put(0, 0x1);
    put(1, 0x1);
    assert_pair(2, 1, true, true, VERDICT_OPEN);
}

static void test_pair_without_a_link(void **state)
{
    (void)state;
    look_at_all();
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
    look_at_all();
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
    look_at_all();
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

/* The oldest and the youngest read-back, in whichever order the links come. */
static void test_coverage_since(void **state)
{
    (void)state;
    gate(0, 0x11, 4722, VM_A);
    gate(1, 0x20, 4711, VM_A);
    gate(6, 0x01, 4733, VM_B);
    running("a", VM_A, "01", 101);
    running("b", VM_B, "6", 102);
    look_at_all();
    struct coverage coverage = coverage_count(&session);
    assert_int_equal(coverage.gated_since, 4711); /* 1-3 */
    assert_int_equal(coverage.gated_until, 4733); /* 0-6, of both ends the younger */
}

static void test_missing(void **state)
{
    (void)state;
    running("a", VM_A, "01", 101);
    set_masks((const uint32_t[CARDS]){0, 0, 0x18, 0x20, 0x01, 0, 0x38, 0x01});
    look_at_all();
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
    look_at_all();
    assert_true(links_no_gate(&session, 0));
    assert_false(links_no_gate(&session, 1));
    assert_false(links_no_gate(&session, 2));
    assert_false(links_no_gate(&session, 5)); /* it does not run yet */
    put(0, 0x19);
    assert_false(links_no_gate(&session, 0)); /* it can be read, so nothing is hidden */
    own(VM_B, "0");
    put(0, UNREAD);
    assert_true(links_no_gate(&session, 0)); /* one of its owners runs */
}

/* -- What is noted, and the judgement --------------------------------------------- */

static void test_nothing_is_wrong(void **state)
{
    (void)state;
    look_at_all();
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
    look_at_all();
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
    look_at_all();
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
    look_at_all();
    assert_coverage(4, 4, 0, 0, 0);
    assert_int_equal(links_judge(&session), STATUS_UNVERIFIED);
}

static void test_leak(void **state)
{
    (void)state;
    scene_running("a", VM_A, "0", 101);
    set_masks((const uint32_t[CARDS]){0x31, 0x08, 0, 0x10, 0, 0, 0x01, 0});
    look_at_all();
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
    look_at_all();
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
    look_at_all();
    links_find(&session);
    assert_notes(&session.notes, "warning owed: PPU 4 (0001:09:00.0) is owed the mask 0x00000008, which could not be "
                                 "given back yet; icn-hook repair does it as soon as its registers can be written");
    assert_int_equal(links_judge(&session), STATUS_OK);
}

static void test_cards_that_are_not_there(void **state)
{
    (void)state;
    simulated_text(CARDS_CONF, "[map]\n0 = 0000:08:00.0\n1 = 0009:00:00.0\n2 = 0000:a2:00.0\n3 = 0000:c6:00.0\n"
                             "4 = 0001:09:00.0\n5 = 0001:7f:00.0\n6 = 0001:aa:00.0\n");
    scene_unplug("17");
    scene_bind(addresses[3], "ppu", 1);
    look_at_all();
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
    look_at_all();
    assert_int_equal(links_judge(&session), STATUS_UNVERIFIED);
}

/* No register can be read, but all that must be cut was read back for its owner of today. */
static void test_judgement_by_the_gate_alone(void **state)
{
    (void)state;
    for (int ppu = 0; ppu < CARDS; ppu++) {
        scene_bind(addresses[ppu], "ppu", 1);
    }
    running("a", VM_A, "6", 101);
    gate(6, 0x39, 4711, VM_A);
    look_at_all();
    assert_coverage(4, 0, 4, 0, 0);
    assert_int_equal(links_judge(&session), STATUS_OK);
}

static void test_judgement_in_doubt(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .ppus = "0"});
    simulated_text(CLAIM_OF(VM_A), "{");
    look_at_all();
    assert_int_equal(links_judge(&session), STATUS_CHECK_FAILED);
    simulated_remove(CLAIM_OF(VM_A));
    look_at_all();
    assert_int_equal(links_judge(&session), STATUS_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_pairs),
        EACH(test_pair_that_is_partly_expected),
        EACH(test_pair_without_a_link),
        EACH(test_coverage_of_an_idle_host),
        EACH(test_coverage),
        EACH(test_coverage_since),
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
        EACH(test_judgement_by_the_gate_alone),
        EACH(test_judgement_in_doubt),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
