/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "scene.h"

static struct session session;
static struct turn turn;
static struct error err;

static int start(void **state)
{
    session = (struct session){.state = STATE_CLOSED};
    turn = (struct turn){.intent = INTENT_LOOK};
    err = (struct error){0};
    return scene_start(state);
}

static int stop(void **state)
{
    (void)state;
    session_close(&session);
    return 0;
}

static void restart(void **state)
{
    stop(state);
    start(state);
}

static void open_to_change(void)
{
    scene_session(&session, SESSION_CHANGE);
}

/* What is on disk, seen by another session. */
static void look_again(void)
{
    session_close(&session);
    scene_session(&session, SESSION_LOOK);
}

static const struct owner *take(const char *uuid, const char *ppus)
{
    const struct owner *owner = owners_find(&session.owners, uuid);
    owner = owner ? owner : owners_add(&session.owners, OWNER_KIND_VM, uuid, "a");
    for (; *ppus != '\0'; ppus++) {
        owners_give(&session.owners, owner, *ppus - '0', true);
        turn.near[*ppus - '0'] = true;
    }
    return owner;
}

static void decide(enum intent intent)
{
    turn.intent = intent;
    policy_decide(&session, &turn);
}

static void write_plan(void)
{
    assert_done(session_write(&session, turn.given_back, true, true, &err), &err);
}

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

/* Each claim as "NAME:PHASE IDS", joined by "; ". */
static void assert_claims(const char *expected)
{
    static const char *const phases[] = {"starting", "running", "ended"};
    char text[1024] = "";
    size_t used = 0;
    for (size_t i = 0; i < session.state.claim_count; i++) {
        const struct claim *claim = &session.state.claims[i];
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s:%s ", i > 0 ? "; " : "", claim->name,
                                 phases[claim->phase]);
        for (size_t k = 0; k < claim->card_count; k++) {
            used += (size_t)snprintf(text + used, sizeof text - used, "%d%s",
                                     machine_ppu_at(session.machine, claim->cards[k].bdf),
                                     claim->cards[k].whole ? "" : "p");
        }
    }
    assert_string_equal(text, expected);
}

/* -- Claims -------------------------------------------------------------------- */

static void test_new_claim(void **state)
{
    (void)state;
    int64_t before = time(NULL);
    open_to_change();
    session.has_daemon = true;
    session.daemon = scene_daemon();
    const struct owner *owner = take(VM_A, "01");
    session.owners.holdings[1].whole = false;
    assert_done(record_claim(&session, owner, CLAIM_ADMITTED, true, &err), &err);
    int64_t age_ms = state_boottime_ms() - session.state.claims[0].boottime_ms;
    assert_in_range(age_ms, 0, 60000);
    look_again();
    const struct claim *claim = state_claim(&session.state, VM_A);
    assert_claims("a:starting 01p");
    assert_in_range(claim->since - before, 0, 60);
    assert_false(claim->is_group);
    assert_true(claim->has_daemon);
    assert_int_equal(claim->daemon.pid, scene_daemon().pid);
    assert_int_equal(claim->process.pid, 0);
}

static void test_claim_of_a_group(void **state)
{
    (void)state;
    open_to_change();
    const struct owner *owner = owners_add(&session.owners, OWNER_KIND_GROUP, VM_A, "red");
    owners_give(&session.owners, owner, 3, true);
    assert_done(record_claim(&session, owner, CLAIM_SEEN, true, &err), &err);
    look_again();
    assert_claims("red:running 3");
    assert_true(session.state.claims[0].is_group);
    assert_false(session.state.claims[0].has_daemon);
}

/* One that is there keeps its beginning, and gets today's cards. */
static void test_claim_goes_on(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .daemon = DAEMON_HERE, .age_ms = 5000, .ppus = "01"});
    scene_running("a", VM_A, "04", 101);
    open_to_change();
    int64_t began = session.state.claims[0].boottime_ms;
    const struct owner *owner = owners_find(&session.owners, VM_A);
    assert_done(record_claim(&session, owner, CLAIM_SEEN, false, &err), &err);
    assert_int_equal(session.state.claims[0].verdict, CLAIM_COUNTS);
    look_again();
    const struct claim *claim = state_claim(&session.state, VM_A);
    assert_claims("a:running 04");
    assert_int_equal(claim->since, 4711);
    assert_int_equal(claim->boottime_ms, began);
    assert_int_equal(claim->process.pid, 101);
    assert_true(claim->has_daemon);
}

