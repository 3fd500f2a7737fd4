/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/hook_call.h"
#include "engine/policy.h"
#include "session_scene.h"

static struct error err;

/* -- Opening ------------------------------------------------------------------- */

static void test_looking_creates_and_changes_nothing(void **state)
{
    (void)state;
    simulated_config(addresses[0], 0x1ee0, 0); /* memory decoding is off */
    scene_session(&session, SESSION_LOOK);
    session_look_at_all(&session);
    assert_false(session.registers.may_write);
    assert_null(session.registers.state);
    assert_true(session.is_open);
    assert_false(host_has(RUN));
    assert_string_equal(simulated_read("/sys/bus/pci/devices/0000:08:00.0/enable"), "0\n");
}

static void test_changing_makes_the_directory(void **state)
{
    (void)state;
    scene_session(&session, SESSION_CHANGE);
    assert_true(session.registers.may_write);
    assert_true(host_has(RUN "/lock"));
}

/* Closing twice, and what was never opened, is fine. */
static void test_close(void **state)
{
    (void)state;
    session_close(&session);
    scene_session(&session, SESSION_CHANGE);
    session_close(&session);
    session_close(&session);
    assert_null(session.machine);
    assert_int_equal(session.state.lockfd, -1);
}

static void test_settings_that_are_broken(void **state)
{
    (void)state;
    simulated_text(SETTINGS, "[policy]\nidle = perhaps\n");
    assert_int_equal(session_start(&session, NULL, SESSION_LOOK, &err), -1);
    assert_int_equal(err.status, STATUS_INVALID);
    assert_false(session.is_open);
}

static void test_topology_that_is_missing(void **state)
{
    (void)state;
    simulated_remove(TOPOLOGY);
    assert_int_equal(session_start(&session, NULL, SESSION_CHANGE, &err), -1);
    assert_int_equal(err.status, STATUS_INVALID);
    assert_false(host_has(RUN));
}

static void test_other_configuration(void **state)
{
    (void)state;
    simulated_text("/other.conf", "[policy]\nlock_timeout = 7\n[map]\n0 = 0000:08:00.0\n");
    assert_done(session_start(&session, simulated_path("/other.conf"), SESSION_LOOK, &err), &err);
    assert_int_equal(session.machine->settings.lock_timeout, 7);
}

static void test_state_that_cannot_be_used(void **state)
{
    (void)state;
    simulated_text(RUN, "");
    assert_int_equal(session_start(&session, NULL, SESSION_CHANGE, &err), -1);
    assert_int_equal(err.status, STATUS_INVALID);
    assert_non_null(strstr(err.text, simulated_path(RUN)));
    assert_false(session.is_open);
}

static void test_lock_that_is_held(void **state)
{
    static const struct {
        enum session_access holder;
        enum session_access access;
        bool waits;
    } cases[] = {
        {SESSION_CHANGE, SESSION_CHANGE, true},
        {SESSION_CHANGE, SESSION_LOOK, true},
        {SESSION_LOOK, SESSION_CHANGE, true},
        {SESSION_LOOK, SESSION_LOOK, false},
    };
    (void)state;
    simulated_text(SETTINGS, "[policy]\nlock_timeout = 0\n");
    scene_session(&session, SESSION_CHANGE); /* the lock file is there */
    session_close(&session);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct session other;
        scene_session(&session, cases[i].holder);
        int result = session_start(&other, NULL, cases[i].access, &err);
        assert_int_equal(result, cases[i].waits ? -1 : 0);
        assert_true(result == 0 || err.status == STATUS_BUSY);
        session_close(&other);
        session_unlock(&session);
        assert_done(session_start(&other, NULL, cases[i].access, &err), &err);
        session_close(&other);
        session_close(&session);
    }
}

