/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/ppu_smi.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* The cards of TEXT as one line: "INDEX ADDRESS UUID LINE, …", or the error. */
static const char *cards_of(const char *text)
{
    static char line[sizeof(struct error) + 256];
    struct ppu_smi_cards cards = {.last_line = 77};
    struct error err;
    char bdf[BDF_TEXT_SIZE];
    if (ppu_smi_parse_cards(text, strlen(text), "q", &cards, &err) != 0) {
        assert_int_equal(err.status, STATUS_INVALID);
        assert_null(cards.items);
        assert_int_equal(cards.last_line, 77);
        snprintf(line, sizeof line, "%s", err.text);
        return line;
    }
    line[0] = '\0';
    for (size_t i = 0; i < cards.count; i++) {
        const struct ppu_smi_card *card = &cards.items[i];
        snprintf(line + strlen(line), sizeof line - strlen(line), "%s%d %s %s %d", i > 0 ? ", " : "", card->index,
                 bdf_format(card->bdf, bdf), card->uuid[0] ? card->uuid : "-", card->line);
    }
    snprintf(line + strlen(line), sizeof line - strlen(line), " of %d", cards.last_line);
    ppu_smi_free_cards(&cards);
    return line;
}

/* The links of TEXT as one line: "PPU INDEX: LINK STATE [REMOTE.LINK] LINE", or the error. */
static const char *links_of(const char *text)
{
    static char line[sizeof(struct error) + 512];
    static const char *const states[] = {
        [SMI_LINK_LISTED] = "listed", [SMI_LINK_INACTIVE] = "inactive", [SMI_LINK_ACTIVE] = "active"};
    struct ppu_smi_links links = {.last_line = 77};
    struct error err;
    char bdf[BDF_TEXT_SIZE];
    if (ppu_smi_parse_links(text, strlen(text), "l", &links, &err) != 0) {
        assert_int_equal(err.status, STATUS_INVALID);
        assert_null(links.items);
        snprintf(line, sizeof line, "%s", err.text);
        return line;
    }
    line[0] = '\0';
    for (size_t i = 0; i < links.count; i++) {
        const struct ppu_smi_links_of *of = &links.items[i];
        snprintf(line + strlen(line), sizeof line - strlen(line), "%s%d %s:", i > 0 ? "; " : "", of->index,
                 of->uuid[0] ? of->uuid : "-");
        for (int link = 0; link < LINK_MAX; link++) {
            const struct ppu_smi_link *end = &of->links[link];
            if (end->state != SMI_LINK_ABSENT) {
                snprintf(line + strlen(line), sizeof line - strlen(line), " %d %s", link, states[end->state]);
            }
            if (end->has_remote) {
                snprintf(line + strlen(line), sizeof line - strlen(line), " %s.%d", bdf_format(end->remote, bdf),
                         end->remote_link);
            }
        }
    }
    ppu_smi_free_links(&links);
    return line;
}

static void test_cards(void **state)
{
    (void)state;
    assert_string_equal(cards_of("0, 00000001:C9:00.0, GPU-019EA108-c180-040a-0000-000000000000, 1320421013145\n"
                                 "\n"
                                 "1, 0001:c8:00.0, PPU-01, N/A"),
                        "0 0001:c9:00.0 019ea108-c180-040a-0000-000000000000 1, 1 0001:c8:00.0 01 3 of 3");
    assert_string_equal(cards_of("\xef\xbb\xbf"
                                 "  5 ,PPU-ZW810E, 10000:01:1f.7\r\n"),
                        "q:1: card 5 has no PCI address such as 00000001:C9:00.0");
    assert_string_equal(cards_of("5, 00010000:01:1f.7, GPU-xyz\r\n"), "5 10000:01:1f.7 - 1 of 1");
    assert_string_equal(cards_of("pci.bus_id, uuid, index\n0000:08:00.0, 0001:09:00.0, 3\n"),
                        "3 0000:08:00.0 - 2 of 2");
}

static void test_bad_cards(void **state)
{
    char many[400] = "0";
    (void)state;
    assert_string_equal(cards_of(""), "q:1: there is no card in it");
    assert_string_equal(cards_of(" \n\t\n"), "q:2: there is no card in it");
    assert_string_equal(cards_of("index, pci.bus_id\n"), "q:1: there is no card in it");
    assert_string_equal(cards_of("index, bus\n"), "q:1: the headings lack \"index\" or \"pci.bus_id\"");
    assert_string_equal(cards_of("0, 0000:08:00.0, 0000:09:00.0"),
                        "q:1: card 0 has more than one PCI address such as 00000001:C9:00.0");
    assert_string_equal(cards_of("0, 08:00.0"), "q:1: card 0 has no PCI address such as 00000001:C9:00.0");
    assert_string_equal(cards_of("1024, 0000:08:00.0"), "q:1: \"1024\" is not the index of a card, 0 to 1023");
    assert_string_equal(cards_of("0x1, 0000:08:00.0"), "q:1: \"0x1\" is not the index of a card, 0 to 1023");
    assert_string_equal(cards_of("a\x01"), "q:1: the line holds the control character 0x01");
    assert_string_equal(cards_of("a\x7f"), "q:1: the line holds the control character 0x7f");
    for (int i = 0; i < 32; i++) {
        strcat(many, ",1");
    }
    assert_string_equal(cards_of(many), "q:1: more than 32 columns");
}

