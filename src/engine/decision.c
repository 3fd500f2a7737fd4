/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/decision.h"

#include <string.h>

/* For each card, the first claims of other domains: one that keeps the whole
 * card from being taken, and one that keeps a part of it from being taken. */
struct obstacles {
    const struct claim *to_whole[PPU_MAX];
    const struct claim *to_part[PPU_MAX];
};

static void find_obstacles(struct obstacles *obstacles, const struct snapshot *snapshot, const char *uuid)
{
    memset(obstacles, 0, sizeof *obstacles);
    for (size_t i = 0; i < snapshot->claim_count; i++) {
        const struct claim *claim = &snapshot->claims[i];
        if (strcmp(snapshot->tenants[claim->tenant].uuid, uuid) == 0) {
            continue;
        }
        if (!obstacles->to_whole[claim->ppu]) {
            obstacles->to_whole[claim->ppu] = claim;
        }
        if (claim->whole && !obstacles->to_part[claim->ppu]) {
            obstacles->to_part[claim->ppu] = claim;
        }
    }
}

/* What whoever wants the card can do instead. */
static const char *other_card(bool by_hand)
{
    return by_hand ? "choose another card" : "give the VM another card";
}

static int refuse_owned(const struct snapshot *snapshot, int ppu, const struct tenant *owner, bool by_hand,
                        struct error *err)
{
    char card[CARD_TEXT_SIZE];
    machine_card_text(snapshot->machine, ppu, card);
    if (owner->manual) {
        return error_set(err, STATUS_CONFLICT,
                         "%s is in the group '%s', which was isolated by hand; end that with `icn-hook release %s`, or "
                         "%s",
                         card, owner->name, owner->name, other_card(by_hand));
    }
    return error_set(err, STATUS_CONFLICT, "%s is owned by VM '%s' (%s), which %s; stop that VM or %s", card,
                     owner->name, owner->uuid, owner->running ? "runs" : "is being started or stopped",
                     by_hand ? other_card(by_hand) : "give this one another card");
}

static int admit_device(const struct snapshot *snapshot, const struct demand_device *device,
                        const struct obstacles *obstacles, const struct tenant *self, bool by_hand, struct error *err)
{
    char card[CARD_TEXT_SIZE];
    const struct claim *obstacle = device->whole ? obstacles->to_whole[device->ppu] : obstacles->to_part[device->ppu];
    if (!snapshot->cards[device->ppu].state.present) {
        return error_set(err, STATUS_HARDWARE, "%s is not on the PCI bus; see dmesg, rescan the bus or %s",
                         machine_card_text(snapshot->machine, device->ppu, card), other_card(by_hand));
    }
    if (obstacle) {
        return refuse_owned(snapshot, device->ppu, &snapshot->tenants[obstacle->tenant], by_hand, err);
    }
    bool self_runs = self && (self->running || (self->manual && self->alive));
    bool held_by_stranger = snapshot->cards[device->ppu].unknown_holder ||
                            (device->whole && snapshot->cards[device->ppu].held && !self_runs);
    if (held_by_stranger) {
        return error_set(err, STATUS_CONFLICT,
                         "%s is held open through vfio by a process that is no running VM; end it (fuser /dev/vfio/* "
                         "names it) or %s",
                         machine_card_text(snapshot->machine, device->ppu, card), other_card(by_hand));
    }
    return 0;
}

int decision_admit(const struct snapshot *snapshot, const struct demand *demand, const char *uuid, struct error *err)
{
    const struct tenant *self = snapshot_tenant(snapshot, uuid);
    struct obstacles obstacles;
    find_obstacles(&obstacles, snapshot, uuid);
    for (size_t i = 0; i < demand->count; i++) {
        const struct demand_device *device = &demand->devices[i];
        if (device->ppu >= 0 && admit_device(snapshot, device, &obstacles, self, demand->by_hand, err) < 0) {
            return -1;
        }
    }
    const struct error *doubt = snapshot_doubt(snapshot, uuid);
    if (doubt) {
        *err = *doubt;
        return -1;
    }
    return 0;
}

