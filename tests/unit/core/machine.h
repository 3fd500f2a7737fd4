/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/topology.h"

/*
 * A machine with registers in memory, domains that are started and stopped on
 * it through plan_build and apply, and an oracle that knows nothing of masks,
 * plans or topologies: after every single write it looks along each wire at its
 * ends and fails the test if one is live that the specification forbids.
 */
enum { DOMAIN_MAX = 16 };

/* Where a link of a card leads to. */
enum { NOT_WIRED = 0, TO_CARD, TO_OUTSIDE };
struct wire {
    uint8_t kind;
    int16_t card; /* TO_CARD */
};

enum domain_state {
    DOMAIN_ABSENT,
    DOMAIN_STARTING, /* not let through: its cards are taken, but no guest runs */
    DOMAIN_RUNNING,  /* let through */
    DOMAIN_ENDED,    /* the guest is gone, its cards are not yet back */
};

struct machine {
    int cards;
    struct wire wires[PPU_MAX][LINK_MAX]; /* what is built in */
    struct topology topology;             /* what is known of it */
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

/* CARDS cards without a wire. */
void machine_build(struct machine *machine, int cards);
/* A wire between two links, or from a link out of the machine. */
void machine_join(struct machine *machine, int a, int link_a, int b, int link_b);
void machine_join_outside(struct machine *machine, int ppu, int link);
/* Makes the topology from the wires: what a right file says. */
void machine_learn_topology(struct machine *machine);

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
