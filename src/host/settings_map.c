/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The sections whose keys are ids: [map] and [links].  Their lines add up over all files.  The same
 * said twice in two files is fine, in one file it is a slip, and a contradiction is refused wherever it is.
 */
#include "host/settings_reading.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"

static bool contradict(struct settings_reading *reading, int line, const char *what, struct settings_place place)
{
    if (place.file == reading->file) {
        return settings_refuse(reading, line, "%s in line %d", what, place.line);
    }
    return settings_refuse(reading, line, "%s in %s:%d", what, place.file, place.line);
}

/* Cuts a decimal number below LIMIT, without leading zeros, off *text. */
static bool take_small_number(const char **text, int limit, int *number)
{
    size_t length = strspn(*text, "0123456789");
    char digits[8];
    uint64_t value;
    if (length == 0 || length >= sizeof digits || ((*text)[0] == '0' && length > 1)) {
        return false;
    }
    memcpy(digits, *text, length);
    digits[length] = '\0';
    if (!text_parse_number(digits, (uint64_t)limit - 1, &value)) {
        return false;
    }
    *text += length;
    *number = (int)value;
    return true;
}

/* Cuts the next word off *text; false: there is none, or it is too long. */
static bool take_pin_word(const char **text, char *word, size_t size)
{
    *text += strspn(*text, " \t");
    size_t length = strcspn(*text, " \t");
    if (length == 0 || length >= size) {
        return false;
    }
    memcpy(word, *text, length);
    word[length] = '\0';
    *text += length;
    return true;
}

static bool is_hexadecimal(const char *text, size_t digits)
{
    return strspn(text, "0123456789abcdef") == digits;
}

/* pci0000:00/01.0/00.0: the host bridge, and device.function of each bridge below it and of the card. */
static bool path_is_valid(const char *path)
{
    size_t domain = strncmp(path, "pci", 3) == 0 ? strspn(path + 3, "0123456789abcdef") : 0;
    const char *step = path + 3 + domain;
    if (domain < 4 || step[0] != ':' || !is_hexadecimal(step + 1, 2) || step[3] != '/') {
        return false;
    }
    for (step += 3; step[0] == '/'; step += 5) {
        if (!is_hexadecimal(step + 1, 2) || step[3] != '.' || step[4] < '0' || step[4] > '7') {
            return false;
        }
    }
    return step[0] == '\0';
}

static bool serial_is_valid(const char *serial)
{
    for (size_t i = 0; i < PIN_SERIAL_SIZE - 1; i++) {
        if (i % 3 == 2 ? serial[i] != '-' : text_hex_digit(serial[i]) < 0) {
            return false;
        }
    }
    return serial[PIN_SERIAL_SIZE - 1] == '\0';
}

static void lower_case(char *text)
{
    for (; *text; text++) {
        *text = (char)tolower((unsigned char)*text);
    }
}

/* path=PATH or serial=SERIAL, neither of which PIN has yet. */
static bool take_attribute(struct settings_pin *pin, char *word)
{
    char *value = strchr(word, '=');
    if (!value) {
        return false;
    }
    size_t name = (size_t)(value++ - word);
    lower_case(value);
    if (name == strlen("path") && strncmp(word, "path", name) == 0 && !pin->path[0] && path_is_valid(value)) {
        snprintf(pin->path, sizeof pin->path, "%s", value);
        return true;
    }
    if (name == strlen("serial") && strncmp(word, "serial", name) == 0 && !pin->serial[0] && serial_is_valid(value)) {
        memcpy(pin->serial, value, sizeof pin->serial);
        return true;
    }
    return false;
}

/* BDF [path=PATH] [serial=SERIAL] */
static bool parse_pin(struct settings_reading *reading, const struct settings_line *line, struct settings_pin *pin)
{
    const char *rest = line->value;
    char word[PIN_PATH_SIZE];
    if (!take_pin_word(&rest, word, sizeof word) || !bdf_parse(word, &pin->bdf)) {
        return settings_refuse(reading, line->number,
                               "PPU %s is \"%s\", but must be a PCI address such as 0000:08:00.0", line->key,
                               line->value);
    }
    while (take_pin_word(&rest, word, sizeof word)) {
        if (!take_attribute(pin, word)) {
            return settings_refuse(
                reading, line->number,
                "PPU %s: \"%s\" must be path=pci0000:00/01.0/00.0 or serial=00-00-00-00-00-00-00-00, "
                "each once",
                line->key, word);
        }
    }
    return *rest == '\0' || settings_refuse(reading, line->number, "PPU %s: \"%s\" is too long", line->key, rest);
}

