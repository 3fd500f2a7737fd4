/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/settings.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "host/settings_reading.h"

void settings_default(struct settings *settings)
{
    *settings = (struct settings){
        .match = ":6001",
        .topology = "/etc/icn-hook/icn_topo.cfg",
        .backend = BACKEND_MMIO,
        .bar = 0,
        .link_config = 0xbe382,
        .link_status = 0xbe383,
        .stride = 4,
        .cut_bit = 1,
        .links = LINKS_OF_TOPOLOGY,
        .ppudbg_path = "/usr/bin/ppudbg",
        .ppudbg_isolate = "--direct --micnop iso",
        .ppudbg_timeout = 30,
        .ppu_smi_path = "/usr/bin/ppu-smi",
        .ppu_smi_timeout = 30,
        .idle = IDLE_RESTORE,
        .external = EXTERNAL_CUT,
        .far_end = FAR_END_CUT,
        .on_leak = LEAK_ALERT,
        .lock_timeout = 30,
        .start_timeout = 3600,
    };
}

void settings_free(struct settings *settings)
{
    free(settings->map);
    free(settings->joins);
    settings->map = NULL;
    settings->joins = NULL;
    settings->map_count = 0;
    settings->join_count = 0;
}

/* The fields of KIND's rows: char[MATCH_SIZE], char[PATH_MAX], char[WORDS_SIZE], and 32 bits for the
 * others (int, uint32_t or an enumeration whose values are the words' places). */
enum key_kind { KEY_FILTER, KEY_PATH, KEY_WORDS, KEY_REGISTER, KEY_LINKS, KEY_NUMBER, KEY_WORD };

/* The keys of all sections but [map] and [links], whose keys are ids. */
static const struct settings_key {
    const char *section;
    const char *name;
    enum key_kind kind;
    size_t offset; /* of the field in struct settings */
    uint32_t min;  /* KEY_NUMBER: the allowed range, and what it counts */
    uint32_t max;
    const char *unit;
    const char *words[2]; /* KEY_WORD: the allowed ones */
} settings_keys[] = {
#define FIELD(field) .offset = offsetof(struct settings, field)
    {"ppu", "match", KEY_FILTER, FIELD(match)},
    {"ppu", "topology", KEY_PATH, FIELD(topology)},
    {"registers", "backend", KEY_WORD, FIELD(backend), .words = {"mmio", "ppudbg"}},
    {"registers", "bar", KEY_NUMBER, FIELD(bar), .min = 0, .max = 5},
    {"registers", "link_config", KEY_REGISTER, FIELD(link_config)},
    {"registers", "link_status", KEY_REGISTER, FIELD(link_status)},
    {"registers", "stride", KEY_NUMBER, FIELD(stride), .min = 1, .max = 4096, .unit = " of bytes"},
    {"registers", "cut_bit", KEY_NUMBER, FIELD(cut_bit), .min = 0, .max = 1},
    {"registers", "links", KEY_LINKS, FIELD(links)},
    {"ppudbg", "path", KEY_PATH, FIELD(ppudbg_path)},
    {"ppudbg", "isolate", KEY_WORDS, FIELD(ppudbg_isolate)},
    {"ppudbg", "timeout", KEY_NUMBER, FIELD(ppudbg_timeout), .min = 1, .max = 3600, .unit = " of seconds"},
    {"ppu-smi", "path", KEY_PATH, FIELD(ppu_smi_path)},
    {"ppu-smi", "timeout", KEY_NUMBER, FIELD(ppu_smi_timeout), .min = 1, .max = 3600, .unit = " of seconds"},
    {"policy", "idle", KEY_WORD, FIELD(idle), .words = {"restore", "isolate"}},
    {"policy", "external", KEY_WORD, FIELD(external), .words = {"cut", "leave"}},
    {"policy", "far_end", KEY_WORD, FIELD(far_end), .words = {"cut", "leave"}},
    {"policy", "on_leak", KEY_WORD, FIELD(on_leak), .words = {"alert", "kill"}},
    {"policy", "require_confirmed", KEY_WORD, FIELD(require_confirmed), .words = {"no", "yes"}},
    {"policy", "lock_timeout", KEY_NUMBER, FIELD(lock_timeout), .min = 0, .max = 3600, .unit = " of seconds"},
    {"policy", "start_timeout", KEY_NUMBER, FIELD(start_timeout), .min = 0, .max = 86400, .unit = " of seconds"},
#undef FIELD
};

