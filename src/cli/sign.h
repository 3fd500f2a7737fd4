/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "cli/output.h"
#include "cli/table.h"
#include "engine/verdict.h"

/* How status and topo show the state of links: one character and colour each. */
struct sign {
    char character;
    enum colour colour;
    const char *meaning;
};
extern const struct sign signs[];

/* Which signs a text used: bit VERDICT_…. */
typedef unsigned int signs_used;

/* "  - cut as it must be   ! LEAK: …", only what was used and says not its own name. */
void sign_print_legend(const struct output *output, const char *before, signs_used used);
