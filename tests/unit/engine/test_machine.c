/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/machine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "scene.h"

static struct machine *const untouched = (struct machine *)&untouched;

static bool libpci_takes_no_filter;
static bool libpci_is_broken;

bool __real_pci_match_is_valid(const char *match, const char **reason);
bool __wrap_pci_match_is_valid(const char *match, const char **reason);
bool __wrap_pci_match_is_valid(const char *match, const char **reason)
{
    *reason = "Odd";
    return !libpci_takes_no_filter && __real_pci_match_is_valid(match, reason);
}

int __real_pci_open(const char *match, struct pci **pci, struct error *err);
int __wrap_pci_open(const char *match, struct pci **pci, struct error *err);
int __wrap_pci_open(const char *match, struct pci **pci, struct error *err)
{
    return libpci_is_broken ? error_set(err, STATUS_HARDWARE, "libpci cannot be used")
                            : __real_pci_open(match, pci, err);
}

static int start(void **state)
{
    libpci_takes_no_filter = false;
    libpci_is_broken = false;
    return scene_start(state);
}

/* Opening fails, and leaves the pointer alone. */
static struct error refuse_to_open(const char *config)
{
    struct machine *machine = untouched;
    struct error err = {0};
    assert_int_equal(machine_open(config, &machine, &err), -1);
    assert_ptr_equal(machine, untouched);
    return err;
}

static struct error refuse_to_survey(void)
{
    struct machine *machine = NULL;
    struct error err = {0};
    assert_int_equal(machine_open(NULL, &machine, &err), 0);
    assert_int_equal(machine_survey(machine, &err), -1);
    machine_close(machine);
    return err;
}

static void test_open_without_a_file(void **state)
{
    struct machine *machine = NULL;
    struct error err;
    (void)state;
    assert_int_equal(machine_open(NULL, &machine, &err), 0);
    assert_string_equal(machine->settings.match, ":6001");
    assert_non_null(machine->pci);
    assert_int_equal(machine->topology.ppu_count, 0);
    machine_close(machine);
    machine_close(NULL);
}

static void test_open_another_file(void **state)
{
    struct machine *machine = NULL;
    struct error err;
    (void)state;
    simulated_text(SETTINGS, "[ppu]\nmatch = :7\n");
    simulated_text("/other.conf", "[ppu]\nmatch = :8\n");
    assert_int_equal(machine_open(simulated_path("/other.conf"), &machine, &err), 0);
    assert_string_equal(machine->settings.match, ":8");
    machine_close(machine);
}

static void test_open_broken_settings(void **state)
{
    (void)state;
    simulated_text(SETTINGS, "[policy]\nidle = perhaps\n");
    struct error err = refuse_to_open(NULL);
    assert_error(&err, STATUS_INVALID,
                 "%s:2: idle is \"perhaps\", but must be restore or isolate; correct the configuration", SETTINGS);
}

/* What the settings let pass, another version of libpci may not take. */
static void test_open_filter_that_libpci_refuses(void **state)
{
    struct machine *machine = untouched;
    (void)state;
    libpci_takes_no_filter = true;
    struct error err = refuse_to_open(NULL);
    assert_error(&err, STATUS_INVALID, "%s: [ppu] match = :6001: Odd; correct the configuration", SETTINGS);
    assert_false(machine_open_salvaged(NULL, &machine));
    assert_ptr_equal(machine, untouched);
}

static void test_open_without_libpci(void **state)
{
    struct machine *machine = untouched;
    (void)state;
    libpci_is_broken = true;
    struct error err = refuse_to_open(NULL);
    assert_error(&err, STATUS_HARDWARE, "libpci cannot be used", "");
    assert_false(machine_open_salvaged(NULL, &machine));
    assert_ptr_equal(machine, untouched);
}

