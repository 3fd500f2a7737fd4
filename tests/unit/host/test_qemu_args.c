/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/domain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"

enum { ARGUMENTS_MAX = 6 };

#define MDEV "c2177883-f1bb-47f0-914d-32a22e3a8804"
#define REFUSED(text)                                                                                                  \
    "vm.xml: line 4: the QEMU argument '" text "' takes a device with vfio-pci in a way that is not understood; use "  \
    "<hostdev>, or -device vfio-pci,host=DOMAIN:BUS:SLOT.FUNCTION"
#define NOT_A_FUNCTION(text)                                                                                           \
    "vm.xml: line 4: host='" text "' for QEMU is not a PCI function; write it as DOMAIN:BUS:SLOT.FUNCTION"

/* A domain with these arguments, one a line from line 4 on; owned by the caller. */
static char *domain_with(const char *const *arguments)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    assert_non_null(out);
    fputs("<domain xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>\n<name>vm</name>\n<qemu:commandline>\n",
          out);
    for (size_t i = 0; i < ARGUMENTS_MAX && arguments[i] != NULL; i++) {
        fputs("<qemu:arg value='", out);
        for (const char *at = arguments[i]; *at != '\0'; at++) {
            fprintf(out, "&#%u;", (unsigned int)(unsigned char)*at);
        }
        fputs("'/>", out);
    }
    fputs("\n</qemu:commandline>\n</domain>\n", out);
    assert_int_equal(fclose(out), 0);
    return text;
}

/* "BDF", "mdev UUID" or "path PATH", joined by blanks. */
static void describe(const struct domain *domain, char *text, size_t size)
{
    FILE *out = fmemopen(text, size, "w");

    assert_non_null(out);
    for (size_t i = 0; i < domain->device_count; i++) {
        const struct domain_device *device = &domain->devices[i];
        char bdf[BDF_TEXT_SIZE];
        const char *blank = i > 0 ? " " : "";
        if (device->sysfs_path != NULL) {
            fprintf(out, "%spath %s", blank, device->sysfs_path);
            assert_int_equal(device->kind, DEVICE_COMMANDLINE);
        } else if (device->mdev_uuid[0] != '\0') {
            fprintf(out, "%smdev %s", blank, device->mdev_uuid);
            assert_int_equal(device->kind, DEVICE_MDEV);
        } else {
            fprintf(out, "%s%s", blank, bdf_format(device->bdf, bdf));
            assert_int_equal(device->kind, DEVICE_COMMANDLINE);
        }
    }
    assert_int_equal(fputc('\0', out), '\0');
    assert_int_equal(fclose(out), 0);
}

static void assert_takes(const char *const *arguments, const char *expected)
{
    CLEANUP_FREE char *xml = domain_with(arguments);
    struct domain domain;
    struct error err = {0};
    char devices[1024];

    if (domain_parse(xml, strlen(xml), "vm.xml", &domain, &err) != 0) {
        fail_msg("%s", err.text);
    }
    describe(&domain, devices, sizeof(devices));
    assert_string_equal(devices, expected);
    assert_int_equal(domain.warnings.count, 0);
    domain_free(&domain);
}

static void assert_refused(const char *const *arguments, const char *message)
{
    CLEANUP_FREE char *xml = domain_with(arguments);
    struct domain domain;
    struct error err = {0};

    assert_int_equal(domain_parse(xml, strlen(xml), "vm.xml", &domain, &err), -1);
    assert_int_equal(err.status, STATUS_INVALID);
    assert_string_equal(err.text, message);
}

struct argument_case {
    const char *arguments[ARGUMENTS_MAX];
    const char *expected;
};

