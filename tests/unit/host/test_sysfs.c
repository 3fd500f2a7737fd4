/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/sysfs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "simulated_host.h"

#define CARD "/sys/bus/pci/devices/0000:08:00.0"
#define MDEV "4b20d080-1b54-4048-85b3-a6a62d165c01"

static const struct bdf card = {.bus = 0x08};

static struct pci_state read_state(void)
{
    struct pci_state state;
    memset(&state, 0xaa, sizeof state);
    sysfs_read_state(card, &state);
    return state;
}

static void test_absent(void **unused)
{
    struct pci_state state = read_state();
    (void)unused;
    assert_false(state.present);
    assert_string_equal(state.driver, "");
    assert_false(state.on_vfio);
    assert_int_equal(state.enable, UNKNOWN_NUMBER);
    assert_int_equal(state.iommu_group, UNKNOWN_NUMBER);
    assert_int_equal(state.numa_node, UNKNOWN_NUMBER);
    assert_false(state.held);
}

/* A link to a function that is gone, and a file in place of a function. */
static void test_not_a_directory(void **unused)
{
    (void)unused;
    simulated_link(CARD, "../../../devices/pci0000:00/0000:08:00.0");
    assert_false(read_state().present);
    simulated_host_clear(NULL);
    simulated_text(CARD, "");
    assert_false(read_state().present);
}

/* Here for a link to itself, on a real host for an error that passes. */
static void test_card_that_cannot_be_looked_at(void **unused)
{
    (void)unused;
    simulated_link(CARD, "0000:08:00.0");
    struct pci_state state = read_state();
    assert_true(state.present);
    assert_int_equal(state.enable, UNKNOWN_NUMBER);
    assert_string_equal(state.driver, "");
}

static void test_bare_card(void **unused)
{
    struct pci_state state;
    (void)unused;
    simulated_card("0000:08:00.0");
    state = read_state();
    assert_true(state.present);
    assert_string_equal(state.driver, "");
    assert_false(state.on_vfio);
    assert_int_equal(state.enable, 0);
    assert_int_equal(state.iommu_group, UNKNOWN_NUMBER);
    assert_int_equal(state.numa_node, UNKNOWN_NUMBER);
}

/* The links dangle, as on a simulated host; the card itself is a link, as on a
 * real one. */
static void test_bound_card(void **unused)
{
    struct pci_state state;
    (void)unused;
    simulated_link(CARD, "../../../devices/pci0000:00/0000:08:00.0");
    simulated_directory("/sys/devices/pci0000:00/0000:08:00.0");
    simulated_text(CARD "/enable", "2\n");
    simulated_text(CARD "/numa_node", "1\n");
    simulated_link(CARD "/driver", "../../../bus/pci/drivers/vfio-pci");
    simulated_link(CARD "/iommu_group", "../../../kernel/iommu_groups/14");
    state = read_state();
    assert_true(state.present);
    assert_string_equal(state.driver, "vfio-pci");
    assert_true(state.on_vfio);
    assert_int_equal(state.enable, 2);
    assert_int_equal(state.iommu_group, 14);
    assert_int_equal(state.numa_node, UNKNOWN_NUMBER);
    assert_true(state.held);
    sysfs_read_place(card, &state);
    assert_int_equal(state.iommu_group, 14);
    assert_int_equal(state.numa_node, 1);
    simulated_remove(CARD "/driver");
    state = read_state();
    assert_int_equal(state.iommu_group, UNKNOWN_NUMBER);
    sysfs_read_place(card, &state);
    assert_int_equal(state.iommu_group, 14);
    simulated_link(CARD "/driver", "../../../bus/pci/drivers/vfio-pci");
    simulated_text(CARD "/enable", "0\n");
    state = read_state();
    assert_true(state.on_vfio);
    assert_false(state.held);
}

static void check_driver(const char *driver, bool on_vfio)
{
    struct pci_state state;
    simulated_host_clear(NULL);
    simulated_card("0000:08:00.0");
    simulated_text(CARD "/enable", "1\n");
    simulated_link(CARD "/driver", driver);
    state = read_state();
    assert_string_equal(state.driver, driver);
    assert_int_equal(state.on_vfio, on_vfio);
    assert_int_equal(state.held, on_vfio);
}

