/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation: what happens when libvirt starts or stops a VM.
 *
 *   prepare, start      admit the domain, record its claim, cut; start reads back what was cut (let_through)
 *   started, reconnect  it runs: record it, cut what is missing, look for leaks (watch)
 *   stopped, release    it is gone: its claim ends, its cards get back what they had (give_back)
 *   plan (a verb)       the path of prepare in a session that looks: nothing is recorded or written
 *
 * Each takes the same path: parse, which of our cards, session (topology, lock, who owns what), policy,
 * record the intent, write, record the result.  A domain without host PCI devices leaves it before
 * the settings are read, one without PPUs before the topology and the lock, so that no state of
 * ours can harm it.
 *
 * What ends is what the claim says, under the domain's uuid, never what the XML says: that of a domain
 * that was refused lists cards of another one.  An end is never lost: if it cannot be recorded under
 * the lock it is noted without (base/hook_call.h), and the next call that has the lock carries it out.
 */
#include "engine/vm_events.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "engine/links.h"
#include "engine/record.h"
#include "engine/trail.h"

/* One call by libvirt on its way. */
struct vm_event {
    const char *vm;
    const char *operation;
    struct domain domain;
    struct machine *machine; /* until the session has it */
    struct vm_cards cards;
    struct session session;
    struct turn turn;
    struct notes notes; /* from before the session */
    bool has_daemon;
    struct process_identity daemon; /* that called, if it is known */
    struct trail trail;             /* what it is logged as; WHAT is NULL as long as nothing was done */
};

bool vm_event_may_refuse(const char *operation)
{
    return strcmp(operation, "prepare") == 0 || strcmp(operation, "start") == 0;
}

/* A daemon that was killed leaves its hooks behind, and its successor may be at work for the same domain
 * already: what such a hook would still do comes too late. */
static int check_daemon(const struct vm_event *event, struct error *err)
{
    if (event->has_daemon && process_daemon_state(event->daemon) == DAEMON_GONE) {
        return error_set(err, STATUS_BUSY,
                         "the libvirt daemon that called this hook (pid %ld) has ended; nothing was done",
                         (long)event->daemon.pid);
    }
    return 0;
}

/* The ids are those of this boot, and the configuration has others now. */
static void take_old_ids(struct session *session, const char *name, struct vm_cards *cards)
{
    struct error trouble;
    if (session->has_old_identity && vm_cards_number(session->machine, name, cards, &trouble) < 0) {
        notes_add(&session->notes, NOTE_WARNING, NOTE_CARD, -1, name, "%s", trouble.text);
    }
}

static int event_open_session(struct vm_event *event, struct error *err)
{
    struct machine *machine = event->machine;
    event->machine = NULL;
    if (session_open(&event->session, machine, SESSION_CHANGE, err) < 0) {
        return -1;
    }
    event->session.has_daemon = event->has_daemon;
    event->session.daemon = event->daemon;
    take_old_ids(&event->session, event->vm, &event->cards);
    return check_daemon(event, err);
}

/* The domain becomes the owner of just the cards that its XML lists.  What it had before goes back. */
static struct owner *take_cards(struct session *session, const char *name, const char *uuid,
                                const struct vm_cards *cards, struct turn *turn)
{
    struct owner *owner = owners_find(&session->owners, uuid);
    if (!owner) {
        owner = owners_add(&session->owners, OWNER_KIND_VM, uuid, name);
    }
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        turn->given_back[ppu] |= owners_has(&session->owners, owner, ppu);
    }
    owners_take_back(&session->owners, owner);
    for (size_t i = 0; i < cards->count; i++) {
        int ppu = cards->items[i].ppu;
        if (ppu >= 0) {
            turn->near[ppu] = true;
            turn->given_back[ppu] = false;
            owners_give(&session->owners, owner, ppu, cards->items[i].whole);
        }
    }
    return owner;
}

/* Up to where nothing is changed yet: what prepare, start and plan share. */
static int decide_start(struct session *session, const char *name, const char *uuid, const struct vm_cards *cards,
                        struct turn *turn, struct owner **owner, struct error *err)
{
    const struct applicant applicant = {.uuid = uuid};
    bool near[PPU_MAX] = {false};
    if (session->identity_doubt.status != STATUS_OK) {
        return policy_admit_doubt(session, &applicant, err);
    }
    for (size_t i = 0; i < cards->count; i++) {
        const struct vm_card *card = &cards->items[i];
        if (card->ppu >= 0) {
            near[card->ppu] = true;
        }
        if (card->ppu >= 0 && policy_admit(session, &applicant, card->ppu, card->whole, err) < 0) {
            return -1;
        }
    }
    if (policy_admit_doubt(session, &applicant, err) < 0 || policy_admit_confirmed(session, near, err) < 0) {
        return -1;
    }
    if (record_catch_up(session, turn, err) < 0) {
        return -1;
    }
    turn->intent = INTENT_START;
    *owner = take_cards(session, name, uuid, cards, turn);
    policy_decide(session, turn);
    session_note_unread(session, turn->near);
    return policy_check_near(session, turn, applicant.by_hand, err);
}

