/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "host/state.h"
#include "simulated_host.h"
#include "state_fixture.h"

#define WRITE_ADVICE "; make sure that it is writable and has room"
#define END_NOT_NOTED "cannot note the end of domain " VM_A " in /run/icn-hook: "
#define NOTE_A RUN "/enabled-0000:08:00.0"

static const struct bdf card_a = {.bus = 0x08};
static const struct bdf card_b = {.domain = 1, .bus = 0x09};

static void test_changing_needs_the_lock_and_a_uuid(void **unused)
{
    struct error err;

    (void)unused;
    make_claim(VM_A, "a");
    /* A shared lock is not enough, nor is one that was given back. */
    for (int round = 0; round < 2; round++) {
        struct state state = open_state(round == 0 ? STATE_LOOK : STATE_CHANGE);
        if (round == 1) {
            state_unlock(&state);
        }
        assert_int_equal(state_write_claim(&state, state_claim(&state, VM_A), &err), -1);
        assert_string_equal(err.text, "the state is not locked for a change");
        assert_int_equal(err.status, STATUS_HARDWARE);
        assert_int_equal(state_remove_claim(&state, VM_A, &err), -1);
        assert_int_equal(state_write_cards(&state, &err), -1);
        assert_int_equal(state_forget_cards_fault(&state, &err), -1);
        assert_int_equal(state_note_enabled(&state, card_a, &err), -1);
        assert_int_equal(state_forget_enabled(&state, card_a, &err), -1);
        state_close(&state);
    }
    assert_true(exists(CLAIM_A));

    struct state state = open_state(STATE_CHANGE);
    assert_int_equal(state_remove_claim(&state, "../" VM_A, &err), -1);
    assert_int_equal(err.status, STATUS_INVALID);
    assert_string_equal(err.text, "\"../" VM_A "\" is not a canonical UUID");
    struct claim *claim = state_claim_add(&state, "../../../etc/passwd", "a");
    assert_int_equal(state_write_claim(&state, claim, &err), -1);
    assert_string_equal(err.text, "\"../../../etc/passwd\" is not a canonical UUID");
    state_close(&state);
}

static void test_what_could_not_be_read_is_not_written(void **unused)
{
    struct error err;

    (void)unused;
    struct state state = open_state(STATE_CHANGE);
    struct claim *claim = state_claim_add(&state, VM_A, "a");
    claim_add_card(claim, card_a, true);
    claim_add_card(claim, card_a, false);
    assert_int_equal(state_write_claim(&state, claim, &err), -1);
    assert_int_equal(err.status, STATUS_INVALID);
    assert_string_equal(err.text, "an invalid claim is not written: " VM_A ".json: card 0000:08:00.0 is listed twice");
    claim->card_count = 1;
    claim->phase = CLAIM_ENDED;
    assert_int_equal(state_write_claim(&state, claim, &err), -1);
    assert_string_equal(err.text, "an invalid claim is not written: " VM_A ".json: \"phase\" is none of starting, "
                                  "running");
    claim->phase = CLAIM_RUNNING;
    free(claim->name);
    claim->name = malloc(1 << 20);
    memset(claim->name, 'x', 1 << 20);
    claim->name[(1 << 20) - 1] = '\0';
    assert_int_equal(state_write_claim(&state, claim, &err), -1);
    assert_int_equal(err.status, STATUS_INVALID);
    assert_string_equal(err.text, VM_A ".json is not written: it would have 1048837 bytes, more than 1048576");
    assert_false(exists(CLAIM_A));

    struct card_memory *memory = state_remember(&state, card_a);
    memory->evidence = (struct evidence){.at = -1};
    assert_int_equal(state_write_cards(&state, &err), -1);
    assert_string_equal(err.text, "an invalid memory of the cards is not written: cards.json: \"at\" is out of range");
    assert_false(exists(CARDS));
    state_close(&state);
}

