/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/confirmed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "simulated_host.h"

#define HEAD "{\"schema\":\"icn-hook/confirmed/1\",\"made_for\":[\"bar = 0\",\"a \\\"b\\\"\"],\"links\":["
#define LINK "{\"ppu\":0,\"link\":3,\"peer\":2,\"verdict\":\"confirmed\",\"down\":false,\"at\":7}"
#define EXTERNAL "{\"ppu\":1,\"link\":0,\"peer\":null,\"verdict\":\"no witness\",\"down\":true,\"at\":9}"
#define WHOLE HEAD LINK "," EXTERNAL "]}"
#define FILE_PATH "/var/lib/icn-hook/confirmed.json"

static struct error err;

static int parse(const char *text, struct confirmed *confirmed)
{
    err = (struct error){0};
    return confirmed_parse(text, strlen(text), "the file", confirmed, &err);
}

static void assert_whole(const struct confirmed *confirmed)
{
    assert_int_equal(confirmed->made_for.count, 2);
    assert_string_equal(confirmed->made_for.items[0], "bar = 0");
    assert_string_equal(confirmed->made_for.items[1], "a \"b\"");
    assert_int_equal(confirmed->count, 2);
    const struct confirmed_link *link = confirmed->links;
    assert_true(link->ppu == 0 && link->link == 3 && link->peer == 2 && link->verdict == CONFIRM_CONFIRMED &&
                !link->is_down && link->at == 7);
    link++;
    assert_true(link->ppu == 1 && link->link == 0 && link->peer == EXTERNAL_END &&
                link->verdict == CONFIRM_NO_WITNESS && link->is_down && link->at == 9);
}

static void test_read_and_write(void **state)
{
    struct confirmed confirmed;
    (void)state;
    assert_int_equal(parse(WHOLE, &confirmed), 0);
    assert_whole(&confirmed);
    char *text = confirmed_format(&confirmed);
    assert_string_equal(text, WHOLE);
    free(text);
    confirmed_free(&confirmed);
}

static void test_refused(void **state)
{
    static const struct {
        const char *text;
        const char *reason;
    } cases[] = {
        {"", "it is cut short"},
        {"[]", "not a JSON object"},
        {"{\"schema\":\"icn-hook/confirmed/2\"}",
         "it was written by another version of icn-hook (icn-hook/confirmed/2)"},
        {"{\"schema\":\"icn-hook/cards/1\"}", "it is not a result of icn-hook confirm"},
        {"{\"schema\":\"icn-hook/confirmed/1\",\"links\":[]}", "\"made_for\""},
        {"{\"schema\":\"icn-hook/confirmed/1\",\"made_for\":[1],\"links\":[]}", "a line of \"made_for\" is not a text"},
        {"{\"schema\":\"icn-hook/confirmed/1\",\"made_for\":[\"a\\u0000b\"],\"links\":[]}",
         "a line of \"made_for\" is not a text"},
        {"{\"schema\":\"icn-hook/confirmed/1\",\"made_for\":[],\"links\":{}}", "\"links\""},
        {"{\"schema\":\"icn-hook/confirmed/1\",\"made_for\":[],\"links\":[],\"more\":1}", ""},
        {HEAD "1]}", "a link is not a JSON object"},
        {HEAD LINK "," LINK "]}", "link 3 of PPU 0 is not in the order of links"},
        {HEAD EXTERNAL "," LINK "]}", "link 3 of PPU 0 is not in the order of links"},
        {HEAD "{\"ppu\":1024,\"link\":3,\"peer\":2,\"verdict\":\"confirmed\",\"down\":false,\"at\":7}]}", "\"ppu\""},
        {HEAD "{\"ppu\":0,\"link\":32,\"peer\":2,\"verdict\":\"confirmed\",\"down\":false,\"at\":7}]}", "\"link\""},
        {HEAD "{\"ppu\":0,\"link\":3,\"peer\":-1,\"verdict\":\"confirmed\",\"down\":false,\"at\":7}]}", "\"peer\""},
        {HEAD "{\"ppu\":0,\"link\":3,\"peer\":2,\"verdict\":\"fine\",\"down\":false,\"at\":7}]}", "\"verdict\""},
        {HEAD "{\"ppu\":0,\"link\":3,\"peer\":2,\"verdict\":\"confirmed\",\"down\":true,\"at\":7}]}",
         "a link that is down is confirmed"},
        {HEAD "{\"ppu\":0,\"link\":3,\"peer\":2,\"verdict\":\"confirmed\",\"down\":false,\"at\":0}]}", "\"at\""},
        {HEAD "{\"ppu\":0,\"link\":3,\"peer\":2,\"verdict\":\"confirmed\",\"down\":false}]}", "\"at\""},
        {HEAD "{\"ppu\":0,\"link\":3,\"peer\":2,\"verdict\":\"confirmed\",\"down\":false,\"at\":7,\"x\":1}]}", ""},
        {WHOLE "x", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct confirmed confirmed = {.count = 4711};
        assert_int_equal(parse(cases[i].text, &confirmed), -1);
        assert_int_equal(err.status, STATUS_INVALID);
        assert_non_null(strstr(err.text, "the file"));
        if (!strstr(err.text, cases[i].reason)) {
            fail_msg("%s: %s", cases[i].text, err.text);
        }
        assert_int_equal(confirmed.count, 4711);
    }
}

static void test_file(void **state)
{
    struct confirmed confirmed;
    struct confirmed loaded;
    bool missing = false;
    struct stat facts;
    (void)state;
    assert_int_equal(confirmed_load(&loaded, &missing, &err), -1);
    assert_true(missing);
    assert_int_equal(parse(WHOLE, &confirmed), 0);
    for (int i = 0; i < 2; i++) { /* made, and replaced */
        assert_int_equal(confirmed_save(&confirmed, &err), 0);
        assert_int_equal(confirmed_load(&loaded, &missing, &err), 0);
        assert_false(missing);
        assert_whole(&loaded);
        confirmed_free(&loaded);
    }
    const char *path = simulated_path(FILE_PATH);
    assert_int_equal(stat(path, &facts), 0);
    assert_int_equal(facts.st_mode & 07777, 0644);
    assert_int_equal(chmod(path, 0664), 0);
    assert_int_equal(confirmed_load(&loaded, &missing, &err), -1);
    assert_false(missing);
    assert_non_null(strstr(err.text, "is writable by others (mode 0664)"));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("elsewhere", path), 0);
    assert_int_equal(confirmed_load(&loaded, &missing, &err), -1);
    assert_false(missing);
    assert_non_null(strstr(err.text, "is a symbolic link"));
    confirmed_free(&confirmed);
}

static void test_words(void **state)
{
    (void)state;
    assert_string_equal(confirm_verdict_text(CONFIRM_CONFIRMED), "confirmed");
    assert_string_equal(confirm_verdict_text(CONFIRM_CONTRADICTED), "contradicted");
    assert_string_equal(confirm_verdict_text(CONFIRM_NO_WITNESS), "no witness");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_and_write),
        cmocka_unit_test(test_refused),
        cmocka_unit_test_setup(test_file, simulated_host_clear),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
