/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/reconcile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "session_scene.h"

static const uint32_t nothing_cut[CARDS] = {0};

static struct repair_report report;
static struct error err;

static int stop_repair(void **state)
{
    repair_report_free(&report);
    return stop(state);
}

static int repair_as(enum session_access access)
{
    repair_report_free(&report);
    session_close(&session);
    scene_session(&session, access);
    return repair_host(&session, &report, &err);
}

static void repair(void)
{
    assert_done(repair_as(SESSION_CHANGE), &err);
}

/* The writes as "PPU:FROM>TO", in order. */
static void assert_writes(const char *expected)
{
    char text[512] = "";
    size_t used = 0;
    for (size_t i = 0; i < report.write_count; i++) {
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%d:%x>%x", i > 0 ? " " : "", report.writes[i].ppu,
                                 report.writes[i].from, report.writes[i].to);
    }
    assert_string_equal(text, expected);
}

static void test_nothing_to_do(void **state)
{
    (void)state;
    repair();
    assert_writes("");
    assert_notes(&session.notes, "");
    assert_masks(nothing_cut);
    assert_int_equal(report.coverage.required, 0);
    session_close(&session);
    assert_false(host_has(CARDS_JSON));
}

/* Cuts first, and nothing is opened but debts: 5 is cut for a reason that nobody knows. */
static void test_cuts_and_debts(void **state)
{
    (void)state;
    running("a", VM_A, "01", 101);
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .phase = CLAIM_RUNNING, .ppus = "01"});
    scene_memory(0, 0, 0x19);
    scene_memory(1, 0, 0x31);
    scene_memory(4, 0x8, 0x39);
    set_masks((const uint32_t[CARDS]){0x19, 0x31, 0x08, 0x30, 0x39, 0x10, 0x01, 0x01});
    repair();
    assert_writes("2:8>18 4:39>8");
    assert_masks((const uint32_t[CARDS]){0x19, 0x31, 0x18, 0x30, 0x08, 0x10, 0x01, 0x01});
    assert_int_equal(report.coverage.required, 6);
    assert_int_equal(report.coverage.proven, 6);
    assert_false(notes_have(&session.notes, NOTE_CUT_MISSING));
    assert_false(notes_have(&session.notes, NOTE_DEBT));
    /* What it made is recorded, and what it paid is forgotten. */
    assert_memory(&session, 2, "0/18/-");
    assert_memory(&session, 4, "-/-/-");
    repair();
    assert_writes("");
}

/* What cannot be paid stays owed, and is no failure. */
static void test_debt_that_cannot_be_paid(void **state)
{
    (void)state;
    scene_memory(4, 0, 0x39);
    set_masks((const uint32_t[CARDS]){[4] = 0x39});
    scene_bind(addresses[4], "ppu", 1);
    repair();
    assert_noted(&session.notes, "warning owed: PPU 4 (0001:09:00.0) is owed the mask 0x00000000, which could not be "
                                 "given back yet; icn-hook repair does it as soon as its registers can be written");
    session_close(&session);
    scene_bind(addresses[4], "vfio-pci", 0);
    repair();
    assert_masks(nothing_cut);
}

/* A running VM's card that nobody holds open yet lacks a cut: it is made, and nothing of it is opened. */
static void test_owned_card(void **state)
{
    (void)state;
    scene_running("a", VM_A, "01", 101);
    set_masks((const uint32_t[CARDS]){0x31, 0x39, 0x18, 0x30, 0, 0, 0x01, 0x01});
    repair();
    assert_writes("0:31>39");
}

static void test_adopts_running_vms(void **state)
{
    (void)state;
    running("a", VM_A, "01", 101);
    running("b", VM_B, "6", 102);
    scene_claim(&(struct scene_claim){.name = "b", .uuid = VM_B, .ppus = "6"}); /* starting */
    scene_running("c", VM_C, "", 103);
    repair();
    assert_noted(&session.notes,
                 "info repaired: VM 'a' runs and icn-hook did not know of it; it has a claim on its cards "
                 "now");
    assert_int_equal(state_claim(&session.state, VM_A)->process.pid, 101);
    look_again();
    assert_claims("b:running 6; a:running 01");
}

