/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/verdict.h"

#include "core/mask.h"
#include "engine/link_state.h"

bool link_is_allowed(const struct inspection *inspection, int ppu, int link)
{
    int peer = inspection->machine->topology.peer[ppu][link];
    return link_may_be_open(inspection->owners[ppu], inspection->owners[peer]);
}

/* The bits of PPU's links that lead to PEER. */
static uint32_t links_between(const struct inspection *inspection, int ppu, int peer)
{
    uint32_t links = 0;
    for (int link = 0; link < LINK_MAX; link++) {
        if (inspection->machine->topology.peer[ppu][link] == peer) {
            links |= UINT32_C(1) << link;
        }
    }
    return links;
}

/* The cut at one of the ends is one that this card should have. */
static bool cut_is_expected(const struct inspection *inspection, int ppu, int link)
{
    int peer = inspection->machine->topology.peer[ppu][link];
    uint32_t near = UINT32_C(1) << link;
    uint32_t far = links_between(inspection, peer, ppu);
    return (link_near_end(inspection->snapshot, ppu, link) == END_CUT &&
            (inspection_expected(inspection, ppu) & near) != 0) ||
           (link_far_end(inspection->snapshot, ppu, link) == END_CUT &&
            (inspection_expected(inspection, peer) & far) == far);
}

enum verdict link_verdict(const struct inspection *inspection, int ppu, int link)
{
    bool allowed = link_is_allowed(inspection, ppu, link);
    switch (link_live(inspection->snapshot, ppu, link)) {
    case LIVE_YES:
        return allowed ? VERDICT_OPEN : VERDICT_LEAK;
    case LIVE_UNKNOWN:
        return allowed ? VERDICT_UNSEEN : VERDICT_UNSURE;
    case LIVE_NO:
        break;
    }
    return !allowed || cut_is_expected(inspection, ppu, link) ? VERDICT_CUT : VERDICT_NEEDLESS;
}

/* Open ends of PPU's links to PEER; all, if they cannot be read. */
static int count_open_ends(const struct inspection *inspection, int ppu, int peer)
{
    int count = 0;
    for (int link = 0; link < LINK_MAX; link++) {
        count += inspection->machine->topology.peer[ppu][link] == peer &&
                 link_near_end(inspection->snapshot, ppu, link) != END_CUT;
    }
    return count;
}

static enum verdict worse(enum verdict one, enum verdict other)
{
    static const int weights[] = {
        [VERDICT_CUT] = 0,    [VERDICT_OPEN] = 1,   [VERDICT_NEEDLESS] = 2,
        [VERDICT_UNSEEN] = 3, [VERDICT_UNSURE] = 4, [VERDICT_LEAK] = 5,
    };
    return weights[one] > weights[other] ? one : other;
}

static void look_from(const struct inspection *inspection, int ppu, int peer, struct pair *pair)
{
    for (int link = 0; link < LINK_MAX; link++) {
        if (inspection->machine->topology.peer[ppu][link] == peer) {
            pair->verdict = worse(pair->verdict, link_verdict(inspection, ppu, link));
        }
    }
}

struct pair pair_look(const struct inspection *inspection, int a, int b)
{
    struct pair pair = {.verdict = VERDICT_CUT};
    for (int link = 0; link < LINK_MAX; link++) {
        pair.wired += inspection->machine->topology.peer[a][link] == b;
    }
    if (pair.wired > 0) {
        int open_a = count_open_ends(inspection, a, b);
        int open_b = count_open_ends(inspection, b, a);
        pair.open = open_a < open_b ? open_a : open_b;
        pair.allowed = link_may_be_open(inspection->owners[a], inspection->owners[b]);
        look_from(inspection, a, b, &pair);
        look_from(inspection, b, a, &pair);
    }
    return pair;
}
