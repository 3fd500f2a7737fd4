/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/topology.h"

/*
 * What witnesses saw of links while single ends were cut, and which single wrong setting explains all of it.  Ids are
 * those of the settings: a card is the one that has the id's address.
 */
enum witness {
    WITNESS_STATUS,  /* the link status register */
    WITNESS_PPU_SMI, /* ppu-smi icn -s */
    WITNESS_PPUDBG,  /* ppudbg --device BDF --micnop stat LINK */
    WITNESS_COUNT,
};

/* A card before the first trial. */
struct found {
    bool is_read;               /* its register was read */
    uint32_t mask;              /* as the settings say: bit set = link cut */
    uint32_t up[WITNESS_COUNT]; /* the links that a witness reports as up */
};

/* One write to a card's register. */
struct trial {
    int ppu;
    uint32_t links; /* whose bits were written */
    bool opens;     /* they read as cut and were opened, because the links are up all the same */
    bool refused;   /* the register did not take it, or there is none where the settings say */
};

/* What a witness saw of a card while a trial lasted. */
struct sight {
    size_t trial;
    enum witness witness;
    int ppu;
    uint32_t up;   /* links that were up before it and of which the witness told something during it */
    uint32_t down; /* those of them that were down then */
};

struct observed {
    const struct topology *topology;
    bool writes_registers;     /* else the vendor's tool cuts, and the settings of registers serve for looking only */
    const struct found *found; /* by id */
    const struct trial *trials;
    size_t trial_count;
    const struct sight *sights; /* by trial, ascending; a witness and card without a sight: as found, and unchanged */
    size_t sight_count;
};

enum suspect_kind {
    SUSPECT_NONE,        /* all settings are right */
    SUSPECT_CUT_BIT,     /* the other polarity */
    SUSPECT_PLACE,       /* bar or stride: neither register is where the settings say */
    SUSPECT_LINK_CONFIG, /* writes go elsewhere */
    SUSPECT_WITNESS,     /* what the witness WITNESS looks at is not the state of links */
    SUSPECT_IDS,         /* the cards PPU and OTHER have each other's id */
    SUSPECT_LINKS,       /* the links LINK and OTHER of PPU have each other's index */
};

struct suspect {
    enum suspect_kind kind;
    int ppu;
    int link;
    int other;
    enum witness witness;
};

/* Whether what was seen while TRIAL lasted is what it has to be like if just that setting is wrong (SUSPECT_NONE: if
 * all are right). */
bool suspect_explains_trial(const struct observed *observed, const struct suspect *suspect, const struct trial *trial,
                            const struct sight sights[], size_t sight_count);

/* Whether all that was seen is what a host looks like on which just this one setting is wrong. */
bool suspect_explains(const struct observed *observed, const struct suspect *suspect);

/* All of them: none if all settings are right.  Owned by the caller. */
void suspects_find(const struct observed *observed, struct suspect **suspects, size_t *count);
