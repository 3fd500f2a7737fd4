/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"

/*
 * What icn-hook confirm found out, kept over boots in PATH_CONFIRMED.  What it was made for is a list of lines: the
 * settings of the registers, the map and the topology.  With any other it says nothing.
 */
enum confirm_verdict {
    CONFIRM_CONFIRMED,    /* a cut at one end was seen at the other, and nowhere else */
    CONFIRM_CONTRADICTED, /* something else was seen */
    CONFIRM_NO_WITNESS,   /* nothing could be seen */
};
/* "confirmed", "contradicted", "no witness" */
const char *confirm_verdict_text(enum confirm_verdict verdict);

enum { EXTERNAL_END = -1 };

struct confirmed_link {
    int ppu;
    int link;
    int peer; /* EXTERNAL_END: none of this host's cards */
    enum confirm_verdict verdict;
    bool is_down; /* CONFIRM_NO_WITNESS: a witness sees it, and it was down before it was cut */
    int64_t at;   /* seconds since the epoch */
};

struct confirmed {
    struct text_list made_for;
    struct confirmed_link *links; /* owned; by ppu and link, ascending */
    size_t count;
};
void confirmed_free(struct confirmed *confirmed);

/* Reads the file.  None there: STATUS_INVALID and *missing true; in every other case it is false.  One that is not
 * exactly what confirmed_save writes, or that others than root can write: STATUS_INVALID. */
MUST_CHECK int confirmed_load(struct confirmed *confirmed, bool *missing, struct error *err);
/* Replaces it; makes its directory if there is none. */
MUST_CHECK int confirmed_save(const struct confirmed *confirmed, struct error *err);

/* Public for their tests.  The text is owned by the caller. */
char *confirmed_format(const struct confirmed *confirmed);
MUST_CHECK int confirmed_parse(const char *text, size_t length, const char *name, struct confirmed *confirmed,
                               struct error *err);
