/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/settings.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "host/settings_keys.h"
#include "host/settings_lines.h"

enum { FILE_LIMIT = 1 << 20 };

/* What is read, and what was seen of it so far. */
struct reading {
    const char *name;
    struct settings *settings;
    struct error *err;
    bool failed;
    int *key_lines; /* by index in settings_keys; 0 = not seen */
    int pin_lines[PPU_MAX];
};

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
    };
}

static PRINTF_LIKE(3, 4) bool fail(struct reading *reading, int line, const char *format, ...)
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
    for (int i = 0; i < SETTINGS_KEY_COUNT; i++) {
        known = known || strcmp(section, settings_keys[i].section) == 0;
    }
    return known;
}

static bool fail_unknown_key(struct reading *reading, const struct settings_line *line)
{
    char known[128] = "";
    for (int i = 0; i < SETTINGS_KEY_COUNT; i++) {
        if (strcmp(settings_keys[i].section, line->section) == 0) {
            size_t used = strlen(known);
            snprintf(known + used, sizeof known - used, "%s%s", used > 0 ? ", " : "", settings_keys[i].name);
        }
    }
    return fail(reading, line->number, "unknown key \"%s\" in [%s], whose keys are %s", line->key, line->section,
                known);
}

static bool take_key(struct reading *reading, const struct settings_line *line)
{
    int index = settings_find_key(line->section, line->key);
    if (index == NO_KEY) {
        return fail_unknown_key(reading, line);
    }
    if (reading->key_lines[index] != 0) {
        return fail(reading, line->number, "\"%s\" is already set in line %d", line->key, reading->key_lines[index]);
    }
    if (!settings_keys[index].set(reading->settings, line->value)) {
        return fail(reading, line->number, "%s is \"%s\", but must be %s", line->key, line->value,
                    settings_keys[index].allowed);
    }
    reading->key_lines[index] = line->number;
    return true;
}

/* A line of [map]: id = BDF. */
static bool take_pin(struct reading *reading, const struct settings_line *line)
{
    struct settings *settings = reading->settings;
    uint64_t id;
    struct bdf bdf;
    char text[BDF_TEXT_SIZE];
    bool decimal = line->key[strspn(line->key, "0123456789")] == '\0' && (line->key[0] != '0' || line->key[1] == '\0');
    if (!decimal || !text_parse_number(line->key, PPU_MAX - 1, &id)) {
        return fail(reading, line->number, "\"%s\" is not a PPU id; a line of [map] is \"id = BDF\", id 0 to %d",
                    line->key, PPU_MAX - 1);
    }
    if (!bdf_parse(line->value, &bdf)) {
        return fail(reading, line->number, "PPU %s is \"%s\", but must be a PCI address such as 0000:08:00.0",
                    line->key, line->value);
    }
    if (reading->pin_lines[id] != 0) {
        return fail(reading, line->number, "PPU %d is already mapped in line %d", (int)id, reading->pin_lines[id]);
    }
    for (int i = 0; i < settings->map_count; i++) {
        if (bdf_compare(settings->map[i].bdf, bdf) == 0) {
            int other = settings->map[i].ppu;
            return fail(reading, line->number, "%s is already mapped to PPU %d in line %d", bdf_format(bdf, text),
                        other, reading->pin_lines[other]);
        }
    }
    reading->pin_lines[id] = line->number;
    settings->map[settings->map_count++] = (struct settings_pin){.ppu = (int)id, .bdf = bdf};
    return true;
}

static bool take_line(void *user, const struct settings_line *line)
{
    struct reading *reading = user;
    if (line->problem) {
        return fail(reading, line->number, "%s", line->problem);
    }
    if (!line->key) {
        return section_is_known(line->section) ||
               fail(reading, line->number,
                    "unknown section [%s]; the sections are [ppu], [map], [registers], [ppudbg] and [policy]",
                    line->section);
    }
    if (line->section[0] == '\0') {
        return fail(reading, line->number, "\"%s\" stands before the first [section]", line->key);
    }
    return strcmp(line->section, "map") == 0 ? take_pin(reading, line) : take_key(reading, line);
}

/* Registers are read and written as aligned 32-bit words. */
static bool check_offset(struct reading *reading, const char *name, uint32_t number)
{
    uint64_t offset = (uint64_t)number * reading->settings->stride;
    if (offset % 4 == 0) {
        return true;
    }
    int stride_line = reading->key_lines[settings_find_key("registers", "stride")];
    int line = reading->key_lines[settings_find_key("registers", name)];
    return fail(reading, line > stride_line ? line : stride_line,
                "%s 0x%x at a stride of %u is byte offset 0x%llx, which is not a multiple of 4", name, number,
                reading->settings->stride, (unsigned long long)offset);
}

int settings_parse(const char *text, size_t length, const char *name, struct settings *settings, struct error *err)
{
    int key_lines[SETTINGS_KEY_COUNT] = {0};
    CLEANUP_FREE struct settings *parsed = memory_alloc(1, sizeof *parsed);
    struct reading reading = {.name = name, .settings = parsed, .err = err, .key_lines = key_lines};
    settings_default(parsed);
    settings_lines_read(text, length, take_line, &reading);
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

/* What a broken file still tells about the match line. */
struct salvage {
    int valid; /* match lines in [ppu] that are fine */
    bool differ;
    bool broken;   /* a match line in [ppu] that is not */
    bool doubtful; /* something that could have been meant as a match line */
    struct settings settings;
};

/* A misspelt key is recognised by its value: a filter has a colon. */
static bool may_mean_match(const struct settings_line *line)
{
    bool in_ppu = line->section[0] == '\0' || strcmp(line->section, "ppu") == 0;
    bool unknown = settings_find_key("ppu", line->key) == NO_KEY;
    return strcasecmp(line->key, "match") == 0 || (in_ppu && unknown && strchr(line->value, ':'));
}

static bool salvage_line(void *user, const struct settings_line *line)
{
    struct salvage *salvage = user;
    if (line->problem) {
        salvage->doubtful = true;
    } else if (line->key && strcmp(line->section, "ppu") == 0 && strcmp(line->key, "match") == 0) {
        char before[MATCH_SIZE];
        memcpy(before, salvage->settings.match, sizeof before);
        if (settings_set_match(&salvage->settings, line->value)) {
            salvage->differ = salvage->differ || (salvage->valid > 0 && strcmp(before, salvage->settings.match) != 0);
            salvage->valid++;
        } else {
            salvage->broken = true;
        }
    } else if (line->key) {
        salvage->doubtful = salvage->doubtful || may_mean_match(line);
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
