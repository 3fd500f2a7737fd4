/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/topology_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fixtures.h"

static struct topology topology;

static int parse_fixture(const char *text, size_t length, const char *name, struct error *err)
{
    return topology_file_parse(text, length, name, &topology, err);
}

static void test_fixtures(void **unused)
{
    (void)unused;
    fixtures_check("topology", ".cfg", 7, parse_fixture);
}

static void load_fixture(const char *name)
{
    char path[1024];
    struct error err = {0};

    memset(&topology, 0xaa, sizeof topology);
    snprintf(path, sizeof path, TESTS_DIR "/fixtures/topology/%s", name);
    if (topology_file_load(path, &topology, &err) < 0) {
        fail_msg("%s", err.text);
    }
}

static void test_links_are_where_the_file_says(void **unused)
{
    (void)unused;
    load_fixture("blanks_and_comments.cfg");
    assert_int_equal(topology.ppu_count, 2);
    assert_int_equal(topology_links(&topology, 0), 1u << 5);
    assert_int_equal(topology_links(&topology, 1), 1u << 31);
    assert_int_equal(topology.peer[0][5], 1);
    assert_int_equal(topology.peer[1][31], 0);
    assert_int_equal(topology.peer[2][0], NO_PEER);
}

/* The id is in the ppuid line, whatever the device line counts. */
static void test_device_numbers_mean_nothing(void **unused)
{
    (void)unused;
    load_fixture("device_numbers_differ.cfg");
    assert_int_equal(topology.peer[1][2], 0);
    assert_int_equal(topology.peer[0][3], 1);
}

static void test_vendor_example(void **unused)
{
    static const uint32_t links[] = {0x39, 0x39, 0x39, 0x39, 0x39, 0x39, 0x39, 0x39};

    (void)unused;
    load_fixture("vendor.cfg");
    assert_int_equal(topology.ppu_count, 8);
    for (int ppu = 0; ppu < 8; ppu++) {
        assert_int_equal(topology_links(&topology, ppu), links[ppu]);
    }
    assert_int_equal(topology.peer[0][0], 6);
    assert_int_equal(topology.peer[7][5], 5);
}

/* An id that has no section, however large, and whether it comes before or after where its section would be. */
static void test_neighbours_without_a_section_are_external(void **unused)
{
    static const char scale_out[] = "==device0==\nppuid: 1\nlink[0]: nbrPpuid:0\nlink[1]: nbrPpuid:2\n"
                                    "==device1==\nppuid: 0\nlink[0]: nbrPpuid:1\nlink[31]: nbrPpuid:1023\n"
                                    "link[7]: nbrPpuid:1024\nlink[8]: nbrPpuid:65535\nlink[9]: nbrPpuid:2147483647\n";
    struct error err;

    (void)unused;
    memset(&topology, 0xaa, sizeof topology);
    assert_int_equal(topology_file_parse(scale_out, strlen(scale_out), "scale-out", &topology, &err), 0);
    assert_int_equal(topology.ppu_count, 2);
    assert_int_equal(topology.peer[0][0], 1);
    assert_int_equal(topology.peer[1][0], 0);
    assert_int_equal(topology.peer[1][1], EXTERNAL_PEER);
    assert_int_equal(topology_external(&topology, 0), 0x80000380);
    assert_int_equal(topology_external(&topology, 1), 0x00000002);
    assert_int_equal(topology_links(&topology, 0), 0x80000381);
    assert_int_equal(topology.peer_link[0][0], NO_PEER_LINK);
    load_fixture("neighbour_without_section.cfg");
    assert_int_equal(topology.peer[1][1], EXTERNAL_PEER);
    load_fixture("neighbour_1024.cfg");
    assert_int_equal(topology.peer[0][0], EXTERNAL_PEER);
}

/* COUNT cards, each with all its links to the card beside it. */
static size_t write_pairs(char *text, size_t size, int count)
{
    size_t length = 0;
    for (int ppu = 0; ppu < count; ppu++) {
        length += (size_t)snprintf(text + length, size - length, "==========device%d==========\nppuid: %d\n", ppu, ppu);
        for (int link = 0; link < LINK_MAX; link++) {
            length += (size_t)snprintf(text + length, size - length, "link[%d]: nbrPpuid:%d\n", link, ppu ^ 1);
        }
    }
    return length;
}

static void test_as_many_cards_as_there_may_be(void **unused)
{
    static char text[2 << 20];
    struct error err;

    (void)unused;
    size_t length = write_pairs(text, sizeof text, PPU_MAX);
    assert_int_equal(topology_file_parse(text, length, "big", &topology, &err), 0);
    assert_int_equal(topology.ppu_count, PPU_MAX);
    assert_int_equal(topology.peer[1023][31], 1022);

    topology.ppu_count = 77;
    length += (size_t)snprintf(text + length, sizeof text - length, "==device1024==\nppuid: 0\n");
    assert_int_equal(topology_file_parse(text, length, "big", &topology, &err), -1);
    assert_int_equal(err.status, STATUS_INVALID);
    assert_string_equal(err.text, "big:34817: more than 1024 devices");
    assert_int_equal(topology.ppu_count, 77);
}

/* A file cut anywhere behind its first link is refused, unless only its last
 * newline is gone, or nothing is left of a card: links to that are external then. */
static void test_cut_anywhere(void **unused)
{
    static char text[8192];
    struct error err;

    (void)unused;
    size_t length = write_pairs(text, sizeof text, 2);
    size_t first_link = (size_t)(strstr(text, "link") - text);
    size_t second_card = (size_t)(strstr(text + first_link, "=") - text);
    for (size_t cut = first_link + 1; cut < length - 1; cut++) {
        bool is_first_card_only = cut <= second_card && (text[cut] == '\n' || text[cut - 1] == '\n');
        int result = topology_file_parse(text, cut, "cut", &topology, &err);
        assert_int_equal(result, is_first_card_only ? 0 : -1);
        if (is_first_card_only) {
            assert_int_equal(topology.ppu_count, 1);
            assert_int_equal(topology_links(&topology, 0), topology_external(&topology, 0));
        }
    }
    assert_int_equal(topology_file_parse(text, length - 1, "cut", &topology, &err), 0);
}

static void test_load_failures(void **unused)
{
    struct error err;

    (void)unused;
    assert_int_equal(topology_file_load(TESTS_DIR "/fixtures/none.cfg", &topology, &err), -1);
    assert_int_equal(err.status, STATUS_INVALID);
    assert_string_equal(err.text, "cannot open " TESTS_DIR "/fixtures/none.cfg: No such file or directory");
    assert_int_equal(topology_file_load(TESTS_DIR "/fixtures/topology/self_link.cfg", &topology, &err), -1);
    assert_string_equal(err.text, TESTS_DIR "/fixtures/topology/self_link.cfg:3: link[1] of PPU 0 leads back to PPU 0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fixtures),
        cmocka_unit_test(test_links_are_where_the_file_says),
        cmocka_unit_test(test_device_numbers_mean_nothing),
        cmocka_unit_test(test_vendor_example),
        cmocka_unit_test(test_neighbours_without_a_section_are_external),
        cmocka_unit_test(test_as_many_cards_as_there_may_be),
        cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_load_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
