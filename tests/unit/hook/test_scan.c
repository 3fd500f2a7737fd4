/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hook/scan.h"

/* The text lies exactly in its allocation, so that a sanitizer sees any step
 * over its end. */
static bool holds(const char *text)
{
    size_t length = strlen(text);
    char *exact = malloc(length ? length : 1);

    assert_non_null(exact);
    memcpy(exact, text, length);
    bool result = scan_holds_host_device(exact, length);
    free(exact);
    return result;
}

static void assert_holds(const char *text)
{
    if (!holds(text)) {
        fail_msg("must count as holding: %s", text);
    }
}

static void assert_holds_none(const char *text)
{
    if (holds(text)) {
        fail_msg("must not count as holding: %s", text);
    }
}

static void assert_device_holds(const char *device)
{
    char text[1024];

    snprintf(text, sizeof(text), "<domain type='kvm'>\n  <devices>\n    %s\n  </devices>\n</domain>\n", device);
    assert_holds(text);
}

static void assert_device_holds_none(const char *device)
{
    char text[1024];

    snprintf(text, sizeof(text), "<domain type='kvm'>\n  <devices>\n    %s\n  </devices>\n</domain>\n", device);
    assert_holds_none(text);
}

static void test_hostdevs(void **state)
{
    (void)state;
    assert_device_holds("<hostdev mode='subsystem' type='pci' managed='yes'><source/></hostdev>");
    assert_device_holds("<hostdev mode=\"subsystem\" type=\"mdev\"/>");
    assert_device_holds("<hostdev mode='subsystem'/>");
    assert_device_holds("<hostdev/>");
    assert_device_holds("<hostdev type=''/>");
    assert_device_holds("<hostdev type='USB'/>");
    assert_device_holds("<hostdev type=' usb'/>");
    assert_device_holds("<hostdev type='u&#115;b'/>");
    assert_device_holds("<hostdev type='usb' type='pci'/>");
    assert_device_holds("<hostdev type='pci' type='usb'/>");
    assert_device_holds("<hostdev x:type='usb'/>");
    assert_device_holds("<q:hostdev type='pci'/>");
    assert_device_holds_none(
        "<hostdev mode='subsystem' type='usb'><source><address bus='1' device='2'/></source></hostdev>");
    assert_device_holds_none("<hostdev type = \"scsi\" ></hostdev >");
    assert_device_holds_none("<hostdev\n\ttype='scsi_host'\r\n/>");
    assert_device_holds_none("<hostdevice type='pci'/>");
}

static void test_interfaces(void **state)
{
    (void)state;
    assert_device_holds("<interface type='hostdev' managed='yes'><source/></interface>");
    assert_device_holds("<interface type='network'><actual type='hostdev'/></interface>");
    assert_device_holds("<interface type='&#104;ostdev'/>");
    assert_device_holds_none("<interface type='network'><source network='hostdev'/></interface>");
    assert_device_holds_none("<interface type='bridge'><actual type='bridge'/></interface>");
    assert_device_holds_none("<disk type='hostdev'/>");
}

static void test_nvme(void **state)
{
    (void)state;
    assert_device_holds("<disk type='nvme' device='disk'><source type='pci'/></disk>");
    assert_device_holds("<disk type='file'><backingStore type='nvme'/></disk>");
    assert_device_holds_none("<disk type='block'><source dev='/dev/nvme0n1'/></disk>");
    assert_device_holds_none("<controller model='nvme'/>");
}

static void test_qemu_command_line(void **state)
{
    (void)state;
    assert_holds("<domain><qemu:commandline><qemu:arg value='-device'/>"
                 "<qemu:arg value='vfio-pci,host=0000:08:00.0'/></qemu:commandline></domain>");
    assert_holds("<domain><commandline xmlns='q'><arg value='vfio-pci'/></commandline></domain>");
    assert_holds("<domain><qemu:override><qemu:device alias='a'><qemu:frontend>"
                 "<qemu:property name='driver' type='string' value='vfio-pci'/></qemu:frontend></qemu:device>"
                 "</qemu:override></domain>");
    assert_holds("<domain><qemu:arg value='{\"driver\":\"\\u0076fio-pci\"}'/></domain>");
    assert_holds("<domain><qemu:arg value='&#118;fio-pci'/></domain>");
    assert_holds_none("<domain><qemu:commandline><qemu:arg value='-cpu'/><qemu:arg value='host&amp;x'/>"
                      "<qemu:env name='A' value='vfio'/></qemu:commandline></domain>");
    assert_device_holds_none("<disk type='file'><source file='/srv/vfio/a.img'/></disk>");
}

