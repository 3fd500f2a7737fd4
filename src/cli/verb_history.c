/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/paths.h"
#include "cli/commands.h"
#include "cli/json.h"
#include "cli/output.h"
#include "cli/table.h"
#include "cli/verbs.h"
#include "engine/groups.h"
#include "engine/history.h"

enum { SECOND = 1000000 };

/* What is asked about: a card, a pair of cards, an owner, or (all unset) everything. */
struct question {
    int cards[2]; /* ids, or NO_CARD */
    const char *name;
};

/* The latest id of the card in the events. */
static int history_card_at(const void *context, struct bdf bdf)
{
    const struct journal_events *events = context;
    for (size_t i = events->count; i-- > 0;) {
        for (size_t card = 0; card < events->items[i].card_count; card++) {
            if (bdf_compare(events->items[i].cards[card].bdf, bdf) == 0) {
                return events->items[i].cards[card].ppu;
            }
        }
    }
    return NO_CARD;
}

static bool is_owner(const struct journal_events *events, const char *name)
{
    for (size_t i = 0; i < events->count; i++) {
        const struct journal_event *event = &events->items[i];
        if ((event->name && strcmp(event->name, name) == 0) || (event->uuid && strcmp(event->uuid, name) == 0)) {
            return true;
        }
    }
    return false;
}

/* A VM may be called "0-6", no VM is called as a card. */
static int history_find_subject(const struct journal_events *events, const char *text, struct question *question,
                                struct error *err)
{
    const struct card_finder finder = {.count = PPU_MAX, .at = history_card_at, .context = events};
    *question = (struct question){.cards = {NO_CARD, NO_CARD}};
    if (!text) {
        return 0;
    }
    question->cards[0] = card_find(&finder, text, strlen(text));
    if (question->cards[0] != NO_CARD) {
        return 0;
    }
    if (is_owner(events, text)) {
        question->name = text;
        return 0;
    }
    if (!card_find_pair(&finder, text, question->cards)) {
        return error_set(
            err, STATUS_INVALID,
            "'%s' is not a card, a pair of cards (A-B), or a VM or group of which the journal has an event", text);
    }
    return 0;
}

static bool names_card(const struct journal_card *cards, size_t count, int ppu)
{
    for (size_t i = 0; i < count; i++) {
        if (cards[i].ppu == ppu) {
            return true;
        }
    }
    return false;
}

static bool is_asked_name(const struct question *question, const char *name, const char *uuid)
{
    return !question->name || (name && strcmp(name, question->name) == 0) ||
           (uuid && strcmp(uuid, question->name) == 0);
}

static bool is_asked_tenure(const struct question *question, const struct tenure *tenure, size_t first)
{
    bool has_first = question->cards[0] != NO_CARD && names_card(tenure->cards, tenure->card_count, question->cards[0]);
    bool has_second =
        question->cards[1] != NO_CARD && names_card(tenure->cards, tenure->card_count, question->cards[1]);
    return tenure->last_event >= first && is_asked_name(question, tenure->name, tenure->uuid) &&
           (question->cards[0] == NO_CARD || has_first || has_second);
}

static bool is_asked_period(const struct question *question, const struct period *period, size_t first)
{
    bool is_its = !question->name || strcmp(period->owners[0], question->name) == 0 ||
                  strcmp(period->owners[1], question->name) == 0;
    bool is_card = question->cards[0] == NO_CARD || period->a == question->cards[0] || period->b == question->cards[0];
    bool is_pair = question->cards[1] == NO_CARD || period->a == question->cards[1] || period->b == question->cards[1];
    return period->last_event >= first && is_its && is_card && is_pair;
}

static bool is_asked_event(const struct question *question, const struct journal_event *event)
{
    bool is_card = question->cards[0] == NO_CARD;
    for (int i = 0; i < 2 && question->cards[0] != NO_CARD; i++) {
        is_card |= question->cards[i] != NO_CARD && names_card(event->cards, event->card_count, question->cards[i]);
        for (int kind = 0; kind < ENDS_COUNT; kind++) {
            for (size_t end = 0; end < event->end_counts[kind]; end++) {
                is_card |= question->cards[i] == event->ends[kind][end].ppu;
            }
        }
    }
    return is_card && is_asked_name(question, event->name, event->uuid);
}

/* -- JSON --------------------------------------------------------------------------------- */

static void history_put_cards(struct json_object *object, const struct journal_card cards[], size_t count)
{
    struct json_object *array = json_put_array(object, "cards");
    for (size_t i = 0; i < count; i++) {
        struct json_object *entry = json_object_new_object();
        char bdf[BDF_TEXT_SIZE];
        json_put_known_number(entry, "ppu", cards[i].ppu);
        json_put_text(entry, "bdf", bdf_format(cards[i].bdf, bdf));
        json_object_array_add(array, entry);
    }
}

static void put_ends(struct json_object *object, const char *key, const struct journal_event *event, int kind)
{
    struct json_object *array = json_put_array(object, key);
    for (size_t i = 0; i < event->end_counts[kind]; i++) {
        const struct journal_end *end = &event->ends[kind][i];
        struct json_object *entry = json_object_new_object();
        json_put_number(entry, "ppu", end->ppu);
        json_put_number(entry, "link", end->link);
        json_put_known_number(entry, "peer", end->peer);
        json_object_array_add(array, entry);
    }
}

