/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/groups.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "scene.h"

static struct machine *machine;
static struct session session;
static struct card_groups groups;
static struct text_list faults;
static struct text_list unverified;

static int start(void **state)
{
    scene_start(state);
    session = (struct session){.state = STATE_CLOSED};
    machine = scene_machine();
    return 0;
}

static int stop(void **state)
{
    (void)state;
    text_list_free(&faults);
    text_list_free(&unverified);
    session_close(&session);
    machine_close(machine);
    return 0;
}

/* EXPECTED: each card's group as a digit, or '.'. */
static void assert_groups(const char *list, const char *expected)
{
    struct error err = {0};
    char found[CARDS + 1] = "";
    int count = 0;
    if (card_groups_parse(machine, list, &groups, &err) < 0) {
        fail_msg("%s", err.text);
    }
    for (int ppu = 0; ppu < CARDS; ppu++) {
        found[ppu] = groups.of[ppu] == IN_NO_GROUP ? '.' : (char)('0' + groups.of[ppu]);
        count = groups.of[ppu] >= count ? groups.of[ppu] + 1 : count;
    }
    assert_string_equal(found, expected);
    assert_int_equal(groups.count, count);
    for (int ppu = CARDS; ppu < PPU_MAX; ppu++) {
        assert_int_equal(groups.of[ppu], IN_NO_GROUP);
    }
}

static void assert_refused(const char *list, enum status status, const char *text)
{
    struct error err = {0};
    struct card_groups before;
    memset(&groups, 0x55, sizeof groups);
    before = groups;
    assert_int_equal(card_groups_parse(machine, list, &groups, &err), -1);
    assert_error(&err, status, text, "");
    assert_memory_equal(&groups, &before, sizeof groups);
}

static void test_lists(void **state)
{
    (void)state;
    assert_groups("0", "0.......");
    assert_groups("0,1|2,3|4,5,7|6", "00112232");
    assert_groups("7|0,6", "1.....10");
    assert_groups(" \t5 ,\t4|3 ", "...100..");
    assert_groups("0000:08:00.0,7E:00.0|0001:ce:0.0", "00.....1");
}

static void test_next(void **state)
{
    (void)state;
    assert_groups("4,1|6", ".0..0.1.");
    assert_int_equal(card_groups_next(&groups, 0, -1), 1);
    assert_int_equal(card_groups_next(&groups, 0, 1), 4);
    assert_int_equal(card_groups_next(&groups, 0, 4), -1);
    assert_int_equal(card_groups_next(&groups, 1, -1), 6);
    assert_int_equal(card_groups_next(&groups, 2, -1), -1);
}

#define JUNK " is neither an id, nor a range of ids, nor a PCI address; write LIST as \"0,1|4-7\""
#define NO_ADDRESS " is not a PCI address; write it as 0000:08:00.0 or 08:00.0"

static void test_syntax(void **state)
{
    static const char *const cases[][2] = {
        {"", "column 1: a card is missing"},
        {" ", "column 2: a card is missing"},
        {"0,", "column 3: a card is missing"},
        {"|0", "column 1: a card is missing"},
        {"0| |1", "column 4: a card is missing"},
        {"0;1", "column 1: '0;1'" JUNK},
        {"0,\xe7\xba\xa2 ,|", "column 3: '\xe7\xba\xa2'" JUNK},
        {"0x1", "column 1: '0x1'" JUNK},
        {"-1", "column 1: '-1'" JUNK},
        {"1.0", "column 1: '1.0'" JUNK},
        {"0|08:00", "column 3: '08:00'" NO_ADDRESS},
        {"0|08:00.0:", "column 3: '08:00.0:'" NO_ADDRESS},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[256];
        snprintf(text, sizeof text, "LIST, %s", cases[i][1]);
        assert_refused(cases[i][0], STATUS_USAGE, text);
    }
}

/* Characters are not torn apart where a long member is cut. */
static void test_long_member(void **state)
{
    char list[200];
    char text[300];
    (void)state;
    snprintf(list, sizeof list, "0,%.63s\xe7\xba\xa2zzz",
             "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz");
    snprintf(text, sizeof text, "LIST, column 3: '%.63s\xe7\xba\xa2'" JUNK,
             "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz");
    assert_refused(list, STATUS_USAGE, text);
}

