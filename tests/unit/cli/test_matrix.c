/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/view.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A machine that only the matrix looks at: COUNT cards in a ring. */
static struct machine machine;
static struct card cards[PPU_MAX];
static struct owner owner = {.kind = OWNER_KIND_VM, .name = "vm"};
static struct holding holding = {.owner = 0, .ppu = 1, .whole = true};
static struct session session;

static void ring(int count)
{
    memset(cards, 0, sizeof cards);
    memset(&machine, 0, sizeof machine);
    settings_default(&machine.settings);
    session = (struct session){.machine = &machine, .state = STATE_CLOSED, .cards = cards};
    topology_clear(&machine.topology, count);
    for (int ppu = 0; ppu < count; ppu++) {
        machine.topology.peer[ppu][0] = (int16_t)((ppu + count - 1) % count);
        machine.topology.peer[ppu][1] = (int16_t)((ppu + 1) % count);
        machine.mapped[ppu] = true;
        machine.card[ppu] = (struct bdf){.bus = (uint8_t)ppu};
        cards[ppu].state = (struct pci_state){.present = true, .driver = "ppu", .iommu_group = ppu};
        cards[ppu].was_read = true;
        cards[ppu].reading.kind = READING_FINE;
    }
}

static void own_card_1(void)
{
    session.owners.items = &owner;
    session.owners.count = 1;
    session.owners.holdings = &holding;
    session.owners.holding_count = 1;
    session.owners.first[1] = 1;
    session.owners.of[1] = 1;
}

static char *text;

static const char *print(int width, bool in_colour)
{
    struct output output = {.in_colour = in_colour, .width = width};
    free(text);
    output.stream = open_memstream(&text, &output.length);
    matrix_print(&session, &output);
    fclose(output.stream);
    return text;
}

static int stop(void **state)
{
    (void)state;
    free(text);
    text = NULL;
    return 0;
}

static void test_every_sign(void **state)
{
    (void)state;
    ring(7);
    own_card_1();
    cards[0].reading.mask = 0x2; /* 0-1 cut, 1-2 leaks */
    cards[3].reading.mask = 0x2; /* 3-4 cut needlessly */
    cards[5].was_read = false;   /* 4-5, 5-6 */
    cards[6].state = (struct pci_state){.present = false};
    machine.mapped[2] = false;
    cards[4].state.iommu_group = -1;
    assert_string_equal(print(0, false), "PPU    0  1  2  3  4  5  6  ADDRESS       DRIVER   NUMA  GROUP  OWNER\n"
                                         "  0    X  -  .  .  .  .  1  0000:00:00.0  ppu         0      0  idle\n"
                                         "  1    -  X  !  .  .  .  .  0000:01:00.0  ppu         0      1  vm\n"
                                         "  2    .  !  X  1  .  .  .  -             NO CARD     -      -  idle\n"
                                         "  3    .  .  1  X  /  .  .  0000:03:00.0  ppu         0      3  idle\n"
                                         "  4    .  .  .  /  X  ~  .  0000:04:00.0  ppu         0      -  idle\n"
                                         "  5    .  .  .  .  ~  X  ~  0000:05:00.0  ppu         0      5  idle\n"
                                         "  6    1  .  .  .  .  ~  X  0000:06:00.0  ABSENT      -      -  idle\n"
                                         "X itself  . no link  1 number of open links  / cut, but not required\n"
                                         "   ~ unreadable, allowed to be open  - cut as required\n"
                                         "   ! LEAK: open, must be cut\n");
}

static void test_colour(void **state)
{
    (void)state;
    ring(2);
    session.owners.of[1] = 1;
    cards[1].was_read = false;
    assert_string_equal(print(0, true),
                        "\033[1mPPU\033[0m    \033[1m0\033[0m  \033[1m1\033[0m  \033[1mADDRESS\033[0m       "
                        "\033[1mDRIVER\033[0m  \033[1mNUMA\033[0m  \033[1mGROUP\033[0m  \033[1mOWNER\033[0m\n"
                        "  \033[1m0\033[0m    X  \033[35m?\033[0m  0000:00:00.0  ppu        0      0  idle\n"
                        "  \033[1m1\033[0m    \033[35m?\033[0m  X  0000:01:00.0  ppu        0      1  "
                        "\033[1midle\033[0m\n"
                        "X itself  . no link  1 number of open links  \033[35m?\033[0m must be cut, NOT VERIFIED\n");
}

/* 0 and 3 have external links: two open ones, and one that is cut because 3 has an owner. */
static void test_external_links(void **state)
{
    (void)state;
    ring(4);
    machine.topology.peer[0][4] = machine.topology.peer[0][5] = EXTERNAL_PEER;
    machine.topology.peer[3][6] = EXTERNAL_PEER;
    session.owners.of[3] = 1;
    cards[3].reading.mask = 0x43;
    cards[0].reading.mask = 0x1;
    cards[2].reading.mask = 0x2;
    assert_string_equal(print(0, false), "PPU    0  1  2  3  ext  ADDRESS       DRIVER  NUMA  GROUP  OWNER\n"
                                         "  0    X  1  .  -    2  0000:00:00.0  ppu        0      0  idle\n"
                                         "  1    1  X  1  .    .  0000:01:00.0  ppu        0      1  idle\n"
                                         "  2    .  1  X  -    .  0000:02:00.0  ppu        0      2  idle\n"
                                         "  3    -  .  -  X    -  0000:03:00.0  ppu        0      3  idle\n"
                                         "X itself  . no link  1 number of open links  ext external links\n"
                                         "   - cut as required\n");
    cards[3].reading.mask = 0x3;
    print(0, false);
    assert_non_null(strstr(text, "  3    -  .  -  X    !  "));
    assert_non_null(strstr(text, "! LEAK: open, must be cut\n"));
    assert_non_null(strstr(print(0, true), "    \033[1;31m!\033[0m  0000:03"));
}

