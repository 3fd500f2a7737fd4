/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Runs a fuzz target once on each file of the directories that are named, or of
 * its own corpus: replay_NAME takes corpus/NAME.  A file that breaks the target
 * ends the program as it would end the fuzzer.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"

enum { INPUT_LIMIT = 64 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int is_input(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* The input is copied to a block of just its size, so that a sanitizer sees
 * what reads behind it. */
static int replay_file(const char *path)
{
    struct buffer input = {0};
    struct error err = {0};

    if (file_read(path, INPUT_LIMIT, &input, NULL, &err) != 0) {
        fprintf(stderr, "%s\n", err.text);
        return -1;
    }
    uint8_t *data = memory_alloc(input.length, 1);
    memcpy(data, input.data, input.length);
    int result = LLVMFuzzerTestOneInput(data, input.length);
    free(data);
    buffer_free(&input);
    if (result != 0) {
        fprintf(stderr, "%s: the target returned %d\n", path, result);
    }
    return result;
}

static int replay_directory(const char *directory)
{
    struct dirent **names = NULL;
    int count = scandir(directory, &names, is_input, alphasort);
    int failed = 0;

    if (count <= 0) {
        fprintf(stderr, "%s: %s\n", directory, count < 0 ? strerror(errno) : "it holds no inputs");
        free(names);
        return -1;
    }
    for (int i = 0; i < count; i++) {
        char *path = NULL;
        if (asprintf(&path, "%s/%s", directory, names[i]->d_name) < 0 || replay_file(path) != 0) {
            failed++;
        }
        free(path);
        free(names[i]);
    }
    free(names);
    printf("%s: %d inputs, %d failed\n", directory, count, failed);
    return failed == 0 ? 0 : -1;
}

static int replay_own_corpus(const char *program)
{
    const char *name = strstr(program, "replay_");
    char *directory = NULL;

    if (name == NULL || asprintf(&directory, "%s/fuzz/corpus/%s", TESTS_DIR, name + strlen("replay_")) < 0) {
        fprintf(stderr, "usage: %s DIRECTORY...\n", program);
        return -1;
    }
    int result = replay_directory(directory);
    free(directory);
    return result;
}

int main(int argc, char *argv[])
{
    int failed = 0;

    if (argc < 2) {
        return replay_own_corpus(program_invocation_short_name) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    for (int i = 1; i < argc; i++) {
        failed += replay_directory(argv[i]) != 0;
    }
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
