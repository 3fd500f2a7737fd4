/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "base/error.h"
#include "base/file.h"

/*
 * Runs ARGV[0] (an absolute path; no shell) with a clean environment
 * (PATH, LC_ALL=C, and ICN_SYSROOT if set), stdin from /dev/null, stdout and
 * stderr captured together and whole up to 16 MiB (more is read and dropped).
 * The child is the leader of its own process group; when DEADLINE (monotonic
 * milliseconds) passes the whole group is killed.
 *
 * 0 only for exit status 0.  Otherwise STATUS_HARDWARE (cannot be executed,
 * non-zero exit, killed by a signal, with the output's last line) or
 * STATUS_BUSY (deadline).  OUTPUT is filled on success only.
 */
MUST_CHECK int spawn_capture(char *const argv[], int64_t deadline, struct buffer *output, struct error *err);
