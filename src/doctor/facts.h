/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

/* Small facts of the (possibly simulated) host.  Paths are those of the host and
 * formatted. */

/* A small file's text without its last newline, owned; NULL if it cannot be read. */
char *fact_text(const char *format, ...) PRINTF_LIKE(1, 2);

bool fact_exists(const char *format, ...) PRINTF_LIKE(1, 2);

/* Where the file PATH of the host leads through links, as a path of the host; owned; NULL: nowhere. */
char *fact_target(const char *path);

/* A list as /sys and domain XML write it, "0-3,8", has ITEM. */
bool fact_list_has(const char *list, long item);

/* Who may change a file that root's programs rely on: root alone, on a real host. */
bool fact_is_safe(const char *path);

/* A daemon of libvirt that runs QEMU's VMs and calls hooks. */
struct daemon {
    const char *name;
    pid_t pid;
    unsigned long long ticks; /* when it started, in clock ticks after boot, as claims have it */
    int64_t started;          /* the same in seconds since the epoch; -1: not known */
};

/* libvirtd and virtqemud as far as they run; returns how many. */
enum { DAEMON_MAX = 2 };
int daemon_find(struct daemon daemons[DAEMON_MAX]);