static void put_events(struct json_object *object, const struct journal_events *events, const struct question *question)
{
    struct json_object *array = json_put_array(object, "events");
    for (size_t i = events->first; i < events->count; i++) {
        const struct journal_event *event = &events->items[i];
        if (!is_asked_event(question, event)) {
            continue;
        }
        struct json_object *entry = json_object_new_object();
        json_put_time(entry, "at", event->at / SECOND);
        json_put_text(entry, "kind", journal_kind_text(event->kind));
        json_put_text(entry, "operation", event->operation);
        json_put_text(entry, "name", event->name);
        json_put_text(entry, "uuid", event->uuid);
        json_object_object_add(entry, "caller_uid", event->caller < 0 ? NULL : json_object_new_int64(event->caller));
        json_object_object_add(entry, "caller_login_uid",
                               event->caller_login < 0 ? NULL : json_object_new_int64(event->caller_login));
        history_put_cards(entry, event->cards, event->card_count);
        put_ends(entry, "cut", event, ENDS_CUT);
        put_ends(entry, "opened", event, ENDS_OPENED);
        put_ends(entry, "failed", event, ENDS_FAILED);
        json_put_text(entry, "text", event->text);
        json_object_array_add(array, entry);
    }
}

static void history_print_json(const struct journal_events *events, const struct history *history,
                               const struct question *question, const char *subject)
{
    struct json_object *object = json_object_new_object();
    json_put_text(object, "schema", "icn-hook/history/1");
    json_put_text(object, "subject", subject);
    json_put_time(object, "recorded_since", events->count > 0 ? events->items[0].at / SECOND : 0);
    struct json_object *owners = json_put_array(object, "owners");
    for (size_t i = 0; i < history->tenure_count; i++) {
        const struct tenure *tenure = &history->tenures[i];
        if (!is_asked_tenure(question, tenure, events->first)) {
            continue;
        }
        struct json_object *entry = json_object_new_object();
        json_put_text(entry, "name", tenure->name);
        json_put_text(entry, "uuid", tenure->uuid);
        json_put_text(entry, "kind", tenure->is_group ? "group" : "vm");
        history_put_cards(entry, tenure->cards, tenure->card_count);
        json_put_time(entry, "from", tenure->from / SECOND);
        json_put_bool(entry, "begin_known", tenure->is_begin_known);
        json_put_time(entry, "until", tenure->until / SECOND);
        json_put_text(entry, "end", tenure_end_text(tenure->end));
        json_object_array_add(owners, entry);
    }
    struct json_object *links = json_put_array(object, "links");
    for (size_t i = 0; i < history->period_count; i++) {
        const struct period *period = &history->periods[i];
        if (!is_asked_period(question, period, events->first)) {
            continue;
        }
        struct json_object *entry = json_object_new_object();
        json_put_number(entry, "a", period->a);
        json_put_known_number(entry, "b", period->b);
        json_put_text(entry, "state", period_state_text(period->state));
        json_put_text(entry, "owner_a", period->owners[0][0] ? period->owners[0] : NULL);
        json_put_text(entry, "owner_b", period->owners[1][0] ? period->owners[1] : NULL);
        json_put_bool(entry, "exposed", period->is_exposed);
        json_put_time(entry, "from", period->from / SECOND);
        json_put_time(entry, "until", period->until / SECOND);
        json_put_text(entry, "end", period->is_restarted ? "restarted" : NULL);
        json_object_array_add(links, entry);
    }
    put_events(object, events, question);
    json_put_number(object, "unusable", (int)events->unusable);
    json_put_number(object, "rewired", (int)history->rewired);
    json_print(object);
}

/* -- Text --------------------------------------------------------------------------------- */

static void table_begin(struct table *table, const char *const titles[], size_t count)
{
    table_open(table, count);
    for (size_t i = 0; i < count; i++) {
        table_add(table, COLOUR_BOLD, "%s", titles[i]);
    }
}

static void print_owners(const struct journal_events *events, const struct history *history,
                         const struct question *question, const struct output *output)
{
    static const char *const titles[] = {"FROM", "UNTIL", "OWNER", "CARDS"};
    struct table table;
    table_begin(&table, titles, sizeof titles / sizeof titles[0]);
    for (size_t i = 0; i < history->tenure_count; i++) {
        const struct tenure *tenure = &history->tenures[i];
        char moment[TIME_TEXT_SIZE];
        if (!is_asked_tenure(question, tenure, events->first)) {
            continue;
        }
        table_add(&table, COLOUR_PLAIN, "%s%s", tenure->is_begin_known ? "" : "before ",
                  text_format_time(tenure->from / SECOND, moment));
        table_add(&table, COLOUR_PLAIN, "%s",
                  tenure->until > 0                 ? text_format_time(tenure->until / SECOND, moment)
                  : tenure->end == TENURE_RESTARTED ? "the host's restart"
                                                    : "now");
        table_add(&table, COLOUR_PLAIN, "%s%s", tenure->is_group ? "group " : "",
                  tenure->name ? tenure->name : tenure->uuid);
        table_add(&table, COLOUR_PLAIN, "%s", "");
        for (size_t card = 0; card < tenure->card_count; card++) {
            char bdf[BDF_TEXT_SIZE];
            char text[BDF_TEXT_SIZE + 16];
            snprintf(text, sizeof text, "%s%d (%s)", card > 0 ? ", " : "", tenure->cards[card].ppu,
                     bdf_format(tenure->cards[card].bdf, bdf));
            table_append(&table, COLOUR_PLAIN, text);
        }
    }
    table_print(&table, output);
    table_free(&table);
}

