/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation: what every card must have, and what an operation may do about it.
 *
 * Which links must be cut follows from who owns what (core/ownership.h) and from [policy].  From
 * there each card that is within an operation's reach gets one goal:
 *
 *   a card of a domain that is let through   exactly what is required: the links among its own
 *                                            cards are opened (external ones that are left, to
 *                                            what they were before us)
 *   a card that somebody owns                what it has, and what is required
 *   a card without owner                     what it has, and what is required, without its
 *                                            debts: cuts that we made and that nothing asks for
 *
 * What a card without owner gets back is its original mask: what it had before our first write of this
 * boot.  Cuts that the owners need when it is first read are not part of it: they can only be
 * ours, from before our memory was lost.
 *
 * So any operation that may write a card makes the cuts that it lacks, and for a card without
 * owner nothing is ever opened but what we cut ourselves.
 */
#include "engine/policy.h"

#include <stdio.h>
#include <string.h>

#include "engine/confirm.h"

/* What the rule requires of the card with OWNERS, without what [policy] external = leave leaves. */
static uint32_t required_for(const struct session *session, const int owners[], int ppu)
{
    const struct topology *topology = &session->machine->topology;
    uint32_t left = session->machine->settings.external == EXTERNAL_LEAVE ? topology_external(topology, ppu) : 0;
    return mask_required(topology, owners, ppu) & ~left;
}

uint32_t policy_required(const struct session *session, int ppu)
{
    const struct settings *settings = &session->machine->settings;
    if (session->owners.of[ppu] == OWNER_IDLE) {
        if (settings->idle == IDLE_ISOLATE) {
            return topology_links(&session->machine->topology, ppu);
        }
        if (settings->far_end == FAR_END_LEAVE) {
            return 0;
        }
    }
    return required_for(session, session->owners.of, ppu);
}

/* The mask that the card had before our first write of this boot, and what of it is a link. */
static bool original_mask(const struct session *session, int ppu, uint32_t *original)
{
    const struct card_memory *memory = session_memory(session, ppu);
    if (!memory || !memory->has_original) {
        return false;
    }
    *original = memory->original & topology_links(&session->machine->topology, ppu);
    return true;
}

uint32_t policy_expected(const struct session *session, int ppu)
{
    const struct machine *machine = session->machine;
    uint32_t original = 0;
    if (!original_mask(session, ppu, &original)) {
        return policy_required(session, ppu);
    }
    if (session->owners.of[ppu] != OWNER_IDLE) {
        /* What is left is left as it was. */
        original &= machine->settings.external == EXTERNAL_LEAVE ? topology_external(&machine->topology, ppu) : 0;
    }
    return policy_required(session, ppu) | original;
}

/* The cuts of a card without owner that we made and that nothing asks for. */
static uint32_t debt_bits(const struct session *session, int ppu)
{
    const struct card_memory *memory = session_memory(session, ppu);
    uint32_t original = 0;
    if (session->owners.of[ppu] != OWNER_IDLE || !original_mask(session, ppu, &original) || !memory->has_written) {
        return 0;
    }
    uint32_t cuts = session_is_read(session, ppu) ? session->cards[ppu].reading.mask : UINT32_MAX;
    /* With far_end = leave nothing asks for cuts that face an owner, but those that are there protect them. */
    uint32_t wanted = policy_required(session, ppu) | required_for(session, session->owners.of, ppu);
    return memory->written & cuts & topology_links(&session->machine->topology, ppu) & ~(original | wanted);
}

bool policy_owes(const struct session *session, int ppu, uint32_t *owed)
{
    if (debt_bits(session, ppu) == 0) {
        return false;
    }
    *owed = policy_expected(session, ppu);
    return true;
}

/* What an applicant can do instead. */
static const char *other_card(bool by_hand)
{
    return by_hand ? "choose another card" : "give the VM another card";
}

