/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

#include "base/error.h"

/* A directory for one test's files: what the tests of base/file.h share. */
extern char directory[200];
extern int directory_fd;

/* cmocka's setup and teardown. */
int scratch_set_up(void **state);
int scratch_tear_down(void **state);

/* Valid until the next call. */
char *path_of(const char *name);
void write_file(const char *name, const void *data, size_t length);
/* FORMAT has one %s, for ARGUMENT. */
void assert_text(const struct error *err, enum status status, const char *format, const char *argument);
