/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/pci.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "simulated_host.h"

static struct bdf bdf_of(const char *text)
{
    struct bdf bdf = {0};
    assert_true(bdf_parse(text, &bdf));
    return bdf;
}

static struct pci *open_pci(const char *match)
{
    struct pci *pci = NULL;
    struct error err;
    assert_int_equal(pci_open(match, &pci, &err), 0);
    return pci;
}

/* The functions that match, as one line. */
static const char *list(const char *match)
{
    static char line[sizeof(struct error) + 64];
    char text[BDF_TEXT_SIZE];
    struct pci *pci = open_pci(match);
    struct bdf *functions = NULL;
    size_t count = 0;
    struct error err;
    if (pci_list_matching(pci, &functions, &count, &err) != 0) {
        snprintf(line, sizeof line, "error %d: %s", err.status, err.text);
        pci_close(pci);
        return line;
    }
    line[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        snprintf(line + strlen(line), sizeof line - strlen(line), "%s%s", i > 0 ? " " : "",
                 bdf_format(functions[i], text));
    }
    free(functions);
    pci_close(pci);
    return line;
}

static const char *look_up(const char *match, const char *function)
{
    static char line[sizeof(struct error) + 64];
    struct pci *pci = open_pci(match);
    bool present;
    bool matches;
    struct error err;
    if (pci_look_up(pci, bdf_of(function), &present, &matches, &err) != 0) {
        snprintf(line, sizeof line, "error %d: %s", err.status, err.text);
    } else {
        snprintf(line, sizeof line, "%s %s", present ? "present" : "absent", matches ? "matches" : "differs");
    }
    pci_close(pci);
    return line;
}

static void test_filter_syntax(void **state)
{
    const char *reason = "untouched";
    (void)state;
    assert_true(pci_match_is_valid(":6001", &reason));
    assert_true(pci_match_is_valid("1ee0:6001:1200:00", &reason));
    assert_true(pci_match_is_valid("*:6001", &reason));
    assert_string_equal(reason, "untouched");
    assert_false(pci_match_is_valid("6001", &reason));
    assert_string_equal(reason, "At least two fields must be given");
    assert_false(pci_match_is_valid(":xyz", &reason));
    assert_string_equal(reason, "Invalid device ID");
    assert_false(pci_match_is_valid("10000:6001", &reason));
    assert_string_equal(reason, "Invalid vendor ID");
    assert_false(pci_match_is_valid("1:2:3:4:5", &reason));
    assert_string_equal(reason, "Too many fields");
}

static void test_filter_of_any_length(void **state)
{
    char match[1000];
    const char *reason = NULL;
    (void)state;
    for (size_t length = 60; length < sizeof match; length++) {
        memset(match, '0', length);
        match[0] = ':';
        match[length] = '\0';
        assert_int_equal(pci_match_is_valid(match, &reason), length < 64);
    }
    assert_string_equal(reason, "Expression too long");
}

static void test_open_refuses_bad_filter(void **state)
{
    struct pci *pci = NULL;
    struct error err;
    (void)state;
    assert_int_equal(pci_open("6001", &pci, &err), -1);
    assert_null(pci);
    assert_int_equal(err.status, STATUS_INVALID);
    assert_string_equal(err.text, "\"6001\" is not a PCI filter ([vendor]:[device][:class[:prog-if]]): "
                                  "At least two fields must be given");
    pci_close(NULL);
}

static void test_list_is_sorted(void **state)
{
    (void)state;
    simulated_card("0001:09:00.0");
    simulated_card("0000:c6:00.0");
    simulated_card("10000:01:00.0");
    simulated_card("0000:08:00.1");
    simulated_card("0000:08:00.0");
    simulated_card("0000:7e:00.0");
    simulated_text("/sys/bus/pci/devices/0000:7e:00.0/device", "0x6002\n");
    assert_string_equal(list(":6001"), "0000:08:00.0 0000:08:00.1 0000:c6:00.0 0001:09:00.0 10000:01:00.0");
    assert_string_equal(list("1ee0:"),
                        "0000:08:00.0 0000:08:00.1 0000:7e:00.0 0000:c6:00.0 0001:09:00.0 10000:01:00.0");
    assert_string_equal(list("8086:6001"), "");
}

