/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/groups.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "session_scene.h"

static const uint32_t nothing_cut[CARDS] = {0};
static const uint32_t alone[CARDS] = {0x19, 0x31, 0x18, 0x30, 0, 0, 0x1, 0x1};

static struct group_report report;
static struct error err;

static int stop_group(void **state)
{
    group_report_free(&report);
    return stop(state);
}

static void begin(enum session_access access)
{
    group_report_free(&report);
    session_close(&session);
    scene_session(&session, access);
    err = (struct error){0};
}

/* Groups that are in force. */
static void make_groups(const char *list)
{
    struct card_groups groups;
    begin(SESSION_CHANGE);
    assert_done(card_groups_parse(session.machine, list, &groups, &err), &err);
    assert_done(groups_apply(&session, &groups, NULL, 0, &report, &err), &err);
}

static int release(const char *name)
{
    begin(SESSION_CHANGE);
    return groups_release(&session, name, false, &report, &err);
}

static int reset(bool force)
{
    begin(SESSION_CHANGE);
    return groups_reset(&session, force, &report, &err);
}

static void assert_refused(int result, enum status status, const char *text)
{
    assert_int_equal(result, -1);
    assert_error(&err, status, text, "");
}

static void assert_parties(const struct parties *parties, const char *expected)
{
    char text[512] = "";
    size_t used = 0;
    for (size_t i = 0; i < parties->count; i++) {
        const struct party *party = &parties->items[i];
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s ", i > 0 ? "; " : "", party->name);
        for (size_t k = 0; k < party->ppu_count; k++) {
            used += (size_t)snprintf(text + used, sizeof text - used, "%d", party->ppus[k]);
        }
    }
    assert_string_equal(text, expected);
}

/* The names of the claims that are there now. */
static void assert_claim_names(const char *expected)
{
    char text[512] = "";
    size_t used = 0;
    begin(SESSION_LOOK);
    for (size_t i = 0; i < session.state.claim_count; i++) {
        used +=
            (size_t)snprintf(text + used, sizeof text - used, "%s%s", i > 0 ? " " : "", session.state.claims[i].name);
    }
    assert_string_equal(text, expected);
}

#define CANNOT_MAP "resource0 cannot be mapped now: a driver or QEMU holds the card's registers (EINVAL)"
#define HELD_1 "PPU 1 (0000:7e:00.0): " CANNOT_MAP
#define OWED_1                                                                                                         \
    "not all links are back: PPU 1 (0000:7e:00.0) is owed the mask 0x00000000: " CANNOT_MAP "; icn-hook repair gives " \
    "it back as soon as its registers can be written"

/* -- Release ------------------------------------------------------------------------ */

static void test_release(void **state)
{
    (void)state;
    set_masks((const uint32_t[CARDS]){[0] = 0x20});
    make_groups("0,1");
    assert_done(release("manual-0"), &err);
    assert_masks((const uint32_t[CARDS]){[0] = 0x20});
    assert_parties(&report.groups, "manual-0 01");
    assert_int_equal(report.write_count, 7); /* of PPU 0 a cut and an opening */
    assert_notes(&session.notes, "");
    assert_claim_names("");
    assert_false(host_has(CARDS_JSON));
}

/* What the other group relies on stays. */
static void test_release_beside_another_group(void **state)
{
    (void)state;
    make_groups("0,1|6");
    assert_done(release("manual-0"), &err);
    assert_masks((const uint32_t[CARDS]){0x01, 0, 0, 0, 0x08, 0x10, 0x39, 0x08});
    assert_claim_names("manual-6");
}

static void test_release_of_nothing(void **state)
{
    (void)state;
    assert_refused(release("red"), STATUS_INVALID, "there is no group 'red'; nothing is isolated by hand");
    make_groups("4|0,1");
    int result = release("red");
    assert_int_equal(result, -1);
    assert_int_equal(err.status, STATUS_INVALID);
    assert_memory_equal(err.text, "there is no group 'red'; there are: '", 37);
    assert_non_null(strstr(err.text, "'manual-0'"));
    assert_non_null(strstr(err.text, "'manual-4'"));
}

static void test_release_of_a_vm(void **state)
{
    (void)state;
    scene_running("a", VM_A, "0", 101);
    scene_running("b", VM_B, "", 102); /* without a card */
    scene_claim(&(struct scene_claim){.name = "c", .uuid = VM_C, .ppus = "1"});
    assert_refused(release("a"), STATUS_INVALID, "'a' is a VM of libvirt; stop it with virsh");
    assert_refused(release("b"), STATUS_INVALID, "'b' is a VM of libvirt; stop it with virsh");
    assert_refused(release("c"), STATUS_INVALID, "'c' is a VM of libvirt; stop it with virsh");
}

