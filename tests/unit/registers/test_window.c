/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "scene.h"

/* The file `resource`: BAR 0 here, BAR 1 there. */
#define BAR_LINE "0x00000000d0000000 0x00000000d03fffff 0x0000000000040200\n"
#define IO_LINE "0x000000000000e000 0x000000000000e0ff 0x0000000000040101\n"
#define UNSET_LINE "0x00000000d0000000 0x00000000d03fffff 0x0000000020040200\n"
#define NO_LINE "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
#define NO_ADDRESS "BAR 0 has no address: the kernel found no room for it; see dmesg, or set bar in [registers]"
#define IO_BAR "BAR 0 is an I/O BAR; set bar in [registers]"

static void check_both(const char *reason)
{
    check_reading(READING_FAILED, 0, reason);
    check_refused(APPLY_FAILED, reason);
}

static void test_missing(void **state)
{
    (void)state;
    simulated_remove(DIRECTORY "/resource0");
    check_both("resource0 is missing: the card has no such BAR; check bar in [registers]");
    simulated_text(DIRECTORY "/resource", NO_LINE BAR_LINE);
    check_both("resource0 is missing: the card has no such BAR; check bar in [registers]");
    simulated_remove(DIRECTORY "/resource");
    simulated_directory(DIRECTORY "/resource0");
    check_both("resource0 is not a regular file");
    simulated_remove(DIRECTORY "/resource0");
    simulated_link(DIRECTORY "/resource0", "resource1");
    check_both("cannot open resource0: Too many levels of symbolic links");
    simulated_remove(DIRECTORY);
    check_both("the card is not in sysfs; check that it is plugged in and powered");
}

static void test_too_short(void **state)
{
    (void)state;
    assert_int_equal(truncate(simulated_path(DIRECTORY "/resource0"), LINK_CONFIG_OFFSET + 3), 0);
    check_both("resource0 has 3116555 bytes, too few for the register at 0x2f8e08; "
               "check bar, link_config and stride in [registers]");
    assert_int_equal(truncate(simulated_path(DIRECTORY "/resource0"), LINK_CONFIG_OFFSET + 4), 0);
    check_reading(READING_FINE, 0, "");
    settings.link_config = UINT32_MAX;
    settings.stride = UINT32_MAX;
    check_both("resource0 has 3116556 bytes, too few for the register at 0xfffffffe00000001; "
               "check bar, link_config and stride in [registers]");
}

static void test_not_permitted(void **state)
{
    const char *reason = "cannot open resource0 (this needs root): Permission denied";
    const char *resource = simulated_path(DIRECTORY "/resource0");
    uid_t user = geteuid();
    (void)state;
    assert_int_equal(chmod(resource, 0444), 0);
    assert_int_equal(seteuid(user == 0 ? NOBODY : user), 0);
    check_reading(READING_FINE, 0, "");
    check_refused(APPLY_FAILED, reason);
    assert_int_equal(seteuid(user), 0);
    assert_int_equal(chmod(resource, 0), 0);
    assert_int_equal(seteuid(user == 0 ? NOBODY : user), 0);
    check_both(reason);
    assert_int_equal(seteuid(user), 0);
}

static void test_held(void **state)
{
    const char *busy = "resource0 cannot be mapped now: a driver or QEMU holds the card's registers (EBUSY)";
    (void)state;
    scene.failure = EINVAL;
    scene.taken = bind_host_driver;
    check_reading(READING_UNVERIFIABLE, 0, HELD);
    assert_int_equal(scene.mappings, 1);
    check_refused(APPLY_DEFERRED, HELD);
    simulated_remove(DIRECTORY "/driver");
    scene.taken = open_through_vfio;
    check_reading(READING_UNVERIFIABLE, 0, HELD);
    assert_int_equal(scene.mappings, 2);
    check_refused(APPLY_DEFERRED, HELD);
    simulated_text(DIRECTORY "/enable", "0\n");
    scene.failure = EBUSY;
    check_reading(READING_UNVERIFIABLE, 0, busy);
    simulated_text(DIRECTORY "/enable", "0\n");
    check_refused(APPLY_DEFERRED, busy);
}

/* No driver but one of vfio is bound, and nobody has the card open. */
static void test_claimed_by_somebody_else(void **state)
{
    (void)state;
    scene.failure = EINVAL;
    check_both(CLAIMED);
    scene.failure = EBUSY;
    check_both(CLAIMED);
    simulated_link(DIRECTORY "/driver", "../../../bus/pci/drivers/vfio-pci");
    check_both(CLAIMED);
    assert_int_equal(simulated_register(BDF, LINK_CONFIG_OFFSET), 0);
}

