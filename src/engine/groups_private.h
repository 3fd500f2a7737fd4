/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/groups.h"

/* What apply, release, reset and repair report.  Private to groups*.c and reconcile.c. */

/* Adds a party without cards; to be filled before the next one is added. */
struct party *parties_add(struct parties *parties, const char *name, const char *uuid);
void party_add_card(struct party *party, int ppu);
/* Adds OWNER with the cards that it has, or only those that are held open. */
void parties_add_owner(struct parties *parties, const struct session *session, const struct owner *owner,
                       bool only_held);

/* The end of a session that has made owners end: gives the cards of TURN back.  What stays owed is an error. */
MUST_CHECK int groups_give_back(struct session *session, struct turn *turn, struct group_report *report,
                                struct error *err);

/* Appends the plan's writes that were made, or, in a session that looks, all of them. */
void session_list_writes(const struct session *session, struct plan_write **writes, size_t *count);
