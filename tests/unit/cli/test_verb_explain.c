/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "cli/verbs.h"

#include "../engine/scene.h"
#include "capture.h"

static const uint32_t isolated[CARDS] = {0x19, 0x31, 0x18, 0x30, 0, 0, 0x1, 0x1};

static int explain(const char *subject, bool json)
{
    const struct options options = {.argument = subject, .json = json};
    capture_begin();
    int status = verbs_call(verb_explain, &options);
    capture_end();
    return status;
}

static int start(void **state)
{
    scene_start(state);
    scene_running("a-b", VM_A, "01", 101);
    set_masks(isolated);
    return 0;
}

/* The lines of SUBJECT, each up to its colon. */
static void assert_links(const char *subject, const char *expected)
{
    char found[4096] = "";
    assert_int_equal(explain(subject, false), STATUS_OK);
    for (const char *line = captured_stdout(); *line; line = strchr(line, '\n') + 1) {
        int ppu, link, peer;
        assert_int_equal(sscanf(line, "PPU %d (%*[^)]) link %d -> PPU %d (", &ppu, &link, &peer), 3);
        snprintf(found + strlen(found), sizeof found - strlen(found), "%d/%d-%d ", ppu, link, peer);
    }
    assert_string_equal(found, expected);
}

static void test_subjects(void **state)
{
    (void)state;
    assert_links("0", "0/0-6 0/3-2 0/4-3 0/5-1 ");
    assert_links("0000:7e:00.0", "1/0-7 1/3-0 1/4-2 1/5-3 ");
    assert_links("7e:00.0", "1/0-7 1/3-0 1/4-2 1/5-3 ");
    assert_links("a-b", "0/0-6 0/3-2 0/4-3 0/5-1 1/0-7 1/4-2 1/5-3 ");
    assert_links(VM_A, "0/0-6 0/3-2 0/4-3 0/5-1 1/0-7 1/4-2 1/5-3 ");
    assert_links("0-6", "0/0-6 ");
    assert_links("6-0", "6/0-0 ");
    assert_links("0000:08:00.0-0000:7e:00.0", "0/5-1 ");
}

static void test_text(void **state)
{
    (void)state;
    assert_int_equal(explain("0-6", false), STATUS_OK);
    assert_string_equal(captured_stdout(), "PPU 0 (0000:08:00.0) link 0 -> PPU 6 (0001:aa:00.0): CUT at both ends, "
                                           "because PPU 0 belongs to VM 'a-b' (since when is not known) and PPU 6 is "
                                           "idle\n");
    assert_int_equal(explain("0-4", false), STATUS_OK);
    assert_string_equal(captured_stdout(), "The topology has no link between these cards.\n");
}

static void test_lone_card(void **state)
{
    (void)state;
    simulated_text(TOPOLOGY, "==========device0==========\nppuid: 0\n");
    simulated_text(CARDS_CONF, "[map]\n0 = 0001:09:00.0\n");
    assert_int_equal(explain("0", false), STATUS_OK);
    assert_string_equal(captured_stdout(), "The topology has no link of this card.\n");
}

static void test_doubt(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "b", .uuid = VM_B, .phase = CLAIM_RUNNING, .ppus = "2"});
    simulated_text(CLAIM_OF(VM_B), "broken");
    assert_int_equal(explain("0-6", false), STATUS_OK);
    assert_non_null(strstr(captured_stdout(), "\nNot every owner is known: "));
    assert_int_equal(explain("0-6", true), STATUS_OK);
    assert_non_null(strstr(captured_stdout(), "\"doubt\": \""));
}

static void test_json(void **state)
{
    (void)state;
    assert_int_equal(explain("0-6", true), STATUS_OK);
    assert_captured_json("", "{\"schema\":\"icn-hook/explain/1\",\"subject\":\"0-6\",\"links\":[{\"ppu\":0,\"link\":0,"
                             "\"peer\":6,\"near\":\"cut\",\"far\":\"cut\",\"live\":false,\"allowed\":false,"
                             "\"rule\":\"different_owners\",\"since\":null,\"evidence\":\"proven\",\"evidence_since\":"
                             "null,\"text\":\"PPU 0 (0000:08:00.0) link 0 -> "
                             "PPU 6 (0001:aa:00.0): CUT at both ends, because PPU 0 belongs to VM 'a-b' (since when is "
                             "not known) and PPU 6 is idle\"}],\"doubt\":null}");
    simulated_remove("/sys/bus/pci/devices/0001:09:00.0/resource0");
    assert_int_equal(explain("4-6", true), STATUS_OK);
    assert_captured_json("/links/0/near", "\"unknown\"");
    assert_captured_json("/links/0/live", "null");
    assert_captured_json("/links/0/rule", "\"idle\"");
    scene_claim(
        &(struct scene_claim){.name = "c", .uuid = VM_C, .phase = CLAIM_STARTING, .daemon = DAEMON_HERE, .ppus = "4"});
    assert_int_equal(explain("4-6", true), STATUS_OK);
    assert_captured_json("/links/0/since", "4711");
}

static void test_unknown(void **state)
{
    static const char *const subjects[] = {
        "8",
        "b",
        "",
        "0-",
        "-6",
        "0-0",
        "0-8",
        "0-1-2",
        "0000:09:00.0",
        "0x9",
        "0000:08:00.0-0009:00:00.0",
        "this is far too long to be the address of a card",
    };

    (void)state;
    for (size_t i = 0; i < sizeof subjects / sizeof subjects[0]; i++) {
        char expected[1024];
        assert_int_equal(explain(subjects[i], false), STATUS_INVALID);
        assert_string_equal(captured_stdout(), "");
        snprintf(expected, sizeof expected,
                 "icn-hook: '%s' is not a card, VM, group or pair of cards (A-B); there are the "
                 "PPUs 0 to 7, by id or address, and the owners a-b\n",
                 subjects[i]);
        assert_string_equal(captured_stderr(), expected);
    }
    scene_start(state);
    assert_int_equal(explain("x\ny", true), STATUS_INVALID);
    assert_string_equal(captured_stderr(), "icn-hook: 'x\\x0ay' is not a card, VM, group or pair of cards (A-B); there "
                                           "are the PPUs 0 to 7, by id or address, and no "
                                           "owners\n");
    simulated_text(SETTINGS, "broken");
    assert_int_equal(explain("0", true), STATUS_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_subjects, start),
        cmocka_unit_test_setup(test_text, start),
        cmocka_unit_test_setup(test_lone_card, scene_start),
        cmocka_unit_test_setup(test_doubt, start),
        cmocka_unit_test_setup(test_json, start),
        cmocka_unit_test_setup(test_unknown, start),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
