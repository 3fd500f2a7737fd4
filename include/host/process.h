/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"
#include "core/bdf.h"
#include "core/ownership.h"

/*
 * Processes: libvirt's daemon, which is always looked up in the real /proc, and the
 * processes of the (possibly simulated) host.
 */

/* A process named so that a recycled pid is not believed. */
struct process_identity {
    pid_t pid;                /* 0 = nobody */
    unsigned long long start; /* clock ticks after boot, field 22 of /proc/PID/stat; 0 = not known */
};

/* The libvirt daemon that called the hook: the nearest of our ancestors that is
 * libvirtd or virtqemud.  An administrator's dispatcher may be between it and us.
 * False, with DAEMON untouched: it is not known, because it has ended (its children
 * were adopted), is hidden from us, or is none of our ancestors. */
MUST_CHECK bool process_daemon_behind_call(struct process_identity *daemon);

/* A process of ours that runs, in the real /proc; what process_daemon_state wants.  False: it has ended, or its start
 * cannot be read, and it could not be told from another one later. */
MUST_CHECK bool process_identify(pid_t pid, struct process_identity *identity);

/* Of a daemon, or of the process that a group is bound to.  DAEMON_UNKNOWN if /proc does not say (hidepid), or if
 * DAEMON is nobody: what cannot be looked at is not gone. */
enum daemon_state process_daemon_state(struct process_identity daemon);

/* Of the (possibly simulated) host. */

/* A process with this pid exists, if only as a zombie. */
bool process_pid_exists(pid_t pid);

/* The process with this pid, with its start if that can be read; false if there is none
 * or only a zombie (its IDENTITY is set all the same). */
bool process_find(pid_t pid, struct process_identity *identity);

/* The very process runs; the starts are compared if both are known. */
bool process_lives(struct process_identity identity);

/* When a process started; also of a zombie. */
MUST_CHECK bool process_start_ticks(pid_t pid, unsigned long long *start);

enum { PROCESS_COMMAND_SIZE = 64 };

/* For messages: a process that has the function's vfio device open, through its IOMMU
 * group (/dev/vfio/GROUP, UNKNOWN_NUMBER if it has none) or through iommufd
 * (/dev/vfio/devices/vfioN).  COMMAND is its comm, printable.  Looks at every open file
 * of the host: for the rare case.  False: none is found, which proves nothing. */
MUST_CHECK bool process_holder_of(int iommu_group, struct bdf bdf, pid_t *pid, char command[PROCESS_COMMAND_SIZE]);
