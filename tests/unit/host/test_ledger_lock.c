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
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "child.h"
#include "host/ledger.h"
#include "ledger_fixture.h"
#include "simulated_host.h"

#define BUSY "another icn-hook holds %s and did not end in time; try again, or find it with lslocks"
#define WRITE_ADVICE "; make sure that it is writable and has room"

static const struct bdf card_a = {.bus = 0x08};

static void test_look_creates_nothing(void **unused)
{
    struct bdf *notes;
    size_t count;
    struct error err;

    (void)unused;
    struct ledger ledger = open_ledger(LEDGER_LOOK);
    assert_int_equal(ledger.dirfd, -1);
    assert_int_equal(ledger.lockfd, -1);
    assert_string_equal(ledger.boot_id, BOOT);
    assert_false(exists(RUN));
    struct ledger_content content = read_ledger(&ledger);
    assert_int_equal(content.entry_count, 0);
    assert_int_equal(content.fault_count, 0);
    ledger_content_free(&content);
    assert_int_equal(ledger_enabled_notes(&ledger, &notes, &count, &err), 0);
    assert_int_equal(count, 0);
    ledger_close(&ledger);

    assert_int_equal(mkdir(simulated_path(RUN), 0700), 0);
    ledger = open_ledger(LEDGER_LOOK);
    assert_int_not_equal(ledger.dirfd, -1);
    assert_int_equal(ledger.lockfd, -1);
    assert_false(exists(LOCK));
    ledger_close(&ledger);
    assert_int_equal(ledger.dirfd, -1);
}

