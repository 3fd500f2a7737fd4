/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The main file and its drop-ins. */
#include "host/settings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "simulated_host.h"

#define CONF "/etc/icn-hook/icn-hook.conf"
#define DROP_IN(name) CONF ".d/" name

static struct settings settings;
static struct error err;

static void load(void)
{
    settings_free(&settings);
    if (settings_load(simulated_path(CONF), &settings, &err) < 0) {
        fail_msg("%s", err.text);
    }
}

/* TEXT is what follows the simulated host's root. */
static void assert_refused(const char *text)
{
    struct settings untouched = {.map_count = 4711};
    assert_int_equal(settings_load(simulated_path(CONF), &untouched, &err), -1);
    assert_int_equal(untouched.map_count, 4711);
    const char *root = getenv("ICN_SYSROOT");
    assert_int_equal(strncmp(err.text, root, strlen(root)), 0);
    assert_string_equal(err.text + strlen(root), text);
}

static int clear(void **state)
{
    settings_free(&settings);
    settings_default(&settings);
    return simulated_host_clear(state);
}

static void test_later_key_wins(void **unused)
{
    (void)unused;
    simulated_text(CONF, "[policy]\nidle = isolate\nlock_timeout = 1\n[registers]\nbar = 1\n");
    simulated_text(DROP_IN("90-b.conf"), "[policy]\nlock_timeout = 3\n");
    simulated_text(DROP_IN("10-a.conf"), "[policy]\nlock_timeout = 2\n[registers]\nbar = 2\n");
    load();
    assert_int_equal(settings.lock_timeout, 3);
    assert_int_equal(settings.bar, 2);
    assert_int_equal(settings.idle, IDLE_ISOLATE);
}

static void test_drop_in_alone(void **unused)
{
    (void)unused;
    simulated_text(DROP_IN("50-cards.conf"), "[map]\n0 = 0000:08:00.0\n");
    load();
    assert_int_equal(settings.map_count, 1);
    assert_int_equal(settings.lock_timeout, 30);
}

static void test_other_files_are_not_read(void **unused)
{
    (void)unused;
    simulated_text(DROP_IN("50-cards.conf.rpmsave"), "junk\n");
    simulated_text(DROP_IN(".hidden.conf"), "junk\n");
    simulated_text(DROP_IN("README"), "junk\n");
    simulated_text(DROP_IN(".conf"), "junk\n");
    load();
    assert_int_equal(settings.map_count, 0);
}

static void test_maps_add_up(void **unused)
{
    (void)unused;
    simulated_text(CONF, "[map]\n0 = 0000:08:00.0\n1 = 0000:7e:00.0 path=pci0000:00/01.0/00.0\n[links]\n0.1 = 1.2\n");
    simulated_text(DROP_IN("a.conf"), "[map]\n2 = 0000:a2:00.0\n1 = 0000:7e:00.0 serial=00-00-00-00-00-00-00-01\n"
                                      "[links]\n1.2 = 0.1\n0.2 = 1.3\n");
    load();
    assert_int_equal(settings.map_count, 3);
    assert_int_equal(settings.map[2].ppu, 2);
    assert_string_equal(settings.map[1].path, "pci0000:00/01.0/00.0");
    assert_string_equal(settings.map[1].serial, "00-00-00-00-00-00-00-01");
    assert_int_equal(settings.join_count, 2);
}

static void test_maps_contradict(void **unused)
{
    static const struct {
        const char *text;
        const char *problem;
    } cases[] = {
        {"[map]\n0 = 0000:7e:00.0\n", "PPU 0 is already mapped in "},
        {"[map]\n0 = 0000:08:00.0 path=pci0000:00/02.0\n", "PPU 0 is already mapped in "},
        {"[map]\n0 = 0000:08:00.0 serial=00-00-00-00-00-00-00-02\n", "PPU 0 is already mapped in "},
        {"[map]\n5 = 0000:08:00.0\n", "0000:08:00.0 is already mapped to PPU 0 in "},
        {"[links]\n0.1 = 2.0\n", "link 1 of PPU 0 is already joined in "},
        {"[links]\n3.0 = 1.2\n", "link 2 of PPU 1 is already joined in "},
    };
    (void)unused;
    simulated_text(CONF, "[links]\n0.1 = 1.2\n[map]\n0 = 0000:08:00.0 path=pci0000:00/01.0 "
                         "serial=00-00-00-00-00-00-00-01\n");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char expected[1024];
        bool is_map = cases[i].text[1] == 'm';
        simulated_text(DROP_IN("a.conf"), cases[i].text);
        snprintf(expected, sizeof expected, "%s:2: %s%s:%d", DROP_IN("a.conf"), cases[i].problem, simulated_path(CONF),
                 is_map ? 4 : 2);
        assert_refused(expected);
    }
}