static void test_cards_are_written_if_they_differ(void **unused)
{
    struct error err;
    struct stat before;
    struct stat after;

    (void)unused;
    struct state state = open_state(STATE_CHANGE);
    assert_int_equal(state_write_cards(&state, &err), 0);
    assert_false(exists(CARDS));
    state_remember(&state, card_a)->has_written = true;
    for (int round = 0; round < 3; round++) {
        assert_int_equal(state_write_cards(&state, &err), 0);
        assert_int_equal(stat(simulated_path(CARDS), &after), 0);
        if (round > 0) {
            assert_int_equal(before.st_ino, after.st_ino);
        }
        before = after;
        if (round == 1) { /* read again */
            state_close(&state);
            state = open_state(STATE_CHANGE);
        }
    }
    state_card(&state, card_a)->written = 1;
    assert_int_equal(state_write_cards(&state, &err), 0);
    assert_int_equal(stat(simulated_path(CARDS), &after), 0);
    assert_int_not_equal(before.st_ino, after.st_ino);
    /* Nothing is remembered any more. */
    state_card(&state, card_a)->has_written = false;
    assert_int_equal(state_write_cards(&state, &err), 0);
    assert_false(exists(CARDS));
    assert_int_equal(state_write_cards(&state, &err), 0);
    state_card(&state, card_a)->has_written = true;
    assert_int_equal(state_write_cards(&state, &err), 0);
    assert_true(exists(CARDS));
    state_close(&state);
}

static void test_damaged_memory_is_not_overwritten(void **unused)
{
    struct error err = {0};

    (void)unused;
    assert_int_equal(mkdir(simulated_path(RUN), 0700), 0);
    simulated_text(CARDS, "junk");
    struct state state = open_state(STATE_CHANGE);
    state_remember(&state, card_a)->has_written = true;
    assert_int_equal(state_write_cards(&state, &err), -1);
    assert_text(&err, STATUS_INVALID, "%s: it is not JSON" ADVICE, CARDS);
    assert_string_equal(simulated_read(CARDS), "junk");
    /* A claim does not need it. */
    write_claim(&state, VM_A, "a");

    assert_int_equal(state_forget_cards_fault(&state, &err), 0);
    assert_int_equal(state.fault_count, 0);
    assert_string_equal(simulated_read(RUN "/.cards.json.damaged"), "junk");
    assert_int_equal(state_write_cards(&state, &err), 0);
    assert_int_equal(state_forget_cards_fault(&state, &err), 0);
    state_close(&state);
    state = open_state(STATE_CHANGE);
    assert_int_equal(state.fault_count, 0);
    assert_int_equal(state.card_count, 1);
    assert_true(exists(RUN "/.cards.json.damaged"));
    state_close(&state);
}

static void test_a_damaged_claim_is_replaced_or_removed(void **unused)
{
    struct error err;

    (void)unused;
    assert_int_equal(mkdir(simulated_path(RUN), 0700), 0);
    simulated_text(CLAIM_A, "junk");
    simulated_text(CLAIM_B, "junk");
    simulated_text(RUN "/junk", "junk");
    struct state state = open_state(STATE_CHANGE);
    assert_int_equal(state.fault_count, 3);
    write_claim(&state, VM_A, "a");
    assert_int_equal(state_remove_claim(&state, VM_B, &err), 0);
    assert_int_equal(state.fault_count, 1);
    assert_int_equal(state.faults[0].kind, FAULT_FOREIGN);
    assert_false(exists(CLAIM_B));
    state_close(&state);
    state = open_state(STATE_LOOK);
    assert_int_equal(state.fault_count, 1);
    assert_int_equal(state.claim_count, 1);
    state_close(&state);
}

static void test_remove_failure(void **unused)
{
    struct error err;

    (void)unused;
    assert_int_equal(mkdir(simulated_path(RUN), 0700), 0);
    simulated_directory(CLAIM_A);
    struct state state = open_state(STATE_CHANGE);
    assert_int_equal(state_remove_claim(&state, VM_A, &err), -1);
    assert_text(&err, STATUS_HARDWARE, "cannot remove %s: Is a directory", CLAIM_A);
    assert_int_equal(state.fault_count, 1);
    state_close(&state);
}

