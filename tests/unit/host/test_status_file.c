/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/running_vms.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* As libvirt writes it, in the parts that tests replace. */
static const char comment[] = "<!--\nWARNING: THIS IS AN AUTO-GENERATED FILE. CHANGES TO IT ARE LIKELY TO BE\n"
                              "  virsh edit vm\n-->\n\n";
static const char head[] = "<domstatus state='running' reason='booted' pid='4711'>\n";
static const char before[] = "  <monitor path='/var/lib/libvirt/qemu/domain-1-vm/monitor.sock' type='unix'/>\n"
                             "  <qemuCaps>\n    <flag name='vfio-pci'/>\n    <flag name='nvme'/>\n  </qemuCaps>\n"
                             "  <devices>\n    <device alias='hostdev0'/>\n  </devices>\n";
static const char start[] = "  <domain type='kvm' id='1'>\n";
static const char identity[] = "    <name>vm &lt;</name>\n    <uuid>00000000-0000-4000-8000-00000000000A</uuid>\n";
static const char devices[] = "    <devices>\n      <disk type='file' device='disk'>\n"
                              "        <driver name='qemu' type='raw'/>\n        <target dev='vda' bus='virtio'/>\n"
                              "      </disk>\n    </devices>\n";
static const char tail[] = "  </domain>\n</domstatus>\n";

struct parts {
    const char *comment;
    const char *head;
    const char *before;
    const char *start;
    const char *identity;
    const char *devices;
    const char *tail;
};

static struct parts usual_parts(void)
{
    return (struct parts){
        comment, head, before, start, "    <name>vm</name>\n    <uuid>00000000-0000-4000-8000-00000000000A</uuid>\n",
        devices, tail};
}

/* In memory of exactly its size, so that valgrind sees a byte too much. */
static char *join(struct parts parts, size_t *length)
{
    char text[8192];
    *length = (size_t)snprintf(text, sizeof text, "%s%s%s%s%s%s%s", parts.comment, parts.head, parts.before,
                               parts.start, parts.identity, parts.devices, parts.tail);
    assert_true(*length < sizeof text);
    return memcpy(malloc(*length), text, *length);
}

static bool scan(struct parts parts)
{
    size_t length;
    struct domain domain = {.name = NULL, .pid = 77};
    char *text = join(parts, &length);
    bool is_plain = status_file_scan(text, length, &domain);
    free(text);
    assert_int_equal(domain.pid, is_plain ? 4711 : 77);
    assert_int_equal(is_plain, domain.name != NULL);
    domain_free(&domain);
    return is_plain;
}

static void test_plain(void **state)
{
    size_t length;
    struct domain domain;
    char *text = join(usual_parts(), &length);
    (void)state;
    memset(&domain, 0xaa, sizeof domain);
    assert_true(status_file_scan(text, length, &domain));
    assert_string_equal(domain.name, "vm");
    assert_string_equal(domain.uuid, "00000000-0000-4000-8000-00000000000a");
    assert_int_equal(domain.pid, 4711);
    assert_null(domain.devices);
    assert_int_equal(domain.device_count, 0);
    assert_int_equal(domain.warnings.count, 0);
    domain_free(&domain);
    free(text);
}

/* The whole of it is the parser's where any part is missing. */
static void test_cut_anywhere(void **state)
{
    size_t length;
    char *text = join(usual_parts(), &length);
    (void)state;
    for (size_t part = 1; part + 1 < length; part++) {
        char *cut = memcpy(malloc(part), text, part);
        struct domain domain;
        if (status_file_scan(cut, part, &domain)) {
            fail_msg("taken after %zu of %zu bytes", part, length);
        }
        free(cut);
    }
    free(text);
}

static void test_host_devices(void **state)
{
    static const char *const texts[] = {
        "<hostdev mode='subsystem' type='pci'/>",
        "<interface type='hostdev'/>",
        "<interface type='network'><actual type='hostdev'/></interface>",
        "<disk type='nvme'/>",
        "<disk><mirror type='nvme'/></disk>",
        "<qemu:arg value='vfio-pci,host=08:00.0'/>",
        "<a xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'/>",
        "<disk type='&#110;&#118;me'/>",
        "<disk type='n&#x76;me'/>",
        "vvvvvvvvhostdev",
        "nvnvnvme",
    };
    struct parts parts = usual_parts();
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        parts = usual_parts();
        parts.devices = texts[i];
        if (scan(parts)) {
            fail_msg("%s is overlooked in the devices", texts[i]);
        }
        parts = usual_parts();
        parts.before = texts[i];
        assert_true(scan(parts));
    }
    parts = usual_parts();
    parts.start = "  <domain type='kvm' id='1' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>\n";
    assert_false(scan(parts));
}

