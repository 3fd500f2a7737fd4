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
#include "core/ownership.h"
#include "registers/registers.h"
#include "../host/simulated_host.h"

enum { CARDS = 8, LINKS = 0x39 };

static const char *const addresses[CARDS] = {
    "0000:08:00.0", "0000:7e:00.0", "0000:a2:00.0", "0000:c6:00.0",
    "0001:09:00.0", "0001:7f:00.0", "0001:aa:00.0", "0001:ce:00.0",
};

static struct settings settings;
static struct registers registers;

/* What write_plan is given, and what it answers. */
static struct card_address cards[PPU_MAX];
static int owners[PPU_MAX];
static bool freed[PPU_MAX];
static struct plan_goal goals[PPU_MAX];
static struct plan plan;
static struct writing writing;
static enum apply_outcome outcomes[2 * PPU_MAX];
static struct text_list warnings;

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
    memset(owners, 0, sizeof owners);
    memset(freed, 0, sizeof freed);
    memset(goals, 0, sizeof goals);
    memset(cards, 0, sizeof cards);
    for (int i = 0; i < CARDS; i++) {
        cards[i] = (struct card_address){.ppu = i, .links = LINKS};
        assert_true(bdf_parse(addresses[i], &cards[i].bdf));
    }
    writing = (struct writing){.plan = &plan, .cards = cards, .owners = owners, .freed = freed, .ppu_count = CARDS};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    registers_close(&registers);
    text_list_free(&warnings);
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

static void goal(int ppu, enum plan_role role, uint32_t now, uint32_t want)
{
    goals[ppu] = (struct plan_goal){.role = role, .now = now, .want = want};
}

static int write_plan(struct error *err)
{
    plan_build(&plan, goals, writing.ppu_count);
    memset(outcomes, 0xaa, sizeof outcomes);
    return registers.backend->write_plan(&registers, &writing, outcomes, &warnings, err);
}

/* Outcomes as letters, in the plan's order: done, failed, - not tried. */
static void check_outcomes(const char *expected)
{
    static const char letters[] = {[APPLY_NOT_TRIED] = '-', [APPLY_DONE] = 'd', [APPLY_FAILED] = 'f'};
    char seen[2 * CARDS + 1] = "";
    for (size_t i = 0; i < plan.count; i++) {
        assert_true(outcomes[i] < sizeof letters);
        seen[i] = letters[outcomes[i]];
    }
    assert_string_equal(seen, expected);
}

static void check_done(const char *expected)
{
    struct error err;
    assert_int_equal(write_plan(&err), 0);
    assert_int_equal(warnings.count, 0);
    check_outcomes(expected);
}

static const char *topology_path(void)
{
    return simulated_path(PATH_TOPOLOGY);
}

/* What the tool is told: LIST with the addresses of the cards in place of their ids. */
static const char *by_address(const char *list)
{
    static char text[1024];
    size_t length = 0;
    for (; *list; list++) {
        bool is_id = *list >= '0' && *list < '0' + CARDS;
        length += (size_t)snprintf(text + length, sizeof text - length, "%.*s", is_id ? 12 : 1,
                                   is_id ? addresses[*list - '0'] : list);
    }
    return text;
}

/* LIST is what the tool was told, by id; NULL: it was not called. */
static void check_call(const char *list)
{
    char expected[4096];
    if (!list) {
        assert_int_not_equal(access(simulated_path("/var/log/ppudbg.calls"), F_OK), 0);
        return;
    }
    if (strcmp(list, "reset") == 0) {
        snprintf(expected, sizeof expected, "['--direct', '--micnop', 'iso', 'reset']\n");
    } else {
        snprintf(expected, sizeof expected, "['--direct', '--micnop', 'iso', '%s', '%s']\n", topology_path(),
                 by_address(list));
    }
    assert_string_equal(simulated_read("/var/log/ppudbg.calls"), expected);
}

/* A VM gets cards 0 and 1, with the golden values of the vendor's topology. */
static void start_first_two(void)
{
    owners[0] = owners[1] = 1;
    goal(0, ROLE_NEAR, 0, 0x19);
    goal(1, ROLE_NEAR, 0, 0x31);
    goal(2, ROLE_FAR, 0, 0x18);
    goal(3, ROLE_FAR, 0, 0x30);
    goal(6, ROLE_FAR, 0, 0x01);
    goal(7, ROLE_FAR, 0, 0x01);
}

