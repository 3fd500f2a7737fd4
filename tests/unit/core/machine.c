/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "machine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "core/ownership.h"
#include "core/plan.h"

uint32_t machine_random(struct machine *machine)
{
    machine->random = machine->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(machine->random >> 32);
}

void machine_build(struct machine *machine, int cards)
{
    machine->cards = cards;
    memset(machine->wires, 0, sizeof machine->wires);
}

void machine_join(struct machine *machine, int a, int link_a, int b, int link_b)
{
    machine->wires[a][link_a] = (struct wire){.kind = TO_CARD, .card = (int16_t)b};
    machine->wires[b][link_b] = (struct wire){.kind = TO_CARD, .card = (int16_t)a};
}

void machine_join_outside(struct machine *machine, int ppu, int link)
{
    machine->wires[ppu][link] = (struct wire){.kind = TO_OUTSIDE};
}

void machine_learn_topology(struct machine *machine)
{
    topology_clear(&machine->topology, machine->cards);
    for (int ppu = 0; ppu < machine->cards; ppu++) {
        for (int link = 0; link < LINK_MAX; link++) {
            const struct wire *wire = &machine->wires[ppu][link];
            if (wire->kind != NOT_WIRED) {
                machine->topology.peer[ppu][link] = wire->kind == TO_OUTSIDE ? EXTERNAL_PEER : wire->card;
            }
        }
    }
}

void machine_reset(struct machine *machine)
{
    memset(machine->holder, 0, sizeof machine->holder);
    memset(machine->domains, 0, sizeof machine->domains);
    memset(machine->degraded, 0, sizeof machine->degraded);
    memset(machine->touched, 0, sizeof machine->touched);
    machine->writes_until_kill = -1;
    machine->failing = 0;
    machine->held = false;
    machine->killed = false;
}

void machine_fill_with_garbage(struct machine *machine)
{
    for (int ppu = 0; ppu < machine->cards; ppu++) {
        machine->registers[ppu] = 0;
        for (int link = 0; link < LINK_MAX; link++) {
            uint32_t bit = UINT32_C(1) << link;
            machine->registers[ppu] |= machine->wires[ppu][link].kind != NOT_WIRED ? machine_random(machine) & bit : 0;
        }
    }
}

/* -- Oracle ----------------------------------------------------------------- */

static bool leads_to(const struct machine *machine, int ppu, int link, int card)
{
    const struct wire *wire = &machine->wires[ppu][link];
    return wire->kind == TO_CARD && wire->card == card;
}

static bool end_is_open(const struct machine *machine, const uint32_t registers[], int ppu, int peer)
{
    for (int link = 0; link < LINK_MAX; link++) {
        if (leads_to(machine, ppu, link, peer) && ((registers[ppu] >> link) & 1) == 0) {
            return true;
        }
    }
    return false;
}

/* Which of several parallel links an end belongs to is not known, so that one
 * open end on each side counts as live. */
static bool joined(const struct machine *machine, const uint32_t registers[], int a, int b)
{
    return end_is_open(machine, registers, a, b) && end_is_open(machine, registers, b, a);
}

static bool runs(const struct machine *machine, int ppu)
{
    return machine->domains[machine->holder[ppu]] == DOMAIN_RUNNING;
}

static void check_pair(const struct machine *machine, int a, int b)
{
    if (machine->holder[a] == machine->holder[b] || !joined(machine, machine->registers, a, b)) {
        return;
    }
    if (runs(machine, a) || runs(machine, b)) {
        fail_msg("%s, seed %llu: link %d-%d leaves a running domain", machine->operation,
                 (unsigned long long)machine->seed, a, b);
    }
    if (!joined(machine, machine->before, a, b)) {
        fail_msg("%s, seed %llu: forbidden link %d-%d became live", machine->operation,
                 (unsigned long long)machine->seed, a, b);
    }
}

/* Who is at the other end of a wire that leads out nobody knows, so that it is live while this end is open. */
static void check_outside(const struct machine *machine, int ppu, int link)
{
    if (machine->holder[ppu] == 0 || ((machine->registers[ppu] >> link) & 1) != 0) {
        return;
    }
    if (runs(machine, ppu)) {
        fail_msg("%s, seed %llu: link %d of %d leads from a running domain to the outside", machine->operation,
                 (unsigned long long)machine->seed, link, ppu);
    }
    if (((machine->before[ppu] >> link) & 1) != 0) {
        fail_msg("%s, seed %llu: link %d of %d to the outside was opened, and the card has an owner",
                 machine->operation, (unsigned long long)machine->seed, link, ppu);
    }
}

static void check_card(const struct machine *machine, int ppu)
{
    for (int link = 0; link < LINK_MAX; link++) {
        if (machine->wires[ppu][link].kind == TO_CARD) {
            check_pair(machine, ppu, machine->wires[ppu][link].card);
        } else if (machine->wires[ppu][link].kind == TO_OUTSIDE) {
            check_outside(machine, ppu, link);
        }
    }
}

static void check_complete(const struct machine *machine, int ppu)
{
    for (int link = 0; link < LINK_MAX; link++) {
        const struct wire *wire = &machine->wires[ppu][link];
        if (wire->kind == TO_CARD && machine->holder[wire->card] == machine->holder[ppu] &&
            ((machine->registers[ppu] >> link) & 1) != 0) {
            fail_msg("%s, seed %llu: link %d of %d is missing in its domain", machine->operation,
                     (unsigned long long)machine->seed, link, ppu);
        }
    }
}

