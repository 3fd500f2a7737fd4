/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/suspects.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"

/*
 * The oracle builds each world from cables between registers, makes the trials there, and looks whether an end that
 * was seen up does the same.  It knows nothing of ids' exchanges but how to lay the cables, and tries every world.
 */
enum { WORLDS = 400, CARDS_MAX = 5, INDEXES = 6, CABLES_MAX = CARDS_MAX * INDEXES, TRIALS_MAX = CABLES_MAX };

struct end {
    int card; /* an address; that of the settings' id of the same number */
    int link;
};

struct cable {
    struct end ends[2]; /* as the settings have it */
    bool is_external;   /* has only one end */
    bool is_doubled;    /* there is another one between its cards, and the settings do not tell which is which */
};

static struct topology topology;
static struct cable cables[CABLES_MAX];
static int cable_count;
static struct found found[CARDS_MAX];
static struct trial trials[TRIALS_MAX];
static struct sight sights[TRIALS_MAX * CARDS_MAX * WITNESS_COUNT];
static struct observed observed;
static uint32_t random_state;

static uint32_t next_random(uint32_t below)
{
    random_state = random_state * 1664525 + 1013904223;
    return (random_state >> 8) % below;
}

static int swap(int value, int one, int other)
{
    return value == one ? other : value == other ? one : value;
}

static bool is_wired(int card, int link)
{
    return topology.peer[card][link] != NO_PEER;
}

static void lay(int a, int a_link, int b, int b_link, bool is_doubled, bool is_told)
{
    cables[cable_count++] = (struct cable){.ends = {{a, a_link}, {b, b_link}}, .is_doubled = is_doubled && !is_told};
    topology.peer[a][a_link] = (int16_t)b;
    topology.peer[b][b_link] = (int16_t)a;
    if (is_told) {
        topology.peer_link[a][a_link] = (int16_t)b_link;
        topology.peer_link[b][b_link] = (int16_t)a_link;
    }
}

static int free_link(int card)
{
    int link = (int)next_random(INDEXES);
    for (int i = 0; i < INDEXES && is_wired(card, link); i++) {
        link = (link + 1) % INDEXES;
    }
    return is_wired(card, link) ? -1 : link;
}

static void lay_all(void)
{
    int cards = 2 + (int)next_random(CARDS_MAX - 1);
    int doubled = 0;
    topology_clear(&topology, cards);
    cable_count = 0;
    for (int a = 0; a < cards; a++) {
        for (int b = a + 1; b < cards; b++) {
            int wanted = next_random(5) == 0 && doubled < 2 ? 2 : next_random(4) > 0;
            bool is_told = next_random(2) == 0;
            doubled += wanted == 2;
            for (int i = 0; i < wanted; i++) {
                int a_link = free_link(a);
                int b_link = free_link(b);
                if (a_link >= 0 && b_link >= 0) {
                    lay(a, a_link, b, b_link, wanted == 2, is_told);
                }
            }
        }
        int link = next_random(4) == 0 ? free_link(a) : -1;
        if (link >= 0) {
            cables[cable_count++] = (struct cable){.ends = {{a, link}, {-1, -1}}, .is_external = true};
            topology.peer[a][link] = EXTERNAL_PEER;
        }
    }
}

/* A world, with registers: bit set = written as one. */
struct world {
    struct suspect suspect;
    unsigned int pairings; /* bit k: the k-th doubled cable and its twin have each other's far end */
    uint32_t registers[CARDS_MAX];
    bool broken[CABLES_MAX];
};

/* Where an end of the settings really is. */
static struct end really(const struct world *world, struct end end)
{
    const struct suspect *suspect = &world->suspect;
    if (suspect->kind == SUSPECT_LINKS && end.card == suspect->ppu) {
        end.link = swap(end.link, suspect->link, suspect->other);
    }
    if (suspect->kind == SUSPECT_IDS) {
        end.card = swap(end.card, suspect->ppu, suspect->other);
    }
    return end;
}

static int twin_of(int cable)
{
    for (int i = 0; i < cable_count; i++) {
        if (i != cable && cables[i].is_doubled && !cables[i].is_external &&
            cables[i].ends[0].card == cables[cable].ends[0].card &&
            cables[i].ends[1].card == cables[cable].ends[1].card) {
            return i;
        }
    }
    return -1;
}

