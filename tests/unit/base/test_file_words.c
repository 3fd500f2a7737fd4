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
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "child.h"
#include "scratch.h"

static void assert_holds(const char *name, const char *expected)
{
    char content[100];

    directory_read(scratch_directory, name, content, sizeof(content));
    assert_string_equal(content, expected);
}

static void assert_names(const struct text_list *names, const char *const expected[], size_t count)
{
    assert_int_equal(names->count, count);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(names->items[i], expected[i]);
    }
}

static void test_list(void **state)
{
    static const char *const expected[] = {".hidden", "B", "a", "a\nb", "a-b"};
    struct text_list names = {0};
    struct error err;
    bool missing = true;
    (void)state;

    assert_int_equal(file_list(scratch_directory, &names, &missing, &err), 0);
    assert_false(missing);
    assert_names(&names, expected, 0);
    for (size_t i = 0; i < 5; i++) {
        scratch_write(expected[(i + 2) % 5], "", 0);
    }
    assert_int_equal(file_list(scratch_directory, &names, NULL, &err), 0);
    assert_names(&names, expected, 5);
    text_list_free(&names);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(file_list_at(scratch_fd, "the directory", &names, &err), 0);
        assert_names(&names, expected, 5);
        text_list_free(&names);
    }
}

static void test_list_that_is_not_there(void **state)
{
    struct text_list names = {0};
    struct error err;
    bool missing = false;
    (void)state;

    assert_int_equal(file_list(scratch_path("d"), &names, &missing, &err), -1);
    assert_true(missing);
    scratch_assert_text(&err, STATUS_INVALID, "cannot list %s: No such file or directory", scratch_path("d"));
    scratch_write("d", "", 0);
    assert_int_equal(file_list(scratch_path("d"), &names, &missing, &err), -1);
    assert_false(missing);
    scratch_assert_text(&err, STATUS_HARDWARE, "cannot list %s: Not a directory", scratch_path("d"));
    assert_int_equal(file_list_at(-1, "the state", &names, &err), -1);
    scratch_assert_text(&err, STATUS_HARDWARE, "cannot list %s: Bad file descriptor", "the state");
    assert_null(names.items);
}

/* The kernel says ENOENT there, and it is the end of the list. */
static void test_list_of_removed_directory(void **state)
{
    struct text_list names = {0};
    struct error err;
    (void)state;
    assert_int_equal(mkdirat(scratch_fd, "d", 0700), 0);
    int fd = openat(scratch_fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(unlinkat(scratch_fd, "d", AT_REMOVEDIR), 0);
    assert_int_equal(file_list_at(fd, "d", &names, &err), 0);
    assert_int_equal(names.count, 0);
    text_list_free(&names);
    close(fd);
}

static void check_word(const char *content, size_t size, const char *expected)
{
    char word[100] = "untouched";

    scratch_write("word", content, strlen(content));
    assert_int_equal(file_read_word_at(scratch_fd, "word", word, size), expected != NULL);
    assert_string_equal(word, expected ? expected : "untouched");
}

static void test_read_word(void **state)
{
    char word[100] = "untouched";
    char large[5000];
    (void)state;

    check_word("vfio-pci\n", 100, "vfio-pci");
    check_word("vfio-pci", 9, "vfio-pci");
    check_word("vfio-pci\n", 9, "vfio-pci");
    check_word("vfio-pci\n", 8, NULL);
    check_word("", 100, NULL);
    check_word("\n", 100, NULL);
    check_word("two words\n\n", 100, "two words\n");
    memset(large, 'x', sizeof large);
    large[sizeof large - 1] = '\0';
    check_word(large, 100, NULL);
    assert_false(file_read_word_at(AT_FDCWD, scratch_path("word"), large, 5));
    assert_false(file_read_word_at(scratch_fd, "none", word, sizeof word));
    assert_false(file_read_word_at(AT_FDCWD, scratch_directory, word, sizeof word));
    assert_int_equal(mkfifo(scratch_path("fifo"), 0600), 0);
    assert_false(file_read_word_at(scratch_fd, "fifo", word, sizeof word));
    assert_string_equal(word, "untouched");
    assert_true(file_read_word_at(AT_FDCWD, "/proc/self/comm", word, sizeof word));
    assert_null(strchr(word, '\n'));
}

static void test_write_word(void **state)
{
    (void)state;

    assert_int_equal(file_write_word_at(scratch_fd, "word", "on"), -ENOENT);
    scratch_write("word", "auto\n", 5);
    assert_int_equal(file_write_word_at(scratch_fd, "word", "on"), 0);
    assert_holds("word", "on");
    assert_int_equal(file_write_word_at(AT_FDCWD, scratch_path("word"), "off"), 0);
    assert_holds("word", "off");
    assert_int_equal(file_write_word_at(AT_FDCWD, scratch_directory, "on"), -EISDIR);
    assert_int_equal(file_write_word_at(AT_FDCWD, "/dev/full", "on"), -ENOSPC);
    assert_int_equal(mkfifo(scratch_path("fifo"), 0600), 0);
    assert_int_equal(file_write_word_at(scratch_fd, "fifo", "on"), -ENXIO);
}

static void test_last_line(void **state)
{
    static const struct {
        const char *text;
        const char *line;
    } cases[] = {
        {"", ""},
        {" \r\n\n\t", ""},
        {"one", "one"},
        {"one\ntwo \r\n \n", "two"},
        {"one\n\x1b[1mtwo\\", "\\x1b[1mtwo\\"},
        {"123456789012345678901", "1234567890123456789"},
    };
    char line[20];
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char content[40];
        snprintf(content, sizeof content, "%s", cases[i].text);
        const struct buffer buffer = {.data = content, .length = strlen(content)};
        buffer_last_line(&buffer, line, sizeof line);
        assert_string_equal(line, cases[i].line);
    }
    const struct buffer none = {0};
    buffer_last_line(&none, line, sizeof line);
    assert_string_equal(line, "");
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, scratch_set_up, scratch_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_list),
        CASE(test_list_that_is_not_there),
        CASE(test_list_of_removed_directory),
        CASE(test_read_word),
        CASE(test_write_word),
        cmocka_unit_test(test_last_line),
    };
    return cmocka_run_group_tests_name("base/file, lists and words", tests, NULL, NULL);
}