static int check_uuid(const struct domain *domain, struct error *err)
{
    return domain->uuid[0] ? 0 : error_set(err, STATUS_INVALID, "the domain's XML has no uuid");
}

static int let_through(struct vm_event *event, struct error *err)
{
    bool is_gate = strcmp(event->operation, "start") == 0;
    struct session *session = &event->session;
    struct owner *owner;
    if (event_open_session(event, err) < 0) {
        return -1;
    }
    const struct claim *claim = state_claim(&session->state, event->domain.uuid);
    event->turn.late = is_gate && (!claim || claim->verdict == CLAIM_VOID);
    if (decide_start(session, event->vm, event->domain.uuid, &event->cards, &event->turn, &owner, err) < 0 ||
        record_claim(session, owner, CLAIM_ADMITTED, !is_gate, err) < 0 ||
        record_intent(session, &event->turn, err) < 0) {
        return -1;
    }
    if (session_write(session, event->turn.given_back, !is_gate, false, err) < 0) {
        return error_append(err, "; its links are not all cut, so correct that, then start it again");
    }
    if (record_result(session, &event->turn, is_gate, err) < 0) {
        return -1;
    }
    event->trail.event = is_gate ? EVENT_VERIFIED : EVENT_CARDS_GIVEN;
    event->trail.what = is_gate ? "isolation verified" : "isolated";
    return 0;
}

static int find_leak(struct vm_event *event, struct error *err)
{
    struct session *session = &event->session;
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        for (int link = 0; event->turn.near[ppu] && link < LINK_MAX; link++) {
            char card[CARD_TEXT_SIZE];
            char owner[OWNER_TEXT_SIZE];
            int peer = session->machine->topology.peer[ppu][link];
            if (peer == NO_PEER || link_look(session, ppu, link).verdict != VERDICT_LEAK) {
                continue;
            }
            if (peer == EXTERNAL_PEER) {
                return error_set(err, STATUS_CHECK_FAILED, "LEAK: external link %d of %s was open while the VM ran",
                                 link, machine_card_text(session->machine, ppu, card));
            }
            return error_set(
                err, STATUS_CHECK_FAILED, "LEAK: link %d of %s to PPU %d (%s) was open on both sides while the VM ran",
                link, machine_card_text(session->machine, ppu, card), peer, owners_text(&session->owners, peer, owner));
        }
    }
    return 0;
}

/* The VM runs and must not be harmed.  A leak is an alarm, also when the cuts that are missing can
 * be made: until then the VM ran with it. */
static int watch(struct vm_event *event, struct error *err)
{
    struct session *session = &event->session;
    struct error leak;
    struct error trouble;
    if (event_open_session(event, err) < 0) {
        return -1;
    }
    event->turn.intent = strcmp(event->operation, "started") == 0 ? INTENT_WATCH : INTENT_ADOPT;
    event->turn.late = true;
    if (event->turn.intent == INTENT_ADOPT && record_catch_up(session, &event->turn, err) < 0) {
        return -1;
    }
    struct owner *owner = owners_find(&session->owners, event->domain.uuid);
    if (!owner || !owner->runs) {
        owner = take_cards(session, event->vm, event->domain.uuid, &event->cards, &event->turn);
    }
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        event->turn.near[ppu] = owners_has(&session->owners, owner, ppu);
    }
    policy_decide(session, &event->turn);
    bool leaked = find_leak(event, &leak) < 0;
    /* Only what a status file shows has been seen to run. */
    bool is_known = state_claim(&session->state, event->domain.uuid);
    if (((owner->runs || !is_known) &&
         record_claim(session, owner, owner->runs ? CLAIM_SEEN : CLAIM_ADMITTED, false, err) < 0) ||
        record_intent(session, &event->turn, err) < 0) {
        return -1;
    }
    if (session_write(session, event->turn.given_back, true, true, &trouble) < 0) {
        notes_add(&session->notes, NOTE_ERROR, NOTE_CARD, -1, event->vm, "%s", trouble.text);
    }
    if (record_result(session, &event->turn, false, err) < 0) {
        return -1;
    }
    event->trail.event = EVENT_RUNNING;
    event->trail.what = "running";
    if (leaked) {
        *err = leak;
    }
    return leaked ? -1 : 0;
}

