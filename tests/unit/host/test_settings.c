/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/settings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fixtures.h"
#include "simulated_host.h"

#define CONF "/etc/icn-hook/icn-hook.conf"

static int parse_fixture(const char *text, size_t length, const char *name, struct error *err)
{
    struct settings parsed;
    int result = settings_parse(text, length, name, &parsed, err);
    if (result == 0) {
        settings_free(&parsed);
    }
    return result;
}

static void test_fixtures(void **unused)
{
    (void)unused;
    fixtures_check("settings", ".conf", 9, parse_fixture);
}

static struct settings load_fixture(const char *name)
{
    char path[1024];
    struct settings settings;
    struct error err = {0};

    memset(&settings, 0xaa, sizeof settings);
    snprintf(path, sizeof path, TESTS_DIR "/fixtures/settings/%s", name);
    if (settings_load(path, &settings, &err) < 0) {
        fail_msg("%s", err.text);
    }
    return settings;
}

static void assert_defaults(const struct settings *settings)
{
    assert_string_equal(settings->match, ":6001");
    assert_string_equal(settings->topology, "/etc/icn-hook/icn_topo.cfg");
    assert_int_equal(settings->backend, BACKEND_MMIO);
    assert_int_equal(settings->bar, 0);
    assert_int_equal(settings->link_config, 0xbe382);
    assert_int_equal(settings->link_status, 0xbe383);
    assert_int_equal(settings->stride, 4);
    assert_int_equal(settings->cut_bit, 1);
    assert_string_equal(settings->ppudbg_path, "/usr/bin/ppudbg");
    assert_int_equal(settings->ppudbg_timeout, 30);
    assert_int_equal(settings->idle, IDLE_RESTORE);
    assert_int_equal(settings->far_end, FAR_END_CUT);
    assert_int_equal(settings->on_leak, LEAK_ALERT);
    assert_int_equal(settings->lock_timeout, 30);
    assert_int_equal(settings->start_timeout, 3600);
    assert_int_equal(settings->links, LINKS_OF_TOPOLOGY);
    assert_string_equal(settings->ppudbg_isolate, "--direct --micnop iso");
    assert_string_equal(settings->ppu_smi_path, "/usr/bin/ppu-smi");
    assert_int_equal(settings->ppu_smi_timeout, 30);
    assert_int_equal(settings->external, EXTERNAL_CUT);
    assert_int_equal(settings->require_confirmed, 0);
    assert_int_equal(settings->join_count, 0);
}

static void test_defaults(void **unused)
{
    struct settings settings;

    (void)unused;
    memset(&settings, 0xaa, sizeof settings);
    settings_default(&settings);
    assert_defaults(&settings);
    assert_int_equal(settings.map_count, 0);
    settings = load_fixture("empty.conf");
    assert_defaults(&settings);
    assert_int_equal(settings.map_count, 0);
}

/* The sample names every default, in each of its spellings. */
static void test_sample(void **unused)
{
    static const char *const names[] = {"sample.conf", "crlf.conf", "byte_order_mark.conf"};

    (void)unused;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct settings settings = load_fixture(names[i]);
        assert_defaults(&settings);
        assert_int_equal(settings.map_count, 1);
        assert_int_equal(settings.map[0].ppu, 0);
        assert_int_equal(bdf_compare(settings.map[0].bdf, (struct bdf){.bus = 8}), 0);
        assert_string_equal(settings.map[0].path, "pci0000:00/01.0/00.0");
        assert_string_equal(settings.map[0].serial, "00-00-00-00-00-00-00-01");
        settings_free(&settings);
    }
}

