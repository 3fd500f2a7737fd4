/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation.  The log is what an operator asks afterwards: who had which cards, and which links were open,
 * when? So each session that changes something logs, before it gives the lock back,
 *
 *   ends     every VM or group that lost its cards without being what the session was for
 *   itself   what it was for, with every link end that it cut and opened
 *   gains    every other VM or group that has other cards now
 *
 * and the log has the order of the changes.  `icn-hook history` reads these events (engine/history.c), so what their
 * fields say is a contract; icn-hook(8) has it.
 */
#include "engine/trail.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"

static void add_card_text(char **text, int ppu, struct bdf card)
{
    char bdf[BDF_TEXT_SIZE];
    size_t used = *text ? strlen(*text) : 0;
    size_t size = used + BDF_TEXT_SIZE + 16;
    *text = memory_grow(*text, size, 1);
    char *end = *text + used;
    const char *blank = used > 0 ? " " : "";
    if (ppu < 0) {
        snprintf(end, size - used, "%s?=%s", blank, bdf_format(card, bdf));
    } else {
        snprintf(end, size - used, "%s%d=%s", blank, ppu, bdf_format(card, bdf));
    }
}

char *trail_claim_cards(const struct session *session, const struct claim *claim)
{
    char *text = NULL;
    for (size_t i = 0; i < claim->card_count; i++) {
        add_card_text(&text, machine_ppu_at(session->machine, claim->cards[i].bdf), claim->cards[i].bdf);
    }
    return text ? text : memory_copy_text("");
}

char *trail_wanted_cards(const struct vm_cards *cards)
{
    char *text = NULL;
    for (size_t i = 0; i < cards->count; i++) {
        bool is_new = cards->items[i].is_ppu;
        for (size_t before = 0; is_new && before < i; before++) { /* two virtual functions of one card */
            is_new = bdf_compare(cards->items[before].card, cards->items[i].card) != 0;
        }
        if (is_new) {
            add_card_text(&text, cards->items[i].ppu, cards->items[i].card);
        }
    }
    return text;
}

/* "red; cut: 0:0x00000000>0x00000019; restored: nothing; 3 ms".  What a register held that a driver or QEMU keeps to
 * itself is not known. */
static void format_line(const struct session *session, const struct trail *trail, char *line, size_t size)
{
    char lists[2][1000] = {"", ""}; /* cuts, openings */
    char time_text[32] = "";
    for (size_t i = 0; i < session->writing_count; i++) {
        const struct session_writing *writing = &session->writings[i];
        const struct plan_write *write = &writing->write;
        char *list = lists[plan_write_cuts(write) ? 0 : 1];
        size_t used = strlen(list);
        char from[sizeof "0x00000000"] = "unread";
        if (writing->was_read) {
            snprintf(from, sizeof from, "0x%08" PRIx32, write->from);
        }
        snprintf(list + used, sizeof lists[0] - used, " %d:%s>0x%08" PRIx32 "%s", write->ppu, from, write->to,
                 writing->outcome == APPLY_DONE       ? ""
                 : writing->outcome == APPLY_DEFERRED ? "(deferred)"
                                                      : "(failed)");
    }
    if (trail->began > 0) {
        snprintf(time_text, sizeof time_text, "; %lld ms", (long long)(deadline_after_ms(0) - trail->began));
    }
    snprintf(line, size, "%s; cut:%s; restored:%s%s", trail->err ? trail->err->text : trail->what,
             lists[0][0] ? lists[0] : " nothing", lists[1][0] ? lists[1] : " nothing", time_text);
}

/* Each link end of SETS (by id) as CARD/LINK:PEER, the peer x if it is external; NULL: none.  Owned by the caller. */
static char *ends_text(const struct session *session, const uint32_t sets[])
{
    enum { END_TEXT_SIZE = sizeof " 1000/31:1000" };
    char *text = NULL;
    size_t used = 0;
    for (int ppu = 0; session->machine && ppu < session->machine->topology.ppu_count; ppu++) {
        for (int link = 0; link < LINK_MAX; link++) {
            int peer = session->machine->topology.peer[ppu][link];
            char end[16] = "x";
            if ((sets[ppu] >> link & 1) == 0) {
                continue;
            }
            if (peer >= 0) {
                snprintf(end, sizeof end, "%d", peer);
            }
            text = memory_grow(text, used + END_TEXT_SIZE, 1);
            used += (size_t)snprintf(text + used, END_TEXT_SIZE, "%s%d/%d:%s", used > 0 ? " " : "", ppu, link, end);
        }
    }
    return text;
}

