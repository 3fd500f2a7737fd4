/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/manual.h"
#include "engine/session.h"

/* What the manual verbs share.  Private to manual*.c. */

/* Locks and looks; what was found goes to the report's warnings. */
MUST_CHECK int manual_open(struct session *session, struct machine *machine, bool dry_run, struct manual_report *report,
                           struct error *err);

/* Adds a party without cards; to be filled before the next one is added. */
struct manual_party *manual_add_party(struct manual_parties *parties, const char *name, const char *uuid);
void manual_add_card(struct manual_party *party, int ppu);
/* Adds TENANT with the cards that it owns, or only those that are held open. */
void manual_add_tenant(struct manual_parties *parties, const struct snapshot *snapshot, const struct tenant *tenant,
                       bool only_held);

bool manual_owns(const struct snapshot *snapshot, const struct tenant *tenant, int ppu);

/* A warning is told once. */
void manual_warn(struct manual_report *report, const char *format, ...) PRINTF_LIKE(2, 3);
void manual_add_warnings(struct manual_report *report, const struct text_list *list);

/* Adds the decision's writes that were made, or, PLANNED, all of them. */
void manual_add_writes(struct manual_report *report, const struct session *session, bool planned);

/* Ends the group with this uuid, gives its cards back and looks again.  Fails if
 * anything of it is not back. */
MUST_CHECK int manual_end(struct session *session, const char *uuid, struct manual_report *report, struct error *err);