static void test_every_other_value(void **unused)
{
    struct settings settings = load_fixture("every_other_value.conf");

    (void)unused;
    assert_string_equal(settings.match, "1ae0:6001:12xx:0a");
    assert_string_equal(settings.topology, "/srv/a b#c;d=e:f.cfg");
    assert_int_equal(settings.map_count, 2);
    assert_int_equal(settings.map[0].ppu, 1023);
    struct bdf high = {.domain = 0x10000, .bus = 0xff, .slot = 0x1f, .function = 7};
    assert_int_equal(bdf_compare(settings.map[0].bdf, high), 0);
    assert_string_equal(settings.map[0].path, "");
    assert_string_equal(settings.map[0].serial, "");
    assert_int_equal(settings.map[1].ppu, 0);
    assert_string_equal(settings.map[1].path, "pci0000:c0/01.0/1f.7/00.0");
    assert_string_equal(settings.map[1].serial, "0a-1b-2c-3d-4e-5f-60-71");
    assert_int_equal(settings.join_count, 2);
    assert_memory_equal(&settings.joins[0], &((struct settings_join){3, 31, 0, 0}), sizeof settings.joins[0]);
    assert_memory_equal(&settings.joins[1], &((struct settings_join){2, 1, 3, 1}), sizeof settings.joins[1]);
    assert_int_equal(settings.links, 0xffffffff);
    assert_string_equal(settings.ppudbg_isolate, "--iso -x");
    assert_string_equal(settings.ppu_smi_path, "/opt/ppu-smi");
    assert_int_equal(settings.ppu_smi_timeout, 1);
    assert_int_equal(settings.external, EXTERNAL_LEAVE);
    assert_int_equal(settings.require_confirmed, 1);
    assert_int_equal(settings.backend, BACKEND_PPUDBG);
    assert_int_equal(settings.bar, 5);
    assert_int_equal(settings.link_config, 0xfffffffe);
    assert_int_equal(settings.link_status, 12);
    assert_int_equal(settings.stride, 4096);
    assert_int_equal(settings.cut_bit, 0);
    assert_string_equal(settings.ppudbg_path, "/opt/ppudbg");
    assert_int_equal(settings.ppudbg_timeout, 3600);
    assert_int_equal(settings.idle, IDLE_ISOLATE);
    assert_int_equal(settings.far_end, FAR_END_LEAVE);
    assert_int_equal(settings.on_leak, LEAK_KILL);
    assert_int_equal(settings.lock_timeout, 0);
    assert_int_equal(settings.start_timeout, 86400);
    settings_free(&settings);
}

static void test_comments_are_no_part_of_values(void **unused)
{
    struct settings settings = load_fixture("long_comment.conf");

    (void)unused;
    assert_int_equal(settings.idle, IDLE_ISOLATE);
    settings = load_fixture("section_twice.conf");
    assert_string_equal(settings.match, ":1");
    assert_string_equal(settings.topology, "/a");
    settings = load_fixture("longest_line.conf");
    assert_int_equal(strlen(settings.topology), 198 - strlen("topology = "));
}

/* As many filters as there are forms; refused ones are fixtures. */
static void test_filters(void **unused)
{
    static const char *const filters[] = {":6001",      "*:6001", "1ae0:", ":",     "*:*",     "1:2",
                                          ":6001:1200", "::12",   ":::",   ":::0f", "*:*:*:*", "FFFF:ffff:XxXx:fF"};

    (void)unused;
    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++) {
        char text[128];
        struct settings settings;
        struct error err;
        int length = snprintf(text, sizeof text, "[ppu]\nmatch = %s", filters[i]);
        assert_int_equal(settings_parse(text, (size_t)length, "conf", &settings, &err), 0);
        assert_string_equal(settings.match, filters[i]);
    }
}

static void test_all_ids_pinned(void **unused)
{
    static char text[PPU_MAX * 32];
    static struct settings settings;
    struct error err;
    size_t length = (size_t)snprintf(text, sizeof text, "[map]\n");

    (void)unused;
    for (int ppu = 0; ppu < PPU_MAX; ppu++) {
        length += (size_t)snprintf(text + length, sizeof text - length, "%d = 0001:%02x:%02x.%d\n", ppu, ppu >> 8,
                                   (ppu >> 3) & 31, ppu & 7);
    }
    assert_int_equal(settings_parse(text, length, "conf", &settings, &err), 0);
    assert_int_equal(settings.map_count, PPU_MAX);
    assert_int_equal(settings.map[1023].ppu, 1023);
    assert_int_equal(settings.map[1023].bdf.bus, 3);
    settings_free(&settings);
}

static void test_failure_leaves_settings_alone(void **unused)
{
    static const char text[] = "[policy]\nlock_timeout = 5\nidle = no\n";
    struct settings settings;
    struct error err;

    (void)unused;
    settings_default(&settings);
    assert_int_equal(settings_parse(text, strlen(text), "conf", &settings, &err), -1);
    assert_defaults(&settings);
}

static void test_missing_file_means_defaults(void **unused)
{
    struct settings settings;
    struct error err;

    (void)unused;
    memset(&settings, 0xaa, sizeof settings);
    assert_int_equal(settings_load(simulated_path(CONF), &settings, &err), 0);
    assert_defaults(&settings);
}

static void test_unreadable_file(void **unused)
{
    struct settings settings;
    struct error err;
    char match[MATCH_SIZE] = "untouched";

    (void)unused;
    simulated_directory(CONF);
    assert_int_equal(settings_load(simulated_path(CONF), &settings, &err), -1);
    assert_int_equal(err.status, STATUS_INVALID);
    assert_non_null(strstr(err.text, CONF " is not a regular file"));
    assert_false(settings_salvage_match(simulated_path(CONF), match));
    assert_string_equal(match, "untouched");
}

