/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "core/topology.h"
#include "fixtures.h"
#include "host/ledger.h"
#include "host/ledger_text.h"

#define VM "4dea22b3-1d52-d8f3-2516-782e98a23fa0"
#define BOOT "6a0f2e5c-7b0d-4d0e-9c35-2f6c6d8b1a77"

static int parse_fixture(const char *text, size_t length, const char *name, struct error *err)
{
    struct ledger_entry entry;
    int result = ledger_entry_parse(text, length, name, BOOT, &entry, err);
    if (result == 0) {
        ledger_entry_free(&entry);
    }
    return result;
}

static void test_fixtures(void **unused)
{
    (void)unused;
    fixtures_check("ledger", ".json", 10, parse_fixture);
}

static struct ledger_entry parse(const char *text)
{
    struct ledger_entry entry;
    struct error err = {0};
    memset(&entry, 0xaa, sizeof entry);
    if (ledger_entry_parse(text, strlen(text), "text", BOOT, &entry, &err) < 0) {
        fail_msg("%s", err.text);
    }
    return entry;
}

static struct ledger_entry load_fixture(const char *name)
{
    char path[1024];
    struct buffer content = {0};
    struct error err;
    snprintf(path, sizeof path, TESTS_DIR "/fixtures/ledger/%s", name);
    assert_int_equal(file_read(path, 1 << 20, &content, NULL, &err), 0);
    struct ledger_entry entry = parse(content.data);
    buffer_free(&content);
    return entry;
}

static void test_fields(void **unused)
{
    struct ledger_entry entry = load_fixture("entry.json");

    (void)unused;
    assert_string_equal(entry.uuid, VM);
    assert_string_equal(entry.name, "vm1");
    assert_int_equal(entry.phase, PHASE_PREPARED);
    assert_int_equal(entry.caller.pid, 812);
    assert_int_equal(entry.caller.start, 4711);
    assert_int_equal(entry.since, 1700000000);
    assert_false(entry.other_boot);
    assert_int_equal(entry.card_count, 2);
    assert_int_equal(bdf_compare(entry.cards[0].bdf, (struct bdf){.bus = 8}), 0);
    assert_int_equal(entry.cards[0].ppu, 0);
    assert_true(entry.cards[0].owned);
    assert_true(entry.cards[0].whole);
    assert_true(entry.cards[0].has_original);
    assert_int_equal(entry.cards[0].original, 0);
    assert_int_equal(bdf_compare(entry.cards[1].bdf, (struct bdf){.bus = 0x7e}), 0);
    assert_int_equal(entry.cards[1].ppu, 1);
    assert_false(entry.cards[1].owned);
    assert_false(entry.cards[1].whole);
    assert_false(entry.cards[1].has_original);
    ledger_entry_free(&entry);

    entry = load_fixture("running.json");
    assert_int_equal(entry.phase, PHASE_RUNNING);
    ledger_entry_free(&entry);
    entry = load_fixture("ended.json");
    assert_int_equal(entry.phase, PHASE_ENDED);
    ledger_entry_free(&entry);
    entry = load_fixture("largest_numbers.json");
    assert_int_equal(entry.cards[0].original, 0xffffffff);
    assert_int_equal(entry.since, INT64_MAX);
    assert_int_equal(entry.caller.start, INT64_MAX);
    ledger_entry_free(&entry);
}

static void test_text(void **unused)
{
    struct ledger_card cards[] = {
        {.bdf = {.domain = 0x10000, .bus = 8}, .ppu = 3, .owned = true, .has_original = true, .original = 0x1a},
        {.bdf = {.bus = 9}, .ppu = 4, .whole = true},
    };
    char name[] = "a\"/\\\n\x7f\xc3\xbc";
    struct ledger_entry entry = {.uuid = VM,
                                 .name = name,
                                 .phase = PHASE_RUNNING,
                                 .caller = {12, 345},
                                 .since = 1700000001,
                                 .cards = cards,
                                 .card_count = 2};

    (void)unused;
    char *text = ledger_entry_format(&entry, BOOT);
    assert_string_equal(
        text, "{\"schema\":\"icn-hook/ledger/1\",\"boot_id\":\"" BOOT "\",\"uuid\":\"" VM "\","
              "\"name\":\"a\\\"/\\\\\\n\x7f\xc3\xbc\",\"phase\":\"running\",\"caller\":{\"pid\":12,\"start\":345},"
              "\"since\":1700000001,\"cards\":[{\"bdf\":\"10000:08:00.0\",\"ppu\":3,\"owned\":true,\"whole\":false,"
              "\"original\":\"0x0000001a\"},{\"bdf\":\"0000:09:00.0\",\"ppu\":4,\"owned\":false,\"whole\":true,"
              "\"original\":null}]}");
    free(text);
}

