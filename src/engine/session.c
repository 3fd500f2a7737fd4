/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/session.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/memory.h"

int session_open(struct session *session, struct machine *machine, enum ledger_access access, struct error *err)
{
    bool may_write = access == LEDGER_CHANGE;
    struct error recovery;
    session->machine = machine;
    if (machine_open_ledger(machine, access, &session->ledger, err) < 0) {
        return -1;
    }
    registers_open(&session->registers, &machine->settings, may_write ? &session->ledger : NULL, may_write);
    if (registers_recover(&session->registers, &recovery) < 0) {
        log_message(LOG_LEVEL_WARNING, "%s", recovery.text);
    }
    return snapshot_take(machine, &session->ledger, &session->snapshot, err);
}

static void forget_decision(struct session *session)
{
    if (session->execution) {
        execution_free(session->execution);
    }
    free(session->execution);
    free(session->decision);
    session->execution = NULL;
    session->decision = NULL;
}

void session_close(struct session *session)
{
    forget_decision(session);
    snapshot_free(session->snapshot);
    registers_close(&session->registers);
    ledger_close(&session->ledger);
    *session = SESSION_CLOSED;
}

int session_look_again(struct session *session, struct error *err)
{
    struct snapshot *newer;
    if (snapshot_take(session->machine, &session->ledger, &newer, err) < 0) {
        return -1;
    }
    snapshot_free(session->snapshot);
    session->snapshot = newer;
    return 0;
}

void session_decide(struct session *session, enum intent intent, const char *uuid, const char *name,
                    const struct demand *demand)
{
    forget_decision(session);
    session->decision = memory_alloc(1, sizeof *session->decision);
    session->execution = memory_alloc(1, sizeof *session->execution);
    decision_make(session->decision, session->snapshot, &session->registers, intent, uuid, name, demand);
}

int session_record(const struct session *session, enum ledger_phase phase, bool late, struct error *err)
{
    return record_domain(&session->ledger, session->snapshot, session->decision, &session->registers, phase, late, err);
}

int session_execute(struct session *session, bool may_defer, struct error *err)
{
    return execution_run(session->execution, session->decision, session->snapshot, &session->registers, may_defer, err);
}

int session_clean(const struct session *session, const char *keep_uuid, struct error *err)
{
    return record_clean(&session->ledger, session->snapshot, session->decision, session->execution, &session->registers,
                        keep_uuid, err);
}
