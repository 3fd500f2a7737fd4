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

static const uint32_t nothing_cut[CARDS] = {0};
static const uint32_t alone[CARDS] = {0x19, 0x31, 0x18, 0x30, 0, 0, 0x1, 0x1};

static int run(verb_function *verb, const struct options *options)
{
    capture_begin();
    int status = verbs_call(verb, options);
    capture_end();
    return status;
}

static void assert_run(verb_function *verb, const struct options *options, const char *expected)
{
    assert_int_equal(run(verb, options), STATUS_OK);
    assert_string_equal(captured_stdout(), expected);
    assert_string_equal(captured_stderr(), "");
}

static const struct options apply_red = {.argument = "0,1", .names = {"red"}, .name_count = 1};

static void test_text(void **state)
{
    (void)state;
    assert_run(verb_apply, &apply_red, "group 'red' is isolated: PPU 0 (0000:08:00.0), PPU 1 (0000:7e:00.0)\n");
    assert_masks(alone);
    assert_run(verb_check, &(struct options){.argument = "0,1"},
               "group 0,1: isolated\nOK: every group is isolated, and no link inside a group is read as cut\n");
    assert_run(verb_apply, &(struct options){.argument = "0,1", .dry_run = true},
               "group 'red' would be isolated: PPU 0 (0000:08:00.0), PPU 1 (0000:7e:00.0)\n"
               "Register writes, in this order (bit set = link cut):\n  none: every link is as it must be\n");
    assert_run(verb_reset, &(struct options){.dry_run = true},
               "group 'red' would be ended: PPU 0 (0000:08:00.0), PPU 1 (0000:7e:00.0)\n"
               "Register writes, in this order (bit set = link cut):\n"
               "  PPU 0 (0000:08:00.0)     0x00000019 -> 0x00000000\n"
               "  PPU 1 (0000:7e:00.0)     0x00000031 -> 0x00000000\n"
               "  PPU 2 (0000:a2:00.0)     0x00000018 -> 0x00000000\n"
               "  PPU 3 (0000:c6:00.0)     0x00000030 -> 0x00000000\n"
               "  PPU 6 (0001:aa:00.0)     0x00000001 -> 0x00000000\n"
               "  PPU 7 (0001:ce:00.0)     0x00000001 -> 0x00000000\n");
    assert_masks(alone);
    assert_run(verb_release, &(struct options){.argument = "red"},
               "group 'red' is released: PPU 0 (0000:08:00.0), PPU 1 (0000:7e:00.0)\n");
    assert_masks(nothing_cut);
    assert_run(verb_reset, &(struct options){0}, "All cards have their links back.\n");
}

static void test_json(void **state)
{
    (void)state;
    struct options options = apply_red;
    options.json = true;
    assert_int_equal(run(verb_apply, &options), STATUS_OK);
    assert_captured_json("/schema", "\"icn-hook/apply/1\"");
    assert_captured_json("/dry_run", "false");
    assert_captured_json("/groups/0/ppus",
                         "[{\"ppu\":0,\"bdf\":\"0000:08:00.0\"},{\"ppu\":1,\"bdf\":\"0000:7e:00.0\"}]");
    assert_captured_json("/writes/0",
                         "{\"ppu\":0,\"bdf\":\"0000:08:00.0\",\"from\":\"0x00000000\",\"to\":\"0x00000019\"}");
    assert_captured_json("/error", "null");
    assert_int_equal(run(verb_check, &(struct options){.argument = "2|0,1", .json = true}), STATUS_CHECK_FAILED);
    assert_captured_json("/groups", "[{\"cards\":[2],\"ok\":false,\"verdict\":\"not "
                                    "isolated\"},{\"cards\":[0,1],\"ok\":true,\"verdict\":\"isolated\"}]");
    assert_captured_json("/drift", "[{\"ppu\":2,\"mask\":\"0x00000018\",\"required\":\"0x00000039\"}]");
    assert_int_equal(run(verb_reset, &(struct options){.json = true}), STATUS_OK);
    assert_captured_json("/ended", "[\"red\"]");
    assert_captured_json("/exposed", "[]");
    assert_int_equal(run(verb_release, &(struct options){.argument = "red", .json = true}), STATUS_INVALID);
    assert_captured_json("", "{\"schema\":\"icn-hook/error/1\",\"status\":3,\"code\":\"invalid\","
                             "\"text\":\"there is no group 'red'; nothing is isolated by hand\","
                             "\"writes\":[],\"warnings\":[]}");
}