/* Its links would come back under a VMM that runs. */
static void test_release_of_a_group_in_use(void **state)
{
    (void)state;
    make_groups("0,1");
    scene_hold(1);
    assert_refused(release("manual-0"), STATUS_CONFLICT,
                   "PPU 1 (0000:7e:00.0) of the group 'manual-0' is held open through vfio; end its VM first");
    simulated_link("/sys/bus/pci/devices/0000:7e:00.0/iommu_group", "../../../kernel/iommu_groups/14");
    simulated_text("/proc/55/comm", "cloud-hyperv\n");
    simulated_link("/proc/55/fd/7", "/dev/vfio/14");
    assert_refused(release("manual-0"), STATUS_CONFLICT,
                   "PPU 1 (0000:7e:00.0) of the group 'manual-0' is held open through vfio by process 55 "
                   "(cloud-hyperv); end its VM first");
    assert_masks(alone);
    assert_claim_names("manual-0");
}

/* It has ended, but what it owes is not forgotten, and is paid by whatever comes next. */
static void test_release_of_a_card_that_a_driver_holds(void **state)
{
    (void)state;
    make_groups("0,1");
    scene_bind(addresses[1], "ppu", 1);
    assert_refused(release("manual-0"), STATUS_HARDWARE, OWED_1);
    assert_masks((const uint32_t[CARDS]){[1] = 0x31});
    assert_claim_names("");
    assert_refused(reset(false), STATUS_HARDWARE, OWED_1);
    scene_bind(addresses[1], "vfio-pci", 0);
    assert_done(reset(false), &err);
    assert_masks(nothing_cut);
}

static void test_release_in_doubt(void **state)
{
    (void)state;
    make_groups("0,1");
    simulated_text(CLAIM_OF(VM_B), "{");
    assert_int_equal(release("manual-0"), -1);
    assert_memory_equal(err.text, "not all links are back: ", 24);
    assert_int_equal(err.status, STATUS_INVALID);
    assert_masks(alone);
}

static void test_dry_release(void **state)
{
    (void)state;
    make_groups("0,1");
    begin(SESSION_LOOK);
    assert_done(groups_release(&session, "manual-0", false, &report, &err), &err);
    assert_parties(&report.groups, "manual-0 01");
    assert_int_equal(report.write_count, 6);
    assert_masks(alone);
    assert_claim_names("manual-0");
}

/* -- Reset -------------------------------------------------------------------------- */

static void test_reset(void **state)
{
    (void)state;
    set_masks((const uint32_t[CARDS]){[4] = 0x39, [5] = 0x01});
    make_groups("6|0,1");
    assert_done(reset(false), &err);
    assert_masks((const uint32_t[CARDS]){[4] = 0x39, [5] = 0x01});
    assert_parties(&report.groups, "manual-0 01; manual-6 6");
    assert_parties(&report.exposed, "");
    assert_claim_names("");
}

/* A cut of which nobody knows anything is opened too: that is what it is for. */
static void test_reset_opens_what_nobody_knows(void **state)
{
    (void)state;
    set_masks((const uint32_t[CARDS]){[4] = 0x39});
    assert_done(reset(false), &err);
    assert_masks(nothing_cut);
    assert_int_equal(report.write_count, 1);
}

static void test_reset_that_isolates(void **state)
{
    (void)state;
    simulated_text(SETTINGS, "[policy]\nidle = isolate\n");
    assert_done(reset(false), &err);
    assert_masks((const uint32_t[CARDS]){0x39, 0x39, 0x39, 0x39, 0x39, 0x39, 0x39, 0x39});
}

/* What was isolated as idle is not what the cards had before us, though the record of it is lost. */
static void test_reset_after_isolation(void **state)
{
    (void)state;
    simulated_text(SETTINGS, "[policy]\nidle = isolate\n");
    set_masks((const uint32_t[CARDS]){0x39, 0x39, 0x39, 0x39, 0x39, 0x39, 0x39, 0x39});
    assert_done(reset(false), &err);
    simulated_remove(SETTINGS);
    session_close(&session);
    assert_done(reset(false), &err);
    assert_masks(nothing_cut);
}