static void check_failed(enum status status, const char *how)
{
    char text[4096];
    struct error err = {0};
    start_first_two();
    assert_int_equal(write_plan(&err), -1);
    snprintf(text, sizeof text, "ppudbg --direct --micnop iso %s \"%s\": %s", topology_path(), by_address("0,1"), how);
    assert_string_equal(err.text, text);
    assert_int_equal(err.status, status);
    assert_int_equal(warnings.count, 0);
    check_outcomes("ff----");
    check_registers((const uint32_t[CARDS]){0});
}

static void test_is_chosen(void **state)
{
    (void)state;
    assert_ptr_equal(registers.backend, &registers_ppudbg);
    assert_string_equal(registers.backend->name, "ppudbg");
}

static void test_read(void **state)
{
    struct reading reading;
    (void)state;
    memset(&reading, 0xaa, sizeof reading);
    registers.backend->read(&registers, &cards[0], true, &reading);
    assert_int_equal(reading.kind, READING_UNVERIFIABLE);
    assert_int_equal(reading.mask, 0);
    assert_string_equal(reading.why, "backend ppudbg cannot read single registers; set backend = mmio to verify them");
}

static void test_read_status(void **state)
{
    struct reading reading;
    (void)state;
    memset(&reading, 0xaa, sizeof reading);
    registers.backend->read_status(&registers, &cards[0], true, &reading);
    assert_int_equal(reading.kind, READING_UNVERIFIABLE);
    assert_int_equal(reading.mask, 0);
    assert_string_equal(reading.why, "no witness: backend ppudbg cannot read the link status register");
    check_call(NULL);
}

/* Near ends only: what leaves the domain is cut at its own cards. */
static void test_one_domain(void **state)
{
    (void)state;
    simulated_set_register(addresses[0], LINK_CONFIG_OFFSET, 0xa5000020);
    simulated_set_register(addresses[6], LINK_CONFIG_OFFSET, 0x08);
    start_first_two();
    check_done("dd----");
    check_call("0,1");
    check_registers((const uint32_t[CARDS]){0xa5000019, 0x31, [6] = 0x08});
}

/* All cards of the owner belong to its group, also those that need no write. */
static void test_the_group_is_whole(void **state)
{
    (void)state;
    owners[0] = owners[1] = 1;
    owners[2] = 2;
    goal(1, ROLE_NEAR, 0x30, 0x31);
    check_done("d");
    check_call("0,1");
    check_registers((const uint32_t[CARDS]){0x19, 0x31});
}

static void test_many_domains(void **state)
{
    static const int partition[CARDS] = {7, 7, 2, 2, 4, 4, 9, 4};
    static const uint32_t masks[CARDS] = {0x19, 0x31, 0x19, 0x31, 0x09, 0x11, 0x39, 0x09};
    (void)state;
    for (int i = 0; i < CARDS; i++) {
        owners[i] = partition[i];
        goal(i, ROLE_NEAR, 0, masks[i]);
    }
    check_done("dddddddd");
    check_call("0,1|2,3|4,5,7|6");
    check_registers(masks);
}

/* [policy] idle = isolate: the domain's own links were cut before. */
static void test_links_within_a_domain_are_opened(void **state)
{
    (void)state;
    for (int i = 0; i < CARDS; i++) {
        simulated_set_register(addresses[i], LINK_CONFIG_OFFSET, LINKS);
    }
    owners[0] = owners[1] = 1;
    goal(0, ROLE_NEAR, LINKS, 0x19);
    goal(1, ROLE_NEAR, LINKS, 0x31);
    writing.isolate_idle = true;
    check_done("dd");
    check_call("0,1");
    check_registers((const uint32_t[CARDS]){0x19, 0x31, LINKS, LINKS, LINKS, LINKS, LINKS, LINKS});
}

/* Through virtual functions, or held by nobody knows whom: no link of it may be open. */
static void test_owners_that_are_not_one_domain(void **state)
{
    (void)state;
    owners[3] = OWNER_SHARED;
    owners[6] = OWNER_UNKNOWN;
    owners[7] = OWNER_SHARED;
    goal(3, ROLE_NEAR, 0, LINKS);
    goal(6, ROLE_NEAR, 0, LINKS);
    check_done("dd");
    check_call("3|6");
    check_registers((const uint32_t[CARDS]){[3] = LINKS, [6] = LINKS});
}

/* As long as anybody has a card, freed ones are isolated alone: their openings are owed.  Cards that are owed one for
 * longer stay as they are. */
