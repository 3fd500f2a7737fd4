/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

/*
 * Allocation that cannot fail: when memory is short the program says so on
 * stderr and ends with STATUS_HARDWARE, or with STATUS_OK in hook operations
 * where a failure would kill a running VM (see memory_set_failure_status).
 * No register is ever left half decided by that: planning allocates before
 * the first write, and cuts come before any widening.
 */
#define NEVER_NULL __attribute__((returns_nonnull))
NEVER_NULL void *memory_alloc(size_t count, size_t size);           /* zeroed */
NEVER_NULL void *memory_grow(void *old, size_t count, size_t size); /* new part is not zeroed */
NEVER_NULL char *memory_copy_text(const char *text);

/* The exit status to use when memory runs out; STATUS_HARDWARE at first. */
void memory_set_failure_status(int status);

/* For __attribute__((cleanup)): frees what the variable points to. */
void memory_free_pointer(void *pointer_to_pointer);
#define CLEANUP_FREE __attribute__((cleanup(memory_free_pointer)))
