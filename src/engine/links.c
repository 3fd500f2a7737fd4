/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation: what is known about a link, and from what.
 *
 * A register that was read in this session says what an end is now.  QEMU keeps the registers of
 * its cards to itself, so of a card in use there is mostly only the evidence that the gate left: what
 * was read back for it before QEMU opened it.  That counts only for exactly the owners for whom
 * it was read back, and only while the vfio driver has kept the card: libvirt unbinds a card that is
 * unplugged, and calls no hook when it comes back.
 *
 * A guest may write its own card's register, so an end that is read as cut proves the cut only while
 * no guest holds the card; while one does, it is worth as much as a read-back at the gate.
 *
 * An external link has one end here, and nothing is known of the other: what is known of it is what that end
 * tells, and it is live while that end is open.
 */
#include "engine/links.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/policy.h"

const char *verdict_evidence_text(enum verdict verdict)
{
    switch (verdict) {
    case VERDICT_PROVEN:
        return "proven";
    case VERDICT_GATED:
        return "gated";
    case VERDICT_UNVERIFIED:
    case VERDICT_LEAK:
        return "unverified";
    default:
        return NULL;
    }
}

static enum link_end end_as_read(const struct session *session, int ppu, int link)
{
    if (!session_is_read(session, ppu)) {
        return END_UNKNOWN;
    }
    return session->cards[ppu].reading.mask >> link & 1 ? END_CUT : END_OPEN;
}

/* The mask that was read back at the gate for exactly the card's owners of today; 0: none was. */
static uint32_t gated_mask(const struct session *session, int ppu, int64_t *at)
{
    const struct card_memory *memory = session_memory(session, ppu);
    char(*uuids)[UUID_SIZE];
    size_t count;
    if (!memory || !machine_is_sure(session->machine, ppu) || memory->evidence.at == 0 ||
        !owners_uuids(&session->owners, ppu, &uuids, &count)) {
        return 0;
    }
    /* A card that was unplugged and plugged in again may have been reset in between. */
    bool is_bound_anew = session->cards[ppu].bound_since > memory->evidence.at;
    bool is_for_them = !is_bound_anew && count == memory->evidence.owner_count && count > 0 &&
                       memcmp(uuids, memory->evidence.owners, count * sizeof *uuids) == 0;
    free(uuids);
    *at = is_for_them ? memory->evidence.at : 0;
    return is_for_them ? memory->evidence.mask : 0;
}

/* What one end of a link that must be cut contributes. */
static enum verdict link_judge_end(const struct session *session, int ppu, int link, int64_t *since)
{
    enum link_end end = end_as_read(session, ppu, link);
    *since = 0;
    if (end == END_CUT) {
        *since = session->owners.held[ppu] ? time(NULL) : 0;
        return session->owners.held[ppu] ? VERDICT_GATED : VERDICT_PROVEN;
    }
    if (end == END_UNKNOWN && (gated_mask(session, ppu, since) >> link & 1)) {
        return VERDICT_GATED;
    }
    *since = 0;
    return VERDICT_UNVERIFIED;
}

/* Of parallel links that cannot be told apart, the far end is worth what the worst of them is.  They are in one
 * register, so SINCE is the same for all. */
static enum verdict judge_far_ends(const struct session *session, int ppu, int link, int64_t *since)
{
    int peer = session->machine->topology.peer[ppu][link];
    uint32_t ends = topology_far_ends(&session->machine->topology, ppu, link);
    enum verdict worst = ends == 0 ? VERDICT_UNVERIFIED : VERDICT_PROVEN;
    for (int back = 0; back < LINK_MAX; back++) {
        if (ends >> back & 1) {
            enum verdict verdict = link_judge_end(session, peer, back, since);
            worst = verdict > worst ? verdict : worst;
        }
    }
    return worst;
}

static enum link_end far_end_as_read(const struct session *session, int ppu, int link)
{
    int peer = session->machine->topology.peer[ppu][link];
    uint32_t ends = topology_far_ends(&session->machine->topology, ppu, link);
    if (ends == 0 || !session_is_read(session, peer)) {
        return END_UNKNOWN;
    }
    return ends & ~session->cards[peer].reading.mask ? END_OPEN : END_CUT;
}

