/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/topology.h"

/*
 * A machine with registers in memory, domains that are started and stopped on
 * it through plan_build and apply, and an oracle that knows nothing of masks
 * or plans: after every single write it looks at both ends of each link and
 * fails the test if one is live that the specification forbids.
 */
enum { DOMAIN_MAX = 16 };

enum domain_state {
    DOMAIN_ABSENT,
    DOMAIN_STARTING, /* not let through: its cards are taken, but no guest runs */
    DOMAIN_RUNNING,  /* let through */
    DOMAIN_ENDED,    /* the guest is gone, its cards are not yet back */
};

struct machine {
    struct topology topology;
    uint32_t registers[PPU_MAX];
    int holder[PPU_MAX]; /* domain number, 0 = the host */
    enum domain_state domains[DOMAIN_MAX + 1];
    bool degraded[DOMAIN_MAX + 1]; /* runs although a link within it could not be opened */
    bool touched[PPU_MAX];         /* ORIGINAL is known */
    uint32_t original[PPU_MAX];

    long writes_until_kill; /* below 0: never killed */
    unsigned failing;       /* percentage of writes that fail half way */
    bool held;              /* drivers hold the near ends' registers */
    uint64_t random;        /* state of the generator; its seed is reported on failure */
    uint64_t seed;
    bool killed;

    uint32_t before[PPU_MAX]; /* registers before the present operation */
    const char *operation;
    unsigned long writes; /* checked so far */
};

/* All cards idle, registers as they are. */
void machine_reset(struct machine *machine);
uint32_t machine_random(struct machine *machine);
/* Any value of the wired bits of each register. */
void machine_fill_with_garbage(struct machine *machine);

/* Starts DOMAIN on the idle cards whose TAKEN is set, as prepare and start do.
 * True when it was let through; otherwise, unless the machine was killed, the
 * cards are the host's again. */
bool machine_start(struct machine *machine, int domain, const bool taken[]);

/* Gives the domain's cards back, as stopped does.  Until all registers are as
 * they have to be the domain is DOMAIN_ENDED, and this is to be called again. */
void machine_stop(struct machine *machine, int domain);

/* No link leaves a running domain, and none within it is missing. */
void machine_check_all(const struct machine *machine);
