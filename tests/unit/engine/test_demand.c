/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/demand.h"

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
static const char *describe(const struct demand *demand)
{
    static char text[1024];
    size_t used = 0;

    text[0] = '\0';
    for (size_t i = 0; i < demand->count; i++) {
        const struct demand_device *device = &demand->devices[i];
        char function[BDF_TEXT_SIZE];
        char card[BDF_TEXT_SIZE];
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s %s %s%s%s%s%s", i > 0 ? ", " : "",
                                 via_text(device->via), bdf_format(device->function, function),
                                 bdf_format(device->card, card), device->is_ppu ? " ppu" : "",
                                 device->whole ? " whole" : "", device->present ? "" : " absent",
                                 device->unmanaged ? " unmanaged" : "");
        assert_int_equal(device->ppu, -1);
    }
    return text;
}

static void check(struct domain_device *devices, size_t count, bool has_ppu, const char *expected, const char *warnings)
{
    struct machine *machine = open_machine();
    struct domain domain = {.devices = devices, .device_count = count};
    struct text_list list = {0};
    struct demand demand;
    struct error err = {0};

    memset(&demand, 0xaa, sizeof demand);
    if (demand_resolve(machine, &domain, &demand, &list, &err) < 0) {
        fail_msg("%s", err.text);
    }
    assert_string_equal(describe(&demand), expected);
    assert_int_equal(demand.has_ppu, has_ppu);
    assert_lines(&list, warnings);
    demand_free(&demand);
    assert_null(demand.devices);
    text_list_free(&list);
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
          "the PCI function 0000:02:00.0 is not on this host");
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
          "the mediated device " OTHER_MDEV " is on no PCI function of this host\n"
          "sysfsdev=/sys/nowhere leads to no PCI function of this host");
}

static void refuse(struct domain_device device, const char *message)
{
    struct machine *machine = open_machine();
    struct domain domain = {.devices = &device, .device_count = 1};
    struct text_list warnings = {0};
    struct demand demand = {.count = 77};
    struct error err = {0};

    assert_int_equal(demand_resolve(machine, &domain, &demand, &warnings, &err), -1);
    assert_int_equal(demand.count, 77);
    assert_int_equal(err.status, STATUS_HARDWARE);
    assert_memory_equal(err.text, message, strlen(message));
    machine_close(machine);
}

static void test_functions_that_cannot_be_read(void **state)
{
    (void)state;
    simulated_remove("/sys/bus/pci/devices/" NIC "/vendor");
    refuse(by_address(DEVICE_HOSTDEV, NIC), "PCI function " NIC ": ");
    simulated_remove("/sys/bus/pci/devices/" CARD "/vendor");
    refuse(by_address(DEVICE_HOSTDEV, CARD_VF), "PCI function " CARD ": ");
}

static int number(const char *bdf, struct demand *demand, struct error *err)
{
    struct machine *machine = scene_machine();
    struct domain_device device = by_address(DEVICE_HOSTDEV, bdf);
    struct domain domain = {.devices = &device, .device_count = 1};
    struct text_list warnings = {0};

    assert_int_equal(demand_resolve(machine, &domain, demand, &warnings, err), 0);
    int result = demand_number(machine, demand, err);
    text_list_free(&warnings);
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
        struct demand demand;
        struct error err;
        assert_int_equal(number(cases[i].bdf, &demand, &err), 0);
        assert_int_equal(demand.devices[0].ppu, cases[i].ppu);
        assert_int_equal(demand.has_ppu, cases[i].ppu >= 0);
        demand_free(&demand);
    }
}

static void test_pinned_card_that_is_absent_is_a_ppu(void **state)
{
    struct demand demand;
    struct error err;

    (void)state;
    simulated_text(SETTINGS, "[map]\n5 = 0009:00:00.0\n");
    assert_int_equal(number("0009:00:00.0", &demand, &err), 0);
    assert_true(demand.has_ppu);
    assert_true(demand.devices[0].is_ppu);
    assert_false(demand.devices[0].present);
    assert_int_equal(demand.devices[0].ppu, 5);
    demand_free(&demand);
}

static void test_ppu_that_is_not_pinned(void **state)
{
    struct demand demand;
    struct error err;

    (void)state;
    simulated_text(SETTINGS, "[map]\n5 = 0009:00:00.0\n");
    assert_int_equal(number(CARD, &demand, &err), -1);
    assert_error(&err, STATUS_INVALID,
                 CARD " is a PPU but no [map] line says which; add one to the configuration, or give the VM another "
                      "card",
                 "");
    demand_free(&demand);
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
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