static void test_variant_drivers(void **unused)
{
    struct pci_state state;
    (void)unused;
    check_driver("ppu", false);
    check_driver("vfio-pci", true);
    check_driver("ppu-vfio-pci", true);
    check_driver("nvgrace_gpu_vfio_pci", true);
    check_driver("vfio_pci", false);
    check_driver("vfio-pci-stub", false);
    check_driver("pci", false);
    simulated_directory(CARD "/vfio-dev/vfio0");
    state = read_state();
    assert_true(state.on_vfio);
}

/* A name that does not fit is cut, but its end still counts. */
static void test_long_driver_name(void **unused)
{
    char name[100];
    struct pci_state state;
    (void)unused;
    memset(name, 'x', sizeof name);
    memcpy(name + sizeof name - sizeof "_vfio_pci", "_vfio_pci", sizeof "_vfio_pci");
    simulated_card("0000:08:00.0");
    simulated_link(CARD "/driver", name);
    state = read_state();
    assert_int_equal(strlen(state.driver), DRIVER_NAME_SIZE - 1);
    assert_true(state.on_vfio);
}

static void check_enable(const char *text, int expected)
{
    simulated_text(CARD "/enable", text);
    assert_int_equal(read_state().enable, expected);
}

static void test_strange_values(void **unused)
{
    struct pci_state state;
    (void)unused;
    simulated_card("0000:08:00.0");
    check_enable("3", 3);
    check_enable("2147483647\n", 2147483647);
    check_enable("2147483648\n", UNKNOWN_NUMBER);
    check_enable("-1\n", UNKNOWN_NUMBER);
    check_enable("", UNKNOWN_NUMBER);
    check_enable("1 x\n", UNKNOWN_NUMBER);
    simulated_remove(CARD "/enable");
    assert_int_equal(read_state().enable, UNKNOWN_NUMBER);
    simulated_directory(CARD "/enable");
    assert_int_equal(read_state().enable, UNKNOWN_NUMBER);
    simulated_link(CARD "/iommu_group", "../junk");
    state = read_state();
    sysfs_read_place(card, &state);
    assert_int_equal(state.iommu_group, UNKNOWN_NUMBER);
    simulated_text(CARD "/driver", "not a link");
    assert_string_equal(read_state().driver, "");
}

static void test_virtual_function(void **unused)
{
    (void)unused;
    assert_false(sysfs_is_virtual_function(card));
    simulated_card("0000:08:00.0");
    assert_false(sysfs_is_virtual_function(card));
    simulated_link(CARD "/physfn", "../0000:07:1f.3");
    assert_true(sysfs_is_virtual_function(card));
    simulated_remove(CARD "/physfn");
    simulated_link(CARD "/physfn", "../junk");
    assert_false(sysfs_is_virtual_function(card));
}

static void test_virtual_functions_of_card(void **unused)
{
    struct bdf *functions = NULL;
    size_t count = 9;
    (void)unused;
    sysfs_virtual_functions(card, &functions, &count);
    assert_null(functions);
    assert_int_equal(count, 0);
    simulated_card("0000:08:00.0");
    sysfs_virtual_functions(card, &functions, &count);
    assert_null(functions);
    assert_int_equal(count, 0);
    simulated_link(CARD "/virtfn10", "../0000:08:01.2");
    simulated_link(CARD "/virtfn0", "../0000:08:00.1");
    simulated_link(CARD "/virtfn1", "../0000:08:00.2");
    simulated_link(CARD "/virtfn2", "../junk");
    simulated_text(CARD "/virtfn3", "");
    sysfs_virtual_functions(card, &functions, &count);
    assert_int_equal(count, 3);
    assert_int_equal(bdf_compare(functions[0], (struct bdf){.bus = 8, .function = 1}), 0);
    assert_int_equal(bdf_compare(functions[1], (struct bdf){.bus = 8, .function = 2}), 0);
    assert_int_equal(bdf_compare(functions[2], (struct bdf){.bus = 8, .slot = 1, .function = 2}), 0);
    free(functions);
}

static struct pci_state read_card(void)
{
    struct pci_state state;
    memset(&state, 0xaa, sizeof state);
    sysfs_read_card(card, &state);
    return state;
}

