/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"

static int failure_status = STATUS_HARDWARE;

void memory_set_failure_status(int status)
{
    failure_status = status;
}

/* stdio may want memory itself, so the line goes out by write. */
static _Noreturn void out_of_memory(void)
{
    static const char line[] = "icn-hook: out of memory; free some and try again\n";
    if (write(STDERR_FILENO, line, sizeof line - 1) < 0) {
        exit(failure_status);
    }
    exit(failure_status);
}

void *memory_alloc(size_t count, size_t size)
{
    void *block = calloc(count == 0 ? 1 : count, size == 0 ? 1 : size);
    if (!block) {
        out_of_memory();
    }
    return block;
}

void *memory_grow(void *old, size_t count, size_t size)
{
    void *block = reallocarray(old, count == 0 ? 1 : count, size == 0 ? 1 : size);
    if (!block) {
        out_of_memory();
    }
    return block;
}

char *memory_copy_text(const char *text)
{
    size_t size = strlen(text) + 1;
    return memcpy(memory_alloc(size, 1), text, size);
}

void memory_free_pointer(void *pointer_to_pointer)
{
    void *pointer;
    /* The caller's variable may have any pointer type: its bytes are copied,
     * not read through a void **. */
    memcpy(&pointer, pointer_to_pointer, sizeof pointer);
    free(pointer);
}
