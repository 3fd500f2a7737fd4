/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "machine.h"
#include "vendor_topology.h"

/*
 * All 4,140 ways to split the vendor's eight cards among domains: each block is
 * started in turn, then stopped in turn.  Once more with the two links of each card
 * that lead to another host.
 */
enum { CARDS = 8, PARTITIONS = 4140 };

static struct machine machine;

static void start_block(const int block[], int number)
{
    bool taken[PPU_MAX] = {false};
    for (int ppu = 0; ppu < CARDS; ppu++) {
        taken[ppu] = block[ppu] == number;
    }
    assert_true(machine_start(&machine, number + 1, taken));
    machine_check_all(&machine);
}

static void play(const int block[], int blocks)
{
    uint32_t originals[PPU_MAX];
    memcpy(originals, machine.registers, sizeof originals);
    machine_reset(&machine);
    for (int number = 0; number < blocks; number++) {
        start_block(block, number);
    }
    for (int number = 0; number < blocks; number++) {
        machine_stop(&machine, number + 1);
        assert_int_equal(machine.domains[number + 1], DOMAIN_ABSENT);
        machine_check_all(&machine);
    }
    assert_memory_equal(machine.registers, originals, CARDS * sizeof originals[0]);
}

/* The next in the order of restricted growth: each card's block is at most one
 * above all blocks before it. */
static bool next_partition(int block[])
{
    for (int ppu = CARDS - 1; ppu > 0; ppu--) {
        int highest = 0;
        for (int before = 0; before < ppu; before++) {
            highest = block[before] > highest ? block[before] : highest;
        }
        if (block[ppu] <= highest) {
            block[ppu]++;
            memset(&block[ppu + 1], 0, (size_t)(CARDS - 1 - ppu) * sizeof block[0]);
            return true;
        }
    }
    return false;
}

static int count_blocks(const int block[])
{
    int highest = 0;
    for (int ppu = 0; ppu < CARDS; ppu++) {
        highest = block[ppu] > highest ? block[ppu] : highest;
    }
    return highest + 1;
}

static void build(bool scale_out)
{
    machine_build(&machine, CARDS);
    for (size_t i = 0; i < sizeof vendor_links / sizeof vendor_links[0]; i++) {
        machine.wires[vendor_links[i].ppu][vendor_links[i].link] =
            (struct wire){.kind = TO_CARD, .card = (int16_t)vendor_links[i].peer};
    }
    for (int ppu = 0; scale_out && ppu < CARDS; ppu++) {
        machine_join_outside(&machine, ppu, 1);
        machine_join_outside(&machine, ppu, 2);
    }
    machine_learn_topology(&machine);
}

static void play_all(bool scale_out, int garbage_rounds)
{
    int block[CARDS] = {0};
    int partitions = 0;
    machine.writes = 0;
    build(scale_out);
    do {
        partitions++;
        memset(machine.registers, 0, sizeof machine.registers);
        if (garbage_rounds == 0) {
            play(block, count_blocks(block));
        }
        for (int round = 0; round < garbage_rounds; round++) {
            machine.seed = (uint64_t)partitions << 8 | (uint64_t)round;
            machine.random = machine.seed;
            machine_fill_with_garbage(&machine);
            play(block, count_blocks(block));
        }
    } while (next_partition(block));
    assert_int_equal(partitions, PARTITIONS);
    print_message("%d partitions, %lu register writes checked\n", partitions, machine.writes);
}

static void from_open_registers(void **state)
{
    (void)state;
    play_all(false, 0);
}

static void from_garbage_registers(void **state)
{
    (void)state;
    play_all(false, 64);
}

static void with_external_links(void **state)
{
    (void)state;
    play_all(true, 0);
    play_all(true, 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(from_open_registers),
        cmocka_unit_test(from_garbage_registers),
        cmocka_unit_test(with_external_links),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
