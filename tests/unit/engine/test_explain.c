/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/explain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "core/ownership.h"
#include "scene.h"

/* 0 and 6 are joined by link 0 of both; 1795255331 is 2026-11-21 10:02:11 in UTC. */
enum { UNREAD = -1, MORNING = 1795255331, NOON = MORNING + 7200 };
static struct session session;
static struct explanation explanation;
static struct owner *a;
static struct owner *b;

static int start(void **state)
{
    scene_start(state);
    setenv("TZ", "UTC", 1);
    tzset();
    scene_session(&session, SESSION_LOOK);
    owners_add(&session.owners, OWNER_KIND_VM, VM_A, "a");
    owners_add(&session.owners, OWNER_KIND_VM, VM_B, "b");
    a = owners_find(&session.owners, VM_A);
    b = owners_find(&session.owners, VM_B);
    a->since = MORNING;
    b->since = NOON;
    return 0;
}

static int stop(void **state)
{
    (void)state;
    session_close(&session);
    return 0;
}

/* Who owns cards 0 and 6, by the core's numbers (a is 1, b is 2), and their masks as read. */
static void scene(int owner_0, int owner_6, int mask_0, int mask_6)
{
    const int ppus[] = {0, 6};
    const int masks[] = {mask_0, mask_6};
    session.owners.of[0] = owner_0;
    session.owners.of[6] = owner_6;
    for (int i = 0; i < 2; i++) {
        session.cards[ppus[i]].was_read = masks[i] != UNREAD;
        session.cards[ppus[i]].reading = (struct reading){.kind = READING_FINE, .mask = (uint32_t)masks[i]};
    }
}

static void assert_text(const char *expected)
{
    static const char head[] = "PPU 0 (0000:08:00.0) link 0 -> PPU 6 (0001:aa:00.0): ";
    explain_link(&session, 0, 0, &explanation);
    assert_memory_equal(explanation.text, head, sizeof head - 1);
    assert_string_equal(explanation.text + sizeof head - 1, expected);
}

static void test_fields(void **state)
{
    (void)state;
    scene(1, 0, 0x1, 0);
    explain_link(&session, 6, 0, &explanation);
    assert_int_equal(explanation.view.ppu, 6);
    assert_int_equal(explanation.view.link, 0);
    assert_int_equal(explanation.view.peer, 0);
    assert_int_equal(explanation.view.near, END_OPEN);
    assert_int_equal(explanation.view.far, END_CUT);
    assert_int_equal(explanation.view.live, LIVE_NO);
    assert_false(explanation.view.allowed);
    assert_int_equal(explanation.view.verdict, VERDICT_PROVEN);
    assert_string_equal(explanation.text,
                        "PPU 6 (0001:aa:00.0) link 0 -> PPU 0 (0000:08:00.0): CUT at PPU 0 (PPU 6 has it "
                        "open), because PPU 6 is idle and PPU 0 belongs to VM 'a' (since 2026-11-21 "
                        "10:02:11)");
}

static void test_open(void **state)
{
    (void)state;
    scene(0, 0, 0, 0);
    assert_text("OPEN at both ends; it is allowed to be open: both cards are idle");
    scene(2, 2, 0, 0);
    assert_text("OPEN at both ends; it is allowed to be open: both cards belong to VM 'b' (since 2026-11-21 12:02:11)");
    b->kind = OWNER_KIND_GROUP;
    assert_text(
        "OPEN at both ends; it is allowed to be open: both cards belong to group 'b' (since 2026-11-21 12:02:11)");
}

static void assert_external_text(const char *expected)
{
    static const char head[] = "PPU 0 (0000:08:00.0) link 1 -> external: ";
    explain_link(&session, 0, 1, &explanation);
    assert_memory_equal(explanation.text, head, sizeof head - 1);
    assert_string_equal(explanation.text + sizeof head - 1, expected);
}

