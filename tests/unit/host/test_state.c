/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/state.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "simulated_host.h"
#include "state_fixture.h"

#define CLAIM_TEXT(UUID, BOOT_TEXT)                                                                                    \
    "{\"schema\":\"icn-hook/claim/2\",\"boot\":\"" BOOT_TEXT "\",\"uuid\":\"" UUID "\",\"name\":\"a\","                \
    "\"kind\":\"vm\",\"phase\":\"running\",\"daemon\":null,\"process\":null,\"since\":0,\"boottime_ms\":0,"            \
    "\"cards\":[]}"

static const struct bdf card_a = {.bus = 0x08};
static const struct bdf card_b = {.domain = 1, .bus = 0x09};
static const struct bdf card_c = {.bus = 0x0a};

static void test_look_creates_nothing(void **unused)
{
    size_t count = 7;

    (void)unused;
    struct state state = open_state(STATE_LOOK);
    assert_int_equal(state.dirfd, -1);
    assert_int_equal(state.lockfd, -1);
    assert_string_equal(state.boot_id, BOOT);
    assert_int_equal(state.claim_count + state.card_count + state.fault_count + state.tombstones.count, 0);
    state_enabled_notes(&state, &count);
    assert_int_equal(count, 0);
    assert_false(exists(RUN));
    state_close(&state);

    assert_int_equal(mkdir(simulated_path(RUN), 0700), 0);
    state = open_state(STATE_LOOK);
    assert_int_not_equal(state.dirfd, -1);
    assert_int_equal(state.lockfd, -1);
    assert_false(exists(LOCK));
    state_close(&state);
    assert_int_equal(state.dirfd, -1);
}

static void test_change_creates_directory_and_lock(void **unused)
{
    (void)unused;
    mode_t before = umask(0);
    struct state state = open_state(STATE_CHANGE);
    umask(before);
    assert_int_equal(mode_of(RUN), 0700);
    assert_int_equal(mode_of(LOCK), 0600);
    assert_int_equal(fcntl(state.dirfd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(fcntl(state.lockfd, F_GETFD), FD_CLOEXEC);
    assert_false(exists(CARDS));
    state_close(&state);
    assert_int_equal(state.lockfd, -1);
}

static void test_looking_leaves_time_stamps(void **unused)
{
    static const char *const paths[] = {RUN, CLAIM_A, CARDS};
    struct error err;
    struct stat facts;

    (void)unused;
    struct state state = open_state(STATE_CHANGE);
    write_claim(&state, VM_A, "a");
    state_remember(&state, card_a)->has_written = true;
    assert_int_equal(state_write_cards(&state, &err), 0);
    state_close(&state);
    const struct timespec old[] = {{.tv_sec = 1}, {.tv_sec = 2}};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        assert_int_equal(utimensat(AT_FDCWD, simulated_path("%s", paths[i]), old, 0), 0);
    }
    state = open_state(STATE_LOOK);
    assert_int_equal(state.claim_count, 1);
    assert_int_equal(state.card_count, 1);
    state_close(&state);
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        assert_int_equal(stat(simulated_path("%s", paths[i]), &facts), 0);
        assert_int_equal(facts.st_atime, 1);
    }
}

