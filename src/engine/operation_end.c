/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation: the end of a VM.
 *
 * What is given back stands in the ledger, under the domain's uuid, and nowhere
 * in the XML: that of a domain that was refused lists cards of another one.
 * `stopped` marks the entry as ended, which makes the cards idle, and restores
 * them; `release` does what `stopped` could not and drops the entry.  Both may be
 * missing, be killed or find no settings: an ended entry is brought back by
 * whatever operation comes next.
 */
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/paths.h"
#include "engine/operation_steps.h"
#include "engine/recovery.h"

/* Whether the ledger has a file of the domain.  Looked at without the lock:
 * only the domain's own hooks, which libvirt calls one after the other, write
 * it. */
static bool ledger_knows(const char *uuid)
{
    CLEANUP_FREE char *path = paths_resolve(PATH_LEDGER "/%s.json", uuid);
    return access(path, F_OK) == 0;
}

static int end_unseen(struct operation *op, struct error *err)
{
    struct settings defaults;
    struct ledger_content content;
    settings_default(&defaults);
    int64_t deadline = deadline_after_ms(INT64_C(1000) * defaults.lock_timeout);
    struct ledger *ledger = &op->session.ledger;
    if (ledger_open(ledger, LEDGER_CHANGE, deadline, err) < 0 || ledger_read(ledger, &content, err) < 0) {
        return -1;
    }
    int result = 0;
    for (size_t i = 0; i < content.entry_count; i++) {
        if (strcmp(content.entries[i].uuid, op->domain.uuid) == 0) {
            result = record_end(ledger, &content.entries[i], err);
        }
    }
    ledger_content_free(&content);
    return result;
}

/* Settings or topology are broken (ERR), so no register can be written.  The
 * domain must not stay the owner of its cards for that: its entry becomes one
 * whose registers a later operation brings back. */
static int only_end(struct operation *op, struct error *err)
{
    struct error trouble;
    if (end_unseen(op, &trouble) < 0) {
        log_message(LOG_LEVEL_ERROR, "%s", trouble.text);
    }
    return error_set(err, err->status, "%s; the cuts of the VM's cards stay until that is corrected", err->text);
}

/* The domain is gone, and so is the use of an entry of it that makes no sense.  One
 * that only could not be read this time still holds what its cards get back. */
static int remove_senseless(const struct operation *op, struct error *err)
{
    for (size_t i = 0; i < op->session.snapshot->ledger.fault_count; i++) {
        const struct ledger_fault *fault = &op->session.snapshot->ledger.faults[i];
        if (strcmp(fault->uuid, op->domain.uuid) == 0 && fault->error.status == STATUS_INVALID) {
            return ledger_remove(&op->session.ledger, op->domain.uuid, err);
        }
    }
    return 0;
}

/* Without it the rest is given back all the same. */
static int complete_entry(struct operation *op, struct error *err)
{
    bool completed = false;
    struct error trouble;
    struct session *session = &op->session;
    if (recovery_complete(&session->ledger, session->snapshot, &session->registers, op->domain.uuid, op->vm, &completed,
                          &trouble) < 0) {
        log_message(LOG_LEVEL_WARNING, "%s", trouble.text);
    }
    if (!completed) {
        return 0;
    }
    log_message(LOG_LEVEL_WARNING, "the ledger did not know the masks from before the VM; the cuts that it needed are "
                                   "taken to be ours");
    return session_look_again(&op->session, err);
}

/* The XML's devices only tell whether the stop can be of interest at all. */
int operation_give_back(struct operation *op, struct error *err)
{
    bool is_last = strcmp(op->name, "release") == 0;
    if (op->domain.uuid[0] == '\0') {
        return error_set(err, STATUS_INVALID, "the domain's XML has no uuid");
    }
    if (ledger_knows(op->domain.uuid)) {
        if (machine_open(NULL, &op->inquiry.machine, err) < 0 || machine_survey(op->inquiry.machine, err) < 0) {
            return only_end(op, err);
        }
    } else {
        int found = inquiry_make(&op->inquiry, NULL, &op->domain, err);
        if (found <= 0) {
            return found;
        }
    }
    if (operation_look(op, err) < 0) {
        return -1;
    }
    if (complete_entry(op, err) < 0) {
        return -1;
    }
    const struct tenant *self = snapshot_tenant(op->session.snapshot, op->domain.uuid);
    if (self && self->entry && self->entry->phase != PHASE_ENDED &&
        record_end(&op->session.ledger, self->entry, err) < 0) {
        return -1;
    }
    operation_decide(op, INTENT_STOP);
    if (session_execute(&op->session, true, err) < 0) {
        return -1;
    }
    if (session_clean(&op->session, is_last ? NULL : op->domain.uuid, err) < 0) {
        return -1;
    }
    if (is_last && remove_senseless(op, err) < 0) {
        return -1;
    }
    operation_log_summary(op, is_last ? "released" : "stopped");
    return 0;
}
