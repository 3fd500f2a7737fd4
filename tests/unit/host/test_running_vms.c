/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/running_vms.h"

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

static struct running_vms load_wanted(const struct text_list *wanted)
{
    struct running_vms running;
    struct error err = {0};
    memset(&running, 0xaa, sizeof running);
    if (running_vms_load(&running, wanted, &err) < 0) {
        fail_msg("%s", err.text);
    }
    return running;
}

static struct running_vms load(void)
{
    return load_wanted(NULL);
}

static void start_process(const char *pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%s", pid);
    simulated_directory(path);
}

static void test_no_directory(void **state)
{
    struct running_vms running = load();
    (void)state;
    assert_int_equal(running.count, 0);
    assert_int_equal(running.warnings.count, 0);
    running_vms_free(&running);
}

static void test_directory_is_a_file(void **state)
{
    struct running_vms running;
    struct running_vms before;
    struct error err = {0};
    char expected[512];
    (void)state;
    simulated_text(STATUS, "");
    memset(&running, 0xaa, sizeof running);
    before = running;
    assert_int_equal(running_vms_load(&running, NULL, &err), -1);
    assert_memory_equal(&running, &before, sizeof running);
    assert_int_equal(err.status, STATUS_HARDWARE);
    snprintf(expected, sizeof expected, "cannot open libvirt's directory %s: Not a directory", simulated_path(STATUS));
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

    struct running_vms running = load();
    assert_int_equal(running.count, 3);
    assert_string_equal(running.vms[0].domain.name, ".hidden");
    assert_int_equal(running.vms[0].domain.pid, 103);
    assert_string_equal(running.vms[1].domain.name, "alpha beta");
    assert_int_equal(running.vms[1].domain.pid, 101);
    assert_int_equal(running.vms[1].domain.device_count, 1);
    assert_int_equal(running.vms[1].domain.devices[0].bdf.bus, 8);
    assert_string_equal(running.vms[2].domain.name, "zeta");
    assert_int_equal(running.vms[2].domain.pid, 102);
    assert_int_equal(running.warnings.count, 0);
    running_vms_free(&running);
    assert_int_equal(running.count, 0);
}

/* The file of a VM that has stopped or whose daemon ended with it. */
static void test_process_gone(void **state)
{
    (void)state;
    start_process("102");
    simulated_text(STATUS "/a.xml", STATUS_TEXT("101", "a"));
    simulated_text(STATUS "/b.xml", STATUS_TEXT("102", "b"));

    struct running_vms running = load();
    assert_int_equal(running.count, 2);
    assert_string_equal(running.vms[0].domain.name, "a");
    assert_false(running.vms[0].lives);
    assert_int_equal(running.vms[0].domain.device_count, 1);
    assert_int_equal(running.vms[0].process.start, 0);
    assert_string_equal(running.vms[1].domain.name, "b");
    assert_true(running.vms[1].lives);
    assert_int_equal(running.warnings.count, 0);
    running_vms_free(&running);
}

static void start_process_at(const char *pid, const char *ticks)
{
    char path[64];
    char text[256];
    snprintf(path, sizeof path, "/proc/%s/stat", pid);
    snprintf(text, sizeof text, "%s (qemu-system-x86) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 %s 0 0\n", pid, ticks);
    simulated_text(path, text);
}

#define PLAIN(pid, name, uuid, device)                                                                                 \
    "<!--\nWARNING: THIS IS AN AUTO-GENERATED FILE.\n-->\n\n<domstatus state='running' reason='booted' pid='" pid      \
    "'>\n  <qemuCaps>\n    <flag name='vfio-pci'/>\n  </qemuCaps>\n  <domain type='kvm' id='1'>\n    <name>" name      \
    "</name>\n    <uuid>" uuid "</uuid>\n    <devices>\n" device "    </devices>\n  </domain>\n</domstatus>\n"
#define UUID_A "00000000-0000-4000-8000-00000000000a"
#define UUID_B "00000000-0000-4000-8000-00000000000b"
#define CARD "<hostdev mode='subsystem' type='pci'><source><address bus='0x08'/></source></hostdev>"

