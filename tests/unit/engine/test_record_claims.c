/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <time.h>

#include <cmocka.h>

#include "session_scene.h"

static struct error err;

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

/* The process of a status file that libvirt left behind is not the claim's. */
static void test_claim_names_no_dead_process(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .daemon = DAEMON_HERE, .ppus = "01"});
    scene_left_over("a", VM_A, "01");
    open_to_change();
    assert_done(record_claim(&session, owners_find(&session.owners, VM_A), CLAIM_ADMITTED, false, &err), &err);
    look_again();
    assert_claims("a:starting 01");
    assert_int_equal(session.state.claims[0].process.pid, 0);
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

/* The old claim of the domain has just ended: that is not the end of the new one. */
static void test_claim_begins_after_an_end(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .phase = CLAIM_RUNNING, .pid = 101, .ppus = "01"});
    open_to_change();
    assert_done(record_catch_up(&session, &turn, &err), &err);
    assert_claims("a:ended 01");
    const struct owner *owner = take(VM_A, "0");
    decide(INTENT_START);
    assert_done(record_claim(&session, owner, CLAIM_ADMITTED, true, &err), &err);
    assert_done(record_intent(&session, &turn, &err), &err);
    write_plan();
    assert_done(record_result(&session, &turn, false, &err), &err);
    look_again();
    assert_claims("a:starting 0");
    assert_int_equal(session.state.claims[0].process.pid, 0);
    assert_false(host_has(TOMBSTONE_OF(VM_A)));
}

/* So it is at the gate, where a claim that has not ended keeps its beginning. */
static void test_gate_after_an_end(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .daemon = DAEMON_DEAD, .ppus = "01"});
    open_to_change();
    assert_done(record_catch_up(&session, &turn, &err), &err);
    assert_claims("a:ended 01");
    const struct owner *owner = take(VM_A, "01");
    assert_done(record_claim(&session, owner, CLAIM_ADMITTED, false, &err), &err);
    assert_done(record_result(&session, &turn, true, &err), &err);
    look_again();
    assert_claims("a:starting 01");
    assert_false(session.state.claims[0].has_daemon);
}

static void test_cards_without_id_are_left_out(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .ppus = "01"});
    simulated_text(CARDS_CONF, "[map]\n1 = 0000:7e:00.0\n");
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

/* … also if its claim did not count any more: then nobody was the owner when the session began. */
static void test_end_without_a_call_knows_the_owner_of_before(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .phase = CLAIM_RUNNING, .ppus = "01"});
    set_masks((const uint32_t[CARDS]){0x19, 0x31, 0x18, 0x30, 0, 0, 0x1, 0x1});
    open_to_change();
    assert_owners(&session, "........");
    assert_done(record_catch_up(&session, &turn, &err), &err);
    decide(INTENT_END);
    assert_memory(&session, 0, "0/19/-");
    assert_memory(&session, 2, "0/18/-");
    assert_plan(&session, "0:19>0 1:31>0 2:18>0 3:30>0 6:1>0 7:1>0");
}

/* A domain that a status file shows is over once it has ended here: what follows does not see it again. */
static void test_end_is_final(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .phase = CLAIM_RUNNING, .ppus = "01"});
    scene_running("a", VM_A, "01", 101);
    open_to_change();
    assert_int_equal(session.state.claims[0].verdict, CLAIM_SUPERSEDED);
    assert_done(record_end(&session, owners_find(&session.owners, VM_A), &turn, &err), &err);
    assert_int_equal(session.state.claims[0].verdict, CLAIM_VOID);
    assert_done(record_catch_up(&session, &turn, &err), &err);
    assert_claims("a:ended 01");
    assert_owners(&session, "........");
    assert_true(host_has(TOMBSTONE_OF(VM_A)));
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

/* An end that was noted needs no line of its own: the call that noted it said so. */
static void test_noted_end_is_carried_out(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .phase = CLAIM_RUNNING, .ppus = "01"});
    simulated_text(TOMBSTONE_OF(VM_A), "");
    open_to_change();
    assert_done(record_catch_up(&session, &turn, &err), &err);
    assert_claims("a:ended 01");
    assert_true(turn.given_back[0] && turn.given_back[1] && !turn.given_back[2]);
    assert_notes(&session.notes, "");
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

static void test_claim_that_cannot_follow(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .ppus = "01"});
    scene_running("a", VM_A, "014", 101);
    open_to_change();
    simulated_remove(RUN);
    assert_int_equal(record_catch_up(&session, &turn, &err), -1);
    assert_int_equal(err.status, STATUS_HARDWARE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_new_claim),
        EACH(test_claim_of_a_group),
        EACH(test_claim_goes_on),
        EACH(test_claim_names_no_dead_process),
        EACH(test_time_of_the_gate),
        EACH(test_claim_begins_anew),
        EACH(test_claim_begins_after_an_end),
        EACH(test_gate_after_an_end),
        EACH(test_cards_without_id_are_left_out),
        EACH(test_end),
        EACH(test_end_knows_the_owner_of_before),
        EACH(test_end_without_a_call_knows_the_owner_of_before),
        EACH(test_end_is_final),
        EACH(test_end_when_looking),
        EACH(test_restore_owner),
        EACH(test_void_claims_end),
        EACH(test_noted_end_is_carried_out),
        EACH(test_void_claims_when_looking),
        EACH(test_claims_follow_status_files),
        EACH(test_claim_that_cannot_follow),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
