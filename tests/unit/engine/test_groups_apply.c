/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/groups.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/links.h"
#include "session_scene.h"

static const uint32_t nothing_cut[CARDS] = {0};
static const uint32_t alone[CARDS] = {0x19, 0x31, 0x18, 0x30, 0, 0, 0x1, 0x1};

static struct group_report report;
static struct error err;
static bool no_random;

bool __real_text_make_uuid(char uuid[UUID_SIZE]);
bool __wrap_text_make_uuid(char uuid[UUID_SIZE]);
bool __wrap_text_make_uuid(char uuid[UUID_SIZE])
{
    return !no_random && __real_text_make_uuid(uuid);
}

static int start_with_random(void **state)
{
    no_random = false;
    return start(state);
}

static int stop_group(void **state)
{
    group_report_free(&report);
    return stop(state);
}

static int apply_as(enum session_access access, const char *list, const char *name)
{
    struct card_groups groups;
    group_report_free(&report);
    session_close(&session);
    scene_session(&session, access);
    err = (struct error){0};
    assert_done(card_groups_parse(session.machine, list, &groups, &err), &err);
    return groups_apply(&session, &groups, &name, name ? 1 : 0, &report, &err);
}

static int apply_groups(const char *list)
{
    return apply_as(SESSION_CHANGE, list, NULL);
}

static void assert_refused(int result, enum status status, const char *text)
{
    assert_int_equal(result, -1);
    assert_error(&err, status, text, "");
}

static void format_parties(const struct parties *parties, char text[512])
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < parties->count; i++) {
        const struct party *party = &parties->items[i];
        used += (size_t)snprintf(text + used, 512 - used, "%s%s%s ", i > 0 ? "; " : "", party->name,
                                 party->uuid[0] ? "" : "*");
        for (size_t k = 0; k < party->ppu_count; k++) {
            used += (size_t)snprintf(text + used, 512 - used, "%d", party->ppus[k]);
        }
    }
}

/* Each group as "NAME IDS", with a * if it has no uuid yet. */
static void assert_groups(const char *expected)
{
    char text[512];
    format_parties(&report.groups, text);
    assert_string_equal(text, expected);
}

static void test_apply(void **state)
{
    (void)state;
    assert_done(apply_groups("0,1"), &err);
    assert_masks(alone);
    assert_groups("manual-0 01");
    assert_int_equal(report.write_count, 6);
    assert_int_equal(report.writes[0].ppu, 0);
    assert_int_equal(report.writes[0].to, 0x19);
    assert_notes(&session.notes, "");
    look_again();
    assert_claims("manual-0:running 01");
    assert_true(session.state.claims[0].is_group);
}

/* What was read back is evidence, whoever uses the group then. */
static void test_evidence(void **state)
{
    uint32_t mask = 0;
    int64_t at = 0;
    (void)state;
    assert_done(apply_groups("0,1"), &err);
    session_close(&session);
    scene_hold(0);
    scene_session(&session, SESSION_LOOK);
    session_look_at_all(&session);
    assert_true(links_gate(&session, 0, &mask, &at));
    assert_int_equal(mask, 0x19);
    assert_false(links_gate(&session, 2, &mask, &at));
}

static void test_several_groups(void **state)
{
    (void)state;
    assert_done(apply_groups("6|0,1|4,5,7"), &err);
    assert_masks((const uint32_t[CARDS]){0x19, 0x31, 0x19, 0x31, 0x09, 0x11, 0x39, 0x09});
    assert_groups("manual-6 6; manual-0 01; manual-4 457");
}

static void test_names(void **state)
{
    (void)state;
    assert_done(apply_as(SESSION_CHANGE, "0|1", "red"), &err);
    assert_groups("red 0; manual-1 1");
    assert_refused(apply_as(SESSION_CHANGE, "2", "red"), STATUS_INVALID,
                   "there is a group 'red' already; choose another name with --name");
    assert_refused(
        apply_as(SESSION_CHANGE, "2", "idle"), STATUS_USAGE,
        "--name 'idle': the name of a group is not a number, an address, a word that begins with -, or one of "
        "idle, unknown, external, begin and end");
    assert_refused(apply_as(SESSION_CHANGE, "2|3", "manual-3"), STATUS_INVALID,
                   "two groups cannot both be called 'manual-3'");
    scene_running("b", VM_B, "5", 102);
    assert_refused(apply_as(SESSION_CHANGE, "2", "b"), STATUS_INVALID,
                   "there is a VM 'b' already; choose another name with --name");
}

