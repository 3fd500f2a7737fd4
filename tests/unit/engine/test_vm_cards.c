/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/vm_cards.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "scene.h"

#define MDEV "c0ffee00-0000-4000-8000-000000000001"
#define OTHER_MDEV "c0ffee00-0000-4000-8000-000000000002"
#define NIC "0000:01:00.0"
#define NIC_VF "0000:01:00.1"
#define ABSENT "0009:00:00.0"
#define CARD "0000:08:00.0"
#define CARD_VF "0000:08:00.1"

static int start(void **state)
{
    scene_start(state);
    simulated_card(NIC);
    simulated_text("/sys/bus/pci/devices/" NIC "/device", "0x10fb\n");
    simulated_card(NIC_VF);
    simulated_text("/sys/bus/pci/devices/" NIC_VF "/device", "0x10ed\n");
    simulated_link("/sys/bus/pci/devices/" NIC_VF "/physfn", "../" NIC);
    scene_virtual_function(0, 0, CARD_VF);
    scene_mdev(CARD, MDEV);
    return 0;
}

static struct machine *open_machine(void)
{
    struct machine *machine = NULL;
    struct error err = {0};
    if (machine_open(NULL, &machine, &err) < 0) {
        fail_msg("%s", err.text);
    }
    return machine;
}

static struct domain_device by_address(enum device_kind kind, const char *bdf)
{
    return (struct domain_device){.kind = kind, .bdf = parse_bdf(bdf)};
}

static struct domain_device by_mdev(const char *uuid)
{
    struct domain_device device = {.kind = DEVICE_MDEV};
    snprintf(device.mdev_uuid, sizeof device.mdev_uuid, "%s", uuid);
    return device;
}

static struct domain_device by_path(const char *path)
{
    return (struct domain_device){.kind = DEVICE_COMMANDLINE, .sysfs_path = (char *)path};
}

/* Each device as "VIA FUNCTION CARD" with what is special about it, by commas. */
static const char *describe(const struct vm_cards *cards)
{
    static char text[1024];
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < cards->count; i++) {
        const struct vm_card *device = &cards->items[i];
        char function[BDF_TEXT_SIZE];
        char card[BDF_TEXT_SIZE];
        used += (size_t)snprintf(
            text + used, sizeof text - used, "%s%s %s %s%s%s%s%s", i > 0 ? ", " : "", via_text(device->via),
            bdf_format(device->function, function), bdf_format(device->card, card), device->is_ppu ? " ppu" : "",
            device->whole ? " whole" : "", device->present ? "" : " absent", device->unmanaged ? " unmanaged" : "");
        assert_int_equal(device->ppu, -1);
    }
    return text;
}

static void check(struct domain_device *devices, size_t count, bool has_ppu, const char *expected, const char *noted)
{
    struct machine *machine = open_machine();
    struct domain domain = {.name = (char *)"vm1", .devices = devices, .device_count = count};
    struct notes notes = {0};
    struct vm_cards cards;
    struct error err = {0};
    memset(&cards, 0xaa, sizeof cards);
    assert_done(vm_cards_resolve(machine, &domain, &cards, &notes, &err), &err);
    assert_string_equal(describe(&cards), expected);
    assert_int_equal(cards.has_ppu, has_ppu);
    assert_notes(&notes, noted);
    for (size_t i = 0; i < notes.count; i++) {
        assert_string_equal(notes.items[i].vm, "vm1");
    }
    vm_cards_free(&cards);
    assert_null(cards.items);
    notes_free(&notes);
    machine_close(machine);
}

static void check_one(struct domain_device device, bool has_ppu, const char *expected)
{
    check(&device, 1, has_ppu, expected, "");
}

static void test_no_device(void **state)
{
    (void)state;
    check(NULL, 0, false, "", "");
}