/* The gate is a step of the start: its time begins anew there, though its claim does not. */
static void test_time_of_the_gate(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .age_ms = 5000, .ppus = "0"});
    open_to_change();
    int64_t began = session.state.claims[0].boottime_ms;
    assert_done(record_claim(&session, owners_find(&session.owners, VM_A), CLAIM_ADMITTED, false, &err), &err);
    assert_true(session.state.claims[0].boottime_ms >= began + 5000);
    assert_int_equal(session.state.claims[0].since, 4711);
}

/* A new start: nothing of the old one counts, and neither does its evidence. */
static void test_claim_begins_anew(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .daemon = DAEMON_HERE, .pid = 101, .ppus = "0"});
    scene_memory(0, 0, 0x39);
    scene_evidence(0, 0x39, 4711, (const char *const[]){VM_A, NULL});
    scene_evidence(5, 0x39, 4711, (const char *const[]){VM_B, NULL});
    open_to_change();
    const struct owner *owner = owners_find(&session.owners, VM_A);
    assert_done(record_claim(&session, owner, CLAIM_ADMITTED, false, &err), &err);
    assert_memory(&session, 0, "0/39/39");
    assert_done(record_claim(&session, owner, CLAIM_ADMITTED, true, &err), &err);
    assert_memory(&session, 0, "0/39/-");
    assert_memory(&session, 5, "-/-/39");
    look_again();
    const struct claim *claim = state_claim(&session.state, VM_A);
    assert_int_not_equal(claim->since, 4711);
    assert_int_equal(claim->process.pid, 0);
    assert_false(claim->has_daemon);
}

static void test_cards_without_id_are_left_out(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .ppus = "01"});
    simulated_text(SETTINGS, "[map]\n1 = 0000:7e:00.0\n");
    open_to_change();
    assert_done(record_claim(&session, owners_find(&session.owners, VM_A), CLAIM_SEEN, false, &err), &err);
    look_again();
    assert_claims("a:running 1");
}

/* -- Ends ---------------------------------------------------------------------- */

/* First it is noted, last the claim is removed: killed in between, it is finished by the next one. */
static void test_end(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .ppus = "01"});
    scene_claim(&(struct scene_claim){.name = "b", .uuid = VM_B, .ppus = "2"});
    scene_evidence(0, 0x39, 4711, (const char *const[]){VM_A, NULL});
    open_to_change();
    assert_done(record_end(&session, record_restore_owner(&session, state_claim(&session.state, VM_A)), &turn, &err),
                &err);
    assert_owners(&session, "..1.....");
    assert_true(turn.given_back[0] && turn.given_back[1] && !turn.given_back[2]);
    assert_memory(&session, 0, "-/-/-");
    assert_claims("b:starting 2; a:ended 01");
    assert_true(host_has(CLAIM_OF(VM_A)));
    assert_true(host_has(TOMBSTONE_OF(VM_A)));
    decide(INTENT_END);
    assert_done(record_intent(&session, &turn, &err), &err);
    write_plan();
    assert_true(host_has(CLAIM_OF(VM_A)));
    assert_done(record_result(&session, &turn, false, &err), &err);
    assert_claims("b:starting 2");
    assert_false(host_has(CLAIM_OF(VM_A)));
    assert_false(host_has(TOMBSTONE_OF(VM_A)));
}

/* Who had the card until now made the cuts that it has: an original that is learnt then is without them. */
static void test_end_knows_the_owner_of_before(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .ppus = "01"});
    set_masks((const uint32_t[CARDS]){0x19, 0x31, 0x18, 0x30, 0, 0, 0x1, 0x1});
    open_to_change();
    assert_done(record_end(&session, owners_find(&session.owners, VM_A), &turn, &err), &err);
    decide(INTENT_END);
    assert_memory(&session, 0, "0/19/-");
    assert_memory(&session, 2, "0/18/-");
    assert_plan(&session, "0:19>0 1:31>0 2:18>0 3:30>0 6:1>0 7:1>0");
}

static void test_end_when_looking(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .ppus = "01"});
    scene_session(&session, SESSION_LOOK);
    assert_done(record_end(&session, owners_find(&session.owners, VM_A), &turn, &err), &err);
    assert_owners(&session, "........");
    assert_true(turn.given_back[1]);
    assert_claims("a:ended 01");
    assert_true(host_has(CLAIM_OF(VM_A)));
    assert_false(host_has(TOMBSTONE_OF(VM_A)));
}

