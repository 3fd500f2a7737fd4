/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdarg.h>
#include <stddef.h>

#include "base/error.h"

/* Copies SOURCE as text_escape does, but leaves backslashes alone: a line that
 * has been made safe once stays the same when it is put into another one. */
void line_copy(char *target, size_t size, const char *source);

/* An owned text of any length. */
char *line_format(const char *format, va_list arguments) PRINTF_LIKE(1, 0);

/* FIRST and SECOND in one owned text. */
char *line_join(const char *first, const char *second);
