/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "alarms.h"
#include "base/file.h"
#include "child.h"
#include "scratch.h"

/* libc's poll, replaced, so that it can fail. */
static int poll_error;

int poll(struct pollfd *fds, nfds_t count, int timeout)
{
    struct timespec limit = {.tv_sec = timeout / 1000, .tv_nsec = timeout % 1000 * 1000000L};

    if (poll_error != 0) {
        errno = poll_error;
        return -1;
    }
    return ppoll(fds, count, timeout < 0 ? NULL : &limit, NULL);
}

static void test_left_counts_down(void **state)
{
    (void)state;

    int64_t deadline = deadline_after_ms(10000);
    int64_t left = deadline_left_ms(deadline);
    assert_in_range(left, 5000, 10000);

    struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};
    while (nanosleep(&pause, &pause) < 0 && errno == EINTR) {
    }
    assert_in_range(deadline_left_ms(deadline), 0, left - 15);
}

static void test_left_is_never_negative(void **state)
{
    (void)state;
    assert_int_equal(deadline_left_ms(deadline_after_ms(0)), 0);
    assert_int_equal(deadline_left_ms(deadline_after_ms(-5000)), 0);
    assert_int_equal(deadline_left_ms(0), 0);
}

static void test_clock_is_the_monotonic_one(void **state)
{
    struct timespec now;
    (void)state;

    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t expected = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    assert_in_range(deadline_after_ms(0), expected, expected + 5000);
}

static void test_read_whole_file(void **state)
{
    struct buffer buffer = {0};
    struct error err;
    bool missing = true;
    (void)state;

    scratch_write("f", "a\0b\n", 4);
    assert_int_equal(file_read(scratch_path("f"), 100, &buffer, &missing, &err), 0);
    assert_int_equal(buffer.length, 4);
    assert_memory_equal(buffer.data, "a\0b\n", 5);
    assert_false(missing);
    buffer_free(&buffer);
    assert_null(buffer.data);
    assert_int_equal(buffer.length, 0);
}

static void test_read_empty_file(void **state)
{
    struct buffer buffer = {0};
    struct error err;
    (void)state;

    scratch_write("f", "", 0);
    assert_int_equal(file_read(scratch_path("f"), 0, &buffer, NULL, &err), 0);
    assert_int_equal(buffer.length, 0);
    assert_string_equal(buffer.data, "");
    buffer_free(&buffer);
}

static void check_large(size_t size, size_t limit)
{
    struct buffer buffer = {0};
    struct error err;
    char *content = malloc(size);

    assert_non_null(content);
    for (size_t i = 0; i < size; i++) {
        content[i] = (char)(i * 7 + i / 256);
    }
    scratch_write("f", content, size);
    if (size <= limit) {
        assert_int_equal(file_read(scratch_path("f"), limit, &buffer, NULL, &err), 0);
        assert_int_equal(buffer.length, size);
        assert_memory_equal(buffer.data, content, size);
        buffer_free(&buffer);
    } else {
        char expected[500];
        assert_int_equal(file_read(scratch_path("f"), limit, &buffer, NULL, &err), -1);
        snprintf(expected, sizeof(expected), "%s is larger than %zu bytes", scratch_path("f"), limit);
        scratch_assert_text(&err, STATUS_INVALID, "%s", expected);
        assert_null(buffer.data);
    }
    free(content);
}

static void test_read_limit(void **state)
{
    (void)state;
    check_large(100000, 100000);
    check_large(100000, 99999);
    check_large(100000, 1 << 20);
    check_large(100000, 10);
    check_large(4096, 4096);
    check_large(4097, 4096);
    check_large(1, 0);
}

static void test_read_missing(void **state)
{
    struct buffer buffer = {0};
    struct error err;
    bool missing = false;
    (void)state;

    assert_int_equal(file_read(scratch_path("f"), 10, &buffer, &missing, &err), -1);
    assert_true(missing);
    scratch_assert_text(&err, STATUS_INVALID, "cannot open %s: No such file or directory", scratch_path("f"));
}

static void test_read_what_is_no_file(void **state)
{
    struct buffer buffer = {0};
    struct error err;
    bool missing = true;
    (void)state;

    assert_int_equal(file_read(scratch_directory, 10, &buffer, &missing, &err), -1);
    assert_false(missing);
    scratch_assert_text(&err, STATUS_INVALID, "%s is not a regular file", scratch_directory);

    assert_int_equal(mkfifo(scratch_path("fifo"), 0600), 0);
    assert_int_equal(file_read(scratch_path("fifo"), 10, &buffer, NULL, &err), -1);
    scratch_assert_text(&err, STATUS_INVALID, "%s is not a regular file", scratch_path("fifo"));

    scratch_write("f", "", 0);
    assert_int_equal(file_read(scratch_path("f/g"), 10, &buffer, &missing, &err), -1);
    assert_false(missing);
    scratch_assert_text(&err, STATUS_HARDWARE, "cannot open %s: Not a directory", scratch_path("f/g"));
}

