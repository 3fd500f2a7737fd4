/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "core/bdf.h"
#include "host/process.h"

/*
 * JSON that must be exactly what this program writes: every key once, none more, each of
 * its type and within its range.  Anything else was not written by this program, and
 * guessing what it meant would be worse than saying so.  Every failure is STATUS_INVALID
 * with the text's name.
 */
struct strict {
    const char *name;
    struct error *err;
};

/* Returns -1. */
int strict_fail(const struct strict *strict, const char *format, ...) PRINTF_LIKE(2, 3);

/* One JSON object and nothing after it but white space; to be given to json_object_put(). */
MUST_CHECK int strict_parse(const struct strict *strict, const char *text, size_t length, struct json_object **object);

/* OBJECT has EXPECTED keys.  To be called after all of them were taken: so it has no other. */
MUST_CHECK int strict_keys(const struct strict *strict, struct json_object *object, const char *what, int expected);

/* The member KEY of OBJECT, of TYPE. */
MUST_CHECK int strict_take(const struct strict *strict, struct json_object *object, const char *key,
                           enum json_type type, struct json_object **value);
/* The member KEY is there and null. */
bool strict_is_null(struct json_object *object, const char *key);

/* UTF-8 without NUL; OBJECT's. */
MUST_CHECK int strict_text(const struct strict *strict, struct json_object *object, const char *key, const char **text);
/* [MIN, MAX] */
MUST_CHECK int strict_number(const struct strict *strict, struct json_object *object, const char *key, int64_t min,
                             int64_t max, int64_t *number);
MUST_CHECK int strict_boolean(const struct strict *strict, struct json_object *object, const char *key, bool *flag);
/* The place in WORDS, of which the last is NULL. */
MUST_CHECK int strict_word(const struct strict *strict, struct json_object *object, const char *key,
                           const char *const words[], int *word);
MUST_CHECK int strict_uuid(const struct strict *strict, struct json_object *object, const char *key,
                           char uuid[UUID_SIZE]);
/* As bdf_format writes it. */
MUST_CHECK int strict_bdf(const struct strict *strict, struct json_object *object, const char *key, struct bdf *bdf);
/* "0x" and eight digits. */
MUST_CHECK int strict_mask(const struct strict *strict, struct json_object *object, const char *key, uint32_t *mask);
/* The same or null. */
MUST_CHECK int strict_mask_or_null(const struct strict *strict, struct json_object *object, const char *key, bool *has,
                                   uint32_t *mask);
/* {"pid":…,"start":…}; a pid of at least MIN_PID. */
MUST_CHECK int strict_process(const struct strict *strict, struct json_object *object, const char *key, pid_t min_pid,
                              struct process_identity *identity);
