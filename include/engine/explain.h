/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/links.h"

/* Why a link is as it is. */

/* Which part of the rule decides whether it may be open. */
enum link_rule {
    RULE_IDLE,             /* both cards are idle: it may */
    RULE_SAME_OWNER,       /* both have the same one: it may */
    RULE_DIFFERENT_OWNERS, /* one may be idle */
    RULE_SHARED,           /* one of the cards has several owners */
    RULE_UNKNOWN_HOLDER,   /* … or one that nobody knows */
    RULE_EXTERNAL,         /* it leads out of the host, and the card has an owner */
};

enum { EXPLANATION_SIZE = 4096 };
struct explanation {
    struct link_view view;
    enum link_rule rule;
    int64_t since; /* seconds since the epoch: the younger of the owners; 0: not known, or no owner */
    char text[EXPLANATION_SIZE];
};
void explain_link(const struct session *session, int ppu, int link, struct explanation *explanation);
