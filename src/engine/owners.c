/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation: who owns which card.
 *
 * Three witnesses, and each sees what the others miss: libvirt's status files name every
 * living domain and all that it has, hot-plugged cards too; our claims know a start before
 * QEMU exists; sysfs knows that a process holds a card open.  They are heard in this order,
 * for each domain (design section 5):
 *
 *   1. the status file of a living process says alone what its domain owns
 *   2. a claim that is starting or running, as long as core/ownership.h lets it count
 *   3. a card that is held open and that 1 and 2 do not explain has an unknown holder
 *
 * Cards on their way to a VM that runs (hot-plug) have a claim of their own, a group that is starting: it counts
 * as the claim of a VM that starts, until the VM's status file lists them.
 *
 * A claim is not void as long as its domain's own status file is there and cannot be used.
 */
#include "engine/owners.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/paths.h"
#include "engine/session.h"
#include "engine/vm_cards.h"

const char *owner_kind_text(enum owner_kind kind)
{
    static const char *const texts[] = {
        [OWNER_KIND_VM] = "vm", [OWNER_KIND_GROUP] = "group", [OWNER_KIND_STRANGER] = "unknown"};
    return texts[kind];
}

struct owner *owners_find(const struct owners *owners, const char *uuid)
{
    for (size_t i = 0; uuid[0] && i < owners->count; i++) {
        if (strcmp(owners->items[i].uuid, uuid) == 0) {
            return &owners->items[i];
        }
    }
    return NULL;
}

struct owner *owners_named(const struct owners *owners, const char *name)
{
    for (size_t i = 0; i < owners->count; i++) {
        if (owners->items[i].kind != OWNER_KIND_STRANGER && strcmp(owners->items[i].name, name) == 0) {
            return &owners->items[i];
        }
    }
    return NULL;
}

const struct holding *owners_next_holding(const struct owners *owners, int ppu, const struct holding *holding)
{
    size_t next = holding ? holding->next : owners->first[ppu];
    return next > 0 ? &owners->holdings[next - 1] : NULL;
}

static struct holding *find_holding(const struct owners *owners, const struct owner *owner, int ppu)
{
    size_t index = (size_t)(owner - owners->items);
    for (size_t next = owners->first[ppu]; next > 0; next = owners->holdings[next - 1].next) {
        if (owners->holdings[next - 1].owner == index) {
            return &owners->holdings[next - 1];
        }
    }
    return NULL;
}

bool owners_has(const struct owners *owners, const struct owner *owner, int ppu)
{
    return find_holding(owners, owner, ppu);
}

const struct owner *owners_sole(const struct owners *owners, int ppu)
{
    int number = owners->of[ppu];
    return number > OWNER_IDLE ? &owners->items[number - 1] : NULL;
}

/* What the core is told of one card. */
static void number_card(struct owners *owners, int ppu)
{
    int number = owners->held[ppu] ? OWNER_UNKNOWN : OWNER_IDLE;
    bool any = false;
    const struct holding *holding = NULL;
    while ((holding = owners_next_holding(owners, ppu, holding))) {
        if (owners->items[holding->owner].kind == OWNER_KIND_STRANGER) {
            number = OWNER_UNKNOWN;
            break;
        }
        number = any ? OWNER_SHARED : (int)holding->owner + 1;
        any = true;
    }
    owners->of[ppu] = number;
}

struct owner *owners_add(struct owners *owners, enum owner_kind kind, const char *uuid, const char *name)
{
    owners->items = memory_grow(owners->items, owners->count + 1, sizeof *owners->items);
    struct owner *owner = &owners->items[owners->count++];
    *owner = (struct owner){.kind = kind, .name = memory_copy_text(name[0] ? name : uuid)};
    snprintf(owner->uuid, sizeof owner->uuid, "%s", uuid);
    return owner;
}