static void test_taken(void **state)
{
    static const struct argument_case cases[] = {
        {{"-device", "vfio-pci,host=08:00.0"}, "0000:08:00.0"},
        {{"-device", "vfio-pci,host=0001:08:1f.7,id=a"}, "0001:08:1f.7"},
        {{"-device", "vfio-pci,id=a,host=10000:8:0.0"}, "10000:08:00.0"},
        {{"--device", "vfio-pci,host=08:00.0"}, "0000:08:00.0"},
        {{"-device=vfio-pci,host=08:00.0"}, "0000:08:00.0"},
        {{"--device=vfio-pci,host=08:00.0"}, "0000:08:00.0"},
        {{"-device", "id=a,,b,driver=vfio-pci,host=08:00.0"}, "0000:08:00.0"},
        {{"-device", "driver=virtio-rng-pci,driver=vfio-pci,host=08:00.0"}, "0000:08:00.0"},
        {{"-device", "vfio-pci,host=08:00.0,host=09:00.0"}, "0000:08:00.0 0000:09:00.0"},
        {{"-device", "vfio-pci-nohotplug,ramfb=on,display=on,host=08:00.0"}, "0000:08:00.0"},
        {{"-device", "vfio-pci,host=08:00.0", "-device", "vfio-pci,host=09:00.0"}, "0000:08:00.0 0000:09:00.0"},
        {{"-device", "vfio-pci,sysfsdev=/sys/bus/pci/devices/0000:08:00.0"}, "0000:08:00.0"},
        {{"-device", "vfio-pci,sysfsdev=/sys/devices/pci0000:00/0000:00:01.0/0000:08:00.0//"}, "0000:08:00.0"},
        {{"-device", "vfio-pci,sysfsdev=/sys/bus/mdev/devices/" MDEV}, "mdev " MDEV},
        {{"-device", "vfio-pci,sysfsdev=/sys/devices/pci0000:00/0000:00:02.0/" MDEV "/"}, "mdev " MDEV},
        {{"-device", "vfio-pci,sysfsdev=/sys/bus/pci/devices/0000:09:00.0/../0000:08:00.0"},
         "path /sys/bus/pci/devices/0000:09:00.0/../0000:08:00.0"},
        {{"-device", "vfio-pci,sysfsdev=/sys/class/net/eth0/device"}, "path /sys/class/net/eth0/device"},
        {{"-device", "vfio-pci,sysfsdev=/tmp/0000:08:00.0"}, "path /tmp/0000:08:00.0"},
        {{"-device", "vfio-pci,sysfsdev=0000:08:00.0"}, "path 0000:08:00.0"},
        {{"-device", "vfio-pci,sysfsdev=/tmp/a,,b,id=c"}, "path /tmp/a,b"},
        {{"-device", "vfio-pci,sysfsdev=/"}, "path /"},
        {{"-device", "{\"driver\":\"vfio-pci\",\"host\":\"0000:08:00.0\"}"}, "0000:08:00.0"},
        {{"-device", " { 'host' : '08:00.0' , 'id':'a\\'b', 'driver' : 'vfio-pci' }"}, "0000:08:00.0"},
        {{"-device", "{\"driver\":\"vfio\\u002dpci\",\"h\\u006Fst\":\"0000:08:00\\u002e0\"}"}, "0000:08:00.0"},
        {{"-device", "{\"driver\":\"vfio-pci\",\"sysfsdev\":\"\\/sys\\/bus\\/pci\\/devices\\/0000:08:00.0\"}"},
         "0000:08:00.0"},
        {{"-device", "{\"driver\":\"vfio-pci\",\"x\":[\"host\",1],\"multifunction\":true,\"host\":\"08:00.0\"}"},
         "0000:08:00.0"},
        {{"-device", "vfio-pci,id=a", "-set", "device.a.host=08:00.0"}, "0000:08:00.0"},
        {{"-set", "device.hostdev0.host=0000:09:00.0"}, "0000:09:00.0"},
        {{"-set=device.hostdev0.sysfsdev=/sys/bus/pci/devices/0000:09:00.0"}, "0000:09:00.0"},
        {{"-global", "vfio-pci.host=08:00.0", "-device", "vfio-pci"}, "0000:08:00.0"},
        {{"-global", "driver=vfio-pci,property=host,value=08:00.0"}, "0000:08:00.0"},
        {{"-global", "pci-device.sysfsdev=/sys/bus/pci/devices/0000:08:00.0"}, "0000:08:00.0"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_takes(cases[i].arguments, cases[i].expected);
    }
}

static void test_not_taken(void **state)
{
    static const char *const cases[][ARGUMENTS_MAX] = {
        {NULL},
        {"-device"},
        {"-device", ""},
        {"-device", "virtio-rng-pci,id=vfio-pci"},
        {"-device", "virtio-rng-pci,host=08:00.0"},
        {"-device", "virtio-net-pci,netdev=a,,driver=vfio-pci"},
        {"-device", "{\"driver\":\"virtio-rng-pci\",\"id\":\"vfio-pci\",\"host\":\"08:00.0\"}"},
        {"-device", "{\"driver\":\"virtio-rng-pci\"}", "-device", "{}"},
        {"-device", "vfio-ccw,sysfsdev=/sys/bus/mdev/devices/" MDEV},
        {"-name", "vfio-pci,host=08:00.0"},
        {"-append", "vfio-pci.ids=1234:6001 -device vfio-pci,host=08:00.0"},
        {"-fw_cfg", "name=opt/vfio-pci,string=a"},
        {"-smbios", "type=11,value=vfio-pci"},
        {"-set", "device.vfio-pci.x-no-mmap=on"},
        {"-set", "device.host"},
        {"-set", "device"},
        {"-set", "drive.a.host=b"},
        {"-global", "vfio-pci.x-no-mmap=on"},
        {"-global", "vfio-pci.host"},
        {"-global", "driver=vfio-pci,property=x-no-mmap,value=on"},
        {"-global", ""},
        {"-netdev", "user,id=n,host=10.0.2.2"},
        {"---device", "host=08:00.0"},
        {"device", "host=08:00.0"},
        {"", "-", "--"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_takes(cases[i], "");
    }
}

static void test_refused(void **state)
{
    static const struct argument_case cases[] = {
        {{"-device", "vfio-pci"}, REFUSED("vfio-pci")},
        {{"-device", "vfio-pci,fd=7"}, REFUSED("vfio-pci,fd=7")},
        {{"-device", "{\"driver\":\"vfio-pci\",\"host\":8}"}, REFUSED("{\"driver\":\"vfio-pci\",\"host\":8}")},
        {{"-device vfio-pci,host=08:00.0"}, REFUSED("-device vfio-pci,host=08:00.0")},
        {{"-nographic", "vfio-pci,host=08:00.0"}, REFUSED("vfio-pci,host=08:00.0")},
        {{"-name", "-device", "vfio-pci,host=08:00.0"}, REFUSED("vfio-pci,host=08:00.0")},
        {{"---device=vfio-pci"}, REFUSED("---device=vfio-pci")},
        {{"-object", "x,id=vfio-pci"}, REFUSED("x,id=vfio-pci")},
        {{"-device", "vfio-pci,host"}, NOT_A_FUNCTION("on")},
        {{"-device", "vfio-pci,host="}, NOT_A_FUNCTION("")},
        {{"-device", "vfio-pci,host=08:00"}, NOT_A_FUNCTION("08:00")},
        {{"-device", "vfio-pci,host=08:20.0"}, NOT_A_FUNCTION("08:20.0")},
        {{"-device", "vfio-pci,host=08:00.8"}, NOT_A_FUNCTION("08:00.8")},
        {{"-device", "vfio-pci,host=100:00.0"}, NOT_A_FUNCTION("100:00.0")},
        {{"-device", "vfio-pci,host=100000000:08:00.0"}, NOT_A_FUNCTION("100000000:08:00.0")},
        {{"-device", "vfio-pci,host=-8:00.0"}, NOT_A_FUNCTION("-8:00.0")},
        {{"-device", "vfio-pci,host= 8:00.0"}, NOT_A_FUNCTION(" 8:00.0")},
        {{"-device", "{'driver':'vfio-pci','host':'\\u00e9\\u\\n'}"}, NOT_A_FUNCTION("??\\x0a")},
        {{"-device", "{'driver':'vfio-pci','host':'08:00.0\\u0000'}"}, NOT_A_FUNCTION("08:00.0?")},
        {{"-set", "device.a.host="}, NOT_A_FUNCTION("")},
        {{"-global", "vfio-pci.host=a"}, NOT_A_FUNCTION("a")},
        {{"-global", "driver=vfio-pci,property=host"}, NOT_A_FUNCTION("")},
        {{"-device", "vfio-pci,sysfsdev="}, "vm.xml: line 4: sysfsdev= for QEMU names no device"},
        {{"-device", "{\"driver\":\"vfio-pci\",\"host"},
         "vm.xml: line 4: QEMU's -device has broken JSON: {\"driver\":\"vfio-pci\",\"host"},
        {{"-device", "{'driver':'vfio-pci\\"}, "vm.xml: line 4: QEMU's -device has broken JSON: {'driver':'vfio-pci\\"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_refused(cases[i].arguments, cases[i].expected);
    }
}

static void test_readconfig_is_told(void **state)
{
    static const char *const arguments[ARGUMENTS_MAX] = {"-readconfig", "/etc/a.cfg"};
    CLEANUP_FREE char *xml = domain_with(arguments);
    struct domain domain;
    struct error err = {0};

    (void)state;
    assert_int_equal(domain_parse(xml, strlen(xml), "vm.xml", &domain, &err), 0);
    assert_int_equal(domain.device_count, 0);
    assert_int_equal(domain.warnings.count, 1);
    assert_string_equal(domain.warnings.items[0], "line 4: QEMU's -readconfig /etc/a.cfg is not looked into; "
                                                  "a card that it takes is not isolated");
    domain_free(&domain);
}

/* libvirt joins the arguments of all qemu:commandline elements, and of no others. */
static void test_several_elements(void **state)
{
    static const char xml[] = "<domain xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'>"
                              "<q:commandline><q:env name='a' value='b'/><q:arg value='-device'/></q:commandline>"
                              "<q:commandline><!-- a --><q:arg value='vfio-pci,host=08:00.0'/></q:commandline>"
                              "<o:commandline xmlns:o='o'><q:arg value='-device=vfio-pci,host=09:00.0'/>"
                              "</o:commandline>"
                              "<q:commandline xmlns:o='o'><o:arg value='-device=vfio-pci,host=0a:00.0'/>"
                              "<arg value='-device=vfio-pci,host=0b:00.0'/></q:commandline>"
                              "</domain>";
    struct domain domain;
    struct error err = {0};

    (void)state;
    assert_int_equal(domain_parse(xml, strlen(xml), "vm.xml", &domain, &err), 0);
    assert_int_equal(domain.device_count, 1);
    assert_int_equal(domain.devices[0].bdf.bus, 8);
    domain_free(&domain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_taken),
        cmocka_unit_test(test_not_taken),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_readconfig_is_told),
        cmocka_unit_test(test_several_elements),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
