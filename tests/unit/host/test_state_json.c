/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "fixtures.h"
#include "host/state.h"

#define VM "4dea22b3-1d52-d8f3-2516-782e98a23fa0"
#define VM_2 "5dea22b3-1d52-d8f3-2516-782e98a23fa1"
#define BOOT "6a0f2e5c-7b0d-4d0e-9c35-2f6c6d8b1a77"

/* A claim with what came with it. */
struct parsed {
    struct claim claim;
    bool other_boot;
    struct card_memory *carried;
    size_t carried_count;
};

static int parse(const char *text, size_t length, const char *name, const char *boot_id, struct parsed *parsed,
                 struct error *err)
{
    return claim_parse(text, length, name, boot_id, &parsed->claim, &parsed->other_boot, &parsed->carried,
                       &parsed->carried_count, err);
}

static void parsed_free(struct parsed *parsed)
{
    claim_free(&parsed->claim);
    cards_free(parsed->carried, parsed->carried_count);
}

static int parse_claim_fixture(const char *text, size_t length, const char *name, struct error *err)
{
    struct parsed parsed;
    int result = parse(text, length, name, BOOT, &parsed, err);
    if (result == 0) {
        parsed_free(&parsed);
    }
    return result;
}

static int parse_cards_fixture(const char *text, size_t length, const char *name, struct error *err)
{
    struct card_memory *cards;
    size_t count;
    int result = cards_parse(text, length, name, BOOT, &cards, &count, err);
    if (result == 0) {
        cards_free(cards, count);
    }
    return result;
}

static void test_fixtures(void **unused)
{
    (void)unused;
    fixtures_check("state/claim", ".json", 14, parse_claim_fixture);
    fixtures_check("state/cards", ".json", 12, parse_cards_fixture);
    fixtures_check("state/entry", ".json", 10, parse_claim_fixture);
}

static struct buffer read_fixture(const char *name)
{
    char path[1024];
    struct buffer content = {0};
    struct error err;
    snprintf(path, sizeof path, TESTS_DIR "/fixtures/state/%s", name);
    if (file_read(path, 1 << 20, &content, NULL, &err) < 0) {
        fail_msg("%s", err.text);
    }
    return content;
}

static struct parsed parse_text(const char *text, const char *boot_id)
{
    struct parsed parsed;
    struct error err = {0};
    memset(&parsed, 0xaa, sizeof parsed);
    if (parse(text, strlen(text), "text", boot_id, &parsed, &err) < 0) {
        fail_msg("%s", err.text);
    }
    return parsed;
}

static struct parsed load_claim(const char *name)
{
    struct buffer content = read_fixture(name);
    struct parsed parsed = parse_text(content.data, BOOT);
    buffer_free(&content);
    return parsed;
}

/* What the fixtures of both versions say alike. */
static void assert_starting_vm(const struct claim *claim, int64_t boottime_ms, size_t card_count)
{
    assert_string_equal(claim->uuid, VM);
    assert_string_equal(claim->name, "vm1");
    assert_false(claim->is_group);
    assert_int_equal(claim->phase, CLAIM_STARTING);
    assert_true(claim->has_daemon);
    assert_int_equal(claim->daemon.pid, 812);
    assert_int_equal(claim->daemon.start, 4711);
    assert_int_equal(claim->process.pid, 0);
    assert_int_equal(claim->since, 1700000000);
    assert_int_equal(claim->boottime_ms, boottime_ms);
    assert_int_equal(claim->card_count, card_count);
    assert_int_equal(bdf_compare(claim->cards[0].bdf, (struct bdf){.bus = 8}), 0);
    assert_true(claim->cards[0].whole);
}

static void test_fields_of_a_claim(void **unused)
{
    struct parsed parsed = load_claim("claim/claim.json");
    const struct claim *claim = &parsed.claim;

    (void)unused;
    assert_starting_vm(claim, 60123, 2);
    assert_int_equal(bdf_compare(claim->cards[1].bdf, (struct bdf){.bus = 0x7e}), 0);
    assert_false(claim->cards[1].whole);
    assert_false(claim->is_ended);
    assert_false(claim->is_carried_over);
    assert_false(parsed.other_boot);
    assert_int_equal(parsed.carried_count, 0);
    parsed_free(&parsed);

    parsed = load_claim("claim/running.json");
    assert_int_equal(parsed.claim.phase, CLAIM_RUNNING);
    assert_int_equal(parsed.claim.process.pid, 900);
    assert_int_equal(parsed.claim.process.start, 4712);
    parsed_free(&parsed);
    parsed = load_claim("claim/group.json");
    assert_true(parsed.claim.is_group);
    assert_false(parsed.claim.has_daemon);
    assert_int_equal(parsed.claim.daemon.pid, 0);
    parsed_free(&parsed);
    parsed = load_claim("claim/largest_numbers.json");
    assert_int_equal(parsed.claim.since, INT64_MAX);
    assert_int_equal(parsed.claim.boottime_ms, INT64_MAX);
    assert_int_equal(parsed.claim.daemon.start, INT64_MAX);
    parsed_free(&parsed);
    parsed = load_claim("claim/other_boot.json");
    assert_true(parsed.other_boot);
    parsed_free(&parsed);
}