static void test_file_too_large(void **unused)
{
    static char text[(1 << 20) + 1];
    struct settings settings;
    struct error err;
    char match[MATCH_SIZE];

    (void)unused;
    memset(text, '\n', sizeof text);
    simulated_file(CONF, text, sizeof text);
    assert_int_equal(settings_load(simulated_path(CONF), &settings, &err), -1);
    assert_int_equal(err.status, STATUS_INVALID);
    assert_false(settings_salvage_match(simulated_path(CONF), match));
}

static void test_load_names_path_and_line(void **unused)
{
    struct settings settings;
    struct error err;
    char expected[1024];

    (void)unused;
    simulated_text(CONF, "[policy]\nidle = none\n");
    assert_int_equal(settings_load(simulated_path(CONF), &settings, &err), -1);
    snprintf(expected, sizeof expected, "%s:2: idle is \"none\", but must be restore or isolate", simulated_path(CONF));
    assert_string_equal(err.text, expected);
}

/* What broken files still tell; NULL = nobody can tell. */
static void test_salvage(void **unused)
{
    static const struct {
        const char *text;
        const char *match;
    } cases[] = {
        {"", ":6001"},
        {"[policy]\nidle = nonsense\n", ":6001"},
        {"[policy]\nunknown = 1\n", ":6001"},
        {"[unknown]\nx = 1\n", ":6001"},
        {"[ppu]\ntopology = relative\n", ":6001"},
        {"[ppu]\ntopology = /a\ntopology = /b\n", ":6001"},
        {"[map]\n0 = junk\n", ":6001"},
        {"[ppu]\nmatch = :7\n[policy]\nidle = nonsense\n", ":7"},
        {"junk\n[ppu]\nmatch = :7\n", ":7"},
        {"[ppu\n[ppu]\nmatch = :7\n", ":7"},
        {"[ppu]\nmatch = :7\nunknown = 1\nmatch = :7\n", ":7"},
        {"[policy]\nmatch = :8\n[ppu]\nmatch = :7\n", ":7"},
        {"[ppu]\nmatch = :7\nmatch = :8\n", NULL},
        {"[ppu]\nmatch = :7\nmatch = :8\nmatch = :7\n", NULL},
        {"[ppu]\nmatch = :7\nmatch = 8\n", NULL},
        {"[ppu]\nmatch = 7\n", NULL},
        {"[ppu]\nmatch =\n", NULL},
        {"[ppu]\nmacth = :7\n", NULL},
        {"[ppu]\nMatch = :7\n", NULL},
        {"[PPU]\nMATCH = :7\n", NULL},
        {"[policy]\nmatch = :7\n", NULL},
        {"match = :7\n", NULL},
        {"[ppu]\nunknown = 1\n", ":6001"},
        {"topology = /a\n[ppu]\n", ":6001"},
        {"[ppu]\nunknown = :7\n", NULL},
        {"unknown = :7\n[ppu]\n", NULL},
        {"[ppu]\nmatch = :7\nunknown = :8\n", ":7"},
        {"[policy]\nunknown = :7\n", ":6001"},
        {"[policy]\njunk\n", NULL},
        {"[policy\nmatch = :7\n", NULL},
        {"[ppu]\n[policy\nmatch = :7\n", NULL},
        {"[ppu]\nmatch: :7\n", NULL},
        {"[ppu]\nmatch = :7\x01\n", NULL},
    };

    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char match[MATCH_SIZE] = "untouched";
        simulated_text(CONF, cases[i].text);
        bool told = settings_salvage_match(simulated_path(CONF), match);
        if (told != (cases[i].match != NULL) || strcmp(match, told ? cases[i].match : "untouched") != 0) {
            fail_msg("%s -> %d %s", cases[i].text, told, match);
        }
    }
}

static void test_salvage_without_file(void **unused)
{
    char match[MATCH_SIZE];

    (void)unused;
    assert_true(settings_salvage_match(simulated_path(CONF), match));
    assert_string_equal(match, ":6001");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fixtures),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_sample),
        cmocka_unit_test(test_every_other_value),
        cmocka_unit_test(test_comments_are_no_part_of_values),
        cmocka_unit_test(test_filters),
        cmocka_unit_test(test_all_ids_pinned),
        cmocka_unit_test(test_failure_leaves_settings_alone),
        cmocka_unit_test_setup(test_missing_file_means_defaults, simulated_host_clear),
        cmocka_unit_test_setup(test_unreadable_file, simulated_host_clear),
        cmocka_unit_test_setup(test_file_too_large, simulated_host_clear),
        cmocka_unit_test_setup(test_load_names_path_and_line, simulated_host_clear),
        cmocka_unit_test_setup(test_salvage, simulated_host_clear),
        cmocka_unit_test_setup(test_salvage_without_file, simulated_host_clear),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