/* Text to entry to text to entry: nothing changes. */
/* json-c 0.16 clamps such a number, 0.18 refuses it: the words differ. */
static void test_number_beyond_64_bits(void **unused)
{
    static const char text[] =
        "{\"schema\":\"icn-hook/ledger/1\",\"boot_id\":\"" BOOT "\","
        "\"uuid\":\"4dea22b3-1d52-d8f3-2516-782e98a23fa0\",\"name\":\"a\",\"phase\":\"prepared\","
        "\"caller\":{\"pid\":1,\"start\":1000000000000000000000000000000},\"since\":0,\"cards\":[]}";
    struct ledger_entry entry;
    struct error err = {0};
    (void)unused;
    assert_int_equal(ledger_entry_parse(text, strlen(text), "text", BOOT, &entry, &err), -1);
    assert_int_equal(err.status, STATUS_INVALID);
}

static void test_round_trip(void **unused)
{
    static const char *const names[] = {"entry.json",         "no_cards.json",        "ended.json",
                                        "nobody_called.json", "largest_numbers.json", "name_escapes.json",
                                        "name_empty.json",    "manual.json"};

    (void)unused;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct ledger_entry first = load_fixture(names[i]);
        char *text = ledger_entry_format(&first, BOOT);
        struct ledger_entry second = parse(text);
        char *again = ledger_entry_format(&second, BOOT);
        assert_string_equal(text, again);
        assert_string_equal(first.name, second.name);
        assert_int_equal(first.card_count, second.card_count);
        assert_int_equal(first.manual, strcmp(names[i], "manual.json") == 0);
        assert_int_equal(second.manual, first.manual);
        free(text);
        free(again);
        ledger_entry_free(&first);
        ledger_entry_free(&second);
    }
}

static void test_printable_names(void **unused)
{
    static const char *const good[] = {"", "a b", "\xe7\xba\xa2", "\xf0\x9f\x98\x80", "~\\\""};
    static const char *const bad[] = {"\n", "a\x1f", "\x7f", "a\xff", "\xe7\xba", "\xc0\x80", "\xe7\xba\xa2\t"};

    (void)unused;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(ledger_name_is_printable(good[i]));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(ledger_name_is_printable(bad[i]));
    }
}

/* libvirt takes names from XML, which is UTF-8, but a hook's argument can hold
 * any byte. */
static void test_names_that_are_not_utf8(void **unused)
{
    static const struct {
        const char *name;
        const char *written;
    } cases[] = {
        {"a\xff"
         "b",
         "a\\xffb"},
        {"\xc3", "\\xc3"},
        {"\xc3(", "\\xc3("},
        {"\xc0\x80", "\\xc0\\x80"},
        {"\xed\xa0\x80", "\\xed\\xa0\\x80"},
        {"\xe0\x9f\xbf", "\\xe0\\x9f\\xbf"},
        {"\xe2\x82", "\\xe2\\x82"},
        {"\xf0\x8f\xbf\xbf", "\\xf0\\x8f\\xbf\\xbf"},
        {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},
        {"\xf5\x80\x80\x80", "\\xf5\\x80\\x80\\x80"},
        {"\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf\xf0\x90\x80\x80",
         "\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf\xf0\x90\x80\x80"},
        {"\xf0\x9f\x98\x80\xe2\x82\xac\xc3\xbc\xed\x9f\xbf\xf4\x8f\xbf\xbf",
         "\xf0\x9f\x98\x80\xe2\x82\xac\xc3\xbc\xed\x9f\xbf\xf4\x8f\xbf\xbf"},
    };

    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *name = strdup(cases[i].name);
        struct ledger_entry entry = {.uuid = VM, .name = name};
        char *text = ledger_entry_format(&entry, "");
        struct ledger_entry read = parse(text);
        assert_string_equal(read.name, cases[i].written);
        ledger_entry_free(&read);
        free(text);
        free(name);
    }
}

static void test_boot(void **unused)
{
    char name[] = "vm";
    struct ledger_entry entry = {.uuid = VM, .name = name};
    struct ledger_entry read;

    (void)unused;
    static const struct {
        const char *written;
        bool other;
    } cases[] = {{BOOT, false}, {"", true}, {"6a0f2e5c-7b0d-4d0e-9c35-2f6c6d8b1a78", true}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *text = ledger_entry_format(&entry, cases[i].written);
        read = parse(text);
        assert_int_equal(read.other_boot, cases[i].other);
        ledger_entry_free(&read);
        free(text);
    }

    struct error err;
    char *text = ledger_entry_format(&entry, "");
    assert_int_equal(ledger_entry_parse(text, strlen(text), "text", "", &read, &err), 0);
    assert_false(read.other_boot);
    ledger_entry_free(&read);
    free(text);
}

static void test_failure_leaves_entry_alone(void **unused)
{
    struct ledger_entry entry;
    struct ledger_entry before;
    struct error err;

    (void)unused;
    memset(&entry, 0xaa, sizeof entry);
    before = entry;
    assert_int_equal(ledger_entry_parse("{}", 2, "text", BOOT, &entry, &err), -1);
    assert_string_equal(err.text, "text: \"schema\" is missing");
    assert_memory_equal(&entry, &before, sizeof entry);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_printable_names),
        cmocka_unit_test(test_fixtures),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_number_beyond_64_bits),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_names_that_are_not_utf8),
        cmocka_unit_test(test_boot),
        cmocka_unit_test(test_failure_leaves_entry_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
