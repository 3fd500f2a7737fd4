/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/session.h"

/*
 * The one place that decides: who may have a card, which mask every card must have, and
 * which cards an operation may touch.  Hooks, groups, reset, repair, status and the dry run
 * all ask here.  Nothing here changes the host.
 */

/* What a session is for.  The owners are already what they will be after it. */
enum intent {
    INTENT_START,  /* the subject is let through: its cards get exactly their masks */
    INTENT_WATCH,  /* the subject runs: its missing cuts are made, its neighbours are only read */
    INTENT_ADOPT,  /* the same, and missing cuts of its neighbours are made */
    INTENT_END,    /* no subject: cards are given back */
    INTENT_REPAIR, /* no subject: the whole host */
    INTENT_RESET,  /* no subject: every card gets what an idle card gets, even one with an owner */
    INTENT_LOOK,   /* no subject: everything is read, nothing is touched */
};

struct turn {
    enum intent intent;
    bool near[PPU_MAX];       /* the subject's cards */
    bool given_back[PPU_MAX]; /* cards that lost their owner in this session */
    const char *comes_again;  /* uuid of a domain whose end another call will finish, or NULL */
    bool late;                /* the cuts that today's owners need may be there already, and an older record of them
                                 may be lost: they are taken to be ours */
};

/* The cuts that the card must have by today's owners and the settings. */
uint32_t policy_required(const struct session *session, int ppu);
/* The mask that a card should have: what is required, and for a card without owner what it had before us; with an
 * owner, only of its external links, and if they are left ([policy] external). */
uint32_t policy_expected(const struct session *session, int ppu);
/* The mask that a card without owner is still owed: true if it has cuts by us that nothing asks for. */
bool policy_owes(const struct session *session, int ppu, uint32_t *owed);

/* Whether the subject (UUID; BY_HAND: a group) may have the card, whole or in part: 0, or an error
 * that refuses it (absent, owned by another, held open by somebody, or an owner may be hidden). */
struct applicant {
    const char *uuid;
    bool by_hand;
};
MUST_CHECK int policy_admit(const struct session *session, const struct applicant *applicant, int ppu, bool whole,
                            struct error *err);
MUST_CHECK int policy_admit_doubt(const struct session *session, const struct applicant *applicant, struct error *err);

/* [policy] require_confirmed: an error if it is set and the links of the cards in NEAR are not confirmed. */
MUST_CHECK int policy_admit_confirmed(const struct session *session, const bool near[], struct error *err);

/* Reads what the turn needs, learns what the cards had before us, sets the goals and makes the plan. */
void policy_decide(struct session *session, const struct turn *turn);

/* The first of the turn's near ends that is off the bus, that cannot be read at all, or whose links must be cut
 * although a driver of the host will keep its registers: an error. */
MUST_CHECK int policy_check_near(const struct session *session, const struct turn *turn, bool by_hand,
                                 struct error *err);
