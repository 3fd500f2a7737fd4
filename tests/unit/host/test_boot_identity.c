/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/boot_identity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BOOT "6a0f2e5c-7b0d-4d0e-9c35-2f6c6d8b1a77"
#define HEADER "icn-hook/identity/1 " BOOT "\n"
#define PATH "pci0000:00/01.0/00.0"
#define SERIAL "00-00-00-00-00-00-00-01"

#define LINK "link 0.0 1\nlink 1.0 0\n"

/* Three cards in a row, of which [map] has two. */
#define ROW                                                                                                            \
    HEADER "ppus 3\n"                                                                                                  \
           "pin 0 0000:08:00.0 path=" PATH "\n"                                                                        \
           "pin 2 0001:7e:00.0 serial=" SERIAL "\n"                                                                    \
           "link 0.0 1\n"                                                                                              \
           "link 1.0 0\n"                                                                                              \
           "link 1.31 2.4\n"                                                                                           \
           "link 2.4 1.31\n"                                                                                           \
           "link 2.6 external\n"

static struct boot_identity *parse(const char *text)
{
    struct boot_identity *identity = NULL;
    struct error err = {0};
    if (boot_identity_parse(text, strlen(text), "text", BOOT, &identity, &err) < 0) {
        fail_msg("%s", err.text);
    }
    return identity;
}

static void test_fields(void **state)
{
    struct boot_identity *identity = parse(ROW);
    (void)state;
    assert_int_equal(identity->pin_count, 2);
    assert_int_equal(identity->pins[0].ppu, 0);
    assert_int_equal(identity->pins[0].bdf.bus, 8);
    assert_string_equal(identity->pins[0].path, PATH);
    assert_string_equal(identity->pins[0].serial, "");
    assert_int_equal(identity->pins[1].ppu, 2);
    assert_int_equal(identity->pins[1].bdf.domain, 1);
    assert_string_equal(identity->pins[1].path, "");
    assert_string_equal(identity->pins[1].serial, SERIAL);
    assert_int_equal(identity->topology.ppu_count, 3);
    assert_int_equal(identity->topology.peer[1][31], 2);
    assert_int_equal(identity->topology.peer[2][4], 1);
    assert_int_equal(identity->topology.peer_link[2][4], 31);
    assert_int_equal(identity->topology.peer_link[0][0], NO_PEER_LINK);
    assert_int_equal(identity->topology.peer[2][6], EXTERNAL_PEER);
    assert_int_equal(topology_links(&identity->topology, 0), 1);
    boot_identity_free(identity);
    boot_identity_free(NULL);
}

static void test_written_as_read(void **state)
{
    static const char *const texts[] = {ROW, HEADER "ppus 1\n"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct boot_identity *identity = parse(texts[i]);
        char *text = boot_identity_format(identity, BOOT);
        assert_string_equal(text, texts[i]);
        free(text);
        boot_identity_free(identity);
    }
}

static void test_largest(void **state)
{
    struct boot_identity *identity = calloc(1, sizeof *identity);
    struct error err = {0};
    struct boot_identity *read = NULL;
    char difference[IDENTITY_DIFFERENCE_SIZE];
    (void)state;
    assert_non_null(identity);
    topology_clear(&identity->topology, PPU_MAX);
    identity->pins = calloc(PPU_MAX, sizeof *identity->pins);
    identity->pin_count = PPU_MAX;
    for (int ppu = 0; ppu < PPU_MAX; ppu++) {
        struct settings_pin *pin = &identity->pins[ppu];
        *pin = (struct settings_pin){.ppu = ppu,
                                     .bdf = {.domain = 0xffffff00 + (uint32_t)ppu % 256, .bus = (uint8_t)(ppu / 256)}};
        memset(pin->path, '0', sizeof pin->path - 1);
        memcpy(pin->serial, SERIAL, sizeof SERIAL);
        for (int link = 0; link < LINK_MAX; link++) {
            identity->topology.peer[ppu][link] = (int16_t)(ppu ^ 1);
            identity->topology.peer_link[ppu][link] = (int16_t)link;
        }
    }
    char *text = boot_identity_format(identity, BOOT);
    assert_true(strlen(text) < 1 << 22);
    assert_int_equal(boot_identity_parse(text, strlen(text), "text", BOOT, &read, &err), 0);
    assert_false(boot_identity_differs(identity, read, difference));
    free(text);
    boot_identity_free(identity);
    boot_identity_free(read);
}