/* HOLDING goes to the end of the list of its card. */
static void append_holding(struct owners *owners, struct holding holding)
{
    size_t *link = &owners->first[holding.ppu];
    while (*link > 0) {
        link = &owners->holdings[*link - 1].next;
    }
    holding.next = 0;
    owners->holdings[owners->holding_count] = holding;
    *link = ++owners->holding_count;
}

void owners_give(struct owners *owners, const struct owner *owner, int ppu, bool whole)
{
    struct holding *known = find_holding(owners, owner, ppu);
    if (known) {
        known->whole |= whole;
        return;
    }
    owners->holdings = memory_grow(owners->holdings, owners->holding_count + 1, sizeof *owners->holdings);
    append_holding(owners, (struct holding){.owner = (size_t)(owner - owners->items), .ppu = ppu, .whole = whole});
    number_card(owners, ppu);
}

void owners_take_back(struct owners *owners, const struct owner *owner)
{
    size_t index = (size_t)(owner - owners->items);
    size_t count = owners->holding_count;
    bool is_lost[PPU_MAX] = {false};
    owners->holding_count = 0;
    memset(owners->first, 0, sizeof owners->first);
    for (size_t i = 0; i < count; i++) {
        struct holding holding = owners->holdings[i];
        if (holding.owner == index) {
            is_lost[holding.ppu] = true;
        } else {
            append_holding(owners, holding);
        }
    }
    for (int ppu = 0; ppu < PPU_MAX; ppu++) {
        if (is_lost[ppu]) {
            number_card(owners, ppu);
        }
    }
}

const char *owners_text(const struct owners *owners, int ppu, char text[OWNER_TEXT_SIZE])
{
    size_t used = 0;
    const struct holding *holding = NULL;
    snprintf(text, OWNER_TEXT_SIZE, "%s", owners->of[ppu] == OWNER_UNKNOWN ? "unknown" : "idle");
    while (used < OWNER_TEXT_SIZE && (holding = owners_next_holding(owners, ppu, holding))) {
        const struct owner *owner = &owners->items[holding->owner];
        used += (size_t)snprintf(text + used, OWNER_TEXT_SIZE - used, "%s%s", used > 0 ? ", " : "",
                                 owner->kind == OWNER_KIND_STRANGER ? "unknown" : owner->name);
    }
    return text;
}

static int compare_uuids(const void *a, const void *b)
{
    return strcmp(a, b);
}

bool owners_uuids(const struct owners *owners, int ppu, char (**uuids)[UUID_SIZE], size_t *count)
{
    char(*found)[UUID_SIZE] = memory_alloc(owners->holding_count + 1, sizeof *found);
    size_t found_count = 0;
    const struct holding *holding = NULL;
    while ((holding = owners_next_holding(owners, ppu, holding))) {
        const struct owner *owner = &owners->items[holding->owner];
        if (owner->uuid[0] == '\0') {
            free(found);
            return false;
        }
        memcpy(found[found_count++], owner->uuid, UUID_SIZE);
    }
    qsort(found, found_count, sizeof *found, compare_uuids);
    *uuids = found;
    *count = found_count;
    return true;
}

void owners_free(struct owners *owners)
{
    for (size_t i = 0; i < owners->count; i++) {
        free(owners->items[i].name);
    }
    free(owners->items);
    free(owners->holdings);
    text_list_free(&owners->unresolved);
    *owners = (struct owners){0};
}

