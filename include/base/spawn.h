/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/file.h"

/*
 * Runs ARGV[0] (an absolute path; no shell) with a clean environment
 * (PATH, LC_ALL=C, and ICN_SYSROOT if set), stdin from /dev/null, stdout and
 * stderr captured apart, each whole up to 16 MiB (more is read and dropped).
 * The child is the leader of its own process group; when DEADLINE (monotonic
 * milliseconds) passes the whole group is killed.
 *
 * 0 only for exit status 0; OUTPUT is stdout then, and the last line of stderr
 * goes to the log (LOG_LEVEL_INFO).  Otherwise OUTPUT is untouched:
 * STATUS_BUSY (deadline) or STATUS_HARDWARE (cannot be executed, non-zero exit,
 * killed by a signal), with the last line of stderr, or of stdout if stderr is empty.
 */
MUST_CHECK int spawn_capture(char *const argv[], int64_t deadline, struct buffer *output, struct error *err);

/*
 * Waiting for a child with a deadline.  Where there is no pidfd (a kernel before 5.3,
 * valgrind), one asks every WAIT_MOMENT_MS whether the child has ended.
 */
enum { WAIT_MOMENT_MS = 20 };

/* A descriptor that is readable when the child PID ends, or -1: there is no pidfd. */
int wait_open_pidfd(pid_t pid);

/* How long poll(2) may wait for PIDFD, which may be -1, and other descriptors. */
int wait_poll_timeout(int64_t deadline, int pidfd);

/* The child has ended; it stays a zombie. */
bool wait_has_ended(pid_t pid);

/* Waits until the child PID has ended, and leaves it a zombie.  False: DEADLINE
 * (monotonic milliseconds, or NO_DEADLINE) came first. */
bool wait_for_end(pid_t pid, int64_t deadline);
