/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/machine.h"

/*
 * Groups of cards as people write them (the vendor guide's LIST): "0,1|2,3".
 * Groups are separated by '|', cards of a group by ','; a card is an id or a PCI
 * address, which may lack its domain ("08:00.0"); blanks around cards do not count.
 */
enum { IN_NO_GROUP = -1 };

struct card_groups {
    int count;
    int of[PPU_MAX]; /* each card's group, from 0 in the order of LIST, or IN_NO_GROUP */
};

/* MACHINE is surveyed.  What is not written as above is STATUS_USAGE; a card that
 * is none of this host, or stands there twice, is STATUS_INVALID.  The message
 * names the column, from 1, and the text. */
MUST_CHECK int card_groups_parse(const struct machine *machine, const char *list, struct card_groups *groups,
                                 struct error *err);

/* The card of GROUP with the lowest id above PPU (-1: the first), or -1. */
int card_groups_next(const struct card_groups *groups, int group, int ppu);