static void test_reset_of_cards_in_use(void **state)
{
    static const char text[] = "cards are in use, and their users would be exposed: a (PPU 0), red (PPU 2), unknown "
                               "(PPU 4, 5); stop these first, or use --force";
    (void)state;
    scene_running("a", VM_A, "0", 101);
    scene_claim(
        &(struct scene_claim){.name = "red", .uuid = VM_B, .is_group = true, .phase = CLAIM_RUNNING, .ppus = "12"});
    scene_hold(2);
    scene_hold(4);
    scene_hold(5);
    set_masks((const uint32_t[CARDS]){0x39, 0x29});
    assert_refused(reset(false), STATUS_CONFLICT, text);
    assert_parties(&report.exposed, "a 0; red 2; unknown 45");
    assert_int_equal(simulated_register(addresses[1], LINK_CONFIG_OFFSET), 0x29);
    /* VMs keep their claims, for they own their cards still; groups end. */
    session_close(&session);
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .phase = CLAIM_RUNNING, .ppus = "0"});
    assert_done(reset(true), &err);
    assert_parties(&report.exposed, "a 0; red 2; unknown 45");
    assert_parties(&report.groups, "red 12");
    assert_int_equal(simulated_register(addresses[0], LINK_CONFIG_OFFSET), 0);
    assert_int_equal(simulated_register(addresses[1], LINK_CONFIG_OFFSET), 0);
    assert_claim_names("a");
}

static void test_reset_in_doubt(void **state)
{
    (void)state;
    make_groups("0,1");
    simulated_text(CLAIM_OF(VM_B), "{");
    assert_int_equal(reset(false), -1);
    assert_int_equal(err.status, STATUS_INVALID);
    assert_non_null(strstr(err.text, CLAIM_OF(VM_B)));
    assert_masks(alone);
    assert_done(reset(true), &err);
    assert_masks(nothing_cut);
}

/* A card that we never touched is not ours to give back. */
static void test_reset_beside_a_card_that_a_driver_holds(void **state)
{
    (void)state;
    make_groups("0");
    scene_bind(addresses[1], "vfio-pci", 0);
    simulated_set_register(addresses[4], LINK_CONFIG_OFFSET, UINT32_MAX);
    simulated_config(addresses[4], 0xffff, 0xffff);
    assert_done(reset(false), &err);
    assert_noted(&session.notes,
                 "warning card: PPU 4 (0001:09:00.0): the register reads all ones: the card is off the bus or powered "
                 "down; reset it or replace it; its links stay as they are");
    simulated_set_register(addresses[4], LINK_CONFIG_OFFSET, 0);
    assert_masks(nothing_cut);
    assert_claim_names("");
}

/* A register that cannot be used at all is a failure. */
static void test_reset_of_a_card_that_fails(void **state)
{
    (void)state;
    simulated_remove("/sys/bus/pci/devices/0001:09:00.0/resource0");
    assert_int_equal(reset(false), -1);
    assert_int_equal(err.status, STATUS_HARDWARE);
    assert_memory_equal(err.text, "not all links are back: PPU 4 (0001:09:00.0): ", 46);
}

static void test_dry_reset(void **state)
{
    (void)state;
    make_groups("0,1");
    begin(SESSION_LOOK);
    assert_done(groups_reset(&session, false, &report, &err), &err);
    assert_parties(&report.groups, "manual-0 01");
    assert_int_equal(report.write_count, 6);
    assert_masks(alone);
    assert_claim_names("manual-0");
}

static void test_vendor_tool(void **state)
{
    (void)state;
    simulated_text(SETTINGS, "[registers]\nbackend = ppudbg\n[ppudbg]\npath = " TESTS_DIR "/lib/ppudbg\n");
    make_groups("0,1|6");
    /* As long as anybody has a card it stays alone: a reset would reach the whole machine. */
    assert_done(release("manual-6"), &err);
    assert_noted(&session.notes,
                 "warning owed: PPU 6 (0001:aa:00.0) is owed the mask 0x00000001, which it gets back when "
                 "no card has an owner");
    assert_masks((const uint32_t[CARDS]){0x19, 0x31, [6] = 0x39});
    assert_claim_names("manual-0");
    assert_done(release("manual-0"), &err);
    assert_masks(nothing_cut);
}

#define EACH_END(test) cmocka_unit_test_setup_teardown(test, start, stop_group)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH_END(test_release),
        EACH_END(test_release_beside_another_group),
        EACH_END(test_release_of_nothing),
        EACH_END(test_release_of_a_vm),
        EACH_END(test_release_of_a_group_in_use),
        EACH_END(test_release_of_a_card_that_a_driver_holds),
        EACH_END(test_release_in_doubt),
        EACH_END(test_dry_release),
        EACH_END(test_reset),
        EACH_END(test_reset_opens_what_nobody_knows),
        EACH_END(test_reset_that_isolates),
        EACH_END(test_reset_after_isolation),
        EACH_END(test_reset_of_cards_in_use),
        EACH_END(test_reset_in_doubt),
        EACH_END(test_reset_beside_a_card_that_a_driver_holds),
        EACH_END(test_reset_of_a_card_that_fails),
        EACH_END(test_dry_reset),
        EACH_END(test_vendor_tool),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
