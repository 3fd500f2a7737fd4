/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation.  The events are played through in their order.  After each, every pair of cards of which an
 * event names a link end has a state:
 *
 *   cut      every end on one of its two sides was cut last
 *   open     an end on each side was opened last
 *   unknown  anything else: an end that no event has named yet, or whose write failed
 *
 * Nothing is taken from the topology of today: an end's peer is in its event.  All ends that any event names count from
 * the beginning, so that a pair is not called cut for one cut end of two.  What is cut although it was cut already was
 * open at some time in between: the time before it is unknown then.  A restart of the host ends what is known.
 */
#include "engine/history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum end_state { STATE_NOT_NAMED, STATE_UNKNOWN, STATE_CUT, STATE_OPEN };

struct replay {
    const struct journal_events *events;
    struct history *history;
    struct known_end {
        enum end_state state;
        int peer;
        bool is_named;
    } ends[PPU_MAX][LINK_MAX];
    struct pair_track {
        int a;
        int b;
        size_t period; /* its last one, plus 1; 0: none */
    } * pairs;
    size_t pair_count;
};

const char *tenure_end_text(enum tenure_end end)
{
    static const char *const texts[] = {[TENURE_LASTS] = NULL,
                                        [TENURE_ENDED] = "ended",
                                        [TENURE_CHANGED] = "changed",
                                        [TENURE_RESTARTED] = "restarted"};
    return texts[end];
}

const char *period_state_text(enum period_state state)
{
    static const char *const texts[] = {[PERIOD_UNKNOWN] = "unknown", [PERIOD_CUT] = "cut", [PERIOD_OPEN] = "open"};
    return texts[state];
}

/* -- Who had which cards ---------------------------------------------------------------- */

static struct tenure *lasting_tenure(const struct history *history, const char *uuid)
{
    for (size_t i = history->tenure_count; i-- > 0;) {
        struct tenure *tenure = &history->tenures[i];
        if (tenure->end == TENURE_LASTS && strcmp(tenure->uuid, uuid) == 0) {
            return tenure;
        }
    }
    return NULL;
}

static bool has_card(const struct tenure *tenure, int ppu)
{
    for (size_t i = 0; i < tenure->card_count; i++) {
        if (tenure->cards[i].ppu == ppu) {
            return true;
        }
    }
    return false;
}

static bool has_same_cards(const struct tenure *tenure, const struct journal_event *event)
{
    bool is_same = tenure->card_count == event->card_count;
    for (size_t i = 0; is_same && i < event->card_count; i++) {
        bool is_there = false;
        for (size_t j = 0; j < tenure->card_count; j++) {
            is_there |= bdf_compare(tenure->cards[j].bdf, event->cards[i].bdf) == 0;
        }
        is_same = is_there;
    }
    return is_same;
}

static void end_tenure(struct tenure *tenure, enum tenure_end end, int64_t at)
{
    tenure->end = end;
    tenure->until = at;
}

static void follow_tenures(struct replay *replay, size_t number)
{
    const struct journal_event *event = &replay->events->items[number];
    struct history *history = replay->history;
    bool gives = event->kind == EVENT_CARDS_GIVEN || event->kind == EVENT_VERIFIED || event->kind == EVENT_RUNNING;
    struct tenure *tenure = event->uuid ? lasting_tenure(history, event->uuid) : NULL;
    if (tenure && event->kind == EVENT_ENDED) {
        tenure->last_event = number;
        end_tenure(tenure, TENURE_ENDED, event->at);
    }
    if (!event->uuid || !gives || !event->has_cards) {
        return;
    }
    if (tenure && has_same_cards(tenure, event)) {
        return;
    }
    bool is_begin_known = tenure || event->kind == EVENT_CARDS_GIVEN;
    if (tenure) {
        tenure->last_event = number;
        end_tenure(tenure, TENURE_CHANGED, event->at);
    }
    if (event->card_count > 0) {
        history->tenures = memory_grow(history->tenures, history->tenure_count + 1, sizeof *history->tenures);
        history->tenures[history->tenure_count++] = (struct tenure){.uuid = event->uuid,
                                                                    .name = event->name,
                                                                    .is_group = event->is_group,
                                                                    .cards = event->cards,
                                                                    .card_count = event->card_count,
                                                                    .from = event->at,
                                                                    .is_begin_known = is_begin_known};
    }
}