static void test_a_new_claim_has_nothing_of_the_old_one(void **unused)
{
    struct error err;

    (void)unused;
    make_claim(VM_A, "old");
    simulated_text(ENDED_A, "");
    struct state state = open_state(STATE_CHANGE);
    struct claim *claim = state_claim_add(&state, VM_A, "new");
    assert_int_equal(state.claim_count, 1);
    assert_int_equal(claim->card_count, 0);
    assert_false(claim->is_ended);
    assert_true(exists(ENDED_A));
    assert_int_equal(state_write_claim(&state, claim, &err), 0);
    assert_false(exists(ENDED_A));
    assert_int_equal(state.tombstones.count, 0);
    state_close(&state);
    state = open_state(STATE_LOOK);
    assert_string_equal(state.claims[0].name, "new");
    assert_false(state.claims[0].is_ended);
    state_close(&state);
}

/* Its end was noted after the state was opened: by a hook that did not get the lock. */
static void test_an_end_that_was_noted_meanwhile_is_not_lost(void **unused)
{
    struct error err;

    (void)unused;
    make_claim(VM_A, "a");
    struct state state = open_state(STATE_CHANGE);
    assert_int_equal(state_mark_ended(VM_A, &err), 0);
    assert_int_equal(state_write_claim(&state, state_claim(&state, VM_A), &err), 0);
    state_close(&state);
    state = open_state(STATE_CHANGE);
    assert_true(state.claims[0].is_ended);
    assert_int_equal(state_remove_claim(&state, state.claims[0].uuid, &err), 0);
    assert_int_equal(state.claim_count + state.tombstones.count, 0);
    assert_false(exists(ENDED_A));
    state_close(&state);
}

static void test_mark_ended(void **unused)
{
    struct error err;

    (void)unused;
    assert_int_equal(state_mark_ended(VM_A, &err), 0);
    assert_false(exists(RUN));
    assert_int_equal(mkdir(simulated_path(RUN), 0700), 0);
    assert_int_equal(state_mark_ended(VM_A, &err), 0);
    assert_false(exists(ENDED_A));
    make_claim(VM_A, "a");
    /* Also if somebody has the lock. */
    struct state state = open_state(STATE_CHANGE);
    assert_int_equal(state_mark_ended(VM_A, &err), 0);
    assert_int_equal(state_mark_ended(VM_A, &err), 0);
    assert_int_equal(mode_of(ENDED_A), 0600);
    state_close(&state);

    assert_int_equal(state_mark_ended("../x", &err), -1);
    assert_string_equal(err.text, "\"../x\" is not a canonical UUID");
    assert_int_equal(err.status, STATUS_INVALID);
    assert_int_equal(chmod(simulated_path(RUN), 0777), 0);
    assert_int_equal(state_mark_ended(VM_A, &err), -1);
    assert_text(&err, STATUS_INVALID, "%s is not ours alone: chown root and chmod 0700", RUN);
}

static void test_state_knows(void **unused)
{
    (void)unused;
    assert_false(state_knows(VM_A));
    make_claim(VM_A, "a");
    assert_true(state_knows(VM_A));
    assert_false(state_knows(VM_B));
    assert_false(state_knows("../icn-hook/" VM_A));
    simulated_text(CLAIM_B, "junk");
    assert_true(state_knows(VM_B));
}