static void test_more_names_than_groups(void **state)
{
    static const char *const names[] = {"red", "blue"};
    struct card_groups groups;
    (void)state;
    scene_session(&session, SESSION_CHANGE);
    assert_done(card_groups_parse(session.machine, "0,1", &groups, &err), &err);
    assert_refused(groups_apply(&session, &groups, names, 2, &report, &err), STATUS_USAGE,
                   "2 names, but LIST has 1 group");
    assert_masks(nothing_cut);
}

/* One that is there already is cut again where it must be; with other cards it is another one. */
static void test_again(void **state)
{
    char uuid[UUID_SIZE];
    (void)state;
    assert_done(apply_groups("0,1"), &err);
    memcpy(uuid, report.groups.items[0].uuid, sizeof uuid);
    simulated_set_register(addresses[0], LINK_CONFIG_OFFSET, 0x18);
    assert_done(apply_groups("0,1"), &err);
    assert_string_equal(report.groups.items[0].uuid, uuid);
    assert_int_equal(report.write_count, 1);
    assert_masks(alone);
    assert_refused(
        apply_groups("0"), STATUS_CONFLICT,
        "group 'manual-0' is not isolated: PPU 0 (0000:08:00.0) is in the group 'manual-0', which was isolated "
        "by hand; end that with `icn-hook release manual-0`, or choose another card");
    assert_refused(
        apply_as(SESSION_CHANGE, "0,1", "blue"), STATUS_CONFLICT,
        "group 'blue' is not isolated: PPU 0 (0000:08:00.0) is in the group 'manual-0', which was isolated by "
        "hand; end that with `icn-hook release manual-0`, or choose another card");
    look_again();
    assert_claims("manual-0:running 01");
}

/* All or none: nothing is touched unless every card of every group may be had. */
static void test_all_or_none(void **state)
{
    (void)state;
    scene_running("b", VM_B, "6", 102);
    assert_refused(apply_groups("0,1|6"), STATUS_CONFLICT,
                   "group 'manual-6' is not isolated: PPU 6 (0001:aa:00.0) is owned by VM 'b' (" VM_B "), which runs; "
                   "stop that VM or choose another card");
    assert_masks(nothing_cut);
    assert_groups("");
    assert_int_equal(report.write_count, 0);
    session_close(&session);
    assert_false(host_has(CARDS_JSON));
}

static void test_doubt(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "b", .uuid = VM_B, .ppus = "6"});
    simulated_text(CLAIM_OF(VM_B), "{");
    assert_int_equal(apply_groups("0"), -1);
    assert_int_equal(err.status, STATUS_INVALID);
    assert_memory_equal(err.text, "group 'manual-0' is not isolated: ", 34);
    assert_masks(nothing_cut);
}

/* A VM that is gone, and of which nobody said so, keeps no card from being used. */
static void test_after_a_vm_that_is_gone(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .phase = CLAIM_RUNNING, .ppus = "0"});
    assert_done(apply_groups("0,1"), &err);
    assert_notes(&session.notes,
                 "info repaired: VM 'a' has ended without a call that said so; its cards are given back");
    look_again();
    assert_claims("manual-0:running 01");
}

static void test_dry_run(void **state)
{
    (void)state;
    assert_done(apply_as(SESSION_LOOK, "0,1|4", NULL), &err);
    assert_groups("manual-0* 01; manual-4* 4");
    /* as when it is real */
    assert_int_equal(report.write_count, 8);
    assert_masks(nothing_cut);
    assert_false(host_has(RUN));
    assert_done(apply_groups("0,1"), &err);
    assert_done(apply_as(SESSION_LOOK, "0,1", NULL), &err);
    assert_groups("manual-0 01");
    assert_int_equal(report.write_count, 0);
}

#define HELD_1                                                                                                         \
    "PPU 1 (0000:7e:00.0): resource0 cannot be mapped now: a driver or QEMU holds the card's registers (EINVAL)"
#define UNDONE "; no group of this call is isolated, so correct that, then apply it again"

