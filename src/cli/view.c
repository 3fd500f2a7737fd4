/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/view.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "doctor/examination.h"
#include "engine/groups.h"

static int view_look(struct session *session, const struct options *options, bool is_lenient, struct error *err)
{
    struct machine *machine = NULL;
    *session = (struct session){.state = STATE_CLOSED};
    if (machine_open(options->config, &machine, err) < 0) {
        return -1;
    }
    machine->is_lenient = is_lenient;
    if (machine_survey(machine, err) < 0) {
        machine_close(machine);
        return -1;
    }
    if (session_open(session, machine, SESSION_LOOK, err) < 0) {
        return -1;
    }
    session_look_at_all(session);
    session_unlock(session);
    return 0;
}

/* Not about a card that is left out, nor about a VM or group that has only such cards. */
static bool view_keeps(const struct session *session, const struct note *note)
{
    const struct owners *owners = &session->owners;
    bool has_cards = false;
    if (note->ppu >= 0) {
        return !session->left_out[note->ppu];
    }
    for (size_t i = 0; note->vm && i < owners->holding_count; i++) {
        const struct holding *holding = &owners->holdings[i];
        if (strcmp(owners->items[holding->owner].name, note->vm) == 0) {
            if (!session->left_out[holding->ppu]) {
                return true;
            }
            has_cards = true;
        }
    }
    return !has_cards;
}

static void view_drop_notes(struct session *session, size_t first)
{
    struct notes kept = {0};
    for (size_t i = 0; i < session->notes.count; i++) {
        const struct note *note = &session->notes.items[i];
        if (i < first || view_keeps(session, note)) {
            notes_add(&kept, note->severity, note->code, note->ppu, note->vm, "%s", note->text);
        }
    }
    notes_free(&session->notes);
    session->notes = kept;
}

int view_choose(struct session *session, const struct options *options, struct error *err)
{
    bool chosen[PPU_MAX] = {false};
    if (!options->argument) {
        return 0;
    }
    for (size_t i = 0; i <= options->more_count; i++) {
        if (card_choose(session, i == 0 ? options->argument : options->more[i - 1], chosen, err) < 0) {
            err->status = STATUS_USAGE; /* as for a LIST that names no card */
            return -1;
        }
    }
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        session->left_out[ppu] = !chosen[ppu];
    }
    view_drop_notes(session, 0);
    return 0;
}

void view_find(struct session *session, const struct options *options)
{
    links_find(session);
    if (options->connect) {
        /* Without the lock: a daemon may take its time. */
        struct error fault;
        int count;
        size_t before = session->notes.count;
        if (cross_check(options->connect, session, &count, &fault) < 0) {
            notes_add(&session->notes, NOTE_WARNING, NOTE_LIBVIRT, -1, NULL, "%s; nothing was compared with libvirt",
                      fault.text);
        }
        view_drop_notes(session, before);
    }
}

static int view_open_as(struct session *session, const struct options *options, bool is_lenient, struct error *err)
{
    if (view_look(session, options, is_lenient, err) < 0 || view_choose(session, options, err) < 0) {
        return -1;
    }
    view_find(session, options);
    return 0;
}

int view_start(struct session *session, const struct options *options, struct error *err)
{
    return view_look(session, options, false, err);
}

int view_open(struct session *session, const struct options *options, struct error *err)
{
    return view_open_as(session, options, false, err);
}

int view_open_leniently(struct session *session, const struct options *options, struct error *err)
{
    return view_open_as(session, options, true, err);
}

bool view_concerns(const struct session *session, int ppu)
{
    bool is_concerned = !session->left_out[ppu];
    for (int link = 0; link < LINK_MAX; link++) {
        int peer = session->machine->topology.peer[ppu][link];
        is_concerned |= peer >= 0 && !session->left_out[peer];
    }
    return is_concerned;
}

const char *view_scope_text(const struct session *session)
{
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        if (session->left_out[ppu]) {
            return " of these cards";
        }
    }
    return "";
}

/* ARRAY may be NULL. */
static int each_leak(const struct session *session, struct json_object *array)
{
    int count = 0;
    for (int a = 0; a < session->machine->topology.ppu_count; a++) {
        for (int b = a + 1; b < session->machine->topology.ppu_count; b++) {
            struct pair pair = pair_look(session, a, b);
            bool is_left_out = session->left_out[a] && session->left_out[b];
            if (pair.wired == 0 || pair.verdict != VERDICT_LEAK || is_left_out) {
                continue;
            }
            count++;
            if (array) {
                struct json_object *entry = json_object_new_object();
                json_put_number(entry, "a", a);
                json_put_number(entry, "b", b);
                json_object_array_add(array, entry);
            }
        }
    }
    return count;
}