/* What version 0.1 wrote. */
static void test_entry_of_0_1(void **unused)
{
    struct parsed parsed = load_claim("entry/entry.json");
    const struct claim *claim = &parsed.claim;

    (void)unused;
    assert_true(claim->is_carried_over);
    /* The card at the other end is not the domain's. */
    assert_starting_vm(claim, 0, 1);
    /* And of that card nothing was known. */
    assert_int_equal(parsed.carried_count, 1);
    assert_int_equal(bdf_compare(parsed.carried[0].bdf, (struct bdf){.bus = 8}), 0);
    assert_true(parsed.carried[0].has_original);
    assert_int_equal(parsed.carried[0].original, 0);
    assert_true(parsed.carried[0].has_written);
    assert_int_equal(parsed.carried[0].written, UINT32_MAX);
    assert_int_equal(parsed.carried[0].evidence.at, 0);
    assert_false(parsed.other_boot);
    parsed_free(&parsed);

    parsed = load_claim("entry/running.json");
    assert_int_equal(parsed.claim.phase, CLAIM_RUNNING);
    parsed_free(&parsed);
    parsed = load_claim("entry/ended.json");
    assert_int_equal(parsed.claim.phase, CLAIM_ENDED);
    assert_int_equal(parsed.carried_count, 1);
    parsed_free(&parsed);
    /* It counts until it is released: it does not wait for a daemon. */
    parsed = load_claim("entry/manual.json");
    assert_true(parsed.claim.is_group);
    assert_int_equal(parsed.claim.phase, CLAIM_RUNNING);
    parsed_free(&parsed);
    parsed = load_claim("entry/nobody_called.json");
    assert_false(parsed.claim.has_daemon);
    parsed_free(&parsed);
    parsed = load_claim("entry/largest_numbers.json");
    assert_int_equal(parsed.carried[0].original, UINT32_MAX);
    assert_int_equal(parsed.claim.since, INT64_MAX);
    parsed_free(&parsed);
    parsed = load_claim("entry/no_boot_id.json");
    assert_true(parsed.other_boot);
    parsed_free(&parsed);
}

static void test_text_of_a_claim(void **unused)
{
    char name[] = "a\"/\\\n\x7f\xc3\xbc";
    struct claim_card cards[] = {{.bdf = {.domain = 0x10000, .bus = 8}, .whole = true}, {.bdf = {.bus = 9}}};
    struct claim claim = {.uuid = VM,
                          .name = name,
                          .phase = CLAIM_RUNNING,
                          .has_daemon = true,
                          .daemon = {12, 345},
                          .process = {13, 346},
                          .since = 1700000001,
                          .boottime_ms = 5000000000,
                          .cards = cards,
                          .card_count = 2};

    (void)unused;
    char *text = claim_format(&claim, BOOT);
    assert_string_equal(text, "{\"schema\":\"icn-hook/claim/2\",\"boot\":\"" BOOT "\",\"uuid\":\"" VM "\","
                              "\"name\":\"a\\\"/\\\\\\n\x7f\xc3\xbc\",\"kind\":\"vm\",\"phase\":\"running\","
                              "\"daemon\":{\"pid\":12,\"start\":345},\"process\":{\"pid\":13,\"start\":346},"
                              "\"since\":1700000001,\"boottime_ms\":5000000000,"
                              "\"cards\":[{\"bdf\":\"10000:08:00.0\",\"whole\":true},"
                              "{\"bdf\":\"0000:09:00.0\",\"whole\":false}]}");
    free(text);
    claim = (struct claim){.uuid = VM, .name = name, .is_group = true};
    name[1] = '\0';
    text = claim_format(&claim, "");
    assert_string_equal(text, "{\"schema\":\"icn-hook/claim/2\",\"boot\":\"\",\"uuid\":\"" VM "\",\"name\":\"a\","
                              "\"kind\":\"group\",\"phase\":\"starting\",\"daemon\":null,\"process\":null,"
                              "\"since\":0,\"boottime_ms\":0,\"cards\":[]}");
    free(text);
}

