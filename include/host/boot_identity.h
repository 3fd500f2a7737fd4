/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "core/topology.h"
#include "host/settings.h"

/*
 * Which card is which PPU, and what joins them, as it is in force in this boot: the text of
 * /run/icn-hook/identity (see host/state.h).
 */
struct boot_identity {
    struct settings_pin *pins; /* owned; by id, ascending; ids are those of the topology */
    int pin_count;
    struct topology topology;
};

/* The text, owned: the same for the same identity, byte by byte. */
char *boot_identity_format(const struct boot_identity *identity, const char *boot_id);

/* Reads what boot_identity_format wrote.  NAME is for messages.  *identity is the caller's, and NULL for a text of
 * another boot.  What is not exactly such a text: STATUS_INVALID. */
MUST_CHECK int boot_identity_parse(const char *text, size_t length, const char *name, const char *boot_id,
                                   struct boot_identity **identity, struct error *err);

/* Whether the two differ; what is the first difference goes to TEXT: "PPU 1 was 0000:7e:00.0 and is 0000:a2:00.0 now".
 */
enum { IDENTITY_DIFFERENCE_SIZE = 512 };
bool boot_identity_differs(const struct boot_identity *old, const struct boot_identity *new,
                           char text[IDENTITY_DIFFERENCE_SIZE]);

void boot_identity_free(struct boot_identity *identity);