static enum verdict judge_required(const struct session *session, struct link_view *view)
{
    int64_t near_since;
    int64_t far_since = 0;
    enum verdict near = link_judge_end(session, view->ppu, view->link, &near_since);
    enum verdict far = judge_far_ends(session, view->ppu, view->link, &far_since);
    if (view->live == LIVE_YES) {
        return VERDICT_LEAK;
    }
    if (near == VERDICT_GATED && far == VERDICT_GATED) {
        view->since = near_since > far_since ? near_since : far_since;
    } else if (near != VERDICT_PROVEN && far != VERDICT_PROVEN) {
        view->since = near == VERDICT_GATED ? near_since : far == VERDICT_GATED ? far_since : 0;
    }
    return near < far ? near : far;
}

/* The cut at one of the ends is one that this card should have. */
static bool cut_is_expected(const struct session *session, const struct link_view *view)
{
    uint32_t back = topology_far_ends(&session->machine->topology, view->ppu, view->link);
    return (view->near == END_CUT && (policy_expected(session, view->ppu) >> view->link & 1)) ||
           (view->far == END_CUT && (policy_expected(session, view->peer) & back) == back);
}

struct link_view link_look(const struct session *session, int ppu, int link)
{
    int peer = session->machine->topology.peer[ppu][link];
    struct link_view view = {
        .ppu = ppu,
        .link = link,
        .peer = peer,
        .near = end_as_read(session, ppu, link),
        .far = far_end_as_read(session, ppu, link),
    };
    if (peer == EXTERNAL_PEER) {
        view.allowed =
            session->machine->settings.external == EXTERNAL_LEAVE || external_may_be_open(session->owners.of[ppu]);
    } else {
        view.allowed = link_may_be_open(session->owners.of[ppu], session->owners.of[peer]);
    }
    if (view.near == END_CUT || view.far == END_CUT) {
        view.live = LIVE_NO;
    } else if (peer == EXTERNAL_PEER) {
        view.live = view.near == END_OPEN ? LIVE_YES : LIVE_UNKNOWN;
    } else {
        view.live = view.near == END_OPEN && view.far == END_OPEN ? LIVE_YES : LIVE_UNKNOWN;
    }
    if (!view.allowed) {
        view.verdict = judge_required(session, &view);
    } else if (view.live == LIVE_NO) {
        view.verdict = cut_is_expected(session, &view) ? VERDICT_CUT : VERDICT_NEEDLESS;
    } else {
        view.verdict = view.live == LIVE_YES ? VERDICT_OPEN : VERDICT_UNREAD;
    }
    return view;
}

/* Open ends of PPU's links to PEER; those that cannot be read count.  PAIRED: only of those links whose other end is
 * known, and only if that is open too; else only of the others. */
static int count_open_ends(const struct session *session, int ppu, int peer, bool paired)
{
    const struct topology *topology = &session->machine->topology;
    int count = 0;
    for (int link = 0; link < LINK_MAX; link++) {
        int other = topology->peer_link[ppu][link];
        if (topology->peer[ppu][link] == peer && paired == (other != NO_PEER_LINK)) {
            bool is_open = end_as_read(session, ppu, link) != END_CUT;
            count += is_open && (!paired || end_as_read(session, peer, other) != END_CUT);
        }
    }
    return count;
}

struct pair pair_look(const struct session *session, int a, int b)
{
    static const int weights[] = {
        [VERDICT_CUT] = 0,    [VERDICT_OPEN] = 1,  [VERDICT_NEEDLESS] = 2,   [VERDICT_UNREAD] = 3,
        [VERDICT_PROVEN] = 4, [VERDICT_GATED] = 5, [VERDICT_UNVERIFIED] = 6, [VERDICT_LEAK] = 7,
    };
    struct pair pair = {.is_read = true, .verdict = VERDICT_CUT};
    for (int side = 0; side < (b == EXTERNAL_PEER ? 1 : 2); side++) {
        int ppu = side == 0 ? a : b;
        int peer = side == 0 ? b : a;
        for (int link = 0; link < LINK_MAX; link++) {
            if (session->machine->topology.peer[ppu][link] == peer) {
                struct link_view view = link_look(session, ppu, link);
                pair.wired += side == 0;
                pair.is_read &= view.live != LIVE_UNKNOWN;
                pair.allowed = view.allowed;
                pair.verdict = weights[view.verdict] > weights[pair.verdict] ? view.verdict : pair.verdict;
            }
        }
    }
    int open_a = count_open_ends(session, a, b, false);
    int open_b = b == EXTERNAL_PEER ? open_a : count_open_ends(session, b, a, false);
    pair.open = (open_a < open_b ? open_a : open_b) + count_open_ends(session, a, b, true);
    return pair;
}

