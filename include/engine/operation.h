/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/*
 * One call by libvirt: VM and OPERATION are its first two arguments, TEXT is
 * the domain's XML.  Returns the exit status (design section 4); a status other
 * than STATUS_OK comes with the one line in ERR.  Everything that happened goes
 * to the log.
 */
enum status operation_run(const char *vm, const char *operation, const char *text, size_t length, struct error *err);

/* Whether OPERATION's failure may be reported to libvirt: it refuses the start
 * then.  For all others a failure would kill a running VM or is ignored. */
bool operation_may_refuse(const char *operation);