static void test_same_key_twice_in_a_drop_in(void **unused)
{
    (void)unused;
    simulated_text(CONF, "[policy]\nlock_timeout = 1\n");
    simulated_text(DROP_IN("a.conf"), "[policy]\nlock_timeout = 2\nlock_timeout = 2\n");
    assert_refused(DROP_IN("a.conf") ":3: \"lock_timeout\" is already set in line 2");
}

/* The line that made it wrong is named: the later one. */
static void test_offset_over_two_files(void **unused)
{
    static const char text[] =
        "link_config 0xbe382 at a stride of 1 is byte offset 0xbe382, which is not a multiple of 4";
    char expected[256];
    (void)unused;
    simulated_text(CONF, "\n\n[registers]\nlink_config = 0xbe382\n");
    simulated_text(DROP_IN("a.conf"), "[registers]\nstride = 1\n");
    simulated_text(DROP_IN("b.conf"), "\n");
    snprintf(expected, sizeof expected, DROP_IN("a.conf") ":2: %s", text);
    assert_refused(expected);
    simulated_text(CONF, "\n\n[registers]\nstride = 1\n");
    simulated_text(DROP_IN("a.conf"), "[registers]\nlink_config = 0xbe382\n");
    assert_refused(expected);
}

static void test_unreadable_drop_in(void **unused)
{
    char match[MATCH_SIZE] = "untouched";
    (void)unused;
    simulated_directory(DROP_IN("a.conf"));
    assert_refused(DROP_IN("a.conf") " is not a regular file");
    assert_false(settings_salvage_match(simulated_path(CONF), match));
    assert_string_equal(match, "untouched");
}

static void test_too_many_drop_ins(void **unused)
{
    char name[64];
    char match[MATCH_SIZE];
    (void)unused;
    for (int i = 0; i < DROP_IN_MAX; i++) {
        snprintf(name, sizeof name, DROP_IN("%03d.conf"), i);
        simulated_text(name, "");
    }
    load();
    simulated_text(DROP_IN("z.conf"), "");
    assert_refused(CONF ".d has 257 files *.conf, more than 256");
    assert_false(settings_salvage_match(simulated_path(CONF), match));
}

/* Each file for itself, and the last that says something of it counts. */
static void test_salvage_over_files(void **unused)
{
    static const struct {
        const char *main;
        const char *drop_in;
        const char *match; /* NULL: nobody can tell */
    } cases[] = {
        {"[ppu]\nmatch = :7\n", "[policy]\nidle = nonsense\n", ":7"},
        {"[policy]\nidle = nonsense\n", "[ppu]\nmatch = :8\n", ":8"},
        {"[ppu]\nmatch = :7\n", "[ppu]\nmatch = :8\n[policy]\nidle = nonsense\n", ":8"},
        {"[ppu]\nmatch = :7\n", "[ppu]\nmacth = :8\n", NULL},
        {"[ppu]\nmatch = 7\n", "[ppu]\nmatch = :8\n", NULL},
        {"[ppu]\nmatch = :7\n", "[ppu]\nmatch = 8\n", NULL},
    };
    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char match[MATCH_SIZE] = "untouched";
        simulated_text(CONF, cases[i].main);
        simulated_text(DROP_IN("a.conf"), cases[i].drop_in);
        assert_int_equal(settings_salvage_match(simulated_path(CONF), match), cases[i].match != NULL);
        assert_string_equal(match, cases[i].match ? cases[i].match : "untouched");
    }
}

/* Loads as if the drop-in NAME held TEXT, and returns the lock's time-out, or -1 with ERR. */
static int lock_timeout_with(const char *name, const char *text)
{
    struct settings found;
    if (settings_load_with(simulated_path(CONF), name, text, &found, &err) < 0) {
        return -1;
    }
    int seconds = found.lock_timeout;
    settings_free(&found);
    return seconds;
}

