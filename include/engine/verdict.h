/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/inspection.h"

/* What the state of a link means, given who owns its two cards. */
enum verdict {
    VERDICT_OPEN,     /* open, and may be */
    VERDICT_CUT,      /* cut, and has to be: by the rule, by [policy] idle, or it was before we came */
    VERDICT_NEEDLESS, /* cut, though it may be open and nothing known asks for the cut */
    VERDICT_LEAK,     /* open, and must not be */
    VERDICT_UNSEEN,   /* cannot be read; may be open */
    VERDICT_UNSURE,   /* cannot be read; must be cut */
};

bool link_is_allowed(const struct inspection *inspection, int ppu, int link);
enum verdict link_verdict(const struct inspection *inspection, int ppu, int link);

/* All links between two cards. */
struct pair {
    int wired; /* how many there are */
    int open;  /* how many are open at most: which ends belong together the topology does not tell */
    bool allowed;
    enum verdict verdict; /* the worst of theirs */
};
struct pair pair_look(const struct inspection *inspection, int a, int b);