/* 1.  Each device for itself: one that cannot be told keeps no other from being owned. */
static void gather_running(struct session *session, const struct running_vm *vm)
{
    struct vm_cards cards;
    struct error err;
    struct owner *owner = NULL;
    if (vm_cards_resolve(session->machine, &vm->domain, &cards, &session->notes, &err) < 0) {
        text_list_add_copy(&session->owners.unresolved, vm->domain.uuid);
        notes_add(&session->notes, NOTE_WARNING, NOTE_STATUS, -1, vm->domain.name, "VM '%s': %s", vm->domain.name,
                  err.text);
        return;
    }
    if (vm_cards_number(session->machine, vm->domain.name, &cards, &err) < 0) {
        notes_add(&session->notes, NOTE_WARNING, NOTE_CARD, -1, vm->domain.name, "%s", err.text);
    }
    for (size_t i = 0; i < cards.count; i++) {
        if (cards.items[i].ppu < 0) {
            continue;
        }
        if (!owner) {
            owner = owners_add(&session->owners, OWNER_KIND_VM, vm->domain.uuid, vm->domain.name);
            owner->runs = true;
            owner->pid = vm->domain.pid;
        }
        owners_give(&session->owners, owner, cards.items[i].ppu, cards.items[i].whole);
    }
    vm_cards_free(&cards);
}

/* A card of the claim is held open by a process that no living domain accounts for. */
static bool holds_unexplained(const struct session *session, const struct claim *claim, const bool explained[])
{
    for (size_t i = 0; i < claim->card_count; i++) {
        int ppu = machine_ppu_at(session->machine, claim->cards[i].bdf);
        if (ppu >= 0 && session->owners.held[ppu] && !explained[ppu]) {
            return true;
        }
    }
    return false;
}

/* A group that lasts only as long as the process that it was made for. */
static bool is_bound_group(const struct claim *claim)
{
    return claim->is_group && claim->process.pid != 0;
}

static bool bound_process_lives(const struct claim *claim)
{
    return is_bound_group(claim) && process_daemon_state(claim->process) != DAEMON_GONE;
}

static bool is_reservation(const struct claim *claim)
{
    return claim->is_group && claim->phase == CLAIM_STARTING;
}

static bool all_explained(const struct session *session, const struct claim *claim, const bool explained[])
{
    for (size_t i = 0; i < claim->card_count; i++) {
        int ppu = machine_ppu_at(session->machine, claim->cards[i].bdf);
        if (ppu < 0 || !explained[ppu]) {
            return false;
        }
    }
    return true;
}

static enum claim_verdict judge_claim(const struct session *session, const struct claim *claim, const bool explained[])
{
    const struct running_vm *vm = running_vms_find(&session->running, claim->uuid);
    bool lives = vm && vm->lives;
    struct claim_facts facts = {
        .phase = claim->phase,
        .is_group = claim->is_group,
        .names_process = is_bound_group(claim),
        .has_status_file = lives && !text_list_has(&session->owners.unresolved, claim->uuid),
        .daemon = claim->has_daemon ? process_daemon_state(claim->daemon) : DAEMON_UNKNOWN,
        .age_ms = state_boottime_ms() - claim->boottime_ms,
        .start_timeout_ms = INT64_C(1000) * session->machine->settings.start_timeout,
        .holds_unexplained = holds_unexplained(session, claim, explained),
        .process_lives = claim->is_group ? bound_process_lives(claim)
                                         : lives || (claim->process.pid != 0 && process_lives(claim->process)),
    };
    if (is_reservation(claim)) {
        facts.is_group = false;
        facts.has_status_file = all_explained(session, claim, explained);
        facts.age_ms = facts.process_lives ? 0 : facts.age_ms;
    }
    return claim_judge(&facts);
}

/* Whether the claim's domain may run although no status file shows it: its own cannot be used. */
static bool may_be_hidden(const struct session *session, const struct claim *claim)
{
    CLEANUP_FREE char *file = paths_resolve(PATH_LIBVIRT_STATUS "/%s.xml", claim->name);
    bool is_over = claim->is_group || claim->phase == CLAIM_ENDED;
    for (size_t i = 0; !is_over && i < session->running.warnings.count; i++) {
        if (strstr(session->running.warnings.items[i], file)) {
            return true;
        }
    }
    return false;
}