/* Which link ends were cut and opened: what is in both was cut first and is open again.  FAILED: each of these may be
 * as before or as wanted. */
struct ends {
    uint32_t cut[PPU_MAX];
    uint32_t opened[PPU_MAX];
    uint32_t failed[PPU_MAX];
};

static void gather_ends(const struct session *session, struct ends *ends)
{
    for (size_t i = 0; i < session->writing_count; i++) {
        const struct session_writing *writing = &session->writings[i];
        int ppu = writing->write.ppu;
        uint32_t cuts = writing->write.to & ~writing->write.from;
        uint32_t openings = writing->write.from & ~writing->write.to;
        if (writing->outcome == APPLY_DONE) {
            ends->cut[ppu] |= cuts;
            ends->opened[ppu] = (ends->opened[ppu] & ~cuts) | openings;
            ends->failed[ppu] &= ~(cuts | openings);
        } else if (writing->outcome == APPLY_FAILED) {
            ends->failed[ppu] |= cuts | openings;
        }
    }
}

static bool is_about_cards(enum log_event event)
{
    return event == EVENT_CARDS_GIVEN || event == EVENT_VERIFIED || event == EVENT_RUNNING || event == EVENT_ENDED;
}

static void log_changes(const struct session *session, const struct trail *trail, bool have_ended)
{
    for (size_t i = 0; i < session->change_count; i++) {
        const struct owner_change *change = &session->changes[i];
        bool is_told = is_about_cards(trail->event) && trail->uuid && strcmp(change->uuid, trail->uuid) == 0 &&
                       change->has_ended == (trail->event == EVENT_ENDED);
        char line[2048];
        const struct log_field fields[] = {
            {"ICN_VM_UUID", change->uuid},
            {"ICN_VM_NAME", change->name},
            {"ICN_KIND", change->is_group ? "group" : "vm"},
            {"ICN_CARDS", change->cards},
        };
        if (change->has_ended != have_ended || is_told) {
            continue;
        }
        snprintf(line, sizeof line, "%s '%s' %s: %s", change->is_group ? "the group" : "VM",
                 change->name ? change->name : change->uuid, change->has_ended ? "has ended, and had" : "has now",
                 change->cards[0] ? change->cards : "no card");
        log_event(change->has_ended ? EVENT_ENDED : EVENT_CARDS_GIVEN, LOG_LEVEL_NOTICE, fields,
                  sizeof fields / sizeof fields[0], line);
    }
}

void trail_log(struct session *session, const struct trail *trail)
{
    char line[sizeof trail->err->text + 2100];
    CLEANUP_FREE struct ends *ends = memory_alloc(1, sizeof *ends);
    const struct claim *claim = session->machine && trail->uuid ? state_claim(&session->state, trail->uuid) : NULL;
    CLEANUP_FREE char *claimed = claim ? trail_claim_cards(session, claim) : NULL;
    const char *cards = trail->cards ? trail->cards : claimed;
    gather_ends(session, ends);
    CLEANUP_FREE char *cut = ends_text(session, ends->cut);
    CLEANUP_FREE char *opened = ends_text(session, ends->opened);
    CLEANUP_FREE char *failed = ends_text(session, ends->failed);
    for (size_t i = 0; !cards && trail->uuid && i < session->change_count; i++) {
        cards = strcmp(session->changes[i].uuid, trail->uuid) == 0 ? session->changes[i].cards : NULL;
    }
    char status[16];
    if (trail->err) {
        snprintf(status, sizeof status, "%d", trail->err->status);
    }
    const struct log_field fields[] = {
        {"ICN_STATUS", trail->err ? status : NULL},
        {"ICN_VM_UUID", trail->uuid},
        {"ICN_VM_NAME", trail->name},
        {"ICN_KIND", !trail->name      ? NULL
                     : trail->is_group ? "group"
                                       : "vm"},
        {"ICN_CARDS", cards},
        {"ICN_LINKS_CUT", cut},
        {"ICN_LINKS_OPENED", opened},
        {"ICN_LINKS_FAILED", failed},
    };
    if (trail->what) {
        format_line(session, trail, line, sizeof line);
    } else {
        snprintf(line, sizeof line, "%s", trail->err->text);
    }
    log_changes(session, trail, true);
    log_event(trail->event, trail->err ? LOG_LEVEL_ERROR : LOG_LEVEL_NOTICE, fields, sizeof fields / sizeof fields[0],
              line);
    log_changes(session, trail, false);
    session->writing_count = 0;
    session_forget_changes(session);
}