/* The domain as the owner of what it had: by its claim, else, where that was lost, by the status file
 * that libvirt still keeps at `stopped`.  One that was refused has neither. */
static struct owner *find_what_it_had(struct vm_event *event, const struct running_vm *vm)
{
    struct session *session = &event->session;
    const struct claim *claim = state_claim(&session->state, event->domain.uuid);
    struct vm_cards had = {0};
    struct error trouble;
    if (claim) {
        return record_restore_owner(session, claim);
    }
    if (vm && (vm_cards_resolve(session->machine, &vm->domain, &had, &session->notes, &trouble) < 0 ||
               vm_cards_number(session->machine, event->vm, &had, &trouble) < 0)) {
        notes_add(&session->notes, NOTE_WARNING, NOTE_CARD, -1, event->vm, "%s", trouble.text);
    }
    struct owner *owner = take_cards(session, event->vm, event->domain.uuid, &had, &event->turn);
    memset(event->turn.near, 0, sizeof event->turn.near);
    vm_cards_free(&had);
    return owner;
}

static int end_claim(struct vm_event *event, struct error *err)
{
    struct session *session = &event->session;
    const struct running_vm *vm = running_vms_find(&session->running, event->domain.uuid);
    const struct owner *living = vm && vm->lives ? owners_find(&session->owners, event->domain.uuid) : NULL;
    if (vm && vm->lives) {
        /* libvirt goes on although QEMU survived its kill (qemuProcessStop ignores that): the domain lives as long
         * as its process. */
        notes_add(&session->notes, NOTE_WARNING, NOTE_CLAIM, -1, event->vm,
                  "VM '%s' was stopped but its process %ld lives; its cards stay isolated until that ends", event->vm,
                  (long)vm->domain.pid);
        event->trail.event = EVENT_RUNNING;
        event->trail.what = living ? "still running" : NULL;
        return living ? record_claim(session, living, CLAIM_SEEN, false, err) : 0;
    }
    const struct state_fault *unread = state_unread_claim(&session->state, event->domain.uuid);
    if (unread) {
        *err = unread->error;
        return -1;
    }
    if (record_end(session, find_what_it_had(event, vm), &event->turn, err) < 0 ||
        record_catch_up(session, &event->turn, err) < 0) {
        return -1;
    }
    event->turn.intent = INTENT_END;
    event->turn.comes_again = strcmp(event->operation, "stopped") == 0 ? event->domain.uuid : NULL;
    policy_decide(session, &event->turn);
    if (record_intent(session, &event->turn, err) < 0 ||
        session_write(session, event->turn.given_back, true, true, err) < 0 ||
        record_result(session, &event->turn, false, err) < 0) {
        return -1;
    }
    event->trail.event = EVENT_ENDED;
    event->trail.what = strcmp(event->operation, "release") == 0 ? "released" : "stopped";
    return 0;
}

/* The end could not be carried out.  The domain must not stay the owner of its cards for that.  Returns -1. */
static int event_note_end(const struct vm_event *event, struct error *err)
{
    struct error trouble;
    if (check_daemon(event, err) < 0) {
        return -1;
    }
    if (state_mark_ended(event->domain.uuid, &trouble) < 0) {
        return error_append(err, "; its end could not be noted either: %s", trouble.text);
    }
    return error_append(err, "; its end is noted, and the next hook or `icn-hook repair` carries it out");
}

/* The XML's devices only tell whether the stop can be of interest at all. */
static int give_back(struct vm_event *event, struct error *err)
{
    if (state_knows(event->domain.uuid)) {
        if (machine_open(NULL, &event->machine, err) < 0 || machine_survey(event->machine, err) < 0) {
            event_note_end(event, err);
            return error_append(err, "; the cuts of the VM's cards stay until that is corrected");
        }
    } else {
        int found = vm_cards_find(NULL, &event->domain, &event->machine, &event->cards, &event->notes, err);
        if (found <= 0) {
            return found;
        }
    }
    if (event_open_session(event, err) < 0 || end_claim(event, err) < 0) {
        return event_note_end(event, err);
    }
    return 0;
}

static void note_warnings(const struct domain *domain, struct notes *notes)
{
    for (size_t i = 0; i < domain->warnings.count; i++) {
        notes_add(notes, NOTE_WARNING, NOTE_INPUT, -1, domain->name, "%s", domain->warnings.items[i]);
    }
}