/* Words that are only nearly one, to the last byte. */
static void test_no_host_devices(void **state)
{
    static const char *const texts[] = {
        "<a b='hostde'/>",
        "<a b='ostdev'/>",
        "<a b='nvm'/>",
        "<a b='vme'/>",
        "<a b='vfi'/>",
        "<a b='fio'/>",
        "<a b='&amp;'/>",
        "<a b='v'/>",
        "v",
        "hostde",
        "<a b='schemas/domain/qemu'/>",
        "<vcpu>2</vcpu>\v",
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct parts parts = usual_parts();
        parts.devices = texts[i];
        if (!scan(parts)) {
            fail_msg("%s is taken for a host device", texts[i]);
        }
    }
}

static void test_other_spellings(void **state)
{
    struct parts parts = usual_parts();
    (void)state;
    parts.comment = "";
    assert_true(scan(parts));
    parts.comment = "\n<!---->";
    assert_true(scan(parts));
    parts.head = "<domstatus  pid=\"4711\"\n\tstate='running' >";
    assert_true(scan(parts));
    parts.start = "<domain type='kvm' >";
    assert_true(scan(parts));
    parts.identity = "<name>\xe8\x99\x9a\xe6\x8b\x9f</name><uuid>0000000000004000800000000000000a</uuid>";
    assert_true(scan(parts));
    parts.tail = "</domain></domstatus>";
    assert_true(scan(parts));
}

static void assert_left_to_the_parser(struct parts parts)
{
    if (scan(parts)) {
        fail_msg("taken: %s%s%s%s%s%s%s", parts.comment, parts.head, parts.before, parts.start, parts.identity,
                 parts.devices, parts.tail);
    }
}

static void test_doubtful(void **state)
{
    static const char *const comments[] = {"\xef\xbb\xbf", "<?xml version='1.0'?>", "<!DOCTYPE domstatus>", "<!-- ",
                                           "<!----><!---->"};
    static const char *const heads[] = {"<domstatus>",
                                        "<domstatus pid=''>",
                                        "<domstatus pid='0'>",
                                        "<domstatus pid='-4711'>",
                                        "<domstatus pid='4711x'>",
                                        "<domstatus pid='2147483648'>",
                                        "<domstatus pid='00000000000004711'>",
                                        "<domstatus pid='&#52;711'>",
                                        "<domstatus pid=4711>",
                                        "<domstatus pid='4711' pid='4712'>",
                                        "<domstatus pid='4711'/>",
                                        "<domstatus pid='4711' x>",
                                        "<domstatus pid='4711' x='<'>",
                                        "<domstatuspid='4711'>",
                                        "<domstat pid='4711'>",
                                        "<domstatus pid='4711'",
                                        "<domstatus pid='4711\">"};
    static const char *const starts[] = {"<domain>", "<domain type=kvm>", "<domain type='kvm'", "<domai n='a'>", ""};
    static const char *const tails[] = {"",
                                        "</domstatus>",
                                        "</domain>",
                                        "</domain></domstatus>x",
                                        "</domain></domstatus><!-- -->",
                                        "</domain>x</domstatus>"};
    static const char *const identities[] = {identity,
                                             "<name>vm</name>",
                                             "<uuid>00000000-0000-4000-8000-00000000000A</uuid><name>vm</name>",
                                             "<name>vm</name><uuid>junk</uuid>",
                                             "<name>vm</name><uuid></uuid>",
                                             "<name>vm</name><uuid>00000000-0000-4000-8000-00000000000A</uui>",
                                             "<name>vm</name><uuid>00000000-0000-4000-8000-00000000000A"
                                             "                                                      </uuid>",
                                             "<name>v\nm</name><uuid>00000000-0000-4000-8000-00000000000A</uuid>",
                                             "<name>v\x7f</name><uuid>00000000-0000-4000-8000-00000000000A</uuid>",
                                             "<name>v\xff</name><uuid>00000000-0000-4000-8000-00000000000A</uuid>",
                                             "<!-- --><name>vm</name><uuid>00000000-0000-4000-8000-00000000000A</uuid>",
                                             "<name>v<a/></name><uuid>00000000-0000-4000-8000-00000000000A</uuid>"};
#define EACH(field, list)                                                                                              \
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {                                                        \
        struct parts parts = usual_parts();                                                                            \
        parts.field = list[i];                                                                                         \
        assert_left_to_the_parser(parts);                                                                              \
    }
    (void)state;
    EACH(comment, comments)
    EACH(head, heads)
    EACH(start, starts)
    EACH(tail, tails)
    EACH(identity, identities)
#undef EACH
}

static void test_zero_byte(void **state)
{
    size_t length;
    struct domain domain;
    char *text = join(usual_parts(), &length);
    (void)state;
    text[length - 40] = '\0'; /* within the devices */
    assert_false(status_file_scan(text, length, &domain));
    free(text);
    assert_false(status_file_scan("", 0, &domain));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),           cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_host_devices),    cmocka_unit_test(test_no_host_devices),
        cmocka_unit_test(test_other_spellings), cmocka_unit_test(test_doubtful),
        cmocka_unit_test(test_zero_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
