/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

#include "base/error.h"

enum {
    INPUT_LIMIT = 128 << 20, /* bytes; libvirt's own limits are far below */
    INPUT_DEADLINE_S = 20,   /* libvirt writes at once; whoever does not is no libvirt */
};

/* The domain's XML as libvirt gave it; owned, kept until the program ends. */
struct input {
    char *text;
    size_t length;
};

/* Reads all of stdin; a closed stdin is empty.  STATUS_INVALID: more than
 * INPUT_LIMIT.  STATUS_BUSY: no end within INPUT_DEADLINE_S.  STATUS_HARDWARE:
 * a read error, *number says which. */
MUST_CHECK enum status input_read(struct input *input, int *number);
