/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * An upgrade from version 0.1 with VMs running.  The calls that change the directory are
 * wrapped, so that the program can be killed before each of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "child.h"
#include "host/state.h"
#include "simulated_host.h"
#include "state_fixture.h"

#define ENTRY(UUID, NAME, PHASE, CARDS_TEXT, MANUAL)                                                                   \
    "{\"schema\":\"icn-hook/ledger/1\",\"boot_id\":\"" BOOT "\",\"uuid\":\"" UUID "\",\"name\":\"" NAME                \
    "\",\"phase\":\"" PHASE "\",\"caller\":{\"pid\":812,\"start\":4711},\"since\":1700000000,"                         \
    "\"cards\":[" CARDS_TEXT "]" MANUAL "}"
#define CARD(BDF, OWNED, ORIGINAL)                                                                                     \
    "{\"bdf\":\"" BDF "\",\"ppu\":0,\"owned\":" OWNED ",\"whole\":true,\"original\":" ORIGINAL "}"
#define CLAIM_C RUN "/" VM_C ".json"

static const struct bdf card_8 = {.bus = 8};
static const struct bdf card_9 = {.bus = 9};
static const struct bdf card_a = {.bus = 10};
static const struct bdf card_b = {.bus = 11};

/* The process ends before the call of this number; 0: it does not. */
static int kill_before;
static int calls;

static void count_call(void)
{
    calls++;
    if (calls == kill_before) {
        _exit(9); /* as if killed: nothing is cleaned up */
    }
}

int __real_renameat(int old_fd, const char *old_name, int new_fd, const char *new_name);
int __wrap_renameat(int old_fd, const char *old_name, int new_fd, const char *new_name);
int __real_unlinkat(int fd, const char *name, int flags);
int __wrap_unlinkat(int fd, const char *name, int flags);
ssize_t __real_write(int fd, const void *data, size_t length);
ssize_t __wrap_write(int fd, const void *data, size_t length);

int __wrap_renameat(int old_fd, const char *old_name, int new_fd, const char *new_name)
{
    count_call();
    return __real_renameat(old_fd, old_name, new_fd, new_name);
}

int __wrap_unlinkat(int fd, const char *name, int flags)
{
    count_call();
    return __real_unlinkat(fd, name, flags);
}

ssize_t __wrap_write(int fd, const void *data, size_t length)
{
    count_call();
    return __real_write(fd, data, length);
}

/* A VM that was being started, with a neighbour, and has ended meanwhile; a group; a VM
 * whose cards were not all given back. */
static void make_entries(void)
{
    if (exists(RUN)) {
        simulated_remove(RUN);
    }
    assert_int_equal(mkdir(simulated_path(RUN), 0700), 0);
    simulated_text(LOCK, "");
    simulated_text(
        CLAIM_A,
        ENTRY(VM_A, "a", "prepared",
              CARD("0000:08:00.0", "true", "\"0x00000001\"") "," CARD("0000:09:00.0", "false", "\"0x00000004\""), ""));
    simulated_text(ENDED_A, "");
    simulated_text(CLAIM_B,
                   ENTRY(VM_B, "b", "running",
                         CARD("0000:0a:00.0", "true", "null") "," CARD("0000:09:00.0", "false", "\"0x00000004\""),
                         ",\"manual\":true"));
    simulated_text(CLAIM_C, ENTRY(VM_C, "c", "ended", CARD("0000:0b:00.0", "true", "\"0x00000008\""), ""));
}

static void assert_memory(const struct state *state, struct bdf bdf, uint32_t original)
{
    const struct card_memory *memory = state_card(state, bdf);
    assert_non_null(memory);
    assert_true(memory->has_original && memory->has_written);
    assert_int_equal(memory->original, original);
    assert_int_equal(memory->written, UINT32_MAX);
    assert_int_equal(memory->evidence.at, 0);
}

/* What the entries say, whichever of them are claims by now. */
static void assert_carried_over(const struct state *state)
{
    assert_int_equal(state->fault_count, 0);
    assert_int_equal(state->claim_count, 2);
    const struct claim *group = &state->claims[0];
    const struct claim *vm = &state->claims[1];
    assert_string_equal(group->uuid, VM_B);
    assert_string_equal(group->name, "b");
    assert_true(group->is_group);
    assert_int_equal(group->phase, CLAIM_RUNNING);
    assert_false(group->is_ended);
    assert_int_equal(group->card_count, 1);
    assert_int_equal(bdf_compare(group->cards[0].bdf, card_a), 0);
    assert_string_equal(vm->uuid, VM_A);
    assert_false(vm->is_group);
    assert_int_equal(vm->phase, CLAIM_STARTING);
    assert_int_equal(vm->daemon.pid, 812);
    assert_int_equal(vm->daemon.start, 4711);
    assert_int_equal(vm->since, 1700000000);
    assert_true(vm->is_ended);
    assert_int_equal(vm->card_count, 1);
    assert_int_equal(bdf_compare(vm->cards[0].bdf, card_8), 0);
    assert_int_equal(state->card_count, 3);
    assert_memory(state, card_8, 1);
    assert_memory(state, card_9, 4);
    assert_memory(state, card_b, 8);
}

