/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/card_groups.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "scene.h"

static struct machine *machine;
static struct card_groups groups;

static int start(void **state)
{
    scene_start(state);
    machine = scene_machine();
    return 0;
}

static int stop(void **state)
{
    (void)state;
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

#define JUNK " is neither an id nor a PCI address; write LIST as \"0,1|2,3\""
#define NO_ADDRESS " is no PCI address; write it as 0000:08:00.0 or 08:00.0"

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
    assert_refused("8", STATUS_INVALID, "LIST, column 1: '8' is no card of this host: its ids are 0 to 7");
    assert_refused("0,18446744073709551616", STATUS_INVALID,
                   "LIST, column 3: '18446744073709551616' is no card of this host: its ids are 0 to 7");
    assert_refused("09:00.0", STATUS_INVALID, "LIST, column 1: '09:00.0' is not on this host");
    simulated_card("0000:01:00.0");
    assert_refused("0|01:00.0", STATUS_INVALID, "LIST, column 3: '01:00.0' is no PPU");
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

#define EACH(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_lists), EACH(test_next), EACH(test_syntax), EACH(test_long_member), EACH(test_cards_that_are_none),
        EACH(test_twice),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
