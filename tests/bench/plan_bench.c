/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * usage: plan_bench CARDS
 * Plans one VM's start on a host of CARDS cards with 32 links each, for callgrind
 * to count: everything but the planning stands outside plan_once, so that
 * --toggle-collect=plan_once sees the planning alone.
 *
 * A quarter of the cards goes to the VM, a quarter to each of two others and a
 * quarter is idle, mixed evenly, so that every kind of card is met.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "engine/decision.h"

/* Enough cards for 32 links to different ones on either side. */
enum { FEWEST_CARDS = LINK_MAX + 1, OTHER_TENANTS = 2, KINDS = OTHER_TENANTS + 2 };

/* Card n is joined to the 16 before and the 16 behind it. */
static void join_cards(struct topology *topology)
{
    int count = topology->ppu_count;
    for (int ppu = 0; ppu < count; ppu++) {
        for (int distance = 1; distance <= LINK_MAX / 2; distance++) {
            topology->peer[ppu][2 * (distance - 1)] = (int16_t)((ppu + distance) % count);
            topology->peer[ppu][2 * (distance - 1) + 1] = (int16_t)((ppu + count - distance) % count);
        }
    }
}

static struct machine *make_machine(int cards)
{
    struct machine *machine = memory_alloc(1, sizeof *machine);
    settings_default(&machine->settings);
    topology_clear(&machine->topology, cards);
    join_cards(&machine->topology);
    if (topology_validate(&machine->topology).kind != TOPOLOGY_FINE) {
        fprintf(stderr, "plan_bench: the topology is faulty\n");
        exit(EXIT_FAILURE);
    }
    for (int ppu = 0; ppu < cards; ppu++) {
        machine->mapped[ppu] = true;
        machine->card[ppu] = (struct bdf){.domain = (uint32_t)ppu / 256, .bus = (uint8_t)(ppu % 256)};
    }
    return machine;
}

/* All links are open and every register was read. */
static struct snapshot *make_snapshot(struct machine *machine)
{
    int cards = machine->topology.ppu_count;
    struct snapshot *snapshot = memory_alloc(1, sizeof *snapshot);
    snapshot->machine = machine;
    snapshot->tenant_count = OTHER_TENANTS;
    snapshot->tenants = memory_alloc(OTHER_TENANTS, sizeof *snapshot->tenants);
    snapshot->claims = memory_alloc((size_t)cards, sizeof *snapshot->claims);
    for (size_t i = 0; i < OTHER_TENANTS; i++) {
        snprintf(snapshot->tenants[i].uuid, sizeof snapshot->tenants[i].uuid, "other-%zu", i);
        snapshot->tenants[i].name = "other";
        snapshot->tenants[i].running = true;
        snapshot->tenants[i].alive = true;
    }
    for (int ppu = 0; ppu < cards; ppu++) {
        struct card *card = &snapshot->cards[ppu];
        card->state.present = true;
        card->reading.kind = READING_FINE;
        card->was_read = true;
        if (ppu % KINDS < OTHER_TENANTS) {
            snapshot->claims[snapshot->claim_count++] =
                (struct claim){.tenant = (size_t)(ppu % KINDS), .ppu = ppu, .whole = true};
        }
    }
    return snapshot;
}

static void make_demand(struct demand *demand, const struct machine *machine)
{
    int cards = machine->topology.ppu_count;
    demand->devices = memory_alloc((size_t)cards, sizeof *demand->devices);
    for (int ppu = OTHER_TENANTS; ppu < cards; ppu += KINDS) {
        demand->devices[demand->count++] = (struct demand_device){
            .function = machine->card[ppu],
            .card = machine->card[ppu],
            .present = true,
            .is_ppu = true,
            .ppu = ppu,
            .whole = true,
        };
    }
    demand->has_ppu = true;
}

void plan_once(struct decision *decision, struct snapshot *snapshot, const struct demand *demand);

/* What is counted. */
__attribute__((noinline)) void plan_once(struct decision *decision, struct snapshot *snapshot,
                                         const struct demand *demand)
{
    struct error err;
    if (decision_admit(snapshot, demand, "bench", &err) < 0) {
        fprintf(stderr, "plan_bench: %s\n", err.text);
        exit(EXIT_FAILURE);
    }
    decision_make(decision, snapshot, NULL, INTENT_START, "bench", "bench", demand);
}

int main(int argc, char **argv)
{
    int cards = argc == 2 ? (int)strtol(argv[1], NULL, 10) : 0;
    if (cards < FEWEST_CARDS || cards > PPU_MAX) {
        fprintf(stderr, "usage: plan_bench CARDS (%d to %d)\n", FEWEST_CARDS, PPU_MAX);
        return EXIT_FAILURE;
    }
    struct machine *machine = make_machine(cards);
    struct snapshot *snapshot = make_snapshot(machine);
    struct demand demand = {0};
    make_demand(&demand, machine);
    struct decision *decision = memory_alloc(1, sizeof *decision);

    plan_once(decision, snapshot, &demand);
    printf("%d links, %zu writes\n", cards * LINK_MAX / 2, decision->plan.count);

    free(decision);
    demand_free(&demand);
    free(snapshot->tenants);
    free(snapshot->claims);
    free(snapshot);
    free(machine);
    return EXIT_SUCCESS;
}