void machine_check_all(const struct machine *machine)
{
    for (int ppu = 0; ppu < machine->cards; ppu++) {
        check_card(machine, ppu);
        if (runs(machine, ppu) && !machine->degraded[machine->holder[ppu]]) {
            check_complete(machine, ppu);
        }
    }
}

/* -- Registers -------------------------------------------------------------- */

static enum apply_outcome write_register(void *context, const struct plan_write *write)
{
    struct machine *machine = context;
    uint32_t changes = machine->registers[write->ppu] ^ write->to;
    bool fails;
    if (machine->killed || machine->writes_until_kill == 0) {
        machine->killed = true;
        return APPLY_FAILED;
    }
    machine->writes_until_kill--;
    if (machine->held && write->role == ROLE_NEAR) {
        return APPLY_DEFERRED;
    }
    assert_int_equal(write->from, machine->registers[write->ppu]);
    if (runs(machine, write->ppu)) {
        fail_msg("%s, seed %llu: card %d of a running domain is written", machine->operation,
                 (unsigned long long)machine->seed, write->ppu);
    }
    fails = machine_random(machine) % 100 < machine->failing;
    machine->registers[write->ppu] ^= fails ? changes & machine_random(machine) : changes;
    machine->writes++;
    check_card(machine, write->ppu);
    return fails ? APPLY_FAILED : APPLY_DONE;
}

/* -- Domains ---------------------------------------------------------------- */

static bool is_neighbour(const struct machine *machine, int ppu, int domain)
{
    for (int link = 0; link < LINK_MAX; link++) {
        int peer = machine->topology.peer[ppu][link];
        if (peer >= 0 && machine->holder[peer] == domain) {
            return true;
        }
    }
    return false;
}

static void remember(struct machine *machine, int ppu)
{
    if (!machine->touched[ppu]) {
        machine->touched[ppu] = true;
        machine->original[ppu] = machine->registers[ppu];
    }
}

/* Sets COMPLETE if every write was done. */
static bool carry_out(struct machine *machine, const struct plan_goal goals[], bool may_defer, bool *complete)
{
    enum apply_outcome outcomes[2 * PPU_MAX];
    struct plan plan;
    bool isolated;
    plan_build(&plan, goals, machine->topology.ppu_count);
    memcpy(machine->before, machine->registers, sizeof machine->before);
    isolated = apply(&plan, may_defer, write_register, machine, outcomes);
    *complete = !machine->killed;
    for (size_t i = 0; i < plan.count; i++) {
        *complete = *complete && outcomes[i] == APPLY_DONE;
    }
    return isolated && !machine->killed;
}

/* A card that belongs to the domain gets exactly its cuts, an idle neighbour
 * more cuts. */
static bool isolate(struct machine *machine, int domain, bool may_defer)
{
    struct plan_goal goals[PPU_MAX] = {0};
    bool complete;
    bool isolated;
    for (int ppu = 0; ppu < machine->topology.ppu_count; ppu++) {
        uint32_t required = mask_required(&machine->topology, machine->holder, ppu);
        goals[ppu].now = machine->registers[ppu];
        if (machine->holder[ppu] == domain) {
            remember(machine, ppu);
            goals[ppu].role = ROLE_NEAR;
            goals[ppu].want = required;
        } else if (machine->holder[ppu] == 0 && is_neighbour(machine, ppu, domain)) {
            remember(machine, ppu);
            goals[ppu].role = ROLE_FAR;
            goals[ppu].want = goals[ppu].now | required;
        }
    }
    isolated = carry_out(machine, goals, may_defer, &complete);
    machine->degraded[domain] = !complete;
    return isolated;
}

bool machine_start(struct machine *machine, int domain, const bool taken[])
{
    for (int ppu = 0; ppu < machine->topology.ppu_count; ppu++) {
        if (taken[ppu]) {
            assert_int_equal(machine->holder[ppu], 0);
            machine->holder[ppu] = domain;
        }
    }
    machine->domains[domain] = DOMAIN_STARTING;
    machine->operation = "prepare";
    if (isolate(machine, domain, true)) {
        machine->held = false;
        machine->operation = "start";
        if (isolate(machine, domain, false)) {
            machine->domains[domain] = DOMAIN_RUNNING;
            return true;
        }
    }
    machine->held = false;
    if (!machine->killed) {
        machine_stop(machine, domain);
    }
    return false;
}

/* Every idle card that was touched goes back to what it held before, as far as
 * the domains that are left allow. */
void machine_stop(struct machine *machine, int domain)
{
    struct plan_goal goals[PPU_MAX] = {0};
    bool complete;
    machine->domains[domain] = DOMAIN_ENDED;
    machine->operation = "stopped";
    for (int ppu = 0; ppu < machine->topology.ppu_count; ppu++) {
        machine->holder[ppu] = machine->holder[ppu] == domain ? 0 : machine->holder[ppu];
    }
    for (int ppu = 0; ppu < machine->topology.ppu_count; ppu++) {
        if (machine->holder[ppu] == 0 && machine->touched[ppu]) {
            goals[ppu].role = ROLE_FAR;
            goals[ppu].now = machine->registers[ppu];
            goals[ppu].want = machine->original[ppu] | mask_required(&machine->topology, machine->holder, ppu);
        }
    }
    carry_out(machine, goals, false, &complete);
    if (complete) {
        machine->domains[domain] = DOMAIN_ABSENT;
    }
}
