/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/ledger.h"

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
#include "ledger_fixture.h"
#include "simulated_host.h"

#define WRITE_ADVICE "; make sure that it is writable and has room"

static const struct bdf card_a = {.bus = 0x08};
static const struct bdf card_b = {.domain = 1, .bus = 0x09};

static void test_looking_leaves_time_stamps(void **unused)
{
    struct stat before;
    struct stat after;

    (void)unused;
    struct ledger ledger = open_ledger(LEDGER_CHANGE);
    write_entry(&ledger, VM_A, "a");
    ledger_close(&ledger);
    const struct timespec old[] = {{.tv_sec = 1}, {.tv_sec = 2}};
    assert_int_equal(utimensat(AT_FDCWD, simulated_path(RUN), old, 0), 0);
    assert_int_equal(utimensat(AT_FDCWD, simulated_path(RUN "/" VM_A ".json"), old, 0), 0);
    ledger = open_ledger(LEDGER_LOOK);
    struct ledger_content content = read_ledger(&ledger);
    assert_int_equal(content.entry_count, 1);
    ledger_content_free(&content);
    ledger_close(&ledger);
    assert_int_equal(stat(simulated_path(RUN), &before), 0);
    assert_int_equal(stat(simulated_path(RUN "/" VM_A ".json"), &after), 0);
    assert_int_equal(before.st_atime, 1);
    assert_int_equal(after.st_atime, 1);
}

static void test_entries_come_sorted(void **unused)
{
    (void)unused;
    struct ledger ledger = open_ledger(LEDGER_CHANGE);
    write_entry(&ledger, VM_A, "a");
    write_entry(&ledger, VM_C, "c");
    write_entry(&ledger, VM_B, "b");
    write_entry(&ledger, VM_A, "a, again");
    assert_int_equal(mode_of(RUN "/" VM_A ".json"), 0600);
    struct ledger_content content = read_ledger(&ledger);
    assert_int_equal(content.fault_count, 0);
    assert_int_equal(content.entry_count, 3);
    assert_string_equal(content.entries[0].uuid, VM_B);
    assert_string_equal(content.entries[1].uuid, VM_A);
    assert_string_equal(content.entries[1].name, "a, again");
    assert_int_equal(content.entries[1].card_count, 1);
    assert_string_equal(content.entries[2].uuid, VM_C);
    assert_false(content.entries[0].other_boot);
    ledger_content_free(&content);
    assert_int_equal(content.entry_count, 0);

    struct error err;
    assert_int_equal(ledger_remove(&ledger, VM_A, &err), 0);
    assert_int_equal(ledger_remove(&ledger, VM_A, &err), 0);
    content = read_ledger(&ledger);
    assert_int_equal(content.entry_count, 2);
    ledger_content_free(&content);
    ledger_close(&ledger);
}

static void test_notes(void **unused)
{
    struct bdf *notes;
    size_t count;
    struct error err;

    (void)unused;
    struct ledger ledger = open_ledger(LEDGER_CHANGE);
    assert_int_equal(ledger_note_enabled(&ledger, card_b, &err), 0);
    assert_int_equal(ledger_note_enabled(&ledger, card_a, &err), 0);
    assert_int_equal(ledger_note_enabled(&ledger, card_a, &err), 0);
    simulated_text(RUN "/enabled-junk", "");
    assert_true(exists(RUN "/enabled-0000:08:00.0"));
    assert_int_equal(mode_of(RUN "/enabled-0000:08:00.0"), 0600);
    assert_int_equal(ledger_enabled_notes(&ledger, &notes, &count, &err), 0);
    assert_int_equal(count, 2);
    assert_int_equal(bdf_compare(notes[0], card_a), 0);
    assert_int_equal(bdf_compare(notes[1], card_b), 0);
    free(notes);

    /* Notes are no entries. */
    struct ledger_content content = read_ledger(&ledger);
    assert_int_equal(content.entry_count + content.fault_count, 0);
    ledger_content_free(&content);

    assert_int_equal(ledger_forget_enabled(&ledger, card_a, &err), 0);
    assert_int_equal(ledger_forget_enabled(&ledger, card_a, &err), 0);
    assert_int_equal(ledger_enabled_notes(&ledger, &notes, &count, &err), 0);
    assert_int_equal(count, 1);
    assert_int_equal(bdf_compare(notes[0], card_b), 0);
    free(notes);

    simulated_link(RUN "/enabled-0000:08:00.0", "/nowhere");
    assert_int_equal(ledger_note_enabled(&ledger, card_a, &err), -1);
    assert_text(&err, STATUS_HARDWARE, "cannot create %s: Too many levels of symbolic links",
                RUN "/enabled-0000:08:00.0");
    simulated_remove(RUN "/enabled-0000:08:00.0");
    simulated_directory(RUN "/enabled-0000:08:00.0");
    assert_int_equal(ledger_forget_enabled(&ledger, card_a, &err), -1);
    assert_text(&err, STATUS_HARDWARE, "cannot remove %s: Is a directory", RUN "/enabled-0000:08:00.0");
    ledger_close(&ledger);
}

