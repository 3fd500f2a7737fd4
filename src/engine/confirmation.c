/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "engine/confirm.h"

static void add_settings(const struct settings *settings, struct text_list *lines)
{
    text_list_add(lines, "backend = %s", settings->backend == BACKEND_PPUDBG ? "ppudbg" : "mmio");
    text_list_add(lines, "bar = %d", settings->bar);
    text_list_add(lines, "link_config = 0x%" PRIx32, settings->link_config);
    text_list_add(lines, "link_status = 0x%" PRIx32, settings->link_status);
    text_list_add(lines, "stride = %" PRIu32, settings->stride);
    text_list_add(lines, "cut_bit = %d", settings->cut_bit);
    text_list_add(lines, "links = 0x%" PRIx32, settings->links);
    if (settings->backend == BACKEND_PPUDBG) {
        text_list_add(lines, "isolate = %s", settings->ppudbg_isolate);
    }
}

static void add_card(const struct machine *machine, int ppu, struct text_list *lines)
{
    const struct settings *settings = &machine->settings;
    char bdf[BDF_TEXT_SIZE];
    const char *path = "";
    const char *serial = "";
    for (int i = 0; i < settings->map_count; i++) {
        if (settings->map[i].ppu == ppu) {
            path = settings->map[i].path;
            serial = settings->map[i].serial;
        }
    }
    text_list_add(lines, "PPU %d = %s%s%s%s%s", ppu,
                  machine->mapped[ppu] ? bdf_format(machine->card[ppu], bdf) : "no card", path[0] ? " path=" : "", path,
                  serial[0] ? " serial=" : "", serial);
}

static void add_links(const struct topology *topology, int ppu, struct text_list *lines)
{
    for (int link = 0; link < LINK_MAX; link++) {
        int peer = topology->peer[ppu][link];
        int peer_link = topology->peer_link[ppu][link];
        if (peer == EXTERNAL_PEER) {
            text_list_add(lines, "%d.%d = external", ppu, link);
        } else if (peer != NO_PEER && peer_link != NO_PEER_LINK) {
            text_list_add(lines, "%d.%d = %d.%d", ppu, link, peer, peer_link);
        } else if (peer != NO_PEER) {
            text_list_add(lines, "%d.%d = %d", ppu, link, peer);
        }
    }
}

void confirm_made_for(const struct machine *machine, struct text_list *lines)
{
    add_settings(&machine->settings, lines);
    for (int ppu = 0; ppu < machine->topology.ppu_count; ppu++) {
        add_card(machine, ppu, lines);
    }
    for (int ppu = 0; ppu < machine->topology.ppu_count; ppu++) {
        add_links(&machine->topology, ppu, lines);
    }
}

/* Where two lists of lines differ first: the lines there, NULL at the end of a list.  False: nowhere. */
static bool find_difference(const struct text_list *was, const struct text_list *is, const char **then,
                            const char **now)
{
    size_t i = 0;
    while (i < was->count && i < is->count && strcmp(was->items[i], is->items[i]) == 0) {
        i++;
    }
    *then = i < was->count ? was->items[i] : NULL;
    *now = i < is->count ? is->items[i] : NULL;
    return *then || *now;
}

static const char *find_moment(const struct confirmed *confirmed, char text[32])
{
    int64_t latest = 0;
    struct tm tm;
    for (size_t i = 0; i < confirmed->count; i++) {
        latest = confirmed->links[i].at > latest ? confirmed->links[i].at : latest;
    }
    time_t seconds = (time_t)latest;
    if (!gmtime_r(&seconds, &tm) || strftime(text, 32, "%Y-%m-%d %H:%M", &tm) == 0) {
        text[0] = '\0';
    }
    return text;
}

const char *confirmation_text(enum confirmation confirmation)
{
    static const char *const texts[] = {
        [CONFIRMATION_NONE] = "none",           [CONFIRMATION_UNUSABLE] = "unusable", [CONFIRMATION_OTHER] = "changed",
        [CONFIRMATION_FAILED] = "contradicted", [CONFIRMATION_PARTIAL] = "partial",   [CONFIRMATION_FINE] = "confirmed",
    };
    return texts[confirmation];
}

