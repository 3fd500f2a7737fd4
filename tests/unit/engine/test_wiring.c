/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the sources say of a host's cards, put together; tests/e2e/test_setup*.py have the files. */
#include "engine/wiring.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "host/topology_file.h"

/* Three cards, whose ids do not follow their addresses: b is PPU 0, a is PPU 1, c is PPU 2. */
#define A "0000:0a:00.0"
#define B "0000:0b:00.0"
#define C "0000:0c:00.0"
#define QUERY "0, 0000:0b:00.0, GPU-b\n1, 0000:0a:00.0, GPU-a\n2, 0000:0c:00.0, GPU-c\n"

static const struct bdf bus[] = {{.bus = 0x0a}, {.bus = 0x0b}, {.bus = 0x0c}};
static struct wiring wiring;
static struct text_list warnings;
static struct error err;

struct texts {
    const char *query;
    const char *states;
    const char *remotes;
    const char *topology;
    size_t cards; /* of the bus; 0: all */
    bool by_address;
};

/* 0, with WIRING and WARNINGS set, or -1 with ERR.  The sources are called q, s, r and t. */
static int make_wiring(struct texts texts)
{
    struct wiring_sources *sources = memory_alloc(1, sizeof *sources);
    text_list_free(&warnings);
    warnings = (struct text_list){0};
    sources->cards = bus;
    sources->card_count = texts.cards ? texts.cards : sizeof bus / sizeof bus[0];
    sources->match = ":6001";
    sources->ids_by_address = texts.by_address;
    if (texts.query) {
        sources->query_name = memory_copy_text("q");
        assert_int_equal(ppu_smi_parse_cards(texts.query, strlen(texts.query), "q", &sources->query, &err), 0);
    }
    if (texts.states) {
        sources->states_name = memory_copy_text("s");
        assert_int_equal(ppu_smi_parse_links(texts.states, strlen(texts.states), "s", &sources->states, &err), 0);
    }
    if (texts.remotes) {
        sources->remotes_name = memory_copy_text("r");
        assert_int_equal(ppu_smi_parse_links(texts.remotes, strlen(texts.remotes), "r", &sources->remotes, &err), 0);
    }
    if (texts.topology) {
        sources->topology_name = memory_copy_text("t");
        assert_int_equal(topology_file_parse(texts.topology, strlen(texts.topology), "t", &sources->topology, &err), 0);
    }
    int result = wiring_make(sources, &wiring, &warnings, &err);
    wiring_sources_free(sources);
    free(sources);
    return result;
}

static void assert_refused(struct texts texts, const char *text)
{
    memset(&wiring, 0x55, sizeof wiring);
    assert_int_equal(make_wiring(texts), -1);
    assert_int_equal(err.status, STATUS_INVALID);
    assert_string_equal(err.text, text);
    assert_int_equal(warnings.count, 0);
    assert_int_equal(wiring.links, 0x55555555);
}

/* b and a have two links, a and c one; c's link 3 leads to another host. */
#define REMOTES                                                                                                        \
    "PPU 0:\nLink 0: Remote Device " A ": Link 1\nLink 1: Remote Device " A ": Link 0\n"                               \
    "PPU 1:\nLink 0: Remote Device " B ": Link 1\nLink 1: Remote Device " B ": Link 0\n"                               \
    "Link 2: Remote Device " C ": Link 0\n"                                                                            \
    "PPU 2:\nLink 0: Remote Device " A ": Link 2\nLink 3: Remote Device 0000:0d:00.0: Link 3\n"
#define TOPOLOGY                                                                                                       \
    "==device0==\nppuid: 0\nlink[0]: nbrPpuid:1\nlink[1]: nbrPpuid:1\n"                                                \
    "==device1==\nppuid: 1\nlink[0]: nbrPpuid:0\nlink[1]: nbrPpuid:0\nlink[2]: nbrPpuid:2\n"                           \
    "==device2==\nppuid: 2\nlink[0]: nbrPpuid:1\n"