/* The owner that keeps the applicant from having the card, or a part of it; NULL: none. */
static const struct owner *find_obstacle(const struct session *session, const char *uuid, int ppu, bool whole)
{
    const struct owners *owners = &session->owners;
    const struct holding *holding = NULL;
    while ((holding = owners_next_holding(owners, ppu, holding))) {
        const struct owner *owner = &owners->items[holding->owner];
        if ((whole || holding->whole) && strcmp(owner->uuid, uuid) != 0) {
            return owner;
        }
    }
    return NULL;
}

static int refuse_stranger(const struct session *session, const struct owner *stranger, bool by_hand, int ppu,
                           struct error *err)
{
    char card[CARD_TEXT_SIZE];
    char process[128] = "a process that is not a known VM";
    if (stranger && stranger->pid != 0) {
        snprintf(process, sizeof process, "process %ld (%.32s), which is not a known VM", (long)stranger->pid,
                 stranger->name);
    }
    return error_set(err, STATUS_CONFLICT, "%s is held open through vfio by %s; end it or %s",
                     machine_card_text(session->machine, ppu, card), process, other_card(by_hand));
}

static int refuse_owned(const struct session *session, const struct owner *owner, bool by_hand, int ppu,
                        struct error *err)
{
    char card[CARD_TEXT_SIZE];
    machine_card_text(session->machine, ppu, card);
    if (owner->kind == OWNER_KIND_STRANGER) {
        return refuse_stranger(session, owner, by_hand, ppu, err);
    }
    if (owner->kind == OWNER_KIND_GROUP && owner->pid != 0) {
        return error_set(err, STATUS_CONFLICT,
                         "%s is in the group '%s', which lasts as long as process %ld; end that or %s", card,
                         owner->name, (long)owner->pid, other_card(by_hand));
    }
    if (owner->kind == OWNER_KIND_GROUP) {
        return error_set(err, STATUS_CONFLICT,
                         "%s is in the group '%s', which was isolated by hand; end that with `icn-hook release %s`, or "
                         "%s",
                         card, owner->name, owner->name, other_card(by_hand));
    }
    return error_set(err, STATUS_CONFLICT, "%s is owned by VM '%s' (%s), which %s; stop that VM or %s", card,
                     owner->name, owner->uuid, owner->runs ? "runs" : "is being started or stopped",
                     by_hand ? other_card(by_hand) : "give this one another card");
}

int policy_admit(const struct session *session, const struct applicant *applicant, int ppu, bool whole,
                 struct error *err)
{
    const struct owner *obstacle = find_obstacle(session, applicant->uuid, ppu, whole);
    const struct owner *self = owners_find(&session->owners, applicant->uuid);
    char card[CARD_TEXT_SIZE];
    if (!session->cards[ppu].state.present) {
        return error_set(err, STATUS_HARDWARE, "%s is not on the PCI bus; see dmesg, rescan the bus or %s",
                         machine_card_text(session->machine, ppu, card), other_card(applicant->by_hand));
    }
    if (session->machine->pins[ppu] == PIN_UNSURE) {
        return error_set(
            err, STATUS_HARDWARE,
            "%s may be another card than the one in [map]: its path or serial number cannot be read; correct "
            "that, or %s",
            machine_card_text(session->machine, ppu, card), other_card(applicant->by_hand));
    }
    if (obstacle) {
        return refuse_owned(session, obstacle, applicant->by_hand, ppu, err);
    }
    /* Its own QEMU, or the user of an existing group, may hold it. */
    bool may_be_held = self && (self->runs || self->kind == OWNER_KIND_GROUP);
    if (whole && session->owners.held[ppu] && !may_be_held) {
        return refuse_stranger(session, NULL, applicant->by_hand, ppu, err);
    }
    return 0;
}

int policy_admit_doubt(const struct session *session, const struct applicant *applicant, struct error *err)
{
    const struct error *doubt = session_doubt(session, applicant->uuid);
    if (doubt) {
        *err = *doubt;
    }
    return doubt ? -1 : 0;
}

