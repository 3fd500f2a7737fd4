/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

/* Runs WORK in a child process, catches what it writes to stderr (cut to SIZE,
 * terminated) and returns its exit status, or minus the signal that ended it. */
int child_run(void (*work)(void), char *output, size_t size);

/* A temporary directory, and its removal with all that it holds. */
void directory_make(char *path, size_t size);
void directory_remove(const char *path);

/* A file's content, terminated and cut to SIZE; fails the test if it cannot be
 * read. */
void directory_read(const char *directory, const char *name, char *content, size_t size);