static void test_claims_come_sorted(void **unused)
{
    struct error err;

    (void)unused;
    struct state state = open_state(STATE_CHANGE);
    write_claim(&state, VM_A, "a");
    write_claim(&state, VM_C, "c");
    write_claim(&state, VM_B, "b");
    write_claim(&state, VM_A, "a, again");
    assert_int_equal(mode_of(CLAIM_A), 0600);
    /* In memory as on disk. */
    for (int round = 0; round < 2; round++) {
        assert_int_equal(state.fault_count, 0);
        assert_int_equal(state.claim_count, 3);
        assert_string_equal(state.claims[0].uuid, VM_B);
        assert_string_equal(state.claims[1].uuid, VM_A);
        assert_string_equal(state.claims[1].name, "a, again");
        assert_int_equal(state.claims[1].card_count, 1);
        assert_string_equal(state.claims[2].uuid, VM_C);
        assert_ptr_equal(state_claim(&state, VM_A), &state.claims[1]);
        assert_null(state_claim(&state, BOOT));
        state_close(&state);
        state = open_state(STATE_CHANGE);
    }

    assert_int_equal(state_remove_claim(&state, VM_A, &err), 0);
    assert_int_equal(state_remove_claim(&state, VM_A, &err), 0);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(state.claim_count, 2);
        assert_string_equal(state.claims[0].uuid, VM_B);
        assert_string_equal(state.claims[1].uuid, VM_C);
        state_close(&state);
        state = open_state(STATE_LOOK);
    }
    state_close(&state);
}

static void test_cards_come_sorted(void **unused)
{
    char owners[][UUID_SIZE] = {VM_B, VM_A};
    struct error err;

    (void)unused;
    struct state state = open_state(STATE_CHANGE);
    state_remember(&state, card_b)->has_written = true;
    struct card_memory *memory = state_remember(&state, card_a);
    assert_false(memory->has_original || memory->has_written || memory->evidence.at != 0);
    memory->has_original = true;
    memory->original = 5;
    memory->evidence = (struct evidence){.mask = 6, .at = 7, .owner_count = 2, .owners = malloc(sizeof owners)};
    memcpy(memory->evidence.owners, owners, sizeof owners);
    state_remember(&state, card_c); /* about which nothing is remembered */
    assert_int_equal(state.card_count, 3);
    assert_int_equal(state_write_cards(&state, &err), 0);
    assert_int_equal(mode_of(CARDS), 0600);
    state_close(&state);

    state = open_state(STATE_LOOK);
    assert_int_equal(state.card_count, 2);
    assert_null(state_card(&state, card_c));
    assert_ptr_equal(state_card(&state, card_b), &state.cards[1]);
    memory = state_card(&state, card_a);
    assert_ptr_equal(memory, &state.cards[0]);
    assert_ptr_equal(state_remember(&state, card_a), memory);
    assert_true(memory->has_original && !memory->has_written);
    assert_int_equal(memory->original, 5);
    assert_int_equal(memory->evidence.mask, 6);
    assert_int_equal(memory->evidence.at, 7);
    assert_int_equal(memory->evidence.owner_count, 2);
    assert_memory_equal(memory->evidence.owners, owners, sizeof owners);
    evidence_clear(&memory->evidence);
    assert_int_equal(memory->evidence.at, 0);
    assert_null(memory->evidence.owners);
    state_close(&state);
}

/* Learned in whatever order, found all the same. */
static void test_many_cards(void **unused)
{
    enum { MANY = 97, APART = 35 };
    (void)unused;
    struct state state = open_state(STATE_CHANGE);
    for (int i = 0; i < MANY; i++) {
        const struct bdf bdf = {.bus = (uint8_t)(2 * (i * APART % MANY) + 1)};
        assert_null(state_card(&state, bdf));
        state_remember(&state, bdf)->written = bdf.bus;
        assert_int_equal(state_card(&state, bdf)->written, bdf.bus);
    }
    assert_int_equal(state.card_count, MANY);
    for (int i = 0; i < MANY; i++) {
        const struct bdf bdf = {.bus = (uint8_t)(2 * i + 1)};
        assert_ptr_equal(state_card(&state, bdf), &state.cards[i]);
        assert_ptr_equal(state_remember(&state, bdf), &state.cards[i]);
        assert_int_equal(state.cards[i].written, bdf.bus);
        assert_null(state_card(&state, (struct bdf){.bus = (uint8_t)(2 * i)}));
    }
    state_close(&state);
}