/* Calls VISIT for every link that must be cut and has an end that is not left out, once: from the end of the lower id,
 * or from its only end. */
typedef void link_visitor(const struct session *session, const struct link_view *view, void *context);
static void each_required(const struct session *session, link_visitor *visit, void *context)
{
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        for (int link = 0; link < LINK_MAX; link++) {
            int peer = session->machine->topology.peer[ppu][link];
            bool is_left_out = session->left_out[ppu] && (peer < 0 || session->left_out[peer]);
            if (peer == NO_PEER || (peer != EXTERNAL_PEER && peer < ppu) || is_left_out) {
                continue;
            }
            struct link_view view = link_look(session, ppu, link);
            if (!view.allowed) {
                visit(session, &view, context);
            }
        }
    }
}

static void count_link(const struct session *session, const struct link_view *view, void *context)
{
    struct coverage *coverage = context;
    (void)session;
    coverage->required++;
    coverage->proven += view->verdict == VERDICT_PROVEN;
    coverage->gated += view->verdict == VERDICT_GATED;
    coverage->unverified += view->verdict == VERDICT_UNVERIFIED || view->verdict == VERDICT_LEAK;
    coverage->leaks += view->verdict == VERDICT_LEAK && view->peer != EXTERNAL_PEER;
    coverage->external_leaks += view->verdict == VERDICT_LEAK && view->peer == EXTERNAL_PEER;
    if (view->verdict == VERDICT_GATED) {
        bool is_older = coverage->gated_since == 0 || view->since < coverage->gated_since;
        coverage->gated_since = is_older ? view->since : coverage->gated_since;
        coverage->gated_until = view->since > coverage->gated_until ? view->since : coverage->gated_until;
    }
}

struct coverage coverage_count(const struct session *session)
{
    struct coverage coverage = {0};
    each_required(session, count_link, &coverage);
    return coverage;
}

uint32_t links_missing(const struct session *session, int ppu)
{
    return session_is_read(session, ppu) ? policy_required(session, ppu) & ~session->cards[ppu].reading.mask : 0;
}

bool links_gate(const struct session *session, int ppu, uint32_t *mask, int64_t *at)
{
    int64_t moment = 0;
    uint32_t gated = gated_mask(session, ppu, &moment);
    if (moment == 0) {
        return false;
    }
    *mask = gated;
    *at = moment;
    return true;
}

bool links_no_gate(const struct session *session, int ppu)
{
    bool runs = false;
    int64_t at = 0;
    const struct holding *holding = NULL;
    while ((holding = owners_next_holding(&session->owners, ppu, holding))) {
        runs |= session->owners.items[holding->owner].runs;
    }
    gated_mask(session, ppu, &at);
    return runs && at == 0 && !session_is_read(session, ppu) && machine_is_sure(session->machine, ppu);
}

/* Leaks and what is not shown, a line for each pair of cards and for each external link. */
static void note_required(const struct session *session, const struct link_view *view, void *context)
{
    struct notes *notes = context;
    char near[CARD_TEXT_SIZE];
    char far[CARD_TEXT_SIZE];
    char near_owner[OWNER_TEXT_SIZE];
    char far_owner[OWNER_TEXT_SIZE];
    if (view->verdict != VERDICT_LEAK && view->verdict != VERDICT_UNVERIFIED) {
        return;
    }
    machine_card_text(session->machine, view->ppu, near);
    owners_text(&session->owners, view->ppu, near_owner);
    if (view->peer == EXTERNAL_PEER) {
        bool is_leak = view->verdict == VERDICT_LEAK;
        notes_add(notes, is_leak ? NOTE_ERROR : NOTE_WARNING, is_leak ? NOTE_EXTERNAL_LEAK : NOTE_UNVERIFIED, view->ppu,
                  NULL,
                  is_leak ? "LEAK: external link %d of %s is open; owner: %s; stop the VM"
                          : "external link %d of %s must be cut (owner: %s), and nothing shows that it is",
                  view->link, near, near_owner);
        return;
    }
    machine_card_text(session->machine, view->peer, far);
    owners_text(&session->owners, view->peer, far_owner);
    if (view->verdict == VERDICT_LEAK) {
        notes_add(notes, NOTE_ERROR, NOTE_LEAK, view->ppu, NULL,
                  "LEAK: a link between %s and %s is open on both sides; owners: %s / %s; stop the VM", near, far,
                  near_owner, far_owner);
    } else {
        notes_add(notes, NOTE_WARNING, NOTE_UNVERIFIED, view->ppu, NULL,
                  "the link between %s and %s must be cut (owners: %s / %s), and nothing shows that it is", near, far,
                  near_owner, far_owner);
    }
}