static void ends_of(const struct world *world, int cable, struct end ends[2])
{
    int twin = cables[cable].is_doubled ? twin_of(cable) : -1;
    int number = 0;
    for (int i = 0; twin >= 0 && i < (twin < cable ? twin : cable); i++) {
        number += cables[i].is_doubled && twin_of(i) > i;
    }
    bool is_crossed = twin >= 0 && (world->pairings >> number & 1) != 0;
    ends[0] = really(world, cables[cable].ends[0]);
    ends[1] = cables[cable].is_external ? ends[0] : really(world, cables[is_crossed ? twin : cable].ends[1]);
}

static bool is_off(const struct world *world, struct end end)
{
    bool bit = (world->registers[end.card] >> end.link & 1) != 0;
    return bit == (world->suspect.kind != SUSPECT_CUT_BIT);
}

/* The ends that are up, of all cards. */
static void look(const struct world *world, uint32_t up[CARDS_MAX])
{
    memset(up, 0, CARDS_MAX * sizeof up[0]);
    for (int i = 0; i < cable_count; i++) {
        struct end ends[2];
        ends_of(world, i, ends);
        if (!world->broken[i] && !is_off(world, ends[0]) && !is_off(world, ends[1])) {
            up[ends[0].card] |= 1U << ends[0].link;
            up[ends[1].card] |= 1U << ends[1].link;
        }
    }
}

/* It looks at something else than links. */
static bool is_blind(const struct world *world, enum witness witness)
{
    const struct suspect *suspect = &world->suspect;
    return (suspect->kind == SUSPECT_WITNESS && suspect->witness == witness) ||
           (suspect->kind == SUSPECT_PLACE && witness == WITNESS_STATUS);
}

static bool writes_elsewhere(const struct world *world)
{
    return world->suspect.kind == SUSPECT_PLACE || world->suspect.kind == SUSPECT_LINK_CONFIG;
}

static void write_trial(struct world *world, const struct trial *trial)
{
    if (writes_elsewhere(world)) {
        return;
    }
    if (trial->opens) {
        world->registers[trial->ppu] &= ~trial->links;
    } else {
        world->registers[trial->ppu] |= trial->links;
    }
}

/* Evidence as confirm gathers it in the world. */
static void gather(struct world *world, bool whole_cards)
{
    uint32_t up[CARDS_MAX];
    uint32_t can_see[WITNESS_COUNT][CARDS_MAX];
    uint32_t constant[CARDS_MAX];
    size_t sight_count = 0;
    size_t trial_count = 0;
    look(world, up);
    for (int card = 0; card < topology.ppu_count; card++) {
        constant[card] = topology_links(&topology, card) & next_random(64);
        found[card] = (struct found){.is_read = next_random(8) > 0,
                                     .mask = world->registers[card] & topology_links(&topology, card)};
        for (enum witness witness = 0; witness < WITNESS_COUNT; witness++) {
            can_see[witness][card] = next_random(4) == 0 ? 0 : UINT32_MAX;
            found[card].up[witness] = (is_blind(world, witness) ? constant[card] : up[card]) & can_see[witness][card];
        }
    }
    for (int card = 0; card < topology.ppu_count; card++) {
        for (int link = 0; link < INDEXES && trial_count < TRIALS_MAX; link++) {
            uint32_t bits = whole_cards ? topology_links(&topology, card) : 1U << link;
            bool reads_cut = found[card].is_read && (found[card].mask & bits) != 0;
            bool is_wanted = whole_cards ? link == 0 : is_wired(card, link) && topology.peer[card][link] <= card;
            if (!is_wanted || (reads_cut && (whole_cards || next_random(2) == 0))) {
                continue;
            }
            struct world during = *world;
            uint32_t later[CARDS_MAX];
            trials[trial_count] = (struct trial){.ppu = card, .links = bits, .opens = reads_cut};
            trials[trial_count].refused = writes_elsewhere(world) && next_random(6) == 0;
            write_trial(&during, &trials[trial_count]);
            look(&during, later);
            for (int other = 0; other < topology.ppu_count; other++) {
                for (enum witness witness = 0; witness < WITNESS_COUNT; witness++) {
                    uint32_t before = found[other].up[witness] & (next_random(9) == 0 ? 0 : UINT32_MAX);
                    uint32_t down = before & ~(is_blind(world, witness) ? constant[other] : later[other]);
                    if (before != found[other].up[witness] || down != 0) {
                        sights[sight_count++] = (struct sight){trial_count, witness, other, before, down};
                    }
                }
            }
            trial_count++;
        }
    }
    observed = (struct observed){.topology = &topology,
                                 .writes_registers = true,
                                 .found = found,
                                 .trials = trials,
                                 .trial_count = trial_count,
                                 .sights = sights,
                                 .sight_count = sight_count};
}

