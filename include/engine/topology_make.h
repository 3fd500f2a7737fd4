/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "base/file.h"
#include "base/text.h"
#include "engine/machine.h"

/* A topology as the vendor's tool reads it from the cards. */
struct topology_made {
    struct buffer text; /* the file's content, as the tool printed it; owned */
    struct topology topology;
    struct text_list warnings;
};

/* Looks who owns what, gives the lock back, then asks the tool, then looks again: what changed meanwhile makes the
 * answer worthless (STATUS_CONFLICT).  Refused while somebody owns a card: links are cut then, and the tool
 * would miss them.  CONFIG as for machine_open; the present topology may be missing or wrong.  Nothing is written. */
MUST_CHECK int topology_make(const char *config, struct topology_made *made, struct error *err);
void topology_made_free(struct topology_made *made);
