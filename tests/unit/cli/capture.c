/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "capture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>
#include <json.h>

enum { STREAMS = 3, TEXT_SIZE = 1 << 16 };

static int kept[STREAMS] = {-1, -1, -1};
static char texts[STREAMS][TEXT_SIZE];

static void redirect(int stream)
{
    int fd = memfd_create("stream", MFD_CLOEXEC);
    assert_true(fd >= 0);
    kept[stream] = dup(stream);
    assert_int_equal(dup2(fd, stream), stream);
    close(fd);
}

static void restore(int stream)
{
    assert_int_equal(dup2(kept[stream], stream), stream);
    close(kept[stream]);
    kept[stream] = -1;
}

static void collect(int stream)
{
    ssize_t length = pread(stream, texts[stream], TEXT_SIZE - 1, 0);
    restore(stream);
    assert_true(length >= 0);
    texts[stream][length] = '\0';
}

void capture_begin(void)
{
    fflush(stdout);
    fflush(stderr);
    redirect(STDOUT_FILENO);
    redirect(STDERR_FILENO);
}

void capture_end(void)
{
    fflush(stdout);
    fflush(stderr);
    collect(STDOUT_FILENO);
    collect(STDERR_FILENO);
}

const char *captured_stdout(void)
{
    return texts[STDOUT_FILENO];
}

const char *captured_stderr(void)
{
    return texts[STDERR_FILENO];
}

void assert_captured_json(const char *pointer, const char *expected)
{
    struct json_object *object = json_tokener_parse(captured_stdout());
    struct json_object *part = NULL;
    assert_int_equal(json_pointer_get(object, pointer, &part), 0);
    assert_string_equal(json_object_to_json_string_ext(part, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE),
                        expected);
    json_object_put(object);
}

void stdin_give(const char *text)
{
    redirect(STDIN_FILENO);
    assert_int_equal(write(STDIN_FILENO, text, strlen(text)), strlen(text));
    assert_int_equal(lseek(STDIN_FILENO, 0, SEEK_SET), 0);
}

void stdin_restore(void)
{
    restore(STDIN_FILENO);
}