static void simulate_function(const char *bdf, const char *driver, const char *enable, const char *group)
{
    char path[128];
    snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/enable", bdf);
    simulated_text(path, enable);
    snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/driver", bdf);
    simulated_link(path, driver);
    snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/iommu_group", bdf);
    simulated_link(path, group);
}

static void assert_held(struct pci_state state, struct bdf function, int group)
{
    assert_true(state.held);
    assert_int_equal(bdf_compare(state.held_function, function), 0);
    assert_int_equal(state.held_group, group);
}

static void test_held_card(void **unused)
{
    (void)unused;
    assert_false(read_card().present);
    assert_false(read_card().held);
    simulate_function("0000:08:00.0", "../vfio-pci", "1\n", "../14");
    assert_held(read_card(), card, 14);
    assert_held(read_state(), card, 14);
    simulated_text(CARD "/enable", "0\n");
    assert_false(read_card().held);
    assert_int_equal(read_card().held_group, UNKNOWN_NUMBER);
    assert_int_equal(read_card().iommu_group, 14);
    simulated_remove(CARD "/driver");
    simulated_link(CARD "/driver", "../ppu");
    simulated_text(CARD "/enable", "1\n");
    assert_false(read_card().held);
    simulated_directory(CARD "/vfio-dev");
    assert_held(read_card(), card, 14);
    simulated_remove(CARD "/iommu_group");
    assert_held(read_card(), card, UNKNOWN_NUMBER);
}

/* The card itself may be on the host's driver, which made the functions. */
static void test_held_virtual_function(void **unused)
{
    struct bdf second = {.bus = 8, .function = 2};
    (void)unused;
    simulate_function("0000:08:00.0", "../ppu", "1\n", "../14");
    simulate_function("0000:08:00.1", "../vfio-pci", "0\n", "../15");
    simulate_function("0000:08:00.2", "../vfio-pci", "1\n", "../16");
    simulated_link(CARD "/virtfn0", "../0000:08:00.1");
    assert_false(read_card().held);
    simulated_link(CARD "/virtfn1", "../0000:08:00.2");
    simulated_link(CARD "/virtfn2", "../0000:08:00.3"); /* gone already */
    assert_held(read_card(), second, 16);
    assert_false(read_state().held);
    simulated_text("/sys/bus/pci/devices/0000:08:00.1/enable", "1\n");
    assert_held(read_card(), (struct bdf){.bus = 8, .function = 1}, 15);
    assert_string_equal(read_card().driver, "ppu");
}

/* More entries than one call of the kernel's returns. */
static void test_card_with_many_functions(void **unused)
{
    char path[128];
    char target[32];
    struct bdf *functions = NULL;
    size_t count = 0;
    (void)unused;
    simulate_function("0000:08:00.0", "../ppu", "1\n", "../14");
    for (int i = 0; i < 256; i++) {
        struct bdf function = {.bus = 9, .slot = (uint8_t)(i / 8), .function = (uint8_t)(i % 8)};
        snprintf(path, sizeof path, CARD "/virtfn%d", i);
        snprintf(target, sizeof target, "../%s", bdf_format(function, (char[BDF_TEXT_SIZE]){0}));
        simulated_link(path, target);
        snprintf(path, sizeof path, CARD "/a_long_name_of_an_attribute_%d", i);
        simulated_text(path, "");
    }
    sysfs_virtual_functions(card, &functions, &count);
    assert_int_equal(count, 256);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(functions[i].slot * 8 + functions[i].function, i);
    }
    free(functions);
    assert_false(read_card().held);
    simulate_function("0000:09:1f.7", "../vfio-pci", "1\n", "../77");
    assert_held(read_card(), (struct bdf){.bus = 9, .slot = 0x1f, .function = 7}, 77);
}

static void test_mdev_parent(void **unused)
{
    struct bdf parent = {.bus = 0x77};
    (void)unused;
    assert_false(sysfs_mdev_parent(MDEV, &parent));
    simulated_link("/sys/bus/mdev/devices/" MDEV, "../../../devices/pci0000:00/0000:08:00.0/" MDEV);
    assert_true(sysfs_mdev_parent("4B20D080-1B54-4048-85B3-A6A62D165C01", &parent));
    assert_int_equal(bdf_compare(parent, card), 0);
}