static void test_salvage(void **state)
{
    static const struct {
        const char *text;
        bool told;
        bool ppu;
    } cases[] = {
        {"[policy]\nidle = perhaps\n", true, true},
        {"[ppu]\nmatch = :7\n[policy]\nidle = perhaps\n", true, false},
        {"[ppu]\nmatch = :7\nmatch = :8\n", false, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct machine *machine = untouched;
        struct error err;
        bool present;
        bool matches;
        simulated_text(SETTINGS, cases[i].text);
        assert_int_equal(machine_open_salvaged(NULL, &machine), cases[i].told);
        if (!cases[i].told) {
            assert_ptr_equal(machine, untouched);
            continue;
        }
        assert_int_equal(pci_look_up(machine->pci, address_of(0), &present, &matches, &err), 0);
        assert_true(present);
        assert_int_equal(matches, cases[i].ppu);
        machine_close(machine);
    }
}

/* The order of the addresses says nothing. */
static void test_survey_without_a_map(void **state)
{
    (void)state;
    simulated_remove(CARDS_CONF);
    struct error err = refuse_to_survey();
    assert_error(&err, STATUS_INVALID,
                 "no [map] in the configuration says which card is which PPU; run icn-hook setup", "");
}

static void test_survey_with_a_card_missing(void **state)
{
    (void)state;
    simulated_remove("/sys/bus/pci/devices/0000:c6:00.0");
    struct machine *machine = scene_machine();
    assert_int_equal(machine_ppu_at(machine, address_of(3)), 3);
    assert_int_equal(machine->pins[3], PIN_ABSENT);
    assert_int_equal(machine->pins[4], PIN_FINE);
    machine_close(machine);
}

static void test_survey_with_a_function_that_cannot_be_read(void **state)
{
    (void)state;
    simulated_remove("/sys/bus/pci/devices/0000:c6:00.0/vendor");
    struct error err = refuse_to_survey();
    assert_error(&err, STATUS_HARDWARE,
                 "PCI function 0000:c6:00.0: cannot read %s: No such file or directory; correct that, or take PPU 3 out "
                 "of [map]",
                 "/sys/bus/pci/devices/0000:c6:00.0/vendor");
}

static void test_survey_pinned(void **state)
{
    char text[CARD_TEXT_SIZE];
    (void)state;
    simulated_text(CARDS_CONF, "[map]\n3 = 0000:08:00.0\n0 = 0000:c6:00.0\n7 = 0000:a2:00.0\n");
    struct machine *machine = scene_machine();
    assert_int_equal(machine_ppu_at(machine, address_of(0)), 3);
    assert_int_equal(machine_ppu_at(machine, address_of(3)), 0);
    assert_int_equal(machine_ppu_at(machine, address_of(2)), 7);
    assert_int_equal(machine_ppu_at(machine, address_of(1)), -1);
    assert_int_equal(machine_ppu_at(machine, (struct bdf){0}), -1);
    assert_string_equal(machine_card_text(machine, 3, text), "PPU 3 (0000:08:00.0)");
    assert_string_equal(machine_card_text(machine, 1, text), "PPU 1 (no card)");
    machine_close(machine);
}

static void test_survey_pinned_beyond_the_topology(void **state)
{
    (void)state;
    simulated_text(CARDS_CONF, "[map]\n0 = 0000:08:00.0\n8 = 0000:7e:00.0\n");
    struct error err = refuse_to_survey();
    assert_error(&err, STATUS_INVALID,
                 "[map] 8 = 0000:7e:00.0: the topology " TOPOLOGY " has only the PPUs 0 to 7; correct one of the two",
                 "");
}

static void test_survey_broken_topology(void **state)
{
    (void)state;
    simulated_text(TOPOLOGY, "==========device0==========\nppuid: 0\nlink[0]: nbrPpuid:x\n");
    struct error err = refuse_to_survey();
    assert_int_equal(err.status, STATUS_INVALID);
    assert_non_null(strstr(err.text, simulated_path(TOPOLOGY ":3: ")));
    assert_non_null(strstr(err.text, "; correct the topology, or write it anew with ppudbg --topo_read"));
}

static void test_survey_without_topology(void **state)
{
    (void)state;
    simulated_remove(TOPOLOGY);
    struct error err = refuse_to_survey();
    assert_error(&err, STATUS_INVALID,
                 "cannot open %s: No such file or directory; correct the topology, or write it anew with ppudbg "
                 "--topo_read",
                 TOPOLOGY);
}

/* What the register has beyond the topology is external; the rest stays as the topology says. */
static void test_links_that_the_topology_does_not_know(void **state)
{
    (void)state;
    simulated_text(SETTINGS, "[registers]\nlinks = 0x8000003b\n");
    struct machine *machine = scene_machine();
    for (int ppu = 0; ppu < CARDS; ppu++) {
        assert_int_equal(topology_links(&machine->topology, ppu), 0x8000003b);
        assert_int_equal(topology_external(&machine->topology, ppu), 0x80000002);
    }
    assert_int_equal(machine->topology.peer[0][0], 6);
    machine_close(machine);
    simulated_text(SETTINGS, "[registers]\nlinks = 0x39\n");
    machine = scene_machine();
    assert_int_equal(topology_external(&machine->topology, 7), 0);
    machine_close(machine);
}

static void test_links_that_are_not_among_the_bits(void **state)
{
    (void)state;
    simulated_text(SETTINGS, "[registers]\nlinks = 0x19\n");
    struct error err = refuse_to_survey();
    assert_error(
        &err, STATUS_INVALID,
        "[registers] links = 0x19: the topology /etc/icn-hook/icn_topo.cfg has link 5 of PPU 0, whose bit is not "
        "among them; correct one of the two",
        "");
}

/* 0 and 1 with three links; which belong together is said of one, from the far side. */
static const char bundle[] = "==device0==\nppuid: 0\nlink[0]: nbrPpuid:1\nlink[1]: nbrPpuid:1\nlink[2]: nbrPpuid:1\n"
                             "==device1==\nppuid: 1\nlink[0]: nbrPpuid:0\nlink[5]: nbrPpuid:0\nlink[6]: nbrPpuid:0\n"
                             "link[7]: nbrPpuid:2\n==device2==\nppuid: 2\nlink[31]: nbrPpuid:1\n";

static void test_parallel_links_told_apart(void **state)
{
    (void)state;
    simulated_text(TOPOLOGY, bundle);
    simulated_text(CARDS_CONF, "[map]\n0 = 0000:08:00.0\n[links]\n1.6 = 0.0\n2.31 = 1.7\n");
    struct machine *machine = scene_machine();
    assert_int_equal(machine->topology.peer_link[1][6], 0);
    assert_int_equal(machine->topology.peer_link[0][0], 6);
    assert_int_equal(machine->topology.peer_link[2][31], 7);
    assert_int_equal(machine->topology.peer_link[1][7], 31);
    assert_int_equal(machine->topology.peer_link[0][1], NO_PEER_LINK);
    assert_int_equal(machine->topology.peer_link[1][0], NO_PEER_LINK);
    assert_int_equal(topology_validate(&machine->topology).kind, TOPOLOGY_FINE);
    machine_close(machine);
}

static void test_joins_that_the_topology_does_not_have(void **state)
{
    static const char *const joins[] = {
        "0.0 = 2.31", /* both are links, but not of each other */
        "0.3 = 1.0",  /* not wired */
        "0.0 = 1.1",  "0.0 = 1.7", "0.0 = 3.0", "3.0 = 0.0",
    };
    (void)state;
    simulated_text(TOPOLOGY, bundle);
    for (size_t i = 0; i < sizeof joins / sizeof joins[0]; i++) {
        char settings[128];
        char expected[256];
        snprintf(settings, sizeof settings, "[map]\n0 = 0000:08:00.0\n[links]\n%s\n", joins[i]);
        snprintf(
            expected, sizeof expected,
            "[links] %s: in the topology /etc/icn-hook/icn_topo.cfg these two are not ends of links between PPU %c "
            "and PPU %c; correct one of the two",
            joins[i], joins[i][0], joins[i][6]);
        simulated_text(CARDS_CONF, settings);
        struct error err = refuse_to_survey();
        assert_error(&err, STATUS_INVALID, expected, "");
    }
}

/* Cards get their ids by order, whatever the topology says. */
static void test_survey_that_needs_no_topology(void **state)
{
    struct machine *machine = NULL;
    struct error err = {0};
    (void)state;
    simulated_remove(TOPOLOGY);
    simulated_remove("/sys/bus/pci/devices/0000:7e:00.0");
    assert_done(machine_open(NULL, &machine, &err), &err);
    assert_done(machine_survey_without_topology(machine, &err), &err);
    assert_int_equal(machine->topology.ppu_count, CARDS - 1);
    assert_int_equal(machine_ppu_at(machine, address_of(0)), 0);
    assert_int_equal(machine_ppu_at(machine, address_of(2)), 1);
    assert_int_equal(machine_ppu_at(machine, address_of(1)), -1);
    assert_int_equal(topology_links(&machine->topology, 0), 0);
    machine_close(machine);
}

/* By address, and without the virtual functions, which match too. */
static void test_list_of_cards(void **state)
{
    struct machine *machine = scene_machine();
    struct bdf *cards = NULL;
    size_t count = 0;
    struct error err = {0};
    (void)state;
    scene_virtual_function(0, 0, "0000:08:00.1");
    assert_done(machine_list_cards(machine, &cards, &count, &err), &err);
    assert_int_equal(count, CARDS);
    for (int ppu = 0; ppu < CARDS; ppu++) {
        assert_int_equal(bdf_compare(cards[ppu], address_of(ppu)), 0);
    }
    free(cards);
    machine_close(machine);
}

static void test_ids(void **state)
{
    static const char *const cases[][2] = {
        {"", ""},          {"5", "5"},          {"01", "0,1"},
        {"012", "0-2"},    {"0246", "0,2,4,6"}, {"12467", "1,2,4,6,7"},
        {"0567", "0,5-7"}, {"01234567", "0-7"},
    };
    struct machine *machine = scene_machine();
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bool set[PPU_MAX] = {false};
        char text[IDS_TEXT_SIZE];
        for (const char *at = cases[i][0]; *at != '\0'; at++) {
            set[*at - '0'] = true;
        }
        set[CARDS] = true; /* no card of this topology */
        assert_string_equal(machine_ids_text(machine, set, text), cases[i][1]);
    }
    machine_close(machine);
}

