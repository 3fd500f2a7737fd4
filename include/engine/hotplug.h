/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/groups.h"

/*
 * Cards for a VM that runs.  libvirt calls no hook for them, and is asked between two sessions, never in one:
 *
 *   hotplug_reserve   a claim on the cards alone, and their cuts; libvirt attaches them
 *   hotplug_record    the VM's status file lists them: it is their owner, and the reservation is over
 *   hotplug_end       what the VM does not have is given back: after a failure, or after a detach
 *
 * Each card is reserved alone, as a group that is starting, bound to our process: so the links among new cards stay cut
 * too, for libvirt attaches one after the other.  If our process is killed, or libvirt does not answer, nobody
 * knows whether the VM gets a card: it stays isolated until the VM's status file lists it, or for start_timeout, or
 * until attach, detach or release is called for it.
 */
struct hotplug {
    const char *vm;
    char uuid[UUID_SIZE];           /* the VM's */
    struct card_groups cards;       /* each is a group of its own */
    char **names;                   /* owned; of the reservations, by group */
    char (*reserved_as)[UUID_SIZE]; /* owned; likewise; "": not reserved */
    bool is_uncertain[PPU_MAX];     /* by id: whether the VM gets it is not known: its reservation is not to end */
};

/* CARDS, in one group, for the VM. */
void hotplug_init(struct hotplug *plug, const char *vm, const char *uuid, const struct card_groups *cards);
void hotplug_free(struct hotplug *plug);
/* The card with the lowest id above PPU (-1: the first), or -1. */
int hotplug_next(const struct hotplug *plug, int ppu);

/* Each is the only thing done in its session, as in engine/groups.h. */

/* STATUS_INVALID: the VM has a card already, or no status file; else as groups_apply. */
MUST_CHECK int hotplug_reserve(struct session *session, struct hotplug *plug, struct group_report *report,
                               struct error *err);
/* STATUS_HARDWARE: the VM's status file does not list a card. */
MUST_CHECK int hotplug_record(struct session *session, const struct hotplug *plug, struct group_report *report,
                              struct error *err);
MUST_CHECK int hotplug_end(struct session *session, const struct hotplug *plug, struct group_report *report,
                           struct error *err);

/* In a session of any kind: each card is the VM's, or (IS_RESERVED, by id) is reserved for it by a call that has ended;
 * else STATUS_INVALID. */
MUST_CHECK int hotplug_check_has(const struct session *session, const struct hotplug *plug, bool is_reserved[],
                                 struct error *err);

/* Whether the status file of the VM says that it has the card at BDF.  *lives: such a VM runs.  Takes no lock. */
MUST_CHECK int hotplug_look(const char *uuid, struct bdf bdf, bool *has, bool *lives, struct error *err);