/* Nothing is put off as at `prepare`: nobody comes back to cut.  What was cut is given back. */
static void test_near_end_that_a_driver_holds(void **state)
{
    (void)state;
    scene_bind(addresses[1], "ppu", 1);
    assert_refused(apply_groups("6|0,1"), STATUS_HARDWARE, HELD_1 UNDONE);
    assert_groups("");
    assert_masks(nothing_cut);
    look_again();
    assert_claims("");
}

static void test_near_end_that_is_off_the_bus(void **state)
{
    (void)state;
    set_masks((const uint32_t[CARDS]){[1] = UINT32_MAX});
    simulated_config(addresses[1], 0xffff, 0xffff);
    assert_int_equal(apply_groups("0,1"), -1);
    assert_int_equal(err.status, STATUS_HARDWARE);
    assert_memory_equal(err.text, "PPU 1 (0000:7e:00.0): the register reads all ones", 49);
    assert_int_equal(simulated_register(addresses[0], LINK_CONFIG_OFFSET), 0);
    look_again();
    assert_claims("");
}

/* The group's user keeps its registers from being read: what was read back before tells. */
static void test_group_in_use(void **state)
{
    (void)state;
    assert_done(apply_groups("0,1"), &err);
    scene_hold(1);
    assert_done(apply_groups("0,1"), &err);
    assert_notes(&session.notes, "warning card: " HELD_1 "; its own ends of the links stay as they are");
    assert_groups("manual-0 01");
    assert_masks(alone);
}

/* … and when nothing does, the group is not said to be isolated, and no new one is made beside it. */
static void test_group_in_use_that_nobody_can_verify(void **state)
{
    (void)state;
    simulated_text(SETTINGS, "[policy]\nfar_end = leave\n");
    assert_done(apply_groups("0,1"), &err);
    session_close(&session);
    scene_evidence(1, 0, 0, (const char *const[]){NULL});
    scene_hold(1);
    assert_refused(
        apply_groups("0,1|4"), STATUS_HARDWARE,
        "link 0 of PPU 1 (0000:7e:00.0) to PPU 7 (0001:ce:00.0) leaves the group, and no end could be read as "
        "cut; end its VM, then apply it again" UNDONE);
    assert_int_equal(simulated_register(addresses[4], LINK_CONFIG_OFFSET), 0);
    look_again();
    assert_claims("manual-0:running 01");
}

static void test_no_random_numbers(void **state)
{
    (void)state;
    no_random = true;
    assert_refused(apply_groups("0"), STATUS_HARDWARE, "the kernel gives no random uuid; is /proc mounted?");
    assert_masks(nothing_cut);
}

static void test_vendor_tool(void **state)
{
    (void)state;
    simulated_text(SETTINGS, "[registers]\nbackend = ppudbg\n[ppudbg]\npath = " TESTS_DIR "/lib/ppudbg\n");
    assert_done(apply_groups("0,1|6"), &err);
    assert_masks((const uint32_t[CARDS]){0x19, 0x31, [6] = 0x39});
    simulated_text("/etc/ppudbg.fault", "exit");
    assert_int_equal(apply_groups("3"), -1);
    assert_int_equal(err.status, STATUS_HARDWARE);
    assert_non_null(strstr(err.text, "the firmware refused"));
    assert_non_null(strstr(err.text, UNDONE));
}

#define EACH_APPLY(test) cmocka_unit_test_setup_teardown(test, start_with_random, stop_group)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH_APPLY(test_apply),
        EACH_APPLY(test_evidence),
        EACH_APPLY(test_several_groups),
        EACH_APPLY(test_names),
        EACH_APPLY(test_more_names_than_groups),
        EACH_APPLY(test_again),
        EACH_APPLY(test_all_or_none),
        EACH_APPLY(test_doubt),
        EACH_APPLY(test_after_a_vm_that_is_gone),
        EACH_APPLY(test_dry_run),
        EACH_APPLY(test_near_end_that_a_driver_holds),
        EACH_APPLY(test_near_end_that_is_off_the_bus),
        EACH_APPLY(test_group_in_use),
        EACH_APPLY(test_group_in_use_that_nobody_can_verify),
        EACH_APPLY(test_no_random_numbers),
        EACH_APPLY(test_vendor_tool),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