static void test_every_way_to_name_a_card(void **state)
{
    (void)state;
    check_one(by_address(DEVICE_HOSTDEV, CARD), true, "hostdev " CARD " " CARD " ppu whole");
    check_one(by_address(DEVICE_INTERFACE, CARD), true, "interface " CARD " " CARD " ppu whole");
    check_one(by_address(DEVICE_NVME, CARD), true, "nvme " CARD " " CARD " ppu whole");
    check_one(by_address(DEVICE_COMMANDLINE, CARD), true, "commandline " CARD " " CARD " ppu whole");
    check_one(by_path("/sys/bus/pci/devices/" CARD), true, "commandline " CARD " " CARD " ppu whole");
    check_one(by_mdev(MDEV), true, "mdev " CARD " " CARD " ppu");
    check_one((struct domain_device){.kind = DEVICE_HOSTDEV, .bdf = parse_bdf(CARD), .unmanaged = true}, true,
              "hostdev " CARD " " CARD " ppu whole unmanaged");
    check_one(by_path("/sys/bus/mdev/devices/" MDEV), true, "mdev " CARD " " CARD " ppu");
}

/* The card behind a virtual function counts if it is a PPU. */
static void test_virtual_functions(void **state)
{
    (void)state;
    check_one(by_address(DEVICE_HOSTDEV, CARD_VF), true, "vf " CARD_VF " " CARD " ppu");
    check_one(by_address(DEVICE_COMMANDLINE, CARD_VF), true, "vf " CARD_VF " " CARD " ppu");
    check_one(by_address(DEVICE_HOSTDEV, NIC_VF), false, "vf " NIC_VF " " NIC_VF " whole");
    check_one(by_address(DEVICE_INTERFACE, NIC_VF), false, "interface " NIC_VF " " NIC_VF " whole");
}

static void test_other_functions(void **state)
{
    (void)state;
    check_one(by_address(DEVICE_HOSTDEV, NIC), false, "hostdev " NIC " " NIC " whole");
    struct domain_device absent = by_address(DEVICE_HOSTDEV, "0000:02:00.0");
    check(&absent, 1, false, "hostdev 0000:02:00.0 0000:02:00.0 whole absent",
          "warning input: the PCI function 0000:02:00.0 is not on this host");
}

static void test_each_once_in_document_order(void **state)
{
    struct domain_device devices[] = {
        by_address(DEVICE_HOSTDEV, NIC),  by_address(DEVICE_HOSTDEV, CARD_VF),  by_mdev(MDEV),
        by_address(DEVICE_HOSTDEV, CARD), by_address(DEVICE_COMMANDLINE, CARD), by_address(DEVICE_NVME, NIC),
    };
    (void)state;
    check(devices, sizeof devices / sizeof devices[0], true,
          "hostdev " NIC " " NIC " whole, vf " CARD_VF " " CARD " ppu, hostdev " CARD " " CARD " ppu whole", "");
}

static void test_what_is_not_on_the_host(void **state)
{
    struct domain_device devices[] = {by_mdev(OTHER_MDEV), by_path("/sys/nowhere"), by_address(DEVICE_HOSTDEV, CARD)};
    (void)state;
    check(devices, sizeof devices / sizeof devices[0], true, "hostdev " CARD " " CARD " ppu whole",
          "warning input: the mediated device " OTHER_MDEV " is not on a PCI function of this host\n"
          "warning input: sysfsdev=/sys/nowhere leads to no PCI function of this host");
}

static void refuse(struct domain_device device, const char *message)
{
    struct machine *machine = open_machine();
    struct domain domain = {.name = (char *)"vm1", .devices = &device, .device_count = 1};
    struct notes notes = {0};
    struct vm_cards cards = {.count = 77};
    struct error err = {0};
    assert_int_equal(vm_cards_resolve(machine, &domain, &cards, &notes, &err), -1);
    assert_int_equal(cards.count, 77);
    assert_int_equal(err.status, STATUS_HARDWARE);
    assert_memory_equal(err.text, message, strlen(message));
    machine_close(machine);
}

static void test_functions_that_cannot_be_read(void **state)
{
    (void)state;
    simulated_remove("/sys/bus/pci/devices/" NIC "/device");
    refuse(by_address(DEVICE_HOSTDEV, NIC), "PCI function " NIC ": ");
    simulated_remove("/sys/bus/pci/devices/" CARD "/vendor");
    refuse(by_address(DEVICE_HOSTDEV, CARD_VF), "PCI function " CARD ": ");
}