static void test_external(void **state)
{
    (void)state;
    session.machine->topology.peer[0][1] = EXTERNAL_PEER;
    scene(0, 0, 0, 0);
    assert_external_text("OPEN; it is allowed to be open: the card is idle");
    assert_int_equal(explanation.rule, RULE_IDLE);
    assert_int_equal(explanation.since, 0);
    scene(0, 0, 0x2, 0);
    assert_external_text(
        "CUT, although the card is idle: it is allowed to be open, and nothing that is known here asks "
        "for the cut");
    session.machine->settings.idle = IDLE_ISOLATE;
    assert_external_text("CUT, because the card is idle and [policy] idle = isolate keeps such cards isolated");
    scene(1, 0, 0x2, 0);
    assert_external_text(
        "CUT, because it leads out of this host and PPU 0 belongs to VM 'a' (since 2026-11-21 10:02:11)");
    assert_int_equal(explanation.rule, RULE_EXTERNAL);
    assert_int_equal(explanation.since, MORNING);
    scene(1, 1, 0, 0);
    assert_external_text("LEAK: OPEN, although it leads out of this host and PPU 0 belongs to VM 'a' (since 2026-11-21 "
                         "10:02:11); stop the VM");
    scene(OWNER_UNKNOWN, 0, UNREAD, 0);
    assert_external_text(
        "UNKNOWN (the card cannot be read); it must be cut, because it leads out of this host and PPU 0 "
        "is held open by an unknown process");
    session.machine->settings.external = EXTERNAL_LEAVE;
    scene(1, 0, 0, 0);
    assert_external_text("OPEN; it is allowed to be open: [policy] external = leave leaves such links as they are and "
                         "PPU 0 belongs to VM 'a' (since 2026-11-21 10:02:11)");
}

/* A cut from before us, of a card with an owner: left, and not because of idle = isolate. */
static void test_external_from_before(void **state)
{
    (void)state;
    session_close(&session);
    scene_memory(0, 0x2, 0x2);
    scene_session(&session, SESSION_LOOK);
    session.machine->topology.peer[0][1] = EXTERNAL_PEER;
    session.machine->settings.external = EXTERNAL_LEAVE;
    session.machine->settings.idle = IDLE_ISOLATE;
    owners_add(&session.owners, OWNER_KIND_VM, VM_A, "a");
    scene(1, 0, 0x2, 0);
    assert_external_text("CUT, because PPU 0 had it cut before a VM first had to do with it; [policy] external = leave "
                         "leaves such links as they are and PPU 0 belongs to VM 'a' (since when is not known): it is "
                         "allowed to be open");
}

/* Gated: as for any link. */
static void test_external_gated(void **state)
{
    (void)state;
    session_close(&session);
    scene_evidence(0, 0x3b, MORNING, (const char *const[]){VM_A, NULL});
    scene_session(&session, SESSION_LOOK);
    session.machine->topology.peer[0][1] = EXTERNAL_PEER;
    owners_give(&session.owners, owners_add(&session.owners, OWNER_KIND_VM, VM_A, "a"), 0, true);
    scene(1, 0, UNREAD, 0);
    assert_external_text(
        "CUT when it was read back at 2026-11-21 10:02:11, before QEMU opened the card, because it leads "
        "out of this host and PPU 0 belongs to VM 'a' (since when is not known)");
}

static void test_cut(void **state)
{
    (void)state;
    scene(1, 2, 0x1, 0x1);
    assert_text("CUT at both ends, because PPU 0 belongs to VM 'a' (since 2026-11-21 10:02:11) and PPU 6 belongs to VM "
                "'b' (since 2026-11-21 12:02:11)");
    a->since = 0;
    scene(1, 0, UNREAD, 0x1);
    assert_text(
        "CUT at PPU 6 (PPU 0 cannot be read), because PPU 0 belongs to VM 'a' (since when is not known) and PPU 6 "
        "is idle");
}

static void test_odd_owners(void **state)
{
    (void)state;
    owners_give(&session.owners, a, 6, false);
    owners_give(&session.owners, b, 6, false);
    scene(OWNER_UNKNOWN, OWNER_SHARED, 0x1, 0x1);
    assert_text("CUT at both ends, because PPU 0 is held open by an unknown process and PPU 6 is shared by a, b");
    assert_int_equal(explanation.rule, RULE_UNKNOWN_HOLDER);
}

static void test_leak(void **state)
{
    (void)state;
    scene(1, 0, 0, 0);
    assert_text("LEAK: OPEN at both ends, although PPU 0 belongs to VM 'a' (since 2026-11-21 10:02:11) and PPU 6 is "
                "idle; stop the VM");
}