static void test_text_of_cards(void **unused)
{
    char owners[][UUID_SIZE] = {VM, VM_2};
    const struct card_memory cards[] = {
        {.bdf = {.bus = 8},
         .has_original = true,
         .original = 1,
         .has_written = true,
         .written = 0x1a,
         .evidence = {.mask = 0x1b, .at = 1700000002, .owners = owners, .owner_count = 2}},
        {.bdf = {.bus = 9}}, /* nothing is known */
        {.bdf = {.bus = 10}, .has_written = true, .written = UINT32_MAX},
    };

    (void)unused;
    char *text = cards_format(cards, 3, BOOT);
    assert_string_equal(text, "{\"schema\":\"icn-hook/cards/1\",\"boot\":\"" BOOT "\",\"cards\":["
                              "{\"bdf\":\"0000:08:00.0\",\"original\":\"0x00000001\",\"written\":\"0x0000001a\","
                              "\"evidence\":{\"mask\":\"0x0000001b\",\"at\":1700000002,\"owners\":[\"" VM "\",\"" VM_2
                              "\"]}},"
                              "{\"bdf\":\"0000:0a:00.0\",\"original\":null,\"written\":\"0xffffffff\","
                              "\"evidence\":null}]}");
    free(text);
}

/* Text to claim to text to claim: nothing changes. */
static void test_claim_round_trip(void **unused)
{
    static const char *const names[] = {
        "claim.json",
        "running.json",
        "group.json",
        "group_of_a_process.json",
        "nobody_called.json",
        "no_cards.json",
        "name_empty.json",
        "name_escapes.json",
        "largest_numbers.json",
        "smallest_numbers.json",
        "no_newline.json",
        "cards_1024.json",
        "colons_in_the_name.json",
    };

    (void)unused;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[128];
        snprintf(path, sizeof path, "claim/%s", names[i]);
        struct buffer content = read_fixture(path);
        struct parsed first = parse_text(content.data, BOOT);
        char *text = claim_format(&first.claim, BOOT);
        struct parsed second = parse_text(text, BOOT);
        char *again = claim_format(&second.claim, BOOT);
        assert_string_equal(text, again);
        assert_string_equal(first.claim.name, second.claim.name);
        assert_int_equal(first.claim.card_count, second.claim.card_count);
        free(text);
        free(again);
        parsed_free(&first);
        parsed_free(&second);
        buffer_free(&content);
    }
}

static void test_cards_round_trip(void **unused)
{
    static const char *const names[] = {"cards",        "no_cards",  "evidence_only",  "original_only",
                                        "written_only", "no_owners", "largest_numbers"};

    (void)unused;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[128];
        struct card_memory *cards;
        size_t count;
        struct error err;
        snprintf(path, sizeof path, "cards/%s.json", names[i]);
        struct buffer content = read_fixture(path);
        assert_int_equal(cards_parse(content.data, content.length, "cards", BOOT, &cards, &count, &err), 0);
        content.data[strcspn(content.data, "\n")] = '\0';
        char *text = cards_format(cards, count, BOOT);
        assert_string_equal(text, content.data);
        free(text);
        cards_free(cards, count);
        buffer_free(&content);
    }
}

static void test_cards_of_another_boot(void **unused)
{
    struct buffer content = read_fixture("cards/other_boot.json");
    struct card_memory *cards;
    size_t count = 7;
    struct error err;

    (void)unused;
    assert_int_equal(cards_parse(content.data, content.length, "cards", BOOT, &cards, &count, &err), 0);
    assert_int_equal(count, 0);
    cards_free(cards, count);
    assert_int_equal(cards_parse(content.data, content.length, "cards", "x", &cards, &count, &err), 0);
    assert_int_equal(count, 2);
    cards_free(cards, count);
    buffer_free(&content);
}

