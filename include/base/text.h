/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Copies SOURCE to TARGET (SIZE bytes, always terminated) with every control
 * character (below 0x20, and 0x7f) and backslash written as \xNN, so that the
 * result is one printable line.  UTF-8 passes unchanged.  Cuts what does not
 * fit, never in the middle of an escape. */
void text_escape(char *target, size_t size, const char *source);

/* The same, but backslashes stay: a line that was made safe once stays the same when
 * it is put into another one. */
void text_copy_line(char *target, size_t size, const char *source);

/* An owned text of any length. */
char *text_format(const char *format, va_list arguments) PRINTF_LIKE(1, 0);

/* FIRST and SECOND in one owned text. */
char *text_join(const char *first, const char *second);

/* The length in bytes of the UTF-8 character that TEXT begins with, 1 for the
 * terminating zero too; 0 if its bytes are not a character (Unicode, table 3-7). */
size_t text_utf8_length(const char *text);

/* The value of a hexadecimal digit of either case, or -1. */
int text_hex_digit(char character);

/* Decimal, or hexadecimal with 0x, within [0, MAX]; the whole of TEXT must be
 * the number (no blanks, sign or junk). */
MUST_CHECK bool text_parse_number(const char *text, uint64_t max, uint64_t *value);

enum { TIME_TEXT_SIZE = 32 };

/* Date and time, local, of SECONDS since the epoch; returns TEXT. */
const char *text_format_time(int64_t seconds, char text[TIME_TEXT_SIZE]);

/* An owned list of owned strings: warnings, findings. */
struct text_list {
    char **items;
    size_t count;
};

/* Appends a formatted line, control characters escaped; when memory is
 * short the program ends (see memory.h). */
void text_list_add(struct text_list *list, const char *format, ...) PRINTF_LIKE(2, 3);
/* Appends a copy of TEXT as it is: a name that is to be opened, no line to be shown. */
void text_list_add_copy(struct text_list *list, const char *text);
bool text_list_has(const struct text_list *list, const char *text);
void text_list_free(struct text_list *list);

/* Which of several names somebody meant who wrote WORD: begun with the word alone, and then shown each name. */
struct nearest {
    const char *word;
    const char *name; /* borrowed; NULL: none is near */
    int slips;
};
void nearest_try(struct nearest *nearest, const char *name);

/* A canonical UUID: 36 characters, lower case, with dashes. */
enum { UUID_SIZE = 37 };

/* Accepts what libvirt's virUUIDParse accepts: 16 pairs of hexadecimal
 * digits of either case, dashes and spaces anywhere between the pairs,
 * surrounding blanks. */
MUST_CHECK bool text_parse_uuid(const char *text, char uuid[UUID_SIZE]);

/* A random one (RFC 9562, version 4), that no domain has.  False, with UUID untouched,
 * if the kernel gives none (/proc/sys/kernel/random/uuid, random(4)). */
MUST_CHECK bool text_make_uuid(char uuid[UUID_SIZE]);