static void test_cards_that_are_none(void **state)
{
    (void)state;
    assert_refused("8", STATUS_INVALID, "LIST, column 1: '8' is not a card of this host: its ids are 0 to 7");
    assert_refused("0,18446744073709551616", STATUS_INVALID,
                   "LIST, column 3: '18446744073709551616' is not a card of this host: its ids are 0 to 7");
    assert_refused("09:00.0", STATUS_INVALID, "LIST, column 1: '09:00.0' is not on this host");
    simulated_card("0000:01:00.0");
    assert_refused("0|01:00.0", STATUS_INVALID, "LIST, column 3: '01:00.0' is not a PPU");
    machine->mapped[3] = false;
    assert_refused("3", STATUS_INVALID, "LIST, column 1: '3' has no card: no line of [map] names it");
}

static void test_twice(void **state)
{
    (void)state;
    assert_refused("0,1,0", STATUS_INVALID, "LIST, column 5: '0' names PPU 0 again, which is in this group already");
    assert_refused("1|0,7e:00.0", STATUS_INVALID,
                   "LIST, column 5: '7e:00.0' names PPU 1 again, which is in another group already");
}

/* -- Names ------------------------------------------------------------------------ */

static void assert_name(const char *name, const char *text)
{
    struct error err = {0};
    assert_int_equal(group_name_check(name, &err), text ? -1 : 0);
    if (text) {
        assert_error(&err, STATUS_USAGE, text, "");
    }
}

#define RESERVED                                                                                                       \
    "': the name of a group is not a number, an address, a word that begins with -, or one of idle, unknown, "         \
    "external, begin and end"

static void test_names(void **state)
{
    char longest[130];
    char text[300];
    (void)state;
    assert_name("red", NULL);
    assert_name("manual-0", NULL);
    assert_name("0a", NULL);
    assert_name("\xe7\xba\xa2", NULL);
    assert_name("", "--name: a group's name must not be empty");
    assert_name("idle", "--name 'idle" RESERVED);
    assert_name("unknown", "--name 'unknown" RESERVED);
    assert_name("external", "--name 'external" RESERVED);
    assert_name("begin", "--name 'begin" RESERVED);
    assert_name("end", "--name 'end" RESERVED);
    assert_name("-x", "--name '-x" RESERVED);
    assert_name("12", "--name '12" RESERVED);
    assert_name("08:00.0", "--name '08:00.0" RESERVED);
    assert_name("a\nb", "--name 'a\\x0ab': a group's name is at most 128 bytes of printable UTF-8");
    memset(longest, 'x', sizeof longest);
    longest[128] = '\0';
    assert_name(longest, NULL);
    longest[128] = 'x';
    longest[129] = '\0';
    snprintf(text, sizeof text, "--name '%.128s': a group's name is at most 128 bytes of printable UTF-8", longest);
    assert_name(longest, text);
}

/* -- Whether a group is in force --------------------------------------------------- */

/* Two groups, 0 and 1 together, 6 alone, with every register read. */
static void look(const uint32_t masks[CARDS])
{
    set_masks(masks);
    session_close(&session);
    scene_session(&session, SESSION_LOOK);
    session_look_at_all(&session);
}

static void check(int group)
{
    struct error err = {0};
    assert_done(card_groups_parse(session.machine, "0,1|6", &groups, &err), &err);
    text_list_free(&faults);
    text_list_free(&unverified);
    group_check(&session, &groups, group, &faults, &unverified);
}

static void unread(int ppu, enum reading_kind kind)
{
    session.cards[ppu].reading = (struct reading){.kind = kind, .why = "nobody knows"};
}

#define LINK_0_6 "link 0 of PPU 0 (0000:08:00.0) to PPU 6 (0001:aa:00.0) leaves the group"
#define LINK_6_0 "link 0 of PPU 6 (0001:aa:00.0) to PPU 0 (0000:08:00.0) leaves the group"

static void test_in_force(void **state)
{
    (void)state;
    look((const uint32_t[CARDS]){0x19, 0x31, 0, 0, 0, 0, 0x39, 0});
    for (int group = 0; group < 2; group++) {
        check(group);
        assert_lines(&faults, "");
        assert_lines(&unverified, "");
    }
}

static void test_open_ends(void **state)
{
    (void)state;
    look((const uint32_t[CARDS]){0x18, 0x31, 0, 0, 0, 0, 0x39, 0});
    check(0);
    assert_lines(&faults, LINK_0_6 " and is not cut");
    check(1);
    assert_lines(&faults, "");
    look((const uint32_t[CARDS]){0x18, 0x31, 0, 0, 0, 0, 0x38, 0});
    check(0);
    assert_lines(&faults, LINK_0_6 " and is LIVE: open on both sides");
    check(1);
    assert_lines(&faults, LINK_6_0 " and is LIVE: open on both sides");
}

