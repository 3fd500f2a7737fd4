/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

/* Escaping never shortens, so what is cut off at this size would be cut off in
 * error.text too. */
enum { RAW_SIZE = 2 * sizeof(((struct error *)0)->text) };

/* The arguments may point into err->text, so the line is complete before it is
 * stored. */
int error_set(struct error *err, enum status status, const char *format, ...)
{
    char raw[RAW_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(raw, sizeof raw, format, arguments);
    va_end(arguments);

    err->status = status;
    text_copy_line(err->text, sizeof err->text, raw);
    return -1;
}

int error_set_errno(struct error *err, enum status status, int number, const char *format, ...)
{
    char raw[RAW_SIZE];
    char line[sizeof err->text];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(raw, sizeof raw, format, arguments);
    va_end(arguments);

    text_copy_line(line, sizeof line, raw);
    return error_set(err, status, "%s: %s", line, strerror(number));
}

int error_wrap(struct error *err, const char *format, ...)
{
    char raw[RAW_SIZE];
    char context[sizeof err->text];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(raw, sizeof raw, format, arguments);
    va_end(arguments);

    text_copy_line(context, sizeof context, raw);
    return error_set(err, err->status, "%s: %s", context, err->text);
}

int error_append(struct error *err, const char *format, ...)
{
    char raw[RAW_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(raw, sizeof raw, format, arguments);
    va_end(arguments);
    return error_set(err, err->status, "%s%s", err->text, raw);
}