/* A function, the same after it was asked for once, and what is not a virtual one. */
static void test_virtual_function(void **state)
{
    struct pci *pci = open_pci(":6001");
    struct bdf physical;
    struct error err;
    bool present;
    bool matches;
    (void)state;
    simulated_card("0000:08:00.0");
    simulated_card("0000:08:00.1");
    simulated_link("/sys/bus/pci/devices/0000:08:00.1/physfn", "../0000:08:00.0");
    assert_string_equal(list(":6001"), "0000:08:00.0");
    assert_false(pci_physical_function(pci, (struct bdf){.bus = 8, .function = 1}, &physical));
    for (int time = 0; time < 2; time++) {
        assert_int_equal(pci_look_up(pci, (struct bdf){.bus = 8, .function = 1}, &present, &matches, &err), 0);
        assert_true(present && matches);
        assert_true(pci_physical_function(pci, (struct bdf){.bus = 8, .function = 1}, &physical));
        assert_int_equal(bdf_compare(physical, (struct bdf){.bus = 8}), 0);
        simulated_remove("/sys/bus/pci/devices/0000:08:00.1");
        simulated_card("0000:08:00.1");
    }
    assert_int_equal(pci_look_up(pci, (struct bdf){.bus = 8}, &present, &matches, &err), 0);
    assert_false(pci_physical_function(pci, (struct bdf){.bus = 8}, &physical));
    pci_close(pci);
}

static void test_list_of_many(void **state)
{
    char text[BDF_TEXT_SIZE];
    struct pci *pci = open_pci(":6001");
    struct bdf *functions = NULL;
    size_t count = 0;
    struct error err;
    (void)state;
    for (unsigned int bus = 100; bus > 0; bus--) {
        simulated_card(bdf_format((struct bdf){.bus = (uint8_t)bus}, text));
    }
    assert_int_equal(pci_list_matching(pci, &functions, &count, &err), 0);
    assert_int_equal(count, 100);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(bdf_compare(functions[i], (struct bdf){.bus = (uint8_t)(i + 1)}), 0);
    }
    free(functions);
    pci_close(pci);
}

static void test_list_by_class(void **state)
{
    (void)state;
    simulated_card("0000:08:00.0");
    simulated_card("0000:09:00.0");
    simulated_text("/sys/bus/pci/devices/0000:09:00.0/class", "0x030201\n");
    assert_string_equal(list(":6001:0302"), "0000:09:00.0");
    assert_string_equal(list(":6001:12xx"), "0000:08:00.0");
    assert_string_equal(list(":6001::01"), "0000:09:00.0");
}

static void test_list_of_links(void **state)
{
    (void)state;
    simulated_card("0000:08:00.0");
    simulated_directory("/sys/devices/pci0000:00");
    assert_int_equal(rename(simulated_path("/sys/bus/pci/devices/0000:08:00.0"),
                            simulated_path("/sys/devices/pci0000:00/0000:08:00.0")),
                     0);
    simulated_link("/sys/bus/pci/devices/0000:08:00.0", "../../../devices/pci0000:00/0000:08:00.0");
    simulated_link("/sys/bus/pci/devices/0000:09:00.0", "../../../devices/pci0000:00/0000:09:00.0");
    assert_string_equal(list(":6001"), "0000:08:00.0");
    assert_string_equal(look_up(":6001", "0000:09:00.0"), "absent differs");
}

static void test_list_without_sysfs(void **state)
{
    char expected[512];
    (void)state;
    simulated_remove("/sys");
    snprintf(expected, sizeof expected, "error 5: cannot list the PCI functions: %s: No such file or directory",
             simulated_path("/sys/bus/pci/devices"));
    assert_string_equal(list(":6001"), expected);
}

static void test_list_refuses_strange_entry(void **state)
{
    (void)state;
    simulated_directory("/sys/bus/pci/devices/.hidden");
    assert_string_equal(list(":6001"), "");
    simulated_directory("/sys/bus/pci/devices/bogus");
    assert_string_equal(list(":6001"), "error 5: /sys/bus/pci/devices/bogus is not the address of a PCI function");
}

