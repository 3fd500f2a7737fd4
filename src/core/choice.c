/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation.
 *
 * To find the densest part of a graph is hard in general, and easy on machines
 * as they are built: small meshes with few links between them.  First a good
 * choice is grown from every card and improved by exchanging single cards; then
 * choice_exact.c, which needs a good choice to leave out what cannot be better,
 * proves the best one within its budget.  Where it cannot, the first stands.
 */
#include "core/choice.h"

#include <string.h>

#include "core/choice_work.h"

/* How many cards may be looked at while choices are grown and improved. */
enum { GROWTH_BUDGET = 6000000 };

size_t choice_work_size(void)
{
    return sizeof(struct choice_work);
}

static int16_t node_number(struct choice_work *work, int numa_nodes[], int *node_count, int numa_node)
{
    int node = 0;

    while (node < *node_count && numa_nodes[node] != numa_node) {
        node++;
    }
    if (node == *node_count) {
        numa_nodes[(*node_count)++] = numa_node;
        work->node_size[node] = 0;
    }
    work->node_size[node]++;
    return (int16_t)node;
}

static void list_cards(struct choice_work *work, const struct choice_request *request, int16_t rank[])
{
    int numa_nodes[PPU_MAX];
    int node_count = 0;

    work->cards = 0;
    for (int ppu = 0; ppu < request->topology->ppu_count; ppu++) {
        rank[ppu] = -1;
        if (request->available[ppu]) {
            int numa_node = request->numa_node[ppu] < 0 ? -1 : request->numa_node[ppu];
            rank[ppu] = (int16_t)work->cards;
            work->id[work->cards] = (int16_t)ppu;
            work->node[work->cards] = node_number(work, numa_nodes, &node_count, numa_node);
            work->cards++;
        }
    }
}

static void list_neighbours(struct choice_work *work, const struct topology *topology, const int16_t rank[])
{
    work->greatest_weight = 0;
    for (int card = 0; card < work->cards; card++) {
        memset(work->weight[card], 0, sizeof work->weight[card]);
        work->degree[card] = 0;
        work->neighbour_count[card] = 0;
        for (int link = 0; link < LINK_MAX; link++) {
            int peer = topology->peer[work->id[card]][link];
            if (peer == NO_PEER || rank[peer] < 0) {
                continue;
            }
            uint8_t *weight = &work->weight[card][rank[peer]];
            if (*weight == 0) {
                work->neighbours[card][work->neighbour_count[card]++] = rank[peer];
            }
            *weight = (uint8_t)(*weight + 1);
            work->greatest_weight = *weight > work->greatest_weight ? *weight : work->greatest_weight;
            work->degree[card]++;
        }
    }
}

/* What the candidate's value changes by when CARD, which is out, comes in. */
static int64_t value_of_adding(const struct choice_work *work, const struct candidate *candidate, int card)
{
    bool new_node = candidate->on_node[work->node[card]] == 0;
    return (int64_t)candidate->gain[card] * LINK_VALUE - (new_node ? NODE_VALUE : 0) - work->degree[card];
}

static void add_to_gains(const struct choice_work *work, struct candidate *candidate, int card, int sign)
{
    for (int i = 0; i < work->neighbour_count[card]; i++) {
        int neighbour = work->neighbours[card][i];
        candidate->gain[neighbour] += sign * work->weight[card][neighbour];
    }
}

static void add(const struct choice_work *work, struct candidate *candidate, int card)
{
    candidate->value += value_of_adding(work, candidate, card);
    candidate->in[card] = true;
    candidate->on_node[work->node[card]]++;
    candidate->size++;
    add_to_gains(work, candidate, card, 1);
}

static void take_out(const struct choice_work *work, struct candidate *candidate, int card)
{
    candidate->in[card] = false;
    candidate->on_node[work->node[card]]--;
    candidate->size--;
    add_to_gains(work, candidate, card, -1);
    candidate->value -= value_of_adding(work, candidate, card);
}

static void grow(const struct choice_work *work, struct candidate *candidate, int first)
{
    memset(candidate, 0, sizeof *candidate);
    add(work, candidate, first);
    while (candidate->size < work->wanted) {
        int64_t most = INT64_MIN;
        int next = 0;
        for (int card = 0; card < work->cards; card++) {
            int64_t value = candidate->in[card] ? INT64_MIN : value_of_adding(work, candidate, card);
            if (value > most) {
                most = value;
                next = card;
            }
        }
        add(work, candidate, next);
    }
}

/* Exchanges CARD for the one outside that makes most of it: a better value, or
 * the same with a lower id. */
static bool exchange(const struct choice_work *work, struct candidate *candidate, int card)
{
    int64_t before = candidate->value;
    int64_t most = before;
    int best = card;

    take_out(work, candidate, card);
    for (int other = 0; other < work->cards; other++) {
        if (candidate->in[other]) {
            continue;
        }
        int64_t value = candidate->value + value_of_adding(work, candidate, other);
        if (value > most || (value == most && other < best)) {
            most = value;
            best = other;
        }
    }
    add(work, candidate, best);
    return best != card;
}

/* Until no exchange of one card makes the trial better. */
static void improve(struct choice_work *work, long *budget)
{
    bool better = true;

    while (better && *budget > 0) {
        better = false;
        for (int card = 0; card < work->cards; card++) {
            if (work->trial.in[card]) {
                better |= exchange(work, &work->trial, card);
                *budget -= work->cards;
            }
        }
    }
}

/* Of two sets of the same size, the first difference tells which has lower ids. */
static bool is_better(const struct choice_work *work, const struct candidate *a, const struct candidate *b)
{
    if (a->value != b->value) {
        return a->value > b->value;
    }
    for (int card = 0; card < work->cards; card++) {
        if (a->in[card] != b->in[card]) {
            return a->in[card];
        }
    }
    return false;
}

/* Grows from every card, or as many of them, evenly spread, as the budget is
 * enough for. */
static void find_good_choice(struct choice_work *work)
{
    long budget = GROWTH_BUDGET;
    long cost = 1 + 4L * work->wanted * work->cards;
    long starts = budget / cost < work->cards ? budget / cost + 1 : work->cards;

    work->best.value = INT64_MIN;
    for (long start = 0; start < starts; start++) {
        grow(work, &work->trial, (int)(start * work->cards / starts));
        improve(work, &budget);
        if (is_better(work, &work->trial, &work->best)) {
            work->best = work->trial;
        }
    }
}

static void report(struct choice *choice, const struct choice_work *work)
{
    bool seen[PPU_MAX] = {false};
    int ends = 0;
    int inner_ends = 0;

    memset(choice, 0, sizeof *choice);
    for (int card = 0; card < work->cards; card++) {
        if (!work->best.in[card]) {
            continue;
        }
        choice->chosen[work->id[card]] = true;
        choice->numa_nodes += !seen[work->node[card]];
        seen[work->node[card]] = true;
        ends += work->degree[card];
        for (int i = 0; i < work->neighbour_count[card]; i++) {
            int neighbour = work->neighbours[card][i];
            inner_ends += work->best.in[neighbour] ? work->weight[card][neighbour] : 0;
        }
    }
    choice->links = inner_ends / 2;
    choice->stranded = ends - inner_ends;
}

void choice_make(struct choice *choice, struct choice_work *work, const struct choice_request *request)
{
    int16_t rank[PPU_MAX];

    list_cards(work, request, rank);
    list_neighbours(work, request->topology, rank);
    work->wanted = request->count;
    find_good_choice(work);
    bool exact = choice_prove(work, request->budget);
    report(choice, work);
    choice->exact = exact;
}
