/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

/* What the two directions of an entry's text form share. */

#define LEDGER_SCHEMA_FAMILY "icn-hook/ledger/"
#define LEDGER_SCHEMA LEDGER_SCHEMA_FAMILY "1"

enum { LEDGER_PHASE_COUNT = 3 };

/* By enum ledger_phase. */
extern const char *const ledger_phase_words[LEDGER_PHASE_COUNT];

/* The bytes of the UTF-8 character that TEXT starts with (at most 4, never
 * past a terminating zero), or 0 if it starts with none. */
size_t ledger_utf8_length(const char *text);