static void test_faults(void **unused)
{
    static const char file[] = VM_A ".json";
    static char large[(1 << 20) + 1];

    (void)unused;
    assert_int_equal(mkdir(simulated_path(RUN), 0700), 0);
    simulated_text(CLAIM_A, "{\"schema\":\"icn-hook/claim/2\",");
    assert_fault(file, FAULT_CLAIM, VM_A, STATUS_INVALID, "%s: it is cut short" ADVICE);
    simulated_text(CLAIM_A, "");
    assert_fault(file, FAULT_CLAIM, VM_A, STATUS_INVALID, "%s: it is cut short" ADVICE);
    simulated_text(CLAIM_A, "{\"schema\":\"icn-hook/claim/9\"}");
    assert_fault(file, FAULT_CLAIM, VM_A, STATUS_INVALID,
                 "%s: it was written by another version of icn-hook (icn-hook/claim/9)" ADVICE);
    simulated_text(CLAIM_A, "{\"schema\":\"icn-hook/ledger/9\"}");
    assert_fault(file, FAULT_CLAIM, VM_A, STATUS_INVALID,
                 "%s: it was written by another version of icn-hook (icn-hook/ledger/9)" ADVICE);
    simulated_text(CLAIM_A, CLAIM_TEXT(VM_C, BOOT));
    assert_fault(file, FAULT_CLAIM, VM_A, STATUS_INVALID, "%s: it is the claim of " VM_C ADVICE);
    simulated_directory(CLAIM_A);
    assert_fault(file, FAULT_CLAIM, VM_A, STATUS_INVALID, "%s is not a regular file" ADVICE);
    simulated_link(CLAIM_A, VM_B ".json");
    assert_fault(file, FAULT_CLAIM, VM_A, STATUS_INVALID, "%s is a symbolic link" ADVICE);
    assert_int_equal(mkfifo(simulated_path(CLAIM_A), 0600), 0);
    assert_fault(file, FAULT_CLAIM, VM_A, STATUS_INVALID, "%s is not a regular file" ADVICE);
    simulated_text(CLAIM_A, "{}");
    assert_int_equal(chmod(simulated_path(CLAIM_A), 0620), 0);
    assert_fault(file, FAULT_CLAIM, VM_A, STATUS_INVALID, "%s is writable by others (mode 0620)" ADVICE);
    simulated_file(CLAIM_A, large, sizeof large);
    assert_fault(file, FAULT_CLAIM, VM_A, STATUS_INVALID, "%s is larger than 1048576 bytes" ADVICE);
    simulated_text("/elsewhere", "{}");
    assert_int_equal(link(simulated_path("/elsewhere"), simulated_path(CLAIM_A)), 0);
    assert_fault(file, FAULT_CLAIM, VM_A, STATUS_INVALID, "%s has 2 names (hard links)" ADVICE);
}

static void test_faults_of_the_memory(void **unused)
{
    static const char file[] = "cards.json";

    (void)unused;
    assert_int_equal(mkdir(simulated_path(RUN), 0700), 0);
    simulated_text(CARDS, "{\"schema\":");
    assert_fault(file, FAULT_CARDS, "", STATUS_INVALID, "%s: it is cut short" ADVICE);
    simulated_text(CARDS, "{\"schema\":\"icn-hook/cards/2\"}");
    assert_fault(file, FAULT_CARDS, "", STATUS_INVALID,
                 "%s: it was written by another version of icn-hook (icn-hook/cards/2)" ADVICE);
    simulated_link(CARDS, "elsewhere");
    assert_fault(file, FAULT_CARDS, "", STATUS_INVALID, "%s is a symbolic link" ADVICE);
    simulated_directory(CARDS);
    assert_fault(file, FAULT_CARDS, "", STATUS_INVALID, "%s is not a regular file" ADVICE);
}

