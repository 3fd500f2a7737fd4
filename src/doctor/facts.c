/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "doctor/facts.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/paths.h"
#include "base/text.h"

enum { FACT_LIMIT = 1 << 20 };

static char *resolve(const char *format, va_list arguments) PRINTF_LIKE(1, 0);
static char *resolve(const char *format, va_list arguments)
{
    CLEANUP_FREE char *path = text_format(format, arguments);
    return paths_resolve("%s", path);
}

char *fact_text(const char *format, ...)
{
    struct buffer text = {0};
    struct error unused;
    va_list arguments;
    va_start(arguments, format);
    CLEANUP_FREE char *path = resolve(format, arguments);
    va_end(arguments);
    if (file_read(path, FACT_LIMIT, &text, NULL, &unused) != 0) {
        return NULL;
    }
    if (text.length > 0 && text.data[text.length - 1] == '\n') {
        text.data[text.length - 1] = '\0';
    }
    return text.data;
}

bool fact_exists(const char *format, ...)
{
    struct stat facts;
    va_list arguments;
    va_start(arguments, format);
    CLEANUP_FREE char *path = resolve(format, arguments);
    va_end(arguments);
    return stat(path, &facts) == 0;
}

bool fact_list_has(const char *list, long item)
{
    bool has = false;
    while (*list) {
        bool is_excluded = *list == '^';
        char *end;
        long first = strtol(list + is_excluded, &end, 10);
        long last = *end == '-' ? strtol(end + 1, &end, 10) : first;
        if (first <= item && item <= last) {
            has = !is_excluded;
        }
        if (*end != ',') {
            break;
        }
        list = end + 1;
    }
    return has;
}

bool fact_is_safe(const char *path)
{
    struct stat facts;
    CLEANUP_FREE char *resolved = paths_resolve("%s", path);
    if (stat(resolved, &facts) != 0 || (facts.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        return false;
    }
    return facts.st_uid == 0 || paths_simulated();
}
