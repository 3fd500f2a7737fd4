/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "base/log.h"
#include "engine/session.h"
#include "engine/vm_cards.h"

/* What a session is logged as. */
struct trail {
    enum log_event event;
    const char *uuid; /* of the VM or group that it is about; NULL: of none */
    const char *name; /* its name */
    bool is_group;
    const char *cards;       /* as in struct owner_change; NULL: those of its claim */
    const struct error *err; /* what ended it, or NULL */
    const char *what;        /* the line says this, or ERR's text, and all writes; NULL: only ERR's text */
    int64_t began;           /* monotonic ms: the line says how long it took; 0: it does not */
};

/* Logs what the session did: TRAIL, and every other VM or group that has other cards now.  To be called as long as the
 * session has the lock, so that the log has the order of the changes; also of a session that could not be opened.
 * What was logged is not logged again. */
void trail_log(struct session *session, const struct trail *trail);

/* "0=0000:08:00.0 1=0000:0a:00.0", owned by the caller; a card without id is "?=0000:08:00.0". */
char *trail_claim_cards(const struct session *session, const struct claim *claim);
/* The same of the cards that a domain wants; NULL: none. */
char *trail_wanted_cards(const struct vm_cards *cards);
