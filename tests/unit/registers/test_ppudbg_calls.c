/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/paths.h"
#include "registers/ppudbg.h"
#include "registers/registers.h"
#include "../host/simulated_host.h"

/* With which words the vendor's tool is called, and what is read from its output. */

enum { CARDS = 8, LINKS = 0x39 };

static const char *const addresses[CARDS] = {
    "12345:08:00.0", "0000:7e:00.0", "0000:a2:00.0", "0000:c6:00.0",
    "0001:09:00.0",  "0001:7f:00.0", "0001:aa:00.0", "0001:ce:00.0",
};

static struct settings settings;
static struct registers registers;
static struct card_address cards[CARDS];
static int owners[CARDS];
static bool freed[CARDS];

static int set_up(void **state)
{
    simulated_host_clear(state);
    settings_default(&settings);
    settings.backend = BACKEND_PPUDBG;
    registers_open(&registers, &settings, NULL, true);
    memset(owners, 0, sizeof owners);
    for (int i = 0; i < CARDS; i++) {
        cards[i] = (struct card_address){.ppu = i, .links = LINKS};
        assert_true(bdf_parse(addresses[i], &cards[i].bdf));
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    registers_close(&registers);
    return 0;
}

/* A tool that notes its arguments and runs the shell's COMMANDS. */
static void make_tool(const char *commands)
{
    char text[1024];
    snprintf(text, sizeof text, "#!/bin/sh\nfor word; do echo \"$word\"; done >\"$ICN_SYSROOT/words\"\n%s\n", commands);
    simulated_text("/opt/tool", text);
    assert_int_equal(chmod(simulated_path("/opt/tool"), 0755), 0);
    snprintf(settings.ppudbg_path, sizeof settings.ppudbg_path, "/opt/tool");
}

static void test_topology(void **state)
{
    char expected[1024];
    struct buffer output = {0};
    struct error err;
    (void)state;
    make_tool("printf 'ppuid: 0\nlink' ; echo 'a warning' >&2; echo '[0]'");
    assert_int_equal(ppudbg_read_topology(&settings, &output, &err), 0);
    assert_string_equal(output.data, "ppuid: 0\nlink[0]\n");
    assert_string_equal(simulated_read("/words"), "--topo_read\n");
    buffer_free(&output);
    make_tool("echo 'ppuid: 0'; echo the firmware refused >&2; exit 1");
    assert_int_equal(ppudbg_read_topology(&settings, &output, &err), -1);
    snprintf(expected, sizeof expected, "ppudbg --topo_read: %s ended with exit status 1: the firmware refused",
             simulated_path("/opt/tool"));
    assert_string_equal(err.text, expected);
    assert_null(output.data);
}

static void check_link(const char *commands, enum ppudbg_link expected)
{
    enum ppudbg_link status = 77;
    struct error err;
    make_tool(commands);
    assert_int_equal(ppudbg_read_link(&settings, cards[4].bdf, 3, &status, &err), 0);
    assert_int_equal(status, expected);
    assert_string_equal(simulated_read("/words"), "--device\n0001:09:00.0\n--micnop\nstat\n3\n");
}

static void test_link_status(void **state)
{
    (void)state;
    check_link("echo 'Link Status: Up'", PPUDBG_LINK_UP);
    check_link("printf 'ModuleId: 4\n\tLink Status:  UP \r\nLane Status: Down\n'", PPUDBG_LINK_UP);
    check_link("printf 'Link Status: Down'", PPUDBG_LINK_DOWN);
    check_link("echo 'Link Status: Upset'", PPUDBG_LINK_DOWN);
    check_link("echo 'Link Status: Down'; echo 'Link Status: Up' >&2", PPUDBG_LINK_DOWN);
    check_link("yes 'Lane: up' | head -n 20000; echo 'Link Status: Up'", PPUDBG_LINK_UP);
}

static void test_link_status_that_is_not_said(void **state)
{
    (void)state;
    check_link("true", PPUDBG_LINK_UNKNOWN);
    check_link("echo 'Link Status:'", PPUDBG_LINK_UNKNOWN);
    check_link("echo 'No Link Status: Up'", PPUDBG_LINK_UNKNOWN);
    check_link("echo 'Link Status Up'", PPUDBG_LINK_UNKNOWN);
    check_link("echo 'Link Status: Up' >&2", PPUDBG_LINK_UNKNOWN);
    check_link("printf 'Link Status: Down\nLink Status: Up\n'", PPUDBG_LINK_UNKNOWN);
    check_link("printf 'Link Status: Up\nLink Status:\n'", PPUDBG_LINK_UNKNOWN);
}

static void check_no_link(const char *commands, enum status status, const char *how)
{
    char text[1024];
    enum ppudbg_link link = 77;
    struct error err;
    make_tool(commands);
    assert_int_equal(ppudbg_read_link(&settings, cards[4].bdf, 3, &link, &err), -1);
    snprintf(text, sizeof text, "ppudbg --device 0001:09:00.0 --micnop stat 3: %s %s", simulated_path("/opt/tool"),
             how);
    assert_string_equal(err.text, text);
    assert_int_equal(err.status, status);
    assert_int_equal(link, 77);
}

static void test_link_status_of_a_failing_tool(void **state)
{
    (void)state;
    check_no_link("echo 'Link Status: Up'; echo 'no such device' >&2; exit 3", STATUS_HARDWARE,
                  "ended with exit status 3: no such device");
    settings.ppudbg_timeout = 1;
    check_no_link("echo 'Link Status: Up'; sleep 60", STATUS_BUSY, "did not end in time and was killed");
}

/* Cuts all links of card FIRST at its near end, or of LAST too; opens them again if nobody has a card. */
static int write_masks(int first, int last, struct error *err)
{
    struct text_list warnings = {0};
    enum apply_outcome outcomes[2];
    struct plan plan = {.count = first == last ? 1 : 2};
    for (size_t i = 0; i < plan.count; i++) {
        int ppu = i == 0 ? first : last;
        plan.writes[i] = owners[ppu] != 0 ? (struct plan_write){.ppu = ppu, .role = ROLE_NEAR, .from = 0, .to = LINKS}
                                          : (struct plan_write){.ppu = ppu, .role = ROLE_FAR, .from = LINKS, .to = 0};
    }
    const struct writing writing = {
        .plan = &plan, .cards = cards, .owners = owners, .freed = freed, .ppu_count = CARDS};
    int result = registers.backend->write_plan(&registers, &writing, outcomes, &warnings, err);
    assert_int_equal(warnings.count, 0);
    assert_int_equal(outcomes[0], result == 0 ? APPLY_DONE : APPLY_FAILED);
    return result;
}

/* WORDS, then what follows them. */
static void check_words(const char *words, const char *list)
{
    char expected[4096];
    if (list) {
        snprintf(expected, sizeof expected, "%s%s\n%s\n", words, simulated_path(PATH_TOPOLOGY), list);
    } else {
        snprintf(expected, sizeof expected, "%sreset\n", words);
    }
    assert_string_equal(simulated_read("/words"), expected);
}

/* The tool's ids are its own: those of the topology say nothing to it. */
static void test_cards_are_named_by_address(void **state)
{
    struct error err;
    (void)state;
    owners[0] = owners[1] = 1;
    owners[7] = 2;
    make_tool("");
    assert_int_equal(write_masks(0, 7, &err), 0);
    check_words("--direct\n--micnop\niso\n", "12345:08:00.0,0000:7e:00.0|0001:ce:00.0");
}

static void test_other_words(void **state)
{
    static const char words[] = "--iso\n$(x)\n'a\nb'\n*\n";
    char expected[1024];
    struct error err;
    (void)state;
    snprintf(settings.ppudbg_isolate, sizeof settings.ppudbg_isolate, "--iso $(x) 'a b' *");
    make_tool("echo 'Link Status: Up'; echo no such option >&2; exit 2");
    owners[4] = 1;
    assert_int_equal(write_masks(4, 4, &err), -1);
    check_words(words, "0001:09:00.0");
    snprintf(expected, sizeof expected,
             "tool --iso $(x) 'a b' * %s \"0001:09:00.0\": %s ended with exit status 2: no such option",
             simulated_path(PATH_TOPOLOGY), simulated_path("/opt/tool"));
    assert_string_equal(err.text, expected);
    make_tool("");
    owners[4] = 0;
    assert_int_equal(write_masks(4, 4, &err), 0);
    check_words(words, NULL);
}

/* As many as the setting has room for. */
static void test_many_words(void **state)
{
    char words[WORDS_SIZE + 1] = "";
    struct error err;
    (void)state;
    for (size_t i = 0; i + 2 <= sizeof settings.ppudbg_isolate; i += 2) {
        memcpy(settings.ppudbg_isolate + i, "w ", 2);
        memcpy(words + i, "w\n", 3);
    }
    settings.ppudbg_isolate[sizeof settings.ppudbg_isolate - 1] = '\0';
    make_tool("");
    owners[7] = 1;
    assert_int_equal(write_masks(7, 7, &err), 0);
    check_words(words, "0001:ce:00.0");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_topology),
        TEST(test_link_status),
        TEST(test_link_status_that_is_not_said),
        TEST(test_link_status_of_a_failing_tool),
        TEST(test_cards_are_named_by_address),
        TEST(test_other_words),
        TEST(test_many_words),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