/* What two files say of one card is put together; true if they agree. */
static bool join_text(char *known, const char *other, size_t size)
{
    if (known[0] == '\0') {
        snprintf(known, size, "%s", other);
    }
    return other[0] == '\0' || strcmp(known, other) == 0;
}

static bool add_to_pin(struct settings_reading *reading, int line, struct settings_pin *known,
                       struct settings_place place, const struct settings_pin *pin)
{
    char what[64];
    snprintf(what, sizeof what, "PPU %d is already mapped", pin->ppu);
    if (place.file == reading->file || bdf_compare(known->bdf, pin->bdf) != 0 ||
        !join_text(known->path, pin->path, sizeof known->path) ||
        !join_text(known->serial, pin->serial, sizeof known->serial)) {
        return contradict(reading, line, what, place);
    }
    return true;
}

bool settings_take_pin(struct settings_reading *reading, const struct settings_line *line)
{
    struct settings *settings = reading->settings;
    struct settings_pin pin = {0};
    const char *key = line->key;
    if (!take_small_number(&key, PPU_MAX, &pin.ppu) || *key != '\0') {
        return settings_refuse(reading, line->number,
                               "\"%s\" is not a PPU id; a line of [map] is \"id = BDF\", id 0 to %d", line->key,
                               PPU_MAX - 1);
    }
    if (!parse_pin(reading, line, &pin)) {
        return false;
    }
    for (int i = 0; i < settings->map_count; i++) {
        struct settings_pin *known = &settings->map[i];
        char bdf[BDF_TEXT_SIZE];
        char what[96];
        if (known->ppu == pin.ppu) {
            return add_to_pin(reading, line->number, known, reading->pins[i], &pin);
        }
        if (bdf_compare(known->bdf, pin.bdf) == 0) {
            snprintf(what, sizeof what, "%s is already mapped to PPU %d", bdf_format(pin.bdf, bdf), known->ppu);
            return contradict(reading, line->number, what, reading->pins[i]);
        }
    }
    size_t count = (size_t)settings->map_count + 1;
    settings->map = memory_grow(settings->map, count, sizeof *settings->map);
    reading->pins = memory_grow(reading->pins, count, sizeof *reading->pins);
    reading->pins[count - 1] = (struct settings_place){reading->file, reading->order, line->number};
    settings->map[settings->map_count++] = pin;
    return true;
}

/* ID.LINK, the whole of TEXT */
static bool parse_end(const char *text, int *ppu, int *link)
{
    return take_small_number(&text, PPU_MAX, ppu) && *text++ == '.' && take_small_number(&text, LINK_MAX, link) &&
           *text == '\0';
}

static bool is_end(const struct settings_join *join, int ppu, int link)
{
    return (join->ppu == ppu && join->link == link) || (join->peer == ppu && join->peer_link == link);
}

bool settings_take_join(struct settings_reading *reading, const struct settings_line *line)
{
    struct settings *settings = reading->settings;
    struct settings_join join;
    if (!parse_end(line->key, &join.ppu, &join.link) || !parse_end(line->value, &join.peer, &join.peer_link) ||
        join.ppu == join.peer) {
        return settings_refuse(reading, line->number,
                               "\"%s = %s\" is not a link; a line of [links] is \"ID.LINK = ID.LINK\", of two cards",
                               line->key, line->value);
    }
    for (int i = 0; i < settings->join_count; i++) {
        const struct settings_join *known = &settings->joins[i];
        bool near = is_end(known, join.ppu, join.link);
        bool far = is_end(known, join.peer, join.peer_link);
        char what[64];
        if (near && far && reading->joins[i].file != reading->file) {
            return true;
        }
        if (near || far) {
            snprintf(what, sizeof what, "link %d of PPU %d is already joined", near ? join.link : join.peer_link,
                     near ? join.ppu : join.peer);
            return contradict(reading, line->number, what, reading->joins[i]);
        }
    }
    size_t count = (size_t)settings->join_count + 1;
    if (count > (size_t)PPU_MAX * LINK_MAX / 2) {
        return settings_refuse(reading, line->number, "more lines in [links] than links can be");
    }
    settings->joins = memory_grow(settings->joins, count, sizeof *settings->joins);
    reading->joins = memory_grow(reading->joins, count, sizeof *reading->joins);
    reading->joins[count - 1] = (struct settings_place){reading->file, reading->order, line->number};
    settings->joins[settings->join_count++] = join;
    return true;
}
