/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/decision.h"
#include "engine/execution.h"

/* What the ledger keeps of a decision. */

/* Writes the domain's entry: its cards, and every card whose register the
 * decision may touch, with the mask to restore later.  Must be done before the
 * first register is written.  LATE: the domain may have been isolated already
 * by an entry that is lost, so the cuts it needs are taken to be ours. */
MUST_CHECK int record_domain(const struct ledger *ledger, const struct snapshot *snapshot,
                             const struct decision *decision, const struct registers *registers,
                             enum ledger_phase phase, bool late, struct error *err);

/* Marks a domain's entry as ended: it owns nothing any more that nobody holds. */
MUST_CHECK int record_end(const struct ledger *ledger, const struct ledger_entry *entry, struct error *err);

/* Removes the entries of domains that are gone and whose registers are back:
 * all such entries but that of KEEP_UUID (NULL: all). */
MUST_CHECK int record_clean(const struct ledger *ledger, const struct snapshot *snapshot,
                            const struct decision *decision, const struct execution *execution,
                            const struct registers *registers, const char *keep_uuid, struct error *err);
