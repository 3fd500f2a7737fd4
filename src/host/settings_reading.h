/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "base/text.h"
#include "host/settings.h"
#include "host/settings_lines.h"

/* Where something was said; line 0: nowhere. */
struct settings_place {
    const char *file;
    int order; /* of the file, from 0 */
    int line;
};

enum { SETTINGS_KEY_MAX = 32 };

/* The configuration while its files are read, one after the other. */
struct settings_reading {
    struct settings *settings;
    struct error *err;
    const char *file; /* the present one */
    int order;        /* of it, from 0 */
    bool failed;
    struct settings_place keys[SETTINGS_KEY_MAX]; /* by their place in settings_keys */
    struct settings_place *pins;                  /* owned; of settings->map */
    struct settings_place *joins;                 /* owned; of settings->joins */
};

/* Notes the error "FILE:LINE: …" and returns false. */
bool settings_refuse(struct settings_reading *reading, int line, const char *format, ...) PRINTF_LIKE(3, 4);

/* One file's text.  What it says goes into reading->settings; false: refused. */
MUST_CHECK bool settings_read_text(struct settings_reading *reading, const char *text, size_t length);
/* After the last file: what only the whole can tell. */
MUST_CHECK bool settings_check(struct settings_reading *reading);
void settings_reading_free(struct settings_reading *reading);

/* The value of [ppu] match; false: it is not a filter, and MATCH is untouched. */
MUST_CHECK bool settings_take_match(const char *value, char match[MATCH_SIZE]);
/* Whether NAME is a key of SECTION. */
bool settings_knows_key(const char *section, const char *name);

/* A line of [map], and one of [links]. */
MUST_CHECK bool settings_take_pin(struct settings_reading *reading, const struct settings_line *line);
MUST_CHECK bool settings_take_join(struct settings_reading *reading, const struct settings_line *line);