static void note_card(struct session *session, int ppu)
{
    uint32_t mask;
    int64_t at;
    const struct card *card = &session->cards[ppu];
    char text[CARD_TEXT_SIZE];
    char owner[OWNER_TEXT_SIZE];
    const char *serial = machine_serial(session->machine, ppu);
    uint32_t missing = links_missing(session, ppu);
    uint32_t owed;
    machine_card_text(session->machine, ppu, text);
    if (!session->machine->mapped[ppu]) {
        notes_add(&session->notes, NOTE_WARNING, NOTE_CARD, ppu, NULL, "PPU %d has no card: no line of [map] names it",
                  ppu);
    } else if (!card->state.present) {
        notes_add(&session->notes, NOTE_WARNING, NOTE_CARD, ppu, NULL, "%s is not on the PCI bus%s%s", text,
                  serial ? "; its serial number is " : "", serial ? serial : "");
    } else if (!machine_is_sure(session->machine, ppu)) {
        notes_add(&session->notes, NOTE_WARNING, NOTE_CARD, ppu, NULL,
                  "%s: whether that card is there, or another one, is not known: its registers were not read", text);
    } else if (card->was_read && !session_is_read(session, ppu) && !links_gate(session, ppu, &mask, &at)) {
        notes_add(&session->notes, NOTE_INFO, NOTE_CARD, ppu, NULL, "%s: %s", text, card->reading.why);
    } else if (missing != 0) {
        notes_add(&session->notes, NOTE_ERROR, NOTE_CUT_MISSING, ppu, NULL,
                  "%s lacks cuts: mask 0x%08" PRIx32 ", required 0x%08" PRIx32 "; icn-hook repair makes them", text,
                  card->reading.mask, policy_required(session, ppu));
    }
    if (links_no_gate(session, ppu)) {
        notes_add(
            &session->notes, NOTE_WARNING, NOTE_NO_GATE, ppu, owners_text(&session->owners, ppu, owner),
            "VM '%s' runs with %s, which was not read back for it before QEMU opened it: plugged in while it ran, "
            "started without the hook, or by an older icn-hook; restart the VM to have its cuts verified",
            owner, text);
    }
    if (policy_owes(session, ppu, &owed)) {
        notes_add(&session->notes, NOTE_WARNING, NOTE_DEBT, ppu, NULL,
                  "%s is owed the mask 0x%08" PRIx32 ", which could not be given back yet; icn-hook repair does it as "
                  "soon as its registers can be written",
                  text, owed);
    }
}

void links_find(struct session *session)
{
    each_required(session, note_required, &session->notes);
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        if (!session->left_out[ppu]) {
            note_card(session, ppu);
        }
    }
}

enum status links_judge(const struct session *session)
{
    struct coverage coverage = coverage_count(session);
    bool lacks_gate = false;
    bool lacks_cuts = false;
    bool any_seen = false;
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        if (session->left_out[ppu]) {
            continue;
        }
        lacks_gate |= links_no_gate(session, ppu);
        lacks_cuts |= links_missing(session, ppu) != 0;
        int64_t at = 0;
        gated_mask(session, ppu, &at);
        any_seen |= session_is_read(session, ppu) || at != 0; /* now, or for its owners of today */
    }
    if (coverage.leaks > 0 || coverage.external_leaks > 0 || lacks_cuts || session_doubt(session, "")) {
        return STATUS_CHECK_FAILED;
    }
    return coverage.unverified > 0 || lacks_gate || !any_seen ? STATUS_UNVERIFIED : STATUS_OK;
}