static void test_change_creates_directory_and_lock(void **unused)
{
    (void)unused;
    mode_t before = umask(0);
    struct ledger ledger = open_ledger(LEDGER_CHANGE);
    umask(before);
    assert_int_equal(mode_of(RUN), 0700);
    assert_int_equal(mode_of(LOCK), 0600);
    assert_int_equal(fcntl(ledger.dirfd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(fcntl(ledger.lockfd, F_GETFD), FD_CLOEXEC);
    ledger_close(&ledger);
    assert_int_equal(ledger.lockfd, -1);
}

static void test_boot_id(void **unused)
{
    (void)unused;
    struct ledger ledger = open_ledger(LEDGER_CHANGE);
    write_entry(&ledger, VM_A, "a");
    ledger_close(&ledger);
    static const struct {
        const char *text; /* NULL = no file */
        const char *boot_id;
        bool other;
    } cases[] = {{BOOT, BOOT, false}, {"boot-2\n", "boot-2", true}, {"", "", true}, {NULL, "", true}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        simulated_remove(BOOT_ID);
        if (cases[i].text) {
            simulated_text(BOOT_ID, cases[i].text);
        }
        ledger = open_ledger(LEDGER_LOOK);
        assert_string_equal(ledger.boot_id, cases[i].boot_id);
        struct ledger_content content = read_ledger(&ledger);
        assert_int_equal(content.entries[0].other_boot, cases[i].other);
        ledger_content_free(&content);
        ledger_close(&ledger);
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

static void test_leftovers_of_killed_writers(void **unused)
{
    (void)unused;
    assert_int_equal(mkdir(simulated_path(RUN), 0700), 0);
    simulated_text(RUN "/." VM_A ".json.12.tmp", "{");
    simulated_link(RUN "/.x.tmp", "/etc/passwd");
    simulated_text(RUN "/.keep", "");
    simulated_text(RUN "/..tmp", "");
    struct ledger ledger = open_ledger(LEDGER_LOOK);
    ledger_close(&ledger);
    assert_true(exists(RUN "/." VM_A ".json.12.tmp"));
    ledger = open_ledger(LEDGER_CHANGE);
    assert_false(exists(RUN "/." VM_A ".json.12.tmp"));
    assert_false(exists(RUN "/.x.tmp"));
    assert_false(exists(RUN "/..tmp"));
    assert_true(exists(RUN "/.keep"));
    struct ledger_content content = read_ledger(&ledger);
    assert_int_equal(content.fault_count, 0);
    ledger_content_free(&content);
    ledger_close(&ledger);
}

static void test_lock_has_a_deadline(void **unused)
{
    struct ledger other;
    struct error err;

    (void)unused;
    struct ledger ledger = open_ledger(LEDGER_CHANGE);
    assert_refused(STATUS_BUSY, BUSY, LOCK);
    int64_t begin = deadline_after_ms(0);
    assert_int_equal(ledger_open(&other, LEDGER_CHANGE, deadline_after_ms(150), &err), -1);
    assert_in_range(deadline_after_ms(0) - begin, 150, 2000);
    assert_text(&err, STATUS_BUSY, BUSY, LOCK);
    ledger_close(&ledger);
}

static void test_lookers_share(void **unused)
{
    (void)unused;
    struct ledger ledger = open_ledger(LEDGER_CHANGE);
    ledger_close(&ledger);
    struct ledger first = open_ledger(LEDGER_LOOK);
    struct ledger second = open_ledger(LEDGER_LOOK);
    assert_refused_as(LEDGER_CHANGE, STATUS_BUSY, BUSY, LOCK);
    ledger_close(&first);
    assert_refused_as(LEDGER_CHANGE, STATUS_BUSY, BUSY, LOCK);
    ledger_close(&second);
    ledger = open_ledger(LEDGER_CHANGE);
    ledger_close(&ledger);
}

/* A child that holds the lock until it is killed. */
static pid_t start_holder(void)
{
    int ready[2];
    char byte;
    struct error err;

    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (change(&err) == 0 && write(ready[1], "", 1) == 1) {
            sleep(60);
        }
        child_exit(1);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    return pid;
}

static void test_a_killed_holder_holds_no_more(void **unused)
{
    (void)unused;
    pid_t holder = start_holder();
    assert_refused(STATUS_BUSY, BUSY, LOCK);
    kill(holder, SIGKILL);
    struct ledger ledger = open_ledger(LEDGER_CHANGE);
    ledger_close(&ledger);
    assert_int_equal(waitpid(holder, NULL, 0), holder);
}

/* Waits for the lock in a child, which tells the inode that it locked.  The
 * child must not keep HELD open, or it would wait for itself. */
static pid_t start_waiter(enum ledger_access access, struct ledger *held, int *answer)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct ledger ledger;
        struct error err;
        struct stat facts;
        ledger_close(held);
        if (ledger_open(&ledger, access, deadline_after_ms(10000), &err) == 0 &&
            fstat(ledger.lockfd == -1 ? ledger.dirfd : ledger.lockfd, &facts) == 0 &&
            write(ends[1], &facts.st_ino, sizeof facts.st_ino) == sizeof facts.st_ino) {
            child_exit(0);
        }
        child_exit(1);
    }
    close(ends[1]);
    *answer = ends[0];
    return pid;
}

static ino_t end_waiter(pid_t pid, int answer)
{
    ino_t inode;
    assert_int_equal(read(answer, &inode, sizeof inode), sizeof inode);
    close(answer);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    return inode;
}

static ino_t inode_of(const char *path)
{
    struct stat facts;
    assert_int_equal(lstat(simulated_path("%s", path), &facts), 0);
    return facts.st_ino;
}

/* Who waited for a lock file that is not there any more locks the present one. */
static void test_lock_or_directory_replaced_meanwhile(void **unused)
{
    int answer;

    (void)unused;
    struct ledger ledger = open_ledger(LEDGER_CHANGE);
    pid_t waiter = start_waiter(LEDGER_CHANGE, &ledger, &answer);
    usleep(50000);
    assert_int_equal(rename(simulated_path(RUN), simulated_path("/run/moved")), 0);
    ledger_close(&ledger);
    ino_t inode = end_waiter(waiter, answer);
    assert_int_equal(inode, inode_of(LOCK));
    assert_int_not_equal(inode, inode_of("/run/moved/lock"));

    ledger = open_ledger(LEDGER_CHANGE);
    waiter = start_waiter(LEDGER_CHANGE, &ledger, &answer);
    usleep(50000);
    assert_int_equal(rename(simulated_path(LOCK), simulated_path("/moved")), 0);
    ledger_close(&ledger);
    inode = end_waiter(waiter, answer);
    assert_int_equal(inode, inode_of(LOCK));
    assert_int_not_equal(inode, inode_of("/moved"));

    ledger = open_ledger(LEDGER_CHANGE);
    waiter = start_waiter(LEDGER_LOOK, &ledger, &answer);
    usleep(50000);
    assert_int_equal(rename(simulated_path(RUN), simulated_path("/run/moved2")), 0);
    assert_int_equal(mkdir(simulated_path(RUN), 0700), 0);
    ledger_close(&ledger);
    assert_int_equal(end_waiter(waiter, answer), inode_of(RUN));
}

enum { WRITERS = 4, ROUNDS = 40 };

/* Reads a number from the ledger and writes it back one higher. */
static int count_up(void)
{
    struct error err;
    for (int round = 0; round < ROUNDS; round++) {
        struct ledger ledger;
        struct ledger_content content;
        if (ledger_open(&ledger, LEDGER_CHANGE, deadline_after_ms(20000), &err) < 0 ||
            ledger_read(&ledger, &content, &err) < 0 || content.entry_count != 1 || content.fault_count != 0) {
            return 1;
        }
        content.entries[0].since++;
        if (ledger_write(&ledger, &content.entries[0], &err) < 0) {
            return 1;
        }
        ledger_content_free(&content);
        ledger_close(&ledger);
    }
    return 0;
}

static void test_no_update_is_lost(void **unused)
{
    pid_t writers[WRITERS];

    (void)unused;
    struct ledger ledger = open_ledger(LEDGER_CHANGE);
    write_entry(&ledger, VM_A, "a");
    ledger_close(&ledger);
    for (int i = 0; i < WRITERS; i++) {
        writers[i] = fork();
        assert_true(writers[i] >= 0);
        if (writers[i] == 0) {
            child_exit(count_up());
        }
    }
    for (int i = 0; i < WRITERS; i++) {
        int status;
        assert_int_equal(waitpid(writers[i], &status, 0), writers[i]);
        assert_int_equal(status, 0);
    }
    ledger = open_ledger(LEDGER_LOOK);
    struct ledger_content content = read_ledger(&ledger);
    assert_int_equal(content.entries[0].since, WRITERS * ROUNDS);
    ledger_content_free(&content);
    ledger_close(&ledger);
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
    char name[] = "a";
    struct ledger_entry entry = {.uuid = VM_A, .name = name};
    struct ledger ledger;
    return ledger_open(&ledger, LEDGER_CHANGE, deadline_after_ms(0), err) < 0 ? -1 : ledger_write(&ledger, &entry, err);
}

static int note(struct error *err)
{
    struct ledger ledger;
    return ledger_open(&ledger, LEDGER_CHANGE, deadline_after_ms(0), err) < 0
               ? -1
               : ledger_note_enabled(&ledger, card_a, err);
}

/* As root a mount, as a user the mode. */
static void test_read_only(void **unused)
{
    (void)unused;
    struct ledger ledger = open_ledger(LEDGER_CHANGE);
    write_entry(&ledger, VM_A, "a");
    ledger_close(&ledger);
    if (geteuid() == 0) {
        assert_true(can_leave_mounts());
        struct error err = error_in_child(mount_read_only, change);
        assert_text(&err, STATUS_HARDWARE, "cannot open %s: Read-only file system", LOCK);
        err = error_in_child(mount_read_only, look);
        assert_string_equal(err.text, "it succeeded");
        return;
    }
    assert_int_equal(chmod(simulated_path(RUN), 0500), 0);
    struct error err = error_in_child(as_it_is, write_short);
    assert_text(&err, STATUS_HARDWARE, "%s: cannot write " VM_A ".json: Permission denied" WRITE_ADVICE, RUN);
    err = error_in_child(as_it_is, note);
    assert_text(&err, STATUS_HARDWARE, "cannot create %s: Permission denied", RUN "/enabled-0000:08:00.0");
    err = error_in_child(as_it_is, look);
    assert_string_equal(err.text, "it succeeded");
    assert_int_equal(chmod(simulated_path(RUN), 0700), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_look_creates_nothing, start_host),
        cmocka_unit_test_setup(test_change_creates_directory_and_lock, start_host),
        cmocka_unit_test_setup(test_boot_id, start_host),
        cmocka_unit_test_setup(test_no_boot_id, start_host),
        cmocka_unit_test_setup(test_leftovers_of_killed_writers, start_host),
        cmocka_unit_test_setup(test_lock_has_a_deadline, start_host),
        cmocka_unit_test_setup(test_lookers_share, start_host),
        cmocka_unit_test_setup(test_a_killed_holder_holds_no_more, start_host),
        cmocka_unit_test_setup(test_lock_or_directory_replaced_meanwhile, start_host),
        cmocka_unit_test_setup(test_no_update_is_lost, start_host),
        cmocka_unit_test_setup(test_read_only, start_host),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