static void test_changing_needs_the_lock_and_a_uuid(void **unused)
{
    struct error err;
    char name[] = "a";
    struct ledger_entry entry = {.uuid = VM_A, .name = name};

    (void)unused;
    struct ledger ledger = open_ledger(LEDGER_LOOK);
    assert_int_equal(ledger_write(&ledger, &entry, &err), -1);
    assert_string_equal(err.text, "the ledger is not locked for a change");
    assert_int_equal(ledger_remove(&ledger, VM_A, &err), -1);
    assert_int_equal(ledger_note_enabled(&ledger, card_a, &err), -1);
    assert_int_equal(ledger_forget_enabled(&ledger, card_a, &err), -1);
    ledger_close(&ledger);

    ledger = open_ledger(LEDGER_CHANGE);
    assert_int_equal(ledger_remove(&ledger, "../" VM_A, &err), -1);
    assert_int_equal(err.status, STATUS_INVALID);
    assert_string_equal(err.text, "\"../" VM_A "\" is not a canonical UUID");
    strcpy(entry.uuid, "../../../etc/passwd");
    assert_int_equal(ledger_write(&ledger, &entry, &err), -1);
    assert_string_equal(err.text, "\"../../../etc/passwd\" is not a canonical UUID");
    ledger_close(&ledger);
}

static void test_what_could_not_be_read_is_not_written(void **unused)
{
    struct error err;
    char name[] = "a";
    struct ledger_card cards[] = {{.bdf = card_a}, {.bdf = card_a}};
    struct ledger_entry entry = {.uuid = VM_A, .name = name, .cards = cards, .card_count = 2};

    (void)unused;
    struct ledger ledger = open_ledger(LEDGER_CHANGE);
    assert_int_equal(ledger_write(&ledger, &entry, &err), -1);
    assert_string_equal(err.text, "an invalid ledger entry is not written: " VM_A ".json: card 0000:08:00.0 is listed "
                                  "twice");
    entry.card_count = 1;
    entry.name = malloc(1 << 20);
    memset(entry.name, 'x', 1 << 20);
    entry.name[(1 << 20) - 1] = '\0';
    assert_int_equal(ledger_write(&ledger, &entry, &err), -1);
    assert_int_equal(err.status, STATUS_INVALID);
    assert_string_equal(err.text, "the ledger's entry " VM_A ".json would have 1048853 bytes, more than 1048576");
    assert_false(exists(RUN "/" VM_A ".json"));
    free(entry.name);
    ledger_close(&ledger);
}

static void test_faults(void **unused)
{
    static const char entry[] = VM_A ".json";

    (void)unused;
    assert_int_equal(mkdir(simulated_path(RUN), 0700), 0);
    simulated_text(RUN "/" VM_A ".json", "{\"schema\":\"icn-hook/ledger/1\",");
    assert_fault(entry, VM_A, STATUS_INVALID, "%s: it is cut short" ADVICE);
    simulated_text(RUN "/" VM_A ".json", "{\"schema\":\"icn-hook/ledger/9\"}");
    assert_fault(entry, VM_A, STATUS_INVALID,
                 "%s: it was written by another version of icn-hook (icn-hook/ledger/9)" ADVICE);
    simulated_text(RUN "/" VM_A ".json",
                   "{\"schema\":\"icn-hook/ledger/1\",\"boot_id\":\"\",\"uuid\":\"" VM_C "\",\"name\":\"c\",\"phase\":"
                   "\"ended\",\"caller\":{\"pid\":0,\"start\":0},\"since\":0,\"cards\":[]}");
    assert_fault(entry, VM_A, STATUS_INVALID, "%s: it is the entry of " VM_C ADVICE);
    simulated_directory(RUN "/" VM_A ".json");
    assert_fault(entry, VM_A, STATUS_INVALID, "%s is not a regular file" ADVICE);
    simulated_link(RUN "/" VM_A ".json", VM_B ".json");
    assert_fault(entry, VM_A, STATUS_INVALID, "%s is a symbolic link" ADVICE);
    assert_int_equal(mkfifo(simulated_path(RUN "/" VM_A ".json"), 0600), 0);
    assert_fault(entry, VM_A, STATUS_INVALID, "%s is not a regular file" ADVICE);
    simulated_text(RUN "/" VM_A ".json", "{}");
    assert_int_equal(chmod(simulated_path(RUN "/" VM_A ".json"), 0620), 0);
    assert_fault(entry, VM_A, STATUS_INVALID, "%s is writable by others (mode 0620)" ADVICE);
    static char large[(1 << 20) + 1];
    simulated_file(RUN "/" VM_A ".json", large, sizeof large);
    assert_fault(entry, VM_A, STATUS_INVALID, "%s is larger than 1048576 bytes" ADVICE);
    simulated_text("/elsewhere", "{}");
    assert_int_equal(link(simulated_path("/elsewhere"), simulated_path(RUN "/" VM_A ".json")), 0);
    assert_fault(entry, VM_A, STATUS_INVALID, "%s has 2 names (hard links)" ADVICE);
}