/* A host of 2,000 functions: only the one that is asked for is touched. */
static void test_look_up_does_not_scan(void **state)
{
    char path[128];
    (void)state;
    for (int i = 0; i < 2000; i++) {
        snprintf(path, sizeof path, "/sys/bus/pci/devices/%04x:%02x:%02x.0/vendor", i / 500, i / 20 % 25 + 16, i % 20);
        simulated_directory(path);
    }
    simulated_card("0000:08:00.0");
    assert_string_equal(look_up(":6001", "0000:08:00.0"), "present matches");
    assert_string_equal(look_up(":6002", "0000:08:00.0"), "present differs");
    assert_string_equal(look_up(":6001", "0000:09:00.0"), "absent differs");
}

static void test_look_up_of_high_domain(void **state)
{
    (void)state;
    simulated_card("10000:01:1f.7");
    assert_string_equal(look_up("1ee0:6001:1200:00", "10000:01:1f.7"), "present matches");
}

static void test_missing_id(void **state)
{
    char expected[512];
    (void)state;
    simulated_card("0000:08:00.0");
    simulated_remove("/sys/bus/pci/devices/0000:08:00.0/vendor");
    snprintf(expected, sizeof expected, "error 5: PCI function 0000:08:00.0: cannot read %s: No such file or directory",
             simulated_path("/sys/bus/pci/devices/0000:08:00.0/vendor"));
    assert_string_equal(look_up(":6001", "0000:08:00.0"), expected);
    assert_string_equal(list(":6001"), expected);
}

/* One that cannot match whatever the missing id is. */
static void test_id_that_is_not_needed(void **state)
{
    (void)state;
    simulated_card("0000:08:00.0");
    simulated_remove("/sys/bus/pci/devices/0000:08:00.0/vendor");
    assert_string_equal(look_up(":6002", "0000:08:00.0"), "present differs");
    assert_string_equal(list(":6002"), "");
}

static void test_unreadable_id(void **state)
{
    char expected[512];
    (void)state;
    simulated_card("0000:08:00.0");
    simulated_remove("/sys/bus/pci/devices/0000:08:00.0/device");
    simulated_directory("/sys/bus/pci/devices/0000:08:00.0/device");
    snprintf(expected, sizeof expected, "error 5: PCI function 0000:08:00.0: cannot read %s: Is a directory",
             simulated_path("/sys/bus/pci/devices/0000:08:00.0/device"));
    assert_string_equal(look_up(":6001", "0000:08:00.0"), expected);
}

static void check_junk(const char *attribute, const char *text, const char *limit)
{
    char path[256];
    char expected[512];
    simulated_host_clear(NULL);
    simulated_card("0000:08:00.0");
    snprintf(path, sizeof path, "/sys/bus/pci/devices/0000:08:00.0/%s", attribute);
    simulated_text(path, text);
    snprintf(expected, sizeof expected,
             "error 5: PCI function 0000:08:00.0: %s does not hold a number up to %s: \"%.*s\"",
             simulated_path("%s", path), limit, (int)strcspn(text, "\n"), text);
    assert_string_equal(look_up(":6001:1200", "0000:08:00.0"), expected);
}

static void test_junk_ids(void **state)
{
    (void)state;
    check_junk("vendor", "", "0xffff");
    check_junk("vendor", "\n", "0xffff");
    check_junk("device", "junk\n", "0xffff");
    check_junk("device", "0x6001 junk\n", "0xffff");
    check_junk("device", "0x16001\n", "0xffff");
    check_junk("device", "-1\n", "0xffff");
    check_junk("device", "0x6001 and much more than this", "0xffff");
    check_junk("class", "0x1200000\n", "0xffffff");
}

/* What goes away before an attribute is opened (linked with --wrap=openat), and what
 * fails for another reason. */
static bool is_attribute(const char *path, const char *name)
{
    const char *slash = strrchr(path, '/');
    return slash && strcmp(slash + 1, name) == 0;
}

static const char *vanishing;
static const char *vanishes_before;
static const char *fails;

int __real_openat(int directory, const char *path, int flags, ...);
int __wrap_openat(int directory, const char *path, int flags, ...);
int __wrap_openat(int directory, const char *path, int flags, ...)
{
    if (vanishing && is_attribute(path, vanishes_before)) {
        simulated_remove(vanishing);
        vanishing = NULL;
    }
    if (fails && strstr(path, fails)) {
        errno = EACCES;
        return -1;
    }
    return __real_openat(directory, path, flags, 0644);
}

static void vanish(const char *what, const char *before)
{
    vanishing = what;
    vanishes_before = before;
}

