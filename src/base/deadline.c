/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdint.h>
#include <time.h>

#include "base/file.h"

/* CLOCK_MONOTONIC exists on every Linux, so clock_gettime cannot fail here. */
static int64_t monotonic_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t deadline_after_ms(int64_t milliseconds)
{
    return monotonic_ms() + milliseconds;
}

int64_t deadline_left_ms(int64_t deadline)
{
    int64_t left = deadline - monotonic_ms();

    return left > 0 ? left : 0;
}
