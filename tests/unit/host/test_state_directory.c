/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/state_files.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/state.h"
#include "state_fixture.h"
#include "simulated_host.h"

static void test_planted_directory(void **unused)
{
    (void)unused;
    simulated_directory("/elsewhere");
    simulated_link(RUN, "../elsewhere");
    assert_refused(STATUS_INVALID, "%s is not a directory", RUN);
    simulated_remove(RUN);
    simulated_link(RUN, "../nowhere");
    assert_refused(STATUS_INVALID, "%s is not a directory", RUN);
    simulated_remove(RUN);
    simulated_text(RUN, "");
    assert_refused(STATUS_INVALID, "%s is not a directory", RUN);
    simulated_remove(RUN);
    assert_int_equal(mkdir(simulated_path(RUN), 0700), 0);
    assert_int_equal(chmod(simulated_path(RUN), 0770), 0);
    assert_refused(STATUS_INVALID, "%s is writable by others (mode 0770)", RUN);
    assert_int_equal(chmod(simulated_path(RUN), 0707), 0);
    assert_refused(STATUS_INVALID, "%s is writable by others (mode 0707)", RUN);
    assert_false(exists("/elsewhere/lock"));
}

static void test_planted_lock(void **unused)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    (void)unused;
    assert_int_equal(mkdir(simulated_path(RUN), 0700), 0);
    simulated_text("/elsewhere", "");
    simulated_link(LOCK, "../../elsewhere");
    assert_refused(STATUS_INVALID, "%s is a symbolic link", LOCK);
    simulated_remove(LOCK);
    assert_int_equal(mkfifo(simulated_path(LOCK), 0600), 0);
    assert_refused(STATUS_INVALID, "%s is not a regular file", LOCK);
    simulated_remove(LOCK);
    simulated_directory(LOCK);
    assert_refused(STATUS_INVALID, "%s is not a regular file", LOCK);
    simulated_remove(LOCK);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", simulated_path(LOCK));
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    close(fd);
    assert_refused(STATUS_INVALID, "%s is not a regular file", LOCK);
    simulated_remove(LOCK);
    simulated_text(LOCK, "");
    assert_int_equal(chmod(simulated_path(LOCK), 0602), 0);
    assert_refused(STATUS_INVALID, "%s is writable by others (mode 0602)", LOCK);
    assert_int_equal(chmod(simulated_path(LOCK), 0600), 0);
    assert_int_equal(link(simulated_path(LOCK), simulated_path("/second")), 0);
    assert_refused(STATUS_INVALID, "%s has 2 names (hard links)", LOCK);
}

static int become_nobody(void)
{
    return geteuid() == 0 ? setresuid(65534, 65534, 65534) : 0;
}

/* Root's directory seen by somebody else; as somebody else, a directory that
 * is closed to everybody. */
static void test_without_root(void **unused)
{
    bool root = geteuid() == 0;

    (void)unused;
    assert_int_equal(chmod(simulated_path("/"), 0755), 0);
    assert_int_equal(mkdir(simulated_path(RUN), root ? 0700 : 0), 0);
    struct error err = error_in_child(become_nobody, look);
    assert_text(&err, STATUS_HARDWARE, "no permission to open %s: this needs root", RUN);
    err = error_in_child(become_nobody, change);
    assert_text(&err, STATUS_HARDWARE, "no permission to open %s: this needs root", RUN);

    assert_int_equal(rmdir(simulated_path(RUN)), 0);
    assert_int_equal(chmod(simulated_path("/run"), root ? 0755 : 0555), 0);
    err = error_in_child(become_nobody, change);
    assert_text(&err, STATUS_HARDWARE, "no permission to create %s: this needs root", RUN);
    err = error_in_child(become_nobody, look);
    assert_string_equal(err.text, "it succeeded");
    assert_int_equal(chmod(simulated_path("/run"), 0755), 0);

    /* Root's directory, open for reading. */
    if (root) {
        assert_int_equal(mkdir(simulated_path(RUN), 0755), 0);
        err = error_in_child(become_nobody, look);
        assert_text(&err, STATUS_INVALID, "%s belongs to another user", RUN);
    }
}

