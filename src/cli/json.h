/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

/* Small additions to json-c for our objects. */
void json_put_text(struct json_object *object, const char *key, const char *text_or_null);
void json_put_mask(struct json_object *object, const char *key, uint32_t mask);
void json_put_number(struct json_object *object, const char *key, int number);
/* null for UNKNOWN_NUMBER (-1). */
void json_put_known_number(struct json_object *object, const char *key, int number);
void json_put_bool(struct json_object *object, const char *key, bool value);
/* Adds an array of texts. */
void json_put_list(struct json_object *object, const char *key, const struct text_list *list);
/* Adds an empty array and returns it. */
struct json_object *json_put_array(struct json_object *object, const char *key);
/* Prints on stdout and frees. */
void json_print(struct json_object *object);