static void test_looking_changes_nothing(void **unused)
{
    struct timespec now;

    (void)unused;
    make_entries();
    calls = 0;
    struct state state = open_state(STATE_LOOK);
    assert_int_equal(calls, 0);
    assert_carried_over(&state);
    assert_true(state.claims[0].is_carried_over && state.claims[1].is_carried_over);
    clock_gettime(CLOCK_BOOTTIME, &now);
    assert_in_range(now.tv_sec - state.claims[1].boottime_ms / 1000, 0, 60);
    state_close(&state);
}

static void test_changing_writes_it_anew(void **unused)
{
    (void)unused;
    make_entries();
    for (int round = 0; round < 2; round++) {
        struct state state = open_state(STATE_CHANGE);
        assert_carried_over(&state);
        assert_false(state.claims[0].is_carried_over || state.claims[1].is_carried_over);
        state_close(&state);
        assert_non_null(strstr(simulated_read(CLAIM_A), "icn-hook/claim/2"));
        assert_non_null(strstr(simulated_read(CLAIM_B), "icn-hook/claim/2"));
        assert_true(exists(CARDS));
        assert_true(exists(ENDED_A));
        assert_false(exists(CLAIM_C));
    }
}

static void test_killed_at_every_step(void **unused)
{
    int status = -1;

    (void)unused;
    for (kill_before = 1; status != 0; kill_before++) {
        make_entries();
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            struct state state;
            struct error err;
            calls = 0;
            if (state_open(&state, STATE_CHANGE, deadline_after_ms(1000), &err) < 0) {
                child_exit(1);
            }
            state_close(&state);
            child_exit(0);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status) && (WEXITSTATUS(status) == 9 || WEXITSTATUS(status) == 0));
        struct state state = open_state(STATE_LOOK);
        assert_carried_over(&state);
        state_close(&state);
        int saved = kill_before;
        kill_before = 0;
        state = open_state(STATE_CHANGE);
        assert_carried_over(&state);
        state_close(&state);
        kill_before = saved;
        assert_non_null(strstr(simulated_read(CLAIM_A), "icn-hook/claim/2"));
        assert_false(exists(CLAIM_C));
    }
    /* Three files to be written, with two calls each, and one to be removed. */
    assert_true(kill_before > 7);
    kill_before = 0;
}

/* What cards.json has is from before the entry: another 0.1 cannot have been there first. */
static void test_memory_that_is_there_already(void **unused)
{
    (void)unused;
    make_entries();
    simulated_text(CARDS, "{\"schema\":\"icn-hook/cards/1\",\"boot\":\"" BOOT "\",\"cards\":["
                          "{\"bdf\":\"0000:08:00.0\",\"original\":\"0x00000002\",\"written\":\"0x00000010\","
                          "\"evidence\":null},"
                          "{\"bdf\":\"0000:0b:00.0\",\"original\":null,\"written\":\"0x00000010\","
                          "\"evidence\":{\"mask\":\"0x00000010\",\"at\":5,\"owners\":[]}}]}");
    struct state state = open_state(STATE_CHANGE);
    assert_int_equal(state.card_count, 3);
    assert_memory(&state, card_8, 2);
    assert_memory(&state, card_9, 4);
    assert_int_equal(state_card(&state, card_b)->original, 8);
    assert_int_equal(state_card(&state, card_b)->written, UINT32_MAX);
    assert_int_equal(state_card(&state, card_b)->evidence.at, 5);
    state_close(&state);
}

/* Nothing may replace or remove an entry before its memory is safe. */
static void test_damaged_memory_stops_it(void **unused)
{
    struct error err = {0};

    (void)unused;
    make_entries();
    simulated_text(CARDS, "junk");
    struct state state = open_state(STATE_CHANGE);
    assert_int_equal(state.fault_count, 1);
    assert_int_equal(state.claim_count, 2);
    assert_true(state.claims[0].is_carried_over);
    assert_int_equal(state_write_claim(&state, state_claim_add(&state, VM_C, "c"), &err), -1);
    assert_text(&err, STATUS_INVALID, "%s: it is not JSON" ADVICE, CARDS);
    assert_int_equal(state_remove_claim(&state, VM_A, &err), -1);
    assert_true(exists(CLAIM_A));
    assert_non_null(strstr(simulated_read(CLAIM_C), "0x00000008"));

    assert_int_equal(state_forget_cards_fault(&state, &err), 0);
    assert_int_equal(state_remove_claim(&state, VM_A, &err), 0);
    state_close(&state);
    state = open_state(STATE_CHANGE);
    assert_int_equal(state.fault_count, 0);
    assert_int_equal(state.claim_count, 1);
    assert_memory(&state, card_8, 1);
    assert_memory(&state, card_b, 8);
    assert_false(exists(CLAIM_C));
    state_close(&state);
}

static void test_entries_of_another_boot(void **unused)
{
    (void)unused;
    make_entries();
    simulated_text(BOOT_ID, "another\n");
    struct state state = open_state(STATE_CHANGE);
    assert_int_equal(state.claim_count + state.card_count + state.fault_count + state.tombstones.count, 0);
    state_close(&state);
    assert_false(exists(CLAIM_A) || exists(CLAIM_B) || exists(CLAIM_C) || exists(CARDS) || exists(ENDED_A));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_looking_changes_nothing, start_host),
        cmocka_unit_test_setup(test_changing_writes_it_anew, start_host),
        cmocka_unit_test_setup(test_killed_at_every_step, start_host),
        cmocka_unit_test_setup(test_memory_that_is_there_already, start_host),
        cmocka_unit_test_setup(test_damaged_memory_stops_it, start_host),
        cmocka_unit_test_setup(test_entries_of_another_boot, start_host),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
