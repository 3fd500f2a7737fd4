/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation: what happens when libvirt starts or stops a VM.
 *
 *   prepare, start      admit the domain, write its ledger entry, cut (let_through)
 *   started, reconnect  it runs: record it, cut what is missing, look for leaks (watch)
 *   stopped, release    it is gone: give back what it had (operation_end.c)
 *
 * Each takes the same path: parse, settings, topology, lock, snapshot, decide,
 * record, write registers.  A domain without host PCI devices leaves it before
 * the settings are read, one without PPUs before the topology and the lock, so
 * that no state of ours can harm it.
 */
#include "engine/operation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "engine/link_state.h"
#include "engine/operation_steps.h"
#include "engine/record.h"

bool operation_may_refuse(const char *operation)
{
    return strcmp(operation, "prepare") == 0 || strcmp(operation, "start") == 0;
}

static void log_warnings(const struct text_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        log_message(LOG_LEVEL_WARNING, "%s", list->items[i]);
    }
}

int operation_look(struct operation *op, struct error *err)
{
    if (machine_open_ledger(op->inquiry.machine, LEDGER_CHANGE, &op->ledger, err) < 0) {
        return -1;
    }
    registers_open(&op->registers, &op->inquiry.machine->settings, &op->ledger, true);
    struct error recovery;
    if (registers_recover(&op->registers, &recovery) < 0) {
        log_message(LOG_LEVEL_WARNING, "%s", recovery.text);
    }
    if (snapshot_take(op->inquiry.machine, &op->ledger, &op->snapshot, err) < 0) {
        return -1;
    }
    log_warnings(&op->snapshot->findings);
    return 0;
}

void operation_decide(struct operation *op, enum intent intent)
{
    op->decision = memory_alloc(1, sizeof *op->decision);
    op->execution = memory_alloc(1, sizeof *op->execution);
    decision_make(op->decision, op->snapshot, &op->registers, intent, op->domain.uuid, op->vm,
                  intent == INTENT_STOP ? NULL : &op->inquiry.demand);
}

/* What a register holds that a driver or QEMU keeps to itself is not known. */
static void append_write(char *line, size_t size, const struct plan_write *write, bool is_known,
                         enum apply_outcome outcome)
{
    size_t used = strlen(line);
    char from[sizeof "0x00000000"] = "unread";
    if (is_known) {
        snprintf(from, sizeof from, "0x%08x", write->from);
    }
    snprintf(line + used, size - used, " %d:%s>0x%08x%s", write->ppu, from, write->to,
             outcome == APPLY_DONE       ? ""
             : outcome == APPLY_DEFERRED ? "(deferred)"
                                         : "(failed)");
}

void operation_log_summary(const struct operation *op, const char *what)
{
    char cuts[700] = "";
    char opened[700] = "";
    const struct plan *plan = &op->decision->plan;
    for (size_t i = 0; i < plan->count && op->registers.backend->reads_back; i++) {
        bool is_cut = plan_write_cuts(&plan->writes[i]);
        bool is_known = op->snapshot->cards[plan->writes[i].ppu].reading.kind == READING_FINE;
        append_write(is_cut ? cuts : opened, sizeof cuts, &plan->writes[i], is_known, op->execution->outcomes[i]);
    }
    log_message(LOG_LEVEL_NOTICE, "%s; cut:%s; restored:%s; %lld ms", what, cuts[0] ? cuts : " nothing",
                opened[0] ? opened : " nothing", (long long)(deadline_after_ms(0) - op->began));
    log_warnings(&op->execution->warnings);
}

/* One cut end is enough, but a guest may be able to open it again: what is left
 * as it is on the other side is worth a line. */
static void warn_of_unread_far_ends(const struct operation *op)
{
    for (int ppu = 0; op->registers.backend->reads_back && ppu < op->inquiry.machine->topology.ppu_count; ppu++) {
        const struct card *card = &op->snapshot->cards[ppu];
        char text[CARD_TEXT_SIZE];
        if (card->was_read && card->reading.kind != READING_FINE && !op->decision->near[ppu]) {
            log_message(LOG_LEVEL_WARNING, "%s: %s; its own ends of the links stay as they are",
                        machine_card_text(op->inquiry.machine, ppu, text), card->reading.why);
        }
    }
}

