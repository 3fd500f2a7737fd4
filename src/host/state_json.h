/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "host/state.h"
#include "host/strict_json.h"

/* An entry of version 0.1. */
#define ENTRY_SCHEMA "icn-hook/ledger/1"

/* Fills CLAIM, which is empty, and the list of memory; on failure both are to be freed by the
 * caller. */
MUST_CHECK int entry_parse(const struct strict *strict, struct json_object *object, const char *boot_id,
                           struct claim *claim, bool *other_boot, struct card_memory **carried, size_t *carried_count);

/* The "boot" of an object, under KEY. */
MUST_CHECK int strict_boot(const struct strict *strict, struct json_object *object, const char *key,
                           const char *boot_id, bool *other_boot);

/* Adds a card to CLAIM; once only. */
MUST_CHECK int strict_add_card(const struct strict *strict, struct claim *claim, struct bdf bdf, bool whole);
