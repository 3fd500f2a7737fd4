/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/inquiry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "scene.h"

#define NIC "0000:01:00.0"
#define ABSENT "0009:00:00.0"
#define BROKEN "[policy]\nidle = perhaps\n"
#define NOBODY_CAN_TELL "[ppu]\nmatch = :7\nmatch = :8\n"

enum obstacle { NOTHING, NO_TOPOLOGY, UNREADABLE_NIC, CARD_MISSING };

static void put(enum obstacle obstacle)
{
    switch (obstacle) {
    case NOTHING:
        break;
    case NO_TOPOLOGY:
        simulated_remove(TOPOLOGY);
        break;
    case UNREADABLE_NIC:
        simulated_remove("/sys/bus/pci/devices/" NIC "/vendor");
        break;
    case CARD_MISSING:
        simulated_remove("/sys/bus/pci/devices/0001:ce:00.0");
        break;
    }
}

static int start(void **state)
{
    scene_start(state);
    simulated_card(NIC);
    simulated_text("/sys/bus/pci/devices/" NIC "/device", "0x10fb\n");
    return 0;
}

static int ask(const char *bdf, const char *config, struct inquiry *inquiry, struct error *err)
{
    struct domain_device device = {.kind = DEVICE_HOSTDEV};
    struct domain domain = {.devices = &device, .device_count = 1};
    if (bdf) {
        device.bdf = parse_bdf(bdf);
    } else {
        domain.device_count = 0;
    }
    memset(inquiry, 0xaa, sizeof *inquiry);
    return inquiry_make(inquiry, config, &domain, err);
}

/* A domain that takes BDF (NULL: nothing) on a host with SETTINGS and OBSTACLE. */
static const struct {
    const char *bdf;
    const char *settings;
    enum obstacle obstacle;
    int answer;
    const char *reason; /* of -1: a part of it */
} cases[] = {
    {NULL, NULL, NOTHING, 0, NULL},
    {NULL, BROKEN, NO_TOPOLOGY, 0, NULL},
    {NULL, NOBODY_CAN_TELL, NO_TOPOLOGY, 0, NULL},
    {NIC, NULL, NOTHING, 0, NULL},
    {NIC, NULL, NO_TOPOLOGY, 0, NULL},
    {NIC, NULL, CARD_MISSING, 0, NULL},
    {NIC, BROKEN, NO_TOPOLOGY, 0, NULL},
    {NIC, NOBODY_CAN_TELL, NOTHING, -1, "\"match\" is already set in line 2; correct the configuration"},
    {NIC, NULL, UNREADABLE_NIC, -1, "PCI function " NIC ": "},
    {NIC, BROKEN, UNREADABLE_NIC, -1, "idle is \"perhaps\""},
    {NIC, "[map]\n0 = " ABSENT "\n", NOTHING, 0, NULL},
    {NIC, "[map]\n0 = " ABSENT "\n", NO_TOPOLOGY, 0, NULL},
    {ABSENT, NULL, NOTHING, 0, NULL},
    {ABSENT, "[map]\n0 = " ABSENT "\n", NOTHING, 1, NULL},
    {"0000:08:00.0", NULL, NOTHING, 1, NULL},
    {"0000:08:00.0", BROKEN, NOTHING, -1, "idle is \"perhaps\""},
    {"0000:08:00.0", NULL, NO_TOPOLOGY, -1, "No such file or directory; correct the topology"},
    {"0000:08:00.0", NULL, CARD_MISSING, -1, "7 cards match :6001"},
    {"0000:08:00.0", "[map]\n0 = " ABSENT "\n", NOTHING, -1, "is a PPU but no [map] line says which"},
};

static void test_answers(void **state)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct inquiry inquiry;
        struct error err = {0};
        start(state);
        if (cases[i].settings) {
            simulated_text(SETTINGS, cases[i].settings);
        }
        put(cases[i].obstacle);
        int answer = ask(cases[i].bdf, NULL, &inquiry, &err);
        if (answer != cases[i].answer || (cases[i].reason && strstr(err.text, cases[i].reason) == NULL)) {
            fail_msg("case %zu: %d %s", i, answer, err.text);
        }
        assert_int_equal(inquiry.machine != NULL && inquiry.machine->topology.ppu_count > 0 && answer == 1,
                         answer == 1);
        assert_int_equal(answer == 1 && inquiry.demand.has_ppu, answer == 1);
        inquiry_free(&inquiry);
    }
}

static void test_other_configuration(void **state)
{
    struct inquiry inquiry;
    struct error err;

    start(state);
    simulated_text("/other.conf", "[ppu]\nmatch = :7\n");
    assert_int_equal(ask("0000:08:00.0", simulated_path("/other.conf"), &inquiry, &err), 0);
    inquiry_free(&inquiry);
}

static void test_warnings_are_kept(void **state)
{
    struct domain_device device = {.kind = DEVICE_MDEV, .mdev_uuid = VM_A};
    struct domain domain = {.devices = &device, .device_count = 1};
    struct inquiry inquiry;
    struct error err;

    start(state);
    assert_int_equal(inquiry_make(&inquiry, NULL, &domain, &err), 0);
    assert_lines(&inquiry.warnings, "the mediated device " VM_A " is on no PCI function of this host");
    inquiry_free(&inquiry);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_other_configuration),
        cmocka_unit_test(test_warnings_are_kept),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