static void test_what_only_looks_like_a_device(void **state)
{
    (void)state;
    assert_holds_none(
        "<domain><metadata><x:app xmlns:x='u'><hostdev type='pci'/><x:arg value='vfio'/></x:app></metadata>"
        "</domain>");
    assert_holds_none(
        "<domain><title><b><hostdev/></b></title><description><disk type='nvme'/></description></domain>");
    assert_holds_none("<domain><!-- <hostdev type='pci'/> --><name>hostdev</name></domain>");
    assert_holds_none("<domain><name><![CDATA[<hostdev type='pci'/>]]></name></domain>");
    assert_holds_none("<domain><?pi <hostdev type='pci'/> ?></domain>");
    assert_holds_none("<domain><a value=\"&lt;hostdev type='pci'/>\"/></domain>");
    assert_holds_none("<domain><a>x > <b/>'\"</a></domain>");
}

static void test_what_hides_behind_it(void **state)
{
    (void)state;
    assert_holds("<domain><metadata><a/></metadata><hostdev type='pci'/></domain>");
    assert_holds("<domain><metadata/><hostdev type='pci'/></domain>");
    assert_holds("<domain><metadata><metadata/></metadata><hostdev type='pci'/></domain>");
    assert_holds("<domain><devices><metadata><hostdev type='pci'/></metadata></devices></domain>");
    assert_holds("<domain><x:metadata><hostdev type='pci'/></x:metadata></domain>");
    assert_holds("<domain><!-- -- > --><hostdev type='pci'/><!-- --></domain>");
    assert_holds("<domain><![CDATA[ ]] > ]]><hostdev type='pci'/></domain>");
    assert_holds("<domain><a b='/>' c=\"'>\"/><hostdev type='pci'/></domain>");
}

static void test_whole_documents(void **state)
{
    (void)state;
    assert_holds_none("<domain/>");
    assert_holds_none(
        "\xef\xbb\xbf<?xml version='1.0' encoding='UTF-8'?>\n<!-- c -->\n<domain></domain>\n<!-- d --><?e?>\n");
    assert_holds_none("<domain><n\xc3\xa4me-1.x_y:Z>\xe2\x82\xac</n\xc3\xa4me-1.x_y:Z></domain>");
}

static void test_doubt_counts(void **state)
{
    static const char *const texts[] = {
        "",
        " ",
        "x",
        "<",
        "<!",
        "<domain",
        "<domain>",
        "<domain/",
        "<domain a",
        "<domain a=",
        "<domain a='",
        "<domain a=b/>",
        "<domain a 'b'/>",
        "<domain a='<'/>",
        "<domain a='b'c='d'/>",
        "<domain a='1'/ >",
        "<domain></domain",
        "<domain></domain x>",
        "<domain></>",
        "<domain></domains>",
        "<domain><a></domain></a>",
        "<domain><a></domain>",
        "<domain/></domain>",
        "<domain/><domain/>",
        "<domain/>x",
        "x<domain/>",
        "<domstatus><domain/></domstatus>",
        "<x:domain/>",
        "<domain><></domain>",
        "<domain><!-- </domain>",
        "<domain><![CDATA[ </domain>",
        "<domain><? </domain>",
        "<![CDATA[]]><domain/>",
        "<domain><!x></domain>",
        "<!DOCTYPE domain><domain/>",
        "<?xml version='1.0' encoding='UTF-16'?><domain/>",
        "<!-- -->",
        "<?a?>",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_holds(texts[i]);
    }
    assert_true(scan_holds_host_device("<domain>\0</domain>", 18));
}

static void assert_nested(int depth, bool expected)
{
    char *text = malloc((size_t)depth * 7 + 32);
    char *at = text;

    assert_non_null(text);
    at = stpcpy(at, "<domain>");
    for (int i = 1; i < depth; i++) {
        at = stpcpy(at, "<a>");
    }
    for (int i = 1; i < depth; i++) {
        at = stpcpy(at, "</a>");
    }
    stpcpy(at, "</domain>");
    assert_int_equal(holds(text), expected);
    free(text);
}

static void test_depth(void **state)
{
    (void)state;
    assert_nested(512, false);
    assert_nested(513, true);
}

/* No beginning of a domain passes for a domain. */
static void test_every_truncation(void **state)
{
    static const char text[] = "<?xml version='1.0'?><!-- c --><domain type='kvm'><name a=\"b\"><![CDATA[x]]></name>"
                               "<metadata><hostdev/></metadata><hostdev type='usb'/></domain>";

    (void)state;
    for (size_t length = 0; length < sizeof(text) - 1; length++) {
        char *cut = strndup(text, length);
        assert_non_null(cut);
        assert_holds(cut);
        free(cut);
    }
    assert_holds_none(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hostdevs),
        cmocka_unit_test(test_interfaces),
        cmocka_unit_test(test_nvme),
        cmocka_unit_test(test_qemu_command_line),
        cmocka_unit_test(test_what_only_looks_like_a_device),
        cmocka_unit_test(test_what_hides_behind_it),
        cmocka_unit_test(test_whole_documents),
        cmocka_unit_test(test_doubt_counts),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_every_truncation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
