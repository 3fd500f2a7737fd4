/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hook_call.h"
#include "child.h"

#define UUID "c7a5fdbd-edaf-9455-926a-d65c16db1809"

/* libc's openat and unlinkat, replaced: a full file system, and worse. */
static int openat_error;
static int unlinkat_error;

int openat(int dirfd, const char *path, int flags, ...)
{
    va_list arguments;
    char full[400];
    va_start(arguments, flags);
    mode_t mode = va_arg(arguments, mode_t);
    va_end(arguments);
    if (openat_error != 0) {
        errno = openat_error;
        return -1;
    }
    snprintf(full, sizeof full, "/proc/self/fd/%d/%s", dirfd, path);
    return open(full, flags, mode);
}

int unlinkat(int dirfd, const char *path, int flags)
{
    char full[400];
    (void)flags;
    if (unlinkat_error != 0) {
        errno = unlinkat_error;
        return -1;
    }
    snprintf(full, sizeof full, "/proc/self/fd/%d/%s", dirfd, path);
    return unlink(full);
}

static char sysroot[200];

static char *path_of(const char *name)
{
    static char path[400];
    snprintf(path, sizeof path, "%s/run/icn-hook%s", sysroot, name);
    return path;
}

static void make_file(const char *name)
{
    int fd = open(path_of(name), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static bool exists(const char *name)
{
    struct stat facts;
    return lstat(path_of(name), &facts) == 0;
}

static int set_up(void **state)
{
    char run[300];
    (void)state;
    openat_error = 0;
    unlinkat_error = 0;
    directory_make(sysroot, sizeof sysroot);
    snprintf(run, sizeof run, "%s/run", sysroot);
    setenv("ICN_SYSROOT", sysroot, 1);
    return mkdir(run, 0700) < 0 || mkdir(path_of(""), 0700) < 0;
}

static int tear_down(void **state)
{
    (void)state;
    unsetenv("ICN_SYSROOT");
    directory_remove(sysroot);
    return 0;
}

static void test_end_of_a_domain_with_a_claim(void **state)
{
    struct error err;
    struct stat facts;
    (void)state;

    make_file("/" UUID ".json");
    mode_t mask = umask(0);
    assert_int_equal(ended_note(UUID, &err), 0);
    umask(mask);
    assert_int_equal(lstat(path_of("/ended-" UUID), &facts), 0);
    assert_int_equal(facts.st_mode, S_IFREG | 0600);
    assert_int_equal(facts.st_size, 0);
    assert_true(exists("/" UUID ".json"));
    assert_int_equal(ended_note(UUID, &err), 0);
}

static void test_without_a_claim_nothing_is_made(void **state)
{
    struct error err;
    (void)state;

    make_file("/11111111-1111-1111-1111-111111111111.json");
    assert_int_equal(ended_note(UUID, &err), 0);
    assert_false(exists("/ended-" UUID));
    assert_int_equal(unlink(path_of("/11111111-1111-1111-1111-111111111111.json")), 0);
    assert_int_equal(rmdir(path_of("")), 0);
    assert_int_equal(ended_note(UUID, &err), 0);
    assert_false(exists(""));
}

static void test_without_room_the_claim_goes(void **state)
{
    struct error err;
    (void)state;

    make_file("/" UUID ".json");
    openat_error = ENOSPC;
    assert_int_equal(ended_note(UUID, &err), 0);
    assert_false(exists("/" UUID ".json"));
    assert_false(exists("/ended-" UUID));
}

static void test_what_cannot_be_noted_is_an_error(void **state)
{
    struct error err;
    (void)state;

    make_file("/" UUID ".json");
    openat_error = EROFS;
    unlinkat_error = EROFS;
    assert_int_equal(ended_note(UUID, &err), -1);
    assert_int_equal(err.status, STATUS_HARDWARE);
    assert_string_equal(err.text, "cannot note the end of domain " UUID " in /run/icn-hook: Read-only file system");
    unlinkat_error = ENOENT;
    assert_int_equal(ended_note(UUID, &err), 0);
}

static void test_links_are_not_followed(void **state)
{
    char target[300];
    struct error err;
    struct stat facts;
    (void)state;

    snprintf(target, sizeof target, "%s/victim", sysroot);
    make_file("/" UUID ".json");
    assert_int_equal(symlink(target, path_of("/ended-" UUID)), 0);
    assert_int_equal(ended_note(UUID, &err), 0);
    assert_int_equal(lstat(target, &facts), -1);
}

static void test_directory_must_be_ours(void **state)
{
    char expected[600];
    char other[300];
    struct error err;
    (void)state;

    make_file("/" UUID ".json");
    assert_int_equal(chmod(path_of(""), 0770), 0);
    assert_int_equal(ended_note(UUID, &err), -1);
    assert_int_equal(err.status, STATUS_INVALID);
    snprintf(expected, sizeof expected, "%s is not ours alone: chown root and chmod 0700", path_of(""));
    assert_string_equal(err.text, expected);
    assert_false(exists("/ended-" UUID));

    snprintf(other, sizeof other, "%s/other", sysroot);
    assert_int_equal(rename(path_of(""), other), 0);
    assert_int_equal(symlink(other, path_of("")), 0);
    assert_int_equal(ended_note(UUID, &err), -1);
    snprintf(expected, sizeof expected, "cannot open %s: Not a directory", path_of(""));
    assert_string_equal(err.text, expected);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_end_of_a_domain_with_a_claim), CASE(test_without_a_claim_nothing_is_made),
        CASE(test_without_room_the_claim_goes),  CASE(test_what_cannot_be_noted_is_an_error),
        CASE(test_links_are_not_followed),       CASE(test_directory_must_be_ours),
    };
    return cmocka_run_group_tests_name("base/tombstone", tests, NULL, NULL);
}
