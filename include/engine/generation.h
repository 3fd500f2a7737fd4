/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "base/file.h"
#include "base/text.h"
#include "engine/machine.h"

/* A topology as the vendor's tool reads it from the cards. */
struct generation {
    struct buffer text; /* the file's content, as the tool printed it; owned */
    struct topology topology;
    struct text_list warnings;
};

/* Asks the tool, with the ledger locked so that no VM's start cuts links meanwhile.
 * MACHINE is opened, not surveyed: the present topology may be missing or wrong.
 * Refused (STATUS_CONFLICT) while somebody owns a card: links are cut then, and the
 * tool would miss them.  Nothing is written. */
MUST_CHECK int generation_make(struct machine *machine, struct generation *generation, struct error *err);
void generation_free(struct generation *generation);