static void test_freed_cards(void **state)
{
    (void)state;
    owners[2] = 5;
    freed[0] = freed[1] = freed[6] = true;
    goal(7, ROLE_FAR, 0x01, 0);
    goal(0, ROLE_FAR, 0x19, 0x08);
    goal(1, ROLE_FAR, 0x31, 0x10);
    goal(6, ROLE_FAR, 0x01, 0);
    check_done("----");
    check_call("0|1|6");
    check_registers((const uint32_t[CARDS]){LINKS, LINKS, [6] = LINKS});
}

static void test_freed_card_beside_an_unknown_owner(void **state)
{
    (void)state;
    owners[5] = OWNER_UNKNOWN;
    freed[0] = true;
    goal(0, ROLE_FAR, 0x19, 0);
    check_done("-");
    check_call("0");
}

static void test_freed_cards_beside_a_domain(void **state)
{
    (void)state;
    start_first_two();
    owners[4] = 3;
    freed[5] = true;
    goal(5, ROLE_FAR, 0x19, 0x08);
    check_done("dd-----");
    check_call("0,1|5");
    check_registers((const uint32_t[CARDS]){0x19, 0x31, [5] = LINKS});
}

static void test_last_owner_is_gone(void **state)
{
    (void)state;
    for (int i = 0; i < CARDS; i++) {
        simulated_set_register(addresses[i], LINK_CONFIG_OFFSET, 0xa500003f);
    }
    goal(0, ROLE_FAR, 0x19, 0);
    goal(1, ROLE_FAR, 0x31, 0);
    check_done("dd");
    check_call("reset");
    for (int i = 0; i < CARDS; i++) {
        assert_int_equal(simulated_register(addresses[i], LINK_CONFIG_OFFSET), 0xa5000006);
    }
}

static void test_idle_cards_are_isolated(void **state)
{
    (void)state;
    writing.isolate_idle = true;
    freed[1] = true;
    goal(0, ROLE_FAR, 0x19, LINKS);
    goal(1, ROLE_FAR, 0x31, 0x30);
    goal(2, ROLE_FAR, 0x18, 0x19);
    check_done("d--");
    check_call("0|1");
    check_registers((const uint32_t[CARDS]){LINKS, LINKS});
}

/* Cuts alone are no reason to open all links. */
static void test_no_reset_for_a_cut(void **state)
{
    (void)state;
    goal(0, ROLE_FAR, 0x19, LINKS);
    check_done("d");
    check_call("0");
    check_registers((const uint32_t[CARDS]){LINKS});
}

static void test_far_ends_of_others(void **state)
{
    (void)state;
    owners[2] = 1;
    owners[3] = OWNER_UNKNOWN;
    goal(2, ROLE_FAR, 0, LINKS);
    goal(3, ROLE_FAR, LINKS, 0);
    goal(4, ROLE_FAR, 0, 0x01);
    check_done("---");
    check_call(NULL);
}

static void test_nothing_to_do(void **state)
{
    (void)state;
    set_fault("exit");
    owners[0] = 1;
    goal(0, ROLE_NEAR, 0x39, 0x39);
    check_done("");
    check_call(NULL);
}

/* The tool is not told which cards sleep: what it is told of is awake. */
static void test_cards_are_woken(void **state)
{
    (void)state;
    for (int i = 0; i < CARDS; i++) {
        char path[128];
        snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/power/control", addresses[i]);
        simulated_text(path, "auto\n");
    }
    start_first_two();
    check_done("dd----");
    for (int i = 0; i < CARDS; i++) {
        char path[128];
        snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/power/control", addresses[i]);
        assert_string_equal(simulated_read(path), i < 2 ? "on" : "auto\n");
    }
}

static void check_warned(const char *how)
{
    char text[4096];
    struct error err;
    assert_int_equal(write_plan(&err), 0);
    assert_int_equal(warnings.count, 1);
    snprintf(text, sizeof text, "ppudbg --direct --micnop iso %s", how);
    assert_string_equal(warnings.items[0], text);
}

/* Nobody is refused for a link that stays cut. */
static void test_reset_fails(void **state)
{
    (void)state;
    set_fault("fail-reset");
    goal(0, ROLE_FAR, 0x19, 0);
    check_warned("reset: " TESTS_DIR "/lib/ppudbg ended with exit status 1: ppudbg: error: reset failed");
    check_outcomes("f");
}