/* The shorter of lock_timeout and what the hook program leaves decides how long it waits for the lock. */
static void test_deadline_of_the_hook(void **state)
{
    static const struct {
        int lock_timeout;
        int64_t left_ms; /* of the hook's time; -1: it is not known */
    } cases[] = {{60, 0}, {0, 60000}, {0, -1}};
    struct session other;
    char text[64];
    (void)state;
    scene_session(&session, SESSION_CHANGE);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        snprintf(text, sizeof text, "[policy]\nlock_timeout = %d\n", cases[i].lock_timeout);
        simulated_text(SETTINGS, text);
        snprintf(text, sizeof text, "%lld", (long long)deadline_after_ms(cases[i].left_ms));
        setenv(HOOK_DEADLINE_VARIABLE, cases[i].left_ms < 0 ? "" : text, 1);
        hook_call_believe_deadline();
        int64_t began = deadline_after_ms(0);
        assert_int_equal(session_start(&other, NULL, SESSION_CHANGE, &err), -1);
        assert_int_equal(err.status, STATUS_BUSY);
        assert_in_range(deadline_after_ms(0) - began, 0, 30000);
        session_close(&other);
    }
    unsetenv(HOOK_DEADLINE_VARIABLE);
    hook_call_believe_deadline();
}

static void test_status_directory_that_cannot_be_read(void **state)
{
    (void)state;
    simulated_remove("/run/libvirt");
    simulated_text("/run/libvirt/qemu", "");
    assert_int_equal(session_start(&session, NULL, SESSION_LOOK, &err), -1);
    assert_error(&err, STATUS_HARDWARE, "cannot open libvirt's directory %s: Not a directory", "/run/libvirt/qemu");
}

/* What was seen stays after the lock is given back. */
static void test_unlock(void **state)
{
    (void)state;
    scene_running("a", VM_A, "01", 101);
    scene_session(&session, SESSION_LOOK);
    session_look_at_all(&session);
    session_unlock(&session);
    assert_int_equal(session.state.lockfd, -1);
    assert_owners(&session, "11......");
    assert_true(session_is_read(&session, 7));
}

/* Memory decoding that a killed hook left on is switched off first. */
static void test_decoding_that_was_left_on(void **state)
{
    (void)state;
    scene_session(&session, SESSION_CHANGE);
    session_close(&session);
    simulated_text(RUN "/enabled-0001:ce:00.0", "");
    simulated_text("/sys/bus/pci/devices/0001:ce:00.0/enable", "1\n");
    scene_session(&session, SESSION_LOOK);
    assert_string_equal(simulated_read("/sys/bus/pci/devices/0001:ce:00.0/enable"), "1\n");
    session_close(&session);
    scene_session(&session, SESSION_CHANGE);
    assert_string_equal(simulated_read("/sys/bus/pci/devices/0001:ce:00.0/enable"), "0\n");
    assert_false(host_has(RUN "/enabled-0001:ce:00.0"));
}

/* -- Tombstones ---------------------------------------------------------------- */

static void test_tombstone(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .daemon = DAEMON_HERE, .ppus = "0"});
    simulated_text(TOMBSTONE_OF(VM_A), "");
    scene_session(&session, SESSION_LOOK);
    assert_int_equal(session.state.claims[0].phase, CLAIM_ENDED);
    assert_owners(&session, "........");
    session_close(&session);
    assert_true(host_has(CLAIM_OF(VM_A)));
    /* When changing it stays too until record_ends has given the cards back. */
    scene_session(&session, SESSION_CHANGE);
    assert_int_equal(session.state.claims[0].phase, CLAIM_ENDED);
    assert_int_equal(session.state.claims[0].verdict, CLAIM_VOID);
    assert_true(host_has(CLAIM_OF(VM_A)));
    assert_true(host_has(TOMBSTONE_OF(VM_A)));
}