enum { KEY_COUNT = sizeof settings_keys / sizeof settings_keys[0], NO_KEY = KEY_COUNT };

_Static_assert((int)KEY_COUNT <= (int)SETTINGS_KEY_MAX, "a place for each key");
_Static_assert(sizeof(int) == sizeof(uint32_t) && sizeof(enum idle_policy) == sizeof(uint32_t), "32-bit fields");

/* [vendor]:[device][:class[:prog-if]]: each field is empty, "*", or up to .digits
 * hexadecimal digits, of which libpci lets 'x' stand for any in a class. */
static bool filter_is_valid(const char *filter)
{
    static const struct {
        size_t digits;
        bool wildcard;
    } fields[] = {{4, false}, {4, false}, {4, true}, {2, false}};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        size_t length = strcspn(filter, ":");
        size_t valid = strspn(filter, fields[i].wildcard ? "0123456789abcdefABCDEFxX" : "0123456789abcdefABCDEF");
        bool is_any = length == 1 && filter[0] == '*';
        if (!is_any && (length > fields[i].digits || valid < length)) {
            return false;
        }
        if (filter[length] == '\0') {
            return i >= 1;
        }
        filter += length + 1;
    }
    return false;
}

/* The index in settings_keys, or NO_KEY. */
static int find_settings_key(const char *section, const char *name)
{
    int index = 0;
    while (index < KEY_COUNT &&
           (strcmp(settings_keys[index].section, section) != 0 || strcmp(settings_keys[index].name, name) != 0)) {
        index++;
    }
    return index;
}

static bool set_text(char *field, size_t size, const char *value)
{
    if (strlen(value) >= size) {
        return false;
    }
    memcpy(field, value, strlen(value) + 1);
    return true;
}

/* With one blank between words. */
static bool set_words(char *field, size_t size, const char *value)
{
    size_t length = 0;
    if (strlen(value) >= size) {
        return false;
    }
    for (; *value; value++) {
        char character = (char)(*value == '\t' ? ' ' : *value);
        if (character != ' ' || field[length - 1] != ' ') {
            field[length++] = character;
        }
    }
    field[length] = '\0';
    return true;
}

/* False, and SETTINGS as it was: VALUE is not allowed. */
static bool set_settings_key(const struct settings_key *key, struct settings *settings, const char *value)
{
    void *field = (char *)settings + key->offset;
    uint64_t number = 0;
    switch (key->kind) {
    case KEY_FILTER:
        return filter_is_valid(value) && set_text(field, MATCH_SIZE, value);
    case KEY_PATH:
        return value[0] == '/' && set_text(field, PATH_MAX, value);
    case KEY_WORDS:
        return value[0] != '\0' && set_words(field, WORDS_SIZE, value);
    case KEY_REGISTER:
        if (!text_parse_number(value, UINT32_MAX, &number)) {
            return false;
        }
        break;
    case KEY_LINKS:
        if (strcmp(value, "topology") == 0) {
            number = LINKS_OF_TOPOLOGY;
        } else if (!text_parse_number(value, UINT32_MAX, &number) || number == 0) {
            return false;
        }
        break;
    case KEY_NUMBER:
        if (!text_parse_number(value, key->max, &number) || number < key->min) {
            return false;
        }
        break;
    case KEY_WORD:
        number = strcmp(value, key->words[1]) == 0;
        if (number == 0 && strcmp(value, key->words[0]) != 0) {
            return false;
        }
        break;
    }
    memcpy(field, &(uint32_t){(uint32_t)number}, sizeof(uint32_t));
    return true;
}

/* What may be the key's value, for messages. */
static void describe_allowed(const struct settings_key *key, char *text, size_t size)
{
    switch (key->kind) {
    case KEY_FILTER:
        snprintf(text, size, "an lspci filter [vendor]:[device][:class[:prog-if]] in hexadecimal, such as :6001");
        break;
    case KEY_PATH:
        snprintf(text, size, "an absolute path");
        break;
    case KEY_WORDS:
        snprintf(text, size, "one word or more");
        break;
    case KEY_LINKS:
        snprintf(text, size, "topology, or the register's bits that are links, such as 0x7f");
        break;
    case KEY_REGISTER:
        snprintf(text, size, "a register number of 32 bits, such as 0xbe382");
        break;
    case KEY_NUMBER:
        if (key->max == key->min + 1) {
            snprintf(text, size, "%u or %u", key->min, key->max);
        } else {
            snprintf(text, size, "a number%s from %u to %u", key->unit ? key->unit : "", key->min, key->max);
        }
        break;
    case KEY_WORD:
        snprintf(text, size, "%s or %s", key->words[0], key->words[1]);
        break;
    }
}

