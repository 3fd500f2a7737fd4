/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>

/* Ends a test's child: by exit(), so that what it covered is counted, but
 * without printing once more what the parent's buffers hold. */
static inline _Noreturn void child_exit(int status)
{
    __fpurge(stdout);
    __fpurge(stderr);
    exit(status);
}