/* The domain lives, so its end was noted by mistake. */
static void test_tombstone_of_a_living_domain(void **state)
{
    static const char noted[] =
        "warning tombstone: the end of VM 'a' was noted, but its process 101 lives; the note is ignored";
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .phase = CLAIM_RUNNING, .ppus = "0"});
    simulated_text(TOMBSTONE_OF(VM_A), "");
    scene_running("a", VM_A, "0", 101);
    scene_session(&session, SESSION_LOOK);
    assert_notes(&session.notes, noted);
    assert_owners(&session, "1.......");
    session_close(&session);
    assert_true(host_has(TOMBSTONE_OF(VM_A)));
    scene_session(&session, SESSION_CHANGE);
    assert_notes(&session.notes, noted);
    assert_int_equal(session.state.claims[0].phase, CLAIM_RUNNING);
    assert_false(host_has(TOMBSTONE_OF(VM_A)));
    assert_true(host_has(CLAIM_OF(VM_A)));
}

/* There is nothing to end. */
static void test_tombstone_without_a_claim(void **state)
{
    (void)state;
    scene_session(&session, SESSION_CHANGE);
    session_close(&session);
    simulated_text(TOMBSTONE_OF(VM_A), "");
    scene_session(&session, SESSION_LOOK);
    assert_true(host_has(TOMBSTONE_OF(VM_A)));
    session_close(&session);
    scene_session(&session, SESSION_CHANGE);
    assert_false(host_has(TOMBSTONE_OF(VM_A)));
    assert_notes(&session.notes, "");
}

/* -- Doubt --------------------------------------------------------------------- */

static void test_no_doubt(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .ppus = "0"});
    scene_memory(0, 0, 0x39);
    simulated_text(RUN "/stranger", "");
    scene_session(&session, SESSION_LOOK);
    assert_null(session_doubt(&session, ""));
    assert_int_equal(session.notes.count, 1);
    assert_int_equal(session.notes.items[0].code, NOTE_STATE);
    assert_non_null(strstr(session.notes.items[0].text, RUN "/stranger"));
}

/* A damaged claim may hide an owner, unless libvirt shows what it has, or it is the applicant's own. */
static void test_damaged_claim(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "b", .uuid = VM_B, .ppus = "2"});
    simulated_text(CLAIM_OF(VM_A), "{");
    scene_session(&session, SESSION_LOOK);
    const struct error *doubt = session_doubt(&session, VM_B);
    assert_non_null(doubt);
    assert_non_null(strstr(doubt->text, CLAIM_OF(VM_A)));
    assert_int_equal(doubt->status, STATUS_INVALID);
    assert_ptr_equal(session_doubt(&session, ""), doubt);
    assert_null(session_doubt(&session, VM_A));
    assert_int_equal(session.notes.count, 1);
    assert_int_equal(session.notes.items[0].code, NOTE_STATE);
    session_close(&session);
    scene_left_over("a", VM_A, "0");
    scene_session(&session, SESSION_LOOK);
    assert_non_null(session_doubt(&session, VM_B));
    session_close(&session);
    scene_running("a", VM_A, "0", 101);
    scene_session(&session, SESSION_LOOK);
    assert_null(session_doubt(&session, VM_B));
    assert_owners(&session, "1.2.....");
}

/* What could not be read this time may be sound: nobody may replace it, not even its own domain. */
static void test_claim_that_could_not_be_read(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .ppus = "0"});
    simulated_text(CLAIM_OF(VM_A), "{");
    scene_session(&session, SESSION_LOOK);
    session.state.faults[0].is_damaged = false;
    assert_ptr_equal(session_doubt(&session, VM_A), &session.state.faults[0].error);
}

/* The memory of the cards: what to give back is not known. */
static void test_damaged_memory(void **state)
{
    (void)state;
    scene_memory(0, 0, 0x39);
    simulated_text(CARDS_JSON, "{");
    scene_running("a", VM_A, "0", 101);
    scene_session(&session, SESSION_LOOK);
    const struct error *doubt = session_doubt(&session, VM_A);
    assert_non_null(doubt);
    assert_non_null(strstr(doubt->text, CARDS_JSON));
    assert_ptr_equal(session_doubt(&session, ""), doubt);
}

/* -- Reading ------------------------------------------------------------------- */

