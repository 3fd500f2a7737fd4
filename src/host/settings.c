/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/settings.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "host/settings_lines.h"

enum { FILE_LIMIT = 1 << 20 };

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
        .ppudbg_path = "/usr/bin/ppudbg",
        .ppudbg_timeout = 30,
        .idle = IDLE_RESTORE,
        .far_end = FAR_END_CUT,
        .on_leak = LEAK_ALERT,
        .lock_timeout = 30,
        .start_timeout = 3600,
    };
}

/* The fields of KIND's rows: char[MATCH_SIZE], char[PATH_MAX], and 32 bits for the
 * others (int, uint32_t or an enumeration whose values are the words' places). */
enum key_kind { KEY_FILTER, KEY_PATH, KEY_REGISTER, KEY_NUMBER, KEY_WORD };

/* The keys of all sections but [map], whose keys are ids. */
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
    {"ppudbg", "path", KEY_PATH, FIELD(ppudbg_path)},
    {"ppudbg", "timeout", KEY_NUMBER, FIELD(ppudbg_timeout), .min = 1, .max = 3600, .unit = " of seconds"},
    {"policy", "idle", KEY_WORD, FIELD(idle), .words = {"restore", "isolate"}},
    {"policy", "far_end", KEY_WORD, FIELD(far_end), .words = {"cut", "leave"}},
    {"policy", "on_leak", KEY_WORD, FIELD(on_leak), .words = {"alert", "kill"}},
    {"policy", "lock_timeout", KEY_NUMBER, FIELD(lock_timeout), .min = 0, .max = 3600, .unit = " of seconds"},
    {"policy", "start_timeout", KEY_NUMBER, FIELD(start_timeout), .min = 0, .max = 86400, .unit = " of seconds"},
#undef FIELD
};