static void check_not_an_mdev(const char *target)
{
    struct bdf parent = {.bus = 0x77};
    simulated_host_clear(NULL);
    simulated_link("/sys/bus/mdev/devices/" MDEV, target);
    assert_false(sysfs_mdev_parent(MDEV, &parent));
    assert_int_equal(parent.bus, 0x77);
}

static void test_mdev_without_card(void **unused)
{
    struct bdf parent;
    (void)unused;
    check_not_an_mdev("../../../devices/virtual/mtty/mtty/" MDEV);
    check_not_an_mdev(MDEV);
    check_not_an_mdev("mtty/" MDEV);
    assert_false(sysfs_mdev_parent("../../pci/devices/0000:08:00.0", &parent));
}

static void check_path(const char *path, const char *expected)
{
    char line[128] = "nothing";
    char text[BDF_TEXT_SIZE];
    char uuid[UUID_SIZE] = "untouched";
    struct bdf bdf = {.bus = 0x77};
    if (sysfs_resolve_path(path, &bdf, uuid)) {
        snprintf(line, sizeof line, "%s", uuid[0] != '\0' ? uuid : bdf_format(bdf, text));
    } else {
        assert_string_equal(uuid, "untouched");
        assert_int_equal(bdf.bus, 0x77);
    }
    assert_string_equal(line, expected);
}

static void test_resolve_path(void **unused)
{
    (void)unused;
    simulated_directory("/sys/devices/pci0000:00/0000:08:00.0/net/eth0");
    simulated_directory("/sys/devices/pci0000:00/0000:08:00.0/" MDEV);
    simulated_link(CARD, "../../../devices/pci0000:00/0000:08:00.0");
    simulated_link("/sys/class/net/eth0", "../../devices/pci0000:00/0000:08:00.0/net/eth0");
    simulated_link("/sys/devices/pci0000:00/0000:08:00.0/net/eth0/device", "../../../0000:08:00.0");
    simulated_link("/dev/card", "../sys/class/net/eth0/device");
    simulated_link("/sys/bus/mdev/devices/" MDEV, "../../../devices/pci0000:00/0000:08:00.0/" MDEV);
    check_path(CARD, "0000:08:00.0");
    check_path(CARD "/", "0000:08:00.0");
    check_path("sys/bus/pci/devices/0000:08:00.0/.", "0000:08:00.0");
    check_path("/sys/class/net/eth0/device", "0000:08:00.0");
    check_path("/dev/card", "0000:08:00.0");
    check_path("/sys/bus/mdev/devices/" MDEV, MDEV);
    check_path("/sys/class/net/eth0", "nothing");
    check_path("/sys/bus/pci/devices/0000:09:00.0", "nothing");
    check_path("/", "nothing");
    check_path("", "nothing");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_absent, simulated_host_clear),
        cmocka_unit_test_setup(test_not_a_directory, simulated_host_clear),
        cmocka_unit_test_setup(test_card_that_cannot_be_looked_at, simulated_host_clear),
        cmocka_unit_test_setup(test_bare_card, simulated_host_clear),
        cmocka_unit_test_setup(test_bound_card, simulated_host_clear),
        cmocka_unit_test_setup(test_variant_drivers, simulated_host_clear),
        cmocka_unit_test_setup(test_long_driver_name, simulated_host_clear),
        cmocka_unit_test_setup(test_strange_values, simulated_host_clear),
        cmocka_unit_test_setup(test_virtual_function, simulated_host_clear),
        cmocka_unit_test_setup(test_virtual_functions_of_card, simulated_host_clear),
        cmocka_unit_test_setup(test_held_card, simulated_host_clear),
        cmocka_unit_test_setup(test_held_virtual_function, simulated_host_clear),
        cmocka_unit_test_setup(test_card_with_many_functions, simulated_host_clear),
        cmocka_unit_test_setup(test_mdev_parent, simulated_host_clear),
        cmocka_unit_test_setup(test_mdev_without_card, simulated_host_clear),
        cmocka_unit_test_setup(test_resolve_path, simulated_host_clear),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