static int reads;
static bool may_touch_was;
static void count_read(struct registers *registers, const struct card_address *card, bool may_touch,
                       struct reading *reading)
{
    (void)registers;
    assert_int_equal(card->ppu, 6);
    assert_int_equal(bdf_compare(card->bdf, address_of(6)), 0);
    assert_int_equal(card->links, 0x39);
    *reading = (struct reading){.kind = READING_FINE, .mask = 0x8};
    may_touch_was = may_touch;
    reads++;
}

static void test_read_as_far_as_the_reach_lets(void **state)
{
    const struct registers_backend backend = {.read = count_read};
    (void)state;
    scene_session(&session, SESSION_CHANGE);
    session.registers.backend = &backend;
    reads = 0;
    session_read(&session, 6);
    assert_int_equal(reads, 0);
    assert_false(session_is_read(&session, 6));
    session.cards[6].reach = REACH_LOOK;
    session_read(&session, 6);
    assert_false(may_touch_was);
    session_read(&session, 6);
    assert_int_equal(reads, 1);
    assert_true(session_is_read(&session, 6));
    assert_int_equal(session.cards[6].reading.mask, 0x8);
    session_forget_readings(&session);
    session.cards[6].reach = REACH_CHANGE;
    session_read(&session, 6);
    assert_int_equal(reads, 2);
    assert_true(may_touch_was);
}

static void test_cards_that_cannot_be_looked_at(void **state)
{
    (void)state;
    simulated_text(CARDS_CONF, "[map]\n0 = 0000:08:00.0\n1 = 0009:00:00.0\n3 = 0000:c6:00.0\n");
    scene_unplug("124567");
    scene_hold(3);
    scene_session(&session, SESSION_LOOK);
    session_look_at_all(&session);
    assert_true(session_is_read(&session, 0));
    assert_false(session.cards[1].was_read);
    assert_false(session.cards[2].was_read);
    assert_true(session.cards[3].was_read);
    assert_false(session_is_read(&session, 3));
    assert_int_equal(session.cards[3].reading.kind, READING_UNVERIFIABLE);
}

static void test_memory_of_a_card(void **state)
{
    (void)state;
    scene_memory(0, 0x8, 0x39);
    simulated_text(CARDS_CONF, "[map]\n0 = 0000:08:00.0\n");
    scene_session(&session, SESSION_LOOK);
    assert_int_equal(session_memory(&session, 0)->original, 0x8);
    assert_null(session_memory(&session, 1));
}

/* -- Writing ------------------------------------------------------------------- */

static char told[1024];
static enum apply_outcome answers[16];
static bool refuses;

static int fake_write_plan(struct registers *registers, const struct writing *writing, enum apply_outcome outcomes[],
                           struct text_list *warnings, struct error *error)
{
    assert_ptr_equal(registers, &session.registers);
    assert_int_equal(writing->cards[6].links, 0x39);
    assert_ptr_equal(writing->owners, session.owners.of);
    assert_int_equal(writing->ppu_count, CARDS);
    snprintf(told, sizeof told, "%zu writes%s%s%s%s", writing->plan->count, writing->may_defer ? " may-defer" : "",
             writing->keep_going ? " keep-going" : "", writing->isolate_idle ? " isolate-idle" : "",
             writing->freed[3] ? " freed-3" : "");
    memcpy(outcomes, answers, writing->plan->count * sizeof outcomes[0]);
    text_list_add(warnings, "PPU 2 says no");
    return refuses ? error_set(error, STATUS_HARDWARE, "PPU 1 says no") : 0;
}

static const struct registers_backend fake = {.write_plan = fake_write_plan};

/* Two writes of card 1, one of card 2. */
static void make_plan(void)
{
    session.registers.backend = &fake;
    session.goals[1] = (struct plan_goal){ROLE_NEAR, 0x1, 0x2};
    session.goals[2] = (struct plan_goal){ROLE_FAR, 0x0, 0x2};
    plan_build(session.plan, session.goals, CARDS);
    assert_plan(&session, "1:1>3 2:0>2 1:3>2");
}