int policy_admit_confirmed(const struct session *session, const bool near[], struct error *err)
{
    return session->machine->settings.require_confirmed ? confirmation_admit(session->machine, near, err) : 0;
}

/* Whether a link leads from the card to one of SET. */
static bool is_neighbour(const struct session *session, int ppu, const bool set[])
{
    for (int link = 0; link < LINK_MAX; link++) {
        int peer = session->machine->topology.peer[ppu][link];
        if (peer >= 0 && set[peer]) {
            return true;
        }
    }
    return false;
}

/* A card that only parts of are passed through: its own registers stay with the host. */
static bool is_shared_only(const struct session *session, int ppu)
{
    const struct owners *owners = &session->owners;
    if (owners->of[ppu] == OWNER_IDLE || owners->of[ppu] == OWNER_UNKNOWN) {
        return false;
    }
    const struct holding *holding = NULL;
    while ((holding = owners_next_holding(owners, ppu, holding))) {
        if (holding->whole) {
            return false;
        }
    }
    return true;
}

/* How far the turn goes with a card. */
static enum reach reach_of(const struct session *session, const struct turn *turn, int ppu)
{
    if (!session->machine->mapped[ppu] || !session->cards[ppu].state.present) {
        return REACH_NONE;
    }
    if (turn->intent == INTENT_LOOK) {
        return REACH_LOOK;
    }
    if (turn->intent == INTENT_REPAIR || turn->intent == INTENT_RESET || turn->near[ppu] || turn->given_back[ppu]) {
        return REACH_CHANGE;
    }
    bool is_idle = session->owners.of[ppu] == OWNER_IDLE;
    bool faces = is_neighbour(session, ppu, turn->intent == INTENT_END ? turn->given_back : turn->near);
    if (!is_idle && !is_shared_only(session, ppu)) {
        return REACH_NONE; /* its guest has the registers */
    }
    if (turn->intent == INTENT_WATCH) {
        return faces ? REACH_LOOK : REACH_NONE;
    }
    if (is_idle && (session->machine->settings.idle == IDLE_ISOLATE || debt_bits(session, ppu) != 0)) {
        return REACH_CHANGE;
    }
    return faces && session->machine->settings.far_end == FAR_END_CUT ? REACH_CHANGE : REACH_NONE;
}

/* A card of the turn's subject.  What cannot be read counts as wide open when it is let
 * through, so that the write is planned and tried; later, as we wrote it last. */
static struct plan_goal near_goal(const struct session *session, const struct turn *turn, int ppu)
{
    uint32_t now = 0;
    if (session_is_read(session, ppu)) {
        now = session->cards[ppu].reading.mask;
    } else if (turn->intent != INTENT_START) {
        const struct card_memory *memory = session_memory(session, ppu);
        now = memory && memory->has_written ? memory->written & topology_links(&session->machine->topology, ppu) : 0;
    }
    return (struct plan_goal){.role = ROLE_NEAR,
                              .now = now,
                              .want = turn->intent == INTENT_START ? policy_expected(session, ppu)
                                                                   : now | policy_required(session, ppu)};
}

/* What is taken for the mask of a card that is not the subject's.  False: it is left alone. */
static bool far_mask(const struct session *session, const struct turn *turn, int ppu, uint32_t *now)
{
    if (session_is_read(session, ppu)) {
        *now = session->cards[ppu].reading.mask;
        return true;
    }
    const struct card_memory *memory = session_memory(session, ppu);
    uint32_t links = topology_links(&session->machine->topology, ppu);
    bool may_be_tried =
        session->owners.of[ppu] == OWNER_IDLE && session->cards[ppu].reading.kind == READING_UNVERIFIABLE;
    if (may_be_tried && memory && memory->has_written) {
        *now = memory->written & links;
    } else if (may_be_tried && turn->intent == INTENT_RESET) {
        *now = links & ~policy_expected(session, ppu); /* nothing is known: every bit is to be written */
    } else {
        return false;
    }
    return true;
}