/* The names of a card's owners; owned by the caller. */
static char *owner_names(const struct history *history, int ppu)
{
    char *names = memory_copy_text("");
    for (size_t i = 0; ppu >= 0 && i < history->tenure_count; i++) {
        const struct tenure *tenure = &history->tenures[i];
        if (tenure->end == TENURE_LASTS && has_card(tenure, ppu)) {
            char *begun = names[0] ? text_join(names, ", ") : memory_copy_text("");
            free(names);
            names = text_join(begun, tenure->name ? tenure->name : tenure->uuid);
            free(begun);
        }
    }
    return names;
}

/* -- Which links were open ---------------------------------------------------------------- */

static struct pair_track *find_pair(struct replay *replay, int ppu, int peer)
{
    int a = peer == EXTERNAL_PEER || ppu < peer ? ppu : peer;
    int b = peer == EXTERNAL_PEER || ppu < peer ? peer : ppu;
    for (size_t i = 0; i < replay->pair_count; i++) {
        if (replay->pairs[i].a == a && replay->pairs[i].b == b) {
            return &replay->pairs[i];
        }
    }
    replay->pairs = memory_grow(replay->pairs, replay->pair_count + 1, sizeof *replay->pairs);
    replay->pairs[replay->pair_count] = (struct pair_track){.a = a, .b = b};
    return &replay->pairs[replay->pair_count++];
}

/* All ends that any event names, with the peer that the last one gives. */
static void gather_named(struct replay *replay)
{
    const struct journal_events *events = replay->events;
    for (size_t i = 0; i < events->count; i++) {
        for (int kind = 0; kind < ENDS_COUNT; kind++) {
            for (size_t j = 0; j < events->items[i].end_counts[kind]; j++) {
                const struct journal_end *end = &events->items[i].ends[kind][j];
                replay->ends[end->ppu][end->link].is_named = true;
                replay->ends[end->ppu][end->link].peer = end->peer;
            }
        }
    }
    for (int ppu = 0; ppu < PPU_MAX; ppu++) {
        for (int link = 0; link < LINK_MAX; link++) {
            if (replay->ends[ppu][link].is_named) {
                find_pair(replay, ppu, replay->ends[ppu][link].peer);
            }
        }
    }
}

/* What is known of A's ends of its links to B: all cut, one open, or neither. */
static enum end_state side_state(const struct replay *replay, int a, int b)
{
    bool is_any_open = false;
    bool is_all_cut = true;
    bool is_any = false;
    for (int link = 0; link < LINK_MAX; link++) {
        const struct known_end *end = &replay->ends[a][link];
        if (end->is_named && end->peer == b) {
            is_any = true;
            is_any_open |= end->state == STATE_OPEN;
            is_all_cut &= end->state == STATE_CUT;
        }
    }
    return !is_any ? STATE_NOT_NAMED : is_all_cut ? STATE_CUT : is_any_open ? STATE_OPEN : STATE_UNKNOWN;
}

static enum period_state pair_state(const struct replay *replay, const struct pair_track *pair)
{
    enum end_state near = side_state(replay, pair->a, pair->b);
    enum end_state far = pair->b == EXTERNAL_PEER ? near : side_state(replay, pair->b, pair->a);
    if (near == STATE_CUT || far == STATE_CUT) {
        return PERIOD_CUT;
    }
    return near == STATE_OPEN && far == STATE_OPEN ? PERIOD_OPEN : PERIOD_UNKNOWN;
}

static bool is_current_end(struct replay *replay, const struct journal_end *end)
{
    return replay->ends[end->ppu][end->link].peer == end->peer;
}

/* An end that is cut again was found open: a pair that was called cut for it alone was not, at some time. */
static void doubt_cuts(struct replay *replay, const struct journal_event *event)
{
    for (size_t i = 0; i < event->end_counts[ENDS_CUT]; i++) {
        const struct journal_end *end = &event->ends[ENDS_CUT][i];
        struct known_end *known = &replay->ends[end->ppu][end->link];
        if (is_current_end(replay, end) && known->state == STATE_CUT) {
            known->state = STATE_UNKNOWN;
        }
    }
    for (size_t i = 0; i < event->end_counts[ENDS_CUT]; i++) {
        const struct journal_end *end = &event->ends[ENDS_CUT][i];
        struct pair_track *pair = is_current_end(replay, end) ? find_pair(replay, end->ppu, end->peer) : NULL;
        struct period *period = pair && pair->period > 0 ? &replay->history->periods[pair->period - 1] : NULL;
        if (period && period->state == PERIOD_CUT && pair_state(replay, pair) != PERIOD_CUT) {
            period->state = PERIOD_UNKNOWN;
        }
    }
}