static int event_run(struct vm_event *event, const char *text, size_t length, struct error *err)
{
    bool is_end = strcmp(event->operation, "stopped") == 0 || strcmp(event->operation, "release") == 0;
    if (domain_parse(text, length, "the domain's XML", &event->domain, err) < 0) {
        return error_append(err, "; correct the VM with virsh edit");
    }
    note_warnings(&event->domain, &event->notes);
    if (is_end) {
        return check_uuid(&event->domain, err) < 0 ? -1 : give_back(event, err);
    }
    int found = vm_cards_find(NULL, &event->domain, &event->machine, &event->cards, &event->notes, err);
    if (found <= 0) {
        return found;
    }
    if (check_uuid(&event->domain, err) < 0) {
        return -1;
    }
    return vm_event_may_refuse(event->operation) ? let_through(event, err) : watch(event, err);
}

/* ERR: what went wrong, or NULL.  A leak that `started` finds does not keep it from its work. */
static void event_log(struct vm_event *event, const struct error *err)
{
    bool may_refuse = vm_event_may_refuse(event->operation);
    CLEANUP_FREE char *wanted = may_refuse ? trail_wanted_cards(&event->cards) : NULL;
    struct trail *trail = &event->trail;
    trail->uuid = event->domain.uuid[0] ? event->domain.uuid : NULL;
    if (trail->what) {
        trail_log(&event->session, trail);
    }
    if (err) {
        trail->event = trail->what ? EVENT_LEAK : may_refuse ? EVENT_REFUSED : EVENT_FAILED;
        trail->cards = wanted;
        trail->err = err;
        trail->what = NULL;
        trail_log(&event->session, trail);
    }
}

enum status vm_event_run(const char *vm, const char *operation, const char *text, size_t length, struct error *err)
{
    static const char *const handled[] = {"prepare", "start", "started", "stopped", "release", "reconnect"};
    bool is_handled = false;
    for (size_t i = 0; i < sizeof handled / sizeof handled[0]; i++) {
        is_handled |= strcmp(operation, handled[i]) == 0;
    }
    if (!is_handled) {
        return STATUS_OK;
    }
    CLEANUP_FREE struct vm_event *event = memory_alloc(1, sizeof *event);
    enum status status = STATUS_OK;
    *event = (struct vm_event){.vm = vm, .operation = operation, .session = {.state = STATE_CLOSED}};
    event->trail = (struct trail){.name = vm, .began = deadline_after_ms(0)};
    event->has_daemon = process_daemon_behind_call(&event->daemon);
    int result = event_run(event, text, length, err);
    if (result < 0) {
        bool may_refuse = vm_event_may_refuse(operation);
        /* A failing `started` has libvirt kill the VM. */
        bool kills = strcmp(operation, "started") == 0 && err->status == STATUS_CHECK_FAILED &&
                     event->session.machine && event->session.machine->settings.on_leak == LEAK_KILL;
        if (may_refuse) {
            error_wrap(err, "icn-hook: VM '%s' is not started", vm);
        }
        status = may_refuse || kills ? err->status : STATUS_OK;
    }
    event_log(event, result < 0 ? err : NULL);
    if (event->session.is_open) {
        session_unlock(&event->session);
    }
    notes_log(&event->notes);
    notes_log(&event->session.notes);
    session_close(&event->session);
    machine_close(event->machine);
    vm_cards_free(&event->cards);
    notes_free(&event->notes);
    domain_free(&event->domain);
    return status;
}

int vm_plan_make(struct vm_plan *plan, const char *config, const struct domain *domain, struct error *err)
{
    struct machine *machine;
    struct owner *owner = NULL;
    *plan = (struct vm_plan){.session = {.state = STATE_CLOSED}};
    note_warnings(domain, &plan->notes);
    int found = vm_cards_find(config, domain, &machine, &plan->cards, &plan->notes, err);
    if (found <= 0) {
        machine_close(machine);
        return found;
    }
    if (check_uuid(domain, err) < 0) {
        machine_close(machine);
        return -1;
    }
    if (session_open(&plan->session, machine, SESSION_LOOK, err) < 0) {
        return -1;
    }
    take_old_ids(&plan->session, domain->name, &plan->cards);
    plan->turn = memory_alloc(1, sizeof *plan->turn);
    int result = decide_start(&plan->session, domain->name, domain->uuid, &plan->cards, plan->turn, &owner, err);
    session_unlock(&plan->session);
    if (!owner) {
        memory_free_pointer(&plan->turn);
        plan->turn = NULL;
    }
    plan->isolates = result == 0;
    return result;
}

void vm_plan_free(struct vm_plan *plan)
{
    session_close(&plan->session);
    vm_cards_free(&plan->cards);
    notes_free(&plan->notes);
    memory_free_pointer(&plan->turn);
}
