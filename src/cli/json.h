/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "base/text.h"
#include "engine/links.h"

/* Small additions to json-c for our objects. */
void json_put_text(struct json_object *object, const char *key, const char *text_or_null);
void json_put_mask(struct json_object *object, const char *key, uint32_t mask);
void json_put_number(struct json_object *object, const char *key, int number);
/* null below 0: UNKNOWN_NUMBER, or a peer that is external. */
void json_put_known_number(struct json_object *object, const char *key, int number);
/* Seconds since the epoch; null for 0. */
void json_put_moment(struct json_object *object, const char *key, int64_t seconds);
/* As "2026-11-27T09:12:03Z"; null for 0. */
void json_put_time(struct json_object *object, const char *key, int64_t seconds);
/* "cut", "open" or "unknown". */
void json_put_end(struct json_object *object, const char *key, enum link_end end);
/* true, false, or null: not known. */
void json_put_live(struct json_object *object, const char *key, enum link_live live);
void json_put_bool(struct json_object *object, const char *key, bool value);
/* Adds an array of texts. */
void json_put_list(struct json_object *object, const char *key, const struct text_list *list);
/* Adds an empty array and returns it. */
struct json_object *json_put_array(struct json_object *object, const char *key);
/* Parts that several verbs' objects have: "writes" in their order, "coverage", "findings" of all that was noted, and
 * the array "warnings" of only the texts, of both lists (MORE may be NULL). */
void json_put_writes(struct json_object *object, const struct machine *machine, const struct plan_write writes[],
                     size_t count);
void json_put_coverage(struct json_object *object, const struct coverage *coverage);
void json_put_findings(struct json_object *object, const struct notes *notes);
void json_put_warnings(struct json_object *object, const struct notes *notes, const struct notes *more);
/* "conflict", "busy", …: the word for what ends with STATUS, which is not STATUS_OK (contract). */
const char *json_status_text(enum status status);
/* What a verb says instead of its own object when it could not answer. */
struct json_object *json_error(const struct error *err);
/* Prints and frees. */
void json_write(FILE *stream, struct json_object *object);
/* The same on stdout. */
void json_print(struct json_object *object);