static void test_write(void **state)
{
    static const bool freed[CARDS] = {[3] = true};
    (void)state;
    scene_session(&session, SESSION_CHANGE);
    make_plan();
    answers[0] = APPLY_DONE;
    answers[1] = APPLY_FAILED;
    answers[2] = APPLY_DONE;
    refuses = false;
    assert_done(session_write(&session, freed, true, false, &err), &err);
    assert_string_equal(told, "3 writes may-defer freed-3");
    assert_notes(&session.notes, "warning card: PPU 2 says no");
    assert_true(session_wrote(&session, 0));
    assert_true(session_wrote(&session, 1));
    assert_false(session_wrote(&session, 2));
    assert_done(session_write(&session, freed, false, true, &err), &err);
    assert_string_equal(told, "3 writes keep-going freed-3");
}

/* One write of two that was not made is one too few. */
static void test_write_that_is_refused(void **state)
{
    static const bool freed[CARDS] = {false};
    (void)state;
    scene_session(&session, SESSION_CHANGE);
    make_plan();
    answers[0] = APPLY_DONE;
    answers[1] = APPLY_DONE;
    answers[2] = APPLY_NOT_TRIED;
    refuses = true;
    assert_int_equal(session_write(&session, freed, false, false, &err), -1);
    assert_error(&err, STATUS_HARDWARE, "PPU 1 says no", "");
    assert_notes(&session.notes, "warning card: PPU 2 says no");
    assert_false(session_wrote(&session, 1));
    assert_true(session_wrote(&session, 2));
}

/* When looking, all writes are taken to be made: what is reported afterwards is what would be. */
static void test_wrote_when_looking(void **state)
{
    (void)state;
    scene_session(&session, SESSION_LOOK);
    make_plan();
    session.outcomes[0] = APPLY_FAILED;
    assert_true(session_wrote(&session, 1));
}

/* The settings, or a doubt, keep idle cards isolated. */
static void test_write_that_opens_nothing(void **state)
{
    static const bool freed[CARDS] = {false};
    (void)state;
    refuses = false;
    simulated_text(SETTINGS, "[policy]\nidle = isolate\n");
    scene_session(&session, SESSION_CHANGE);
    session.registers.backend = &fake;
    assert_done(session_write(&session, freed, false, false, &err), &err);
    assert_string_equal(told, "0 writes isolate-idle");
    session_close(&session);
    simulated_remove(SETTINGS);
    simulated_text(CLAIM_OF(VM_A), "{");
    scene_session(&session, SESSION_CHANGE);
    session.registers.backend = &fake;
    assert_done(session_write(&session, freed, false, false, &err), &err);
    assert_string_equal(told, "0 writes isolate-idle");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_looking_creates_and_changes_nothing),
        EACH(test_changing_makes_the_directory),
        EACH(test_close),
        EACH(test_settings_that_are_broken),
        EACH(test_topology_that_is_missing),
        EACH(test_other_configuration),
        EACH(test_state_that_cannot_be_used),
        EACH(test_lock_that_is_held),
        EACH(test_deadline_of_the_hook),
        EACH(test_status_directory_that_cannot_be_read),
        EACH(test_unlock),
        EACH(test_decoding_that_was_left_on),
        EACH(test_tombstone),
        EACH(test_tombstone_of_a_living_domain),
        EACH(test_tombstone_without_a_claim),
        EACH(test_no_doubt),
        EACH(test_damaged_claim),
        EACH(test_claim_that_could_not_be_read),
        EACH(test_damaged_memory),
        EACH(test_read_as_far_as_the_reach_lets),
        EACH(test_cards_that_cannot_be_looked_at),
        EACH(test_memory_of_a_card),
        EACH(test_write),
        EACH(test_write_that_is_refused),
        EACH(test_wrote_when_looking),
        EACH(test_write_that_opens_nothing),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