/* Every other card. */
static struct plan_goal far_goal(const struct session *session, const struct turn *turn, int ppu)
{
    struct plan_goal goal = {.role = ROLE_FAR};
    if (!far_mask(session, turn, ppu, &goal.now)) {
        return (struct plan_goal){.role = ROLE_NONE};
    }
    uint32_t debt = turn->intent == INTENT_RESET ? UINT32_MAX
                    : session_doubt(session, "") ? 0
                                                 : debt_bits(session, ppu);
    goal.want = (goal.now & ~debt) | policy_expected(session, ppu);
    return goal;
}

/* Remembers what the card had before us, if that can be told now and there is something to tell. */
static void learn_original(struct session *session, const struct turn *turn, int ppu)
{
    const int *owners = turn->late ? session->owners.of : session->owners_before;
    if (session->cards[ppu].reach != REACH_CHANGE || !session_is_read(session, ppu)) {
        return;
    }
    const struct card_memory *known = session_memory(session, ppu);
    if (known && (known->has_original || known->has_written)) {
        return;
    }
    uint32_t mask = session->cards[ppu].reading.mask;
    uint32_t ours = mask == 0 ? 0 : mask & required_for(session, owners, ppu);
    /* A cut that was there before its first owner is not ours when the second comes: so it is learnt now.  That of an
     * isolated idle card is ours, even if the record of it was lost. */
    if (turn->near[ppu] || turn->given_back[ppu] || ours != 0 || required_for(session, session->owners.of, ppu) != 0 ||
        (policy_required(session, ppu) & ~mask) != 0) {
        struct card_memory *memory = state_remember(&session->state, session->machine->card[ppu]);
        memory->has_original = true;
        memory->original = mask & ~ours;
        memory->has_written = true;
        memory->written = mask;
    }
}

void policy_decide(struct session *session, const struct turn *turn)
{
    int count = session->machine->topology.ppu_count;
    struct bdf to_wake[PPU_MAX] = {0};
    size_t wake_count = 0;
    for (int ppu = 0; ppu < count; ppu++) {
        session->cards[ppu].reach = reach_of(session, turn, ppu);
        if (session->cards[ppu].reach == REACH_CHANGE) {
            to_wake[wake_count++] = session->machine->card[ppu];
        }
    }
    if (session->access == SESSION_CHANGE) {
        registers_wake(&session->registers, to_wake, wake_count);
    }
    for (int ppu = 0; ppu < count; ppu++) {
        session_read(session, ppu);
        learn_original(session, turn, ppu);
        session->goals[ppu] = (struct plan_goal){.role = ROLE_NONE};
        if (session->cards[ppu].reach == REACH_CHANGE) {
            session->goals[ppu] = turn->near[ppu] ? near_goal(session, turn, ppu) : far_goal(session, turn, ppu);
        }
    }
    plan_build(session->plan, session->goals, count);
}

int policy_check_near(const struct session *session, const struct turn *turn, bool by_hand, struct error *err)
{
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        const struct reading *reading = &session->cards[ppu].reading;
        char card[CARD_TEXT_SIZE];
        if (turn->near[ppu] && (reading->kind == READING_GONE || reading->kind == READING_FAILED)) {
            return error_set(err, STATUS_HARDWARE, "%s: %s; its links cannot be cut, so correct that or %s",
                             machine_card_text(session->machine, ppu, card), reading->why, other_card(by_hand));
        }
        /* Of a card that is passed as a whole libvirt unbinds the driver before `start`; parts of it live by that. */
        if (turn->near[ppu] && reading->is_kept && is_shared_only(session, ppu) &&
            (session->goals[ppu].want & ~session->goals[ppu].now) != 0) {
            return error_set(
                err, STATUS_HARDWARE,
                "%s: the VM takes a part of it only, so driver %s keeps its registers and its links cannot "
                "be cut; set backend = ppudbg in [registers], or give the VM whole cards",
                machine_card_text(session->machine, ppu, card), session->cards[ppu].state.driver);
        }
    }
    return 0;
}
