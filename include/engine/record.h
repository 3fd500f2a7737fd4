/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/policy.h"

/* What is written down: claims, and the memory of each card. */

/* Writes the claim of OWNER on the cards that it has.  ANEW: it begins now, even if it is there; otherwise a claim
 * that is there and has not ended keeps its beginning, but CLAIM_ADMITTED gives the start its time anew. */
MUST_CHECK int record_claim(struct session *session, const struct owner *owner, enum claim_event event, bool anew,
                            struct error *err);

/* The end of OWNER begins: its cards are given back in TURN.  record_result finishes it. */
MUST_CHECK int record_end(struct session *session, const struct owner *owner, struct turn *turn, struct error *err);
/* Removes a claim that makes no sense any more, and gives no card back.  NAME NULL: not known. */
MUST_CHECK int record_remove_claim(struct session *session, const char *uuid, const char *name, struct error *err);
/* What was read back of cards for FROM alone, OWNER has now: nobody else had them in between. */
void record_hand_over(struct session *session, const char *from, const struct owner *owner);
/* The owner that the claim was of, with its cards, as long as it has not ended. */
struct owner *record_restore_owner(struct session *session, const struct claim *claim);
/* What happened without a call: claims that nothing supports end, which is final, and claims of VMs that run list what
 * their status files list. */
MUST_CHECK int record_catch_up(struct session *session, struct turn *turn, struct error *err);

/* Before the first register is written: every cut that the plan's writes may leave. */
MUST_CHECK int record_intent(struct session *session, const struct turn *turn, struct error *err);

/* After the writes: what each card holds now.  GATE: what was read back of the turn's own cards is evidence for their
 * owners. */
MUST_CHECK int record_result(struct session *session, const struct turn *turn, bool gate, struct error *err);
