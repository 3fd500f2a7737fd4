/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "session_scene.h"

static struct error err;

/* The whole path of a start. */
static void isolate(const char *uuid, const char *ppus, bool gate)
{
    open_to_change();
    const struct owner *owner = take(uuid, ppus);
    decide(INTENT_START);
    assert_done(record_claim(&session, owner, CLAIM_ADMITTED, true, &err), &err);
    assert_done(record_intent(&session, &turn, &err), &err);
    write_plan();
    assert_done(record_result(&session, &turn, gate, &err), &err);
}

/* … and of an end. */
static void end(const char *uuid)
{
    turn = (struct turn){.intent = INTENT_END};
    open_to_change();
    assert_done(record_end(&session, owners_find(&session.owners, uuid), &turn, &err), &err);
    decide(INTENT_END);
    assert_done(record_intent(&session, &turn, &err), &err);
    write_plan();
    assert_done(record_result(&session, &turn, false, &err), &err);
}

/* -- The intent ------------------------------------------------------------------ */

/* Killed right after it, a call leaves only cuts that are known to be ours. */
static void test_intent_of_a_start(void **state)
{
    (void)state;
    set_masks((const uint32_t[CARDS]){0x28, 0, 0x18});
    open_to_change();
    take(VM_A, "01");
    decide(INTENT_START);
    assert_done(record_intent(&session, &turn, &err), &err);
    look_again();
    assert_memory(&session, 0, "28/39/-");
    assert_memory(&session, 1, "0/31/-");
    assert_memory(&session, 2, "18/18/-"); /* it has what it must have, from before us */
    assert_memory(&session, 3, "0/30/-");
    assert_memory(&session, 6, "0/1/-");
    assert_memory(&session, 4, "-/-/-");
    assert_masks((const uint32_t[CARDS]){0x28, 0, 0x18});
}

/* Its own card is remembered though nothing is to be written. */
static void test_intent_of_a_card_that_is_right(void **state)
{
    (void)state;
    set_masks((const uint32_t[CARDS]){0x39, 0x8, 0x8, 0x10, 0, 0, 0x1});
    open_to_change();
    take(VM_A, "0");
    decide(INTENT_START);
    assert_plan(&session, "");
    assert_done(record_intent(&session, &turn, &err), &err);
    look_again();
    assert_memory(&session, 0, "39/39/-");
    assert_memory(&session, 1, "8/8/-");
    assert_memory(&session, 4, "-/-/-");
}

/* Of a card that cannot be read nothing is claimed before it is written, unless it is known what it was: then no cut
 * of it is forgotten, though the start opens links inside the VM. */
static void test_intent_of_an_unread_card(void **state)
{
    (void)state;
    scene_bind(addresses[0], "ppu", 1);
    scene_bind(addresses[1], "ppu", 1);
    scene_memory(1, 0, 0x8);
    open_to_change();
    take(VM_A, "01");
    decide(INTENT_START);
    assert_done(record_intent(&session, &turn, &err), &err);
    look_again();
    assert_memory(&session, 0, "-/-/-");
    assert_memory(&session, 1, "0/39/-");
}

/* What is opened now is no longer shown to be cut. */
static void test_intent_to_open_voids_evidence(void **state)
{
    (void)state;
    set_masks((const uint32_t[CARDS]){0x39, 0x39});
    scene_evidence(0, 0x39, 4711, (const char *const[]){VM_A, NULL});
    scene_evidence(5, 0x39, 4711, (const char *const[]){VM_B, NULL});
    open_to_change();
    take(VM_A, "01");
    decide(INTENT_START);
    assert_done(record_intent(&session, &turn, &err), &err);
    look_again();
    assert_memory(&session, 0, "39/39/19");
    assert_memory(&session, 5, "-/-/39");
}

static void test_intent_that_cannot_be_written(void **state)
{
    (void)state;
    open_to_change();
    take(VM_A, "0");
    decide(INTENT_START);
    simulated_remove(RUN);
    assert_int_equal(record_intent(&session, &turn, &err), -1);
    assert_int_equal(err.status, STATUS_HARDWARE);
}

/* -- The result ------------------------------------------------------------------ */

static void test_result_of_a_start(void **state)
{
    (void)state;
    set_masks((const uint32_t[CARDS]){0x28});
    isolate(VM_A, "01", false);
    look_again();
    assert_memory(&session, 0, "28/19/-");
    assert_memory(&session, 1, "0/31/-");
    assert_memory(&session, 2, "0/18/-");
    assert_claims("a:starting 01");
}