int decision_own_number(const struct snapshot *snapshot)
{
    return (int)snapshot->tenant_count + 1;
}

/* The owners once the domain has, or has no longer, its cards. */
static void decide_owners(struct decision *decision, const struct snapshot *snapshot)
{
    const struct tenant *self = snapshot_tenant(snapshot, decision->uuid);
    int self_number = self ? (int)(self - snapshot->tenants) + 1 : 0;
    int count = snapshot->machine->topology.ppu_count;
    int others[PPU_MAX] = {0};
    for (size_t i = 0; i < snapshot->claim_count; i++) {
        const struct claim *claim = &snapshot->claims[i];
        bool stays = (int)claim->tenant + 1 != self_number ||
                     (decision->intent == INTENT_STOP && snapshot->cards[claim->ppu].held);
        if (stays) {
            int *owner = &others[claim->ppu];
            *owner = *owner == OWNER_IDLE ? (int)claim->tenant + 1 : OWNER_SHARED;
        }
    }
    for (int ppu = 0; ppu < count; ppu++) {
        int *owner = &decision->owners[ppu];
        *owner = others[ppu];
        if (decision->near[ppu]) {
            *owner = others[ppu] == OWNER_IDLE ? decision_own_number(snapshot) : OWNER_SHARED;
        }
        if (snapshot->cards[ppu].unknown_holder ||
            (decision->intent != INTENT_STOP && snapshot->cards[ppu].held && *owner == OWNER_IDLE)) {
            *owner = OWNER_UNKNOWN;
        }
    }
}

/* The bits of PPU's links whose other end the domain takes. */
static uint32_t links_to_near(const struct decision *decision, const struct topology *topology, int ppu)
{
    uint32_t bits = 0;
    for (int link = 0; link < LINK_MAX; link++) {
        int peer = topology->peer[ppu][link];
        if (peer != NO_PEER && decision->near[peer]) {
            bits |= UINT32_C(1) << link;
        }
    }
    return bits;
}

/* A card of the domain.  While a driver holds its registers they count as wide
 * open: the write is then planned, and tried. */
static struct plan_goal near_goal(const struct decision *decision, const struct card *card, uint32_t required)
{
    uint32_t now = card->reading.kind == READING_FINE ? card->reading.mask : 0;
    uint32_t want = decision->intent == INTENT_START ? required : now | required;
    return (struct plan_goal){.role = ROLE_NEAR, .now = now, .want = want};
}

/* The links of an idle card whose cuts this operation makes: a start makes those
 * that face its domain, a stop all of a card that it gives back, because the
 * domain's end may have reset the card and so opened its links to other domains. */
static uint32_t links_in_reach(const struct decision *decision, const struct topology *topology, int ppu)
{
    return decision->intent == INTENT_STOP ? topology_links(topology, ppu) : links_to_near(decision, topology, ppu);
}

/* An idle card.  Its own old value is the aim; cuts that the rule wants are made
 * where they are in reach and kept where they stand. */
static struct plan_goal idle_goal(const struct decision *decision, const struct snapshot *snapshot, int ppu,
                                  uint32_t required)
{
    const struct card *card = &snapshot->cards[ppu];
    const struct settings *settings = &snapshot->machine->settings;
    const struct topology *topology = &snapshot->machine->topology;
    uint32_t now = card->reading.mask;
    uint32_t facing = settings->far_end == FAR_END_CUT ? links_in_reach(decision, topology, ppu) : 0;
    uint32_t original = card->has_original ? card->original : now;
    uint32_t want = original | (required & (now | facing));
    if (settings->idle == IDLE_ISOLATE) {
        want = topology_links(topology, ppu);
    } else if (snapshot_doubt(snapshot, decision->uuid) || decision->intent == INTENT_KEEP) {
        want |= now;
    }
    return (struct plan_goal){.role = ROLE_FAR, .now = now, .want = want};
}

/* A card that other VMs have through virtual functions or mediated devices.  Its own
 * registers stay with the host, so cuts that the rule wants are made there too. */