static void test_names_of_no_file_of_ours(void **unused)
{
    static const char *const names[] = {
        "readme",
        "4DEA22B3-1d52-d8f3-2516-782e98a23fa0.json",
        "4dea22b31d52d8f32516782e98a23fa0.json",
        "4dea22b3-1d52-d8f3-2516-782e98a23fa0.jsox",
        "4dea22b3-1d52-d8f3-2516-782e98a23fag.json",
        "lock2",
        "cards.json2",
        "cards",
        "ended-",
        "ended-junk",
        "ended-4DEA22B3-1d52-d8f3-2516-782e98a23fa0",
        "ended-4dea22b3-1d52-d8f3-2516-782e98a23fa0.json",
        "enabled-",
        "enabled-junk",
        "enabled-08:00.0",
        "enabled-0000:08:00.0x",
    };

    (void)unused;
    assert_int_equal(mkdir(simulated_path(RUN), 0700), 0);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[128];
        snprintf(path, sizeof path, RUN "/%s", names[i]);
        simulated_text(path, "{}");
        assert_fault(names[i], FAULT_FOREIGN, "", STATUS_INVALID,
                     "%s does not belong to icn-hook; find out what made it and move it away");
    }
}

static void test_age_of_a_fault(void **unused)
{
    struct timespec times[] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = time(NULL) - 1000}};

    (void)unused;
    assert_int_equal(mkdir(simulated_path(RUN), 0700), 0);
    simulated_text(CLAIM_A, "");
    assert_int_equal(utimensat(AT_FDCWD, simulated_path(CLAIM_A), times, 0), 0);
    struct state state = open_state(STATE_LOOK);
    assert_in_range(state.faults[0].age_ms, 1000000, 1060000);
    state_close(&state);
    times[1].tv_sec = time(NULL) + 1000;
    assert_int_equal(utimensat(AT_FDCWD, simulated_path(CLAIM_A), times, 0), 0);
    state = open_state(STATE_LOOK);
    assert_int_equal(state.faults[0].age_ms, 0);
    state_close(&state);
}

static void test_a_claim_from_the_future(void **unused)
{
    struct error err;

    (void)unused;
    struct state state = open_state(STATE_CHANGE);
    struct claim *claim = state_claim_add(&state, VM_A, "a");
    claim->boottime_ms = INT64_MAX;
    assert_int_equal(state_write_claim(&state, claim, &err), 0);
    state_close(&state);
    state = open_state(STATE_LOOK);
    assert_int_equal(state.fault_count, 0);
    assert_true(state.claims[0].boottime_ms == INT64_MAX);
    state_close(&state);
}

static void test_boot_id(void **unused)
{
    static const struct {
        const char *text; /* NULL = no file */
        const char *boot_id;
        bool other;
    } cases[] = {{BOOT, BOOT, false}, {"boot-2\n", "boot-2", true}, {"", "", true}, {NULL, "", true}};
    struct error err;

    (void)unused;
    struct state state = open_state(STATE_CHANGE);
    write_claim(&state, VM_A, "a");
    state_remember(&state, card_a)->has_written = true;
    assert_int_equal(state_write_cards(&state, &err), 0);
    state_close(&state);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        simulated_remove(BOOT_ID);
        if (cases[i].text) {
            simulated_text(BOOT_ID, cases[i].text);
        }
        state = open_state(STATE_LOOK);
        assert_string_equal(state.boot_id, cases[i].boot_id);
        assert_int_equal(state.claim_count, !cases[i].other);
        assert_int_equal(state.card_count, !cases[i].other);
        assert_int_equal(state.fault_count, 0);
        state_close(&state);
        assert_true(exists(CLAIM_A));
    }
}

static void test_no_boot_id(void **unused)
{
    static const char *const texts[] = {BOOT "0", "two words\n", "\x01\n", "\x7f\n", BOOT "\n\nx"};

    (void)unused;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        simulated_text(BOOT_ID, texts[i]);
        assert_refused(STATUS_HARDWARE, "%s does not hold a boot id", BOOT_ID);
    }
    simulated_remove(BOOT_ID);
    simulated_directory(BOOT_ID);
    assert_refused(STATUS_INVALID, "%s is not a regular file", BOOT_ID);
}

