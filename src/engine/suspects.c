/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation.  A suspect is a world: the host as it would be if that one setting were wrong.  From a world it
 * follows which ends of links go down when a register is written, and which can be up at all before that.  A suspect
 * explains what was seen if no end that was up does otherwise.  Ends that were down before say nothing: their link may
 * be broken.
 *
 * In a world two ids may be exchanged, or two indexes of one card's links; both are their own inverse, so one function
 * leads from the settings to the world and back.
 */
#include "engine/suspects.h"

#include <stdlib.h>

#include "base/memory.h"

/* What one write does to the ends of one card. */
struct effect {
    uint32_t falls; /* ends that go down */
    uint32_t some;  /* parallel links that cannot be told apart: ... */
    int some_count; /* ... this many of them go down */
};

struct effects {
    struct effect of[PPU_MAX];
    int touched[LINK_MAX + 1]; /* the cards with an effect, or a possible one */
    size_t touched_count;
};

static int exchange(int value, int one, int other)
{
    return value == one ? other : value == other ? one : value;
}

static int world_card(const struct suspect *world, int ppu)
{
    return world->kind == SUSPECT_IDS ? exchange(ppu, world->ppu, world->other) : ppu;
}

static int world_link(const struct suspect *world, int card, int link)
{
    return world->kind == SUSPECT_LINKS && card == world->ppu ? exchange(link, world->link, world->other) : link;
}

/* Where the end leads in a world: its peer, by the settings' ids, and the ends there that it may be joined to. */
static int world_peer(const struct observed *observed, const struct suspect *world, int ppu, int link, uint32_t *ends)
{
    const struct topology *topology = observed->topology;
    int card = world_card(world, ppu);
    int index = world_link(world, card, link);
    int peer = topology->peer[card][index];
    *ends = 0;
    if (peer < 0) {
        return peer;
    }
    uint32_t listed = topology_far_ends(topology, card, index);
    for (int end = 0; end < LINK_MAX; end++) {
        if (((listed >> end) & 1) != 0) {
            *ends |= UINT32_C(1) << world_link(world, peer, end);
        }
    }
    return world_card(world, peer);
}

static struct effect *touch(struct effects *effects, int ppu)
{
    for (size_t i = 0; i < effects->touched_count; i++) {
        if (effects->touched[i] == ppu) {
            return &effects->of[ppu];
        }
    }
    effects->touched[effects->touched_count++] = ppu;
    effects->of[ppu] = (struct effect){0};
    return &effects->of[ppu];
}

static bool write_has_effect(const struct observed *observed, const struct suspect *world, const struct trial *trial)
{
    if (observed->writes_registers && (world->kind == SUSPECT_PLACE || world->kind == SUSPECT_LINK_CONFIG)) {
        return false;
    }
    return trial->opens == (world->kind == SUSPECT_CUT_BIT);
}

/* What the trial does in a world.  The cards at both ends are touched in each case. */
static void effects_of(const struct observed *observed, const struct suspect *world, const struct trial *trial,
                       struct effects *effects)
{
    bool has_effect = write_has_effect(observed, world, trial);
    effects->touched_count = 0;
    struct effect *near = touch(effects, trial->ppu);
    for (int link = 0; link < LINK_MAX; link++) {
        uint32_t ends = 0;
        int peer = ((trial->links >> link) & 1) != 0 ? world_peer(observed, world, trial->ppu, link, &ends) : NO_PEER;
        if (peer == NO_PEER) {
            continue;
        }
        near->falls |= has_effect ? UINT32_C(1) << link : 0;
        if (peer < 0) {
            continue;
        }
        struct effect *far = touch(effects, peer);
        if (has_effect && (ends & (ends - 1)) == 0) {
            far->falls |= ends;
        } else if (has_effect) {
            far->some |= ends;
            far->some_count++;
        }
    }
}

static bool is_expected(const struct effect *effect, uint32_t up, uint32_t down)
{
    int fallen = __builtin_popcount(effect->some & down & ~effect->falls);
    int unseen = __builtin_popcount(effect->some & ~up);
    return (down & ~(effect->falls | effect->some)) == 0 && (effect->falls & up & ~down) == 0 &&
           fallen <= effect->some_count && fallen + unseen >= effect->some_count;
}

/* In a world where it looks at something else than links, nothing that a trial does changes what it sees. */
static bool is_blind(const struct suspect *world, enum witness witness)
{
    return world->kind == SUSPECT_WITNESS ? witness == world->witness
                                          : world->kind == SUSPECT_PLACE && witness == WITNESS_STATUS;
}