static void test_function_vanishes(void **state)
{
    static const char *const attributes[] = {"vendor", "device", "class"};
    (void)state;
    for (size_t i = 0; i < sizeof attributes / sizeof attributes[0]; i++) {
        simulated_card("0000:08:00.0");
        vanish("/sys/bus/pci/devices/0000:08:00.0", attributes[i]);
        assert_string_equal(look_up(":6001:12", "0000:08:00.0"), "absent differs");
        assert_null(vanishing);
        simulated_card("0000:08:00.0");
        vanish("/sys/bus/pci/devices/0000:08:00.0", attributes[i]);
        assert_string_equal(list(":6001:12"), "");
        assert_null(vanishing);
    }
}

static void test_id_vanishes(void **state)
{
    char expected[512];
    (void)state;
    simulated_card("0000:08:00.0");
    vanish("/sys/bus/pci/devices/0000:08:00.0/vendor", "vendor");
    snprintf(expected, sizeof expected, "error 5: PCI function 0000:08:00.0: cannot read %s: No such file or directory",
             simulated_path("/sys/bus/pci/devices/0000:08:00.0/vendor"));
    assert_string_equal(look_up(":6001", "0000:08:00.0"), expected);
}

/* What cannot be looked at may be a PPU: it is not absent. */
static void test_function_that_cannot_be_looked_at(void **state)
{
    (void)state;
    simulated_card("0000:08:00.0");
    fails = "0000:08:00.0";
    assert_string_equal(look_up(":6001", "0000:08:00.0"),
                        "error 5: cannot look at PCI function 0000:08:00.0: Permission denied");
    assert_string_equal(list(":6001"), "error 5: cannot look at PCI function 0000:08:00.0: Permission denied");
    fails = NULL;
    simulated_host_clear(NULL);
    simulated_link("/sys/bus/pci/devices/0000:08:00.0", "0000:08:00.0");
    assert_string_equal(look_up(":6001", "0000:08:00.0"),
                        "error 5: cannot look at PCI function 0000:08:00.0: Too many levels of symbolic links");
}

/* One open struct pci outlives failures in between. */
static void test_goes_on_after_failure(void **state)
{
    struct pci *pci = open_pci(":6001");
    bool present = false;
    bool matches = false;
    struct error err;
    (void)state;
    simulated_card("0000:08:00.0");
    simulated_card("0000:09:00.0");
    simulated_remove("/sys/bus/pci/devices/0000:08:00.0/vendor");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pci_look_up(pci, bdf_of("0000:08:00.0"), &present, &matches, &err), -1);
        assert_int_equal(err.status, STATUS_HARDWARE);
        assert_int_equal(present, i > 0);
        assert_int_equal(pci_look_up(pci, bdf_of("0000:09:00.0"), &present, &matches, &err), 0);
        assert_true(present);
        assert_true(matches);
    }
    pci_close(pci);
}

/* The path of 0000:0a:00.0, which sysfs shows at PLACE below /sys/devices ("": there is no such card). */
static const char *path_at(const char *place)
{
    static char path[PCI_PATH_SIZE];
    char directory[512];
    char target[512];
    simulated_host_clear(NULL);
    if (place[0]) {
        snprintf(directory, sizeof directory, "/sys/devices/%s", place);
        snprintf(target, sizeof target, "../../../devices/%s", place);
        simulated_directory(directory);
        simulated_link("/sys/bus/pci/devices/0000:0a:00.0", target);
    }
    snprintf(path, sizeof path, "untouched");
    int result = pci_card_path(bdf_of("0000:0a:00.0"), path);
    if (result != 0) {
        assert_string_equal(path, "untouched");
        return result == 1 ? "none" : "unreadable";
    }
    return path;
}

static void test_card_path(void **state)
{
    (void)state;
    assert_string_equal(path_at("pci0000:00/0000:0a:00.0"), "pci0000:00/00.0");
    assert_string_equal(path_at("pci0000:00/0000:00:01.0/0000:0a:00.0"), "pci0000:00/01.0/00.0");
    assert_string_equal(path_at("pci0001:80/0001:80:1f.7/0001:81:00.0/0001:82:0b.1/0000:0a:00.0"),
                        "pci0001:80/1f.7/00.0/0b.1/00.0");
    /* The same place, although the buses have got other numbers. */
    assert_string_equal(path_at("pci0001:80/0001:80:1f.7/0001:91:00.0/0001:92:0b.1/0000:0a:00.0"),
                        "pci0001:80/1f.7/00.0/0b.1/00.0");
    assert_string_equal(path_at("pci0000:00/0000:00:0e.0/pci10000:e0/10000:e0:01.0/0000:0a:00.0"),
                        "pci10000:e0/01.0/00.0");
    assert_string_equal(path_at("platform/40000000.pcie/pci0000:00/0000:00:00.0/0000:0a:00.0"), "pci0000:00/00.0/00.0");
}

