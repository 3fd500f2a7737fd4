/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

#include "base/error.h"

/* A directory for one test's files: what the tests of base/file.h share. */
extern char scratch_directory[200];
extern int scratch_fd;

/* cmocka's setup and teardown. */
int scratch_set_up(void **state);
int scratch_tear_down(void **state);

/* Valid until the next call. */
char *scratch_path(const char *name);
void scratch_write(const char *name, const void *data, size_t length);
/* FORMAT has one %s, for ARGUMENT. */
void scratch_assert_text(const struct error *err, enum status status, const char *format, const char *argument);