/* The one in `enable` is ours. */
static void test_claimed_with_decoding_switched_on(void **state)
{
    (void)state;
    lock_state();
    simulated_config(BDF, 0x1ded, 0);
    scene.failure = EINVAL;
    check_both(CLAIMED);
    assert_string_equal(scene.enable, "1\n");
    assert_string_equal(simulated_read(DIRECTORY "/enable"), "0\n");
}

#define BAR_OF_CARD                                                                                                    \
    "00000000-00000fff : Reserved\n"                                                                                   \
    "d0000000-dfffffff : PCI Bus 0000:00\n"                                                                            \
    "  d0000000-d7ffffff : PCI Bus 0000:08\n"                                                                          \
    "    d0000000-d03fffff : " BDF "\n"
#define CLAIMED_BY(name)                                                                                               \
    "resource0 cannot be mapped: '" name "' has claimed the BAR (/proc/iomem), not a driver of the card; keep it off " \
    "the card (a boot framebuffer: boot with initcall_blacklist=sysfb_init)"

static void set_iomem(const char *lines)
{
    simulated_text(DIRECTORY "/resource", BAR_LINE);
    simulated_text("/proc/iomem", lines);
}

static void test_claimer_is_named(void **state)
{
    (void)state;
    set_register(0x20);
    set_iomem(BAR_OF_CARD "      d0000000-d00fffff : BOOTFB\nfee00000-fee00fff : Local APIC\n");
    check_both(CLAIMED_BY("BOOTFB"));
    check_look(READING_FAILED, 0, CLAIMED_BY("BOOTFB"));
    simulated_link(DIRECTORY "/driver", "../../../bus/pci/drivers/vfio-pci");
    check_both(CLAIMED_BY("BOOTFB"));
    simulated_remove(DIRECTORY "/driver");
    simulated_text(DIRECTORY "/enable", "1\n");
    check_both(CLAIMED_BY("BOOTFB"));
    simulated_text(DIRECTORY "/enable", "0\n");
    set_iomem(BAR_OF_CARD "      d0000000-d00fffff : BOOTFB\n        d0000000-d00fffff : efi\tfb\n");
    check_both(CLAIMED_BY("efi\\x09fb"));
    set_iomem("c0000000-dfffffff : Reserved");
    check_both(CLAIMED_BY("Reserved"));
    assert_int_equal(scene.mappings, 0);
    assert_int_equal(simulated_register(BDF, LINK_CONFIG_OFFSET), 0x20);
}

/* Who has the card open is named there too. */
static void test_claimer_that_is_the_driver(void **state)
{
    (void)state;
    set_iomem(BAR_OF_CARD "      d0000000-d03fffff : vfio-pci\n");
    simulated_link(DIRECTORY "/driver", "../../../bus/pci/drivers/vfio-pci");
    simulated_text(DIRECTORY "/enable", "1\n");
    check_reading(READING_UNVERIFIABLE, 0, HELD);
    check_refused(APPLY_DEFERRED, HELD);
    simulated_remove(DIRECTORY "/driver");
    simulated_link(DIRECTORY "/driver", "../../../bus/pci/drivers/alixpu");
    set_iomem(BAR_OF_CARD "      d0000000-d03fffff : alixpu registers\n");
    check_reading(READING_UNVERIFIABLE, 0, HELD);
}

static void test_bar_that_nobody_claimed(void **state)
{
    static const char *const texts[] = {
        BAR_OF_CARD,
        "d0000000-dfffffff : PCI Bus 0000:00\n",
        BAR_OF_CARD "      d0001000-d03fffff : the second page\n",
        BAR_OF_CARD "d0400000-d07fffff : BOOTFB\n",
        "00000000-00000000 : BOOTFB\n", /* as others than root see it */
        "d0000000 : BOOTFB\nd0000000-d03fffff BOOTFB\n-d03fffff : BOOTFB\n\n : \n",
        "",
    };
    (void)state;
    set_register(0x20);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        scene_reopen();
        set_iomem(texts[i]);
        check_reading(READING_FINE, 0x20, "");
    }
    scene_reopen();
    set_iomem("00000000-dfffffff : Reserved\n");
    simulated_text(DIRECTORY "/resource", "junk\n");
    check_reading(READING_FINE, 0x20, "");
}

static void test_cannot_map(void **state)
{
    (void)state;
    scene.failure = EPERM;
    check_both("the kernel does not let resource0 be mapped: it is locked down (/sys/kernel/security/lockdown); "
               "boot without lockdown or set backend = ppudbg");
    scene.failure = ENOMEM;
    check_both("cannot map resource0: Cannot allocate memory");
}

static void set_resource(const char *lines)
{
    simulated_text(DIRECTORY "/resource", lines);
}

