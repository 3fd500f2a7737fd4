/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "scratch.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "child.h"

char scratch_directory[200];
int scratch_fd = -1;

int scratch_set_up(void **state)
{
    (void)state;
    directory_make(scratch_directory, sizeof(scratch_directory));
    scratch_fd = open(scratch_directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return scratch_fd < 0;
}

int scratch_tear_down(void **state)
{
    (void)state;
    file_close_fd(&scratch_fd);
    directory_remove(scratch_directory);
    return 0;
}

char *scratch_path(const char *name)
{
    static char path[400];

    snprintf(path, sizeof(path), "%s/%s", scratch_directory, name);
    return path;
}

void scratch_write(const char *name, const void *data, size_t length)
{
    int fd = open(scratch_path(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, length), length);
    close(fd);
}

void scratch_assert_text(const struct error *err, enum status status, const char *format, const char *argument)
{
    char expected[600];

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(expected, sizeof(expected), format, argument);
#pragma GCC diagnostic pop
    assert_string_equal(err->text, expected);
    assert_int_equal(err->status, status);
}
