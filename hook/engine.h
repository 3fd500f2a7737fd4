/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "base/error.h"
#include "base/file.h"

/* The program to run: the installed one, or on a simulated host ICN_ENGINE. */
const char *engine_path(void);

/* Runs the engine with the arguments of this program and TEXT as stdin, and waits for
 * it.  TEXT (from malloc) is replaced by a mapping of the same text, which takes no
 * memory of its own.
 * 0: the engine answered; *STATUS is its exit status, and what it wrote to stderr is
 * passed on.  -1: it gave no answer (STATUS_HARDWARE), or not in time and was killed
 * (STATUS_BUSY); ERR begins with its path. */
MUST_CHECK int engine_run(char *const arguments[], struct buffer *text, int *status, struct error *err);