static void test_exposed(void **state)
{
    (void)state;
    scene_running("a", VM_A, "01", 101);
    set_masks(alone);
    assert_int_equal(run(verb_reset, &(struct options){0}), STATUS_CONFLICT);
    assert_string_equal(captured_stdout(), "");
    assert_string_equal(captured_stderr(), "icn-hook: cards are in use, and their users would be exposed: a (PPU 0, "
                                           "1); stop these first, or use --force\n");
    assert_masks(alone);
    assert_int_equal(run(verb_reset, &(struct options){.json = true}), STATUS_CONFLICT);
    assert_captured_json("/code", "\"conflict\"");
    assert_captured_json("/exposed", "[{\"name\":\"a\",\"uuid\":\"" VM_A "\",\"ppus\":[0,1]}]");
    assert_int_equal(run(verb_reset, &(struct options){.force = true, .json = true}), STATUS_OK);
    assert_string_equal(captured_stderr(), "icn-hook: exposed: 'a' (PPU 0, 1)\n");
    assert_captured_json("/exposed", "[{\"name\":\"a\",\"uuid\":\"" VM_A "\",\"ppus\":[0,1]}]");
    assert_masks(nothing_cut);
}

static void test_failures(void **state)
{
    (void)state;
    assert_int_equal(run(verb_check, &(struct options){.argument = "0,"}), STATUS_USAGE);
    assert_string_equal(captured_stderr(), "icn-hook: LIST, column 3: a card is missing\n");
    simulated_text(SETTINGS, "broken");
    assert_int_equal(run(verb_check, &(struct options){.argument = "0"}), STATUS_INVALID);
    assert_int_equal(run(verb_apply, &(struct options){.argument = "0", .json = true}), STATUS_INVALID);
    assert_captured_json("/schema", "\"icn-hook/error/1\"");
    assert_int_equal(run(verb_release, &(struct options){.argument = "red"}), STATUS_INVALID);
    assert_int_equal(run(verb_reset, &(struct options){0}), STATUS_INVALID);
    assert_string_equal(captured_stdout(), "");
    assert_memory_equal(captured_stderr(), "icn-hook: ", 10);
}

static void test_reserved_names(void **state)
{
    static const char *const names[] = {"idle", "unknown", "external", "begin", "end",         "0",
                                        "007",  "-x",      "-",        "--",    "0000:08:00.0"};
    char line[256];

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const struct options options = {.argument = "0", .names = {names[i]}, .name_count = 1};
        assert_int_equal(run(verb_apply, &options), STATUS_USAGE);
        assert_string_equal(captured_stdout(), "");
        snprintf(line, sizeof line,
                 "icn-hook: --name '%s': the name of a group is not a number, an address, a word that begins with -, "
                 "or one of idle, unknown, external, begin and end\n",
                 names[i]);
        assert_string_equal(captured_stderr(), line);
        assert_masks(nothing_cut);
    }
    assert_int_equal(run(verb_apply, &(struct options){.argument = "0", .names = {"idle-1"}, .name_count = 1}),
                     STATUS_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_text, scene_start),     cmocka_unit_test_setup(test_json, scene_start),
        cmocka_unit_test_setup(test_exposed, scene_start),  cmocka_unit_test_setup(test_reserved_names, scene_start),
        cmocka_unit_test_setup(test_failures, scene_start),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
