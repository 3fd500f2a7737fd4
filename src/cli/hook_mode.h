/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

/* This is a call by libvirt: by the hook program, or of exactly the shape NAME OPERATION
 * begin|end EXTRA, where NAME is neither an option nor a verb, OPERATION is one that
 * libvirt has, and begin or end is what belongs to it. */
bool hook_mode_is_meant(int argc, char *const argv[]);

/* Runs it and returns the exit status. */
int hook_mode_run(char *const argv[]);