/* Of everything only what was open between owners; of a subject, all that is known. */
static void print_links(const struct journal_events *events, const struct history *history,
                        const struct question *question, const struct output *output)
{
    static const char *const titles[] = {"FROM", "UNTIL", "LINKS", "STATE", "BETWEEN"};
    bool is_all = question->cards[0] == NO_CARD && !question->name;
    size_t exposed = 0;
    size_t shown = 0;
    struct table table;
    table_begin(&table, titles, sizeof titles / sizeof titles[0]);
    for (size_t i = 0; i < history->period_count; i++) {
        const struct period *period = &history->periods[i];
        char moment[TIME_TEXT_SIZE];
        if (!is_asked_period(question, period, events->first)) {
            continue;
        }
        exposed += period->is_exposed;
        if (is_all && !period->is_exposed) {
            continue;
        }
        shown++;
        table_add(&table, COLOUR_PLAIN, "%s", text_format_time(period->from / SECOND, moment));
        table_add(&table, COLOUR_PLAIN, "%s",
                  period->until > 0      ? text_format_time(period->until / SECOND, moment)
                  : period->is_restarted ? "the host's restart"
                                         : "now");
        if (period->b == EXTERNAL_PEER) {
            table_add(&table, COLOUR_PLAIN, "%d-external", period->a);
        } else {
            table_add(&table, COLOUR_PLAIN, "%d-%d", period->a, period->b);
        }
        table_add(&table, period->is_exposed ? COLOUR_RED : COLOUR_PLAIN, "%s%s", period_state_text(period->state),
                  period->is_exposed ? " BETWEEN OWNERS" : "");
        table_add(&table, COLOUR_PLAIN, "%s and %s", period->owners[0][0] ? period->owners[0] : "idle",
                  period->b == EXTERNAL_PEER ? "outside"
                  : period->owners[1][0]     ? period->owners[1]
                                             : "idle");
    }
    if (shown > 0) {
        puts("");
        table_print(&table, output);
    }
    table_free(&table);
    if (exposed == 0) {
        puts("\nNo event says that a link was open between different owners.");
    } else {
        printf("\nOPEN BETWEEN DIFFERENT OWNERS: %zu times\n", exposed);
    }
}

static void history_print_text(const struct journal_events *events, const struct history *history,
                               const struct question *question, const struct options *options)
{
    char moment[TIME_TEXT_SIZE];
    struct output output;
    output_open(&output, options);
    if (events->count == 0) {
        puts("The journal has no event of icn-hook.");
    } else {
        printf("The journal has events since %s.\n\n", text_format_time(events->items[0].at / SECOND, moment));
        print_owners(events, history, question, &output);
        print_links(events, history, question, &output);
    }
    for (size_t i = events->first; i < events->count; i++) {
        const struct journal_event *event = &events->items[i];
        bool is_told = event->caller >= 0 || event->kind == EVENT_REFUSED || event->kind == EVENT_LEAK ||
                       event->kind == EVENT_FAILED;
        if (is_told && is_asked_event(question, event)) {
            char text[1024];
            char caller[64] = "";
            text_copy_line(text, sizeof text, event->text);
            if (event->caller >= 0) {
                snprintf(caller, sizeof caller, " (uid %lld)",
                         (long long)(event->caller_login >= 0 ? event->caller_login : event->caller));
            }
            printf("%s%s %s\n", text_format_time(event->at / SECOND, moment), caller, text);
        }
    }
    if (events->unusable > 0) {
        printf("warning: events of icn-hook that make no sense and were left out: %zu\n", events->unusable);
    }
    if (history->rewired > 0) {
        printf("warning: link ends that had another peer before the cards were rewired or renumbered, and were left "
               "out: %zu\n",
               history->rewired);
    }
    if (events->count == 0 && geteuid() != 0 && !paths_simulated()) {
        puts("warning: without root the journal shows only part of itself");
    }
}

int verb_history(const struct options *options, struct error *err)
{
    struct journal_events events;
    struct history history;
    struct question question;
    if (journal_events_read(options->since, options->until, &events, err) < 0) {
        return -1;
    }
    int result = history_find_subject(&events, options->argument, &question, err);
    if (result == 0) {
        history_make(&events, &history);
        if (options->json) {
            history_print_json(&events, &history, &question, options->argument);
        } else {
            history_print_text(&events, &history, &question, options);
        }
        history_free(&history);
    }
    journal_events_free(&events);
    return result;
}
