/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/paths.h"
#include "registers/registers.h"
#include "../host/simulated_host.h"

enum { CARDS = 8, NONE = -1 };

static const char *const addresses[CARDS] = {
    "0000:08:00.0", "0000:7e:00.0", "0000:a2:00.0", "0000:c6:00.0",
    "0001:09:00.0", "0001:7f:00.0", "0001:aa:00.0", "0001:ce:00.0",
};

static struct settings settings;
static struct registers registers;

static void copy_topology(void)
{
    struct buffer text = {0};
    struct error err;

    assert_int_equal(file_read(TESTS_DIR "/fixtures/topology/vendor.cfg", 1 << 20, &text, NULL, &err), 0);
    simulated_file(PATH_TOPOLOGY, text.data, text.length);
    buffer_free(&text);
}

static int set_up(void **state)
{
    simulated_host_clear(state);
    for (int i = 0; i < CARDS; i++) {
        simulated_card(addresses[i]);
    }
    copy_topology();
    simulated_directory("/var/log");
    settings_default(&settings);
    settings.backend = BACKEND_PPUDBG;
    settings.ppudbg_timeout = 20;
    snprintf(settings.ppudbg_path, sizeof settings.ppudbg_path, "%s", TESTS_DIR "/lib/ppudbg");
    registers_open(&registers, &settings, NULL, true);
    return 0;
}

static void set_fault(const char *word)
{
    simulated_text("/etc/ppudbg.fault", word);
}

static void check_registers(const uint32_t expected[CARDS])
{
    for (int i = 0; i < CARDS; i++) {
        assert_int_equal(simulated_register(addresses[i], LINK_CONFIG_OFFSET), expected[i]);
    }
}

static const int first_two[CARDS] = {0, 0, NONE, NONE, NONE, NONE, NONE, NONE};

static enum write_failure isolate(const int groups[CARDS], struct error *err)
{
    return registers.backend->isolate(&registers, groups, CARDS, err);
}

static const char *topology_path(void)
{
    return simulated_path(PATH_TOPOLOGY);
}

static void check_failed(enum status status, const char *how)
{
    char text[4096];
    struct error err = {0};

    assert_int_equal(isolate(first_two, &err), WRITE_FAILED);
    snprintf(text, sizeof text, "ppudbg --direct --micnop iso %s \"0,1\": %s", topology_path(), how);
    assert_string_equal(err.text, text);
    assert_int_equal(err.status, status);
    check_registers((const uint32_t[CARDS]){0});
}

static void test_is_a_group_backend(void **state)
{
    (void)state;
    assert_ptr_equal(registers.backend, &registers_ppudbg);
    assert_string_equal(registers.backend->name, "ppudbg");
    assert_false(registers.backend->reads_back);
    assert_null(registers.backend->write);
}

static void test_read(void **state)
{
    const struct card_address card = {.ppu = 0, .bdf = {.bus = 8}, .links = 0x39};
    struct reading reading;

    (void)state;
    memset(&reading, 0xaa, sizeof reading);
    registers.backend->read(&registers, &card, &reading);
    assert_int_equal(reading.kind, READING_UNVERIFIABLE);
    assert_int_equal(reading.mask, 0);
    assert_string_equal(reading.why, "backend ppudbg cannot read single registers; set backend = mmio to verify them");
}

static void test_isolate_one_domain(void **state)
{
    struct error err;

    (void)state;
    simulated_set_register(addresses[0], LINK_CONFIG_OFFSET, 0xa5000020);
    simulated_set_register(addresses[6], LINK_CONFIG_OFFSET, 0x08);
    assert_int_equal(isolate(first_two, &err), WRITE_FINE);
    check_registers((const uint32_t[CARDS]){0xa5000019, 0x31, [6] = 0x08});
    assert_string_equal(simulated_read("/var/log/ppudbg.calls") + strlen("['--direct', '--micnop', 'iso', '") +
                            strlen(topology_path()),
                        "', '0,1']\n");
}

static void test_isolate_many_domains(void **state)
{
    const int groups[CARDS] = {7, 7, 2, 2, 4, 4, 0, 4};
    struct error err;

    (void)state;
    assert_int_equal(isolate(groups, &err), WRITE_FINE);
    check_registers((const uint32_t[CARDS]){0x19, 0x31, 0x19, 0x31, 0x09, 0x11, 0x39, 0x09});
    assert_string_equal(simulated_read("/var/log/ppudbg.calls") + strlen("['--direct', '--micnop', 'iso', '") +
                            strlen(topology_path()),
                        "', '0,1|2,3|4,5,7|6']\n");
}

static void test_isolate_singly(void **state)
{
    const int groups[CARDS] = {NONE, NONE, NONE, 5, NONE, NONE, 1, NONE};
    struct error err;

    (void)state;
    assert_int_equal(isolate(groups, &err), WRITE_FINE);
    check_registers((const uint32_t[CARDS]){[3] = 0x39, [6] = 0x39});
}

static void test_isolate_nobody(void **state)
{
    const int groups[CARDS] = {NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE};
    struct error err;

    (void)state;
    set_fault("exit");
    assert_int_equal(isolate(groups, &err), WRITE_FINE);
    assert_int_not_equal(access(simulated_path("/var/log/ppudbg.calls"), F_OK), 0);
}

