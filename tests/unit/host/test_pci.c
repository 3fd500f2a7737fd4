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
static const char *vanishing;
static const char *vanishes_before;
static const char *fails;

int __real_openat(int directory, const char *path, int flags, ...);
int __wrap_openat(int directory, const char *path, int flags, ...);
int __wrap_openat(int directory, const char *path, int flags, ...)
{
    if (vanishing && strcmp(path, vanishes_before) == 0) {
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_filter_syntax, simulated_host_clear),
        cmocka_unit_test_setup(test_filter_of_any_length, simulated_host_clear),
        cmocka_unit_test_setup(test_open_refuses_bad_filter, simulated_host_clear),
        cmocka_unit_test_setup(test_list_is_sorted, simulated_host_clear),
        cmocka_unit_test_setup(test_list_of_many, simulated_host_clear),
        cmocka_unit_test_setup(test_list_by_class, simulated_host_clear),
        cmocka_unit_test_setup(test_list_of_links, simulated_host_clear),
        cmocka_unit_test_setup(test_list_without_sysfs, simulated_host_clear),
        cmocka_unit_test_setup(test_list_refuses_strange_entry, simulated_host_clear),
        cmocka_unit_test_setup(test_look_up_does_not_scan, simulated_host_clear),
        cmocka_unit_test_setup(test_look_up_of_high_domain, simulated_host_clear),
        cmocka_unit_test_setup(test_missing_id, simulated_host_clear),
        cmocka_unit_test_setup(test_unreadable_id, simulated_host_clear),
        cmocka_unit_test_setup(test_junk_ids, simulated_host_clear),
        cmocka_unit_test_setup(test_function_vanishes, simulated_host_clear),
        cmocka_unit_test_setup(test_id_vanishes, simulated_host_clear),
        cmocka_unit_test_setup(test_function_that_cannot_be_looked_at, simulated_host_clear),
        cmocka_unit_test_setup(test_goes_on_after_failure, simulated_host_clear),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
