/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/record.h"

/*
 * One turn at the host, from the ledger's lock to its release: the steps that
 * hook operations and manual verbs share.  What is done for one domain or group
 * is look, decide, record, execute, clean, in that order; a session may do it for
 * several, one after the other.
 */
struct session {
    struct machine *machine; /* borrowed */
    struct ledger ledger;
    struct registers registers;
    struct snapshot *snapshot;   /* NULL before session_open */
    struct decision *decision;   /* NULL before session_decide */
    struct execution *execution; /* its outcomes, after session_execute */
};

/* A session that session_close may close, whether it was opened or not. */
#define SESSION_CLOSED ((struct session){.ledger = {.dirfd = -1, .lockfd = -1}})

/* Locks, then looks: nothing that was seen can change before it is acted on.  With
 * LEDGER_LOOK nothing is created or changed, not even memory decoding.  MACHINE is
 * surveyed already.  SESSION is to be closed in each case. */
MUST_CHECK int session_open(struct session *session, struct machine *machine, enum ledger_access access,
                            struct error *err);
void session_close(struct session *session);

/* Looks again, after the ledger or registers were changed. */
MUST_CHECK int session_look_again(struct session *session, struct error *err);

/* See decision_make. */
void session_decide(struct session *session, enum intent intent, const char *uuid, const char *name,
                    const struct demand *demand);

/* See record_domain, execution_run and record_clean. */
MUST_CHECK int session_record(const struct session *session, enum ledger_phase phase, bool late, struct error *err);
MUST_CHECK int session_execute(struct session *session, bool may_defer, struct error *err);
MUST_CHECK int session_clean(const struct session *session, const char *keep_uuid, struct error *err);
