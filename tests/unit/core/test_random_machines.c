/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "machine.h"

/*
 * Random machines of up to 128 cards with parallel links and, half of them, with links
 * that lead out, on which random domains start, stop, are killed after any write, or
 * meet registers that take only some of their bits.
 */
enum { MACHINES = 2000, STEPS = 60, CARDS_MAX = 128 };

static struct machine machine;
static unsigned long wires_outside;

static int free_link(int ppu)
{
    int first = (int)(machine_random(&machine) % LINK_MAX);
    for (int step = 0; step < LINK_MAX; step++) {
        int link = (first + step) % LINK_MAX;
        if (machine.wires[ppu][link].kind == NOT_WIRED) {
            return link;
        }
    }
    return -1;
}

static void build(void)
{
    int cards = 2 + (int)(machine_random(&machine) % (CARDS_MAX - 1));
    int attempts = (int)(machine_random(&machine) % (uint32_t)(cards * 20));
    int outside = machine_random(&machine) % 2 == 0 ? (int)(machine_random(&machine) % (uint32_t)(cards * 4)) : 0;
    machine_build(&machine, cards);
    for (int i = 0; i < attempts; i++) {
        int a = (int)(machine_random(&machine) % (uint32_t)cards);
        int b = (int)(machine_random(&machine) % (uint32_t)cards);
        int link_a = free_link(a);
        int link_b = free_link(b);
        if (a != b && link_a >= 0 && link_b >= 0) {
            machine_join(&machine, a, link_a, b, link_b);
        }
    }
    for (int i = 0; i < outside; i++) {
        int ppu = (int)(machine_random(&machine) % (uint32_t)cards);
        int link = free_link(ppu);
        if (link >= 0) {
            machine_join_outside(&machine, ppu, link);
            wires_outside++;
        }
    }
    machine_learn_topology(&machine);
}

static void start_domain(int domain)
{
    bool taken[PPU_MAX] = {false};
    uint32_t share = 2 + machine_random(&machine) % 10;
    for (int ppu = 0; ppu < machine.topology.ppu_count; ppu++) {
        taken[ppu] = machine.holder[ppu] == 0 && machine_random(&machine) % share == 0;
    }
    machine.held = machine_random(&machine) % 4 == 0;
    machine_start(&machine, domain, taken);
}

/* A hook's life: now and then it is killed, and what it left is found by the
 * next one. */
static void step(void)
{
    int domain = 1 + (int)(machine_random(&machine) % DOMAIN_MAX);
    machine.killed = false;
    machine.writes_until_kill = machine_random(&machine) % 3 == 0 ? (long)(machine_random(&machine) % 40) : -1;
    machine.failing = machine_random(&machine) % 3 == 0 ? machine_random(&machine) % 50 : 0;
    if (machine.domains[domain] == DOMAIN_ABSENT) {
        start_domain(domain);
    } else {
        machine_stop(&machine, domain);
    }
    memcpy(machine.before, machine.registers, sizeof machine.before);
    machine_check_all(&machine);
}

static void stop_all(void)
{
    machine.killed = false;
    machine.writes_until_kill = -1;
    machine.failing = 0;
    for (int domain = 1; domain <= DOMAIN_MAX; domain++) {
        if (machine.domains[domain] != DOMAIN_ABSENT) {
            machine_stop(&machine, domain);
        }
    }
}

static void random_lives(void **state)
{
    uint32_t originals[PPU_MAX];
    (void)state;
    for (uint64_t seed = 1; seed <= MACHINES; seed++) {
        machine.seed = seed;
        machine.random = seed;
        build();
        machine_reset(&machine);
        machine_fill_with_garbage(&machine);
        memcpy(originals, machine.registers, sizeof originals);
        for (int i = 0; i < STEPS; i++) {
            step();
        }
        stop_all();
        for (int ppu = 0; ppu < machine.topology.ppu_count; ppu++) {
            if (machine.registers[ppu] != originals[ppu]) {
                fail_msg("seed %llu: card %d is not back", (unsigned long long)seed, ppu);
            }
        }
    }
    assert_true(wires_outside > 0);
    print_message("%d machines, %lu links that lead out, %d steps each, %lu register writes checked\n", MACHINES,
                  wires_outside, STEPS, machine.writes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_lives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
