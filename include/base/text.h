/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Copies SOURCE to TARGET (SIZE bytes, always terminated) with every control
 * character (below 0x20, and 0x7f) and backslash written as \xNN, so that the
 * result is one printable line.  UTF-8 passes unchanged.  Cuts what does not
 * fit, never in the middle of an escape. */
void text_escape(char *target, size_t size, const char *source);

/* Decimal, or hexadecimal with 0x, within [0, MAX]; the whole of TEXT must be
 * the number (no blanks, sign or junk). */
MUST_CHECK bool text_parse_number(const char *text, uint64_t max, uint64_t *value);

/* An owned list of owned strings: warnings, findings. */
struct text_list {
    char **items;
    size_t count;
};

/* Appends a formatted line, control characters escaped; when memory is
 * short the program ends (see memory.h). */
void text_list_add(struct text_list *list, const char *format, ...) PRINTF_LIKE(2, 3);
void text_list_free(struct text_list *list);

/* A canonical UUID: 36 characters, lower case, with dashes. */
enum { UUID_SIZE = 37 };

/* Accepts what libvirt's virUUIDParse accepts: 16 pairs of hexadecimal
 * digits of either case, dashes and spaces anywhere between the pairs,
 * surrounding blanks. */
MUST_CHECK bool text_parse_uuid(const char *text, char uuid[UUID_SIZE]);

/* A random one (RFC 9562, version 4): no domain's.  STATUS_HARDWARE if the kernel
 * gives no random bytes. */
MUST_CHECK int text_make_uuid(char uuid[UUID_SIZE], struct error *err);