/* … but no evidence comes from it: nothing was read back before QEMU opened the cards. */
static void test_adopting_proves_nothing(void **state)
{
    (void)state;
    scene_running("a", VM_A, "01", 101);
    repair();
    assert_memory(&session, 0, "0/19/-");
}

static void test_drops_claims(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .phase = CLAIM_RUNNING, .ppus = "01"});
    scene_claim(
        &(struct scene_claim){.name = "red", .uuid = VM_B, .is_group = true, .phase = CLAIM_RUNNING, .ppus = "6"});
    simulated_text(TOMBSTONE_OF(VM_C), "");
    scene_memory(0, 0, 0x19);
    set_masks((const uint32_t[CARDS]){0x19, 0, 0, 0, 0x08, 0x10, 0x39, 0x08});
    repair();
    assert_noted(&session.notes,
                 "info repaired: VM 'a' has ended without a call that said so; its cards are given back");
    assert_masks((const uint32_t[CARDS]){0x01, 0, 0, 0, 0x08, 0x10, 0x39, 0x08});
    look_again();
    assert_claims("red:running 6");
    assert_false(host_has(TOMBSTONE_OF(VM_C)));
}

static void test_damaged_claim(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .ppus = "0"});
    simulated_text(CLAIM_OF(VM_A), "{");
    repair();
    assert_noted(&session.notes, "info repaired: the damaged claim of " VM_A " is removed, because no such VM runs");
    assert_null(session_doubt(&session, ""));
    assert_false(host_has(CLAIM_OF(VM_A)));
}

static void test_damaged_claim_of_a_running_vm(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .ppus = "0"});
    simulated_text(CLAIM_OF(VM_A), "{");
    running("a", VM_A, "01", 101);
    repair();
    assert_noted(&session.notes,
                 "info repaired: the damaged claim of " VM_A " is written anew from libvirt's status file");
    look_again();
    assert_claims("a:running 01");
}

/* What could only not be read this time may make sense. */
static void test_claim_that_could_not_be_read(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .ppus = "0"});
    simulated_text(CLAIM_OF(VM_A), "{");
    scene_memory(4, 0, 0x39);
    set_masks((const uint32_t[CARDS]){[4] = 0x39});
    scene_session(&session, SESSION_CHANGE);
    session.state.faults[0].is_damaged = false;
    assert_done(repair_host(&session, &report, &err), &err);
    assert_true(host_has(CLAIM_OF(VM_A)));
    assert_writes(""); /* in doubt nothing is opened */
}

/* Whose cuts those are that are there is not known any more: they stay, and count as nobody's. */
static void test_damaged_memory(void **state)
{
    (void)state;
    running("a", VM_A, "01", 101);
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .phase = CLAIM_RUNNING, .ppus = "01"});
    scene_memory(0, 0, 0x19);
    simulated_text(CARDS_JSON, "{");
    set_masks((const uint32_t[CARDS]){0x19, 0x31, 0x18, 0x38, 0x39, 0, 0, 0x01});
    repair();
    assert_noted(&session.notes, "info repaired: the damaged memory of the cards is begun anew");
    assert_noted(&session.notes,
                 "warning state: PPU 4 (0001:09:00.0) has cuts of which it is not known any more who made "
                 "them; they stay until `icn-hook reset`, when no card is in use");
    assert_noted(&session.notes,
                 "warning state: PPU 3 (0000:c6:00.0) has cuts of which it is not known any more who made "
                 "them; they stay until `icn-hook reset`, when no card is in use");
    assert_writes("6:0>1");
    assert_masks((const uint32_t[CARDS]){0x19, 0x31, 0x18, 0x38, 0x39, 0, 0x01, 0x01});
    assert_true(host_has(RUN "/.cards.json.damaged"));
    assert_memory(&session, 2, "0/18/-");
    assert_memory(&session, 4, "-/39/-");
    assert_memory(&session, 5, "-/-/-");
    assert_null(session_doubt(&session, ""));
    repair();
    assert_writes("");
    assert_false(notes_have(&session.notes, NOTE_DEBT));
}

