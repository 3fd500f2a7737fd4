/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/owners.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "session_scene.h"

#define ENDED(kind)                                                                                                    \
    "warning claim: " kind " 'a' has ended, or its start failed, without a call that said so; the next hook or "       \
    "`icn-hook repair` gives its cards back"
#define NOTED_END(kind) "warning claim: " kind " 'a' has ended; the next hook or `icn-hook repair` gives its cards back"
#define HELD_0 UNKNOWN_HOLDER("PPU 0 (0000:08:00.0)")

/* Short, because no claim is older than the host's boot. */
#define SHORT_TIMEOUT "[policy]\nstart_timeout = 10\n"
enum { TIMEOUT_MS = 10 * 1000, LONG_AGO = 2 * TIMEOUT_MS };

/* -- 2. claims ---------------------------------------------------------------- */

static const struct claim_case {
    struct scene_claim claim;
    bool held;                  /* card 0 */
    bool lives;                 /* process 101, which RUNNING claims may name */
    bool tombstone;             /* its end was noted */
    enum claim_verdict verdict; /* CLAIM_COUNTS where none is given */
    const char *owners;         /* NULL: VM a if the claim counts, otherwise nobody */
    const char *notes;          /* NULL: none */
} claim_cases[] = {
    /* starting: while its daemon lives, or may live, and until start_timeout */
    {.claim = {.phase = CLAIM_STARTING, .daemon = DAEMON_HERE}},
    {.claim = {.phase = CLAIM_STARTING, .daemon = NO_DAEMON}},
    {.claim = {.phase = CLAIM_STARTING, .daemon = DAEMON_DEAD}, .verdict = CLAIM_VOID, .notes = ENDED("VM")},
    {.claim = {.phase = CLAIM_STARTING, .daemon = DAEMON_HERE, .age_ms = TIMEOUT_MS - 5000}},
    {.claim = {.phase = CLAIM_STARTING, .daemon = NO_DAEMON, .age_ms = TIMEOUT_MS - 5000}},
    {.claim = {.phase = CLAIM_STARTING, .daemon = DAEMON_HERE, .age_ms = TIMEOUT_MS},
     .verdict = CLAIM_VOID,
     .notes = ENDED("VM")},
    {.claim = {.phase = CLAIM_STARTING, .daemon = NO_DAEMON, .age_ms = TIMEOUT_MS},
     .verdict = CLAIM_VOID,
     .notes = ENDED("VM")},
    /* … and longer, or without its daemon, while a card of it is held */
    {.claim = {.phase = CLAIM_STARTING, .daemon = DAEMON_DEAD}, .held = true},
    {.claim = {.phase = CLAIM_STARTING, .daemon = NO_DAEMON, .age_ms = LONG_AGO}, .held = true},
    /* running: while a card of it is held or the process that it names lives */
    {.claim = {.phase = CLAIM_RUNNING, .daemon = DAEMON_HERE}, .verdict = CLAIM_VOID, .notes = ENDED("VM")},
    {.claim = {.phase = CLAIM_RUNNING, .daemon = DAEMON_DEAD, .age_ms = LONG_AGO}, .held = true},
    {.claim = {.phase = CLAIM_RUNNING, .pid = 101, .age_ms = LONG_AGO}, .lives = true},
    {.claim = {.phase = CLAIM_RUNNING, .pid = 101}, .verdict = CLAIM_VOID, .notes = ENDED("VM")},
    /* ended is final: a card that is held then has an unknown holder */
    {.claim = {.phase = CLAIM_STARTING, .daemon = DAEMON_HERE},
     .tombstone = true,
     .verdict = CLAIM_VOID,
     .notes = NOTED_END("VM")},
    {.claim = {.phase = CLAIM_RUNNING, .pid = 101},
     .held = true,
     .lives = true,
     .tombstone = true,
     .verdict = CLAIM_VOID,
     .notes = NOTED_END("VM") "\n" HELD_0,
     .owners = "?......."},
    /* a group counts until it is released */
    {.claim = {.phase = CLAIM_RUNNING, .is_group = true, .age_ms = LONG_AGO}},
    {.claim = {.phase = CLAIM_RUNNING, .is_group = true}, .held = true},
    {.claim = {.phase = CLAIM_RUNNING, .is_group = true},
     .tombstone = true,
     .verdict = CLAIM_VOID,
     .notes = NOTED_END("the group")},
};

