/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/group_check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "scene.h"

static struct machine *machine;
static struct snapshot *snapshot;
static struct text_list faults;
static struct text_list notes;

static int stop(void **state)
{
    (void)state;
    text_list_free(&faults);
    text_list_free(&notes);
    snapshot_free(snapshot);
    machine_close(machine);
    snapshot = NULL;
    machine = NULL;
    return 0;
}

/* Two groups, 0 and 1 together, 6 alone, with every register read. */
static void look(const uint32_t masks[CARDS])
{
    struct registers registers;
    set_masks(masks);
    machine = scene_machine();
    snapshot = scene_snapshot(machine);
    registers_open(&registers, &machine->settings, NULL, false);
    snapshot_read_all(snapshot, &registers);
}

static void check(int group)
{
    struct card_groups groups;
    struct error err = {0};
    if (card_groups_parse(machine, "0,1|6", &groups, &err) < 0) {
        fail_msg("%s", err.text);
    }
    text_list_free(&faults);
    text_list_free(&notes);
    group_check(snapshot, &groups, group, &faults, &notes);
}

static void unread(int ppu, enum reading_kind kind)
{
    snapshot->cards[ppu].reading = (struct reading){.kind = kind, .why = "nobody knows"};
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
        assert_lines(&notes, "");
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
    stop(state);
    look((const uint32_t[CARDS]){0x18, 0x31, 0, 0, 0, 0, 0x38, 0});
    check(0);
    assert_lines(&faults, LINK_0_6 " and is LIVE: open on both sides");
    check(1);
    assert_lines(&faults, LINK_6_0 " and is LIVE: open on both sides");
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
static void test_unread(void **state)
{
    (void)state;
    look((const uint32_t[CARDS]){0x19, 0x31, 0, 0, 0x08, 0x10, 0x39, 0x08});
    unread(6, READING_UNVERIFIABLE);
    check(1);
    assert_lines(&faults, "");
    assert_lines(&notes, "PPU 6 (0001:aa:00.0): nobody knows");
    check(0);
    assert_lines(&faults, "");
    assert_lines(&notes, "");
    unread(0, READING_GONE);
    check(1);
    assert_lines(&faults, LINK_6_0 ", and neither end is known to be cut");
}

static void test_absent(void **state)
{
    (void)state;
    look((const uint32_t[CARDS]){0x19, 0x31, 0, 0, 0x08, 0x10, 0x39, 0x08});
    snapshot->cards[6].state.present = false;
    check(1);
    assert_lines(&faults, "PPU 6 (0001:aa:00.0) is not on the PCI bus");
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, scene_start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_in_force), EACH(test_open_ends), EACH(test_cut_inside), EACH(test_unread), EACH(test_absent),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
