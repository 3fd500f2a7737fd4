/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "cli/verbs.h"

#include "../engine/scene.h"
#include "capture.h"

static void assert_offered(const char *kind, const char *expected)
{
    const struct options options = {.argument = kind};
    capture_begin();
    assert_int_equal(verbs_call(verb_complete, &options), STATUS_OK);
    capture_end();
    assert_string_equal(captured_stderr(), "");
    assert_string_equal(captured_stdout(), expected);
}

static void assert_offers(const char *kind, const char *line, bool expected)
{
    const struct options options = {.argument = kind};
    capture_begin();
    assert_int_equal(verbs_call(verb_complete, &options), STATUS_OK);
    capture_end();
    if ((strstr(captured_stdout(), line) != NULL) != expected) {
        fail_msg("%s: %s \"%s\" in:\n%s", kind, expected ? "no" : "there is", line, captured_stdout());
    }
}

static void test_verbs(void **state)
{
    (void)state;
    assert_offers("verbs", "plan\t[FILE|-]\t", true);
    assert_offers("verbs", "\nreset\t-\tends all groups, and restores the links of all cards\n", true);
    assert_offers("verbs", "\nstatus\t[CARD|NAME...]\tevery card: owner, driver, mask, links\n", true);
    assert_offers("verbs", "complete", false);
}

static void test_options(void **state)
{
    (void)state;
    assert_offered("options:release", "--json\t-\tprint one JSON object\n"
                                      "--config\tFILE\tinstead of /etc/icn-hook/icn-hook.conf\n"
                                      "--color\tWHEN\tauto (the default; NO_COLOR counts), always, never\n"
                                      "--verbose\t-\treport what is done, on stderr\n"
                                      "-v\t-\treport what is done, on stderr\n"
                                      "--help\t-\thelp, of the verb if one is given\n"
                                      "-h\t-\thelp, of the verb if one is given\n"
                                      "--version\t-\tthe version\n"
                                      "--dry-run\t-\tmake no changes (without a verb: same as plan)\n"
                                      "-n\t-\tmake no changes (without a verb: same as plan)\n"
                                      "--if-exists\t-\texit status 0 if there is no such group\n");
    assert_offers("options:", "\n--vm_devices\tLIST\t", true);
    assert_offers("options:apply", "--vm_devices", false);
}

/* The vendor's spellings stand for a verb, whose options go with them. */
static void test_vendor_spellings(void **state)
{
    (void)state;
    assert_offers("options:--vm_devices", "\n--name\tNAME\t", true);
    assert_offers("options:--vm_devices", "\n--force", false);
    assert_offers("options:-r", "\n--force\t-\t", true);
    assert_offers("options:--reset", "\n--force\t-\t", true);
    assert_offers("options:-g", "\n--generate\t-\t", true);
    assert_offers("options:-g", "\n--reset", false);
    assert_offers("options:-v", "\n--reset", true);
}

static void test_cards_and_owners(void **state)
{
    (void)state;
    scene_running("a", VM_A, "01", 101);
    scene_running("web\t2", VM_B, "2", 102);
    assert_offers("cards", "0\t-\t0000:08:00.0, a\n0000:08:00.0\t-\tPPU 0, a\n1\t-\t", true);
    assert_offers("cards", "\n7\t-\t0001:ce:00.0, idle\n0001:ce:00.0\t-\tPPU 7, idle\n", true);
    assert_offered("names", "a\t-\tVM, 2 cards\n");
    assert_offered("groups", "");
}

static void test_absent_card(void **state)
{
    (void)state;
    simulated_text(CARDS_CONF, "[map]\n0 = 0000:08:00.0\n1 = 0000:7e:00.0\n2 = 0000:ff:00.0\n3 = 0000:c6:00.0\n"
                             "4 = 0001:09:00.0\n5 = 0001:7f:00.0\n6 = 0001:aa:00.0\n7 = 0000:a2:00.0\n");
    scene_unplug("7");
    assert_offers("cards", "0000:ff:00.0", false);
    assert_offers("cards", "\n3\t-\t0000:c6:00.0, idle\n", true);
}

static void test_nodes(void **state)
{
    (void)state;
    for (int ppu = 0; ppu < CARDS; ppu++) {
        char path[64];
        snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/numa_node", addresses[ppu]);
        simulated_text(path, ppu < 4 ? "1\n" : ppu < 6 ? "0\n" : "-1\n");
    }
    assert_offered("nodes", "1\t-\tNUMA node\n0\t-\tNUMA node\n");
}

static void test_nothing_to_look_at(void **state)
{
    static const char *const kinds[] = {"cards", "names", "groups", "nodes"};
    (void)state;
    simulated_text(TOPOLOGY, "broken");
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        assert_offered(kinds[i], "");
    }
    simulated_text(SETTINGS, "broken");
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        assert_offered(kinds[i], "");
    }
    assert_offered("frobnicate", "");
    assert_offered("options", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_verbs, scene_start),
        cmocka_unit_test_setup(test_options, scene_start),
        cmocka_unit_test_setup(test_vendor_spellings, scene_start),
        cmocka_unit_test_setup(test_cards_and_owners, scene_start),
        cmocka_unit_test_setup(test_absent_card, scene_start),
        cmocka_unit_test_setup(test_nodes, scene_start),
        cmocka_unit_test_setup(test_nothing_to_look_at, scene_start),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
