/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/ownership.h"
#include "core/plan.h"

/*
 * Four cards, each joined to each, exhaustively: every content of the four
 * registers x every owner of the four cards x every single write that fails,
 * leaving the register as it was or as wanted.  Domain 1 is isolated.
 */
enum { CARDS = 4, LINKS = CARDS - 1, CONTENTS = 1 << (CARDS * LINKS), NO_FAILURE = -1 };

static const int owner_kinds[] = {OWNER_IDLE, 1, 2, OWNER_SHARED, OWNER_UNKNOWN};
enum { OWNER_KINDS = sizeof owner_kinds / sizeof owner_kinds[0] };

struct run {
    int owners[CARDS];
    uint32_t before[CARDS];
    uint32_t registers[CARDS];
    int fails_at;
    bool fails_changed;
    int tried;
    bool near_cut_failed;
};

static struct topology topology;
static unsigned long runs;
static unsigned long writes;

/* Link i of a card leads to the i-th of the other cards. */
static int link_to(int ppu, int peer)
{
    return peer < ppu ? peer : peer - 1;
}

static void make_topology(void)
{
    topology_clear(&topology, CARDS);
    for (int ppu = 0; ppu < CARDS; ppu++) {
        for (int peer = 0; peer < CARDS; peer++) {
            if (peer != ppu) {
                topology.peer[ppu][link_to(ppu, peer)] = (int16_t)peer;
            }
        }
    }
}

static bool live(const uint32_t registers[], int a, int b)
{
    return (registers[a] >> link_to(a, b) & 1) == 0 && (registers[b] >> link_to(b, a) & 1) == 0;
}

/* The specification's words, by enumeration. */
static bool legal(int a, int b)
{
    return (a == OWNER_IDLE && b == OWNER_IDLE) || (a == 1 && b == 1) || (a == 2 && b == 2);
}

static void check(const struct run *run)
{
    for (int a = 0; a < CARDS; a++) {
        for (int b = 0; b < a; b++) {
            if (!legal(run->owners[a], run->owners[b]) && live(run->registers, a, b)) {
                assert_true(live(run->before, a, b));
            }
        }
    }
}

static void check_isolated(const struct run *run)
{
    for (int a = 0; a < CARDS; a++) {
        for (int b = 0; b < CARDS; b++) {
            if (a != b && run->owners[a] == 1 && run->owners[b] != 1) {
                assert_false(live(run->registers, a, b));
            }
        }
    }
}

static enum apply_outcome write_register(void *context, const struct plan_write *write)
{
    struct run *run = context;
    bool opens = (run->registers[write->ppu] & ~write->to) != 0;
    bool fails = run->tried == run->fails_at;
    assert_false(run->near_cut_failed);
    assert_int_equal(run->registers[write->ppu], write->from);
    if (opens) {
        check_isolated(run);
    }
    if (!fails || run->fails_changed) {
        run->registers[write->ppu] = write->to;
    }
    run->near_cut_failed = fails && !opens && write->role == ROLE_NEAR;
    run->tried++;
    writes++;
    check(run);
    return fails ? APPLY_FAILED : APPLY_DONE;
}

static void make_goals(const struct run *run, struct plan_goal goals[])
{
    for (int ppu = 0; ppu < CARDS; ppu++) {
        uint32_t required = mask_required(&topology, run->owners, ppu);
        goals[ppu].role = run->owners[ppu] == 1 ? ROLE_NEAR : run->owners[ppu] == OWNER_IDLE ? ROLE_FAR : ROLE_NONE;
        goals[ppu].now = run->registers[ppu];
        goals[ppu].want = run->owners[ppu] == 1 ? required : goals[ppu].now | required;
    }
}

/* The number of writes of the plan. */
static int play(struct run run)
{
    enum apply_outcome outcomes[2 * PPU_MAX];
    struct plan_goal goals[CARDS];
    struct plan plan;
    memcpy(run.before, run.registers, sizeof run.before);
    make_goals(&run, goals);
    plan_build(&plan, goals, CARDS);
    runs++;
    if (!apply(&plan, false, write_register, &run, outcomes)) {
        assert_true(run.near_cut_failed);
        return (int)plan.count;
    }
    assert_false(run.near_cut_failed);
    check_isolated(&run);
    for (int ppu = 0; ppu < CARDS && run.fails_at == NO_FAILURE; ppu++) {
        assert_int_equal(run.registers[ppu], goals[ppu].role == ROLE_NONE ? run.before[ppu] : goals[ppu].want);
    }
    return (int)plan.count;
}

static void every_content(struct run run)
{
    for (int content = 0; content < CONTENTS; content++) {
        int count;
        for (int ppu = 0; ppu < CARDS; ppu++) {
            run.registers[ppu] = (uint32_t)content >> (ppu * LINKS) & ((1u << LINKS) - 1);
        }
        run.fails_at = NO_FAILURE;
        count = play(run);
        for (run.fails_at = 0; run.fails_at < count; run.fails_at++) {
            run.fails_changed = false;
            play(run);
            run.fails_changed = true;
            play(run);
        }
    }
}

static void everything(void **state)
{
    int combinations = 1;
    (void)state;
    make_topology();
    for (int ppu = 0; ppu < CARDS; ppu++) {
        combinations *= OWNER_KINDS;
    }
    for (int combination = 0; combination < combinations; combination++) {
        struct run run = {0};
        int rest = combination;
        for (int ppu = 0; ppu < CARDS; ppu++) {
            run.owners[ppu] = owner_kinds[rest % OWNER_KINDS];
            rest /= OWNER_KINDS;
        }
        every_content(run);
    }
    print_message("%d owners x %d contents: %lu runs, %lu register writes checked\n", combinations, CONTENTS, runs,
                  writes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
