/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"

/* A process named so that a recycled pid is not believed. */
struct process_identity {
    pid_t pid;             /* 0 = nobody */
    unsigned long long start; /* clock ticks after boot, field 22 of /proc/PID/stat */
};

/* Our caller (libvirtd or virtqemud in hook mode).  pid 0 if it is gone
 * already.  Always in the real /proc, also on a simulated host. */
struct process_identity process_caller(void);

/* The very process still runs (real /proc). */
bool process_is_alive(struct process_identity identity);

/* A process with this pid runs on the (possibly simulated) host. */
bool process_pid_exists(pid_t pid);

/* When a process of the (possibly simulated) host started, in clock ticks after
 * its boot. */
MUST_CHECK bool process_start_ticks(pid_t pid, unsigned long long *start);