static void test_longest_ids(void **state)
{
    struct machine *machine = scene_machine();
    bool set[PPU_MAX] = {false};
    char text[IDS_TEXT_SIZE];
    (void)state;
    machine->topology.ppu_count = PPU_MAX;
    for (int ppu = 0; ppu < PPU_MAX; ppu += 2) {
        set[ppu] = true;
    }
    machine_ids_text(machine, set, text);
    assert_string_equal(text + strlen(text) - 10, ",1020,1022");
    machine_close(machine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_open_without_a_file, start),
        cmocka_unit_test_setup(test_open_another_file, start),
        cmocka_unit_test_setup(test_open_broken_settings, start),
        cmocka_unit_test_setup(test_open_filter_that_libpci_refuses, start),
        cmocka_unit_test_setup(test_open_without_libpci, start),
        cmocka_unit_test_setup(test_salvage, start),
        cmocka_unit_test_setup(test_survey_without_a_map, start),
        cmocka_unit_test_setup(test_survey_with_a_card_missing, start),
        cmocka_unit_test_setup(test_survey_with_a_function_that_cannot_be_read, start),
        cmocka_unit_test_setup(test_survey_pinned, start),
        cmocka_unit_test_setup(test_survey_pinned_beyond_the_topology, start),
        cmocka_unit_test_setup(test_survey_broken_topology, start),
        cmocka_unit_test_setup(test_survey_without_topology, start),
        cmocka_unit_test_setup(test_links_that_the_topology_does_not_know, start),
        cmocka_unit_test_setup(test_links_that_are_not_among_the_bits, start),
        cmocka_unit_test_setup(test_parallel_links_told_apart, start),
        cmocka_unit_test_setup(test_joins_that_the_topology_does_not_have, start),
        cmocka_unit_test_setup(test_survey_that_needs_no_topology, start),
        cmocka_unit_test_setup(test_list_of_cards, start),
        cmocka_unit_test_setup(test_ids, start),
        cmocka_unit_test_setup(test_longest_ids, start),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