static int let_through(struct operation *op, struct error *err)
{
    bool is_gate = strcmp(op->name, "start") == 0;
    if (op->domain.uuid[0] == '\0') {
        return error_set(err, STATUS_INVALID, "the domain's XML has no uuid");
    }
    if (operation_look(op, err) < 0 || decision_admit(op->snapshot, &op->inquiry.demand, op->domain.uuid, err) < 0) {
        return -1;
    }
    const struct tenant *self = snapshot_tenant(op->snapshot, op->domain.uuid);
    bool late = is_gate && !(self && self->entry);
    operation_decide(op, INTENT_START);
    if (decision_check_near(op->decision, op->snapshot, err) < 0 ||
        record_domain(&op->ledger, op->snapshot, op->decision, &op->registers, PHASE_PREPARED, late, err) < 0) {
        return -1;
    }
    warn_of_unread_far_ends(op);
    if (execution_run(op->execution, op->decision, op->snapshot, &op->registers, !is_gate, err) < 0) {
        return error_set(err, err->status, "%s; its links are not all cut, so correct that, then start it again",
                         err->text);
    }
    struct error cleaning;
    if (record_clean(&op->ledger, op->snapshot, op->decision, op->execution, &op->registers, op->domain.uuid,
                     &cleaning) < 0) {
        log_message(LOG_LEVEL_WARNING, "%s", cleaning.text);
    }
    operation_log_summary(op, is_gate ? "isolation verified" : "isolated");
    return 0;
}

static int find_leak(struct operation *op, struct error *err)
{
    snapshot_read_all(op->snapshot, &op->registers);
    for (int ppu = 0; ppu < op->inquiry.machine->topology.ppu_count; ppu++) {
        for (int link = 0; op->decision->near[ppu] && link < LINK_MAX; link++) {
            if (link_leaks(op->snapshot, op->decision->owners, ppu, link)) {
                char card[CARD_TEXT_SIZE];
                char owner[OWNER_TEXT_SIZE];
                int peer = op->inquiry.machine->topology.peer[ppu][link];
                return error_set(err, STATUS_CHECK_FAILED,
                                 "LEAK: link %d of %s to PPU %d (%s) is open on both sides; stop the VM", link,
                                 machine_card_text(op->inquiry.machine, ppu, card), peer,
                                 snapshot_owner_text(op->snapshot, peer, owner));
            }
        }
    }
    return 0;
}

/* The VM runs and must not be harmed.  A leak is an alarm, also when the cuts
 * that are missing can be made: until then the VM ran with it. */
static int watch(struct operation *op, struct error *err)
{
    struct error trouble;
    struct error leak;
    if (op->domain.uuid[0] == '\0') {
        return error_set(err, STATUS_INVALID, "the domain's XML has no uuid");
    }
    if (operation_look(op, err) < 0) {
        return -1;
    }
    operation_decide(op, INTENT_KEEP);
    bool leaked = find_leak(op, &leak) < 0;
    if (record_domain(&op->ledger, op->snapshot, op->decision, &op->registers, PHASE_RUNNING, true, err) < 0) {
        return -1;
    }
    if (execution_run(op->execution, op->decision, op->snapshot, &op->registers, true, &trouble) < 0) {
        log_message(LOG_LEVEL_ERROR, "%s", trouble.text);
    }
    operation_log_summary(op, "running");
    if (leaked) {
        *err = leak;
    }
    return leaked ? -1 : 0;
}

static int run(struct operation *op, const char *text, size_t length, struct error *err)
{
    if (domain_parse(text, length, "the domain's XML", &op->domain, err) < 0) {
        return error_set(err, err->status, "%s; correct the VM with virsh edit", err->text);
    }
    if (strcmp(op->name, "stopped") == 0 || strcmp(op->name, "release") == 0) {
        return operation_give_back(op, err);
    }
    int found = inquiry_make(&op->inquiry, NULL, &op->domain, err);
    if (found <= 0) {
        return found;
    }
    log_warnings(&op->inquiry.warnings);
    return operation_may_refuse(op->name) ? let_through(op, err) : watch(op, err);
}

static void clean_up(struct operation *op)
{
    if (op->execution) {
        execution_free(op->execution);
    }
    free(op->execution);
    free(op->decision);
    snapshot_free(op->snapshot);
    registers_close(&op->registers);
    ledger_close(&op->ledger);
    inquiry_free(&op->inquiry);
    domain_free(&op->domain);
}

enum status operation_run(const char *vm, const char *operation, const char *text, size_t length, struct error *err)
{
    static const char *const handled[] = {"prepare", "start", "started", "stopped", "release", "reconnect"};
    bool known = false;
    for (size_t i = 0; i < sizeof handled / sizeof handled[0]; i++) {
        known |= strcmp(operation, handled[i]) == 0;
    }
    if (!known) {
        return STATUS_OK;
    }
    struct operation op = {
        .vm = vm, .name = operation, .began = deadline_after_ms(0), .ledger = {.dirfd = -1, .lockfd = -1}};
    enum status status = STATUS_OK;
    if (run(&op, text, length, err) < 0) {
        bool may_refuse = operation_may_refuse(operation);
        bool kills = strcmp(operation, "started") == 0 && err->status == STATUS_CHECK_FAILED && op.inquiry.machine &&
                     op.inquiry.machine->settings.on_leak == LEAK_KILL;
        if (may_refuse) {
            error_wrap(err, "icn-hook: VM '%s' is not started", vm);
        }
        log_message(LOG_LEVEL_ERROR, "%s", err->text);
        status = may_refuse || kills ? err->status : STATUS_OK;
    }
    clean_up(&op);
    return status;
}
