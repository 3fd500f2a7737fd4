/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * The world of the model: three cards, each joined to each, two domains that both want
 * card 1, a group on card 2, one libvirt daemon, and the hook that has the lock.
 */
enum { A, B, DOMAINS };
enum { NO_CLAIM = 0 };
enum { CARDS = 3, LINKS_EACH = 2 };

/* Where libvirt is with a domain. */
enum stage {
    OFF,     /* libvirt does not run it; a process that libvirt lost may still be there */
    PREPARE, /* the hook has the lock, and has not answered */
    PREPARED,
    START,    /* likewise */
    CLEAR,    /* the gate has let it through; QEMU is not there yet */
    UP,       /* QEMU was there */
    STOPPING, /* QEMU is gone or was never there; stopped and release are to be called */
};

enum qemu { NO_QEMU, BORN, HOLDS }; /* without a process; it has not opened its cards; it has */

/* What the person who made the group knows of it. */
enum group_state {
    NO_GROUP,
    APPLYING,       /* apply has not answered */
    APPLYING_BOUND, /* likewise, for as long as a process lives */
    LEFT,           /* apply was killed; what it claimed stays until somebody releases it */
    APPLIED,
    BOUND,
    UNBOUND, /* the process is gone */
};

/* Several fields mean something in some states only and are 0 in the others, and so is what
 * is unused: equal worlds have equal bytes. */
struct domain {
    uint32_t stage : 3;
    uint32_t narrow_xml : 1; /* from PREPARE to CLEAR: the XML has the narrow set of cards, not the wide one */
    uint32_t qemu : 2;
    uint32_t narrow_qemu : 1; /* the cards that QEMU has: they begin as the XML's, and one may be unplugged */
    uint32_t file : 1;        /* libvirt's status file, of a living process; it lists QEMU's cards */
    uint32_t tombstone : 1;
    uint32_t claim : 2; /* 0: none; else enum claim_phase + 1 */
    uint32_t narrow_claim : 1;
    uint32_t daemon : 2;  /* enum daemon_state, in CLAIM_STARTING only */
    uint32_t old : 1;     /* start_timeout has passed, in CLAIM_STARTING only */
    uint32_t process : 1; /* the claim names the QEMU that lives */
    uint32_t ended : 1;   /* not on disk: the claim's end was noted, and no new start was let through */
    uint32_t waiting : 2; /* enum waiting */
    uint32_t unused : 13;
};

/* A hook of a daemon that was killed, which waits for the lock still. */
enum waiting { NOBODY, WAITING_STARTED, WAITING_STOPPED, WAITING_PREPARE };

enum operation {
    NO_HOOK,
    HOOK_PREPARE,
    HOOK_START,
    HOOK_STARTED,
    HOOK_STOPPED,
    GROUP_APPLY,
    GROUP_APPLY_BOUND,
    GROUP_RELEASE,
    OTHER_HOOK,
};

/* What the hook that has the lock has done.  What it reads and what it decides from that are
 * one step: a lock that was only just taken changes nothing. */
enum step { DECIDED, CUT };

struct hook {
    uint32_t operation : 4;
    uint32_t domain : 1;
    uint32_t step : 1;
    uint32_t admits : 1;
    uint32_t orphan : 1; /* its daemon was killed */
    uint32_t masks : 6;  /* as decided */
    uint32_t unused : 18;
};

struct world {
    struct domain domains[DOMAINS];
    struct hook hook;
    uint32_t daemon : 1; /* lives */
    uint32_t group : 3;
    uint32_t group_claim : 1;
    uint32_t registers : 6; /* masks, as read */
    uint32_t unused : 21;
};

/* Who takes part. */
struct scope {
    const char *name;
    bool domain_a; /* domain B always does */
    bool group;
};

/* Sets of cards, a bit each. */
enum { GROUP_CARDS = 1 << 2 };
unsigned world_cards(int number, bool narrow); /* of the domain's XML */
unsigned world_claimed(const struct domain *domain, int number);
unsigned world_qemu_cards(const struct world *world, int number); /* none without QEMU */
unsigned world_held(const struct world *world);

/* By the shipped code. */
int world_judge(const struct world *world, int number);
int world_judge_group(const struct world *world);
void world_owners(const struct world *world, int but_claim_of, int owners[CARDS]);
enum { NOT_LEFT_OUT = -1 };

/* What the registers must hold, by the shipped code, and all bits of the registers of CARDS. */
uint32_t world_required_masks(const struct world *world);
uint32_t world_register_bits(unsigned cards);

/* The card at the other end. */
int world_peer(int card, int link);
bool world_is_cut(unsigned registers, int card, int link);

/* Calls VISIT for each world that may come next.  ONLY_TIME: time passes, the hook that
 * has the lock goes on or dies, and hooks of other VMs run; nothing else happens. */
typedef void world_visit(void *context, const struct world *next, const char *event);
void world_successors(const struct scope *scope, const struct world *world, bool only_time, world_visit *visit,
                      void *context);

extern const struct world first_world;

void world_print(const struct world *world);

/* What is wrong with WORLD, or NULL. */
const char *check_world(const struct world *world);

/* Is DEBTOR dead for good, and is what it had free?  When it is dead, time alone must free
 * it.  A number of a domain, or: */
enum { DEBTOR_GROUP = DOMAINS, DEBTOR_ALL, DEBTORS };
bool check_is_dead(const struct world *world, int debtor);
bool check_is_free(const struct world *world, int debtor);