static void test_names_of_no_entry(void **unused)
{
    static const char *const names[] = {
        "readme",
        "4DEA22B3-1d52-d8f3-2516-782e98a23fa0.json",
        "4dea22b31d52d8f32516782e98a23fa0.json",
        "4dea22b3-1d52-d8f3-2516-782e98a23fa0.jsox",
        "4dea22b3-1d52-d8f3-2516-782e98a23fag.json",
        "lock2",
    };

    (void)unused;
    assert_int_equal(mkdir(simulated_path(RUN), 0700), 0);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[128];
        snprintf(path, sizeof path, RUN "/%s", names[i]);
        simulated_text(path, "{}");
        assert_fault(names[i], "", STATUS_INVALID, "%s is no file of icn-hook; remove it");
    }
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

/* Writes VM_A's entry with a long name. */
static int write_long(struct error *err)
{
    static char name[200000];
    struct ledger_entry entry = {.uuid = VM_A, .name = name};
    struct ledger ledger;

    memset(name, 'n', sizeof name - 1);
    return ledger_open(&ledger, LEDGER_CHANGE, deadline_after_ms(0), err) < 0 ? -1 : ledger_write(&ledger, &entry, err);
}

static void test_no_room(void **unused)
{
    (void)unused;
    struct ledger ledger = open_ledger(LEDGER_CHANGE);
    write_entry(&ledger, VM_A, "old");
    ledger_close(&ledger);
    struct error err = error_in_child(limit_file_size, write_long);
    assert_text(&err, STATUS_HARDWARE, "%s: cannot write " VM_A ".json: File too large" WRITE_ADVICE, RUN);
    ledger = open_ledger(LEDGER_LOOK);
    struct ledger_content content = read_ledger(&ledger);
    assert_int_equal(content.entry_count, 1);
    assert_string_equal(content.entries[0].name, "old");
    ledger_content_free(&content);
    ledger_close(&ledger);
    if (geteuid() == 0) {
        assert_true(can_leave_mounts());
        err = error_in_child(fill_disk, write_long);
        assert_text(&err, STATUS_HARDWARE, "%s: cannot write " VM_A ".json: No space left on device" WRITE_ADVICE, RUN);
    }
}

static void test_remove_failure(void **unused)
{
    struct error err;

    (void)unused;
    struct ledger ledger = open_ledger(LEDGER_CHANGE);
    simulated_text(RUN "/" VM_A ".json", "not an entry");
    assert_int_equal(ledger_remove(&ledger, VM_A, &err), 0);
    assert_false(exists(RUN "/" VM_A ".json"));
    simulated_directory(RUN "/" VM_A ".json");
    assert_int_equal(ledger_remove(&ledger, VM_A, &err), -1);
    assert_text(&err, STATUS_HARDWARE, "cannot remove %s: Is a directory", RUN "/" VM_A ".json");
    ledger_close(&ledger);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_looking_leaves_time_stamps, start_host),
        cmocka_unit_test_setup(test_entries_come_sorted, start_host),
        cmocka_unit_test_setup(test_notes, start_host),
        cmocka_unit_test_setup(test_changing_needs_the_lock_and_a_uuid, start_host),
        cmocka_unit_test_setup(test_what_could_not_be_read_is_not_written, start_host),
        cmocka_unit_test_setup(test_faults, start_host),
        cmocka_unit_test_setup(test_names_of_no_entry, start_host),
        cmocka_unit_test_setup(test_no_room, start_host),
        cmocka_unit_test_setup(test_remove_failure, start_host),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