static void test_opening_of_a_near_end_fails(void **state)
{
    char how[1024];
    (void)state;
    set_fault("exit");
    owners[0] = 1;
    goal(0, ROLE_NEAR, LINKS, 0x19);
    snprintf(how, sizeof how,
             "%s \"%s\": " TESTS_DIR "/lib/ppudbg ended with exit status 1: ppudbg: error: the firmware refused",
             topology_path(), by_address("0"));
    check_warned(how);
    check_outcomes("f");
}

static void test_keeps_going(void **state)
{
    char how[1024];
    (void)state;
    set_fault("exit");
    start_first_two();
    writing.keep_going = true;
    snprintf(how, sizeof how,
             "%s \"%s\": " TESTS_DIR "/lib/ppudbg ended with exit status 1: ppudbg: error: the firmware refused",
             topology_path(), by_address("0,1"));
    check_warned(how);
    check_outcomes("ff----");
}

static void test_path_under_the_sysroot(void **state)
{
    (void)state;
    simulated_directory("/usr/bin");
    snprintf(settings.ppudbg_path, sizeof settings.ppudbg_path, "/usr/bin/ppudbg");
    simulated_link("/usr/bin/ppudbg", TESTS_DIR "/lib/ppudbg");
    start_first_two();
    check_done("dd----");
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

static void test_card_is_gone(void **state)
{
    (void)state;
    simulated_config(addresses[1], 0xffff, 0xffff);
    simulated_set_register(addresses[0], LINK_CONFIG_OFFSET, 0xffffffff);
    struct error err = {0};
    start_first_two();
    assert_int_equal(write_plan(&err), -1);
    assert_non_null(strstr(err.text, "ended with exit status 1: ppudbg: error: card 1 does not answer"));
    assert_int_equal(simulated_register(addresses[0], LINK_CONFIG_OFFSET), 0xffffffdf); /* all ones are a value */
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
    (void)state;
    set_fault("flood");
    start_first_two();
    check_done("dd----");
    check_registers((const uint32_t[CARDS]){0x19, 0x31});
}

/* A list of 1,024 cards reaches the tool whole, and the message in part. */
static void test_long_list(void **state)
{
    char how[4096];
    (void)state;
    writing.ppu_count = PPU_MAX;
    for (int i = 0; i < PPU_MAX; i++) {
        owners[i] = i + 1;
        cards[i].bdf = (struct bdf){.domain = (uint32_t)(0x10000 + i / 32), .slot = (uint8_t)(i % 32)};
        goal(i, ROLE_NEAR, 0, 1);
    }
    set_fault("exit");
    writing.keep_going = true;
    snprintf(how, sizeof how,
             "%s \"10000:00:00.0|10000:00:01.0|10000:00:02.0|10000:00:03.0|10000:00:04.0|10000:00:0\": " TESTS_DIR
             "/lib/ppudbg ended with exit status 1: ppudbg: error: the firmware refused",
             topology_path());
    check_warned(how);
    struct buffer calls = {0};
    struct error err;
    assert_int_equal(file_read(simulated_path("/var/log/ppudbg.calls"), 1 << 20, &calls, NULL, &err), 0);
    assert_non_null(strstr(calls.data, ", '10000:00:00.0|10000:00:01.0|"));
    assert_non_null(strstr(calls.data, "|1001f:00:1e.0|1001f:00:1f.0']"));
    buffer_free(&calls);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_is_chosen),
        TEST(test_read),
        TEST(test_read_status),
        TEST(test_one_domain),
        TEST(test_the_group_is_whole),
        TEST(test_many_domains),
        TEST(test_links_within_a_domain_are_opened),
        TEST(test_owners_that_are_not_one_domain),
        TEST(test_freed_cards),
        TEST(test_freed_card_beside_an_unknown_owner),
        TEST(test_freed_cards_beside_a_domain),
        TEST(test_last_owner_is_gone),
        TEST(test_idle_cards_are_isolated),
        TEST(test_no_reset_for_a_cut),
        TEST(test_far_ends_of_others),
        TEST(test_nothing_to_do),
        TEST(test_cards_are_woken),
        TEST(test_reset_fails),
        TEST(test_opening_of_a_near_end_fails),
        TEST(test_keeps_going),
        TEST(test_path_under_the_sysroot),
        TEST(test_path_under_the_sysroot_first),
        TEST(test_missing),
        TEST(test_exits),
        TEST(test_card_is_gone),
        TEST(test_dies),
        TEST(test_hangs),
        TEST(test_floods),
        TEST(test_long_list),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
