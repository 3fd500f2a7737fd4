/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation.
 *
 * To find the densest part of a graph is hard in general, and cheap on a host with as
 * many cards as are built into one: all sets are tried, in the order of their ids, so
 * that of equal ones the first stays.  A set is put together card by card; the links of
 * each card to the cards so far are kept for each size, so that the last card, which is
 * most of the work, costs one addition.
 *
 * Where there are too many sets, a good choice is grown from every card and improved by
 * exchanging single cards.
 */
#include "core/choice.h"

#include <stdint.h>
#include <string.h>

enum {
    TRY_MAX = 128,           /* cards of which all sets may be tried */
    GROWTH_BUDGET = 6000000, /* cards that may be looked at while choices are grown and improved */
};

/* Objectives 1 to 3 as one number, higher is better.  With the links inside a set given,
 * as few links to the outside as possible means as small a sum of degrees as possible. */
enum { LINK_VALUE = 1 << 27, NODE_VALUE = 1 << 16 };

/* The available cards, numbered by their rank among them: lower is lower by id too. */
struct choice_cards {
    const struct topology *topology;
    int wanted;
    int count;
    int16_t id[PPU_MAX];
    int16_t rank[PPU_MAX]; /* by id; -1: not available */
    int16_t node[PPU_MAX]; /* numbered from 0 */
    int degree[PPU_MAX];   /* links to available cards */
};

/* A set of cards while it is changed card by card. */
struct candidate {
    bool in[PPU_MAX];
    int gain[PPU_MAX]; /* links of each card to the set */
    int on_node[PPU_MAX];
    int size;
    int64_t value;
};

/* The rank of the card at the other end of a link; -1: not available, or external. */
static int choice_neighbour(const struct choice_cards *cards, int card, int link)
{
    int peer = cards->topology->peer[cards->id[card]][link];
    return peer < 0 ? -1 : cards->rank[peer];
}

static int16_t choice_node_number(int numa_nodes[], int *node_count, int numa_node)
{
    int node = 0;
    while (node < *node_count && numa_nodes[node] != numa_node) {
        node++;
    }
    if (node == *node_count) {
        numa_nodes[(*node_count)++] = numa_node;
    }
    return (int16_t)node;
}

static void choice_list_cards(struct choice_cards *cards, const struct choice_request *request)
{
    int numa_nodes[PPU_MAX];
    int node_count = 0;
    cards->topology = request->topology;
    cards->wanted = request->count;
    cards->count = 0;
    for (int ppu = 0; ppu < request->topology->ppu_count; ppu++) {
        cards->rank[ppu] = -1;
        if (request->available[ppu]) {
            int numa_node = request->numa_node[ppu] < 0 ? -1 : request->numa_node[ppu];
            cards->rank[ppu] = (int16_t)cards->count;
            cards->id[cards->count] = (int16_t)ppu;
            cards->node[cards->count] = choice_node_number(numa_nodes, &node_count, numa_node);
            cards->count++;
        }
    }
    for (int card = 0; card < cards->count; card++) {
        cards->degree[card] = 0;
        for (int link = 0; link < LINK_MAX; link++) {
            cards->degree[card] += choice_neighbour(cards, card, link) >= 0;
        }
    }
}

/* -- All sets ---------------------------------------------------------------------- */

/* A number of links for each card, at most LINK_MAX, so that words are added without a
 * carry from one card to the next. */
union link_counts {
    uint8_t of[TRY_MAX];
    uint64_t words[TRY_MAX / sizeof(uint64_t)];
};

struct trial {
    int words;                        /* for all cards */
    union link_counts links[TRY_MAX]; /* between two cards */
    union link_counts gain[TRY_MAX];  /* by size: from the cards so far to each card */
    int64_t value[TRY_MAX];           /* by size */
    int16_t card[TRY_MAX];            /* the cards so far, ascending */
    int on_node[TRY_MAX];
    int size;
    int16_t best[TRY_MAX];
    int64_t best_value;
};

static int trial_words(const struct choice_cards *cards)
{
    return (cards->count + (int)sizeof(uint64_t) - 1) / (int)sizeof(uint64_t);
}

/* How many sets of COUNT of N cards there are; above LIMIT, something above LIMIT. */
static long choice_count_sets(int n, int count, long limit)
{
    int fewer = count < n - count ? count : n - count;
    long sets = 1;
    for (int i = 0; i < fewer && sets <= limit; i++) {
        sets = sets * (n - i) / (i + 1);
    }
    return sets;
}