/* Link 1 of 0 and of 6 is external: it leaves the group, as links to others do. */
static void test_external_ends(void **state)
{
    (void)state;
    look((const uint32_t[CARDS]){0x19, 0x31, 0, 0, 0, 0, 0x39, 0});
    session.machine->topology.peer[0][1] = EXTERNAL_PEER;
    session.machine->topology.peer[6][1] = EXTERNAL_PEER;
    session.cards[6].reading.mask |= 0x02;
    for (int ppu = 0; ppu < 2; ppu++) { /* as check LIST does */
        session.owners.of[ppu] = 1;
    }
    session.owners.of[6] = 2;
    check(0);
    assert_lines(&faults, "external link 1 of PPU 0 (0000:08:00.0) is not cut");
    assert_lines(&unverified, "");
    check(1);
    assert_lines(&faults, "");
    assert_lines(&unverified, "");
    unread(6, READING_UNVERIFIABLE);
    check(1);
    assert_lines(&faults, "");
    assert_non_null(
        strstr(unverified.items[unverified.count - 1], "link 5 of PPU 6 (0001:aa:00.0) to PPU 7 (0001:ce:00.0)"));
    bool is_said = false;
    for (size_t i = 0; i < unverified.count; i++) {
        is_said |= strcmp(unverified.items[i], "external link 1 of PPU 6 (0001:aa:00.0) could not be read as cut") == 0;
    }
    assert_true(is_said);
    session.machine->settings.external = EXTERNAL_LEAVE;
    check(0);
    assert_lines(&faults, "");
}

static void test_cut_inside(void **state)
{
    (void)state;
    look((const uint32_t[CARDS]){0x19, 0x39, 0, 0, 0, 0, 0x39, 0});
    check(0);
    assert_lines(&faults,
                 "link 3 of PPU 1 (0000:7e:00.0) to PPU 0 (0000:08:00.0) is cut, though both are in one group");
}

/* One end that is known to be cut is enough. */
static void test_unread_ends(void **state)
{
    (void)state;
    look((const uint32_t[CARDS]){0x19, 0x31, 0, 0, 0x08, 0x10, 0x39, 0x08});
    unread(6, READING_UNVERIFIABLE);
    check(1);
    assert_lines(&faults, "");
    assert_lines(&unverified, "");
    check(0);
    assert_lines(&faults, "");
    assert_lines(&unverified, "");
    unread(0, READING_GONE);
    check(1);
    assert_lines(&faults, "");
    assert_lines(&unverified, LINK_6_0 ", and no end could be read as cut");
    check(0);
    assert_lines(&faults, "");
    assert_int_equal(unverified.count, 3);
}

/* … and so is one that was read back for its owners. */
static void test_gated_ends(void **state)
{
    (void)state;
    scene_running("a", VM_A, "6", 101);
    scene_hold(6);
    scene_evidence(6, 0x29, 4711, (const char *const[]){VM_A, NULL});
    look((const uint32_t[CARDS]){0});
    for (int ppu = 0; ppu < CARDS; ppu++) {
        unread(ppu, READING_UNVERIFIABLE);
    }
    check(1);
    assert_lines(&faults, "");
    assert_lines(&unverified,
                 "link 4 of PPU 6 (0001:aa:00.0) to PPU 5 (0001:7f:00.0) leaves the group, and no end could "
                 "be read as cut");
}

static void test_absent(void **state)
{
    (void)state;
    look((const uint32_t[CARDS]){0x19, 0x31, 0, 0, 0x08, 0x10, 0x39, 0x08});
    session.cards[6].state.present = false;
    check(1);
    assert_lines(&faults, "PPU 6 (0001:aa:00.0) is not on the PCI bus");
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_lists),
        EACH(test_next),
        EACH(test_syntax),
        EACH(test_long_member),
        EACH(test_cards_that_are_none),
        EACH(test_twice),
        EACH(test_names),
        EACH(test_in_force),
        EACH(test_open_ends),
        EACH(test_external_ends),
        EACH(test_cut_inside),
        EACH(test_unread_ends),
        EACH(test_gated_ends),
        EACH(test_absent),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