/* A mapping of a BAR without an address would be of memory at 0. */
static void check_never_mapped(const char *lines, const char *reason)
{
    set_register(0x20);
    set_resource(lines);
    check_both(reason);
    check_look(READING_FAILED, 0, reason);
    assert_int_equal(scene.mappings, 0);
    assert_int_equal(simulated_register(BDF, LINK_CONFIG_OFFSET), 0x20);
}

static void test_bars_that_cannot_be_mapped(void **state)
{
    (void)state;
    check_never_mapped(IO_LINE BAR_LINE, IO_BAR);
    check_never_mapped(NO_LINE BAR_LINE, NO_ADDRESS);
    check_never_mapped(UNSET_LINE BAR_LINE, NO_ADDRESS);
    set_resource(BAR_LINE IO_LINE);
    check_reading(READING_FINE, 0x20, "");
    assert_int_equal(scene.mappings, 1);
    settings.bar = 1;
    scene_reopen();
    check_both("BAR 1 is an I/O BAR; set bar in [registers]");
}

/* The kernel does not switch decoding on for a card whose BARs have no address, and a driver or sleep explains
 * nothing either. */
static void test_bar_without_address_comes_first(void **state)
{
    (void)state;
    simulated_config(BDF, 0x1ded, 0);
    check_never_mapped(UNSET_LINE, NO_ADDRESS);
    bind_host_driver();
    check_never_mapped(UNSET_LINE, NO_ADDRESS);
    simulated_text(DIRECTORY "/power_state", "D3hot\n");
    check_never_mapped(NO_LINE, NO_ADDRESS);
}

/* Nothing is known against the BAR then. */
static void test_resource_file_that_says_nothing(void **state)
{
    (void)state;
    settings.bar = 2;
    assert_int_equal(rename(simulated_path(DIRECTORY "/resource0"), simulated_path(DIRECTORY "/resource2")), 0);
    set_resource(IO_LINE IO_LINE);
    check_reading(READING_FINE, 0, "");
    scene_reopen();
    set_resource(IO_LINE IO_LINE "0x0 0x0 junk\n");
    check_reading(READING_FINE, 0, "");
    scene_reopen();
    set_resource(IO_LINE);
    check_reading(READING_FINE, 0, "");
}

static void check_strict(bool is_held)
{
    int before = scene.mappings;
    if (!is_held) {
        check_reading(READING_FINE, 0x20, "");
        scene_reopen();
        return;
    }
    check_reading(READING_UNVERIFIABLE, 0, HELD);
    check_look(READING_UNVERIFIABLE, 0, HELD);
    check_refused(APPLY_DEFERRED, HELD);
    assert_int_equal(scene.mappings, before);
    assert_int_equal(simulated_register(BDF, LINK_CONFIG_OFFSET), 0x20);
}

static void bind_driver(const char *target)
{
    simulated_link(DIRECTORY "/driver", target);
}

/* A simulated host lets nobody do what a kernel would not. */
static void test_enabled_card_of_a_simulated_host(void **state)
{
    (void)state;
    set_register(0x20);
    simulated_text(DIRECTORY "/enable", "1\n");
    check_strict(true);
    bind_driver("../../../bus/pci/drivers/vfio-pci");
    check_strict(true);
    simulated_text(DIRECTORY "/enable", "0\n");
    check_strict(false);
    simulated_text(DIRECTORY "/enable", "junk\n");
    check_strict(false);
    simulated_remove(DIRECTORY "/enable");
    check_strict(false);
}

static void test_drivers_of_a_simulated_host(void **state)
{
    (void)state;
    set_register(0x20);
    bind_driver("../../../bus/pci/drivers/alixpu");
    check_strict(true);
    simulated_directory(DIRECTORY "/vfio-dev");
    check_strict(false);
    simulated_remove(DIRECTORY "/vfio-dev");
    simulated_remove(DIRECTORY "/driver");
    bind_driver("alixpu");
    check_strict(true);
    simulated_remove(DIRECTORY "/driver");
    bind_driver("../../../bus/pci/drivers/nvgrace_gpu_vfio_pci");
    check_strict(false);
    simulated_remove(DIRECTORY "/driver");
    check_strict(false);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, scene_set_up, scene_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_missing),
        TEST(test_too_short),
        TEST(test_not_permitted),
        TEST(test_held),
        TEST(test_cannot_map),
        TEST(test_bars_that_cannot_be_mapped),
        TEST(test_bar_without_address_comes_first),
        TEST(test_claimed_by_somebody_else),
        TEST(test_claimed_with_decoding_switched_on),
        TEST(test_claimer_is_named),
        TEST(test_claimer_that_is_the_driver),
        TEST(test_bar_that_nobody_claimed),
        TEST(test_resource_file_that_says_nothing),
        TEST(test_enabled_card_of_a_simulated_host),
        TEST(test_drivers_of_a_simulated_host),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