static void test_card_without_path(void **state)
{
    char deep[450] = "pci0000:00";
    char place[480];
    (void)state;
    assert_string_equal(path_at(""), "none");
    assert_string_equal(path_at("0000:0a:00.0"), "none");
    assert_string_equal(path_at("0000:00:01.0/0000:0a:00.0"), "none");
    assert_string_equal(path_at("pci000:00/0000:0a:00.0"), "none");
    assert_string_equal(path_at("pci0000:000/0000:0a:00.0"), "none");
    assert_string_equal(path_at("pci0000/0000:0a:00.0"), "none");
    simulated_host_clear(NULL);
    simulated_card("0000:0a:00.0");
    assert_int_equal(pci_card_path(bdf_of("0000:0a:00.0"), deep), 1);
    assert_string_equal(deep, "pci0000:00");
    for (int bridges = 1; bridges <= 24; bridges++) {
        snprintf(deep + strlen(deep), sizeof deep - strlen(deep), "/0000:%02x:01.0", bridges);
        snprintf(place, sizeof place, "%s/0000:0a:00.0", deep);
        size_t length = strlen("pci0000:00/00.0") + (size_t)bridges * strlen("/01.0");
        if (length < PCI_PATH_SIZE) {
            assert_int_equal(strlen(path_at(place)), length);
        } else {
            assert_string_equal(path_at(place), "none");
        }
    }
}

static void test_card_path_that_cannot_be_read(void **state)
{
    char path[PCI_PATH_SIZE] = "untouched";
    (void)state;
    simulated_remove("/sys/bus/pci/devices");
    simulated_link("/sys/bus/pci/devices", "devices");
    assert_int_equal(pci_card_path(bdf_of("0000:0a:00.0"), path), -1);
    assert_string_equal(path, "untouched");
}

static void put_word(unsigned char *config, size_t offset, uint32_t word)
{
    for (int i = 0; i < 4; i++) {
        config[offset + (size_t)i] = (unsigned char)(word >> 8 * i);
    }
}

/* The serial number of a card with the first LENGTH bytes of CONFIG. */
static const char *serial_of(const unsigned char *config, size_t length)
{
    static char serial[PCI_SERIAL_SIZE];
    simulated_file("/sys/bus/pci/devices/0000:0a:00.0/config", config, length);
    snprintf(serial, sizeof serial, "untouched");
    int result = pci_card_serial(bdf_of("0000:0a:00.0"), serial);
    if (result != 0) {
        assert_string_equal(serial, "untouched");
        return result == 1 ? "none" : "unreadable";
    }
    return serial;
}

static void test_card_serial(void **state)
{
    unsigned char config[4096] = {0};
    (void)state;
    put_word(config, 0, 0x60011ded);
    assert_string_equal(serial_of(config, sizeof config), "none");
    assert_string_equal(serial_of(config, 256), "none");
    assert_string_equal(serial_of(config, 64), "none");
    put_word(config, 0x100, 0x15010001); /* advanced error reporting, then 0x150 */
    put_word(config, 0x150, 0x00010003);
    put_word(config, 0x154, 0x89abcdef);
    put_word(config, 0x158, 0x00014567);
    assert_string_equal(serial_of(config, sizeof config), "00-01-45-67-89-ab-cd-ef");
    put_word(config, 0x100, 0x00010003);
    put_word(config, 0x104, 1);
    assert_string_equal(serial_of(config, sizeof config), "00-00-00-00-00-00-00-01");
    put_word(config, 0x100, 0xff810001); /* the capability would not fit */
    put_word(config, 0xff8, 0x00010003);
    assert_string_equal(serial_of(config, sizeof config), "none");
    put_word(config, 0x100, 0x10010001); /* in a circle */
    assert_string_equal(serial_of(config, sizeof config), "none");
    put_word(config, 0x100, 0x04010001); /* back into the first part, where 3 would be found */
    put_word(config, 0x40, 0x00010003);
    assert_string_equal(serial_of(config, sizeof config), "none");
    put_word(config, 0x100, UINT32_MAX);
    assert_string_equal(serial_of(config, sizeof config), "none");
}

