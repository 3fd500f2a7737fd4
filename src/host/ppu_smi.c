/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/ppu_smi.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"
#include "base/spawn.h"
#include "base/text.h"

enum { LINE_LIMIT = 512, COLUMNS_MAX = 32 };

const char *ppu_smi_answer_name(enum ppu_smi_question question)
{
    static const char *const names[] = {
        [SMI_CARDS] = "output of ppu-smi --query-ppu=index,pci.bus_id,uuid,serial",
        [SMI_STATES] = "output of ppu-smi icn -s",
        [SMI_REMOTES] = "output of ppu-smi icn -r",
    };
    return names[question];
}

int ppu_smi_ask(const char *tool, enum ppu_smi_question question, int seconds, struct buffer *output, struct error *err)
{
    static const char *const words[][2] = {
        [SMI_CARDS] = {"--query-ppu=index,pci.bus_id,uuid,serial", "--format=csv,noheader"},
        [SMI_STATES] = {"icn", "-s"},
        [SMI_REMOTES] = {"icn", "-r"},
    };
    CLEANUP_FREE char *path = memory_copy_text(tool);
    CLEANUP_FREE char *first = memory_copy_text(words[question][0]);
    CLEANUP_FREE char *second = memory_copy_text(words[question][1]);
    char *argv[] = {path, first, second, NULL};
    if (spawn_capture(argv, deadline_after_ms(INT64_C(1000) * seconds), output, err) < 0) {
        return error_wrap(err, "ppu-smi %s %s", first, second);
    }
    return 0;
}

/* Where the reading is, and what it fills in. */
struct smi_reading {
    const char *name;
    struct error *err;
    int line;
    int index_column; /* by the headings; -1: none were seen */
    int bdf_column;
    struct ppu_smi_cards cards;
    struct ppu_smi_links links;
};

static PRINTF_LIKE(2, 3) int refuse_smi(struct smi_reading *reading, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    CLEANUP_FREE char *text = text_format(format, arguments);
    va_end(arguments);
    return error_set(reading->err, STATUS_INVALID, "%s:%d: %s", reading->name, reading->line, text);
}

static char *smi_trim(char *text)
{
    size_t length = strlen(text);
    while (length > 0 && isspace((unsigned char)text[length - 1])) {
        text[--length] = '\0';
    }
    return text + strspn(text, " \t");
}

/* Calls TAKE for each line, trimmed, that is not blank. */
static int read_smi_lines(struct smi_reading *reading, const char *text, size_t length,
                          int (*take)(struct smi_reading *reading, char *line))
{
    static const char byte_order_mark[] = {'\xef', '\xbb', '\xbf'};
    const char *end = text + length;
    char line[LINE_LIMIT + 1];
    if (length >= sizeof byte_order_mark && memcmp(text, byte_order_mark, sizeof byte_order_mark) == 0) {
        text += sizeof byte_order_mark;
    }
    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        size_t size = (size_t)((newline ? newline : end) - text);
        reading->line++;
        if (size > LINE_LIMIT) {
            return refuse_smi(reading, "the line is longer than %d bytes", LINE_LIMIT);
        }
        for (size_t i = 0; i < size; i++) {
            unsigned char byte = (unsigned char)text[i];
            if (byte == 0x7f || (byte < 0x20 && !isspace(byte))) {
                return refuse_smi(reading, "the line holds the control character 0x%02x", byte);
            }
        }
        memcpy(line, text, size);
        line[size] = '\0';
        char *trimmed = smi_trim(line);
        if (trimmed[0] != '\0' && take(reading, trimmed) < 0) {
            return -1;
        }
        text = newline ? newline + 1 : end;
    }
    return 0;
}

/* A decimal number below LIMIT, the whole of TEXT. */
static bool parse_small(const char *text, int limit, int *number)
{
    uint64_t value;
    if (text[strspn(text, "0123456789")] != '\0' || !text_parse_number(text, (uint64_t)limit - 1, &value)) {
        return false;
    }
    *number = (int)value;
    return true;
}

/* An address with its domain, of 4 or of 8 digits. */
static bool parse_bus_id(const char *text, struct bdf *bdf)
{
    size_t domain = strspn(text, "0123456789abcdefABCDEF");
    return (domain == 4 || domain == 8) && text[domain] == ':' && strchr(text + domain + 1, ':') &&
           bdf_parse(text, bdf);
}

/* Older versions write "PPU-" where the others have "GPU-". */
static bool take_uuid(const char *text, char uuid[PPU_SMI_UUID_SIZE])
{
    size_t length = strspn(text + strnlen(text, 4), "0123456789abcdefABCDEF-");
    if ((strncasecmp(text, "GPU-", 4) != 0 && strncasecmp(text, "PPU-", 4) != 0) || length == 0 ||
        length >= PPU_SMI_UUID_SIZE || text[4 + length] != '\0') {
        return false;
    }
    for (size_t i = 0; i <= length; i++) {
        uuid[i] = (char)tolower((unsigned char)text[4 + i]);
    }
    return true;
}

