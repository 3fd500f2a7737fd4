/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/error.h"
#include "cli/commands.h"
#include "cli/verbs.h"

/* Each verb leaves this file when it is there. */
#define PENDING(verb) \
    int verb(const struct options *options) \
    { \
        (void)options; \
        return command_usage_error("not there yet:", #verb); \
    }
PENDING(verb_explain)
PENDING(verb_topo)
PENDING(verb_suggest)