/* A set costs one card looked at; each beginning of a set, of which there are as many as
 * sets that are smaller by one card, costs all words. */
static bool choice_can_try_all(const struct choice_cards *cards, long budget)
{
    if (cards->count > TRY_MAX) {
        return false;
    }
    long sets = choice_count_sets(cards->count, cards->wanted, budget);
    long beginnings = choice_count_sets(cards->count, cards->wanted - 1, budget);
    return sets + trial_words(cards) * beginnings <= budget;
}

static void trial_begin(struct trial *trial, const struct choice_cards *cards)
{
    memset(trial, 0, sizeof *trial);
    trial->words = trial_words(cards);
    trial->best_value = INT64_MIN / 2;
    for (int card = 0; card < cards->count; card++) {
        for (int link = 0; link < LINK_MAX; link++) {
            int neighbour = choice_neighbour(cards, card, link);
            if (neighbour >= 0) {
                trial->links[card].of[neighbour]++;
            }
        }
    }
}

static void trial_add(struct trial *trial, const struct choice_cards *cards, int card)
{
    const union link_counts *before = &trial->gain[trial->size];
    union link_counts *after = &trial->gain[trial->size + 1];
    for (int word = 0; word < trial->words; word++) {
        after->words[word] = before->words[word] + trial->links[card].words[word];
    }
    bool new_node = trial->on_node[cards->node[card]] == 0;
    trial->value[trial->size + 1] = trial->value[trial->size] + (int64_t)before->of[card] * LINK_VALUE -
                                    (new_node ? NODE_VALUE : 0) - cards->degree[card];
    trial->on_node[cards->node[card]]++;
    trial->card[trial->size++] = (int16_t)card;
}

/* Tries each card from FIRST on as the last one. */
static void trial_complete(struct trial *trial, const struct choice_cards *cards, int first)
{
    const uint8_t *gain = trial->gain[trial->size].of;
    int64_t missing = trial->best_value - trial->value[trial->size];
    for (int card = first; card < cards->count; card++) {
        int64_t value = (int64_t)gain[card] * LINK_VALUE - cards->degree[card];
        if (value > missing && (value -= trial->on_node[cards->node[card]] == 0 ? NODE_VALUE : 0) > missing) {
            missing = value;
            trial->best_value = trial->value[trial->size] + value;
            memcpy(trial->best, trial->card, (size_t)trial->size * sizeof trial->card[0]);
            trial->best[trial->size] = (int16_t)card;
        }
    }
}

static void choice_try_all(const struct choice_cards *cards, bool in[])
{
    struct trial trial;
    int next = 0;
    trial_begin(&trial, cards);
    for (;;) {
        int missing = cards->wanted - trial.size;
        if (missing > 1 && missing <= cards->count - next) {
            trial_add(&trial, cards, next++);
            continue;
        }
        if (missing == 1) {
            trial_complete(&trial, cards, next);
        }
        if (trial.size == 0) {
            break;
        }
        int last = trial.card[--trial.size];
        trial.on_node[cards->node[last]]--;
        next = last + 1;
    }
    for (int i = 0; i < cards->wanted; i++) {
        in[trial.best[i]] = true;
    }
}

/* -- Growing and exchanging -------------------------------------------------------- */

/* What the candidate's value changes by when CARD, which is out, comes in. */
static int64_t candidate_gain(const struct choice_cards *cards, const struct candidate *candidate, int card)
{
    bool new_node = candidate->on_node[cards->node[card]] == 0;
    return (int64_t)candidate->gain[card] * LINK_VALUE - (new_node ? NODE_VALUE : 0) - cards->degree[card];
}

static void candidate_change_gains(const struct choice_cards *cards, struct candidate *candidate, int card, int change)
{
    for (int link = 0; link < LINK_MAX; link++) {
        int neighbour = choice_neighbour(cards, card, link);
        if (neighbour >= 0) {
            candidate->gain[neighbour] += change;
        }
    }
}

static void candidate_add(const struct choice_cards *cards, struct candidate *candidate, int card)
{
    candidate->value += candidate_gain(cards, candidate, card);
    candidate->in[card] = true;
    candidate->on_node[cards->node[card]]++;
    candidate->size++;
    candidate_change_gains(cards, candidate, card, 1);
}