static int take_headings(struct smi_reading *reading, char *columns[], int count)
{
    reading->index_column = -1;
    reading->bdf_column = -1;
    for (int i = 0; i < count; i++) {
        if (strcmp(columns[i], "index") == 0) {
            reading->index_column = i;
        } else if (strcmp(columns[i], "pci.bus_id") == 0) {
            reading->bdf_column = i;
        }
    }
    if (reading->index_column < 0 || reading->bdf_column < 0) {
        return refuse_smi(reading, "the headings lack \"index\" or \"pci.bus_id\"");
    }
    return 0;
}

static int take_card(struct smi_reading *reading, char *columns[], int count)
{
    struct ppu_smi_cards *cards = &reading->cards;
    struct ppu_smi_card card = {.line = reading->line};
    int addresses = 0;
    int index_column = reading->index_column >= 0 ? reading->index_column : 0;
    if (index_column >= count || !parse_small(columns[index_column], PPU_MAX, &card.index)) {
        return refuse_smi(reading, "\"%s\" is not the index of a card, 0 to %d",
                          index_column < count ? columns[index_column] : "", PPU_MAX - 1);
    }
    for (int i = 0; i < count; i++) {
        struct bdf bdf;
        if (card.uuid[0] == '\0' && take_uuid(columns[i], card.uuid)) {
            continue;
        }
        if ((reading->bdf_column < 0 || reading->bdf_column == i) && parse_bus_id(columns[i], &bdf)) {
            card.bdf = bdf;
            addresses++;
        }
    }
    if (addresses != 1) {
        return refuse_smi(reading, "card %d has %s PCI address such as 00000001:C9:00.0", card.index,
                          addresses == 0 ? "no" : "more than one");
    }
    for (size_t i = 0; i < cards->count; i++) {
        const struct ppu_smi_card *known = &cards->items[i];
        char bdf[BDF_TEXT_SIZE];
        if (known->index == card.index) {
            return refuse_smi(reading, "card %d is already in line %d", card.index, known->line);
        }
        if (bdf_compare(known->bdf, card.bdf) == 0) {
            return refuse_smi(reading, "%s is already card %d in line %d", bdf_format(card.bdf, bdf), known->index,
                              known->line);
        }
        if (card.uuid[0] && strcmp(known->uuid, card.uuid) == 0) {
            return refuse_smi(reading, "card %d has the UUID of card %d in line %d", card.index, known->index,
                              known->line);
        }
    }
    cards->items = memory_grow(cards->items, cards->count + 1, sizeof *cards->items);
    cards->items[cards->count++] = card;
    return 0;
}

static int take_card_line(struct smi_reading *reading, char *line)
{
    char *columns[COLUMNS_MAX];
    int count = 0;
    char *column;
    while ((column = strsep(&line, ","))) {
        if (count == COLUMNS_MAX) {
            return refuse_smi(reading, "more than %d columns", COLUMNS_MAX);
        }
        columns[count++] = smi_trim(column);
    }
    if (reading->cards.count == 0 && reading->index_column < 0) {
        for (int i = 0; i < count; i++) {
            if (strcmp(columns[i], "index") == 0) {
                return take_headings(reading, columns, count);
            }
        }
    }
    return take_card(reading, columns, count);
}

int ppu_smi_parse_cards(const char *text, size_t length, const char *name, struct ppu_smi_cards *cards,
                        struct error *err)
{
    struct smi_reading reading = {.name = name, .err = err, .index_column = -1, .bdf_column = -1};
    int result = read_smi_lines(&reading, text, length, take_card_line);
    if (result == 0 && reading.cards.count == 0) {
        reading.line += reading.line == 0;
        result = refuse_smi(&reading, "there is no card in it");
    }
    if (result < 0) {
        ppu_smi_free_cards(&reading.cards);
        return -1;
    }
    reading.cards.last_line = reading.line;
    *cards = reading.cards;
    return 0;
}

/* "PPU 0: PPU-ZW810E (UUID: GPU-…)"; only the number has to be there. */
static int take_links_header(struct smi_reading *reading, char *rest)
{
    struct ppu_smi_links *links = &reading->links;
    struct ppu_smi_links_of of = {.line = reading->line};
    char *colon = strchr(rest, ':');
    if (!colon) {
        return refuse_smi(reading, "\"PPU %s\" has no colon", rest);
    }
    *colon = '\0';
    if (!parse_small(rest, PPU_MAX, &of.index)) {
        return refuse_smi(reading, "\"%s\" is not the index of a card, 0 to %d", rest, PPU_MAX - 1);
    }
    char *uuid = strstr(colon + 1, "(UUID:");
    char *bracket = uuid ? strrchr(uuid, ')') : NULL;
    if (uuid) {
        if (bracket) {
            *bracket = '\0';
        }
        uuid = smi_trim(uuid + strlen("(UUID:"));
        if (!bracket || !take_uuid(uuid, of.uuid)) {
            return refuse_smi(reading, "card %d: \"%s\" is not a UUID", of.index, uuid);
        }
    }
    const struct ppu_smi_links_of *known = ppu_smi_links_of(links, of.index);
    if (known) {
        return refuse_smi(reading, "card %d is already in line %d", of.index, known->line);
    }
    links->items = memory_grow(links->items, links->count + 1, sizeof *links->items);
    links->items[links->count++] = of;
    return 0;
}

