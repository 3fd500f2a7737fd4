/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "core/mask.h"
#include "core/plan.h"
#include "engine/snapshot.h"

/*
 * What is to be done for one domain: who owns the cards afterwards, which mask
 * each card within reach gets, and in which order the registers are written.
 * Nothing here changes anything.
 */
enum intent {
    INTENT_START, /* the domain is let through: its cards get exactly their masks */
    INTENT_KEEP,  /* it runs already: missing cuts are made, nothing is opened for it */
    INTENT_STOP,  /* it is gone: what it had returns to the host */
};

struct decision {
    enum intent intent;
    const char *uuid;    /* borrowed; of the domain */
    const char *name;    /* borrowed; for people */
    bool by_hand;        /* no domain but a group that is isolated by hand */
    bool near[PPU_MAX];  /* the domain takes the card */
    bool whole[PPU_MAX]; /* … as a whole */
    int owners[PPU_MAX]; /* afterwards; the domain itself is number tenant_count + 1 */
    struct plan_goal goals[PPU_MAX];
    struct plan plan;
};

/* Whether the domain may have the cards that DEMAND lists: 0, or an error that
 * refuses it (absent, owned by another, held open by somebody, or an unreadable
 * ledger entry may hide an owner). */
MUST_CHECK int decision_admit(const struct snapshot *snapshot, const struct demand *demand, const char *uuid,
                              struct error *err);

/* Decides; reads the registers it needs.  DEMAND may be NULL with INTENT_STOP. */
void decision_make(struct decision *decision, struct snapshot *snapshot, struct registers *registers,
                   enum intent intent, const char *uuid, const char *name, const struct demand *demand);

/* The first near end that is off the bus or cannot be read at all: an error. */
MUST_CHECK int decision_check_near(const struct decision *decision, const struct snapshot *snapshot, struct error *err);

/* A card whose owner number is that of the decision's own domain. */
int decision_own_number(const struct snapshot *snapshot);
