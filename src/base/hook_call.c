/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/hook_call.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"

static int64_t deadline = NO_DEADLINE;

int hook_call_verdict_fd(void)
{
    enum { LARGEST_FD = 1023 };
    const char *named = getenv(HOOK_VERDICT_VARIABLE);
    uint64_t number;
    if (!named || !text_parse_number(named, LARGEST_FD, &number) || number <= STDERR_FILENO ||
        fcntl((int)number, F_GETFD) < 0) {
        return -1;
    }
    return (int)number;
}

void hook_call_believe_deadline(void)
{
    const char *named = getenv(HOOK_DEADLINE_VARIABLE);
    uint64_t number;
    deadline = named && text_parse_number(named, INT64_MAX, &number) ? (int64_t)number : NO_DEADLINE;
}

int64_t deadline_of_hook(void)
{
    return deadline;
}