static void test_notes(void **unused)
{
    struct error err;
    size_t count;

    (void)unused;
    struct state state = open_state(STATE_CHANGE);
    assert_int_equal(state_note_enabled(&state, card_b, &err), 0);
    assert_int_equal(state_note_enabled(&state, card_a, &err), 0);
    assert_int_equal(state_note_enabled(&state, card_a, &err), 0);
    assert_int_equal(mode_of(NOTE_A), 0600);
    state_close(&state);
    state = open_state(STATE_CHANGE);
    const struct bdf *notes = state_enabled_notes(&state, &count);
    assert_int_equal(count, 2);
    assert_int_equal(bdf_compare(notes[0], card_a), 0);
    assert_int_equal(bdf_compare(notes[1], card_b), 0);
    assert_int_equal(state.claim_count + state.fault_count, 0);

    assert_int_equal(state_forget_enabled(&state, card_a, &err), 0);
    assert_int_equal(state_forget_enabled(&state, card_a, &err), 0);
    assert_false(exists(NOTE_A));
    simulated_link(NOTE_A, "/nowhere");
    assert_int_equal(state_note_enabled(&state, card_a, &err), -1);
    assert_text(&err, STATUS_HARDWARE, "cannot create %s: Too many levels of symbolic links", NOTE_A);
    simulated_remove(NOTE_A);
    simulated_directory(NOTE_A);
    assert_int_equal(state_forget_enabled(&state, card_a, &err), -1);
    assert_text(&err, STATUS_HARDWARE, "cannot remove %s: Is a directory", NOTE_A);
    state_close(&state);
}

static int limit_file_size(void)
{
    signal(SIGXFSZ, SIG_IGN);
    return setrlimit(RLIMIT_FSIZE, &(struct rlimit){.rlim_cur = 100000, .rlim_max = 100000});
}

static int fill_disk(void)
{
    return leave_mounts() == 0 ? mount("tmpfs", simulated_path(RUN), "tmpfs", 0, "size=65536,mode=0700") : -1;
}

/* Writes VM_A's claim with this name. */
static int write_named(const char *name, struct error *err)
{
    struct state state;
    if (state_open(&state, STATE_CHANGE, deadline_after_ms(0), err) < 0) {
        return -1;
    }
    int result = state_write_claim(&state, state_claim_add(&state, VM_A, name), err);
    state_close(&state);
    return result;
}

static int write_long(struct error *err)
{
    static char name[200000];
    memset(name, 'n', sizeof name - 1);
    return write_named(name, err);
}

static void test_no_room(void **unused)
{
    (void)unused;
    make_claim(VM_A, "old");
    struct error err = error_in_child(limit_file_size, write_long);
    assert_text(&err, STATUS_HARDWARE, "%s: cannot write " VM_A ".json: File too large" WRITE_ADVICE, RUN);
    struct state state = open_state(STATE_LOOK);
    assert_int_equal(state.claim_count, 1);
    assert_string_equal(state.claims[0].name, "old");
    state_close(&state);
    if (geteuid() == 0) {
        assert_true(can_leave_mounts());
        err = error_in_child(fill_disk, write_long);
        assert_text(&err, STATUS_HARDWARE, "%s: cannot write " VM_A ".json: No space left on device" WRITE_ADVICE, RUN);
    }
}