/* In which of the last three states it is. */
static enum confirmation judge_links(const struct confirmed *confirmed, char why[512])
{
    size_t counts[CONFIRM_NO_WITNESS + 1] = {0};
    size_t down = 0;
    char moment[32];
    for (size_t i = 0; i < confirmed->count; i++) {
        const struct confirmed_link *link = &confirmed->links[i];
        counts[link->verdict]++;
        down += link->is_down;
    }
    if (counts[CONFIRM_CONTRADICTED] > 0) {
        snprintf(why, 512, "%zu of %zu links contradicted the settings; see icn-hook confirm",
                 counts[CONFIRM_CONTRADICTED], confirmed->count);
        return CONFIRMATION_FAILED;
    }
    bool is_partial = counts[CONFIRM_NO_WITNESS] > down || (confirmed->count > 0 && counts[CONFIRM_CONFIRMED] == 0);
    snprintf(why, 512, "%zu of %zu links are confirmed, %zu were down (%s UTC)%s", counts[CONFIRM_CONFIRMED],
             confirmed->count, down, find_moment(confirmed, moment),
             is_partial ? "; run icn-hook confirm while the other cards are idle" : "");
    return is_partial ? CONFIRMATION_PARTIAL : CONFIRMATION_FINE;
}

enum confirmation confirmation_look(const struct machine *machine, struct confirmed *confirmed, char why[512])
{
    struct text_list lines = {0};
    struct error err;
    bool missing;
    const char *then;
    const char *now;
    *confirmed = (struct confirmed){0};
    if (confirmed_load(confirmed, &missing, &err) < 0) {
        if (missing) {
            snprintf(why, 512, "nothing shows that registers, map and topology are right: run icn-hook confirm");
            return CONFIRMATION_NONE;
        }
        snprintf(why, 512, "%.400s; run icn-hook confirm", err.text);
        return CONFIRMATION_UNUSABLE;
    }
    confirm_made_for(machine, &lines);
    bool differs = find_difference(&confirmed->made_for, &lines, &then, &now);
    if (differs) {
        snprintf(why, 512,
                 "something has changed since icn-hook confirm ran (it was '%.150s' and is '%.150s' now): run it "
                 "again",
                 then ? then : "nothing", now ? now : "nothing");
        confirmed_free(confirmed);
    }
    text_list_free(&lines);
    return differs ? CONFIRMATION_OTHER : judge_links(confirmed, why);
}

/* How many links the card has, and how many of them are confirmed, or known to be down. */
static void count_links(const struct confirmed *confirmed, int ppu, int *confirmed_count, int *down_count)
{
    for (size_t i = 0; i < confirmed->count; i++) {
        const struct confirmed_link *link = &confirmed->links[i];
        if (link->ppu == ppu || link->peer == ppu) {
            *confirmed_count += link->verdict == CONFIRM_CONFIRMED;
            *down_count += link->is_down;
        }
    }
}

int confirmation_admit(const struct machine *machine, const bool near[], struct error *err)
{
    static const char policy[] = "[policy] require_confirmed = yes";
    struct confirmed confirmed;
    char why[512];
    int result = 0;
    enum confirmation state = confirmation_look(machine, &confirmed, why);
    if (state < CONFIRMATION_PARTIAL) {
        result = error_set(err, STATUS_INVALID, "%s: %s", policy, why);
    }
    for (int ppu = 0; result == 0 && ppu < machine->topology.ppu_count; ppu++) {
        int links = __builtin_popcount(topology_links(&machine->topology, ppu));
        int confirmed_count = 0;
        int down_count = 0;
        char card[CARD_TEXT_SIZE];
        count_links(&confirmed, ppu, &confirmed_count, &down_count);
        if (near[ppu] && (confirmed_count + down_count < links || (links > 0 && confirmed_count == 0))) {
            result =
                error_set(err, STATUS_INVALID,
                          "%s: of the %d links of %s only %d are confirmed; run icn-hook confirm while the card and "
                          "its neighbours are idle",
                          policy, links, machine_card_text(machine, ppu, card), confirmed_count);
        }
    }
    confirmed_free(&confirmed);
    return result;
}