enum { KEY_COUNT = sizeof settings_keys / sizeof settings_keys[0], NO_KEY = KEY_COUNT };

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
    case KEY_REGISTER:
        if (!text_parse_number(value, UINT32_MAX, &number)) {
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

/* What is read, and what was seen of it so far. */
struct settings_reading {
    const char *name;
    struct settings *settings;
    struct error *err;
    bool failed;
    int key_lines[KEY_COUNT]; /* 0 = not seen */
    int pin_lines[PPU_MAX];
};

static PRINTF_LIKE(3, 4) bool refuse_line(struct settings_reading *reading, int line, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    error_set(reading->err, STATUS_INVALID, "%s:%d: %s", reading->name, line, text);
    reading->failed = true;
    return false;
}

static bool section_is_known(const char *section)
{
    bool known = strcmp(section, "map") == 0;
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
    return refuse_line(reading, line->number, "unknown key \"%s\" in [%s], whose keys are %s", line->key, line->section,
                       known);
}

static bool take_key(struct settings_reading *reading, const struct settings_line *line)
{
    int index = find_settings_key(line->section, line->key);
    if (index == NO_KEY) {
        return refuse_unknown_key(reading, line);
    }
    if (reading->key_lines[index] != 0) {
        return refuse_line(reading, line->number, "\"%s\" is already set in line %d", line->key,
                           reading->key_lines[index]);
    }
    if (!set_settings_key(&settings_keys[index], reading->settings, line->value)) {
        char allowed[128];
        describe_allowed(&settings_keys[index], allowed, sizeof allowed);
        return refuse_line(reading, line->number, "%s is \"%s\", but must be %s", line->key, line->value, allowed);
    }
    reading->key_lines[index] = line->number;
    return true;
}

/* A line of [map]: id = BDF. */
static bool take_pin(struct settings_reading *reading, const struct settings_line *line)
{
    struct settings *settings = reading->settings;
    uint64_t id;
    struct bdf bdf;
    char text[BDF_TEXT_SIZE];
    bool decimal = line->key[strspn(line->key, "0123456789")] == '\0' && (line->key[0] != '0' || line->key[1] == '\0');
    if (!decimal || !text_parse_number(line->key, PPU_MAX - 1, &id)) {
        return refuse_line(reading, line->number, "\"%s\" is not a PPU id; a line of [map] is \"id = BDF\", id 0 to %d",
                           line->key, PPU_MAX - 1);
    }
    if (!bdf_parse(line->value, &bdf)) {
        return refuse_line(reading, line->number, "PPU %s is \"%s\", but must be a PCI address such as 0000:08:00.0",
                           line->key, line->value);
    }
    if (reading->pin_lines[id] != 0) {
        return refuse_line(reading, line->number, "PPU %d is already mapped in line %d", (int)id,
                           reading->pin_lines[id]);
    }
    for (int i = 0; i < settings->map_count; i++) {
        if (bdf_compare(settings->map[i].bdf, bdf) == 0) {
            int other = settings->map[i].ppu;
            return refuse_line(reading, line->number, "%s is already mapped to PPU %d in line %d",
                               bdf_format(bdf, text), other, reading->pin_lines[other]);
        }
    }
    reading->pin_lines[id] = line->number;
    settings->map[settings->map_count++] = (struct settings_pin){.ppu = (int)id, .bdf = bdf};
    return true;
}

static bool take_settings_line(void *user, const struct settings_line *line)
{
    struct settings_reading *reading = user;
    if (line->problem) {
        return refuse_line(reading, line->number, "%s", line->problem);
    }
    if (!line->key) {
        return section_is_known(line->section) ||
               refuse_line(reading, line->number,
                           "unknown section [%s]; the sections are [ppu], [map], [registers], [ppudbg] and [policy]",
                           line->section);
    }
    if (line->section[0] == '\0') {
        return refuse_line(reading, line->number, "\"%s\" is before the first [section]", line->key);
    }
    return strcmp(line->section, "map") == 0 ? take_pin(reading, line) : take_key(reading, line);
}

/* Registers are read and written as aligned 32-bit words. */
static bool check_offset(struct settings_reading *reading, const char *name, uint32_t number)
{
    uint64_t offset = (uint64_t)number * reading->settings->stride;
    if (offset % 4 == 0) {
        return true;
    }
    int stride_line = reading->key_lines[find_settings_key("registers", "stride")];
    int line = reading->key_lines[find_settings_key("registers", name)];
    return refuse_line(reading, line > stride_line ? line : stride_line,
                       "%s 0x%x at a stride of %u is byte offset 0x%llx, which is not a multiple of 4", name, number,
                       reading->settings->stride, (unsigned long long)offset);
}

int settings_parse(const char *text, size_t length, const char *name, struct settings *settings, struct error *err)
{
    CLEANUP_FREE struct settings *parsed = memory_alloc(1, sizeof *parsed);
    struct settings_reading reading = {.name = name, .settings = parsed, .err = err};
    settings_default(parsed);
    settings_lines_read(text, length, take_settings_line, &reading);
    if (reading.failed || !check_offset(&reading, "link_config", parsed->link_config) ||
        !check_offset(&reading, "link_status", parsed->link_status)) {
        return -1;
    }
    *settings = *parsed;
    return 0;
}

int settings_load(const char *path, struct settings *settings, struct error *err)
{
    struct buffer content = {0};
    bool missing = false;
    if (file_read(path, FILE_LIMIT, &content, &missing, err) < 0) {
        if (missing) {
            settings_default(settings);
            return 0;
        }
        return -1;
    }
    int result = settings_parse(content.data, content.length, path, settings, err);
    buffer_free(&content);
    return result;
}

/* What a broken file still says about the match line. */
struct salvage {
    int valid; /* match lines in [ppu] that are fine */
    bool differ;
    bool broken;   /* a match line in [ppu] that is not */
    bool doubtful; /* something that could have been meant as a match line */
    struct settings settings;
};

static bool salvage_line(void *user, const struct settings_line *line)
{
    struct salvage *salvage = user;
    if (line->problem) {
        salvage->doubtful = true;
    } else if (line->key && strcmp(line->section, "ppu") == 0 && strcmp(line->key, "match") == 0) {
        char before[MATCH_SIZE];
        memcpy(before, salvage->settings.match, sizeof before);
        if (set_settings_key(&settings_keys[find_settings_key("ppu", "match")], &salvage->settings, line->value)) {
            salvage->differ = salvage->differ || (salvage->valid > 0 && strcmp(before, salvage->settings.match) != 0);
            salvage->valid++;
        } else {
            salvage->broken = true;
        }
    } else if (line->key) {
        /* A misspelt key is recognised by its value: a filter has a colon. */
        bool in_ppu = line->section[0] == '\0' || strcmp(line->section, "ppu") == 0;
        bool unknown = find_settings_key("ppu", line->key) == NO_KEY;
        bool may_mean_match = strcasecmp(line->key, "match") == 0 || (in_ppu && unknown && strchr(line->value, ':'));
        salvage->doubtful = salvage->doubtful || may_mean_match;
    }
    return true;
}

bool settings_salvage_match(const char *path, char match[MATCH_SIZE])
{
    struct error ignored;
    struct buffer content = {0};
    bool missing = false;
    struct salvage salvage = {0};
    settings_default(&salvage.settings);
    if (file_read(path, FILE_LIMIT, &content, &missing, &ignored) < 0 && !missing) {
        return false;
    }
    if (content.data) {
        settings_lines_read(content.data, content.length, salvage_line, &salvage);
        buffer_free(&content);
    }
    if (salvage.broken || salvage.differ || (salvage.valid == 0 && salvage.doubtful)) {
        return false;
    }
    memcpy(match, salvage.settings.match, MATCH_SIZE);
    return true;
}