static void test_other_boot(void **state)
{
    static const char text[] = "icn-hook/identity/1 7a0f2e5c-7b0d-4d0e-9c35-2f6c6d8b1a77\nwhatever";
    (void)state;
    assert_null(parse(text));
}

static void test_what_is_not_taken(void **state)
{
    static const struct {
        const char *text;
        const char *place;
    } cases[] = {
        {"", "text:1"},
        {"icn-hook/identity/1\n", "text:1"},
        {"icn-hook/identity/2 " BOOT "\nppus 1\n", "text:1"},
        {"icn-hook/identity/1 6A0f2e5c-7b0d-4d0e-9c35-2f6c6d8b1a77\nppus 1\n", "text:1"},
        {"icn-hook/identity/1 6a0f2e5c-7b0d-4d0e-9c35-2f6c6d8b1a7z\nppus 1\n", "text:1"},
        {"icn-hook/identity/1 " BOOT " \nppus 1\n", "text:1"},
        {HEADER, "text:1"},
        {HEADER "ppus 0\n", "text:2"},
        {HEADER "ppus 1025\n", "text:2"},
        {HEADER "ppus +1\n", "text:2"},
        {HEADER "cards 1\n", "text:2"},
        {HEADER "ppus 01\n", "text"},
        {HEADER "ppus 1", "text"},
        {HEADER "\nppus 1\n", "text"},
        {HEADER "ppus 1\nppus 1\n", "text:3"},
        {HEADER "ppus 1\nlink\n", "text:3"},
        {HEADER "ppus 1\nlink 0\n", "text:3"},
        {HEADER "ppus 1\nlink 0.0 0\n", "text:3"},
        {HEADER "ppus 2\nlink 0.0 1\n", "text:3"},
        {HEADER "ppus 2\nlink 0.32 1\nlink 1.0 0\n", "text:3"},
        {HEADER "ppus 2\nlink 2.0 1\n", "text:3"},
        {HEADER "ppus 2\nlink 0.0 2\n", "text:3"},
        {HEADER "ppus 2\n", "text:2"},
        {HEADER "ppus 2\nlink 0.0 1.0\nlink 1.0 0.1\n", "text:4"},
        {HEADER "ppus 2\nlink 0.0 far\n", "text:3"},
        {HEADER "ppus 1\nlink 0 external\n", "text:3"},
        {HEADER "ppus 2\nlink 1.0 0\nlink 0.0 1\n", "text"},
        {HEADER "ppus 2\nlink 0.0 1 1\nlink 1.0 0\n", "text"},
        {HEADER "ppus 1\npin 0\n", "text:3"},
        {HEADER "ppus 1\npin 1 0000:08:00.0\n", "text:3"},
        {HEADER "ppus 1\npin 0 08\n", "text:3"},
        {HEADER "ppus 1\npin 0 08:00.0\n", "text"},
        {HEADER "ppus 1\npin 0 0000:08:00.0 junk\n", "text"},
        {HEADER "ppus 1\npin 0 0000:08:00.0 serial=" SERIAL " path=" PATH "\n", "text"},
        {HEADER "ppus 2\npin 1 0000:08:00.0\npin 0 0000:09:00.0\n", "text:4"},
        {HEADER "ppus 2\npin 1 0000:08:00.0\npin 1 0000:09:00.0\n", "text:4"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct boot_identity *untouched = (struct boot_identity *)&untouched;
        struct boot_identity *identity = untouched;
        struct error err = {0};
        char expected[128];
        snprintf(expected, sizeof expected, "%s: it is not what icn-hook writes", cases[i].place);
        int result = boot_identity_parse(cases[i].text, strlen(cases[i].text), "text", BOOT, &identity, &err);
        if (result != -1 || strcmp(err.text, expected) != 0 || err.status != STATUS_INVALID || identity != untouched) {
            fail_msg("case %zu: %d %s", i, result, err.text);
        }
    }
}

static void test_zero_byte(void **state)
{
    static const char text[] = HEADER "ppus 1\n\0ppus 1\n";
    struct boot_identity *identity = NULL;
    struct error err = {0};
    (void)state;
    assert_int_equal(boot_identity_parse(text, sizeof text - 1, "text", BOOT, &identity, &err), -1);
    assert_string_equal(err.text, "text:1: it is not what icn-hook writes");
}

static void test_differences(void **state)
{
    static const struct {
        const char *old;
        const char *new;
        const char *difference;
    } cases[] = {
        {ROW, ROW, NULL},
        {HEADER "ppus 1\n", HEADER "ppus 2\n" LINK, "the topology had 1 PPUs and has 2 now"},
        {HEADER "ppus 1\npin 0 0000:08:00.0\n", HEADER "ppus 1\npin 0 0000:09:00.0\n",
         "PPU 0 was 0000:08:00.0 and is 0000:09:00.0 now"},
        {HEADER "ppus 1\npin 0 0000:08:00.0\n", HEADER "ppus 1\n", "PPU 0 was 0000:08:00.0 and is not in [map] now"},
        {HEADER "ppus 2\npin 1 0000:08:00.0\n" LINK, HEADER "ppus 2\npin 0 0000:07:00.0\npin 1 0000:08:00.0\n" LINK,
         "PPU 0 was not in [map] and is 0000:07:00.0 now"},
        {HEADER "ppus 2\npin 0 0000:07:00.0\n" LINK, HEADER "ppus 2\npin 0 0000:07:00.0\npin 1 0000:08:00.0\n" LINK,
         "PPU 1 was not in [map] and is 0000:08:00.0 now"},
        {HEADER "ppus 1\npin 0 0000:08:00.0\n", HEADER "ppus 1\npin 0 0000:08:00.0 path=" PATH " serial=" SERIAL "\n",
         "PPU 0 was 0000:08:00.0 and is 0000:08:00.0 path=" PATH " serial=" SERIAL " now"},
        {HEADER "ppus 2\nlink 0.0 1\nlink 1.0 0\n", HEADER "ppus 2\nlink 0.1 1\nlink 1.0 0\n",
         "link 0 of PPU 0 led to PPU 1 and leads nowhere now"},
        {HEADER "ppus 2\nlink 0.1 1\nlink 1.0 0\n", HEADER "ppus 2\nlink 0.0 1\nlink 1.0 0\n",
         "link 0 of PPU 0 led nowhere and leads to PPU 1 now"},
        {HEADER "ppus 1\nlink 0.3 external\n", HEADER "ppus 1\n",
         "link 3 of PPU 0 led to another host or a switch and leads nowhere now"},
        {HEADER "ppus 2\n" LINK, HEADER "ppus 2\nlink 0.0 1.0\nlink 1.0 0.0\n",
         "link 0 of PPU 0 led to PPU 1 and leads to link 0 of PPU 1 now"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct boot_identity *old = parse(cases[i].old);
        struct boot_identity *new = parse(cases[i].new);
        char text[IDENTITY_DIFFERENCE_SIZE] = "";
        assert_int_equal(boot_identity_differs(old, new, text), cases[i].difference != NULL);
        assert_string_equal(text, cases[i].difference ? cases[i].difference : "");
        boot_identity_free(old);
        boot_identity_free(new);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),      cmocka_unit_test(test_written_as_read),
        cmocka_unit_test(test_largest),     cmocka_unit_test(test_other_boot),
        cmocka_unit_test(test_zero_byte),   cmocka_unit_test(test_what_is_not_taken),
        cmocka_unit_test(test_differences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
