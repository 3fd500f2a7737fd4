/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

#include "host/settings.h"

/* The keys of all sections but [map], whose keys are ids. */
enum { SETTINGS_KEY_COUNT = 14, NO_KEY = SETTINGS_KEY_COUNT };

extern const struct settings_key {
    const char *section;
    const char *name;
    bool (*set)(struct settings *settings, const char *value); /* false: not an allowed value */
    const char *allowed;
} settings_keys[SETTINGS_KEY_COUNT];

/* The index in settings_keys, or NO_KEY. */
int settings_find_key(const char *section, const char *name);

/* The setter of [ppu] match; leaves SETTINGS alone if VALUE is not a filter. */
bool settings_set_match(struct settings *settings, const char *value);
