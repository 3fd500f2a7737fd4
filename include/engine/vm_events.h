/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/policy.h"
#include "engine/vm_cards.h"

/*
 * One call by libvirt: VM and OPERATION are its first two arguments, TEXT is the domain's XML.
 * Returns the exit status (design section 4); a status other than STATUS_OK comes with the one
 * line in ERR.  Everything that happened goes to the log.
 */
enum status vm_event_run(const char *vm, const char *operation, const char *text, size_t length, struct error *err);

/* Whether OPERATION's failure may be reported to libvirt: it refuses the start then.  For all
 * others a failure would kill a running VM or is ignored. */
bool vm_event_may_refuse(const char *operation);

/* What `prepare` would do with a domain now: the same path in a session that looks. */
struct vm_plan {
    struct vm_cards cards;
    struct session session; /* open (and unlocked) if the domain takes PPUs and was looked at */
    struct turn *turn;      /* NULL: it takes no PPU, or was refused before anything was decided */
    struct notes notes;     /* from before the session, which has its own */
    bool isolates;          /* it takes PPUs, and would be let through */
};
/* 0: it passes or would be isolated; -1: it would be refused, and the error says why.  PLAN is filled in each
 * case, and to be freed. */
MUST_CHECK int vm_plan_make(struct vm_plan *plan, const char *config, const struct domain *domain, struct error *err);
void vm_plan_free(struct vm_plan *plan);