static void test_dry_run_changes_nothing(void **state)
{
    static const uint32_t masks[CARDS] = {0, 0, 0x08, 0x30, 0x39, 0, 0x01, 0x01};
    (void)state;
    scene_running("a", VM_A, "01", 101);
    scene_claim(&(struct scene_claim){.name = "b", .uuid = VM_B, .phase = CLAIM_RUNNING, .ppus = "5"});
    scene_claim(&(struct scene_claim){.name = "c", .uuid = VM_C, .ppus = "7"});
    scene_memory(4, 0, 0x39);
    simulated_text(CLAIM_OF(VM_C), "{");
    set_masks(masks);
    assert_done(repair_as(SESSION_LOOK), &err);
    assert_noted(&session.notes, "info repaired: the damaged claim of " VM_C " is removed, because no such VM runs");
    assert_noted(&session.notes,
                 "info repaired: VM 'a' runs and icn-hook did not know of it; it has a claim on its cards "
                 "now");
    assert_masks(masks);
    assert_string_equal(simulated_read(CLAIM_OF(VM_C)), "{");
    assert_true(host_has(CLAIM_OF(VM_B)));
    assert_false(host_has(CLAIM_OF(VM_A)));
    assert_memory(&session, 4, "0/39/-");
    assert_true(report.write_count > 0);
    /* What it would do is what it does. */
    char foretold[512] = "";
    size_t used = 0;
    for (size_t i = 0; i < report.write_count; i++) {
        used += (size_t)snprintf(foretold + used, sizeof foretold - used, "%s%d:%x>%x", i > 0 ? " " : "",
                                 report.writes[i].ppu, report.writes[i].from, report.writes[i].to);
    }
    repair();
    assert_writes(foretold);
}

static int write_nothing(struct registers *registers, const struct writing *writing, enum apply_outcome outcomes[],
                         struct text_list *warnings, struct error *error)
{
    (void)registers;
    (void)error;
    assert_true(writing->may_defer && writing->keep_going);
    for (size_t i = 0; i < writing->plan->count; i++) {
        outcomes[i] = APPLY_FAILED;
    }
    text_list_add(warnings, "the register says no");
    return 0;
}

/* More than a repair can do. */
static void test_card_that_takes_no_cut(void **state)
{
    struct registers_backend stuck;
    (void)state;
    scene_running("a", VM_A, "0", 101);
    set_masks((const uint32_t[CARDS]){0x39, 0x08, 0x08, 0x10, 0, 0, 0, 0});
    scene_session(&session, SESSION_CHANGE);
    stuck = *session.registers.backend;
    stuck.write_plan = write_nothing;
    session.registers.backend = &stuck;
    assert_int_equal(repair_host(&session, &report, &err), -1);
    assert_error(
        &err, STATUS_HARDWARE,
        "PPU 6 (0001:aa:00.0) lacks cuts and did not take them (mask 0x00000000, required 0x00000001); take it "
        "out of use",
        "");
    assert_writes("");
    assert_noted(&session.notes, "warning card: the register says no");
    assert_int_equal(report.coverage.proven, 4);
}

#define EACH_REPAIR(test) cmocka_unit_test_setup_teardown(test, start, stop_repair)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH_REPAIR(test_nothing_to_do),
        EACH_REPAIR(test_cuts_and_debts),
        EACH_REPAIR(test_debt_that_cannot_be_paid),
        EACH_REPAIR(test_owned_card),
        EACH_REPAIR(test_adopts_running_vms),
        EACH_REPAIR(test_adopting_proves_nothing),
        EACH_REPAIR(test_drops_claims),
        EACH_REPAIR(test_damaged_claim),
        EACH_REPAIR(test_damaged_claim_of_a_running_vm),
        EACH_REPAIR(test_claim_that_could_not_be_read),
        EACH_REPAIR(test_damaged_memory),
        EACH_REPAIR(test_dry_run_changes_nothing),
        EACH_REPAIR(test_card_that_takes_no_cut),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