static void candidate_take_out(const struct choice_cards *cards, struct candidate *candidate, int card)
{
    candidate->in[card] = false;
    candidate->on_node[cards->node[card]]--;
    candidate->size--;
    candidate_change_gains(cards, candidate, card, -1);
    candidate->value -= candidate_gain(cards, candidate, card);
}

static void candidate_grow(const struct choice_cards *cards, struct candidate *candidate, int first)
{
    memset(candidate, 0, sizeof *candidate);
    candidate_add(cards, candidate, first);
    while (candidate->size < cards->wanted) {
        int64_t most = INT64_MIN;
        int next = 0;
        for (int card = 0; card < cards->count; card++) {
            int64_t value = candidate->in[card] ? INT64_MIN : candidate_gain(cards, candidate, card);
            if (value > most) {
                most = value;
                next = card;
            }
        }
        candidate_add(cards, candidate, next);
    }
}

/* Exchanges CARD for the one outside that makes most of it: a better value, or
 * the same with a lower id. */
static bool candidate_exchange(const struct choice_cards *cards, struct candidate *candidate, int card)
{
    int64_t most = candidate->value;
    int best = card;
    candidate_take_out(cards, candidate, card);
    for (int other = 0; other < cards->count; other++) {
        if (candidate->in[other]) {
            continue;
        }
        int64_t value = candidate->value + candidate_gain(cards, candidate, other);
        if (value > most || (value == most && other < best)) {
            most = value;
            best = other;
        }
    }
    candidate_add(cards, candidate, best);
    return best != card;
}

/* Until no exchange of one card makes the candidate better. */
static void candidate_improve(const struct choice_cards *cards, struct candidate *candidate, long *budget)
{
    bool better = true;
    while (better && *budget > 0) {
        better = false;
        for (int card = 0; card < cards->count; card++) {
            if (candidate->in[card]) {
                better |= candidate_exchange(cards, candidate, card);
                *budget -= cards->count;
            }
        }
    }
}

/* Of two sets of the same size, the first difference tells which has lower ids. */
static bool candidate_is_better(const struct choice_cards *cards, const struct candidate *a, const struct candidate *b)
{
    if (a->value != b->value) {
        return a->value > b->value;
    }
    for (int card = 0; card < cards->count; card++) {
        if (a->in[card] != b->in[card]) {
            return a->in[card];
        }
    }
    return false;
}

/* Grows from every card, or as many of them, evenly spread, as the budget is
 * enough for. */
static void choice_grow_and_exchange(const struct choice_cards *cards, bool in[])
{
    long budget = GROWTH_BUDGET;
    long cost = 1 + 4L * cards->wanted * cards->count;
    long starts = budget / cost < cards->count ? budget / cost + 1 : cards->count;
    struct candidate best = {.value = INT64_MIN};
    struct candidate candidate;
    for (long start = 0; start < starts; start++) {
        candidate_grow(cards, &candidate, (int)(start * cards->count / starts));
        candidate_improve(cards, &candidate, &budget);
        if (candidate_is_better(cards, &candidate, &best)) {
            best = candidate;
        }
    }
    memcpy(in, best.in, sizeof best.in);
}

static void choice_report(struct choice *choice, const struct choice_cards *cards, const bool in[])
{
    bool seen[PPU_MAX] = {false};
    int inner_ends = 0;
    for (int card = 0; card < cards->count; card++) {
        if (!in[card]) {
            continue;
        }
        choice->chosen[cards->id[card]] = true;
        choice->numa_nodes += !seen[cards->node[card]];
        seen[cards->node[card]] = true;
        for (int link = 0; link < LINK_MAX; link++) {
            int neighbour = choice_neighbour(cards, card, link);
            if (neighbour >= 0) {
                inner_ends += in[neighbour];
                choice->stranded += !in[neighbour];
            }
        }
    }
    choice->links = inner_ends / 2;
}

void choice_make(struct choice *choice, const struct choice_request *request)
{
    struct choice_cards cards;
    bool in[PPU_MAX] = {false};
    choice_list_cards(&cards, request);
    *choice = (struct choice){.exact = choice_can_try_all(&cards, request->budget)};
    if (choice->exact) {
        choice_try_all(&cards, in);
    } else {
        choice_grow_and_exchange(&cards, in);
    }
    choice_report(choice, &cards, in);
}