/* With many cards each block has the column, and it takes its room. */
static void test_external_links_in_blocks(void **state)
{
    (void)state;
    ring(12);
    for (int link = 2; link < LINK_MAX; link++) {
        machine.topology.peer[0][link] = EXTERNAL_PEER;
    }
    print(30, false);
    assert_non_null(strstr(text, "\n  0  X1...... ...1   30  idle\n"));
    print(29, false);
    assert_non_null(strstr(text, "PPU  01234567  ext  OWNER\n  0  X1......   30  idle\n"));
    assert_non_null(strstr(text, "\nPPU  8901  ext  OWNER\n  0  ...1   30  idle\n"));
    print(100, false);
    assert_non_null(strstr(text, "\n  0     X   1   .   .   .   .   .   .   .   .   .   1   30  0000:00:00.0  "));
    print(99, false);
    assert_non_null(strstr(text, "\n  0    X  1  .  .  .  .  .  .  .  .  .  1   30  0000:00:00.0  "));
}

/* The narrower the terminal, the narrower the cells; then the facts go. */
static void test_widths(void **state)
{
    static const struct {
        int width;
        const char *first_row;
    } cases[] = {
        {0, "  0     X   1   .   .   .   .   .   .   .   .   .   1  0000:00:00.0  ppu        0      0  idle\n"},
        {95, "  0     X   1   .   .   .   .   .   .   .   .   .   1  0000:00:00.0  ppu        0      0  idle\n"},
        {94, "  0    X  1  .  .  .  .  .  .  .  .  .  1  0000:00:00.0  ppu        0      0  idle\n"},
        {82, "  0   X 1 . . . . . . . . . 1  0000:00:00.0  ppu        0      0  idle\n"},
        {70, "  0  X1...... ...1  0000:00:00.0  ppu        0      0  idle\n"},
        {59, "  0    X  1  .  .  .  .  .  .  .  .  .  1  idle\n"},
        {47, "  0   X 1 . . . . . . . . . 1  idle\n"},
        {25, "  0  X1...... ...1  idle\n"},
        {24, "  0  X1......  idle\n"},
    };

    (void)state;
    ring(12);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        print(cases[i].width, false);
        assert_non_null(strstr(text, "\n  0"));
        assert_memory_equal(strstr(text, "\n  0") + 1, cases[i].first_row, strlen(cases[i].first_row));
    }
}

/* Blocks of columns, with the cards only that have a link into them. */
static void test_blocks(void **state)
{
    (void)state;
    ring(12);
    machine.topology.peer[2][5] = 9;
    machine.topology.peer[9][5] = 2;
    assert_string_equal(print(24, false), "PPU  01234567  OWNER\n"
                                          "  0  X1......  idle\n"
                                          "  1  1X1.....  idle\n"
                                          "  2  .1X1....  idle\n"
                                          "  3  ..1X1...  idle\n"
                                          "  4  ...1X1..  idle\n"
                                          "  5  ....1X1.  idle\n"
                                          "  6  .....1X1  idle\n"
                                          "  7  ......1X  idle\n"
                                          "  8  .......1  idle\n"
                                          "  9  ..1.....  idle\n"
                                          " 11  1.......  idle\n"
                                          "\n"
                                          "       11\n"
                                          "PPU  8901  OWNER\n"
                                          "  0  ...1  idle\n"
                                          "  2  .1..  idle\n"
                                          "  7  1...  idle\n"
                                          "  8  X1..  idle\n"
                                          "  9  1X1.  idle\n"
                                          " 10  .1X1  idle\n"
                                          " 11  ..1X  idle\n"
                                          "X itself  . no link  1 number of open links\n"
                                          "Too wide for this terminal; show some cards (topo NAME), or use "
                                          "--json or --dot.\n");
}

static void test_many_parallel_links(void **state)
{
    (void)state;
    ring(2);
    for (int link = 0; link < 12; link++) {
        machine.topology.peer[0][link] = 1;
        machine.topology.peer[1][link] = 0;
    }
    assert_non_null(strstr(print(0, false), "\n  0    X 12  "));
    assert_non_null(strstr(print(14, false), "\n  0  X9  idle\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_every_sign, stop),
        cmocka_unit_test_teardown(test_colour, stop),
        cmocka_unit_test_teardown(test_external_links, stop),
        cmocka_unit_test_teardown(test_external_links_in_blocks, stop),
        cmocka_unit_test_teardown(test_widths, stop),
        cmocka_unit_test_teardown(test_blocks, stop),
        cmocka_unit_test_teardown(test_many_parallel_links, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
