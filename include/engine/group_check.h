/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/card_groups.h"
#include "engine/snapshot.h"

/*
 * Whether GROUP is in force, whoever owns its cards: every link that leaves it is
 * cut at the end that can be read, or is known to be cut at the other; every link
 * inside it is open where it can be read.  The registers are read already
 * (snapshot_read_all).  FAULTS: what is not so; NOTES: what cannot be seen and is
 * no fault.
 */
void group_check(const struct snapshot *snapshot, const struct card_groups *groups, int group, struct text_list *faults,
                 struct text_list *notes);