static int number(const char *bdf, struct vm_cards *cards, struct error *err)
{
    struct machine *machine = scene_machine();
    struct domain_device device = by_address(DEVICE_HOSTDEV, bdf);
    struct domain domain = {.name = (char *)"vm1", .devices = &device, .device_count = 1};
    struct notes notes = {0};
    assert_done(vm_cards_resolve(machine, &domain, cards, &notes, err), err);
    int result = vm_cards_number(machine, "vm1", cards, err);
    notes_free(&notes);
    machine_close(machine);
    return result;
}

static void test_numbers(void **state)
{
    static const struct {
        const char *bdf;
        int ppu;
    } cases[] = {{CARD, 0}, {CARD_VF, 0}, {NIC, -1}, {"0001:ce:00.0", 7}, {"0000:02:00.0", -1}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct vm_cards cards;
        struct error err = {0};
        assert_done(number(cases[i].bdf, &cards, &err), &err);
        assert_int_equal(cards.items[0].ppu, cases[i].ppu);
        assert_int_equal(cards.has_ppu, cases[i].ppu >= 0);
        vm_cards_free(&cards);
    }
}

static void test_pinned_card_that_is_absent_is_a_ppu(void **state)
{
    struct vm_cards cards;
    struct error err = {0};
    (void)state;
    simulated_text(CARDS_CONF, "[map]\n0 = " CARD "\n5 = " ABSENT "\n");
    scene_unplug("1234567");
    assert_done(number(ABSENT, &cards, &err), &err);
    assert_true(cards.has_ppu);
    assert_true(cards.items[0].is_ppu);
    assert_false(cards.items[0].present);
    assert_int_equal(cards.items[0].ppu, 5);
    vm_cards_free(&cards);
}

/* The first one is the error's, and all others get their ids. */
static void test_ppu_that_is_not_pinned(void **state)
{
    struct machine *machine;
    struct domain_device devices[] = {by_address(DEVICE_HOSTDEV, CARD), by_address(DEVICE_HOSTDEV, "0000:7e:00.0"),
                                      by_address(DEVICE_HOSTDEV, "0000:a2:00.0")};
    struct domain domain = {.name = (char *)"vm1", .devices = devices, .device_count = 3};
    struct notes notes = {0};
    struct vm_cards cards;
    struct error err = {0};
    (void)state;
    simulated_text(CARDS_CONF, "[map]\n5 = 0000:a2:00.0\n");
    machine = scene_machine();
    assert_done(vm_cards_resolve(machine, &domain, &cards, &notes, &err), &err);
    assert_int_equal(vm_cards_number(machine, "vm1", &cards, &err), -1);
    assert_error(&err, STATUS_INVALID,
                 "VM 'vm1': " CARD " is a PPU but no [map] line says which; run icn-hook setup, or give the VM "
                 "another card",
                 "");
    assert_int_equal(cards.items[0].ppu, -1);
    assert_int_equal(cards.items[1].ppu, -1);
    assert_int_equal(cards.items[2].ppu, 5);
    vm_cards_free(&cards);
    machine_close(machine);
}

/* -- The first question ----------------------------------------------------- */

#define BROKEN "[policy]\nidle = perhaps\n"
#define NOBODY_CAN_TELL "[ppu]\nmatch = :7\nmatch = :8\n"

enum obstacle { NO_OBSTACLE, NO_TOPOLOGY, UNREADABLE_NIC, CARD_MISSING };

static void put(enum obstacle obstacle)
{
    switch (obstacle) {
    case NO_OBSTACLE:
        break;
    case NO_TOPOLOGY:
        simulated_remove(TOPOLOGY);
        break;
    case UNREADABLE_NIC:
        simulated_remove("/sys/bus/pci/devices/" NIC "/device");
        break;
    case CARD_MISSING:
        simulated_remove("/sys/bus/pci/devices/0001:ce:00.0");
        break;
    }
}

/* What vm_cards_find says of a domain that takes BDF (NULL: nothing). */
struct answer {
    struct machine *machine;
    struct vm_cards cards;
    struct notes notes;
};

static int ask(const char *bdf, const char *config, struct answer *answer, struct error *err)
{
    struct domain_device device = {.kind = DEVICE_HOSTDEV};
    struct domain domain = {.name = (char *)"vm1", .devices = &device, .device_count = 1};
    if (bdf) {
        device.bdf = parse_bdf(bdf);
    } else {
        domain.device_count = 0;
    }
    memset(answer, 0xaa, sizeof *answer);
    answer->notes = (struct notes){0};
    return vm_cards_find(config, &domain, &answer->machine, &answer->cards, &answer->notes, err);
}

