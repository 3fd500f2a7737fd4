/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/choice_frontier.h"

#include <limits.h>
#include <string.h>

/* Joined with each other, with the same links to everybody else, on the same node. */
static bool are_twins(const struct choice_work *work, int a, int b)
{
    if (work->node[a] != work->node[b] || work->neighbour_count[a] != work->neighbour_count[b]) {
        return false;
    }
    for (int i = 0; i < work->neighbour_count[a]; i++) {
        int other = work->neighbours[a][i];
        if (other != b && work->weight[a][other] != work->weight[b][other]) {
            return false;
        }
    }
    return true;
}

static int16_t find_twin(const struct choice_work *work, int card)
{
    int16_t twin = -1;

    for (int i = 0; i < work->neighbour_count[card]; i++) {
        int16_t other = work->neighbours[card][i];
        if (other < card && other > twin && are_twins(work, card, other)) {
            twin = other;
        }
    }
    return twin;
}

void frontier_begin(struct frontier *frontier, const struct choice_work *work)
{
    memset(frontier, 0, sizeof *frontier);
    frontier->work = work;
    frontier->left = work->cards;
    for (int card = 0; card < work->cards; card++) {
        frontier->twin[card] = find_twin(work, card);
        frontier->node_slot[card] = NO_SLOT;
        frontier->links_left[card] = work->degree[card];
        frontier->neighbours_left[card] = work->neighbour_count[card];
        frontier->node_left[work->node[card]]++;
        frontier->by_links_left[work->degree[card]]++;
        frontier->by_ends[work->degree[card]]++;
        frontier->by_degree[work->degree[card]]++;
    }
}

/* How many cards more the frontier would have with CARD taken. */
static int widening(const struct frontier *frontier, int card)
{
    const struct choice_work *work = frontier->work;
    int wider = frontier->neighbours_left[card] > 0;

    for (int i = 0; i < work->neighbour_count[card]; i++) {
        int neighbour = work->neighbours[card][i];
        wider -= frontier->taken[neighbour] && frontier->neighbours_left[neighbour] == 1;
    }
    return wider;
}

/* The less, the sooner the card should be taken. */
static int cost(const struct frontier *frontier, int card)
{
    int node = frontier->work->node[card];
    int links_to_taken = frontier->work->degree[card] - frontier->links_left[card];
    bool is_elsewhere = frontier->node_slot[node] == NO_SLOT;

    return widening(frontier, card) * 4 * LINK_MAX + is_elsewhere * 2 * LINK_MAX - links_to_taken;
}

/* The card that widens the frontier least; among equals one of a NUMA node that
 * has been begun, then the one with most links to taken cards, then the lowest. */
static int next_card(const struct frontier *frontier)
{
    const struct choice_work *work = frontier->work;
    int best = -1;
    int least = INT_MAX;

    for (int card = 0; card < work->cards; card++) {
        bool must_wait = frontier->twin[card] >= 0 && !frontier->taken[frontier->twin[card]];
        if (!frontier->taken[card] && !must_wait && cost(frontier, card) < least) {
            best = card;
            least = cost(frontier, card);
        }
    }
    return best;
}

bool frontier_has(const struct frontier_bits *bits, int slot)
{
    return (bits->words[slot / 64] >> slot % 64 & 1) != 0;
}

static void set_bit(struct frontier_bits *bits, int slot)
{
    bits->words[slot / 64] |= UINT64_C(1) << slot % 64;
}

static void clear_bit(struct frontier_bits *bits, int slot)
{
    bits->words[slot / 64] &= ~(UINT64_C(1) << slot % 64);
}

/* Puts the lowest free bit in use. */
static int16_t occupy_slot(struct frontier *frontier)
{
    int16_t slot = 0;

    while (frontier_has(&frontier->slots, slot)) {
        slot++;
    }
    set_bit(&frontier->slots, slot);
    return slot;
}

static void take_from_neighbours(struct frontier *frontier, struct step *step)
{
    const struct choice_work *work = frontier->work;

    for (int i = 0; i < work->neighbour_count[step->card]; i++) {
        int neighbour = work->neighbours[step->card][i];
        uint8_t weight = work->weight[step->card][neighbour];
        frontier->neighbours_left[neighbour]--;
        if (frontier->taken[neighbour]) {
            step->frontier_slot[step->frontier_count] = frontier->slot[neighbour];
            step->frontier_weight[step->frontier_count++] = weight;
            if (frontier->neighbours_left[neighbour] == 0) {
                clear_bit(&frontier->slots, frontier->slot[neighbour]);
            }
            continue;
        }
        frontier->by_links_left[frontier->links_left[neighbour]]--;
        frontier->by_ends[2 * work->degree[neighbour] - frontier->links_left[neighbour]]--;
        frontier->links_left[neighbour] -= weight;
        frontier->by_links_left[frontier->links_left[neighbour]]++;
        frontier->by_ends[2 * work->degree[neighbour] - frontier->links_left[neighbour]]++;
    }
}

/* What the card leaves in the frontier: itself, and its node. */
static void enter(struct frontier *frontier, struct step *step)
{
    int node = frontier->work->node[step->card];

    if (frontier->neighbours_left[step->card] > 0) {
        frontier->slot[step->card] = occupy_slot(frontier);
        set_bit(&step->own, frontier->slot[step->card]);
    }
    if (frontier->node_left[node] > 0) {
        if (step->node_slot == NO_SLOT) {
            frontier->node_slot[node] = occupy_slot(frontier);
        }
        set_bit(&step->own, frontier->node_slot[node]);
    }
}

bool frontier_take_next(struct frontier *frontier, struct step *step)
{
    const struct choice_work *work = frontier->work;
    int card = next_card(frontier);
    int node = work->node[card];

    *step = (struct step){.card = card, .twin_slot = NO_SLOT, .node_slot = frontier->node_slot[node]};
    if (frontier->twin[card] >= 0) {
        step->twin_slot = frontier->slot[frontier->twin[card]];
    }
    frontier->taken[card] = true;
    frontier->left--;
    frontier->node_left[node]--;
    frontier->by_links_left[frontier->links_left[card]]--;
    frontier->by_ends[2 * work->degree[card] - frontier->links_left[card]]--;
    frontier->by_degree[work->degree[card]]--;
    take_from_neighbours(frontier, step);
    if (frontier->node_left[node] == 0 && step->node_slot != NO_SLOT) {
        clear_bit(&frontier->slots, step->node_slot);
    }
    step->kept = frontier->slots;
    enter(frontier, step);
    /* The next card may need two bits. */
    return !frontier_has(&frontier->slots, FRONTIER_MAX - 2);
}