static void gather_claim(struct session *session, struct claim *claim, const bool explained[])
{
    claim->verdict = judge_claim(session, claim, explained);
    if (claim->boottime_ms > state_boottime_ms()) {
        notes_add(&session->notes, NOTE_WARNING, NOTE_CLAIM, -1, claim->name,
                  "the claim of %s '%s' is from the future; it counts as new, and `icn-hook repair` drops it once the "
                  "VM is gone",
                  claim->is_group ? "the group" : "VM", claim->name);
    }
    if (claim->verdict == CLAIM_VOID && may_be_hidden(session, claim)) {
        claim->verdict = CLAIM_COUNTS;
    }
    if (claim->verdict == CLAIM_VOID) {
        if (session->access == SESSION_LOOK) {
            notes_add(&session->notes, NOTE_WARNING, NOTE_CLAIM, -1, claim->name,
                      "%s '%s' has ended%s; the next hook or `icn-hook repair` gives its cards back",
                      claim->is_group ? "the group" : "VM", claim->name,
                      claim->is_ended ? "" : ", or its start failed, without a call that said so");
        }
        return;
    }
    struct owner *owner = owners_find(&session->owners, claim->uuid);
    if (claim->verdict == CLAIM_COUNTS && !owner) {
        owner =
            owners_add(&session->owners, claim->is_group ? OWNER_KIND_GROUP : OWNER_KIND_VM, claim->uuid, claim->name);
    }
    if (owner) {
        owner->since = claim->since;
    }
    if (owner && bound_process_lives(claim)) {
        owner->pid = claim->process.pid;
    }
    for (size_t i = 0; claim->verdict == CLAIM_COUNTS && i < claim->card_count; i++) {
        int ppu = machine_ppu_at(session->machine, claim->cards[i].bdf);
        if (ppu >= 0) {
            owners_give(&session->owners, owner, ppu, claim->cards[i].whole);
        }
    }
}

/* 3. */
static void gather_strangers(struct session *session)
{
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        char card[CARD_TEXT_SIZE];
        char command[PROCESS_COMMAND_SIZE] = "unknown";
        pid_t pid = 0;
        if (session->owners.of[ppu] != OWNER_UNKNOWN) {
            continue;
        }
        bool is_named = process_holder_of(session->cards[ppu].state.held_group, session->cards[ppu].state.held_function,
                                          &pid, command);
        struct owner *owner = owners_add(&session->owners, OWNER_KIND_STRANGER, "", command);
        owner->pid = pid;
        owners_give(&session->owners, owner, ppu, true);
        machine_card_text(session->machine, ppu, card);
        if (is_named) {
            notes_add(&session->notes, NOTE_WARNING, NOTE_STRANGER, ppu, NULL,
                      "%s is held open through vfio by process %ld (%s), which is not a known VM; its links stay cut "
                      "until it ends",
                      card, (long)pid, command);
        } else {
            notes_add(&session->notes, NOTE_WARNING, NOTE_STRANGER, ppu, NULL,
                      "%s is held open through vfio by a process that is not a known VM; its links stay cut until it "
                      "ends",
                      card);
        }
    }
}

void owners_gather(struct session *session)
{
    struct owners *owners = &session->owners;
    bool explained[PPU_MAX] = {false};
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        owners->held[ppu] = session->cards[ppu].state.held;
        number_card(owners, ppu);
    }
    for (size_t i = 0; i < session->running.count; i++) {
        if (session->running.vms[i].lives && session->running.vms[i].domain.uuid[0]) {
            gather_running(session, &session->running.vms[i]);
        }
    }
    for (size_t i = 0; i < owners->holding_count; i++) {
        explained[owners->holdings[i].ppu] = true;
    }
    for (size_t i = 0; i < session->state.claim_count; i++) {
        gather_claim(session, &session->state.claims[i], explained);
    }
    gather_strangers(session);
    for (size_t i = 0; i < owners->count; i++) {
        const struct owner *owner = &owners->items[i];
        log_message(LOG_LEVEL_INFO, "%s %s (%s): %s", owner_kind_text(owner->kind), owner->name, owner->uuid,
                    owner->runs ? "runs" : "does not run, as far as libvirt's status files show");
    }
}