static void forget(struct answer *answer)
{
    machine_close(answer->machine);
    vm_cards_free(&answer->cards);
    notes_free(&answer->notes);
}

#define MAP_WITH_ABSENT                                                                                                \
    "0 = " CARD "\n1 = 0000:7e:00.0\n2 = 0000:a2:00.0\n3 = 0000:c6:00.0\n4 = 0001:09:00.0\n"                           \
    "5 = 0001:7f:00.0\n6 = 0001:aa:00.0\n7 = " ABSENT "\n"
#define MAP_WITH_NIC "0 = " CARD "\n1 = " NIC "\n"
#define OTHER_MATCH "[ppu]\nmatch = :7001\n"

/* A domain that takes BDF (NULL: nothing) on a host with SETTINGS, MAP (NULL: of all cards, "": none) and OBSTACLE. */
static const struct {
    const char *bdf;
    const char *settings;
    const char *map;
    enum obstacle obstacle;
    int answer;
    const char *reason; /* of -1: a part of it */
} questions[] = {
    {NULL, NULL, NULL, NO_OBSTACLE, 0, NULL},
    {NULL, BROKEN, "", NO_TOPOLOGY, 0, NULL},
    {NULL, NOBODY_CAN_TELL, NULL, NO_TOPOLOGY, 0, NULL},
    {NIC, NULL, NULL, NO_OBSTACLE, 0, NULL},
    {NIC, NULL, "", NO_OBSTACLE, 0, NULL},
    {NIC, NULL, NULL, NO_TOPOLOGY, 0, NULL},
    {NIC, NULL, NULL, CARD_MISSING, 0, NULL},
    {NIC, BROKEN, NULL, NO_TOPOLOGY, 0, NULL},
    {NIC, NOBODY_CAN_TELL, NULL, NO_OBSTACLE, -1, "\"match\" is already set in line 2; correct the configuration"},
    {NIC, NULL, NULL, UNREADABLE_NIC, -1, "PCI function " NIC ": "},
    {NIC, BROKEN, NULL, UNREADABLE_NIC, -1, "idle is \"perhaps\""},
    {NIC, OTHER_MATCH, NULL, NO_OBSTACLE, 0, NULL},
    {NIC, NULL, MAP_WITH_ABSENT, NO_OBSTACLE, 0, NULL},
    {NIC, NULL, MAP_WITH_ABSENT, NO_TOPOLOGY, 0, NULL},
    /* Another function at the address of a pinned card. */
    {NIC, NULL, MAP_WITH_NIC, NO_OBSTACLE, 0, NULL},
    {NIC, NULL, MAP_WITH_NIC, NO_TOPOLOGY, 0, NULL},
    {NIC, OTHER_MATCH, MAP_WITH_NIC, NO_OBSTACLE, -1, "match = :7001 in [ppu] finds none of the 2 cards in [map]"},
    {ABSENT, NULL, NULL, NO_OBSTACLE, 0, NULL},
    {ABSENT, NULL, MAP_WITH_ABSENT, CARD_MISSING, 1, NULL},
    {ABSENT, NULL, MAP_WITH_ABSENT, NO_OBSTACLE, -1,
     "the cards have moved since [map] was written: PPU 7 was at " ABSENT},
    {ABSENT, NULL, MAP_WITH_ABSENT, NO_TOPOLOGY, -1,
     "the cards have moved since [map] was written: PPU 7 was at " ABSENT},
    {CARD, NULL, NULL, NO_OBSTACLE, 1, NULL},
    {CARD, NULL, "", NO_OBSTACLE, -1, "no [map] in the configuration says which card is which PPU; run icn-hook setup"},
    {CARD, BROKEN, NULL, NO_OBSTACLE, -1, "idle is \"perhaps\""},
    {CARD, NULL, NULL, NO_TOPOLOGY, -1, "No such file or directory; correct the topology"},
    {CARD, NULL, NULL, CARD_MISSING, 1, NULL},
    {CARD, NULL, MAP_WITH_ABSENT, NO_OBSTACLE, -1, "and 0001:ce:00.0 is a card that is not in [map]"},
    {CARD, OTHER_MATCH, NULL, NO_OBSTACLE, -1, "match = :7001 in [ppu] finds none of the 8 cards in [map]"},
    {"0001:ce:00.0", NULL, "0 = " CARD "\n", NO_OBSTACLE, -1, "is a PPU but no [map] line says which"},
};

