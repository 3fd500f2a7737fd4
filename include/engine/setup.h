/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/wiring.h"
#include "host/setup_files.h"

/* What a person asked of icn-hook setup; NULL or false: not given.  Texts are borrowed. */
struct setup_request {
    const char *config;
    const char *from;     /* a directory with saved outputs of the vendor's tools */
    const char *topology; /* a file in the vendor's form */
    const char *map;      /* a file of lines "ID = BDF" */
    bool ids_by_address;
    bool force;
    bool dry_run;
};

enum setup_change { SETUP_SAME, SETUP_NEW, SETUP_DIFFERENT };
enum { SETUP_TOPOLOGY, SETUP_CARDS, SETUP_FILE_COUNT };

struct setup {
    struct wiring wiring;
    struct setup_output {
        char *path; /* owned */
        char *text; /* owned; what is to be in it */
        enum setup_change change;
        bool is_written;
    } files[SETUP_FILE_COUNT];
    struct text_list warnings;
};

/*
 * Finds out which card has which id and where the links lead, and writes the topology and the drop-in 50-cards.conf.
 * The vendor's tools are asked without the lock; then it is taken, and who owns what is looked at again.  Refused,
 * and nothing written: while anybody owns a card (STATUS_CONFLICT), what contradicts (STATUS_INVALID), and, without
 * force, a file there that says something different (STATUS_INVALID).  With dry_run all is the same but the writing,
 * and what is there already is no reason to refuse.  SETUP is to be freed, also on failure.
 */
MUST_CHECK int setup_run(const struct setup_request *request, struct setup *setup, struct error *err);
void setup_free(struct setup *setup);

/* "ppu-smi", "file" or "address" (contract). */
const char *setup_source_text(enum id_source source);