static void test_claims(void **state)
{
    for (size_t i = 0; i < sizeof claim_cases / sizeof claim_cases[0]; i++) {
        struct scene_claim claim = claim_cases[i].claim;
        claim.name = "a";
        claim.uuid = VM_A;
        claim.ppus = "01";
        start(state);
        simulated_text(SETTINGS, SHORT_TIMEOUT);
        scene_claim(&claim);
        if (claim_cases[i].held) {
            scene_hold(0);
        }
        if (claim_cases[i].lives) {
            simulated_directory("/proc/101");
        }
        if (claim_cases[i].tombstone) {
            simulated_text(TOMBSTONE_OF(VM_A), "");
        }
        open_to_look();
        if (session.state.claims[0].verdict != claim_cases[i].verdict) {
            fail_msg("case %zu: verdict %d", i, session.state.claims[0].verdict);
        }
        bool counts = claim_cases[i].verdict == CLAIM_COUNTS;
        const char *owners = counts ? "11......" : "........";
        assert_owners(&session, claim_cases[i].owners ? claim_cases[i].owners : owners);
        const struct owner *owner = owners_find(&session.owners, VM_A);
        assert_int_equal(owner != NULL, counts);
        assert_true(!owner || owner->kind == (claim.is_group ? OWNER_KIND_GROUP : OWNER_KIND_VM));
        assert_notes(&session.notes, claim_cases[i].notes ? claim_cases[i].notes : "");
        stop(state);
    }
}

static void test_fields_of_a_claim(void **state)
{
    (void)state;
    scene_claim(
        &(struct scene_claim){.name = "red", .uuid = VM_A, .is_group = true, .phase = CLAIM_RUNNING, .ppus = "6"});
    open_to_look();
    const struct owner *owner = owners_find(&session.owners, VM_A);
    assert_int_equal(owner->kind, OWNER_KIND_GROUP);
    assert_string_equal(owner->name, "red");
    assert_false(owner->runs);
    assert_int_equal(owner->since, 4711);
    assert_int_equal(owner->pid, 0);
}

/* An hour, unless the settings say something else. */
static void test_usual_start_timeout(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .age_ms = 2 * TIMEOUT_MS, .ppus = "0"});
    open_to_look();
    assert_owners(&session, "1.......");
    state_claim(&session.state, VM_A)->boottime_ms -= 3600 * 1000;
    owners_free(&session.owners);
    owners_gather(&session);
    assert_owners(&session, "........");
}

/* A card that another living domain has supports no claim by being held. */
static void test_held_card_that_is_explained(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .phase = CLAIM_RUNNING, .ppus = "01"});
    scene_running("b", VM_B, "0", 102);
    scene_hold(0);
    open_to_look();
    assert_owners(&session, "1.......");
    assert_string_equal(session.owners.items[0].name, "b");
    assert_notes(&session.notes, ENDED("VM"));
}

/* One held card keeps all of them. */
static void test_one_held_card_is_enough(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .phase = CLAIM_RUNNING, .ppus = "016"});
    scene_hold(6);
    open_to_look();
    assert_owners(&session, "11....1.");
}

/* A file that libvirt keeps of a dead domain says nothing: the claim is asked. */
static void test_status_file_that_is_left_over(void **state)
{
    (void)state;
    scene_left_over("a", VM_A, "012");
    scene_claim(
        &(struct scene_claim){.name = "a", .uuid = VM_A, .phase = CLAIM_STARTING, .daemon = DAEMON_HERE, .ppus = "01"});
    open_to_look();
    assert_owners(&session, "11......");
    simulated_text(TOMBSTONE_OF(VM_A), "");
    look_again();
    assert_owners(&session, "........");
}