/* What was read back at the gate, for exactly the owners; of other cards there is none. */
static void test_evidence_of_the_gate(void **state)
{
    (void)state;
    int64_t before = time(NULL);
    isolate(VM_A, "01", true);
    look_again();
    assert_memory(&session, 0, "0/19/19");
    assert_memory(&session, 1, "0/31/31");
    assert_memory(&session, 2, "0/18/-");
    const struct evidence *evidence = &state_card(&session.state, address_of(1))->evidence;
    assert_in_range(evidence->at - before, 0, 60);
    assert_int_equal(evidence->owner_count, 1);
    assert_string_equal(evidence->owners[0], VM_A);
}

static void test_evidence_for_two_owners(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "b", .uuid = VM_B, .ppus = "0"});
    isolate(VM_A, "0", true);
    const struct evidence *evidence = &state_card(&session.state, address_of(0))->evidence;
    assert_int_equal(evidence->owner_count, 2);
    assert_string_equal(evidence->owners[0], VM_B);
    assert_string_equal(evidence->owners[1], VM_A);
}

/* Nothing is evidence that was not read back: unread, not written whole, or not at the gate. */
static void test_no_evidence(void **state)
{
    for (int what = 0; what < 3; what++) {
        if (what == 0) {
            scene_bind(addresses[0], "ppu", 1);
        }
        open_to_change();
        take(VM_A, "01");
        decide(INTENT_START);
        assert_done(record_intent(&session, &turn, &err), &err);
        write_plan();
        if (what == 1) {
            session.outcomes[0] = APPLY_FAILED; /* of card 0 */
        }
        assert_done(record_result(&session, &turn, what < 2, &err), &err);
        assert_int_equal(state_card(&session.state, address_of(0))->evidence.at, 0);
        assert_int_equal(state_card(&session.state, address_of(1))->evidence.at != 0, what < 2);
        restart(state);
    }
}

/* What the register did not take may be in it or not: the intent stays. */
static void test_result_of_a_write_that_failed(void **state)
{
    (void)state;
    open_to_change();
    take(VM_A, "01");
    decide(INTENT_START);
    assert_done(record_intent(&session, &turn, &err), &err);
    session.goals[0].want = 0x1; /* so that it shows */
    write_plan();
    session.outcomes[0] = APPLY_FAILED;
    assert_done(record_result(&session, &turn, true, &err), &err);
    assert_memory(&session, 0, "0/19/-");
    assert_memory(&session, 1, "0/31/31");
}

/* Written unread, and not taken: nothing is known of the card. */
static void test_result_of_an_unread_write_that_failed(void **state)
{
    (void)state;
    scene_bind(addresses[0], "ppu", 1);
    scene_evidence(0, 0x39, 4711, (const char *const[]){VM_B, NULL});
    isolate(VM_A, "01", false);
    assert_memory(&session, 0, "-/-/-");
    assert_memory(&session, 1, "0/31/-");
}

/* Cuts of which it was forgotten who made them stay so, as long as nothing is written: they must not become a debt. */
static void test_result_keeps_what_was_forgotten(void **state)
{
    (void)state;
    scene_bind(addresses[7], "ppu", 1);
    scene_memory(7, NOTHING, 0x29);
    isolate(VM_A, "6", true);
    assert_int_equal(session.goals[7].role, ROLE_FAR);
    assert_memory(&session, 7, "-/29/-");
}

/* A tool that reads nothing is taken to have found all links open. */
static void test_result_of_a_tool_that_reads_nothing(void **state)
{
    (void)state;
    simulated_text(SETTINGS, "[registers]\nbackend = ppudbg\n[ppudbg]\npath = " TESTS_DIR "/lib/ppudbg\n");
    isolate(VM_A, "01", true);
    assert_masks((const uint32_t[CARDS]){0x19, 0x31});
    look_again();
    assert_memory(&session, 0, "0/19/-");
    assert_memory(&session, 1, "0/31/-");
    assert_memory(&session, 2, "-/-/-");
}

/* … unless it is known what it found. */
static void test_result_of_a_tool_keeps_the_original(void **state)
{
    (void)state;
    simulated_text(SETTINGS, "[registers]\nbackend = ppudbg\n[ppudbg]\npath = " TESTS_DIR "/lib/ppudbg\n");
    scene_memory(0, 0x8, 0x8);
    isolate(VM_A, "01", true);
    assert_memory(&session, 0, "8/19/-");
}

