/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/card_groups.h"
#include "engine/snapshot.h"

/* Who the groups of an apply are.  Private to manual*.c. */
struct manual_identity {
    char *name; /* owned */
    char uuid[UUID_SIZE];
    bool existed; /* the group is there already, with these very cards */
};

/* The identities of all groups; *identities is owned by the caller, also on
 * failure: see manual_identities_free. */
MUST_CHECK int manual_identify(const struct snapshot *snapshot, const struct card_groups *groups,
                               const char *const names[], size_t name_count, struct manual_identity **identities,
                               struct error *err);

/* None of them is called like somebody who owns cards, or like another one.  Asked
 * after the cards were admitted: that a group has them says more than its name. */
MUST_CHECK int manual_check_names(const struct snapshot *snapshot, const struct manual_identity identities[], int count,
                                  struct error *err);

/* IDENTITIES may be NULL. */
void manual_identities_free(struct manual_identity *identities, int count);
