/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/policy.h"

/*
 * Isolation by hand, for VMMs that libvirt does not start: a group of cards has a claim as a
 * VM has, and owns its cards until it is released.
 */

/* Groups of cards as people write them (the vendor guide's LIST): "0,1|2,3".  Groups are
 * separated by '|', cards of a group by ','; a card is an id, a range of ids ("2-5") or a PCI address,
 * which may lack its domain ("08:00.0"); blanks around cards do not count. */
enum { IN_NO_GROUP = -1 };
struct card_groups {
    int count;
    int of[PPU_MAX]; /* each card's group, from 0 in the order of LIST, or IN_NO_GROUP */
};

/* MACHINE is surveyed.  What is not written as above is STATUS_USAGE; a card that is not one of
 * this host, or appears twice, is STATUS_INVALID.  The message names the column, from 1, and the
 * text. */
MUST_CHECK int card_groups_parse(const struct machine *machine, const char *list, struct card_groups *groups,
                                 struct error *err);
/* One group of COUNT idle cards, the best ones; arguments and errors are those of suggest_make.  In a session to
 * change nobody else can take them before it ends. */
MUST_CHECK int card_groups_choose(struct session *session, uint64_t count, int numa_node, struct card_groups *groups,
                                  struct error *err);
/* The card of GROUP with the lowest id above PPU (-1: the first), or -1. */
int card_groups_next(const struct card_groups *groups, int group, int ppu);
/* Whether a group may be called NAME (STATUS_USAGE): printable, and not a word that stands for something else. */
MUST_CHECK int group_name_check(const char *name, struct error *err);

/* What people call cards and their owners, one word each. */

/* Which card LENGTH bytes of TEXT mean: an id below COUNT, or an address, of which AT tells the id (NO_CARD: none). */
enum { NO_CARD = -1 };
struct card_finder {
    int count;
    int (*at)(const void *context, struct bdf bdf);
    const void *context;
};
struct card_finder card_finder_of(const struct machine *machine);
int card_find(const struct card_finder *finder, const char *text, size_t length);
/* TEXT is "A-B", two cards: false, with PAIR untouched, if it is not. */
bool card_find_pair(const struct card_finder *finder, const char *text, int pair[2]);
/* Adds to CHOSEN (by id) the cards of the VM or group with this name or uuid.  False: none has it. */
bool card_choose_owned(const struct session *session, const char *word, bool chosen[]);
/* … those that WORD means: a card, all of an owner, or a range of ids ("2-5"). */
MUST_CHECK int card_choose(const struct session *session, const char *word, bool chosen[], struct error *err);
/* WORD is not one of WHAT: STATUS_INVALID, with the cards and owners that there are, and which owner was probably
 * meant.  Returns -1. */
int card_refuse_word(const struct session *session, const char *word, const char *what, struct error *err);
/* The VM or group that WORD was probably meant to be, or NULL. */
const char *card_nearest_owner(const struct session *session, const char *word);

/* A group, a VM, or an unknown holder, and the cards that it is about. */
struct party {
    char *name;           /* owned */
    char uuid[UUID_SIZE]; /* "": it has none */
    int *ppus;            /* owned; ascending */
    size_t ppu_count;
};
struct parties {
    struct party *items;
    size_t count;
};

/* What was done, or, in a dry run, would be; filled as far as it came on failure too. */
struct group_report {
    struct parties groups;     /* applied, released, or ended */
    struct parties exposed;    /* by a reset: whose cards' links may open while they are in use */
    struct plan_write *writes; /* in their order; only those that the registers took, unless in a dry run */
    size_t write_count;
};
void group_report_free(struct group_report *report);

/* Each is the only thing done in its session, which was opened to change, or, for a dry run, to look; what there is to
 * say beside the result is in the session's notes. */

/* Isolates all groups or none.  NAMES: of the first groups; the others are called "manual-" and
 * the lowest id.  A group that is there already, with the same cards and no other name, is cut
 * again where it must be. */
MUST_CHECK int groups_apply(struct session *session, const struct card_groups *groups, const char *const names[],
                            size_t name_count, struct group_report *report, struct error *err);

/* Ends the group NAME and gives its cards back.  IF_EXISTS: it is fine if there is none; REPORT has no group then. */
MUST_CHECK int groups_release(struct session *session, const char *name, bool if_exists, struct group_report *report,
                              struct error *err);

/* Ends what has lost its process, as the next hook would, and gives its cards back. */
MUST_CHECK int groups_catch_up(struct session *session, struct group_report *report, struct error *err);

/* Ends all groups and gives all cards back.  FORCE: although somebody uses cards; VMs keep their claims. */
MUST_CHECK int groups_reset(struct session *session, bool force, struct group_report *report, struct error *err);

/* Whether GROUP is in force, as it is asked of LIST, owned by anybody: every link that leaves it is known to be cut,
 * and no link inside it is read as cut.  FAULTS: what is not so; UNVERIFIED: what cannot be seen.  The registers are
 * read already. */
void group_check(const struct session *session, const struct card_groups *groups, int group, struct text_list *faults,
                 struct text_list *unverified);
