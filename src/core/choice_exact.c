/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation.
 *
 * The cards are taken in an order that keeps the frontier small: the cards that
 * were taken already and have links to cards that were not.  Each card is left
 * out or put in.  What a partial choice is good for depends only on which cards
 * at the frontier are in it, on which NUMA nodes that have further cards it has
 * touched, and on its size; of all partial choices that agree in that, only the
 * best is kept.  One that cannot become as good as the choice that is known
 * already is dropped.
 *
 * Cards that nothing but their ids tells apart (the members of a full mesh
 * without links to the outside) go in by ascending id, because the others of
 * these choices lose by the last objective.
 */
#include <string.h>

#include "core/choice_frontier.h"

/* For each number of cards that are still wanted, what they add up to at most or
 * at least. */
struct outlook {
    int most_links_left[PPU_MAX + 1];
    int most_ends[PPU_MAX + 1];
    int least_degree[PPU_MAX + 1];
};

struct search {
    struct choice_work *work;
    struct layer *now;
    struct layer *next;
    int words; /* of a set */
    int states_max;
    uint32_t table_mask;
    long budget;
    struct frontier frontier;
    struct step step;
    struct outlook outlook;
};

/* A partial choice with the card that was put in last, or none (-1). */
struct addition {
    struct state state;
    const uint64_t *set;
    int card;
};

/* SUMS[n]: the N greatest values of the histogram (cards by value) added up. */
static void sum_greatest(int sums[], const int histogram[], int count)
{
    int value = ENDS_MAX;
    int used = 0;

    sums[0] = 0;
    for (int n = 1; n <= count; n++) {
        while (used == histogram[value]) {
            value--;
            used = 0;
        }
        sums[n] = sums[n - 1] + value;
        used++;
    }
}

static void sum_least(int sums[], const int histogram[], int count)
{
    int value = 0;
    int used = 0;

    sums[0] = 0;
    for (int n = 1; n <= count; n++) {
        while (used == histogram[value]) {
            value++;
            used = 0;
        }
        sums[n] = sums[n - 1] + value;
        used++;
    }
}

static void look_out(struct outlook *outlook, const struct frontier *frontier)
{
    int count = frontier->left < frontier->work->wanted ? frontier->left : frontier->work->wanted;

    sum_greatest(outlook->most_links_left, frontier->by_links_left, count);
    sum_greatest(outlook->most_ends, frontier->by_ends, count);
    sum_least(outlook->least_degree, frontier->by_degree, count);
    /* So few cards cannot have more links to each other. */
    for (int n = 0; n <= count; n++) {
        int most = n * (n - 1) * frontier->work->greatest_weight;
        outlook->most_links_left[n] = most < outlook->most_links_left[n] ? most : outlook->most_links_left[n];
    }
}

static uint64_t *set_of(const struct search *search, struct layer *layer, int index)
{
    return &layer->sets[(size_t)index * (size_t)search->words];
}

/* Can STATE, with as many of the cards left as it lacks, reach the value known? */
static bool is_promising(const struct search *search, const struct state *state)
{
    int missing = search->work->wanted - state->size;

    if (missing > search->frontier.left) {
        return false;
    }
    int ends = 2 * state->open + search->outlook.most_links_left[missing];
    ends = ends < search->outlook.most_ends[missing] ? ends : search->outlook.most_ends[missing];
    int64_t most = state->value + (int64_t)(ends / 2) * LINK_VALUE - search->outlook.least_degree[missing];
    return most >= search->work->best.value;
}

static void write_set(const struct search *search, uint64_t *target, const struct addition *addition)
{
    memcpy(target, addition->set, (size_t)search->words * sizeof *target);
    if (addition->card >= 0) {
        target[addition->card / 64] |= UINT64_C(1) << addition->card % 64;
    }
}

/* Of two different sets of the same size, the first difference tells which has
 * lower ids. */
static bool has_lower_ids(const uint64_t *a, const uint64_t *b)
{
    int word = 0;

    while (a[word] == b[word]) {
        word++;
    }
    uint64_t different = a[word] ^ b[word];
    uint64_t first = different & (~different + 1);
    return (a[word] & first) != 0;
}

static uint32_t hash(const struct state *state)
{
    uint64_t mixed = (uint64_t)state->size;

    for (int word = 0; word < FRONTIER_MAX / 64; word++) {
        mixed = (mixed ^ state->in.words[word]) * UINT64_C(0x9e3779b97f4a7c15);
        mixed ^= mixed >> 32;
    }
    return (uint32_t)mixed;
}

static bool agree(const struct state *a, const struct state *b)
{
    return a->size == b->size && memcmp(&a->in, &b->in, sizeof a->in) == 0;
}

