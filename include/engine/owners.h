/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/text.h"
#include "core/ownership.h"
#include "core/topology.h"
#include "engine/machine.h"

/* Who owns which card (design section 5). */

enum owner_kind { OWNER_KIND_VM, OWNER_KIND_GROUP, OWNER_KIND_STRANGER };
const char *owner_kind_text(enum owner_kind kind); /* "vm", "group", "unknown" (contract) */

struct owner {
    enum owner_kind kind;
    char uuid[UUID_SIZE]; /* "" for a stranger */
    char *name;           /* owned; for a stranger its command, or "unknown" */
    bool runs;            /* a status file of a living process names it */
    int64_t since;        /* seconds since the epoch, when it was let through; 0: not known */
    pid_t pid;            /* of its process, or of the one that a group is bound to and that lives; 0: not known */
};

struct holding {
    size_t owner;
    int ppu;
    bool whole;
    size_t next; /* of the same card: an index plus 1; 0: none */
};

struct owners {
    struct owner *items;
    size_t count;
    struct holding *holdings; /* one per owner and card */
    size_t holding_count;
    size_t first[PPU_MAX]; /* by id: the card's first holding, as `next` */
    int of[PPU_MAX]; /* by id, as the core knows it: OWNER_IDLE, an index above plus 1, OWNER_SHARED, OWNER_UNKNOWN */
    bool held[PPU_MAX];          /* by id: open through vfio */
    struct text_list unresolved; /* uuids of VMs that live, but whose devices could not be looked at this time */
};

struct session;

/* From status files, claims, and who holds what open; notes what is odd.  Says in each claim of the
 * state whether it counts. */
void owners_gather(struct session *session);
void owners_free(struct owners *owners);

/* NULL: none. */
struct owner *owners_find(const struct owners *owners, const char *uuid);
struct owner *owners_named(const struct owners *owners, const char *name);
bool owners_has(const struct owners *owners, const struct owner *owner, int ppu);
/* The card's holdings one after the other, in the order in which they were given: HOLDING NULL gives the first, and
 * NULL is the end. */
const struct holding *owners_next_holding(const struct owners *owners, int ppu, const struct holding *holding);
/* The one owner that has the whole card, or NULL. */
const struct owner *owners_sole(const struct owners *owners, int ppu);

/* Changes who owns what in memory: a new owner, one more card, all cards taken back.  Pointers to
 * owners are void after owners_add. */
struct owner *owners_add(struct owners *owners, enum owner_kind kind, const char *uuid, const char *name);
void owners_give(struct owners *owners, const struct owner *owner, int ppu, bool whole);
void owners_take_back(struct owners *owners, const struct owner *owner);

/* The names of a card's owners, joined by ", "; "idle" or "unknown". */
enum { OWNER_TEXT_SIZE = 600 };
const char *owners_text(const struct owners *owners, int ppu, char text[OWNER_TEXT_SIZE]);

/* The uuids of the card's owners, ascending, each once; owned by the caller.  False if one of them has none. */
bool owners_uuids(const struct owners *owners, int ppu, char (**uuids)[UUID_SIZE], size_t *count);