static void test_links(void **state)
{
    (void)state;
    assert_string_equal(links_of("PPU 0: PPU-ZW810E (UUID: GPU-0A)\n    Link 0: 50 GB/s\n    Link 1: <inactive>\n"
                                 "PPU 12: X\n    Link 31: Remote Device 00000001:CE:00.0: Link 6\n"
                                 "    Link 2: N/A\n"),
                        "0 0a: 0 active 1 inactive; 12 -: 2 listed 31 active 0001:ce:00.0.6");
    /* Attributes that are not used, before and after those that are. */
    assert_string_equal(
        links_of("Version: 1\nPPU 0:\nLink 3: Width: x16\nLink 3: 50 GB/s\nLink 3: Cable: yes\n  up: 2\n"),
        "0 -: 3 active");
    assert_string_equal(links_of("PPU 0:\n"), "0 -:");
}

static void test_bad_links(void **state)
{
    (void)state;
    assert_string_equal(links_of(""), "l:1: there is no card in it");
    assert_string_equal(links_of("key: value\n"), "l:1: there is no card in it");
    assert_string_equal(links_of("Link 0: 50 GB/s\n"), "l:1: a link before the first line \"PPU N: …\"");
    assert_string_equal(links_of("PPU 0\n"), "l:1: \"PPU 0\" has no colon");
    assert_string_equal(links_of("PPU x: a\n"), "l:1: \"x\" is not the index of a card, 0 to 1023");
    assert_string_equal(links_of("PPU 0: a (UUID: GPU-01\n"), "l:1: card 0: \"GPU-01\" is not a UUID");
    assert_string_equal(links_of("PPU 0: a (UUID: 01)\n"), "l:1: card 0: \"01\" is not a UUID");
    assert_string_equal(links_of("PPU 0:\nPPU 0:\n"), "l:2: card 0 is already in line 1");
    assert_string_equal(links_of("PPU 0:\nLink 1\n"), "l:2: \"Link 1\" has no colon");
    assert_string_equal(links_of("PPU 0:\nLink 1:\n"), "l:2: link 1 of card 0: the line is cut off");
    assert_string_equal(links_of("PPU 0:\nLink 1: <inact\n"), "l:2: link 1 of card 0: \"<inact\" is cut off");
    assert_string_equal(links_of("PPU 0:\nLink 32: 50 GB/s\n"), "l:2: \"32\" is not the index of a link, 0 to 31");
    assert_string_equal(links_of("PPU 0:\nLink 1: 50 GB/s\nLink 1: <inactive>\n"),
                        "l:3: link 1 of card 0 is already in line 2");
    assert_string_equal(links_of("PPU 0:\nhello\n"),
                        "l:2: \"hello\" is none of \"PPU N: …\", \"Link N: …\", \"key: value\"");
    assert_string_equal(links_of("PPU 0:\nLinks: 3\n"),
                        "l:2: \"Links: 3\" is none of \"PPU N: …\", \"Link N: …\", \"key: value\"");
}

static void test_bad_remotes(void **state)
{
    static const char *const values[] = {
        "Remote Device",
        "Remote Device ",
        "Remote Device 0001:CE:00.0",
        "Remote Device 0001:CE:00.0: Link",
        "Remote Device 0001:CE:00.0: Link 32",
        "Remote Device 0001:CE:00.0: Link 6 7",
        "Remote Device CE:00.0: Link 6",
        "Remote Device 001:CE:00.0: Link 6",
        "Remote Device 0001:CE:20.0: Link 6",
        "Remote Device Switch: Link 6",
    };
    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        char text[128];
        char expected[256];
        snprintf(text, sizeof text, "PPU 0:\nLink 1: %s\n", values[i]);
        snprintf(expected, sizeof expected,
                 "l:2: link 1 of card 0: \"%.*s\" is not \"Remote Device 00000001:CE:00.0: Link 6\"",
                 (int)strlen(values[i]) - (i == 1), values[i]);
        assert_string_equal(links_of(text), expected);
    }
}

static void test_find(void **state)
{
    struct ppu_smi_card items[] = {{.index = 3}, {.index = 0}};
    struct ppu_smi_links_of parts[] = {{.index = 3}, {.index = 0}};
    const struct ppu_smi_cards cards = {.items = items, .count = 2};
    const struct ppu_smi_links links = {.items = parts, .count = 2};
    (void)state;
    assert_ptr_equal(ppu_smi_card(&cards, 0), &items[1]);
    assert_null(ppu_smi_card(&cards, 1));
    assert_ptr_equal(ppu_smi_links_of(&links, 3), &parts[0]);
    assert_null(ppu_smi_links_of(&links, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cards),     cmocka_unit_test(test_bad_cards),   cmocka_unit_test(test_links),
        cmocka_unit_test(test_bad_links), cmocka_unit_test(test_bad_remotes), cmocka_unit_test(test_find),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