static void test_no_run_directory(void **unused)
{
    (void)unused;
    simulated_remove("/run");
    assert_refused_as(STATE_CHANGE, STATUS_HARDWARE, "cannot create %s: No such file or directory", RUN);
    assert_false(exists("/run"));
    struct state state = open_state(STATE_LOOK);
    assert_int_equal(state.dirfd, -1);
}

static void test_owner_is_checked(void **unused)
{
    struct stat facts = {.st_mode = S_IFREG | 0600, .st_uid = geteuid(), .st_nlink = 1};
    struct error err;
    char expected[128];

    (void)unused;
    assert_int_equal(state_check_ours(&facts, S_IFREG, "/f", &err), 0);
    facts.st_uid++;
    assert_int_equal(state_check_ours(&facts, S_IFREG, "/f", &err), -1);
    snprintf(expected, sizeof expected, "/f belongs to user %u, not to user %u", geteuid() + 1, geteuid());
    assert_string_equal(err.text, expected);
    assert_int_equal(err.status, STATUS_INVALID);
}

/* The same on a file system: only root can give files away. */
static void test_foreign_owner(void **unused)
{
    (void)unused;
    if (geteuid() != 0) {
        return;
    }
    assert_int_equal(mkdir(simulated_path(RUN), 0700), 0);
    assert_int_equal(chown(simulated_path(RUN), 4242, 0), 0);
    assert_refused(STATUS_INVALID, "%s belongs to user 4242, not to user 0", RUN);
    assert_int_equal(chown(simulated_path(RUN), 0, 0), 0);
    simulated_text(LOCK, "");
    assert_int_equal(chown(simulated_path(LOCK), 4242, 0), 0);
    assert_refused(STATUS_INVALID, "%s belongs to user 4242, not to user 0", LOCK);
    simulated_remove(LOCK);
    simulated_text(CLAIM_A, "{}");
    assert_int_equal(chown(simulated_path(CLAIM_A), 4242, 0), 0);
    assert_fault(VM_A ".json", FAULT_CLAIM, VM_A, STATUS_INVALID, "%s belongs to user 4242, not to user 0" ADVICE);
}

/* Why an open failed, as the operator reads it. */
static void test_failures_of_an_open(void **unused)
{
    static const struct {
        int number;
        enum status status;
        const char *text;
    } cases[] = {
        {ELOOP, STATUS_INVALID, "/f is a symbolic link"},
        {ENOTDIR, STATUS_INVALID, "/f is not a directory"},
        {EISDIR, STATUS_INVALID, "/f is not a regular file"},
        {ENXIO, STATUS_INVALID, "/f is not a regular file"},
        {EPERM, STATUS_INVALID, "/f belongs to another user"},
        {EACCES, STATUS_HARDWARE, "no permission to open /f: this needs root"},
        {EMFILE, STATUS_HARDWARE, "cannot open /f: Too many open files"},
    };

    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err = {0};
        assert_int_equal(state_open_failed(cases[i].number, "/f", &err), -1);
        assert_int_equal(err.status, cases[i].status);
        assert_string_equal(err.text, cases[i].text);
    }
}

/* Looking and changing, where the directory cannot be listed. */
static void test_list_fails(void **unused)
{
    (void)unused;
    if (geteuid() == 0) {
        return;
    }
    make_claim(VM_A, "a");
    assert_int_equal(chmod(simulated_path(RUN), 0300), 0);
    assert_refused(STATUS_HARDWARE, "no permission to open %s: this needs root", RUN);
    assert_int_equal(chmod(simulated_path(RUN), 0700), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_planted_directory, start_host),
        cmocka_unit_test_setup(test_planted_lock, start_host),
        cmocka_unit_test_setup(test_without_root, start_host),
        cmocka_unit_test_setup(test_no_run_directory, start_host),
        cmocka_unit_test_setup(test_owner_is_checked, start_host),
        cmocka_unit_test_setup(test_foreign_owner, start_host),
        cmocka_unit_test_setup(test_failures_of_an_open, start_host),
        cmocka_unit_test_setup(test_list_fails, start_host),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