/* A file that was cut short, wherever, is never taken for another one. */
static void test_truncated_at_every_byte(void **unused)
{
    static const char *const names[] = {"claim/claim.json", "claim/name_escapes.json", "entry/entry.json",
                                        "cards/cards.json"};

    (void)unused;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct buffer content = read_fixture(names[i]);
        size_t length = strcspn(content.data, "\n");
        for (size_t cut = 0; cut < length; cut++) {
            /* Of its own size, so that a sanitizer sees a read past its end. */
            char *text = malloc(cut + 1);
            memcpy(text, content.data, cut);
            text[cut] = '\0';
            struct error err = {0};
            int result = strncmp(names[i], "cards", 5) == 0 ? parse_cards_fixture(text, cut, "cut", &err)
                                                            : parse_claim_fixture(text, cut, "cut", &err);
            assert_int_equal(result, -1);
            assert_int_equal(err.status, STATUS_INVALID);
            /* In the middle of a character. */
            bool is_half = (content.data[cut] & 0xc0) == 0x80;
            assert_string_equal(err.text, is_half ? "cut: it is not JSON" : "cut: it is cut short");
            free(text);
        }
        buffer_free(&content);
    }
}

/* json-c 0.16 clamps such a number, 0.18 refuses it: the words differ. */
static void test_number_beyond_64_bits(void **unused)
{
    static const char text[] = "{\"schema\":\"icn-hook/claim/2\",\"boot\":\"" BOOT "\",\"uuid\":\"" VM "\","
                               "\"name\":\"a\",\"kind\":\"vm\",\"phase\":\"running\",\"daemon\":null,\"process\":null,"
                               "\"since\":1000000000000000000000000000000,\"boottime_ms\":0,\"cards\":[]}";
    struct error err = {0};

    (void)unused;
    assert_int_equal(parse_claim_fixture(text, strlen(text), "text", &err), -1);
    assert_int_equal(err.status, STATUS_INVALID);
}

static void test_printable_names(void **unused)
{
    static const char *const good[] = {"", "a b", "\xe7\xba\xa2", "\xf0\x9f\x98\x80", "~\\\""};
    static const char *const bad[] = {"\n", "a\x1f", "\x7f", "a\xff", "\xe7\xba", "\xc0\x80", "\xe7\xba\xa2\t"};

    (void)unused;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(state_name_is_printable(good[i]));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(state_name_is_printable(bad[i]));
    }
}

/* libvirt takes names from XML, which is UTF-8, but a hook's argument can hold any byte. */
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
        struct claim claim = {.uuid = VM, .name = name};
        char *text = claim_format(&claim, "");
        struct parsed parsed = parse_text(text, "");
        assert_string_equal(parsed.claim.name, cases[i].written);
        parsed_free(&parsed);
        free(text);
        free(name);
    }
}

static void test_boot_of_a_claim(void **unused)
{
    static const struct {
        const char *written;
        const char *now;
        bool other;
    } cases[] = {{BOOT, BOOT, false}, {"", BOOT, true}, {"x", BOOT, true}, {"", "", false}, {BOOT, "", true}};
    char name[] = "vm";
    struct claim claim = {.uuid = VM, .name = name};

    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *text = claim_format(&claim, cases[i].written);
        struct parsed parsed = parse_text(text, cases[i].now);
        assert_int_equal(parsed.other_boot, cases[i].other);
        parsed_free(&parsed);
        free(text);
    }
}

static void test_failure_leaves_everything_alone(void **unused)
{
    struct parsed parsed;
    struct parsed before;
    struct card_memory *cards = (void *)&parsed;
    size_t count = 77;
    struct error err;

    (void)unused;
    memset(&parsed, 0xaa, sizeof parsed);
    before = parsed;
    assert_int_equal(parse("{}", 2, "text", BOOT, &parsed, &err), -1);
    assert_string_equal(err.text, "text: \"schema\" is missing");
    assert_memory_equal(&parsed, &before, sizeof parsed);
    assert_int_equal(cards_parse("{}", 2, "text", BOOT, &cards, &count, &err), -1);
    assert_string_equal(err.text, "text: \"schema\" is missing");
    assert_ptr_equal(cards, &parsed);
    assert_int_equal(count, 77);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fixtures),
        cmocka_unit_test(test_fields_of_a_claim),
        cmocka_unit_test(test_entry_of_0_1),
        cmocka_unit_test(test_text_of_a_claim),
        cmocka_unit_test(test_text_of_cards),
        cmocka_unit_test(test_claim_round_trip),
        cmocka_unit_test(test_cards_round_trip),
        cmocka_unit_test(test_cards_of_another_boot),
        cmocka_unit_test(test_truncated_at_every_byte),
        cmocka_unit_test(test_number_beyond_64_bits),
        cmocka_unit_test(test_printable_names),
        cmocka_unit_test(test_names_that_are_not_utf8),
        cmocka_unit_test(test_boot_of_a_claim),
        cmocka_unit_test(test_failure_leaves_everything_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
