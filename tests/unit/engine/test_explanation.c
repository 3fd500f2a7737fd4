/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/explanation.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "core/mask.h"

/* Cards 0 and 1 are joined by one link: 3 of 0, and 4 of 1. */
enum { UNREAD = -1, MORNING = 1795255331, NOON = MORNING + 7200 };
static struct machine machine;
static struct snapshot snapshot;
static struct inspection inspection;
static struct explanation explanation;
static struct ledger_entry entries[2];
static struct tenant tenants[2];
static struct claim claims[2];

static int start(void **state)
{
    (void)state;
    setenv("TZ", "UTC", 1);
    tzset();
    memset(&snapshot, 0, sizeof snapshot);
    memset(&machine, 0, sizeof machine);
    settings_default(&machine.settings);
    snapshot.machine = &machine;
    snapshot.tenants = tenants;
    snapshot.claims = claims;
    inspection = (struct inspection){.machine = &machine, .snapshot = &snapshot};
    topology_clear(&machine.topology, 2);
    machine.topology.peer[0][3] = 1;
    machine.topology.peer[1][4] = 0;
    machine.mapped[0] = true;
    machine.card[0] = (struct bdf){.bus = 8};
    entries[0].since = MORNING;
    entries[1].since = NOON;
    tenants[0] = (struct tenant){.name = "a", .entry = &entries[0]};
    tenants[1] = (struct tenant){.name = "b", .entry = &entries[1]};
    return 0;
}

static void scene(int owner_0, int owner_1, int mask_0, int mask_1)
{
    inspection.owners[0] = owner_0;
    inspection.owners[1] = owner_1;
    int masks[] = {mask_0, mask_1};
    for (int ppu = 0; ppu < 2; ppu++) {
        snapshot.cards[ppu].was_read = masks[ppu] != UNREAD;
        snapshot.cards[ppu].reading = (struct reading){.kind = READING_FINE, .mask = (uint32_t)masks[ppu]};
    }
}

static void assert_text(const char *expected)
{
    static const char head[] = "PPU 0 (0000:08:00.0) link 3 -> PPU 1 (no card): ";
    explanation_make(&inspection, 0, 3, &explanation);
    assert_memory_equal(explanation.text, head, sizeof head - 1);
    assert_string_equal(explanation.text + sizeof head - 1, expected);
}

static void test_fields(void **state)
{
    (void)state;
    scene(1, 0, 0x8, 0);
    explanation_make(&inspection, 1, 4, &explanation);
    assert_int_equal(explanation.ppu, 1);
    assert_int_equal(explanation.link, 4);
    assert_int_equal(explanation.peer, 0);
    assert_int_equal(explanation.near, END_OPEN);
    assert_int_equal(explanation.far, END_CUT);
    assert_int_equal(explanation.live, LIVE_NO);
    assert_false(explanation.allowed);
    assert_int_equal(explanation.verdict, VERDICT_CUT);
    assert_string_equal(explanation.text, "PPU 1 (no card) link 4 -> PPU 0 (0000:08:00.0): CUT at PPU 0 (PPU 1 has it "
                                          "open), because PPU 1 is idle and PPU 0 belongs to VM 'a' (since 2026-11-21 "
                                          "10:02:11)");
}

static void test_open(void **state)
{
    (void)state;
    scene(0, 0, 0, 0);
    assert_text("OPEN at both ends, as it may be: both cards are idle");
    scene(2, 2, 0, 0);
    assert_text("OPEN at both ends, as it may be: both cards belong to VM 'b' (since 2026-11-21 12:02:11)");
    tenants[1].manual = true;
    assert_text("OPEN at both ends, as it may be: both cards belong to group 'b' (since 2026-11-21 12:02:11)");
}

static void test_cut(void **state)
{
    (void)state;
    scene(1, 2, 0x8, 0x10);
    assert_text("CUT at both ends, because PPU 0 belongs to VM 'a' (since 2026-11-21 10:02:11) and PPU 1 belongs to VM "
                "'b' (since 2026-11-21 12:02:11)");
    tenants[0].entry = NULL;
    scene(1, 0, UNREAD, 0x10);
    assert_text("CUT at PPU 1 (PPU 0 cannot be read), because PPU 0 belongs to VM 'a' (since when is not known) and PPU 1 "
                "is idle");
}

static void test_odd_owners(void **state)
{
    (void)state;
    snapshot.claim_count = 2;
    claims[0] = (struct claim){.tenant = 0, .ppu = 1};
    claims[1] = (struct claim){.tenant = 1, .ppu = 1};
    scene(OWNER_UNKNOWN, OWNER_SHARED, 0x8, 0x10);
    assert_text("CUT at both ends, because PPU 0 is held open by an unknown process and PPU 1 is shared by a, b");
    assert_int_equal(explanation.rule, RULE_UNKNOWN_HOLDER);
}

static void test_leak(void **state)
{
    (void)state;
    scene(1, 0, 0, 0);
    assert_text("LEAK: OPEN at both ends, although PPU 0 belongs to VM 'a' (since 2026-11-21 10:02:11) and PPU 1 is "
                "idle; stop the VM");
}

static void test_unknown(void **state)
{
    (void)state;
    scene(1, 1, UNREAD, UNREAD);
    assert_text("UNKNOWN (neither card can be read); it may be open: both cards belong to VM 'a' (since 2026-11-21 "
                "10:02:11)");
    scene(1, 0, UNREAD, 0);
    assert_text("UNKNOWN (open at PPU 1, PPU 0 cannot be read); it must be cut, because PPU 0 belongs to VM 'a' (since "
                "2026-11-21 10:02:11) and PPU 1 is idle");
    scene(0, 0, 0, UNREAD);
    assert_text("UNKNOWN (open at PPU 0, PPU 1 cannot be read); it may be open: both cards are idle");
}

static void test_cut_though_allowed(void **state)
{
    (void)state;
    scene(0, 0, 0, 0x10);
    assert_text("CUT at PPU 1 (PPU 0 has it open), although both cards are idle: it may be open, and nothing that is "
                "known here asks for the cut");
    snapshot.cards[1].has_original = true;
    snapshot.cards[1].original = 0x10;
    assert_text("CUT at PPU 1 (PPU 0 has it open), because PPU 1 had it cut before a VM first had to do with it; both "
                "cards are idle: it may be open");
    scene(0, 0, 0x8, 0x10);
    snapshot.cards[0].has_original = true;
    snapshot.cards[0].original = 0x8;
    assert_text("CUT at both ends, because PPU 0 had it cut before a VM first had to do with it; both cards are idle: it "
                "may be open");
    machine.settings.idle = IDLE_ISOLATE;
    assert_text("CUT at both ends, because both cards are idle and [policy] idle = isolate keeps such cards isolated");
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
        scene(cases[i].owner_0, cases[i].owner_1, 0x8, 0x10);
        explanation_make(&inspection, 0, 3, &explanation);
        assert_int_equal(explanation.rule, cases[i].rule);
        assert_int_equal(explanation.since, cases[i].since);
    }
    tenants[0].entry = NULL;
    scene(1, 2, 0x8, 0x10);
    explanation_make(&inspection, 0, 3, &explanation);
    assert_int_equal(explanation.since, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_fields, start),
        cmocka_unit_test_setup(test_open, start),
        cmocka_unit_test_setup(test_cut, start),
        cmocka_unit_test_setup(test_odd_owners, start),
        cmocka_unit_test_setup(test_leak, start),
        cmocka_unit_test_setup(test_unknown, start),
        cmocka_unit_test_setup(test_cut_though_allowed, start),
        cmocka_unit_test_setup(test_rule_and_since, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
