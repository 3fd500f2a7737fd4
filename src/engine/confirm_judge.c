/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a trial says of each link: what the witnesses saw at its two ends, and whether anything else went down. */
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "engine/confirm_private.h"

static void PRINTF_LIKE(3, 4)
    conclude(struct confirm_link *entry, enum confirm_verdict verdict, const char *format, ...)
{
    va_list arguments;
    entry->result.verdict = verdict;
    entry->result.at = time(NULL);
    va_start(arguments, format);
    vsnprintf(entry->why, sizeof entry->why, format, arguments);
    va_end(arguments);
}

void attempt_conclude(const struct attempt *attempt, enum confirm_verdict verdict, const char *why)
{
    for (int link = 0; link < LINK_MAX; link++) {
        if (has_link(attempt->job->links, link)) {
            conclude(confirm_find_link(attempt->confirm, attempt->job->ppu, link), verdict, "%s", why);
        }
    }
}

/* What the witnesses saw of one link. */
struct link_sight {
    bool near_fell;
    bool near_stayed;
    bool far_fell;
    bool far_stayed;
};

/* What WITNESS saw of one link; to SEEN, and as a line to the entry's if it is anything. */
static void see_link(const struct attempt *attempt, enum witness witness, int link, struct link_sight *seen,
                     struct confirm_link *entry)
{
    int near = attempt->job->ppu;
    uint32_t ends;
    int peer = attempt_peer(attempt, link, &ends);
    uint32_t near_up = attempt->before.up[witness][near] & attempt->now.known[witness][near] & UINT32_C(1) << link;
    uint32_t near_fell = near_up & ~attempt->now.up[witness][near];
    uint32_t far_up = peer < 0 ? 0 : attempt->before.up[witness][peer] & attempt->now.known[witness][peer] & ends;
    uint32_t far_fell = peer < 0 ? 0 : far_up & ~attempt->now.up[witness][peer];
    char near_text[32] = "";
    char far_text[32] = "";
    seen->near_fell |= near_fell != 0;
    seen->near_stayed |= near_up != near_fell;
    seen->far_fell |= far_fell != 0;
    seen->far_stayed |= far_up == ends && far_up != 0 && far_fell == 0; /* of parallel links any may be it */
    if (near_up != 0) {
        snprintf(near_text, sizeof near_text, "PPU %d %s", near, near_fell != 0 ? "down" : "up");
    }
    if (far_up != 0) {
        snprintf(far_text, sizeof far_text, "PPU %d %s", peer, far_fell != 0 ? "down" : "up");
    }
    if (near_up != 0 || far_up != 0) {
        text_list_add(&entry->witnesses, "%s: %s%s%s", witness_text(witness), near_text,
                      near_text[0] && far_text[0] ? ", " : "", far_text);
    }
}

/* What was read back at its ends. */
static void see_registers(const struct attempt *attempt, int link, struct confirm_link *entry)
{
    const struct session *session = attempt->session;
    int near = attempt->job->ppu;
    uint32_t ends;
    int peer = attempt_peer(attempt, link, &ends);
    if (session_is_read(session, near)) {
        const char *text = has_link(session->cards[near].reading.mask, link) ? "cut" : "open";
        if (peer >= 0 && session_is_read(session, peer)) {
            bool is_cut = (ends & ~session->cards[peer].reading.mask) == 0;
            text_list_add(&entry->witnesses, "register: PPU %d %s, PPU %d %s", near, text, peer,
                          is_cut ? "cut" : "open");
        } else {
            text_list_add(&entry->witnesses, "register: PPU %d %s", near, text);
        }
    }
}

/* A link that is none of the job's and went down all the same. */
static bool find_elsewhere(const struct attempt *attempt, int *ppu, int *link)
{
    for (size_t i = attempt->first_sight; i < attempt->confirm->sight_count; i++) {
        const struct sight *sight = &attempt->confirm->sights[i];
        uint32_t elsewhere = sight->down & ~attempt->ends[sight->ppu];
        if (elsewhere != 0) {
            *ppu = sight->ppu;
            *link = __builtin_ctz(elsewhere);
            return true;
        }
    }
    return false;
}

static void judge_link(const struct attempt *attempt, int link, bool is_expected)
{
    struct confirm_link *entry = confirm_find_link(attempt->confirm, attempt->job->ppu, link);
    struct link_sight seen = {0};
    int near = attempt->job->ppu;
    uint32_t ends;
    int peer = attempt_peer(attempt, link, &ends);
    char also[96] = "";
    int other;
    int other_link;
    see_registers(attempt, link, entry);
    for (enum witness witness = 0; witness < WITNESS_COUNT; witness++) {
        see_link(attempt, witness, link, &seen, entry);
    }
    bool strays = find_elsewhere(attempt, &other, &other_link);
    if (strays) {
        snprintf(also, sizeof also, "; link %d of PPU %d went down", other_link, other);
    }
    if (attempt->trial.opens) {
        bool fell = seen.near_fell || seen.far_fell;
        conclude(entry, CONFIRM_CONTRADICTED, "it reads as cut at PPU %d, and is up%s%s", attempt->trial.ppu,
                 fell ? "; it goes down when it is opened there" : "", also);
    } else if (seen.near_stayed || seen.far_stayed) {
        conclude(entry, CONFIRM_CONTRADICTED, "cut at PPU %d, and still up%s%s", near,
                 seen.near_stayed && !seen.far_stayed && peer >= 0   ? " at that end"
                 : seen.far_stayed && !seen.near_stayed && peer >= 0 ? " at the other end"
                                                                     : "",
                 also);
    } else if (!is_expected) {
        conclude(entry, CONFIRM_CONTRADICTED, "cut at PPU %d, and more than that was seen%s", near, also);
    } else if (seen.far_fell || (peer < 0 && seen.near_fell)) {
        conclude(entry, CONFIRM_CONFIRMED, "%s", "");
    } else {
        uint32_t known = 0;
        uint32_t up = 0;
        for (enum witness witness = 0; witness < WITNESS_COUNT; witness++) {
            if (attempt->confirm->witnesses.has_seen[witness]) {
                known |= attempt->before.known[witness][near] & UINT32_C(1) << link;
                known |= peer < 0 ? 0 : attempt->before.known[witness][peer] & ends;
            }
            up |= attempt->before.up[witness][near] & UINT32_C(1) << link;
            up |= peer < 0 ? 0 : attempt->before.up[witness][peer] & ends;
        }
        entry->result.is_down = known != 0 && up == 0;
        conclude(entry, CONFIRM_NO_WITNESS, "%s",
                 entry->result.is_down ? "it was down before it was cut"
                 : up != 0             ? "nobody sees its other end"
                                       : "nothing but the register itself tells anything of it");
    }
}

void attempt_judge(struct attempt *attempt, bool is_expected)
{
    const struct session *session = attempt->session;
    for (int link = 0; link < LINK_MAX; link++) {
        if (has_link(attempt->job->links, link)) {
            judge_link(attempt, link, is_expected);
        }
    }
    for (int ppu = 0; ppu < attempt->confirm->topology->ppu_count; ppu++) {
        if (attempt->was_read[ppu] && ppu != attempt->trial.ppu && session_is_read(session, ppu) &&
            attempt->written_count == 1 && session->cards[ppu].reading.mask != attempt->masks[ppu]) {
            char why[96];
            snprintf(why, sizeof why, "when PPU %d was written the register of PPU %d changed", attempt->trial.ppu,
                     ppu);
            attempt_conclude(attempt, CONFIRM_CONTRADICTED, why);
        }
    }
}