/* -- The oracle ------------------------------------------------------------------ */

static const struct sight *sight_of(size_t trial, enum witness witness, int card)
{
    static struct sight unchanged;
    for (size_t i = 0; i < observed.sight_count; i++) {
        if (sights[i].trial == trial && sights[i].witness == witness && sights[i].ppu == card) {
            return &sights[i];
        }
    }
    unchanged = (struct sight){trial, witness, card, found[card].up[witness], 0};
    return &unchanged;
}

/* The registers as they were found; a card that was not read is taken to be open. */
static void set_registers(struct world *world)
{
    for (int card = 0; card < topology.ppu_count; card++) {
        uint32_t links = topology_links(&topology, card);
        bool means_something = found[card].is_read && !writes_elsewhere(world);
        uint32_t open = world->suspect.kind == SUSPECT_CUT_BIT ? UINT32_MAX : 0;
        world->registers[card] = means_something ? (found[card].mask & links) | (open & ~links) : open;
    }
}

/* Whether one witness' sight of one card is what this world shows.  Ends that were up before the trial were so whatever
 * the registers read. */
static bool shows(struct world world, size_t trial, enum witness witness, int card)
{
    const struct sight *sight = sight_of(trial, witness, card);
    uint32_t up[CARDS_MAX];
    if (trials[trial].refused && !writes_elsewhere(&world)) {
        return false; /* a register that is one takes what is written */
    }
    if (is_blind(&world, witness)) {
        return sight->down == 0;
    }
    for (int i = 0; i < topology.ppu_count; i++) {
        world.registers[i] = world.suspect.kind == SUSPECT_CUT_BIT ? UINT32_MAX : 0;
    }
    if (trials[trial].opens == (world.suspect.kind == SUSPECT_CUT_BIT)) {
        write_trial(&world, &trials[trial]);
    }
    look(&world, up);
    return ((sight->down ^ ~up[card]) & sight->up) == 0;
}

static bool found_is_shown(struct world world, int card, int link)
{
    for (enum witness witness = 0; witness < WITNESS_COUNT; witness++) {
        uint32_t up[CARDS_MAX];
        look(&world, up);
        if (!is_blind(&world, witness) && (found[card].up[witness] >> link & 1) != 0 && (up[card] >> link & 1) == 0) {
            return false;
        }
    }
    return true;
}

static bool oracle_explains(const struct suspect *suspect)
{
    for (int card = 0; card < topology.ppu_count; card++) {
        for (int link = 0; link < INDEXES; link++) {
            bool is_shown = false;
            for (unsigned int pairings = 0; pairings < 4; pairings++) {
                struct world world = {.suspect = *suspect, .pairings = pairings};
                set_registers(&world);
                is_shown |= found_is_shown(world, card, link);
            }
            if (!is_shown) {
                return false;
            }
        }
        for (size_t trial = 0; trial < observed.trial_count; trial++) {
            for (enum witness witness = 0; witness < WITNESS_COUNT; witness++) {
                bool is_shown = false;
                for (unsigned int pairings = 0; pairings < 4; pairings++) {
                    struct world world = {.suspect = *suspect, .pairings = pairings};
                    is_shown |= shows(world, trial, witness, card);
                }
                if (!is_shown) {
                    return false;
                }
            }
        }
    }
    return true;
}

/* -- Every suspect there can be ---------------------------------------------------- */

enum { SUSPECTS_MAX = 4 + WITNESS_COUNT + CARDS_MAX * CARDS_MAX + CARDS_MAX * INDEXES * INDEXES };

static bool is_in_use(int link)
{
    for (int card = 0; card < topology.ppu_count; card++) {
        if (is_wired(card, link)) {
            return true;
        }
    }
    return false;
}

/* To exchange them changes nothing: neither is wired, or they are parallel and not told apart. */
static bool are_alike(int card, int link, int other)
{
    bool are_parallel = topology.peer[card][link] == topology.peer[card][other] &&
                        topology.peer_link[card][link] == topology.peer_link[card][other];
    return !is_in_use(link) || !is_in_use(other) || are_parallel;
}

