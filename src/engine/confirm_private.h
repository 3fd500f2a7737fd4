/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/confirm.h"
#include "engine/suspects.h"
#include "engine/witnesses.h"

/* A write to be tried: the links are cut at PPU, all at once. */
struct job {
    int ppu;
    uint32_t links;
};

struct confirm {
    const struct confirm_options *options;
    struct confirm_report *report;
    struct text_list made_for;
    struct topology *topology; /* owned */
    struct witnesses witnesses;
    struct found *found; /* owned, by id */
    struct trial *trials;
    size_t trial_count;
    struct sight *sights;
    size_t sight_count;
};

/* The entry of a link, of which PPU and LINK are either end. */
struct confirm_link *confirm_find_link(const struct confirm *confirm, int ppu, int link);

/* Which single settings explain all that was seen, in the report. */
void confirm_name_suspects(const struct confirm *confirm, const struct machine *machine);
/* Keeps the result. */
MUST_CHECK int confirm_save(const struct confirm *confirm, const struct machine *machine, struct error *err);

/* Tries the job in a session for a change whose cards are admitted, and fills in the entries of its links.  -1: the
 * state could not be written, and nothing was tried. */
MUST_CHECK int confirm_try(struct confirm *confirm, struct session *session, const struct job *job, struct error *err);

enum { WRITTEN_MAX = 2 };

/* A card that is written to. */
struct written {
    int ppu;
    uint32_t before;
    uint32_t now;
    struct card_memory memory; /* what was remembered of it; its evidence is not looked at */
};

struct attempt {
    struct confirm *confirm;
    struct session *session;
    const struct job *job;
    struct trial trial;
    uint32_t ends[PPU_MAX]; /* by id: both ends of the job's links */
    bool was_read[PPU_MAX]; /* by id, of the cards at the ends: their registers before the trial */
    uint32_t masks[PPU_MAX];
    struct view before;
    struct view now;
    struct written written[WRITTEN_MAX]; /* the trial's card is the first */
    int written_count;
    size_t first_sight;
};

static inline bool has_link(uint32_t links, int link)
{
    return ((links >> link) & 1) != 0;
}

/* Where a link of the job leads, and the ends there that it may be joined to. */
int attempt_peer(const struct attempt *attempt, int link, uint32_t *ends);
/* The verdict on all links of the job. */
void attempt_conclude(const struct attempt *attempt, enum confirm_verdict verdict, const char *why);
/* The verdict on each link of the job, from what was seen last. */
void attempt_judge(struct attempt *attempt, bool is_expected);
