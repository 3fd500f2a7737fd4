/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

/* The arguments are a call by libvirt: NAME OPERATION begin|end EXTRA. */
bool hook_mode_is_meant(int argc, char *const argv[]);

/* Runs it and returns the exit status. */
int hook_mode_run(char *const argv[]);
