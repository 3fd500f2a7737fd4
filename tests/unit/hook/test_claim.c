/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hook/claim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/child.h"

#define UUID "c7a5fdbd-edaf-9455-926a-d65c16db1809"
#define DOMAIN "<domain><uuid>" UUID "</uuid></domain>"

static char sysroot[200];

static void make_file(const char *name)
{
    char path[400];
    snprintf(path, sizeof path, "%s/run/icn-hook/%s", sysroot, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static void make_directory(const char *name)
{
    char path[400];
    snprintf(path, sizeof path, "%s%s", sysroot, name);
    assert_int_equal(mkdir(path, 0700), 0);
}

static int set_up(void **state)
{
    (void)state;
    directory_make(sysroot, sizeof sysroot);
    make_directory("/run");
    setenv("ICN_SYSROOT", sysroot, 1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unsetenv("ICN_SYSROOT");
    directory_remove(sysroot);
    return 0;
}

static void check_uuid(const char *text, const char *expected)
{
    char uuid[UUID_SIZE] = "untouched";
    assert_int_equal(claim_uuid(text, strlen(text), uuid), expected != NULL);
    assert_string_equal(uuid, expected ? expected : "untouched");
}

static void test_uuid(void **state)
{
    char long_text[400];
    (void)state;

    check_uuid(DOMAIN, UUID);
    check_uuid("<uuid>\n C7A5FDBDEDAF9455926AD65C16DB1809 </uuid>", UUID);
    check_uuid("<uuid>" UUID "<uuid>11111111-1111-1111-1111-111111111111<", UUID);
    check_uuid("", NULL);
    check_uuid("<domain/>", NULL);
    check_uuid("<uuid>", NULL);
    check_uuid("<uuid>" UUID, NULL);
    check_uuid("<uuid></uuid>", NULL);
    check_uuid("<uuid>" UUID "-</uuid>", NULL);
    snprintf(long_text, sizeof long_text, "<uuid>%200s</uuid>", UUID);
    check_uuid(long_text, NULL);
    assert_false(claim_uuid("<uuid>" UUID "<", strlen("<uuid>" UUID), long_text));
}

static bool may_exist(const char *text)
{
    return claim_may_exist(text, strlen(text));
}

static void test_claim_of_a_known_domain(void **state)
{
    (void)state;

    assert_false(may_exist(DOMAIN));
    make_directory("/run/icn-hook");
    make_file("11111111-1111-1111-1111-111111111111.json");
    make_file("ended-" UUID);
    assert_false(may_exist(DOMAIN));
    make_file(UUID ".json");
    assert_true(may_exist(DOMAIN));
}

/* The memory of the cards is not a claim. */
static void test_any_claim_counts_for_an_unknown_domain(void **state)
{
    (void)state;

    assert_false(may_exist("<domain/>"));
    make_directory("/run/icn-hook");
    make_file("lock");
    make_file("cards.json");
    make_file("ended-" UUID);
    make_file("." UUID ".json.17.tmp");
    make_file("enabled-0000:08:00.0-00000000000000.json");
    assert_false(may_exist("<domain/>"));
    make_file(UUID ".json");
    assert_true(may_exist("<domain/>"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_uuid),
        cmocka_unit_test_setup_teardown(test_claim_of_a_known_domain, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_any_claim_counts_for_an_unknown_domain, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("hook/claim", tests, NULL, NULL);
}
