/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fixtures.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"

enum { FIXTURE_LIMIT = 4 << 20 };

static bool ends_with(const char *name, const char *ending)
{
    size_t length = strlen(name);
    return length > strlen(ending) && strcmp(name + length - strlen(ending), ending) == 0;
}

/* The outcome that is wanted: the line in NAME.expected, or "" for success. */
static bool read_expected(const char *path, char *line, size_t size)
{
    char name[1024];
    struct buffer content = {0};
    struct error err;

    snprintf(name, sizeof name, "%s.expected", path);
    line[0] = '\0';
    if (file_read(name, FIXTURE_LIMIT, &content, NULL, &err) < 0) {
        return false;
    }
    snprintf(line, size, "%.*s", (int)strcspn(content.data, "\n"), content.data);
    buffer_free(&content);
    return true;
}

static bool check(const char *path, const char *name, fixture_parser *parse, bool *broken)
{
    char expected[2048];
    struct buffer content = {0};
    struct error err = {0};

    *broken = read_expected(path, expected, sizeof expected);
    assert_int_equal(file_read(path, FIXTURE_LIMIT, &content, NULL, &err), 0);
    int result = parse(content.data, content.length, name, &err);
    buffer_free(&content);
    if (*broken ? result == -1 && err.status == STATUS_INVALID && strcmp(err.text, expected) == 0 : result == 0) {
        return true;
    }
    print_error("%s: returned %d, status %d\n  wanted: %s\n     got: %s\n", path, result, err.status, expected,
                err.text);
    return false;
}

void fixtures_check(const char *directory, const char *ending, int at_least, fixture_parser *parse)
{
    char path[1024];
    int broken_count = 0;
    int fine_count = 0;
    int failures = 0;

    snprintf(path, sizeof path, "%s/fixtures/%s", TESTS_DIR, directory);
    size_t length = strlen(path);
    DIR *listing = opendir(path);
    assert_non_null(listing);
    for (struct dirent *item = readdir(listing); item; item = readdir(listing)) {
        bool broken;
        if (ends_with(item->d_name, ending)) {
            snprintf(path + length, sizeof path - length, "/%s", item->d_name);
            failures += !check(path, item->d_name, parse, &broken);
            broken_count += broken;
            fine_count += !broken;
        }
    }
    closedir(listing);
    assert_int_equal(failures, 0);
    assert_true(broken_count >= at_least && fine_count >= at_least);
}