static void test_remotes(void **state)
{
    (void)state;
    assert_int_equal(make_wiring((struct texts){.query = QUERY, .remotes = REMOTES, .topology = TOPOLOGY}), 0);
    assert_int_equal(wiring.topology.ppu_count, 3);
    assert_int_equal(wiring.card[0].bus, 0x0b);
    assert_int_equal(wiring.card[1].bus, 0x0a);
    assert_int_equal(wiring.source[2], ID_FROM_PPU_SMI);
    assert_int_equal(wiring.topology.peer[0][1], 1);
    assert_int_equal(wiring.peer_link[0][1], 0);
    assert_int_equal(wiring.peer_link[1][0], 1);
    assert_int_equal(wiring.topology.peer[2][3], NO_PEER);
    assert_int_equal(wiring.links, 0xf);
    assert_int_equal(wiring_count_links(&wiring), 3);
    assert_int_equal(wiring_count_external(&wiring), 2 + 1 + 3);
    assert_int_equal(warnings.count, 1);
    assert_string_equal(warnings.items[0],
                        "link 3 of PPU 2 leads to something other than a card of this host and counts as external");
}

static void test_topology_alone(void **state)
{
    (void)state;
    assert_int_equal(make_wiring((struct texts){.topology = TOPOLOGY, .by_address = true}), 0);
    assert_int_equal(wiring.card[0].bus, 0x0a);
    assert_int_equal(wiring.source[0], ID_FROM_ADDRESS);
    assert_int_equal(wiring.links, 0);
    assert_int_equal(wiring_count_links(&wiring), 3);
    assert_int_equal(wiring_count_external(&wiring), 0);
    assert_int_equal(wiring.peer_link[0][1], -1);
    assert_int_equal(warnings.count, 0);
}

static void test_single_card(void **state)
{
    (void)state;
    assert_int_equal(
        make_wiring((struct texts){
            .query = "0, " A, .states = "PPU 0:\nLink 0: <inactive>\n", .remotes = "PPU 0:\n", .cards = 1}),
        0);
    assert_int_equal(wiring.links, 1);
    assert_int_equal(wiring_count_external(&wiring), 1);
    assert_string_equal(warnings.items[0], "link 0 of PPU 0 is inactive now and counts as external");
}

static void test_contradictions(void **state)
{
    (void)state;
    assert_refused((struct texts){.query = QUERY, .remotes = "PPU 0:\nPPU 1:\nPPU 2:\n"},
                   "r: no link joins two of the 3 cards: all links are cut or down, or the vendor's driver has not "
                   "initialised them");
    assert_refused((struct texts){.query = QUERY,
                                  .remotes = "PPU 0:\nLink 0: Remote Device " B ": Link 1\n"
                                             "Link 1: Remote Device " B ": Link 0\nPPU 1:\nPPU 2:\n"},
                   "r:2: link 0 of PPU 0 (" B ") leads back to itself");
    assert_refused((struct texts){.query = QUERY, .remotes = REMOTES, .by_address = true},
                   "--ids-by-address:1: PPU 0 is " A " here, but q says it is " B);
    /* The UUIDs of -s and -r differ, and the table of the cards has none. */
    assert_refused(
        (struct texts){
            .query = "0, " A, .remotes = "PPU 0: (UUID: GPU-1)\n", .states = "PPU 0: (UUID: GPU-2)\n", .cards = 1},
        "r:1: PPU 0 has the UUID 1 here, but 2 in s:1; is one of the files from another machine, or from "
        "before a reboot?");
    assert_refused((struct texts){.query = QUERY, .topology = TOPOLOGY, .cards = 2},
                   "q:3: " C " is not a card of this host (lspci -D -d :6001 lists them); is the file from another "
                   "machine?");
    assert_refused((struct texts){.topology = TOPOLOGY},
                   "nothing says which card has which id: ppu-smi's list of the cards is missing; give the ids with "
                   "--map FILE, or, if they follow the addresses, with --ids-by-address");
}

static int tear_down(void **state)
{
    (void)state;
    text_list_free(&warnings);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_remotes),
        cmocka_unit_test(test_topology_alone),
        cmocka_unit_test(test_single_card),
        cmocka_unit_test(test_contradictions),
    };
    return cmocka_run_group_tests(tests, NULL, tear_down);
}