/* SIGHTS: the trial's own. */
static bool trial_is_explained(const struct observed *observed, const struct suspect *world, const struct trial *trial,
                               const struct sight *sights, size_t sight_count, struct effects *effects)
{
    static const struct effect none = {0};
    bool is_seen[LINK_MAX + 1][WITNESS_COUNT] = {{false}};
    effects_of(observed, world, trial, effects);
    for (size_t i = 0; i < sight_count; i++) {
        const struct sight *sight = &sights[i];
        const struct effect *effect = &none;
        for (size_t j = 0; j < effects->touched_count; j++) {
            if (effects->touched[j] == sight->ppu) {
                effect = &effects->of[sight->ppu];
                is_seen[j][sight->witness] = true;
            }
        }
        if (is_blind(world, sight->witness) ? sight->down != 0 : !is_expected(effect, sight->up, sight->down)) {
            return false;
        }
    }
    for (size_t j = 0; j < effects->touched_count; j++) {
        int ppu = effects->touched[j];
        for (enum witness witness = 0; witness < WITNESS_COUNT; witness++) {
            if (!is_seen[j][witness] && !is_blind(world, witness) &&
                !is_expected(&effects->of[ppu], observed->found[ppu].up[witness], 0)) {
                return false;
            }
        }
    }
    return true;
}

bool suspect_explains_trial(const struct observed *observed, const struct suspect *suspect, const struct trial *trial,
                            const struct sight sights[], size_t sight_count)
{
    CLEANUP_FREE struct effects *effects = memory_alloc(1, sizeof *effects);
    return trial_is_explained(observed, suspect, trial, sights, sight_count, effects);
}

/* The ends that are cut in a world, as they were found. */
static uint32_t world_cuts(const struct observed *observed, const struct suspect *world, int ppu)
{
    const struct found *found = &observed->found[ppu];
    bool means_something = found->is_read && world->kind != SUSPECT_PLACE && world->kind != SUSPECT_LINK_CONFIG;
    uint32_t mask =
        world->kind == SUSPECT_CUT_BIT ? topology_links(observed->topology, ppu) & ~found->mask : found->mask;
    return means_something ? mask : 0;
}

/* An end that is up has a link, and neither of its ends is cut. */
static bool end_may_be_up(const struct observed *observed, const struct suspect *world, int ppu, int link)
{
    uint32_t ends;
    int peer = world_peer(observed, world, ppu, link, &ends);
    if (peer == NO_PEER || ((world_cuts(observed, world, ppu) >> link) & 1) != 0) {
        return false;
    }
    return peer < 0 || (ends & ~world_cuts(observed, world, peer)) != 0;
}

/* The indexes that links have on any card: what else a status register shows may be no link. */
static uint32_t indexes_in_use(const struct topology *topology)
{
    uint32_t indexes = 0;
    for (int ppu = 0; ppu < topology->ppu_count; ppu++) {
        indexes |= topology_links(topology, ppu);
    }
    return indexes;
}

/* The first end that cannot be up as it is: false if there is one. */
static bool found_is_explained(const struct observed *observed, const struct suspect *world, int *at)
{
    uint32_t indexes = indexes_in_use(observed->topology);
    for (int ppu = 0; ppu < observed->topology->ppu_count; ppu++) {
        uint32_t up = 0;
        for (enum witness witness = 0; witness < WITNESS_COUNT; witness++) {
            up |= is_blind(world, witness) ? 0 : observed->found[ppu].up[witness];
        }
        for (int link = 0; link < LINK_MAX; link++) {
            if (((up & indexes) >> link & 1) != 0 && !end_may_be_up(observed, world, ppu, link)) {
                *at = ppu;
                return false;
            }
        }
    }
    return true;
}

/* As suspect_explains; if not, AT are the cards of which something is not explained: of the trial, or a card as it was
 * found and its neighbours. */
