/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/paths.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/text.h"

static const char *environment_value(void)
{
    const char *value = getenv("ICN_SYSROOT");
    return value ? value : "";
}

bool paths_simulated(void)
{
    return environment_value()[0] != '\0';
}

/* The environment is read each time, so that a test can change it; the copy
 * lives until the next change. */
const char *paths_sysroot(void)
{
    static char *sysroot;
    const char *value = environment_value();
    size_t length = strlen(value);
    while (length > 0 && value[length - 1] == '/') {
        length--;
    }
    if (!sysroot || strlen(sysroot) != length || strncmp(sysroot, value, length) != 0) {
        free(sysroot);
        sysroot = memory_alloc(length + 1, 1);
        memcpy(sysroot, value, length);
    }
    return sysroot;
}

static bool lies_under(const char *path, const char *directory)
{
    size_t length = strlen(directory);
    return strncmp(path, directory, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

char *paths_resolve(const char *format, ...)
{
    const char *sysroot = paths_sysroot();
    va_list arguments;
    va_start(arguments, format);
    char *path = text_format(format, arguments);
    va_end(arguments);

    if (sysroot[0] == '\0' || lies_under(path, sysroot)) {
        return path;
    }
    char *result = text_join(sysroot, path);
    free(path);
    return result;
}

char *paths_resolve_tool(const char *tool)
{
    char *path = paths_resolve("%s", tool);
    if (paths_simulated() && access(path, F_OK) < 0 && access(tool, F_OK) == 0) {
        free(path);
        path = memory_copy_text(tool);
    }
    return path;
}