static struct plan_goal shared_goal(const struct decision *decision, const struct snapshot *snapshot, int ppu,
                                    uint32_t required)
{
    uint32_t now = snapshot->cards[ppu].reading.mask;
    uint32_t facing = links_to_near(decision, &snapshot->machine->topology, ppu);
    return (struct plan_goal){.role = ROLE_FAR, .now = now, .want = now | (required & facing)};
}

static bool is_passed_whole(const struct snapshot *snapshot, int ppu)
{
    for (size_t i = 0; i < snapshot->claim_count; i++) {
        if (snapshot->claims[i].ppu == ppu && snapshot->claims[i].whole) {
            return true;
        }
    }
    return false;
}

/* Whether a card that is neither idle nor the domain's is within this decision's reach. */
static bool concerns_shared(const struct decision *decision, const struct snapshot *snapshot, int ppu)
{
    return decision->owners[ppu] != OWNER_IDLE && decision->owners[ppu] != OWNER_UNKNOWN &&
           snapshot->machine->settings.far_end == FAR_END_CUT &&
           links_to_near(decision, &snapshot->machine->topology, ppu) != 0 && !is_passed_whole(snapshot, ppu);
}

/* Whether an idle card is within this decision's reach. */
static bool concerns_idle(const struct decision *decision, const struct snapshot *snapshot, int ppu)
{
    const struct settings *settings = &snapshot->machine->settings;
    return snapshot->cards[ppu].has_original || settings->idle == IDLE_ISOLATE ||
           (settings->far_end == FAR_END_CUT && links_to_near(decision, &snapshot->machine->topology, ppu) != 0);
}

static void decide_card(struct decision *decision, struct snapshot *snapshot, struct registers *registers, int ppu)
{
    struct card *card = &snapshot->cards[ppu];
    bool is_near = decision->near[ppu];
    bool is_idle = decision->owners[ppu] == OWNER_IDLE && concerns_idle(decision, snapshot, ppu);
    if (!snapshot->machine->mapped[ppu] || !card->state.present ||
        (!is_near && !is_idle && !concerns_shared(decision, snapshot, ppu))) {
        return;
    }
    snapshot_read(snapshot, registers, ppu);
    uint32_t required = mask_required(&snapshot->machine->topology, decision->owners, ppu);
    if (is_near) {
        decision->goals[ppu] = near_goal(decision, card, required);
    } else if (card->reading.kind == READING_FINE) {
        decision->goals[ppu] =
            is_idle ? idle_goal(decision, snapshot, ppu, required) : shared_goal(decision, snapshot, ppu, required);
    }
}

void decision_make(struct decision *decision, struct snapshot *snapshot, struct registers *registers,
                   enum intent intent, const char *uuid, const char *name, const struct demand *demand)
{
    memset(decision, 0, sizeof *decision);
    decision->intent = intent;
    decision->uuid = uuid;
    decision->name = name;
    decision->by_hand = demand && demand->by_hand;
    for (size_t i = 0; demand && i < demand->count; i++) {
        int ppu = demand->devices[i].ppu;
        if (ppu >= 0) {
            decision->near[ppu] = true;
            decision->whole[ppu] |= demand->devices[i].whole;
        }
    }
    decide_owners(decision, snapshot);
    for (int ppu = 0; ppu < snapshot->machine->topology.ppu_count; ppu++) {
        decide_card(decision, snapshot, registers, ppu);
    }
    plan_build(&decision->plan, decision->goals, snapshot->machine->topology.ppu_count);
}

int decision_check_near(const struct decision *decision, const struct snapshot *snapshot, struct error *err)
{
    for (int ppu = 0; ppu < snapshot->machine->topology.ppu_count; ppu++) {
        const struct reading *reading = &snapshot->cards[ppu].reading;
        char card[CARD_TEXT_SIZE];
        if (decision->near[ppu] && (reading->kind == READING_GONE || reading->kind == READING_FAILED)) {
            return error_set(err, STATUS_HARDWARE, "%s: %s; its links cannot be cut, so correct that or %s",
                             machine_card_text(snapshot->machine, ppu, card), reading->why,
                             other_card(decision->by_hand));
        }
    }
    return 0;
}