int view_put_leaks(const struct session *session, struct json_object *object)
{
    return each_leak(session, json_put_array(object, "leaks"));
}

int view_count_leaks(const struct session *session)
{
    return each_leak(session, NULL);
}

/* The time of day, and the date too unless it is today's. */
static void view_time_text(int64_t seconds, char text[TIME_TEXT_SIZE])
{
    time_t moment = (time_t)seconds;
    time_t now = time(NULL);
    struct tm then;
    struct tm today;
    const char *date_and_time = text_format_time(seconds, text);
    bool is_today = localtime_r(&moment, &then) && localtime_r(&now, &today) && then.tm_year == today.tm_year &&
                    then.tm_yday == today.tm_yday;
    const char *time_of_day = is_today ? strchr(date_and_time, ' ') : NULL;
    if (time_of_day) {
        memmove(text, time_of_day + 1, strlen(time_of_day));
    }
}

const char *coverage_text(const struct coverage *coverage, char text[COVERAGE_TEXT_SIZE])
{
    char since[TIME_TEXT_SIZE];
    char until[TIME_TEXT_SIZE];
    char when[2 * TIME_TEXT_SIZE + 16] = "";
    char leaks[96] = "";
    if (coverage->required == 0) {
        snprintf(text, COVERAGE_TEXT_SIZE, "no link must be cut");
        return text;
    }
    view_time_text(coverage->gated_since, since);
    view_time_text(coverage->gated_until, until);
    if (coverage->gated > 0 && coverage->gated_since == coverage->gated_until) {
        snprintf(when, sizeof when, " at %s", since);
    } else if (coverage->gated > 0) {
        snprintf(when, sizeof when, " between %s and %s", since, until);
    }
    if (coverage->leaks > 0 && coverage->external_leaks > 0) {
        snprintf(leaks, sizeof leaks, " (%d of them OPEN at both ends, and %d external ones OPEN)", coverage->leaks,
                 coverage->external_leaks);
    } else if (coverage->leaks > 0) {
        snprintf(leaks, sizeof leaks, " (%d of them OPEN at both ends)", coverage->leaks);
    } else if (coverage->external_leaks > 0) {
        snprintf(leaks, sizeof leaks, " (%d of them external and OPEN)", coverage->external_leaks);
    }
    snprintf(text, COVERAGE_TEXT_SIZE,
             "%d link%s must be cut: %d read now, %d read back%s before QEMU opened the cards, %d unverified%s",
             coverage->required, coverage->required == 1 ? "" : "s", coverage->proven, coverage->gated, when,
             coverage->unverified, leaks);
    return text;
}

void card_cells_add_place_titles(struct table *table)
{
    static const char *const titles[PLACE_CELLS] = {"ADDRESS", "DRIVER", "NUMA", "GROUP"};
    for (size_t i = 0; i < PLACE_CELLS; i++) {
        table_add(table, COLOUR_BOLD, "%s", titles[i]);
    }
}

static void add_known_number(struct table *table, int number)
{
    if (number < 0) {
        table_add(table, COLOUR_PLAIN, "-");
    } else {
        table_add(table, COLOUR_PLAIN, "%d", number);
    }
}

void card_cells_add_place(struct table *table, const struct session *session, int ppu)
{
    const struct pci_state *state = &session->cards[ppu].state;
    bool is_mapped = session->machine->mapped[ppu];
    bool is_present = is_mapped && state->present;
    char bdf[BDF_TEXT_SIZE];
    table_add(table, COLOUR_PLAIN, "%s", is_mapped ? bdf_format(session->machine->card[ppu], bdf) : "-");
    if (is_present) {
        table_add(table, COLOUR_PLAIN, "%s", state->driver[0] ? state->driver : "-");
    } else {
        table_add(table, COLOUR_RED, "%s", is_mapped ? "ABSENT" : "NO CARD");
    }
    add_known_number(table, is_present ? state->numa_node : UNKNOWN_NUMBER);
    add_known_number(table, is_present ? state->iommu_group : UNKNOWN_NUMBER);
}

void card_cells_add_owner(struct table *table, const struct session *session, int ppu)
{
    char owner[OWNER_TEXT_SIZE];
    table_add(table, session->owners.of[ppu] == OWNER_IDLE ? COLOUR_PLAIN : COLOUR_BOLD, "%s",
              owners_text(&session->owners, ppu, owner));
}

void view_put_quoted(FILE *stream, const char *text, char special, const char *instead)
{
    for (; *text; text++) {
        if (*text == special) {
            fputs(instead, stream);
        } else {
            fprintf(stream, "%s%c", *text == '\\' || *text == '"' ? "\\" : "", *text);
        }
    }
}
