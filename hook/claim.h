/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

/* The uuid of the domain that TEXT describes: the content of its first <uuid>. */
bool claim_uuid(const char *text, size_t length, char uuid[UUID_SIZE]);

/* There may be a claim of the domain that TEXT describes, so that its end is the engine's
 * business even if its XML names no card by that time: unplugged cards and network pools'
 * functions are not in it any more. */
bool claim_may_exist(const char *text, size_t length);