static void test_restore_owner(void **state)
{
    (void)state;
    scene_claim(
        &(struct scene_claim){.name = "red", .uuid = VM_A, .is_group = true, .phase = CLAIM_RUNNING, .ppus = "01"});
    scene_claim(&(struct scene_claim){.name = "b", .uuid = VM_B, .phase = CLAIM_RUNNING, .ppus = "2"});
    simulated_text(TOMBSTONE_OF(VM_A), "");
    scene_session(&session, SESSION_LOOK);
    assert_owners(&session, "........");
    const struct owner *red = record_restore_owner(&session, state_claim(&session.state, VM_A));
    assert_int_equal(red->kind, OWNER_KIND_GROUP);
    assert_string_equal(red->name, "red");
    assert_owners(&session, "11......");
    assert_int_equal(record_restore_owner(&session, state_claim(&session.state, VM_B))->kind, OWNER_KIND_VM);
    record_restore_owner(&session, state_claim(&session.state, VM_B));
    assert_owners(&session, "112.....");
    assert_int_equal(session.owners.holding_count, 3);
}

/* -- What happened without a call ------------------------------------------------ */

static void test_void_claims_end(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .phase = CLAIM_RUNNING, .ppus = "01"});
    scene_claim(
        &(struct scene_claim){.name = "red", .uuid = VM_B, .is_group = true, .phase = CLAIM_RUNNING, .ppus = "2"});
    scene_claim(&(struct scene_claim){.name = "c", .uuid = VM_C, .daemon = DAEMON_DEAD, .ppus = "3"});
    open_to_change();
    assert_done(record_catch_up(&session, &turn, &err), &err);
    assert_claims("red:running 2; a:ended 01; c:ended 3");
    assert_true(turn.given_back[0] && turn.given_back[1] && turn.given_back[3] && !turn.given_back[2]);
    assert_noted(&session.notes,
                 "info repaired: VM 'a' has ended without a call that said so; its cards are given back");
    assert_noted(&session.notes,
                 "info repaired: VM 'c' has ended without a call that said so; its cards are given back");
    assert_int_equal(session.notes.count, 2);
}

static void test_void_claims_when_looking(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .phase = CLAIM_RUNNING, .ppus = "01"});
    scene_session(&session, SESSION_LOOK);
    assert_done(record_catch_up(&session, &turn, &err), &err);
    assert_true(turn.given_back[0]);
    assert_true(host_has(CLAIM_OF(VM_A)));
    assert_false(notes_have(&session.notes, NOTE_CHANGE));
}

/* Cards that were plugged in or out: the claim must not say less when the status file is gone. */
static void test_claims_follow_status_files(void **state)
{
    static const struct {
        const char *claimed;
        const char *has;
        const char *claims;
    } cases[] = {
        {"01", "01", "a:starting 01"}, /* nothing to do, and nothing done */
        {"01", "014", "a:running 014"}, {"01", "0", "a:running 0"}, {"01", "45", "a:running 45"}, {"01", "", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .ppus = cases[i].claimed});
        scene_running("a", VM_A, cases[i].has, 101);
        scene_session(&session, SESSION_LOOK);
        assert_done(record_catch_up(&session, &turn, &err), &err);
        assert_claims("a:starting 01");
        session_close(&session);
        open_to_change();
        assert_done(record_catch_up(&session, &turn, &err), &err);
        look_again();
        assert_claims(cases[i].claims);
        restart(state);
    }
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

/* Of a card that cannot be read nothing is claimed before it is written, unless it is known what it was. */
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
    assert_memory(&session, 1, "0/31/-");
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

#define EACH(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_new_claim),
        EACH(test_claim_of_a_group),
        EACH(test_claim_goes_on),
        EACH(test_time_of_the_gate),
        EACH(test_claim_begins_anew),
        EACH(test_cards_without_id_are_left_out),
        EACH(test_end),
        EACH(test_end_knows_the_owner_of_before),
        EACH(test_end_when_looking),
        EACH(test_restore_owner),
        EACH(test_void_claims_end),
        EACH(test_void_claims_when_looking),
        EACH(test_claims_follow_status_files),
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
        EACH(test_result_of_a_tool_that_reads_nothing),
        EACH(test_what_is_settled_is_forgotten),
        EACH(test_cuts_from_before_stay),
        EACH(test_debt_is_remembered),
        EACH(test_card_that_faces_a_vm_is_remembered),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