static void test_card_serial_that_cannot_be_read(void **state)
{
    unsigned char config[4096];
    char serial[PCI_SERIAL_SIZE] = "untouched";
    (void)state;
    assert_int_equal(pci_card_serial(bdf_of("0000:0a:00.0"), serial), 1);
    memset(config, 0xff, sizeof config);
    assert_string_equal(serial_of(config, sizeof config), "unreadable"); /* it is off the bus */
    put_word(config, 0, 0x60011ded);
    put_word(config, 0x100, 0x00010003);
    assert_string_equal(serial_of(config, sizeof config), "unreadable"); /* it went while it was read */
    assert_string_equal(serial_of(config, 63), "unreadable");
    assert_string_equal(serial_of(config, 0), "unreadable");
    simulated_remove("/sys/bus/pci/devices/0000:0a:00.0/config");
    simulated_directory("/sys/bus/pci/devices/0000:0a:00.0/config");
    assert_int_equal(pci_card_serial(bdf_of("0000:0a:00.0"), serial), -1);
    assert_string_equal(serial, "untouched");
}

/* As the kernel does it to others than root: the file has 4096 bytes, and 64 can be read. */
static bool shows_the_header_only;
ssize_t __real_pread(int fd, void *data, size_t size, off_t offset);
ssize_t __wrap_pread(int fd, void *data, size_t size, off_t offset);
ssize_t __wrap_pread(int fd, void *data, size_t size, off_t offset)
{
    return __real_pread(fd, data, shows_the_header_only && size > 64 ? 64 : size, offset);
}

static void test_card_serial_without_root(void **state)
{
    unsigned char config[4096] = {0};
    (void)state;
    put_word(config, 0, 0x60011ded);
    shows_the_header_only = true;
    assert_string_equal(serial_of(config, sizeof config), "unreadable");
    assert_string_equal(serial_of(config, 256), "unreadable");
    shows_the_header_only = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_filter_syntax, simulated_host_clear),
        cmocka_unit_test_setup(test_filter_of_any_length, simulated_host_clear),
        cmocka_unit_test_setup(test_open_refuses_bad_filter, simulated_host_clear),
        cmocka_unit_test_setup(test_list_is_sorted, simulated_host_clear),
        cmocka_unit_test_setup(test_virtual_function, simulated_host_clear),
        cmocka_unit_test_setup(test_list_of_many, simulated_host_clear),
        cmocka_unit_test_setup(test_list_by_class, simulated_host_clear),
        cmocka_unit_test_setup(test_list_of_links, simulated_host_clear),
        cmocka_unit_test_setup(test_list_without_sysfs, simulated_host_clear),
        cmocka_unit_test_setup(test_list_refuses_strange_entry, simulated_host_clear),
        cmocka_unit_test_setup(test_look_up_does_not_scan, simulated_host_clear),
        cmocka_unit_test_setup(test_look_up_of_high_domain, simulated_host_clear),
        cmocka_unit_test_setup(test_missing_id, simulated_host_clear),
        cmocka_unit_test_setup(test_id_that_is_not_needed, simulated_host_clear),
        cmocka_unit_test_setup(test_unreadable_id, simulated_host_clear),
        cmocka_unit_test_setup(test_junk_ids, simulated_host_clear),
        cmocka_unit_test_setup(test_function_vanishes, simulated_host_clear),
        cmocka_unit_test_setup(test_id_vanishes, simulated_host_clear),
        cmocka_unit_test_setup(test_function_that_cannot_be_looked_at, simulated_host_clear),
        cmocka_unit_test_setup(test_goes_on_after_failure, simulated_host_clear),
        cmocka_unit_test_setup(test_card_path, simulated_host_clear),
        cmocka_unit_test_setup(test_card_without_path, simulated_host_clear),
        cmocka_unit_test_setup(test_card_path_that_cannot_be_read, simulated_host_clear),
        cmocka_unit_test_setup(test_card_serial, simulated_host_clear),
        cmocka_unit_test_setup(test_card_serial_that_cannot_be_read, simulated_host_clear),
        cmocka_unit_test_setup(test_card_serial_without_root, simulated_host_clear),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