bool settings_refuse(struct settings_reading *reading, int line, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    error_set(reading->err, STATUS_INVALID, "%s:%d: %s", reading->file, line, text);
    reading->failed = true;
    return false;
}

static bool section_is_known(const char *section)
{
    bool known = strcmp(section, "map") == 0 || strcmp(section, "links") == 0;
    for (int i = 0; i < KEY_COUNT; i++) {
        known = known || strcmp(section, settings_keys[i].section) == 0;
    }
    return known;
}

static bool refuse_unknown_key(struct settings_reading *reading, const struct settings_line *line)
{
    char known[128] = "";
    for (int i = 0; i < KEY_COUNT; i++) {
        if (strcmp(settings_keys[i].section, line->section) == 0) {
            size_t used = strlen(known);
            snprintf(known + used, sizeof known - used, "%s%s", used > 0 ? ", " : "", settings_keys[i].name);
        }
    }
    return settings_refuse(reading, line->number, "unknown key \"%s\" in [%s], whose keys are %s", line->key,
                           line->section, known);
}

static bool take_key(struct settings_reading *reading, const struct settings_line *line)
{
    int index = find_settings_key(line->section, line->key);
    if (index == NO_KEY) {
        return refuse_unknown_key(reading, line);
    }
    struct settings_place *place = &reading->keys[index];
    if (place->line != 0 && place->file == reading->file) {
        return settings_refuse(reading, line->number, "\"%s\" is already set in line %d", line->key, place->line);
    }
    if (!set_settings_key(&settings_keys[index], reading->settings, line->value)) {
        char allowed[128];
        describe_allowed(&settings_keys[index], allowed, sizeof allowed);
        return settings_refuse(reading, line->number, "%s is \"%s\", but must be %s", line->key, line->value, allowed);
    }
    *place = (struct settings_place){reading->file, reading->order, line->number};
    return true;
}

static bool take_settings_line(void *user, const struct settings_line *line)
{
    struct settings_reading *reading = user;
    if (line->problem) {
        return settings_refuse(reading, line->number, "%s", line->problem);
    }
    if (!line->key) {
        return section_is_known(line->section) ||
               settings_refuse(reading, line->number,
                               "unknown section [%s]; the sections are [ppu], [map], [links], [registers], [ppudbg], "
                               "[ppu-smi] and [policy]",
                               line->section);
    }
    if (line->section[0] == '\0') {
        return settings_refuse(reading, line->number, "\"%s\" is before the first [section]", line->key);
    }
    if (strcmp(line->section, "map") == 0) {
        return settings_take_pin(reading, line);
    }
    return strcmp(line->section, "links") == 0 ? settings_take_join(reading, line) : take_key(reading, line);
}

bool settings_read_text(struct settings_reading *reading, const char *text, size_t length)
{
    settings_lines_read(text, length, take_settings_line, reading);
    return !reading->failed;
}

/* Registers are read and written as aligned 32-bit words.  The later of the two lines is named. */
static bool check_offset(struct settings_reading *reading, const char *name, uint32_t number)
{
    uint64_t offset = (uint64_t)number * reading->settings->stride;
    if (offset % 4 == 0) {
        return true;
    }
    struct settings_place stride = reading->keys[find_settings_key("registers", "stride")];
    struct settings_place place = reading->keys[find_settings_key("registers", name)];
    bool is_later = stride.order != place.order ? stride.order > place.order : stride.line > place.line;
    if (place.line == 0 || (stride.line != 0 && is_later)) {
        place = stride;
    }
    reading->file = place.file;
    return settings_refuse(reading, place.line,
                           "%s 0x%x at a stride of %u is byte offset 0x%llx, which is not a multiple of 4", name,
                           number, reading->settings->stride, (unsigned long long)offset);
}

bool settings_check(struct settings_reading *reading)
{
    return check_offset(reading, "link_config", reading->settings->link_config) &&
           check_offset(reading, "link_status", reading->settings->link_status);
}

void settings_reading_free(struct settings_reading *reading)
{
    free(reading->pins);
    free(reading->joins);
}

bool settings_take_match(const char *value, char match[MATCH_SIZE])
{
    return filter_is_valid(value) && set_text(match, MATCH_SIZE, value);
}

bool settings_knows_key(const char *section, const char *name)
{
    return find_settings_key(section, name) != NO_KEY;
}