static void test_read_proc_file_of_size_zero(void **state)
{
    struct buffer buffer = {0};
    struct error err;
    (void)state;

    assert_int_equal(file_read("/proc/self/status", 1 << 20, &buffer, NULL, &err), 0);
    assert_non_null(strstr(buffer.data, "\nPid:"));
    buffer_free(&buffer);
}

static void test_read_error(void **state)
{
    struct buffer buffer = {0};
    struct error err;
    (void)state;

    int fd = open(scratch_path("f"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(file_read_fd(fd, "the domain", 10, NO_DEADLINE, &buffer, &err), -1);
    scratch_assert_text(&err, STATUS_HARDWARE, "cannot read %s: Bad file descriptor", "the domain");
    close(fd);
    assert_int_equal(file_read_fd(fd, "stdin", 10, deadline_after_ms(1000), &buffer, &err), -1);
    scratch_assert_text(&err, STATUS_HARDWARE, "cannot read %s: Bad file descriptor", "stdin");
}

static void test_poll_error(void **state)
{
    struct buffer buffer = {0};
    struct error err;
    int ends[2];
    (void)state;

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    poll_error = ENOMEM;
    int result = file_read_fd(ends[0], "stdin", 10, NO_DEADLINE, &buffer, &err);
    poll_error = 0;
    close(ends[0]);
    close(ends[1]);
    assert_int_equal(result, -1);
    scratch_assert_text(&err, STATUS_HARDWARE, "cannot wait for %s: Cannot allocate memory", "stdin");
    assert_null(buffer.data);
}

static void *write_slowly(void *end)
{
    const int fd = *(int *)end;

    for (int i = 0; i < 3; i++) {
        usleep(20000);
        if (write(fd, "abc", 3) != 3) {
            break;
        }
    }
    close(fd);
    return NULL;
}

static void check_slow_stream(int flags, int64_t deadline)
{
    struct buffer buffer = {0};
    struct error err;
    pthread_t writer;
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(fcntl(ends[0], F_SETFL, flags), 0);
    assert_int_equal(pthread_create(&writer, NULL, write_slowly, &ends[1]), 0);
    assert_int_equal(file_read_fd(ends[0], "pipe", 9, deadline, &buffer, &err), 0);
    assert_string_equal(buffer.data, "abcabcabc");
    assert_int_equal(buffer.length, 9);
    pthread_join(writer, NULL);
    buffer_free(&buffer);
    close(ends[0]);
}

static void test_read_stream_in_pieces(void **state)
{
    (void)state;
    check_slow_stream(0, NO_DEADLINE);
    check_slow_stream(O_NONBLOCK, NO_DEADLINE);
    check_slow_stream(0, deadline_after_ms(10000));
    check_slow_stream(0, INT64_MAX);
}

static void test_read_goes_on_after_signals(void **state)
{
    (void)state;

    alarms_begin();
    check_slow_stream(0, NO_DEADLINE);
    check_slow_stream(0, deadline_after_ms(10000));
    alarms_end();
}

static void test_read_stops_at_the_deadline(void **state)
{
    struct buffer buffer = {0};
    struct error err;
    int ends[2];
    (void)state;

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(write(ends[1], "abc", 3), 3);
    assert_int_equal(file_read_fd(ends[0], "the domain", 10, deadline_after_ms(50), &buffer, &err), -1);
    scratch_assert_text(&err, STATUS_BUSY, "%s did not end in time", "the domain");
    assert_null(buffer.data);
    close(ends[0]);
    close(ends[1]);
}

static void assert_holds(const char *name, const char *expected)
{
    char content[100];

    directory_read(scratch_directory, name, content, sizeof(content));
    assert_string_equal(content, expected);
}

static int entry_count(void)
{
    struct dirent **entries;
    int count = scandir(scratch_directory, &entries, NULL, NULL);

    for (int i = 0; i < count; i++) {
        free(entries[i]);
    }
    free(entries);
    return count - 2;
}

static void test_replace(void **state)
{
    struct error err;
    struct stat facts;
    (void)state;

    mode_t mask = umask(0077);
    assert_int_equal(file_replace_at(scratch_fd, "f", "first content", 13, 0644, &err), 0);
    umask(mask);
    assert_holds("f", "first content");
    assert_int_equal(stat(scratch_path("f"), &facts), 0);
    assert_int_equal(facts.st_mode, S_IFREG | 0644);

    assert_int_equal(file_replace_at(scratch_fd, "f", "second", 6, 0600, &err), 0);
    assert_holds("f", "second");
    assert_int_equal(stat(scratch_path("f"), &facts), 0);
    assert_int_equal(facts.st_mode, S_IFREG | 0600);
    assert_int_equal(entry_count(), 1);
}

static void test_replace_does_not_follow_links(void **state)
{
    struct error err;
    struct stat facts;
    char leftover[100];
    (void)state;

    scratch_write("victim", "kept", 4);
    snprintf(leftover, sizeof(leftover), ".f.%ld.tmp", (long)getpid());
    assert_int_equal(symlinkat("victim", scratch_fd, leftover), 0);
    assert_int_equal(symlinkat("victim", scratch_fd, "f"), 0);
    assert_int_equal(file_replace_at(scratch_fd, "f", "x", 1, 0600, &err), 0);
    assert_holds("victim", "kept");
    assert_holds("f", "x");
    assert_int_equal(lstat(scratch_path("f"), &facts), 0);
    assert_true(S_ISREG(facts.st_mode));
    assert_int_equal(entry_count(), 2);
}

static void test_replace_that_cannot_rename(void **state)
{
    struct error err;
    (void)state;

    assert_int_equal(mkdirat(scratch_fd, "f", 0700), 0);
    assert_int_equal(file_replace_at(scratch_fd, "f", "x", 1, 0600, &err), -1);
    scratch_assert_text(&err, STATUS_HARDWARE, "cannot write %s: Is a directory", "f");
    assert_int_equal(entry_count(), 1);
}

static void test_replace_that_cannot_create(void **state)
{
    struct error err;
    char name[NAME_MAX + 1];
    (void)state;

    assert_int_equal(file_replace_at(-1, "f", "x", 1, 0600, &err), -1);
    scratch_assert_text(&err, STATUS_HARDWARE, "cannot write %s: Bad file descriptor", "f");

    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    assert_int_equal(file_replace_at(scratch_fd, name, "x", 1, 0600, &err), -1);
    scratch_assert_text(&err, STATUS_INVALID, "cannot write %s: the name is too long", name);
    assert_int_equal(entry_count(), 0);
}

/* A full disk, as the file size limit plays it. */
static void test_replace_that_cannot_write(void **state)
{
    static const char content[5000];
    struct error err;
    struct rlimit old;
    (void)state;

    scratch_write("f", "old", 3);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    struct rlimit small = {.rlim_cur = 1000, .rlim_max = old.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int result = file_replace_at(scratch_fd, "f", content, sizeof(content), 0600, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(result, -1);
    scratch_assert_text(&err, STATUS_HARDWARE, "cannot write %s: File too large", "f");
    assert_holds("f", "old");
    assert_int_equal(entry_count(), 1);
}

static void lose_standard_descriptors(void)
{
    char target[100] = "";
    close(STDIN_FILENO);
    close(STDOUT_FILENO);
    file_occupy_standard_descriptors();
    file_occupy_standard_descriptors();
    for (int fd = STDIN_FILENO; fd <= STDOUT_FILENO; fd++) {
        char name[40];
        snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
        if (readlink(name, target, sizeof target - 1) < 0 || strcmp(target, "/dev/null") != 0) {
            _exit(1);
        }
    }
    char byte;
    dprintf(STDERR_FILENO, "read %d, wrote %d", (int)read(STDIN_FILENO, &byte, 1), (int)write(STDOUT_FILENO, "x", 1));
}

static void test_standard_descriptors(void **state)
{
    char said[100];
    (void)state;

    assert_int_equal(child_run(lose_standard_descriptors, said, sizeof said), 99);
    assert_string_equal(said, "read 0, wrote 1");
}

static void test_write_all(void **state)
{
    (void)state;

    int fd = open(scratch_path("f"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(file_write_all(fd, "abc", 3), 0);
    assert_int_equal(file_write_all(fd, "", 0), 0);
    assert_int_equal(file_write_all(fd, "def", 3), 0);
    close(fd);
    assert_holds("f", "abcdef");
    errno = 0;
    assert_int_equal(file_write_all(fd, "abc", 3), -1);
    assert_int_equal(errno, EBADF);
}

static void test_close(void **state)
{
    int fd = dup(scratch_fd);
    int none = -1;
    (void)state;

    const int copy = fd;
    file_close_fd(&fd);
    assert_int_equal(fd, -1);
    assert_int_equal(fcntl(copy, F_GETFD), -1);
    file_close_fd(&none);
    assert_int_equal(none, -1);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, scratch_set_up, scratch_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_left_counts_down),
        cmocka_unit_test(test_left_is_never_negative),
        cmocka_unit_test(test_clock_is_the_monotonic_one),
        CASE(test_read_whole_file),
        CASE(test_read_empty_file),
        CASE(test_read_limit),
        CASE(test_read_missing),
        CASE(test_read_what_is_no_file),
        CASE(test_read_proc_file_of_size_zero),
        CASE(test_read_error),
        CASE(test_poll_error),
        CASE(test_read_stream_in_pieces),
        CASE(test_read_goes_on_after_signals),
        CASE(test_read_stops_at_the_deadline),
        CASE(test_replace),
        CASE(test_replace_does_not_follow_links),
        CASE(test_replace_that_cannot_rename),
        CASE(test_replace_that_cannot_create),
        CASE(test_replace_that_cannot_write),
        CASE(test_standard_descriptors),
        CASE(test_write_all),
        CASE(test_close),
    };
    return cmocka_run_group_tests_name("base/file", tests, NULL, NULL);
}