static void test_reset(void **state)
{
    struct error err;

    (void)state;
    for (int i = 0; i < CARDS; i++) {
        simulated_set_register(addresses[i], LINK_CONFIG_OFFSET, 0xa500003f);
    }
    assert_int_equal(registers.backend->reset(&registers, &err), WRITE_FINE);
    for (int i = 0; i < CARDS; i++) {
        assert_int_equal(simulated_register(addresses[i], LINK_CONFIG_OFFSET), 0xa5000006);
    }
    assert_string_equal(simulated_read("/var/log/ppudbg.calls"), "['--direct', '--micnop', 'iso', 'reset']\n");
}

static void test_reset_fails(void **state)
{
    struct error err = {0};

    (void)state;
    set_fault("fail-reset");
    assert_int_equal(isolate(first_two, &err), WRITE_FINE);
    assert_int_equal(registers.backend->reset(&registers, &err), WRITE_FAILED);
    assert_int_equal(err.status, STATUS_HARDWARE);
    assert_string_equal(err.text, "ppudbg --direct --micnop iso reset: " TESTS_DIR
                                  "/lib/ppudbg ended with exit status 1: ppudbg: error: reset failed");
}

static void test_path_under_the_sysroot(void **state)
{
    struct error err;

    (void)state;
    simulated_directory("/usr/bin");
    snprintf(settings.ppudbg_path, sizeof settings.ppudbg_path, "/usr/bin/ppudbg");
    simulated_link("/usr/bin/ppudbg", TESTS_DIR "/lib/ppudbg");
    assert_int_equal(isolate(first_two, &err), WRITE_FINE);
    check_registers((const uint32_t[CARDS]){0x19, 0x31});
}

static void test_path_under_the_sysroot_first(void **state)
{
    char how[1024];

    (void)state;
    simulated_link(TESTS_DIR "/lib/ppudbg", "/bin/false");
    snprintf(how, sizeof how, "%s ended with exit status 1", simulated_path(TESTS_DIR "/lib/ppudbg"));
    check_failed(STATUS_HARDWARE, how);
}

static void test_missing(void **state)
{
    char how[1024];

    (void)state;
    snprintf(settings.ppudbg_path, sizeof settings.ppudbg_path, "/opt/vendor/ppudbg");
    snprintf(how, sizeof how, "cannot run %s: No such file or directory; check path in [ppudbg]",
             simulated_path("/opt/vendor/ppudbg"));
    check_failed(STATUS_HARDWARE, how);
}

static void test_exits(void **state)
{
    (void)state;
    set_fault("exit");
    check_failed(STATUS_HARDWARE,
                 TESTS_DIR "/lib/ppudbg ended with exit status 1: ppudbg: error: the firmware refused");
}

static void test_dies(void **state)
{
    (void)state;
    set_fault("signal");
    check_failed(STATUS_HARDWARE, TESTS_DIR "/lib/ppudbg was killed by signal 11");
}

static void test_hangs(void **state)
{
    int64_t started = deadline_after_ms(0);

    (void)state;
    set_fault("hang");
    settings.ppudbg_timeout = 1;
    check_failed(STATUS_BUSY, TESTS_DIR "/lib/ppudbg did not end in time and was killed");
    assert_in_range(deadline_after_ms(0) - started, 1000, 10000);
}

static void test_floods(void **state)
{
    struct error err;

    (void)state;
    set_fault("flood");
    assert_int_equal(isolate(first_two, &err), WRITE_FINE);
    check_registers((const uint32_t[CARDS]){0x19, 0x31});
}

/* A list of 1,024 cards reaches the tool whole, and the message in part. */
static void test_long_list(void **state)
{
    int groups[PPU_MAX];
    char expected[4096];
    struct error err;

    (void)state;
    for (int i = 0; i < PPU_MAX; i++) {
        groups[i] = i;
    }
    set_fault("exit");
    assert_int_equal(registers.backend->isolate(&registers, groups, PPU_MAX, &err), WRITE_FAILED);
    snprintf(expected, sizeof expected,
             "ppudbg --direct --micnop iso %s "
             "\"0|1|2|3|4|5|6|7|8|9|10|11|12|13|14|15|16|17|18|19|20|21|22|23|24|25|26|27|28|29|\": " TESTS_DIR
             "/lib/ppudbg ended with exit status 1: ppudbg: error: the firmware refused",
             topology_path());
    assert_string_equal(err.text, expected);
    assert_non_null(strstr(simulated_read("/var/log/ppudbg.calls"), "|999|1000|"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_is_a_group_backend, set_up),
        cmocka_unit_test_setup(test_read, set_up),
        cmocka_unit_test_setup(test_isolate_one_domain, set_up),
        cmocka_unit_test_setup(test_isolate_many_domains, set_up),
        cmocka_unit_test_setup(test_isolate_singly, set_up),
        cmocka_unit_test_setup(test_isolate_nobody, set_up),
        cmocka_unit_test_setup(test_reset, set_up),
        cmocka_unit_test_setup(test_reset_fails, set_up),
        cmocka_unit_test_setup(test_path_under_the_sysroot, set_up),
        cmocka_unit_test_setup(test_path_under_the_sysroot_first, set_up),
        cmocka_unit_test_setup(test_missing, set_up),
        cmocka_unit_test_setup(test_exits, set_up),
        cmocka_unit_test_setup(test_dies, set_up),
        cmocka_unit_test_setup(test_hangs, set_up),
        cmocka_unit_test_setup(test_floods, set_up),
        cmocka_unit_test_setup(test_long_list, set_up),
    };

    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
