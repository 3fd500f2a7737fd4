/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* A daemon of libvirt that runs QEMU's VMs and calls hooks. */
struct daemon {
    const char *name;
    pid_t pid;
    unsigned long long ticks; /* when it started, as the ledger writes it */
    int64_t started;          /* the same in seconds since the epoch; -1: not known */
};

/* libvirtd and virtqemud as far as they run; returns how many. */
enum { DAEMON_MAX = 2 };
int daemon_find(struct daemon daemons[DAEMON_MAX]);