/* Nobody has them, and they have what they had before us: nothing is remembered any more. */
static void test_what_is_settled_is_forgotten(void **state)
{
    (void)state;
    set_masks((const uint32_t[CARDS]){0x28, [7] = 0x20});
    isolate(VM_A, "01", true);
    session_close(&session);
    assert_true(host_has(CARDS_JSON));
    end(VM_A);
    assert_masks((const uint32_t[CARDS]){0x28, [7] = 0x20});
    look_again();
    for (int ppu = 0; ppu < CARDS; ppu++) {
        assert_memory(&session, ppu, "-/-/-");
    }
    assert_claims("");
    assert_false(host_has(CARDS_JSON));
}

/* A card that an owner has is remembered although nothing must be cut: here all links are inside the VM. */
static void test_card_with_an_owner_is_not_settled(void **state)
{
    (void)state;
    isolate(VM_A, "01234567", true);
    assert_plan(&session, "");
    assert_memory(&session, 0, "0/0/0");
}

/* … nor is one that may have other cuts than it should: its register did not take the write, or cannot be read. */
static void test_unsure_card_is_not_settled(void **state)
{
    (void)state;
    isolate(VM_A, "6", true);
    session_close(&session);
    turn = (struct turn){.intent = INTENT_END};
    open_to_change();
    assert_done(record_end(&session, owners_find(&session.owners, VM_A), &turn, &err), &err);
    decide(INTENT_END);
    assert_plan(&session, "0:1>0 4:8>0 5:10>0 6:39>0 7:8>0");
    assert_done(record_intent(&session, &turn, &err), &err);
    write_plan();
    session.outcomes[0] = APPLY_FAILED; /* of card 0 */
    assert_done(record_result(&session, &turn, false, &err), &err);
    assert_memory(&session, 0, "0/1/-");
    assert_memory(&session, 4, "-/-/-");
    session_close(&session);
    start(state);
    scene_bind(addresses[7], "ppu", 1);
    scene_memory(7, 0x20, 0x20);
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .ppus = "6"});
    end(VM_A);
    assert_memory(&session, 7, "20/20/-");
}

/* A cut that was there before a VM came that needs it is there when it is gone. */
static void test_cuts_from_before_stay(void **state)
{
    (void)state;
    set_masks((const uint32_t[CARDS]){[2] = 0x18, [3] = 0x31});
    isolate(VM_A, "01", true);
    assert_memory(&session, 2, "18/18/-");
    session_close(&session);
    end(VM_A);
    assert_masks((const uint32_t[CARDS]){[2] = 0x18, [3] = 0x31});
    assert_memory(&session, 2, "-/-/-");
}

/* What is not back is owed for as long as that is so, whoever comes and goes. */
static void test_debt_is_remembered(void **state)
{
    uint32_t owed = 77;
    (void)state;
    isolate(VM_A, "01", true);
    session_close(&session);
    scene_bind(addresses[0], "ppu", 1);
    end(VM_A);
    assert_memory(&session, 0, "0/19/-");
    assert_memory(&session, 1, "-/-/-");
    look_again();
    assert_claims("");
    assert_true(policy_owes(&session, 0, &owed));
    assert_int_equal(owed, 0);
    assert_false(policy_owes(&session, 1, &owed));
}

/* A card that faces another VM has not what it had before us, and its memory stays. */
static void test_card_that_faces_a_vm_is_remembered(void **state)
{
    (void)state;
    isolate(VM_A, "0", true);
    session_close(&session);
    scene_running("b", VM_B, "2", 102);
    scene_hold(2);
    end(VM_A);
    assert_masks((const uint32_t[CARDS]){0x08, 0x10, 0x08, 0x8});
    assert_memory(&session, 0, "0/8/-");
    assert_memory(&session, 6, "-/-/-");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_intent_of_a_start),
        EACH(test_intent_of_a_card_that_is_right),
        EACH(test_intent_of_an_unread_card),
        EACH(test_intent_to_open_voids_evidence),
        EACH(test_intent_that_cannot_be_written),
        EACH(test_result_of_a_start),
        EACH(test_evidence_of_the_gate),
        EACH(test_evidence_for_two_owners),
        EACH(test_no_evidence),
        EACH(test_result_of_a_write_that_failed),
        EACH(test_result_of_an_unread_write_that_failed),
        EACH(test_result_keeps_what_was_forgotten),
        EACH(test_result_of_a_tool_that_reads_nothing),
        EACH(test_result_of_a_tool_keeps_the_original),
        EACH(test_what_is_settled_is_forgotten),
        EACH(test_card_with_an_owner_is_not_settled),
        EACH(test_unsure_card_is_not_settled),
        EACH(test_cuts_from_before_stay),
        EACH(test_debt_is_remembered),
        EACH(test_card_that_faces_a_vm_is_remembered),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
