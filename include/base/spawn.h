/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

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