/* When the process of a VM started is looked up only if somebody may care. */
static void test_without_host_device(void **state)
{
    struct text_list wanted = {0};
    (void)state;
    start_process_at("101", "1001");
    start_process_at("102", "1002");
    simulated_text(STATUS "/a.xml", PLAIN("101", "a", UUID_A, ""));
    simulated_text(STATUS "/b.xml", PLAIN("102", "b", UUID_B, CARD));

    struct running_vms running = load();
    assert_int_equal(running.count, 2);
    assert_string_equal(running.vms[0].domain.name, "a");
    assert_string_equal(running.vms[0].domain.uuid, UUID_A);
    assert_int_equal(running.vms[0].domain.device_count, 0);
    assert_int_equal(running.vms[0].process.pid, 101);
    assert_int_equal(running.vms[0].process.start, 0);
    assert_true(running.vms[0].lives);
    assert_int_equal(running.vms[1].domain.device_count, 1);
    assert_int_equal(running.vms[1].process.pid, 102);
    assert_int_equal(running.vms[1].process.start, 1002);
    assert_int_equal(running.warnings.count, 0);
    running_vms_free(&running);

    text_list_add(&wanted, "%s", UUID_A);
    running = load_wanted(&wanted);
    assert_int_equal(running.vms[0].process.start, 1001);
    assert_string_equal(running.vms[0].domain.name, "a");
    text_list_free(&wanted);
    running_vms_free(&running);
}

/* A file that a dead daemon left must not hide the VM of the same uuid. */
static void test_find(void **state)
{
    (void)state;
    start_process("102");
    simulated_text(STATUS "/a.xml", PLAIN("101", "a", UUID_A, ""));
    simulated_text(STATUS "/b.xml", PLAIN("102", "b", UUID_A, ""));
    simulated_text(STATUS "/c.xml", PLAIN("103", "c", UUID_A, ""));
    simulated_text(STATUS "/d.xml", PLAIN("104", "d", UUID_B, ""));
    struct running_vms running = load();
    assert_int_equal(running.count, 4);
    assert_string_equal(running_vms_find(&running, UUID_A)->domain.name, "b");
    assert_string_equal(running_vms_find(&running, UUID_B)->domain.name, "d");
    assert_null(running_vms_find(&running, "00000000-0000-4000-8000-00000000000c"));
    running_vms_free(&running);
}

/* The text of one file must not be seen in the next, shorter one. */
static void test_files_of_any_size(void **state)
{
    static char large[100000];
    (void)state;
    start_process("101");
    size_t length = (size_t)snprintf(large, sizeof large, "<domstatus pid='101'>");
    memset(large + length, ' ', 90000);
    strcpy(large + length + 90000, DOMAIN("large") "</domstatus>");
    simulated_text(STATUS "/a.xml", STATUS_TEXT("101", "a"));
    simulated_text(STATUS "/b.xml", large);
    simulated_text(STATUS "/c.xml", PLAIN("101", "c", UUID_A, ""));
    simulated_text(STATUS "/d.xml", large);
    struct running_vms running = load();
    assert_int_equal(running.count, 4);
    assert_string_equal(running.vms[0].domain.name, "a");
    assert_string_equal(running.vms[1].domain.name, "large");
    assert_string_equal(running.vms[2].domain.name, "c");
    assert_int_equal(running.vms[2].domain.device_count, 0);
    assert_string_equal(running.vms[3].domain.name, "large");
    running_vms_free(&running);
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

    struct running_vms running = load();
    assert_int_equal(running.count, 0);
    assert_int_equal(running.warnings.count, 0);
    running_vms_free(&running);
}

static void assert_warning(const struct running_vms *running, size_t index, const char *format)
{
    char expected[1024];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(expected, sizeof expected, format, simulated_path(STATUS));
#pragma GCC diagnostic pop
    strcat(expected, "; its VM, and the cards that it has, are not known");
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

    struct running_vms running = load();
    assert_int_equal(running.count, 1);
    assert_string_equal(running.vms[0].domain.name, "i");
    assert_int_equal(running.warnings.count, 8);
    assert_warning(&running, 0, "%s/a.xml: it is empty; expected a domain's XML");
    assert_warning(&running, 1, "%s/b.xml is not a regular file");
    assert_warning(&running, 2, "cannot open %s/c.xml: Too many levels of symbolic links");
    assert_warning(&running, 3, "%s/d.xml is not a regular file");
    assert_warning(&running, 4, "%s/e.xml: it names no process (<domstatus pid=…>)");
    assert_warning(&running, 5, "%s/f.xml: it names no process (<domstatus pid=…>)");
    assert_warning(&running, 6, "%s/g.xml: line 1: the root element is <network>; expected libvirt's <domain>");
    assert_warning(&running, 7, "%s/h.xml is larger than 16777216 bytes");
    running_vms_free(&running);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_no_directory, simulated_host_clear),
        cmocka_unit_test_setup(test_directory_is_a_file, simulated_host_clear),
        cmocka_unit_test_setup(test_running, simulated_host_clear),
        cmocka_unit_test_setup(test_process_gone, simulated_host_clear),
        cmocka_unit_test_setup(test_without_host_device, simulated_host_clear),
        cmocka_unit_test_setup(test_find, simulated_host_clear),
        cmocka_unit_test_setup(test_files_of_any_size, simulated_host_clear),
        cmocka_unit_test_setup(test_other_files, simulated_host_clear),
        cmocka_unit_test_setup(test_unusable_files, simulated_host_clear),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
