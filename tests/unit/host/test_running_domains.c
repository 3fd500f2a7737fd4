/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/running_domains.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "simulated_host.h"

#define STATUS "/run/libvirt/qemu"
#define DOMAIN(name)                                                                                                   \
    "<domain type='kvm' id='1'><name>" name "</name><devices><hostdev mode='subsystem' type='pci'><source>"            \
    "<address bus='0x08'/></source></hostdev></devices></domain>"
#define STATUS_TEXT(pid, name) "<domstatus state='running' pid='" pid "'>" DOMAIN(name) "</domstatus>"

static struct running_domains load(void)
{
    struct running_domains running;
    struct error err = {0};

    memset(&running, 0xaa, sizeof(running));
    if (running_domains_load(&running, &err) != 0) {
        fail_msg("%s", err.text);
    }
    return running;
}

static void start_process(const char *pid)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%s", pid);
    simulated_directory(path);
}

static void test_no_directory(void **state)
{
    struct running_domains running = load();

    (void)state;
    assert_int_equal(running.count, 0);
    assert_int_equal(running.warnings.count, 0);
    running_domains_free(&running);
}

static void test_directory_is_a_file(void **state)
{
    struct running_domains running;
    struct running_domains before;
    struct error err = {0};
    char expected[512];

    (void)state;
    simulated_text(STATUS, "");
    memset(&running, 0xaa, sizeof(running));
    before = running;
    assert_int_equal(running_domains_load(&running, &err), -1);
    assert_memory_equal(&running, &before, sizeof(running));
    assert_int_equal(err.status, STATUS_HARDWARE);
    snprintf(expected, sizeof(expected), "cannot open libvirt's directory %s: Not a directory", simulated_path(STATUS));
    assert_string_equal(err.text, expected);
}

/* Sorted by file name; a name with a leading dot is a domain's as any other. */
static void test_running(void **state)
{
    (void)state;
    start_process("101");
    start_process("102");
    start_process("103");
    simulated_text(STATUS "/zeta.xml", STATUS_TEXT("102", "zeta"));
    simulated_text(STATUS "/alpha beta.xml", STATUS_TEXT("101", "alpha beta"));
    simulated_text(STATUS "/.hidden.xml", STATUS_TEXT("103", ".hidden"));

    struct running_domains running = load();
    assert_int_equal(running.count, 3);
    assert_string_equal(running.domains[0].name, ".hidden");
    assert_int_equal(running.domains[0].pid, 103);
    assert_string_equal(running.domains[1].name, "alpha beta");
    assert_int_equal(running.domains[1].pid, 101);
    assert_int_equal(running.domains[1].device_count, 1);
    assert_int_equal(running.domains[1].devices[0].bdf.bus, 8);
    assert_string_equal(running.domains[2].name, "zeta");
    assert_int_equal(running.domains[2].pid, 102);
    assert_int_equal(running.warnings.count, 0);
    running_domains_free(&running);
    assert_int_equal(running.count, 0);
}

static void test_process_gone(void **state)
{
    (void)state;
    start_process("102");
    simulated_text(STATUS "/a.xml", STATUS_TEXT("101", "a"));
    simulated_text(STATUS "/b.xml", STATUS_TEXT("102", "b"));

    struct running_domains running = load();
    assert_int_equal(running.count, 1);
    assert_string_equal(running.domains[0].name, "b");
    assert_int_equal(running.warnings.count, 0);
    running_domains_free(&running);
}

/* What else libvirt keeps there. */
static void test_other_files(void **state)
{
    (void)state;
    start_process("101");
    simulated_text(STATUS "/a.pid", "101");
    simulated_text(STATUS "/a.xml.new", STATUS_TEXT("101", "a"));
    simulated_text(STATUS "/a.xmlx", "x");
    simulated_text(STATUS "/.xml", "x");
    simulated_text(STATUS "/xml", "x");
    simulated_text(STATUS "/driver.pid", "1");
    simulated_directory(STATUS "/autostart");
    simulated_directory(STATUS "/dump");
    simulated_directory(STATUS "/channel");
    simulated_text(STATUS "/channel/a.xml", "x");

    struct running_domains running = load();
    assert_int_equal(running.count, 0);
    assert_int_equal(running.warnings.count, 0);
    running_domains_free(&running);
}

static void assert_warning(const struct running_domains *running, size_t index, const char *format)
{
    char expected[1024];

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(expected, sizeof(expected), format, simulated_path(STATUS));
#pragma GCC diagnostic pop
    assert_string_equal(running->warnings.items[index], expected);
}

static void test_unusable_files(void **state)
{
    (void)state;
    start_process("101");
    simulated_text(STATUS "/a.xml", "");
    simulated_directory(STATUS "/b.xml");
    simulated_link(STATUS "/c.xml", "/etc/passwd");
    assert_int_equal(mkfifo(simulated_path(STATUS "/d.xml"), 0600), 0);
    simulated_text(STATUS "/e.xml", DOMAIN("e"));
    simulated_text(STATUS "/f.xml", STATUS_TEXT("0", "f"));
    simulated_text(STATUS "/g.xml", "<network/>");
    simulated_text(STATUS "/h.xml", "");
    assert_int_equal(truncate(simulated_path(STATUS "/h.xml"), DOMAIN_XML_LIMIT + 1), 0);
    simulated_text(STATUS "/i.xml", STATUS_TEXT("101", "i"));

    struct running_domains running = load();
    assert_int_equal(running.count, 1);
    assert_string_equal(running.domains[0].name, "i");
    assert_int_equal(running.warnings.count, 8);
    assert_warning(&running, 0, "%s/a.xml: it is empty; expected a domain's XML");
    assert_warning(&running, 1, "%s/b.xml is not a regular file");
    assert_warning(&running, 2, "cannot open %s/c.xml: Too many levels of symbolic links");
    assert_warning(&running, 3, "%s/d.xml is not a regular file");
    assert_warning(&running, 4, "%s/e.xml: it names no process (<domstatus pid=…>)");
    assert_warning(&running, 5, "%s/f.xml: it names no process (<domstatus pid=…>)");
    assert_warning(&running, 6, "%s/g.xml: line 1: the root element is <network>; expected libvirt's <domain>");
    assert_non_null(strstr(running.warnings.items[7], "/h.xml"));
    running_domains_free(&running);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_no_directory, simulated_host_clear),
        cmocka_unit_test_setup(test_directory_is_a_file, simulated_host_clear),
        cmocka_unit_test_setup(test_running, simulated_host_clear),
        cmocka_unit_test_setup(test_process_gone, simulated_host_clear),
        cmocka_unit_test_setup(test_other_files, simulated_host_clear),
        cmocka_unit_test_setup(test_unusable_files, simulated_host_clear),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
