/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hypervisor/libvirt.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#ifdef HAVE_LIBVIRT

#define DOMAIN(name, uuid)                                                                                             \
    "<domain type='test'><name>" name "</name><uuid>" uuid "</uuid><memory>65536</memory>"                             \
    "<os><type>hvm</type></os></domain>"
#define UUID_A "11111111-1111-4111-8111-111111111111"
#define UUID_B "22222222-2222-4222-8222-222222222222"

static char path[] = "/tmp/icn-hook-libvirt-XXXXXX";
static char uri[64];

static int start(void **state)
{
    static const char text[] = "<node>" DOMAIN("b", UUID_B) DOMAIN("a", UUID_A) "</node>";
    (void)state;
    int fd = mkostemp(path, O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, sizeof text - 1), sizeof text - 1);
    close(fd);
    snprintf(uri, sizeof uri, "test://%s", path);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    return unlink(path);
}

static void test_running(void **state)
{
    struct libvirt_domains domains;
    struct error err = {0};
    (void)state;
    if (libvirt_running(uri, &domains, &err) < 0) {
        fail_msg("%s", err.text);
    }
    assert_int_equal(domains.count, 2);
    assert_string_equal(domains.items[0].name, "a");
    assert_string_equal(domains.items[0].uuid, UUID_A);
    assert_non_null(strstr(domains.items[0].xml, "<name>a</name>"));
    assert_string_equal(domains.items[1].uuid, UUID_B);
    libvirt_domains_free(&domains);
    assert_int_equal(domains.count, 0);
}

static void test_domain_xml(void **state)
{
    struct buffer xml = {0};
    struct error err = {0};
    (void)state;
    if (libvirt_domain_xml(uri, "b", &xml, &err) < 0) {
        fail_msg("%s", err.text);
    }
    assert_int_equal(xml.length, strlen(xml.data));
    assert_non_null(strstr(xml.data, "<uuid>" UUID_B "</uuid>"));
    buffer_free(&xml);
}

#define UUID_OF_TEST "6695eb01-f6a4-8304-79aa-97f2502e193f"

/* The domain that every test:///default runs. */
static void test_default(void **state)
{
    struct libvirt_domains domains;
    struct buffer xml = {0};
    struct error err = {0};
    (void)state;
    if (libvirt_running("test:///default", &domains, &err) < 0) {
        fail_msg("%s", err.text);
    }
    assert_int_equal(domains.count, 1);
    assert_string_equal(domains.items[0].name, "test");
    assert_string_equal(domains.items[0].uuid, UUID_OF_TEST);
    assert_int_equal(strncmp(domains.items[0].xml, "<domain type='test'", 19), 0);
    libvirt_domains_free(&domains);
    if (libvirt_domain_xml("test:///default", "test", &xml, &err) < 0) {
        fail_msg("%s", err.text);
    }
    assert_int_equal(strncmp(xml.data, "<domain type='test'", 19), 0);
    assert_non_null(strstr(xml.data, "<uuid>" UUID_OF_TEST "</uuid>"));
    buffer_free(&xml);
}

static void test_failures(void **state)
{
    struct buffer xml = {0};
    struct libvirt_domains domains = {0};
    struct error err = {0};
    char expected[128];
    (void)state;
    snprintf(expected, sizeof expected, "libvirt (%s): Domain not found", uri);
    assert_int_equal(libvirt_domain_xml(uri, "c", &xml, &err), -1);
    assert_int_equal(err.status, STATUS_HARDWARE);
    assert_string_equal(err.text, expected);
    assert_null(xml.data);
    assert_int_equal(libvirt_domain_xml("test:///default", "x", &xml, &err), -1);
    assert_string_equal(err.text, "libvirt (test:///default): Domain not found");
    assert_int_equal(libvirt_running("test:///no/such/file", &domains, &err), -1);
    assert_int_equal(err.status, STATUS_HARDWARE);
    assert_int_equal(strncmp(err.text, "libvirt (test:///no/such/file): ", 32), 0);
    assert_int_equal(domains.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_running),
        cmocka_unit_test(test_domain_xml),
        cmocka_unit_test(test_default),
        cmocka_unit_test(test_failures),
    };
    return cmocka_run_group_tests(tests, start, stop);
}

#else

static void test_without(void **state)
{
    struct libvirt_domains domains;
    struct error err = {0};
    (void)state;
    assert_int_equal(libvirt_running(LIBVIRT_USUAL_URI, &domains, &err), -1);
    assert_string_equal(err.text, "this icn-hook was built without libvirt");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_without)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
