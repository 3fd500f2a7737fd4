/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* The ledger may have an entry of the domain that TEXT describes, so that its
 * end is the engine's business whatever its XML says by that time: unplugged
 * cards and network pools' functions are not in it any more. */
bool entry_may_exist(const char *text, size_t length);