static void follow_ends(struct replay *replay, const struct journal_event *event)
{
    static const enum end_state becomes[] = {
        [ENDS_CUT] = STATE_CUT, [ENDS_OPENED] = STATE_OPEN, [ENDS_FAILED] = STATE_UNKNOWN};
    doubt_cuts(replay, event);
    for (int kind = 0; kind < ENDS_COUNT; kind++) {
        for (size_t i = 0; i < event->end_counts[kind]; i++) {
            const struct journal_end *end = &event->ends[kind][i];
            if (is_current_end(replay, end)) {
                replay->ends[end->ppu][end->link].state = becomes[kind];
            } else {
                replay->history->rewired++;
            }
        }
    }
}

static void follow_pair(struct replay *replay, struct pair_track *pair, size_t number)
{
    const struct journal_event *event = &replay->events->items[number];
    struct history *history = replay->history;
    struct period *last = pair->period > 0 ? &history->periods[pair->period - 1] : NULL;
    struct period now = {.a = pair->a, .b = pair->b, .from = event->at, .state = pair_state(replay, pair)};
    now.owners[0] = owner_names(history, pair->a);
    now.owners[1] = owner_names(history, pair->b);
    bool is_shared = strchr(now.owners[0], ',') || strchr(now.owners[1], ',');
    now.is_exposed = now.state == PERIOD_OPEN && (is_shared || strcmp(now.owners[0], now.owners[1]) != 0);
    bool is_same = last && last->until == 0 && last->state == now.state &&
                   strcmp(last->owners[0], now.owners[0]) == 0 && strcmp(last->owners[1], now.owners[1]) == 0;
    if (is_same || (!last && now.state == PERIOD_UNKNOWN)) {
        free(now.owners[0]);
        free(now.owners[1]);
        return;
    }
    if (last && last->until == 0) {
        last->until = event->at;
        last->last_event = number;
    }
    history->periods = memory_grow(history->periods, history->period_count + 1, sizeof *history->periods);
    history->periods[history->period_count++] = now;
    pair->period = history->period_count;
}

/* AT: when it was at the latest; 0: after the last event. */
static void follow_restart(struct replay *replay, size_t number, int64_t at)
{
    for (size_t i = 0; i < replay->history->tenure_count; i++) {
        struct tenure *tenure = &replay->history->tenures[i];
        if (tenure->end == TENURE_LASTS) {
            tenure->last_event = number;
            end_tenure(tenure, TENURE_RESTARTED, at);
        }
    }
    for (int ppu = 0; ppu < PPU_MAX; ppu++) {
        for (int link = 0; link < LINK_MAX; link++) {
            replay->ends[ppu][link].state = STATE_NOT_NAMED;
        }
    }
}

void history_make(const struct journal_events *events, struct history *history)
{
    CLEANUP_FREE struct replay *replay = memory_alloc(1, sizeof *replay);
    replay->events = events;
    replay->history = history;
    *history = (struct history){0};
    gather_named(replay);
    for (size_t i = 0; i < events->count; i++) {
        if (i > 0 && strcmp(events->items[i - 1].boot, events->items[i].boot) != 0) {
            follow_restart(replay, i, events->items[i].at);
        }
        follow_tenures(replay, i);
        follow_ends(replay, &events->items[i]);
        for (size_t pair = 0; pair < replay->pair_count; pair++) {
            follow_pair(replay, &replay->pairs[pair], i);
        }
    }
    bool has_restarted =
        events->count > 0 && events->boot[0] && strcmp(events->items[events->count - 1].boot, events->boot) != 0;
    if (has_restarted) {
        follow_restart(replay, events->count, 0);
    }
    for (size_t i = 0; i < history->tenure_count; i++) {
        struct tenure *tenure = &history->tenures[i];
        tenure->last_event = tenure->end == TENURE_LASTS ? SIZE_MAX : tenure->last_event;
    }
    for (size_t i = 0; i < history->period_count; i++) {
        struct period *period = &history->periods[i];
        period->last_event = period->until == 0 ? SIZE_MAX : period->last_event;
        period->is_restarted = period->until == 0 && has_restarted;
    }
    free(replay->pairs);
}

void history_free(struct history *history)
{
    for (size_t i = 0; i < history->period_count; i++) {
        free(history->periods[i].owners[0]);
        free(history->periods[i].owners[1]);
    }
    free(history->periods);
    free(history->tenures);
    *history = (struct history){0};
}