/* A tmpfs with a claim and not one page left. */
static int fill_pages(void)
{
    char data[4096] = {0};
    if (fill_disk() != 0) {
        return -1;
    }
    make_claim(VM_A, "a");
    int fd = open(simulated_path(RUN "/.filler"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    while (write(fd, data, sizeof data) > 0) {
    }
    close(fd);
    return 0;
}

/* A tmpfs with a claim and not one inode left. */
static int use_up_inodes(void)
{
    if (leave_mounts() != 0 || mount("tmpfs", simulated_path(RUN), "tmpfs", 0, "nr_inodes=16,mode=0700") != 0) {
        return -1;
    }
    make_claim(VM_A, "a");
    int fd = 0;
    for (int i = 0; fd >= 0; i++) {
        fd = open(simulated_path(RUN "/.filler%d", i), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (fd >= 0) {
            close(fd);
        }
    }
    return 0;
}

/* Fails with what became of the claim. */
static int end_it(struct error *err)
{
    if (state_mark_ended(VM_A, err) < 0) {
        return -1;
    }
    return error_set(err, STATUS_OK, "claim %s, tombstone %s", exists(CLAIM_A) ? "there" : "gone",
                     exists(ENDED_A) ? "there" : "none");
}

static void test_an_end_needs_no_room(void **unused)
{
    (void)unused;
    if (geteuid() != 0) {
        return;
    }
    assert_true(can_leave_mounts());
    assert_int_equal(mkdir(simulated_path(RUN), 0700), 0);
    /* An empty file takes no page. */
    struct error err = error_in_child(fill_pages, end_it);
    assert_string_equal(err.text, "claim there, tombstone there");
    err = error_in_child(use_up_inodes, end_it);
    assert_string_equal(err.text, "claim gone, tombstone none");
}

static int mount_read_only(void)
{
    char path[1024];
    snprintf(path, sizeof path, "%s", simulated_path(RUN));
    return leave_mounts() == 0 && mount(path, path, "none", MS_BIND, NULL) == 0 &&
                   mount("none", path, "none", MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) == 0
               ? 0
               : -1;
}

static int as_it_is(void)
{
    return 0;
}

static int write_short(struct error *err)
{
    return write_named("a", err);
}

static int note(struct error *err)
{
    struct state state;
    if (state_open(&state, STATE_CHANGE, deadline_after_ms(0), err) < 0) {
        return -1;
    }
    int result = state_note_enabled(&state, card_a, err);
    state_close(&state);
    return result;
}

/* As root a mount, as a user the mode. */
static void test_read_only(void **unused)
{
    (void)unused;
    make_claim(VM_A, "a");
    if (geteuid() == 0) {
        assert_true(can_leave_mounts());
        struct error err = error_in_child(mount_read_only, change);
        assert_text(&err, STATUS_HARDWARE, "cannot open %s: Read-only file system", LOCK);
        err = error_in_child(mount_read_only, look);
        assert_string_equal(err.text, "it succeeded");
        err = error_in_child(mount_read_only, end_it);
        assert_string_equal(err.text, END_NOT_NOTED "Read-only file system");
        assert_int_equal(err.status, STATUS_HARDWARE);
        return;
    }
    assert_int_equal(chmod(simulated_path(RUN), 0500), 0);
    struct error err = error_in_child(as_it_is, write_short);
    assert_text(&err, STATUS_HARDWARE, "%s: cannot write " VM_A ".json: Permission denied" WRITE_ADVICE, RUN);
    err = error_in_child(as_it_is, note);
    assert_text(&err, STATUS_HARDWARE, "cannot create %s: Permission denied", NOTE_A);
    err = error_in_child(as_it_is, end_it);
    assert_string_equal(err.text, END_NOT_NOTED "Permission denied");
    err = error_in_child(as_it_is, look);
    assert_string_equal(err.text, "it succeeded");
    assert_int_equal(chmod(simulated_path(RUN), 0700), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_changing_needs_the_lock_and_a_uuid, start_host),
        cmocka_unit_test_setup(test_what_could_not_be_read_is_not_written, start_host),
        cmocka_unit_test_setup(test_cards_are_written_if_they_differ, start_host),
        cmocka_unit_test_setup(test_damaged_memory_is_not_overwritten, start_host),
        cmocka_unit_test_setup(test_a_damaged_claim_is_replaced_or_removed, start_host),
        cmocka_unit_test_setup(test_remove_failure, start_host),
        cmocka_unit_test_setup(test_a_new_claim_has_nothing_of_the_old_one, start_host),
        cmocka_unit_test_setup(test_an_end_that_was_noted_meanwhile_is_not_lost, start_host),
        cmocka_unit_test_setup(test_mark_ended, start_host),
        cmocka_unit_test_setup(test_state_knows, start_host),
        cmocka_unit_test_setup(test_notes, start_host),
        cmocka_unit_test_setup(test_no_room, start_host),
        cmocka_unit_test_setup(test_an_end_needs_no_room, start_host),
        cmocka_unit_test_setup(test_read_only, start_host),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