/* Where what agrees with STATE stands in the table, or would. */
static int32_t *find_entry(const struct search *search, const struct state *state)
{
    int32_t *table = search->work->table;
    uint32_t place = hash(state) & search->table_mask;

    while (table[place] >= 0 && !agree(&search->next->states[table[place]], state)) {
        place = (place + 1) & search->table_mask;
    }
    return &table[place];
}

/* Keeps ADDITION if it is promising, and better than what agrees with it.  False
 * if there is no room. */
static bool keep(struct search *search, const struct addition *addition)
{
    struct layer *next = search->next;

    if (!is_promising(search, &addition->state)) {
        return true;
    }
    int32_t *entry = find_entry(search, &addition->state);
    if (*entry < 0) {
        if (next->count == search->states_max) {
            return false;
        }
        *entry = next->count++;
        next->states[*entry] = addition->state;
        write_set(search, set_of(search, next, *entry), addition);
        return true;
    }
    struct state *known = &next->states[*entry];
    uint64_t *known_set = set_of(search, next, *entry);
    uint64_t set[SET_WORDS];
    if (addition->state.value < known->value) {
        return true;
    }
    write_set(search, set, addition);
    if (addition->state.value > known->value || has_lower_ids(set, known_set)) {
        *known = addition->state;
        memcpy(known_set, set, (size_t)search->words * sizeof set[0]);
    }
    return true;
}

static int links_to_frontier(const struct step *step, const struct frontier_bits *in)
{
    int links = 0;

    for (int i = 0; i < step->frontier_count; i++) {
        links += frontier_has(in, step->frontier_slot[i]) ? step->frontier_weight[i] : 0;
    }
    return links;
}

static bool must_stay_out(const struct step *step, const struct frontier_bits *in)
{
    return step->twin_slot != NO_SLOT && !frontier_has(in, step->twin_slot);
}

/* Leaves the step's card out of one partial choice, and puts it in.  False if
 * there is no room. */
static bool expand(struct search *search, int index)
{
    const struct step *step = &search->step;
    const struct choice_work *work = search->work;
    const struct state *from = &search->now->states[index];
    int links = links_to_frontier(step, &from->in);
    struct addition without = {*from, set_of(search, search->now, index), -1};
    without.state.open -= links;
    for (int word = 0; word < FRONTIER_MAX / 64; word++) {
        without.state.in.words[word] &= step->kept.words[word];
    }
    struct addition with = without;
    if (!keep(search, &without)) {
        return false;
    }
    if (from->size == work->wanted || must_stay_out(step, &from->in)) {
        return true;
    }
    bool new_node = step->node_slot == NO_SLOT || !frontier_has(&from->in, step->node_slot);
    with.card = step->card;
    with.state.size++;
    with.state.open += search->frontier.links_left[step->card];
    with.state.value += (int64_t)links * LINK_VALUE - (new_node ? NODE_VALUE : 0) - work->degree[step->card];
    for (int word = 0; word < FRONTIER_MAX / 64; word++) {
        with.state.in.words[word] |= step->own.words[word];
    }
    return keep(search, &with);
}

/* Room for two states of each one that there is, half of it free. */
static void clear_table(struct search *search)
{
    uint32_t size = 4;

    while (size < (uint32_t)search->now->count * 4) {
        size *= 2;
    }
    search->table_mask = size - 1;
    memset(search->work->table, 0xff, size * sizeof search->work->table[0]);
}

/* Takes one more card.  False if that costs too much. */
static bool advance(struct search *search)
{
    if (!frontier_take_next(&search->frontier, &search->step)) {
        return false;
    }
    look_out(&search->outlook, &search->frontier);
    clear_table(search);
    search->next->count = 0;
    search->budget -= search->now->count;
    bool goes_on = search->budget >= 0;
    for (int i = 0; goes_on && i < search->now->count; i++) {
        goes_on = expand(search, i);
    }
    struct layer *done = search->now;
    search->now = search->next;
    search->next = done;
    return goes_on;
}

bool choice_prove(struct choice_work *work, long budget)
{
    struct search search = {.work = work, .now = &work->layers[0], .next = &work->layers[1], .budget = budget};

    search.words = (work->cards + 63) / 64;
    search.states_max = search.words <= SET_POOL / STATES_MAX ? STATES_MAX : SET_POOL / search.words;
    frontier_begin(&search.frontier, work);
    search.now->count = 1;
    search.now->states[0] = (struct state){0};
    memset(search.now->sets, 0, (size_t)search.words * sizeof search.now->sets[0]);
    while (search.frontier.left > 0) {
        if (!advance(&search)) {
            return false;
        }
    }
    work->best.value = search.now->states[0].value;
    for (int card = 0; card < work->cards; card++) {
        work->best.in[card] = (search.now->sets[card / 64] >> card % 64 & 1) != 0;
    }
    return true;
}