static bool explains(const struct observed *observed, const struct suspect *world, struct effects *effects, bool at[])
{
    size_t first = 0;
    bool takes_no_write =
        observed->writes_registers && (world->kind == SUSPECT_PLACE || world->kind == SUSPECT_LINK_CONFIG);
    int ppu = -1;
    if (!found_is_explained(observed, world, &ppu)) {
        at[ppu] = true;
        for (int link = 0; link < LINK_MAX; link++) {
            int peer = observed->topology->peer[ppu][link];
            if (peer >= 0) {
                at[peer] = true;
            }
        }
        return false;
    }
    for (size_t i = 0; i < observed->trial_count; i++) {
        size_t last = first;
        while (last < observed->sight_count && observed->sights[last].trial == i) {
            last++;
        }
        if ((observed->trials[i].refused && !takes_no_write) ||
            !trial_is_explained(observed, world, &observed->trials[i], observed->sights + first, last - first,
                                effects)) {
            effects_of(observed, world, &observed->trials[i], effects);
            for (size_t j = 0; j < effects->touched_count; j++) {
                at[effects->touched[j]] = true;
            }
            return false;
        }
        first = last;
    }
    return true;
}

/* A witness that never saw a change is only to be blamed if another one did. */
static bool may_be_blamed(const struct observed *observed, enum witness witness)
{
    for (size_t i = 0; i < observed->sight_count; i++) {
        if (observed->sights[i].witness != witness && observed->sights[i].down != 0) {
            return true;
        }
    }
    return witness == WITNESS_STATUS; /* it is a setting where that lies */
}

bool suspect_explains(const struct observed *observed, const struct suspect *suspect)
{
    CLEANUP_FREE struct effects *effects = memory_alloc(1, sizeof *effects);
    bool at[PPU_MAX] = {false};
    return explains(observed, suspect, effects, at);
}

struct search {
    const struct observed *observed;
    struct effects *effects;
    struct suspect *suspects;
    size_t count;
};

static void try_suspect(struct search *search, const struct suspect suspect)
{
    bool at[PPU_MAX] = {false};
    if (explains(search->observed, &suspect, search->effects, at)) {
        search->suspects = memory_grow(search->suspects, search->count + 1, sizeof *search->suspects);
        search->suspects[search->count++] = suspect;
    }
}

/* All exchanges of two indexes of the card that change something. */
static void try_links(struct search *search, int ppu)
{
    const struct topology *topology = search->observed->topology;
    uint32_t indexes = indexes_in_use(topology);
    for (int link = 0; link < LINK_MAX; link++) {
        for (int other = link + 1; other < LINK_MAX; other++) {
            bool in_use = ((indexes >> link) & (indexes >> other) & 1) != 0;
            bool same = topology->peer[ppu][link] == topology->peer[ppu][other] &&
                        topology_far_ends(topology, ppu, link) == topology_far_ends(topology, ppu, other);
            if (in_use && !same) {
                try_suspect(search, (struct suspect){.kind = SUSPECT_LINKS, .ppu = ppu, .link = link, .other = other});
            }
        }
    }
}

void suspects_find(const struct observed *observed, struct suspect **suspects, size_t *count)
{
    CLEANUP_FREE struct effects *effects = memory_alloc(1, sizeof *effects);
    struct search search = {.observed = observed, .effects = effects};
    int ppu_count = observed->topology->ppu_count;
    bool at[PPU_MAX] = {false};
    if (explains(observed, &(struct suspect){.kind = SUSPECT_NONE}, effects, at)) {
        *suspects = NULL;
        *count = 0;
        return;
    }
    if (observed->writes_registers) {
        try_suspect(&search, (struct suspect){.kind = SUSPECT_CUT_BIT});
        try_suspect(&search, (struct suspect){.kind = SUSPECT_LINK_CONFIG});
    }
    try_suspect(&search, (struct suspect){.kind = SUSPECT_PLACE});
    for (enum witness witness = 0; witness < WITNESS_COUNT; witness++) {
        if (may_be_blamed(observed, witness)) {
            try_suspect(&search, (struct suspect){.kind = SUSPECT_WITNESS, .witness = witness});
        }
    }
    /* Only what changes something for the cards of the first thing that is not explained can explain it. */
    for (int ppu = 0; ppu < ppu_count; ppu++) {
        for (int other = 0; at[ppu] && other < ppu_count; other++) {
            if (other > ppu || (other < ppu && !at[other])) {
                try_suspect(&search, (struct suspect){.kind = SUSPECT_IDS,
                                                      .ppu = ppu < other ? ppu : other,
                                                      .other = ppu < other ? other : ppu});
            }
        }
    }
    for (int ppu = 0; ppu < ppu_count; ppu++) {
        if (at[ppu]) {
            try_links(&search, ppu);
        }
    }
    *suspects = search.suspects;
    *count = search.count;
}
