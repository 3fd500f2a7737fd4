/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Walks through every world that can be reached, checks each, and checks that from each
 * in which somebody is dead time alone frees what they had.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"

struct place {
    struct world world;
    uint32_t from; /* the place it was reached from first */
};

struct space {
    const struct scope *scope;
    struct place *places;
    size_t count;
    size_t room;
    uint32_t *table; /* place + 1, or 0 */
    size_t table_size;
    uint32_t from;
};

static void *allocate(void *old, size_t size)
{
    void *room = realloc(old, size);
    if (!room) {
        perror("claims");
        exit(2);
    }
    return room;
}

static size_t hash(const struct world *world)
{
    uint64_t mixed = 0;
    uint32_t words[sizeof *world / sizeof(uint32_t)];
    memcpy(words, world, sizeof words);
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        mixed = (mixed ^ words[i]) * UINT64_C(0x9e3779b97f4a7c15);
        mixed ^= mixed >> 29;
    }
    return (size_t)mixed;
}

/* Where WORLD is in the table, or would be. */
static uint32_t *find(const struct space *space, const struct world *world)
{
    size_t at = hash(world) & (space->table_size - 1);
    while (space->table[at] != 0 && memcmp(&space->places[space->table[at] - 1].world, world, sizeof *world) != 0) {
        at = (at + 1) & (space->table_size - 1);
    }
    return &space->table[at];
}

static void grow(struct space *space)
{
    space->room = space->room == 0 ? 1 << 16 : space->room * 2;
    space->table_size = space->room * 2;
    space->places = allocate(space->places, space->room * sizeof space->places[0]);
    space->table = allocate(space->table, space->table_size * sizeof space->table[0]);
    memset(space->table, 0, space->table_size * sizeof space->table[0]);
    for (size_t i = 0; i < space->count; i++) {
        *find(space, &space->places[i].world) = (uint32_t)i + 1;
    }
}

static void reach(void *context, const struct world *world, const char *event)
{
    struct space *space = context;
    uint32_t *entry;
    (void)event;
    if (space->count == space->room) {
        grow(space);
    }
    entry = find(space, world);
    if (*entry == 0) {
        space->places[space->count] = (struct place){*world, space->from};
        *entry = (uint32_t)++space->count;
    }
}

/* -- Telling how a world was reached ------------------------------------------------- */

struct sought {
    const struct world *world;
    const char *event;
};

static void find_event(void *context, const struct world *world, const char *event)
{
    struct sought *sought = context;
    if (memcmp(world, sought->world, sizeof *world) == 0) {
        sought->event = event;
    }
}

static void print_way(const struct space *space, uint32_t place)
{
    const struct world *world = &space->places[place].world;
    struct sought sought = {world, "the beginning"};
    if (place != 0) {
        print_way(space, space->places[place].from);
        world_successors(space->scope, &space->places[space->places[place].from].world, false, find_event, &sought);
    }
    printf("  %s\n", sought.event);
    world_print(world);
}

/* -- Time alone ----------------------------------------------------------------------- */

struct freed {
    const struct space *space;
    uint8_t *free;
    uint8_t bit;
    bool found;
};

static void look_for_free(void *context, const struct world *world, const char *event)
{
    struct freed *freed = context;
    (void)event;
    freed->found = freed->found || (freed->free[*find(freed->space, world) - 1] & freed->bit) != 0;
}

/* The number of worlds in which DEBTOR is dead and not free, however much time passes. */
static size_t count_stuck(const struct space *space, uint8_t *free, int debtor, uint32_t *first)
{
    struct freed freed = {space, free, (uint8_t)(1 << debtor), false};
    bool changed = true;
    size_t stuck = 0;
    for (size_t i = 0; i < space->count; i++) {
        if (check_is_free(&space->places[i].world, debtor)) {
            free[i] |= freed.bit;
        }
    }
    while (changed) {
        changed = false;
        stuck = 0;
        for (size_t i = space->count; i-- > 0;) {
            const struct world *world = &space->places[i].world;
            if ((free[i] & freed.bit) != 0 || !check_is_dead(world, debtor)) {
                continue;
            }
            freed.found = false;
            world_successors(space->scope, world, true, look_for_free, &freed);
            if (freed.found) {
                free[i] |= freed.bit;
                changed = true;
            } else {
                stuck++;
                *first = (uint32_t)i;
            }
        }
    }
    return stuck;
}

static int check_debtors(const struct space *space)
{
    static const char *const names[DEBTORS] = {"domain A", "domain B", "the group", "everybody"};
    uint8_t *is_free = allocate(NULL, space->count);
    int failures = 0;
    memset(is_free, 0, space->count);
    for (int debtor = 0; debtor < DEBTORS; debtor++) {
        uint32_t first = 0;
        size_t stuck = count_stuck(space, is_free, debtor, &first);
        if (stuck > 0) {
            printf("%zu worlds in which %s is dead and keeps its cards for ever, one of them:\n", stuck, names[debtor]);
            print_way(space, first);
            failures++;
        }
    }
    free(is_free);
    return failures;
}

/* Prints what is wrong and how it came to that; returns how many checks failed. */
static int walk(const struct scope *scope)
{
    struct space space = {.scope = scope};
    int failures = 0;
    reach(&space, &first_world, "");
    for (uint32_t i = 0; i < space.count && failures == 0; i++) {
        const struct world world = space.places[i].world;
        const char *fault = check_world(&world);
        if (fault) {
            print_way(&space, i);
            printf("%s\n", fault);
            failures = 1;
        }
        space.from = i;
        world_successors(scope, &world, false, reach, &space);
    }
    failures = failures > 0 ? failures : check_debtors(&space);
    printf("%s: %zu worlds, %d checks failed\n", scope->name, space.count, failures);
    free(space.places);
    free(space.table);
    return failures;
}

int main(void)
{
    static const struct scope scopes[] = {
        {"a domain and a group", false, true},
        {"two domains", true, false},
    };
    for (size_t i = 0; i < sizeof scopes / sizeof scopes[0]; i++) {
        if (walk(&scopes[i]) > 0) {
            return 1;
        }
    }
    return 0;
}