/* Its own status file is there, and cannot be read: it may run.  That of another domain says nothing of it. */
static void test_status_file_that_cannot_be_read(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .phase = CLAIM_RUNNING, .ppus = "01"});
    scene_claim(&(struct scene_claim){.name = "b", .uuid = VM_B, .phase = CLAIM_RUNNING, .ppus = "2"});
    simulated_text("/run/libvirt/qemu/a.xml", "<domstatus");
    open_to_look();
    assert_owners(&session, "11......");
    assert_int_equal(state_claim(&session.state, VM_A)->verdict, CLAIM_COUNTS);
    assert_int_equal(state_claim(&session.state, VM_B)->verdict, CLAIM_VOID);
    assert_int_equal(session.notes.count, 2);
    assert_int_equal(session.notes.items[0].code, NOTE_STATUS);
    assert_non_null(strstr(session.notes.items[0].text, simulated_path("/run/libvirt/qemu/a.xml")));
    /* … unless its end is known. */
    simulated_text(TOMBSTONE_OF(VM_A), "");
    look_again();
    assert_owners(&session, "........");
    simulated_remove(TOMBSTONE_OF(VM_A));
    simulated_remove("/run/libvirt/qemu/a.xml");
    look_again();
    assert_owners(&session, "........");
}

static void test_claim_of_another_boot(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .phase = CLAIM_RUNNING, .ppus = "0"});
    scene_hold(0);
    simulated_text(BOOT_ID, "11111111-7b0d-4d0e-9c35-2f6c6d8b1a77\n");
    open_to_look();
    assert_owners(&session, "?.......");
    assert_int_equal(session.state.claim_count, 0);
}

/* It counts as new, and so not for ever. */
static void test_claim_from_the_future(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .age_ms = -3600 * 1000, .ppus = "0"});
    open_to_look();
    assert_owners(&session, "1.......");
    assert_notes(&session.notes, "warning claim: the claim of VM 'a' is from the future; it counts as new, and "
                                 "`icn-hook repair` drops it once the VM is gone");
    session_close(&session);
    scene_claim(&(struct scene_claim){
        .name = "a", .uuid = VM_A, .is_group = true, .phase = CLAIM_RUNNING, .age_ms = -3600 * 1000, .ppus = "0"});
    open_to_look();
    assert_notes(&session.notes, "warning claim: the claim of the group 'a' is from the future; it counts as new, and "
                                 "`icn-hook repair` drops it once the VM is gone");
}

/* Two claims of one card: more than one may have it. */
static void test_two_claims_of_a_card(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .ppus = "01"});
    scene_claim(&(struct scene_claim){.name = "b", .uuid = VM_B, .ppus = "12"});
    open_to_look();
    assert_owners(&session, "2S1.....");
}

static void test_claimed_card_without_id(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .ppus = "01"});
    simulated_text(CARDS_CONF, "[map]\n1 = 0000:7e:00.0\n");
    open_to_look();
    assert_owners(&session, ".1......");
}

/* When the session may change something record_ends says it, once it is done. */
static void test_void_claim_is_not_noted_when_changing(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .phase = CLAIM_RUNNING, .ppus = "0"});
    scene_session(&session, SESSION_CHANGE);
    assert_int_equal(session.state.claims[0].verdict, CLAIM_VOID);
    assert_notes(&session.notes, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_claims),
        EACH(test_fields_of_a_claim),
        EACH(test_usual_start_timeout),
        EACH(test_held_card_that_is_explained),
        EACH(test_one_held_card_is_enough),
        EACH(test_status_file_that_is_left_over),
        EACH(test_status_file_that_cannot_be_read),
        EACH(test_claim_of_another_boot),
        EACH(test_claim_from_the_future),
        EACH(test_two_claims_of_a_card),
        EACH(test_claimed_card_without_id),
        EACH(test_void_claim_is_not_noted_when_changing),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