static void test_assumed_drop_in(void **unused)
{
    (void)unused;
    /* No directory yet; the assumed one counts at its place among the others. */
    assert_int_equal(lock_timeout_with("50-cards.conf", "[policy]\nlock_timeout = 5\n"), 5);
    assert_int_equal(lock_timeout_with("50-cards.conf", NULL), 30);
    simulated_text(DROP_IN("10-a.conf"), "[policy]\nlock_timeout = 1\n");
    assert_int_equal(lock_timeout_with("50-cards.conf", "[policy]\nlock_timeout = 5\n"), 5);
    assert_int_equal(lock_timeout_with("05-cards.conf", "[policy]\nlock_timeout = 5\n"), 1);
    simulated_text(DROP_IN("50-cards.conf"), "broken\n");
    assert_int_equal(lock_timeout_with("50-cards.conf", "[policy]\nlock_timeout = 5\n"), 5);
    assert_int_equal(lock_timeout_with("50-cards.conf", NULL), 1);
    simulated_text(DROP_IN("90-b.conf"), "[policy]\nlock_timeout = 9\n");
    assert_int_equal(lock_timeout_with("50-cards.conf", "[policy]\nlock_timeout = 5\n"), 9);
    assert_int_equal(lock_timeout_with("50-cards.conf", "[policy]\nlock_timeout = x\n"), -1);
    assert_non_null(strstr(err.text, "/icn-hook.conf.d/50-cards.conf:2: lock_timeout is \"x\""));
}

static const char *map_refused(const char *text)
{
    struct settings_map_file file = {.count = 4711};
    simulated_text("/root/ids", text);
    assert_int_equal(settings_load_map(simulated_path("/root/ids"), &file, &err), -1);
    assert_int_equal(file.count, 4711);
    assert_int_equal(err.status, STATUS_INVALID);
    return strstr(err.text, "/root/ids");
}

static void test_map_file(void **unused)
{
    struct settings_map_file file;
    (void)unused;
    simulated_text("/root/ids", "# ours\n[map]\n1 = 0001:C9:00.0\n\n0 = 08:00.0 path=pci0000:00/01.0/00.0");
    assert_int_equal(settings_load_map(simulated_path("/root/ids"), &file, &err), 0);
    assert_int_equal(file.count, 2);
    assert_int_equal(file.map[0].ppu, 1);
    assert_int_equal(file.map[0].bdf.bus, 0xc9);
    assert_int_equal(file.lines[0], 3);
    assert_int_equal(file.map[1].ppu, 0);
    assert_string_equal(file.map[1].path, "pci0000:00/01.0/00.0");
    assert_int_equal(file.lines[1], 5);
    assert_int_equal(file.last_line, 5);
    settings_map_file_free(&file);
    assert_int_equal(file.count, 0);
    assert_string_equal(map_refused(""), "/root/ids:1: there is no line \"id = BDF\" in it");
    assert_string_equal(map_refused("[map]\n#\n"), "/root/ids:2: there is no line \"id = BDF\" in it");
    assert_string_equal(map_refused("0 = 08:00.0\n0 = 09:00.0\n"), "/root/ids:2: PPU 0 is already mapped in line 1");
    assert_string_equal(map_refused("[ppu]\n"),
                        "/root/ids:1: [ppu] is not a part of a map, which has lines \"id = BDF\" only");
    assert_string_equal(map_refused("[map]\nx\n"),
                        "/root/ids:2: a line must be \"key = value\", [section] or a comment");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_later_key_wins, clear),
        cmocka_unit_test_setup(test_drop_in_alone, clear),
        cmocka_unit_test_setup(test_other_files_are_not_read, clear),
        cmocka_unit_test_setup(test_maps_add_up, clear),
        cmocka_unit_test_setup(test_maps_contradict, clear),
        cmocka_unit_test_setup(test_same_key_twice_in_a_drop_in, clear),
        cmocka_unit_test_setup(test_offset_over_two_files, clear),
        cmocka_unit_test_setup(test_unreadable_drop_in, clear),
        cmocka_unit_test_setup(test_too_many_drop_ins, clear),
        cmocka_unit_test_setup(test_salvage_over_files, clear),
        cmocka_unit_test_setup(test_assumed_drop_in, clear),
        cmocka_unit_test_setup(test_map_file, clear),
    };
    int failed = cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
    settings_free(&settings);
    return failed;
}
