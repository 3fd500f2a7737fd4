/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * usage: plan_bench CARDS
 * Plans one VM's start on a host of CARDS cards with 32 links each, for callgrind
 * to count: everything but the planning is outside plan_once, so that
 * --toggle-collect=plan_once sees the planning alone.
 *
 * A quarter of the cards goes to the VM, a quarter to each of two others and a
 * quarter is idle, mixed evenly, so that every kind of card is met.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/policy.h"

/* Enough cards for 32 links to different ones on either side. */
enum { FEWEST_CARDS = LINK_MAX + 1, OTHER_OWNERS = 2, KINDS = OTHER_OWNERS + 2 };

/* Card n is joined to the 16 before and the 16 after it. */
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

/* All links are open, every register was read, and nothing is remembered. */
static void open_session(struct session *session, struct machine *machine)
{
    size_t cards = (size_t)machine->topology.ppu_count;
    *session = (struct session){
        .access = SESSION_LOOK,
        .machine = machine,
        .state = STATE_CLOSED,
        .cards = memory_alloc(cards, sizeof *session->cards),
        .owners_before = memory_alloc(cards, sizeof *session->owners_before),
        .goals = memory_alloc(cards, sizeof *session->goals),
        .plan = memory_alloc(1, sizeof *session->plan),
        .outcomes = memory_alloc(2 * cards, sizeof *session->outcomes),
    };
    for (int i = 0; i < OTHER_OWNERS; i++) {
        char name[16];
        snprintf(name, sizeof name, "other-%d", i);
        owners_add(&session->owners, OWNER_KIND_VM, name, name)->runs = true;
    }
    for (size_t ppu = 0; ppu < cards; ppu++) {
        session->cards[ppu].state.present = true;
        session->cards[ppu].reading.kind = READING_FINE;
        session->cards[ppu].was_read = true;
        if (ppu % KINDS < OTHER_OWNERS) {
            owners_give(&session->owners, &session->owners.items[ppu % KINDS], (int)ppu, true);
        }
    }
    memcpy(session->owners_before, session->owners.of, cards * sizeof session->owners_before[0]);
}

void plan_once(struct session *session, struct turn *turn);

/* What is counted. */
__attribute__((noinline)) void plan_once(struct session *session, struct turn *turn)
{
    const struct applicant applicant = {.uuid = "bench"};
    struct error err;
    int cards = session->machine->topology.ppu_count;
    for (int ppu = OTHER_OWNERS; ppu < cards; ppu += KINDS) {
        if (policy_admit(session, &applicant, ppu, true, &err) < 0) {
            fprintf(stderr, "plan_bench: %s\n", err.text);
            exit(EXIT_FAILURE);
        }
    }
    const struct owner *owner = owners_add(&session->owners, OWNER_KIND_VM, "bench", "bench");
    for (int ppu = OTHER_OWNERS; ppu < cards; ppu += KINDS) {
        turn->near[ppu] = true;
        owners_give(&session->owners, owner, ppu, true);
    }
    policy_decide(session, turn);
}

int main(int argc, char **argv)
{
    int cards = argc == 2 ? (int)strtol(argv[1], NULL, 10) : 0;
    struct turn turn = {.intent = INTENT_START};
    struct session session;
    if (cards < FEWEST_CARDS || cards > PPU_MAX) {
        fprintf(stderr, "usage: plan_bench CARDS (%d to %d)\n", FEWEST_CARDS, PPU_MAX);
        return EXIT_FAILURE;
    }
    open_session(&session, make_machine(cards));
    plan_once(&session, &turn);
    printf("%d links, %zu writes\n", cards * LINK_MAX / 2, session.plan->count);
    session_close(&session);
    return EXIT_SUCCESS;
}