static void test_what_another_boot_left(void **unused)
{
    struct error err;

    (void)unused;
    assert_int_equal(mkdir(simulated_path(RUN), 0700), 0);
    simulated_text(CLAIM_A, CLAIM_TEXT(VM_A, "other"));
    simulated_text(CLAIM_B, CLAIM_TEXT(VM_B, BOOT));
    simulated_text(ENDED_A, "");
    simulated_text(CARDS, "{\"schema\":\"icn-hook/cards/1\",\"boot\":\"other\",\"cards\":[]}");
    struct state state = open_state(STATE_CHANGE);
    assert_int_equal(state.claim_count, 1);
    assert_string_equal(state.claims[0].uuid, VM_B);
    assert_false(exists(CLAIM_A));
    assert_false(exists(ENDED_A));
    state_remember(&state, card_a)->has_written = true;
    assert_int_equal(state_write_cards(&state, &err), 0);
    assert_non_null(strstr(simulated_read(CARDS), BOOT));
    state_close(&state);
}

static void test_leftovers_of_killed_writers(void **unused)
{
    (void)unused;
    assert_int_equal(mkdir(simulated_path(RUN), 0700), 0);
    simulated_text(RUN "/." VM_A ".json.12.tmp", "{");
    simulated_link(RUN "/.x.tmp", "/etc/passwd");
    simulated_text(RUN "/.keep", "");
    simulated_text(RUN "/..tmp", "");
    struct state state = open_state(STATE_LOOK);
    state_close(&state);
    assert_true(exists(RUN "/." VM_A ".json.12.tmp"));
    state = open_state(STATE_CHANGE);
    assert_int_equal(state.fault_count, 0);
    assert_false(exists(RUN "/." VM_A ".json.12.tmp"));
    assert_false(exists(RUN "/.x.tmp"));
    assert_false(exists(RUN "/..tmp"));
    assert_true(exists(RUN "/.keep"));
    state_close(&state);
}

static void test_tombstones(void **unused)
{
    (void)unused;
    make_claim(VM_A, "a");
    make_claim(VM_B, "b");
    simulated_text(ENDED_A, "");
    simulated_text(RUN "/ended-" VM_C, "");
    struct state state = open_state(STATE_LOOK);
    assert_int_equal(state.fault_count, 0);
    assert_true(state_claim(&state, VM_A)->is_ended);
    assert_false(state_claim(&state, VM_B)->is_ended);
    assert_int_equal(state.tombstones.count, 2);
    assert_string_equal(state.tombstones.items[0], VM_A);
    assert_string_equal(state.tombstones.items[1], VM_C);
    state_close(&state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_look_creates_nothing, start_host),
        cmocka_unit_test_setup(test_change_creates_directory_and_lock, start_host),
        cmocka_unit_test_setup(test_looking_leaves_time_stamps, start_host),
        cmocka_unit_test_setup(test_claims_come_sorted, start_host),
        cmocka_unit_test_setup(test_cards_come_sorted, start_host),
        cmocka_unit_test_setup(test_many_cards, start_host),
        cmocka_unit_test_setup(test_faults, start_host),
        cmocka_unit_test_setup(test_faults_of_the_memory, start_host),
        cmocka_unit_test_setup(test_names_of_no_file_of_ours, start_host),
        cmocka_unit_test_setup(test_age_of_a_fault, start_host),
        cmocka_unit_test_setup(test_a_claim_from_the_future, start_host),
        cmocka_unit_test_setup(test_boot_id, start_host),
        cmocka_unit_test_setup(test_no_boot_id, start_host),
        cmocka_unit_test_setup(test_what_another_boot_left, start_host),
        cmocka_unit_test_setup(test_leftovers_of_killed_writers, start_host),
        cmocka_unit_test_setup(test_tombstones, start_host),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