/* "Remote Device 00000001:CE:00.0: Link 6" */
static bool parse_remote(char *value, struct ppu_smi_link *link)
{
    char *address = value + strlen("Remote Device ");
    char *end = strstr(address, ": Link ");
    if (!end) {
        return false;
    }
    *end = '\0';
    link->has_remote = true;
    return parse_bus_id(address, &link->remote) && parse_small(end + strlen(": Link "), LINK_MAX, &link->remote_link);
}

/* "Link 3: …".  More than one line may be of one link, if they do not say different things. */
static int take_link_line(struct smi_reading *reading, char *rest)
{
    struct ppu_smi_link found = {.state = SMI_LINK_LISTED, .line = reading->line};
    char *colon = strchr(rest, ':');
    int number;
    if (reading->links.count == 0) {
        return refuse_smi(reading, "a link before the first line \"PPU N: …\"");
    }
    struct ppu_smi_links_of *of = &reading->links.items[reading->links.count - 1];
    if (!colon) {
        return refuse_smi(reading, "\"Link %s\" has no colon", rest);
    }
    *colon = '\0';
    if (!parse_small(rest, LINK_MAX, &number)) {
        return refuse_smi(reading, "\"%s\" is not the index of a link, 0 to %d", rest, LINK_MAX - 1);
    }
    char *value = smi_trim(colon + 1);
    if (value[0] == '<') {
        found.state = SMI_LINK_INACTIVE;
        if (value[strlen(value) - 1] != '>') {
            return refuse_smi(reading, "link %d of card %d: \"%s\" is cut off", number, of->index, value);
        }
    } else if (isdigit((unsigned char)value[0])) {
        found.state = SMI_LINK_ACTIVE;
    } else if (strncmp(value, "Remote Device", strlen("Remote Device")) == 0) {
        CLEANUP_FREE char *said = memory_copy_text(value);
        found.state = SMI_LINK_ACTIVE;
        if (strlen(value) <= strlen("Remote Device ") || !parse_remote(value, &found)) {
            return refuse_smi(reading, "link %d of card %d: \"%s\" is not \"Remote Device 00000001:CE:00.0: Link 6\"",
                              number, of->index, said);
        }
    } else if (value[0] == '\0') {
        return refuse_smi(reading, "link %d of card %d: the line is cut off", number, of->index);
    }
    struct ppu_smi_link *link = &of->links[number];
    if (link->state == SMI_LINK_ABSENT || (link->state == SMI_LINK_LISTED && found.state != SMI_LINK_LISTED)) {
        *link = found;
    } else if (found.state != SMI_LINK_LISTED) {
        return refuse_smi(reading, "link %d of card %d is already in line %d", number, of->index, link->line);
    }
    return 0;
}

static int take_links_line(struct smi_reading *reading, char *line)
{
    if (strncmp(line, "PPU ", 4) == 0) {
        return take_links_header(reading, line + 4);
    }
    if (strncmp(line, "Link ", 5) == 0) {
        return take_link_line(reading, line + 5);
    }
    if (!strchr(line, ':') || strncasecmp(line, "PPU", 3) == 0 || strncasecmp(line, "Link", 4) == 0) {
        return refuse_smi(reading, "\"%s\" is none of \"PPU N: …\", \"Link N: …\", \"key: value\"", line);
    }
    return 0;
}

int ppu_smi_parse_links(const char *text, size_t length, const char *name, struct ppu_smi_links *links,
                        struct error *err)
{
    struct smi_reading reading = {.name = name, .err = err};
    int result = read_smi_lines(&reading, text, length, take_links_line);
    if (result == 0 && reading.links.count == 0) {
        reading.line += reading.line == 0;
        result = refuse_smi(&reading, "there is no card in it");
    }
    if (result < 0) {
        ppu_smi_free_links(&reading.links);
        return -1;
    }
    reading.links.last_line = reading.line;
    *links = reading.links;
    return 0;
}

void ppu_smi_free_cards(struct ppu_smi_cards *cards)
{
    free(cards->items);
    *cards = (struct ppu_smi_cards){0};
}

void ppu_smi_free_links(struct ppu_smi_links *links)
{
    free(links->items);
    *links = (struct ppu_smi_links){0};
}

const struct ppu_smi_card *ppu_smi_card(const struct ppu_smi_cards *cards, int index)
{
    for (size_t i = 0; i < cards->count; i++) {
        if (cards->items[i].index == index) {
            return &cards->items[i];
        }
    }
    return NULL;
}

const struct ppu_smi_links_of *ppu_smi_links_of(const struct ppu_smi_links *links, int index)
{
    for (size_t i = 0; i < links->count; i++) {
        if (links->items[i].index == index) {
            return &links->items[i];
        }
    }
    return NULL;
}