static void test_unknown(void **state)
{
    (void)state;
    scene(1, 1, UNREAD, UNREAD);
    assert_text(
        "UNKNOWN (neither card can be read); it is allowed to be open: both cards belong to VM 'a' (since 2026-11-21 "
        "10:02:11)");
    scene(1, 0, UNREAD, 0);
    assert_text("UNKNOWN (open at PPU 6, PPU 0 cannot be read); it must be cut, because PPU 0 belongs to VM 'a' (since "
                "2026-11-21 10:02:11) and PPU 6 is idle");
    scene(0, 0, 0, UNREAD);
    assert_text("UNKNOWN (open at PPU 0, PPU 6 cannot be read); it is allowed to be open: both cards are idle");
}

/* The card had link 0 cut before we first wrote to it. */
static void remember(int ppu)
{
    struct card_memory *memory = state_remember(&session.state, address_of(ppu));
    memory->has_original = true;
    memory->original = 0x1;
}

static void test_cut_though_allowed(void **state)
{
    (void)state;
    scene(0, 0, 0, 0x1);
    assert_text(
        "CUT at PPU 6 (PPU 0 has it open), although both cards are idle: it is allowed to be open, and nothing that is "
        "known here asks for the cut");
    remember(6);
    assert_text("CUT at PPU 6 (PPU 0 has it open), because PPU 6 had it cut before a VM first had to do with it; both "
                "cards are idle: it is allowed to be open");
    scene(0, 0, 0x1, 0x1);
    remember(0);
    assert_text(
        "CUT at both ends, because PPU 0 had it cut before a VM first had to do with it; both cards are idle: it "
        "is allowed to be open");
    session.machine->settings.idle = IDLE_ISOLATE;
    assert_text("CUT at both ends, because both cards are idle and [policy] idle = isolate keeps such cards isolated");
}

/* Of what cannot be read, what was read back before QEMU opened the card is told. */
static void test_gated(void **state)
{
    (void)state;
    session_close(&session);
    scene_running("a", VM_A, "0", 101);
    scene_hold(0);
    scene_evidence(0, 0x39, MORNING, (const char *const[]){VM_A, NULL});
    scene_session(&session, SESSION_LOOK);
    assert_text(
        "CUT when it was read back at 2026-11-21 10:02:11, before QEMU opened the card, because PPU 0 belongs to "
        "VM 'a' (since when is not known) and PPU 6 is idle");
    assert_int_equal(explanation.view.verdict, VERDICT_GATED);
}

static void test_rule_and_since(void **state)
{
    static const struct {
        int owner_0;
        int owner_1;
        enum link_rule rule;
        int64_t since;
    } cases[] = {
        {OWNER_IDLE, OWNER_IDLE, RULE_IDLE, 0},
        {1, 1, RULE_SAME_OWNER, MORNING},
        {1, 2, RULE_DIFFERENT_OWNERS, NOON},
        {2, 1, RULE_DIFFERENT_OWNERS, NOON},
        {OWNER_IDLE, 1, RULE_DIFFERENT_OWNERS, MORNING},
        {1, OWNER_SHARED, RULE_SHARED, 0},
        {OWNER_SHARED, OWNER_SHARED, RULE_SHARED, 0},
        {OWNER_UNKNOWN, OWNER_SHARED, RULE_UNKNOWN_HOLDER, 0},
        {1, OWNER_UNKNOWN, RULE_UNKNOWN_HOLDER, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        scene(cases[i].owner_0, cases[i].owner_1, 0x1, 0x1);
        explain_link(&session, 0, 0, &explanation);
        assert_int_equal(explanation.rule, cases[i].rule);
        assert_int_equal(explanation.since, cases[i].since);
    }
    a->since = 0;
    scene(1, 2, 0x1, 0x1);
    explain_link(&session, 0, 0, &explanation);
    assert_int_equal(explanation.since, 0);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_fields),         EACH(test_open),
        EACH(test_external_gated), EACH(test_external_from_before),
        EACH(test_external),       EACH(test_cut),
        EACH(test_odd_owners),     EACH(test_leak),
        EACH(test_unknown),        EACH(test_cut_though_allowed),
        EACH(test_gated),          EACH(test_rule_and_since),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