/* Another witness saw something change. */
static bool is_outvoted(enum witness witness)
{
    for (size_t i = 0; i < observed.sight_count; i++) {
        if (sights[i].down != 0 && sights[i].witness != witness) {
            return true;
        }
    }
    return false;
}

static size_t list_all(struct suspect all[])
{
    size_t count = 0;
    all[count++] = (struct suspect){.kind = SUSPECT_CUT_BIT};
    all[count++] = (struct suspect){.kind = SUSPECT_LINK_CONFIG};
    all[count++] = (struct suspect){.kind = SUSPECT_PLACE};
    for (enum witness witness = 0; witness < WITNESS_COUNT; witness++) {
        if (witness == WITNESS_STATUS || is_outvoted(witness)) {
            all[count++] = (struct suspect){.kind = SUSPECT_WITNESS, .witness = witness};
        }
    }
    for (int card = 0; card < topology.ppu_count; card++) {
        for (int other = card + 1; other < topology.ppu_count; other++) {
            all[count++] = (struct suspect){.kind = SUSPECT_IDS, .ppu = card, .other = other};
        }
        for (int link = 0; link < INDEXES; link++) {
            for (int other = link + 1; other < INDEXES; other++) {
                if (!are_alike(card, link, other)) {
                    all[count++] = (struct suspect){.kind = SUSPECT_LINKS, .ppu = card, .link = link, .other = other};
                }
            }
        }
    }
    return count;
}

static bool is_same(const struct suspect *a, const struct suspect *b)
{
    return a->kind == b->kind && a->ppu == b->ppu && a->link == b->link && a->other == b->other &&
           a->witness == b->witness;
}

static bool is_listed(const struct suspect list[], size_t count, const struct suspect *suspect)
{
    for (size_t i = 0; i < count; i++) {
        if (is_same(&list[i], suspect)) {
            return true;
        }
    }
    return false;
}

static void make_world(struct world *world, const struct suspect *suspect)
{
    *world = (struct world){.suspect = *suspect, .pairings = next_random(4)};
    for (int card = 0; card < topology.ppu_count; card++) {
        uint32_t cuts = next_random(4) == 0 ? 1U << next_random(INDEXES) : 0;
        world->registers[card] = suspect->kind == SUSPECT_CUT_BIT ? ~cuts : cuts;
    }
    for (int i = 0; i < cable_count; i++) {
        world->broken[i] = next_random(10) == 0;
    }
}

static void test_random_worlds(void **state)
{
    int named = 0;
    (void)state;
    for (int i = 0; i < WORLDS; i++) {
        static struct suspect all[SUSPECTS_MAX];
        struct suspect none = {.kind = SUSPECT_NONE};
        struct suspect *listed;
        struct world world;
        size_t count;
        size_t agreed = 0;
        random_state = (uint32_t)i;
        lay_all();
        observed.sight_count = 0;
        size_t all_count = list_all(all);
        struct suspect truth = next_random(6) == 0 ? none : all[next_random((uint32_t)all_count)];
        make_world(&world, &truth);
        gather(&world, next_random(4) == 0);
        all_count = list_all(all);
        bool is_fine = oracle_explains(&none);
        if (suspect_explains(&observed, &none) != is_fine) {
            fail_msg("world %d: right settings: the oracle says %d", i, is_fine);
        }
        suspects_find(&observed, &listed, &count);
        for (size_t j = 0; j < all_count; j++) {
            bool is_suspect = oracle_explains(&all[j]);
            if (suspect_explains(&observed, &all[j]) != is_suspect ||
                is_listed(listed, count, &all[j]) != (is_suspect && !is_fine)) {
                fail_msg("world %d: suspect %d (%d, %d, %d): the oracle says %d", i, (int)all[j].kind, all[j].ppu,
                         all[j].link, all[j].other, is_suspect);
            }
            agreed += is_suspect && !is_fine;
            named += is_suspect && !is_fine && is_same(&all[j], &truth);
        }
        assert_int_equal(count, agreed); /* none twice, and none else */
        assert_true(is_fine || truth.kind == SUSPECT_NONE || oracle_explains(&truth) ||
                    (truth.kind == SUSPECT_WITNESS && !is_outvoted(truth.witness)));
        free(listed);
    }
    assert_true(named > WORLDS / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_worlds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