static void test_answers(void **state)
{
    for (size_t i = 0; i < sizeof questions / sizeof questions[0]; i++) {
        struct answer answer;
        struct error err = {0};
        char map[512];
        start(state);
        if (questions[i].settings) {
            simulated_text(SETTINGS, questions[i].settings);
        }
        if (questions[i].map) {
            snprintf(map, sizeof map, "[map]\n%s", questions[i].map);
            simulated_text(CARDS_CONF, map);
        }
        put(questions[i].obstacle);
        int said = ask(questions[i].bdf, NULL, &answer, &err);
        if (said != questions[i].answer || (questions[i].reason && !strstr(err.text, questions[i].reason))) {
            fail_msg("question %zu: %d %s", i, said, err.text);
        }
        if (said == 1) {
            assert_int_equal(answer.machine->topology.ppu_count, CARDS);
            assert_true(answer.cards.has_ppu);
            assert_int_equal(answer.cards.items[0].ppu, strcmp(questions[i].bdf, CARD) == 0 ? 0 : 7);
        }
        if (!questions[i].bdf) {
            assert_null(answer.machine);
        }
        forget(&answer);
    }
}

static void test_other_configuration(void **state)
{
    struct answer answer;
    struct error err;
    (void)state;
    simulated_text("/other.conf", "[ppu]\nmatch = :7\n");
    assert_int_equal(ask(CARD, simulated_path("/other.conf"), &answer, &err), 0);
    forget(&answer);
}

static void test_notes_are_kept(void **state)
{
    struct answer answer;
    struct error err;
    (void)state;
    assert_int_equal(ask("0000:02:00.0", NULL, &answer, &err), 0);
    assert_notes(&answer.notes, "warning input: the PCI function 0000:02:00.0 is not on this host");
    forget(&answer);
}

/* -- Advice ------------------------------------------------------------------ */

static void assert_advice(const char *ppus, enum hint hint, const char *expected)
{
    struct machine *machine = scene_machine();
    struct notes notes = {0};
    bool set[PPU_MAX] = {false};
    for (; *ppus != '\0'; ppus++) {
        set[*ppus - '0'] = true;
    }
    vm_cards_advise_links(machine, set, hint, &notes);
    assert_notes(&notes, expected);
    notes_free(&notes);
    machine_close(machine);
}

static void test_advice(void **state)
{
    (void)state;
    assert_advice("", WITH_HINT, "");
    assert_advice("3", WITH_HINT, "");
    assert_advice("06", WITH_HINT, "");
    assert_advice("01234567", WITH_HINT, "");
    assert_advice("04", WITHOUT_HINT, "warning advice: no link joins these PPUs of the VM with each other: 0 | 4");
    assert_advice("0145", WITH_HINT,
                  "warning advice: no link joins these PPUs of the VM with each other: 0,1 | 4,5; icn-hook suggest 4 "
                  "shows the idle PPUs that are joined best");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_no_device, start),
        cmocka_unit_test_setup(test_every_way_to_name_a_card, start),
        cmocka_unit_test_setup(test_virtual_functions, start),
        cmocka_unit_test_setup(test_other_functions, start),
        cmocka_unit_test_setup(test_each_once_in_document_order, start),
        cmocka_unit_test_setup(test_what_is_not_on_the_host, start),
        cmocka_unit_test_setup(test_functions_that_cannot_be_read, start),
        cmocka_unit_test_setup(test_numbers, start),
        cmocka_unit_test_setup(test_pinned_card_that_is_absent_is_a_ppu, start),
        cmocka_unit_test_setup(test_ppu_that_is_not_pinned, start),
        cmocka_unit_test(test_answers),
        cmocka_unit_test_setup(test_other_configuration, start),
        cmocka_unit_test_setup(test_notes_are_kept, start),
        cmocka_unit_test_setup(test_advice, start),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
